"""
Fit the coefficients of the families to recorded requests, and measure them on unseen sources.

    python tests/bench/fit_estimates.py [rows]

The coefficients are those of `ctxwin.counting.estimates.families`. They minimise the sum of
absolute errors, each divided by what was billed (or by 30 tokens if that is more, so that greetings
do not decide). No coefficient is negative, and each is rounded to three digits. A source is a
repository whose tests recorded the rows. The error of a row is measured with coefficients that were
fitted without the rows of its source, and a bound with a pad that was chosen without that source as
well. The families of a group share the coefficients that they can.

The fit uses the rows whose messages and tools show everything that was billed. What other rows
hide, by the rules of `bench.vectors`, is listed last. Thinking and a forced choice of a tool are
tested with the bound, whose constants cover them; no counter can count the other causes from
messages and tools. With `rows` each recorded request is listed: what was billed, the estimate and
the bound by the coefficients in the module, and the causes.
"""

import functools
import re
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.corpus import data_folder, print_table
from bench.least_absolute import least_absolute, rank, three_digits
from bench.vectors import Row, rows
from ctxwin.counting import counter_for
from ctxwin.counting.estimates.estimates import EstimateCounter
from ctxwin.counting.estimates.families import FAMILIES, RATES, Family, family_of

QUANTILES = (0.9, 0.95)
# A bound leaves room for kinds of text that no row has. Compared with cl100k_base, Claude 2's
# vocabulary, the last that was public, has 5 % more tokens for English chats, 10 to 18 % more for
# code, and 3 to 7 % fewer for Chinese.
LEAST_PAD = 0.12
# Models with too few rows, with one source only, or whose overhead differs from host to host.
VENDORS = ("gpt-oss", "llama", "qwen", "deepseek", "glm", "nova", "tral")
NAMED = {family.name: family for family in FAMILIES}


@dataclass(frozen=True, slots=True)
class Group:
    """
    Families that are fitted together.

    Attributes:
        shared: the coefficients that all families of the group have in common.
        own: family -> the coefficients of its own.
        elder: a family from which the other coefficients are taken, times one common factor that is
            fitted as `scale`.
    """

    shared: tuple[str, ...]
    own: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    elder: str = ""


TOOLS = ("tools",)
CLAUDE = Group(
    ("base", "turn", "text", "call", "tool", "word", "node"),
    {"claude-3": TOOLS, "claude-3-opus": TOOLS, "claude-4": TOOLS, "claude-4.5": TOOLS},
)
GROUPS = (
    CLAUDE,
    Group(("base", "turn", "scale"), {"claude-4.7": TOOLS}, elder="claude-4.5"),
    Group(("text", "word"), {"gemini-2.0": ()}),
    Group(("turn", "text", "call", "word", "node"), {"gemini-2.5": (), "gemini-3": ("signature",)}),
    Group(("turn", "text", "node"), {"mistral": ()}),
)


class Fit:
    """A group's rows as numbers, and the families that fit them."""

    def __init__(self, group: Group, recorded: Iterable[Row], elders: Mapping[str, Family]) -> None:
        self.group = group
        self.elder = elders.get(group.elder)
        self.rows = [row for row in recorded if row.countable and _name(row) in group.own]
        self.visible = [row for row in self.rows if row.visible]
        self.sources = sorted({row.source for row in self.rows})
        own = [(rate, name) for name, rates in group.own.items() for rate in rates]
        self.columns = [*((rate, "") for rate in group.shared), *own]
        self._features = {row.id: self._feature(row) for row in self.rows}

    @functools.cache  # noqa: B019 - lives as long as the script
    def without(self, *left_out: str) -> dict[str, Family]:
        """Return the families fitted to the visible rows of all other sources."""
        used = [row for row in self.visible if row.source not in left_out]
        fitted = least_absolute([self._features[row.id] for row in used])
        found = dict(zip(self.columns, map(three_digits, fitted), strict=True))
        families = {name: self._family(name, found) for name in self.group.own}
        asked = [row for row in self.rows if row.source not in left_out]
        elder = self.elder or Family(name="")
        hidden = surcharge("thinking on", asked, families, elder.hidden)
        forced = surcharge("forced tool", asked, families, elder.forced)
        for name, family in families.items():
            own = surcharge(
                "forced tool", [row for row in asked if _name(row) == name], families, forced
            )
            families[name] = replace(family, hidden=hidden, forced=own)
        return families

    def pads(self, *left_out: str) -> dict[float, float]:
        """Return quantile -> pad, from what each source needs above a fit without it."""
        needs = []
        for source in self.sources:
            if source not in left_out:
                needs += [need(row, family) for row, family in self._outside(source, *left_out)]
        if not needs:  # there is only one source
            return dict(self.elder.pads) if self.elder else {}
        return {
            quantile: three_digits(max(LEAST_PAD, rank(needs, quantile))) for quantile in QUANTILES
        }

    def unseen(self) -> Iterator[tuple[Row, Family]]:
        """Yield each row with its family, fitted and padded without the row's source."""
        for source in self.sources:
            pads = self.pads(source)
            for row, family in self._outside(source):
                yield row, replace(family, pads=pads)

    def _outside(self, source: str, *left_out: str) -> Iterator[tuple[Row, Family]]:
        """Yield the rows of a source that the others can predict, with the family they give."""
        used = [
            self._features[row.id][0]
            for row in self.visible
            if row.source not in {source, *left_out}
        ]
        told = [any(column) for column in zip(*used, strict=True)]
        for row in self.rows:
            asked = zip(self._features[row.id][0], told, strict=bool(told))
            if row.source == source and told and all(known or not value for value, known in asked):
                yield row, self.without(*sorted({source, *left_out}))[_name(row)]

    def fitted(self) -> dict[str, Family]:
        """Return the families in the form that the module has."""
        return {name: replace(family, pads=self.pads()) for name, family in self.without().items()}

    def _family(self, name: str, found: Mapping[tuple[str, str], float]) -> Family:
        base = NAMED[name]
        rates: dict[str, Any] = dict.fromkeys(RATES, 0.0)
        if self.elder is not None:
            scale = found["scale", ""]
            rates |= {rate: three_digits(scale * getattr(self.elder, rate)) for rate in RATES}
        rates |= {
            rate: found[rate, owner]
            for rate, owner in found
            if owner in {"", name} and rate in RATES
        }
        return replace(base, **rates)

    def _feature(self, row: Row) -> tuple[list[float], float]:
        """Return a row's figure for each column, and the target for their weighted sum."""
        family = NAMED[_name(row)]
        none: dict[str, Any] = dict.fromkeys(RATES, 0.0)
        nothing = replace(family, **none)
        images = count(row, nothing)
        nothing = replace(nothing, image=0)
        values = [
            self._unit(row, rate, nothing) if owner in {"", family.name} else 0.0
            for rate, owner in self.columns
        ]
        return values, row.tokens - images

    def _unit(self, row: Row, rate: str, nothing: Family) -> float:
        if rate != "scale":
            one: dict[str, Any] = {rate: 1.0}
            return count(row, replace(nothing, **one))
        assert self.elder is not None
        return count(row, replace(self.elder, base=0, turn=0, tools=0, image=0))


def count(row: Row, family: Family, quantile: float | None = None) -> int:
    """Return what the counter says."""
    return EstimateCounter(family, quantile=quantile).count_request(row.messages, row.tools)


def need(row: Row, family: Family) -> float:
    """Return the pad that the row needs: the share by which it exceeds the bound without a pad."""
    return row.tokens / max(1, count(row, replace(family, pads={0.5: 0.0}), 0.5)) - 1


def surcharge(
    cause: str, asked: Iterable[Row], families: Mapping[str, Family], otherwise: float
) -> float:
    """Return what a parameter typically adds, from the rows with no other cause."""
    added = [
        row.tokens - count(row, families[_name(row)]) for row in asked if row.hidden == {cause}
    ]
    return three_digits(max(0, statistics.median(added))) if added else otherwise


def _name(row: Row) -> str:
    family = family_of(row.model)
    return "" if family is None else family.name


def fits(recorded: Sequence[Row]) -> list[Fit]:
    """Fit every group, elders first."""
    done: dict[str, Family] = {}
    found = []
    for group in GROUPS:
        found.append(Fit(group, recorded, done))
        done |= found[-1].fitted()
    return found


def error(tokens: int, billed: int) -> float:
    """Return the error in per cent of what was billed."""
    return 100 * (tokens - billed) / billed


def measured(pairs: Sequence[tuple[Row, Family]]) -> list[object]:
    """Return a line's cells: rows, median and 95th percentile of the error, and the bound."""
    visible = [error(count(row, family), row.tokens) for row, family in pairs if row.visible]
    held = [count(row, family, 0.95) >= row.tokens for row, family in pairs if family.pads]
    over = [error(count(row, family, 0.95), row.tokens) for row, family in pairs if family.pads]
    sizes = sorted(map(abs, visible))
    return [
        len(visible),
        f"{statistics.median(sizes):.1f}" if sizes else "-",
        f"{rank(sizes, 0.95):.1f}" if sizes else "-",
        f"{100 * sum(one < 0 for one in visible) / len(visible):.0f}" if visible else "-",
        len(held),
        f"{100 * statistics.mean(held):.1f}" if held else "-",
        f"{statistics.median(over):.0f}" if over else "-",
    ]


HEADER = (
    "rows",
    "median error %",
    "95th %",
    "under-counted %",
    "rows of the bound",
    "holds %",
    "median excess %",
)


def kind(row: Row) -> str:
    """Return what a request consists of."""
    contents = [wire.get("content") or "" for wire in row.messages]
    if any(
        part["type"].startswith("image")
        for content in contents
        for part in content
        if isinstance(part, dict)
    ):
        return "with images"
    if row.tools:
        return (
            "tools, calls and results"
            if any(wire["role"] == "tool" for wire in row.messages)
            else "tools declared"
        )
    if re.search('```|def |":|[{};]$', "\n".join(map(str, contents)), re.MULTILINE):
        return "text with code or JSON"
    return "plain text"


def report(found: Sequence[Fit]) -> None:
    """Print the tables."""
    pairs = [pair for fit in found for pair in fit.unseen()]
    for title, key in SECTIONS.items():
        lines: dict[str, list[tuple[Row, Family]]] = {}
        for row, family in pairs:
            lines.setdefault(key(row), []).append((row, family))
        print_table((title, *HEADER), [(line, *measured(lines[line])) for line in sorted(lines)])


SECTIONS: dict[str, Callable[[Row], str]] = {
    "family": _name,
    "vendor": lambda row: _name(row).partition("-")[0],
    "provider": lambda row: row.provider,
    "source": lambda row: row.source.split(" ")[0],
    "kind": kind,
    "size": lambda row: "up to 100 tokens" if row.tokens <= 100 else "over 100 tokens",
    "all": lambda _: "all",
}


def report_others(recorded: Sequence[Row]) -> None:
    """Print the errors of o200k_base with OpenAI's overhead, for models that have no family."""
    counter = counter_for("o200k_base")
    errors: dict[str, list[float]] = {vendor: [] for vendor in (*VENDORS, "others")}
    for row in recorded:
        if row.visible:
            vendor = next((name for name in VENDORS if name in row.model.lower()), "others")
            errors[vendor].append(error(counter.count_request(row.messages, row.tools), row.tokens))
    lines = [
        (
            vendor,
            len(sizes),
            f"{statistics.median(map(abs, sizes)):.1f}",
            f"{min(sizes):.0f} to {max(sizes):.0f}",
        )
        for vendor, sizes in errors.items()
    ]
    print_table(("counted as o200k_base chat", "rows", "median error %", "errors %"), lines)


def list_rows(recorded: Sequence[Row]) -> None:
    """Print every recorded request, of models without a family too."""
    lines = []
    for row in recorded:
        family = family_of(row.model)
        counts = ("-", "-") if family is None else (count(row, family), count(row, family, 0.95))
        lines.append(
            (row.id, row.provider, row.model, row.tokens, *counts, ", ".join(sorted(row.hidden)))
        )
    print_table(("row", "provider", "model", "billed", "estimate", "bound", "hidden"), lines)


def main(data: Path) -> None:
    """Print coefficients and tables."""
    recorded = list(rows(data))
    found = fits(recorded)
    for fit in found:
        for family in fit.fitted().values():
            print(family)
    print()
    report(found)
    causes = Counter(cause for row in recorded for cause in row.hidden or {"nothing"})
    print_table(("hidden in the row", "rows"), causes.most_common())
    report_others([row for row in recorded if family_of(row.model) is None])
    if sys.argv[1:] == ["rows"]:
        list_rows(recorded)


if __name__ == "__main__":
    if (folder := data_folder()) is not None:
        main(folder)
