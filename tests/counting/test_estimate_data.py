"""Recorded requests: the fit gives the coefficients, and they hold on sources it has not seen."""

import statistics
from pathlib import Path

import pytest

from bench.fit_estimates import Fit, count, error, fits
from bench.vectors import Row, rows
from ctxwin.counting.estimates.families import FAMILIES, RATES, Family

# Per cent of what was billed, from the script's table, rounded up.
MEDIANS = {
    "claude-3": 5,
    "claude-3-opus": 6,
    "claude-4": 5,
    "claude-4.5": 5,
    "gemini-2.0": 5,
    "gemini-2.5": 5,
    "gemini-3": 5,
    "mistral": 7,
}


@pytest.fixture(scope="module")
def found(data: Path) -> list[Fit]:
    """Every group of families, with its fit."""
    return fits(list(rows(data)))


@pytest.fixture(scope="module")
def unseen(found: list[Fit]) -> list[tuple[Row, Family]]:
    """Every row that can be predicted from other sources, with a family fitted without its own."""
    return [pair for fit in found for pair in fit.unseen()]


def test_the_fit_gives_the_coefficients(found: list[Fit]) -> None:
    """Rounded to three digits; only the last one may differ from machine to machine."""
    fitted = {name: family for fit in found for name, family in fit.fitted().items()}
    assert set(fitted) == {family.name for family in FAMILIES}
    for family in FAMILIES:
        for rate in (*RATES, "hidden", "forced"):
            assert getattr(fitted[family.name], rate) == pytest.approx(
                getattr(family, rate), rel=0.01
            ), rate
        assert fitted[family.name].pads == pytest.approx(dict(family.pads), rel=0.05)


def test_estimates_hold_on_unseen_sources(unseen: list[tuple[Row, Family]]) -> None:
    """The median error of each family, over rows that show everything that was billed."""
    errors: dict[str, list[float]] = {}
    for row, family in unseen:
        if row.visible:
            errors.setdefault(family.name, []).append(abs(error(count(row, family), row.tokens)))
    medians = {name: statistics.median(sizes) for name, sizes in errors.items()}
    assert set(medians) == set(MEDIANS)
    assert not {name: median for name, median in medians.items() if median > MEDIANS[name]}


def test_bounds_hold_on_unseen_sources(unseen: list[tuple[Row, Family]]) -> None:
    """Nineteen of twenty requests stay within the bound, with thinking and forced tools too."""
    held = [count(row, family, 0.95) >= row.tokens for row, family in unseen if family.pads]
    assert len(held) > 300
    assert statistics.mean(held) >= 0.95
