"""Type-checked, never run: a user's test file, under strict checks."""

from collections.abc import Sequence
from typing import Any, ClassVar, assert_type

from hypothesis import given
from hypothesis import strategies as st

from ctxwin import Budget, Message, Plan, PruneRequest, TokenCounter, hookimpl
from ctxwin.testing import (
    Case,
    ContractError,
    Finding,
    HistoryMachine,
    StrategyContract,
    WordCounter,
    assert_valid_window,
    check_strategy,
    strategies,
)


class Mine:
    """A strategy."""

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
        return Plan.drop(request.droppable, "all of it") if request.droppable else None


class TestMine(StrategyContract):
    """Its tests."""

    reaches_target = True
    before = ("clear-tool-results",)
    expected_failures: ClassVar = {"L10": "for a reason"}

    def strategy(self) -> Mine:
        return Mine()

    def cases(self) -> st.SearchStrategy[Case]:
        return strategies.cases(histories=strategies.histories(max_size=3), lows=[1.0])


class MineMachine(HistoryMachine):
    """The machine with it."""

    edits = False

    def strategies(self) -> Sequence[object]:
        return [Mine()]


@given(strategies.histories(), strategies.budgets(), strategies.counters(), st.from_type(Message))
def use(
    history: list[dict[str, Any]], budget: Budget, counter: TokenCounter, message: Message
) -> None:
    assert_valid_window(history, history[1:], budget, counter)
    assert_valid_window(history, history, 100, len, pinned=[1], edits=True)
    assert_type(message, Message)


def prove() -> None:
    try:
        check_strategy(Mine(), reaches_target=True, max_examples=5)
    except ContractError as error:
        assert_type(error.violations, tuple[Finding, ...])
    check_strategy(Mine(), reaches_target="yes")  # type: ignore[arg-type]
    assert_type(WordCounter().count_text("a b"), int)
