"""The kit finds faults planted in the manager: each law's enforcement switched off in turn."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ctxwin.hooks.installed import load
from ctxwin.laws.laws import LAWS
from ctxwin.testing.trials.reports import Finding
from ctxwin.testing.trials.search import search
from ctxwin.testing.trials.subjects import Subject
from plants import PLANTS, behind, uproot

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def _mended() -> Iterator[None]:
    yield
    uproot()


def test_every_law_has_a_plant() -> None:
    """All seventeen laws have one."""
    assert set(PLANTS) == {law.id for law in LAWS}


def found(law: str, number: int) -> Finding:
    """Plant a fault, and return what the kit finds; the strategy under test is honest."""
    plant = PLANTS[law][number]
    plant[0]()
    subject = Subject(lambda: load("drop-oldest"), before=behind(plant))
    finding = search(subject, [law], max_examples=1000, shrink=False)  # it ends with the first
    assert finding is not None
    return finding


@pytest.mark.parametrize(
    ("law", "number"), [(law, number) for law in PLANTS for number in range(len(PLANTS[law]))]
)
def test_plants_are_found(law: str, number: int) -> None:
    """The strategy under test is honest: here the manager breaks the law."""
    assert found(law, number).law == law


CONTRACT = """
from hypothesis import strategies as st
from ctxwin import Budget
from ctxwin.testing import *
from ctxwin_plugins.drop_oldest import DropOldest

case = {}


class TestDropOldest(StrategyContract):
    max_examples = 3

    def strategy(self):
        return DropOldest()

    def cases(self):
        return st.just(case)
"""


@pytest.mark.parametrize("law", ["L11", "L12", "L13", "L16"])
def test_faults_of_the_manager_fail_the_test_of_their_law(
    law: str, pytester: pytest.Pytester
) -> None:
    """It also fails in the test session of a third party, which tries the case that was found."""
    folder = str(Path(__file__).parent)
    pytester.makeconftest(
        f"import sys\nsys.path.insert(0, {folder!r})\n"
        f"import plants\nplants.PLANTS[{law!r}][0][0]()\n"
    )
    pytester.makepyfile(test_contract=CONTRACT.format(found(law, 0).case.code()))
    result = pytester.runpytest_subprocess("-q", "-k", f"{law.lower()}_ or l3_")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [f"*drop-oldest breaks {law} *", "*Repeat it:*", f"FAILED *test_{law.lower()}_*"]
    )
