"""The kit finds every saboteur, by the law it breaks and no other, and accuses no innocent."""

import os

import pytest
from hypothesis import settings

import saboteurs
from ctxwin import Summarize
from ctxwin.laws.laws import LAWS
from ctxwin.pruning import driving
from ctxwin.testing import ContractError, check_strategy
from ctxwin.testing.trials import spy
from ctxwin.testing.trials.search import CHECKS, search
from ctxwin.testing.trials.subjects import Capabilities, Subject
from saboteurs import ODDITIES, SABOTEURS, made

# Some saboteurs break their law in one case of forty: a hundred fresh cases can miss them. A search
# ends with the first breach, so a high limit costs nothing.
# What these do depends on chance, or on what they were asked before the case that is shown.
REMEMBER = {
    *("Moody", "SharesItsLimit", "believes_old_costs", "drops_at_random", "drops_by_address"),
    *("drops_by_the_clock", "drops_by_an_imported_clock", "drops_by_the_date", "HasAClock"),
    *("drops_by_the_calendar", "tells_the_time", "gives_up_after_a_while", "ServesOneAtATime"),
}
MANY = max(2000, settings().max_examples)
# Shrinking takes ten times as long as finding: on every run, one saboteur of each law shows it, the
# first whose behaviour depends on nothing but its case.
FIRST_OF_EACH_LAW = {
    law: name for name, (law, _, _) in reversed(SABOTEURS.items()) if name not in REMEMBER
}
SHRUNK = SABOTEURS if os.environ.get("CTXWIN_SHRINK_ALL") else FIRST_OF_EACH_LAW.values()


@pytest.mark.parametrize("name", SABOTEURS)
def test_saboteurs_are_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is found by its own law and no other; shrunk, on few messages, and again when pasted."""
    # One saboteur yields as many effects as it may.
    monkeypatch.setattr(driving.run_flow, "__defaults__", (Summarize, 50))
    monkeypatch.setattr(spy, "MAX_EFFECTS", 50)
    law, saboteur, claims = SABOTEURS[name]
    subject = Subject(lambda: made(saboteur), capabilities=Capabilities(**claims))
    finding = search(subject, [law], max_examples=MANY, shrink=name in SHRUNK)
    assert finding is not None
    assert finding.law == law
    if name in SHRUNK:
        assert len(finding.case.history) <= 12
    if name in REMEMBER:
        return
    if name in SHRUNK:
        with pytest.raises(ContractError) as caught:
            exec(finding.snippet, dict(vars(saboteurs)))  # noqa: S102 - our own code
        again = {one.law: one.reason for one in caught.value.violations}
        assert again[law] == finding.reason or law == "L10"  # two answers come in either order
    others = [other for other in CHECKS if other != law]
    assert search(subject, others, max_examples=max(5, settings().max_examples // 10)) is None


@pytest.mark.parametrize("name", ODDITIES)
def test_the_innocent_are_not_accused(name: str) -> None:
    """They look strange, and break no law."""
    check_strategy(ODDITIES[name], max_examples=max(10, settings().max_examples // 4))


def test_every_law_of_a_strategy_has_saboteurs() -> None:
    """L11 to L13 and L16 bind the manager: `test_planted_faults.py` breaks those."""
    broken = {law for law, _, _ in SABOTEURS.values()}
    assert broken == {law.id for law in LAWS} - {"L11", "L12", "L13", "L16"}
    assert len(SABOTEURS) >= 25
    assert len(ODDITIES) >= 8
