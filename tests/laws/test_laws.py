"""
What the kit does not check: exact figures, interrupts, and that hostile strategies are named.

The kit proves all seventeen laws: for each strategy and chain in `tests/plugins/test_contracts.py`,
and behind every hostile strategy and over any sequence of calls in `test_machine.py` and here.
"""

import asyncio

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ctxwin import Budget, BudgetError, ContextManager, hookimpl
from ctxwin.counting import CallableCounter, TokenCounter
from ctxwin.testing import HostileStrategy, check_strategy
from ctxwin.testing.judge.grouping import kept_messages
from ctxwin.testing.judge.windows import count_request
from ctxwin.testing.strategies import counters, histories
from ctxwin.values.wire import Wire


@given(histories(), counters())
def test_l1_to_the_token(history: list[Wire], counter: TokenCounter) -> None:
    """A budget of what `BudgetError` says is required suffices; one token less does not."""
    assume(history)
    required = count_request(counter, kept_messages(history))
    manager = ContextManager(required, counter=counter)
    manager.extend(history)
    assert count_request(counter, manager.messages()) <= required
    assume(required > 1 and kept_messages(history))
    manager = ContextManager(required - 1, counter=counter)
    manager.extend(history)
    with pytest.raises(BudgetError) as caught:
        manager.messages()
    assert caught.value.required_tokens == required
    assert caught.value.budget_tokens == required - 1


@pytest.mark.parametrize("kind", sorted(HostileStrategy.KINDS))
def test_all_laws_hold_behind_a_hostile_strategy(kind: str) -> None:
    """Whatever a strategy does, the next one is asked, and every window is lawful."""
    check_strategy(
        "drop-oldest",
        before=[HostileStrategy(kind)],
        reaches_target=True,
        max_examples=max(10, settings().max_examples // 8),
    )


@pytest.mark.parametrize("kind", sorted(set(HostileStrategy.KINDS) - set(HostileStrategy.INNOCENT)))
def test_l8_hostile_strategies_are_named(kind: str) -> None:
    """Each hostile strategy is named in the receipt, with a law and a reason."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    history: list[Wire] = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "please " * 20},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "result " * 20},
        {"role": "assistant", "content": "done " * 20},
        {"role": "user", "content": "and now?"},
    ]
    managers: list[ContextManager] = []
    manager = ContextManager(200, counter=len, strategies=[HostileStrategy(kind, managers)])
    managers.append(manager)
    manager.extend(history)
    manager.messages()
    assert manager.last_receipt
    rejected = manager.last_receipt.rejected
    assert (
        not rejected
        if kind in ("replace-kept", "edit-kept") and not rejected
        else rejected[0].strategy == f"hostile-{kind}"
    )
    assert all(rejection.law and rejection.reason for rejection in rejected)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_l8_interrupts_pass_through(error: type[BaseException]) -> None:
    """An interrupt inside a hook passes through, and nothing has changed."""

    class Stopper:
        @hookimpl
        def ctxwin_prune(self, request: object) -> None:
            raise error

    manager = ContextManager(60, counter=len, strategies=[Stopper()])
    manager.extend({"role": "user", "content": "hello " * 5} for _ in range(5))
    before = manager.to_dict()
    for call in (
        manager.messages,
        manager.prune_history,
        manager.plan,
        lambda: asyncio.run(manager.amessages()),
    ):
        with pytest.raises(error):
            call()
        assert manager.to_dict() == before


@given(
    histories(max_size=60, tools=False, roles=["user", "assistant"]),
    st.integers(60, 400),
    st.floats(0.1, 1),
)
def test_l11_stable_prefix(history: list[Wire], budget: int, low: float) -> None:
    """Between two cuts the window only grows, until it has used up all that the last cut freed."""
    manager = ContextManager(budget=Budget(budget, low=low), counter=len)
    cost = CallableCounter(len).count_message
    previous: list[Wire] = []
    receipt, appended = manager.last_receipt, None
    for wire in history:
        manager.append(wire)
        appended = None if appended is None else appended + cost(wire)
        try:
            window = manager.messages()
        except BudgetError:
            assume(False)
        if manager.last_receipt is receipt:
            assert window[: len(previous)] == previous
        else:
            assert receipt is None or appended is None or appended > budget - receipt.after_tokens
            receipt, appended = manager.last_receipt, 0
        previous = window


class Recorder(CallableCounter):
    """Remembers every text that it counted."""

    def __init__(self) -> None:
        super().__init__(self._record)
        self.texts: list[str] = []

    def _record(self, text: str) -> int:
        self.texts.append(text)
        return len(text)


@given(st.lists(st.text(max_size=30), min_size=1, max_size=40), st.integers(20, 300))
def test_l12_counted_once(texts: list[str], budget: int) -> None:
    """Each text is counted once, whatever is called; a `BudgetError` may count a request again."""
    counter = Recorder()
    manager = ContextManager(budget, counter=counter)
    assume(all(len(text) + 7 <= budget for text in texts))
    for text in texts:
        manager.add_message("user", text)
        manager.messages()
        manager.plan()
        assert manager.remaining_tokens >= 0
    assert counter.texts == texts
