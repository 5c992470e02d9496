"""The kit itself: what it generates, its fakes, expected failures, and what a failure shows."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from ctxwin import Budget, ContextManager, Message, SummarizerError, UnknownStrategyError, hookimpl
from ctxwin.testing import (
    Case,
    ContractError,
    FailingSummarizer,
    HistoryMachine,
    HostileStrategy,
    OddCounter,
    ScriptedSummarizer,
    SlowSummarizer,
    StrategyContract,
    WordCounter,
    check_strategy,
    strategies,
)
from ctxwin.testing.trials.subjects import Subject, adapted
from ctxwin.values.errors import StrategyError
from ctxwin.values.message import read_message
from ctxwin.values.wire import Wire
from plants import PLANTS, uproot
from saboteurs import Alternates, edits_what_it_drops, made, off_by_one

pytest_plugins = ["pytester"]
QUICK = settings(
    max_examples=3000, database=None, suppress_health_check=list(HealthCheck), derandomize=True
)


def ids(wire: Wire) -> list[str | None]:
    return [call.get("id") for call in wire.get("tool_calls", ())]


def texts(history: Sequence[Wire]) -> str:
    return " ".join(wire["content"] for wire in history if isinstance(wire.get("content"), str))


REACHED = {
    "parallel calls": lambda history: any(len(set(ids(wire))) > 2 for wire in history),
    "an id twice in a message": lambda history: any(
        len(ids(wire)) > len(set(ids(wire))) for wire in history
    ),
    "an id again later": lambda history: sum("a" in ids(wire) for wire in history) > 1,
    "calls without ids": lambda history: any(None in ids(wire) for wire in history),
    "a legacy call": lambda history: any("function_call" in wire for wire in history),
    "a late result": lambda history: any(
        ids(a) and b["role"] == "user" and c["role"] == "tool"
        for a, b, c in zip(history, history[1:], history[2:], strict=False)
    ),
    "interleaved calls": lambda history: any(
        ids(a) and ids(b) and c["role"] == "tool"
        for a, b, c in zip(history, history[1:], history[2:], strict=False)
    ),
    "a pending call": lambda history: bool(history and ids(history[-1])),
    "a dead call": lambda history: any(
        ids(a) and b["role"] == "user" for a, b in pairwise(history)
    ),
    "a result for no call": lambda history: bool(history and history[0]["role"] == "tool"),
    "tools only": lambda history: (
        len(history) > 5 and all(ids(w) or w["role"] == "tool" for w in history)
    ),
    "a giant message": lambda history: "word " * 60 in texts(history),
    "empty content": lambda history: any(wire.get("content", 0) == "" for wire in history),
    "no content": lambda history: any(
        wire.get("content", 0) is None and not ids(wire) for wire in history
    ),
    "list content": lambda history: any(wire.get("content", 0) == [] for wire in history),
    "a result of parts": lambda history: any(
        w["role"] == "tool" and isinstance(w.get("content", 0), list) for w in history
    ),
    "content left out": lambda history: any("content" not in wire for wire in history),
    "a picture": lambda history: "image_url" in str(history),
    "reasoning": lambda history: "signature" in str(history),
    "two system messages": lambda history: sum(wire["role"] == "system" for wire in history) > 1,
    "CJK": lambda history: "订单" in texts(history),
    "emoji sequences": lambda history: "👨‍👩‍👧" in texts(history),
    "a lone surrogate": lambda history: "\ud800" in texts(history),
    "JSON": lambda history: '{"rows"' in texts(history),
    "names": lambda history: any("name" in wire for wire in history if wire["role"] == "user"),
}


@pytest.mark.parametrize("case", REACHED)
def test_histories_reach_what_real_logs_hold(case: str) -> None:
    """They also shrink to it: the smallest history found is small."""
    found = find(strategies.histories(), REACHED[case], settings=QUICK)
    assert len(found) <= 6


def counts_by(kind: str, case: Case) -> bool:
    return getattr(case.counter, "kind", "") == kind


def test_cases_reach_pins_and_odd_counters() -> None:
    """Cases vary everything that matters: pins, protected units, summaries, budgets, counters."""
    conditions: list[Callable[[Any], bool]] = [
        lambda case: bool(case.pinned) and max(case.pinned) < len(case.history) - 1,
        lambda case: bool(case.protected),
        lambda case: case.ask_every == 1,
        lambda case: case.prune_first,
        lambda case: case.folded,
        lambda case: len(case.pinned) > 6,
        lambda case: case.history[: len(case.history) // 2] * 2 == case.history,
        lambda case: case.allow_question_edit,
        lambda case: case.budget.low < 1,
        *(partial(counts_by, kind) for kind in OddCounter.KINDS),
    ]
    reached: set[int] = set()

    @settings(QUICK, max_examples=500)
    @given(strategies.cases())
    def look(case: Case) -> None:
        reached.update(number for number, condition in enumerate(conditions) if condition(case))

    look()
    assert reached == set(range(len(conditions)))
    assert (
        find(
            strategies.budgets(), lambda budget: budget.reserve_output > 0, settings=QUICK
        ).max_tokens
        == 1
    )


@given(strategies.histories(valid=True))
def test_valid_histories_are_valid(history: list[Wire]) -> None:
    """They have a system message first, exchanges in place, a user message, no empty text."""
    manager = ContextManager(10**6, counter=len)
    manager.extend(history)
    assert manager.messages() == history
    assert not manager.left_out
    assert any(wire["role"] == "user" for wire in history)
    assert all(wire["role"] != "system" for wire in history[1:])
    assert not any("tool_calls" in wire for wire in history[-1:])


@given(
    strategies.messages(roles=["user"], plain=True, texts=st.just("hi")),
    strategies.tool_exchanges(max_calls=2),
    strategies.tool_exchanges(valid=True),
    strategies.histories(tools=False, max_size=3),
    strategies.counters(odd=False),
)
def test_knobs(
    message: Wire,
    exchange: list[Wire],
    valid: list[Wire],
    history: list[Wire],
    counter: WordCounter,
) -> None:
    """Each option does what it says."""
    assert message == {"role": "user", "content": "hi"}
    assert 2 <= len(exchange) <= 3
    assert ids(valid[0]) == [wire["tool_call_id"] for wire in valid[1:]]
    assert len(history) <= 3
    assert not any(ids(wire) or wire["role"] in ("tool", "function") for wire in history)
    assert counter.count_text("") == 0


@given(st.from_type(Message), st.from_type(Budget))
def test_types_are_registered(message: Message, budget: Budget) -> None:
    """`st.from_type` finds them through the entry point of Hypothesis."""
    assert read_message(message) == message.to_dict()
    assert budget.max_tokens >= 1


def test_fakes() -> None:
    """Summarisers answer as told and record their calls; counters count."""
    scripted = ScriptedSummarizer("one", "two")
    assert [scripted((), None, 9) for _ in range(3)] == ["one", "two", "two"]
    assert scripted.calls == [((), None, 9)] * 3
    assert ScriptedSummarizer()((), "before", 9) == "0 messages"
    failing = FailingSummarizer("one")
    assert failing((), None, 9) == "one"
    with pytest.raises(TimeoutError):
        failing((), None, 9)
    assert SlowSummarizer("late", seconds=0.001)((), None, 9) == "late"
    assert repr(scripted) == "ScriptedSummarizer('one', 'two')"
    assert WordCounter().count_text("three small words") == 3
    assert (repr(WordCounter()), repr(WordCounter(exact=True))) == (
        "WordCounter()",
        "WordCounter(exact=True)",
    )
    with pytest.raises(ValueError, match="merging"):
        OddCounter("no such kind")
    with pytest.raises(ValueError, match="raise-panic"):
        HostileStrategy("no such kind")
    with pytest.raises(RuntimeError, match="no manager"):
        HostileStrategy("recurse-plan").ctxwin_prune(None)  # type: ignore[arg-type]
    assert repr(HostileStrategy("junk")) == "HostileStrategy('junk')"


def test_bad_subjects_are_refused_at_once() -> None:
    """They get the error that a manager would raise."""
    with pytest.raises(UnknownStrategyError, match="drop-oldest"):
        check_strategy("no-such-strategy")
    with pytest.raises(StrategyError, match="is a class"):
        check_strategy(Alternates)
    with pytest.raises(StrategyError, match="no hook"):
        check_strategy(object())


def test_expected_failures_of_check_strategy() -> None:
    """A known breach passes if it has a reason; one that no longer happens fails."""
    check_strategy(
        made(edits_what_it_drops),
        expected_failures={"L14": "they are all the same"},
        max_examples=20,
    )
    with pytest.raises(AssertionError, match="L9, which the strategy no longer breaks: remove it"):
        check_strategy("drop-oldest", expected_failures={"L9": "it used to"}, max_examples=5)
    with pytest.raises(ValueError, match="the laws are L1"):
        check_strategy("drop-oldest", expected_failures={"L18": "no such law"})
    with pytest.raises(ValueError, match="needs a reason"):
        check_strategy("drop-oldest", expected_failures={"L1": " "})


def test_a_flaky_strategy_breaks_l10() -> None:
    """It fails once, and never again on the same history."""
    memory: set[str] = set()

    class Once:
        @hookimpl
        def ctxwin_prune(self, request: Any) -> None:
            text = repr([unit.messages for unit in request.units])
            if len(request.units) > 2 and text not in memory:
                memory.add(text)
                raise OSError("only once")

    with pytest.raises(ContractError) as caught:
        check_strategy(Once())
    assert "L10" in {finding.law for finding in caught.value.violations}
    assert "not again on the same history" in str(caught.value)


def test_cases_of_ones_own() -> None:
    """A user can narrow what a strategy is tried on."""
    plain = strategies.cases(
        histories=strategies.histories(tools=False), counters=st.just(WordCounter()), lows=[1.0]
    )
    with pytest.raises(ContractError) as caught:
        check_strategy(made(off_by_one), reaches_target=True, cases=plain)
    case = caught.value.violations[0].case
    assert isinstance(case, Case)
    assert isinstance(case.counter, WordCounter)
    assert case.upto(1).history == case.history[:1]


def test_a_finding_names_law_table_and_snippet() -> None:
    """A failure shows everything in one text, and as fields."""
    with pytest.raises(ContractError) as caught:
        check_strategy(made(off_by_one), reaches_target=True)
    (finding,) = caught.value.violations
    assert (finding.law, finding.strategy) == ("L1", "off-by-one")
    assert finding.table.splitlines()[0].split() == [
        "id",
        "role",
        "tokens",
        "before",
        "plan",
        "after",
        "content",
    ]
    assert (
        "check_strategy(Behaves(off_by_one), cases=[case], reaches_target=True)" in finding.snippet
    )
    for part in ("off-by-one breaks L1 budget", finding.reason, "Repeat it:"):
        assert part in str(caught.value)


CONTRACTS = """
import pytest
from ctxwin.testing import StrategyContract
from saboteurs import drops_nothing, made
from ctxwin_plugins.drop_oldest import DropOldest

class TestKnown(StrategyContract):
    expected_failures = {"L7": "it has nothing better to do", "L2": "it used to part exchanges"}
    max_examples = 20
    def strategy(self):
        return made(drops_nothing)

class TestMissing(StrategyContract):
    pass
"""


def test_escapes_carry_a_reason_and_vanish_loudly(pytester: pytest.Pytester) -> None:
    """An expected failure is an xfail; if it no longer happens, the test fails."""
    pytester.makepyfile(test_contracts=CONTRACTS)
    result = pytester.runpytest_inprocess(
        "-q", "-rxf", "-p", "no:cacheprovider", "-k", "l7_ or l2_ or Missing and l1_"
    )
    result.assert_outcomes(xfailed=1, failed=4)
    result.stdout.fnmatch_lines(
        ["*L2 was expected to fail (it used to part exchanges) and no longer does*"]
    )
    result.stdout.fnmatch_lines(["*TestMissing must define strategy()*"])
    result.stdout.fnmatch_lines(["XFAIL *test_l7_progress*it has nothing better to do*"])


def test_without_hypothesis_it_says_what_to_install() -> None:
    """The error names the extra to install."""
    code = (
        "import importlib.util as u; f = u.find_spec; "
        "u.find_spec = lambda n: f(n) if n != 'hypothesis' else None"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport ctxwin.testing"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "pip install 'ctxwin[testing]'" in done.stderr


def test_contracts_cannot_be_thinned_out() -> None:
    """Overriding a test, or an expected failure without a reason, fails with the class itself."""
    with pytest.raises(TypeError, match="overrides test_l9_no_aliasing: use expected_failures"):
        type("Thin", (StrategyContract,), {"test_l9_no_aliasing": lambda self: None})
    with pytest.raises(ValueError, match="needs a reason"):
        type("Thin", (StrategyContract,), {"expected_failures": {"L9": ""}})


@pytest.mark.parametrize("law", ["L1", "L2", "L13"])
def test_the_machine_finds_planted_faults(law: str) -> None:
    """It needs no strategies but those of ctxwin."""
    PLANTS[law][0][0]()
    try:
        with pytest.raises((AssertionError, SummarizerError, ValueError)):
            run_state_machine_as_test(
                HistoryMachine, settings=settings(QUICK, max_examples=200, phases=[Phase.generate])
            )
    finally:
        uproot()


class Forms:
    """Implements its hooks in every form that pluggy takes."""

    @hookimpl(specname="ctxwin_prune")
    def shorten(self) -> tuple[object, ...]:
        return (self,)

    @staticmethod
    @hookimpl
    def ctxwin_protect(request: Any) -> tuple[object, ...]:
        return (request,)

    @classmethod
    @hookimpl
    def ctxwin_pruned(cls, receipt: Any) -> tuple[object, ...]:
        return cls, receipt


def test_hooks_are_those_that_a_chain_calls() -> None:
    """The kit looks up the hooks of a class once, and calls them on each object as a chain does."""
    held = Forms()
    vars(held)["ctxwin_protect"] = hookimpl(lambda request: (request, request))
    subject = Subject(Forms)
    for plugin in (Forms(), Forms(), held, Alternates(), Alternates()):
        found, chained = subject.adapted(plugin), adapted(plugin)
        for hook in ("protect", "prune", "pruned"):
            assert (getattr(found, hook) is None) == (getattr(chained, hook) is None)
        if isinstance(plugin, Forms):
            assert found.prune is not None
            assert found.protect is not None
            assert found.pruned is not None
            assert found.prune(request=1) == (plugin,)
            assert found.protect(request=1) == ((1, 1) if plugin is held else (1,))
            assert found.pruned(receipt=2) == (Forms, 2)
