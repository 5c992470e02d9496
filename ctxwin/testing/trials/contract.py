"""
The contract of a strategy: a search finds no history on which it breaks a law.

`check_strategy` needs no pytest; `StrategyContract` does the same as a class of tests, one per law.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from hypothesis import strategies as st

from ctxwin.testing.data.cases import Case
from ctxwin.testing.strategies import cases as default_cases
from ctxwin.testing.trials.reports import STATEMENTS, ContractError, Finding
from ctxwin.testing.trials.search import search_all
from ctxwin.testing.trials.subjects import Capabilities, Subject, adapted, fresh

# What was found of each class of tests.
_FOUND: WeakKeyDictionary[type, Mapping[str, Finding]] = WeakKeyDictionary()


def check_strategy(
    strategy: object,
    *,
    before: Sequence[object] = (),
    reaches_target: bool = False,
    bounds_summaries: bool = False,
    max_source_tokens: int | None = None,
    cases: st.SearchStrategy[Case] | Sequence[Case] | None = None,
    max_examples: int | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> None:
    """
    Test a strategy against all seventeen laws, without pytest.

    Args:
        strategy: the strategy object, or the name of an installed one. It is copied for each
            history, if it can be.
        before: strategies earlier in the chain, names or objects, so that it sees what they leave.
        reaches_target: a claim: it frees `excess_tokens` whenever the droppable units cost that
            much.
        bounds_summaries: a claim: its plan is valid whatever text of at most `max_tokens` a
            summariser returns.
        max_source_tokens: a claim: it never has more than this summarised at once.
        cases: what it is tried on: a generator, or the very cases, as a finding has them. The
            default is `ctxwin.testing.strategies.cases()`.
        max_examples: the number of histories; the default is that of the loaded Hypothesis profile.
        expected_failures: law -> why the strategy is known to break it. If it no longer breaks the
            law, that is an error.

    Raises:
        ContractError: an `AssertionError` that lists every broken law, each with the smallest
            history found.
        AssertionError: it no longer breaks a law in `expected_failures`.
        StrategyError: its hooks cannot work, so no manager would take it.
        UnknownStrategyError: no strategy of that name is installed.
        ValueError: an expected failure names an unknown law, or gives no reason.
    """
    expected = checked_failures(expected_failures or {})
    adapted(strategy)  # raises at once if no manager would take it
    subject = Subject(
        make=lambda: fresh(strategy),
        before=before,
        capabilities=Capabilities(reaches_target, bounds_summaries, max_source_tokens),
    )
    found = search_all(subject, cases, max_examples)
    unexpected = [finding for law, finding in found.items() if law not in expected]
    if unexpected:
        raise ContractError(unexpected)
    missing = expected.keys() - found
    if missing:
        raise AssertionError(
            f"expected_failures names {', '.join(sorted(missing))}, which the strategy "
            "no longer breaks: remove it"
        )


def checked_failures(expected: Mapping[str, str]) -> Mapping[str, str]:
    """
    Return expected failures.

    Raises `ValueError`: one names an unknown law, or gives no reason.
    """
    for law, reason in expected.items():
        if law not in STATEMENTS:
            raise ValueError(
                f"expected_failures names {law!r}; the laws are {', '.join(STATEMENTS)}"
            )
        if not str(reason or "").strip():
            raise ValueError(f"expected_failures[{law!r}] needs a reason")
    return expected


class StrategyContract:
    """
    The contract of a strategy as tests, one per law; subclass it and define `strategy()`.

    One search serves all tests of a class: each history is checked for every law.

    Attributes:
        before: strategies earlier in the chain, names or objects, so that it sees what they leave.
        reaches_target: a claim: it frees `excess_tokens` whenever the droppable units cost that
            much.
        bounds_summaries: a claim: its plan is valid whatever text of at most `max_tokens` a
            summariser returns.
        max_source_tokens: a claim: it never has more than this summarised at once.
        expected_failures: law -> why the strategy is known to break it. The test fails once it no
            longer does.
        max_examples: the number of histories; the default is that of the loaded Hypothesis
            profile.
    """

    before: ClassVar[Sequence[object]] = ()
    reaches_target: ClassVar[bool] = False
    bounds_summaries: ClassVar[bool] = False
    max_source_tokens: ClassVar[int | None] = None
    expected_failures: ClassVar[Mapping[str, str]] = {}
    max_examples: ClassVar[int | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        checked_failures(cls.expected_failures)
        overridden = [
            name
            for name in vars(cls)
            if name.startswith("test_l") and hasattr(StrategyContract, name)
        ]
        if overridden:
            raise TypeError(
                f"{cls.__name__} overrides {', '.join(overridden)}: "
                "use expected_failures, with a reason"
            )

    def strategy(self) -> object:
        """Return a new strategy to test; called for each history."""
        raise NotImplementedError(
            f"{type(self).__name__} must define strategy(), which returns the strategy to test"
        )

    def cases(self) -> st.SearchStrategy[Case]:
        """Return the generator of cases that the strategy is tried on."""
        return default_cases()

    def test_l1_budget(self) -> None:
        """L1: windows fit, and a strategy that claims to reach the target does."""
        self._prove("L1")

    def test_l2_tool_units(self) -> None:
        """L2: its plans never separate a call from its results. Name whole units of the request."""
        self._prove("L2")

    def test_l3_pins(self) -> None:
        """L3: its plans leave pinned and protected units alone. Choose from `droppable`."""
        self._prove("L3")

    def test_l4_current_question(self) -> None:
        """L4: they keep question and newest unit. Drop from `droppable`, edit from `editable`."""
        self._prove("L4")

    def test_l5_order(self) -> None:
        """L5: its plans name only units of the request."""
        self._prove("L5")

    def test_l6_no_silent_edit(self) -> None:
        """L6: edits cut between graphemes and keep JSON valid. See `ctxwin.laws.graphemes`."""
        self._prove("L6")

    def test_l7_progress(self) -> None:
        """L7: its plans free tokens. Return None if there is nothing to free."""
        self._prove("L7")

    def test_l8_failure_is_free(self) -> None:
        """L8: it raises nothing, even on missing content, lists of parts, or no droppable unit."""
        self._prove("L8")

    def test_l9_no_aliasing(self) -> None:
        """L9: it does not change what it is shown."""
        self._prove("L9")

    def test_l10_deterministic(self) -> None:
        """L10: equal requests get equal answers, whatever a clock, chance or the past says."""
        self._prove("L10")

    def test_l11_stable_prefix(self) -> None:
        """L11: with it, a window is cut only when it is over the budget."""
        self._prove("L11")

    def test_l12_counted_once(self) -> None:
        """L12: with it, no message is counted twice."""
        self._prove("L12")

    def test_l13_nothing_lost(self) -> None:
        """L13: with it, the log keeps everything, and a saved conversation continues equally."""
        self._prove("L13")

    def test_l14_explained(self) -> None:
        """L14: its plans name no message twice, and reasons are texts."""
        self._prove("L14")

    def test_l15_summaries_shrink(self) -> None:
        """L15: its summaries are not blank, and cost less than their sources."""
        self._prove("L15")

    def test_l16_no_lost_update(self) -> None:
        """L16: with it, messages that another thread appends or pins meanwhile are kept."""
        self._prove("L16")

    def test_l17_first_turn(self) -> None:
        """L17: a summary that begins the window is written as a user message."""
        self._prove("L17")

    def _prove(self, law: str) -> None:
        """Fail if a history was found on which the law is broken."""
        __tracebackhide__ = True
        import pytest  # noqa: PLC0415 - check_strategy works without it

        finding = self._findings().get(law)
        reason = self.expected_failures.get(law)
        if reason is None and finding is not None:
            raise ContractError([finding])
        if reason is not None and finding is not None:
            pytest.xfail(reason)
        if reason is not None:
            pytest.fail(
                f"{law} was expected to fail ({reason}) and no longer does: remove it",
                pytrace=False,
            )

    def _findings(self) -> Mapping[str, Finding]:
        """Return what is found of all laws: searched by the class's first test, for all of them."""
        cls = type(self)
        if cls not in _FOUND:
            subject = Subject(
                make=self.strategy,
                before=self.before,
                capabilities=Capabilities(
                    self.reaches_target, self.bounds_summaries, self.max_source_tokens
                ),
                contract=cls,
            )
            _FOUND[cls] = search_all(subject, self.cases(), self.max_examples)
        return _FOUND[cls]
