"""One property a law: whatever the history, the budget, the counter and the chain."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from checker import SYSTEM, Logged, judge, kept_units, sendable
from ctxwin import Budget, BudgetError, ContextManager, Receipt
from ctxwin.counting import CallableCounter
from ctxwin.laws import LAWS
from generators import Wire, budgets, counters, histories
from hostile import BEHAVIOURS, INNOCENT, MANAGERS, Hostile

CHAINS = st.sampled_from(
    [
        ["drop-oldest"],
        ["clear-tool-results"],
        ["clamp-oversized"],
        ["keep-pinned", "clamp-oversized", "clear-tool-results", "drop-oldest"],
    ]
)
PINS = st.sets(st.integers(0, 23), max_size=4)
Count = Callable[[str], int]


def build(history: Sequence[Wire], pins: set[int], **options: Any) -> tuple[ContextManager, list[Logged]]:
    """A manager with the history appended, and the model of its log."""
    manager = ContextManager(**options)
    log = []
    for number, wire in enumerate(history):
        manager.append(wire, pinned=number in pins)
        log.append(Logged(wire, number in pins or wire["role"] in SYSTEM))
    return manager, log


def window_of(manager: ContextManager) -> list[Wire]:
    try:
        return manager.messages()
    except BudgetError:
        assume(False)
        raise


def faults_of(law: str, manager: ContextManager, log: list[Logged], count: Count) -> list[str]:
    cost = CallableCounter(count).count_request
    faults = judge(log, window_of(manager), max_tokens=manager.max_tokens, cost=cost, may_edit=True)
    return [fault for fault in faults if law in fault.split(":")[0]]


@given(histories(), PINS, counters(), budgets(), CHAINS)
def test_l1_budget(history: list[Wire], pins: set[int], count: Count, budget: int, chain: list[str]) -> None:
    """A window fits, or the error is honest."""
    manager, log = build(history, pins, max_tokens=budget, counter=count, strategies=chain)
    cost = CallableCounter(count).count_request
    kept = [log[position].wire for unit in kept_units(log) for position in unit.positions]
    try:
        window = manager.messages()
    except BudgetError as error:
        assert cost(kept) > budget
        assert error.required_tokens > error.budget_tokens == budget
        assert manager.total_tokens > budget
        if chain == ["drop-oldest"]:  # to the token: what is required fits, one token less does not
            assert error.required_tokens == cost(kept)
            fits, _ = build(history, pins, max_tokens=cost(kept), counter=count)
            assert cost(fits.messages()) == cost(kept)
            short, _ = build(history, pins, max_tokens=cost(kept) - 1, counter=count)
            with pytest.raises(BudgetError):
                short.messages()
        return
    assert not window or cost(window) <= budget
    assert manager.total_tokens == cost(window)


@given(histories(), PINS, counters(), budgets(), CHAINS)
def test_l2_tool_units(history: list[Wire], pins: set[int], count: Count, budget: int, chain: list[str]) -> None:
    """Calls and results live and die together; what is left out is named."""
    manager, log = build(history, pins, max_tokens=budget, counter=count, strategies=chain)
    assert not faults_of("L2", manager, log, count)
    held = {log[position].uid for unit in sendable(log) for position in unit.positions}
    assert [message.extra["uid"] for message in manager.left_out] == [m.uid for m in log if m.uid not in held]


@given(histories(), PINS, counters(), budgets(), CHAINS)
def test_l3_pins_and_l4_question(
    history: list[Wire], pins: set[int], count: Count, budget: int, chain: list[str]
) -> None:
    """System, developer and pinned messages, the question and the newest unit are there."""
    manager, log = build(history, pins, max_tokens=budget, counter=count, strategies=chain)
    assert not faults_of("L3", manager, log, count)


@given(histories(), PINS, counters(), budgets(), CHAINS)
def test_l5_order(history: list[Wire], pins: set[int], count: Count, budget: int, chain: list[str]) -> None:
    """Units keep the log's order."""
    manager, log = build(history, pins, max_tokens=budget, counter=count, strategies=chain)
    assert not faults_of("L5", manager, log, count)


@given(histories(), PINS, counters(), budgets(), CHAINS)
def test_l6_no_silent_edit(history: list[Wire], pins: set[int], count: Count, budget: int, chain: list[str]) -> None:
    """Whatever differs from the log was declared as an edit."""
    manager, log = build(history, pins, max_tokens=budget, counter=count, strategies=chain)
    window = window_of(manager)
    receipt = manager.last_receipt
    actions = receipt.actions if receipt else ()
    edited = {id_ for action in actions if action.kind == "edit" for id_ in action.message_ids}
    by_uid = {logged.uid: logged.wire for logged in log}
    for message, wire in zip(manager, window, strict=True):
        assert message.id in edited or wire == by_uid[wire["uid"]]


@given(histories(), PINS, counters(), budgets(), CHAINS)
def test_l7_progress_and_l14_explained(
    history: list[Wire], pins: set[int], count: Count, budget: int, chain: list[str]
) -> None:
    """A receipt accounts for every token and every unit."""
    manager, _ = build(history, pins, max_tokens=budget, counter=count, strategies=chain)
    before = {message.id for message in manager}
    start = manager.total_tokens
    window_of(manager)
    receipt = manager.last_receipt
    if receipt is None:
        return
    assert receipt.before_tokens == start
    assert receipt.after_tokens == manager.total_tokens < start
    assert receipt.before_tokens - receipt.after_tokens == sum(action.freed_tokens for action in receipt.actions)
    gone = before - {message.id for message in manager}
    assert {message.id for message in receipt.evicted} == gone
    named = {id_ for action in receipt.actions if action.kind in ("drop", "release") for id_ in action.message_ids}
    assert named == gone
    assert all(action.reason and action.strategy for action in receipt.actions)
    left = {id_ for action in receipt.actions if action.kind == "leave-out" for id_ in action.message_ids}
    assert left == {message.id for message in receipt.left_out}


def _hostile_manager(history: list[Wire], name: str, budget: int, count: Count) -> tuple[ContextManager, list[Logged]]:
    manager, log = build(
        history, set(), max_tokens=budget, counter=count, strategies=[Hostile("evil", BEHAVIOURS[name])]
    )
    MANAGERS[:] = [manager]
    return manager, log


@pytest.mark.parametrize("name", sorted(BEHAVIOURS))
@given(history=histories(), budget=budgets(), count=counters())
def test_l8_failure_is_free(name: str, history: list[Wire], budget: int, count: Count) -> None:
    """Whatever a strategy does, the log is as it was and the window is as lawful as without it."""
    manager, log = _hostile_manager(history, name, budget, count)
    plain, _ = build(history, set(), max_tokens=budget, counter=count)
    cost = CallableCounter(count).count_request
    try:
        window = manager.messages()
    except BudgetError:
        with pytest.raises(BudgetError):
            plain.messages()
        assert not manager.last_receipt
    else:
        edits = {"edit-kept", "edit-and-drop"}
        faults = judge(log, window, max_tokens=budget, cost=cost, may_edit=name in edits)
        assert not faults
    assert [message.to_dict() for message in manager.conversation_history] == history


@pytest.mark.parametrize("name", sorted(BEHAVIOURS.keys() - INNOCENT))
def test_l8_hostile_strategies_are_named(name: str) -> None:
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
    manager, _ = _hostile_manager(history, name, 60, len)
    manager._state.budget = Budget(200)
    manager.messages()
    assert manager.last_receipt
    rejected = manager.last_receipt.rejected
    lawful = {"replace-kept", "edit-kept"} if not rejected else set()
    assert name in lawful or rejected[0].strategy == "evil"
    assert all(rejection.law and rejection.reason for rejection in rejected)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_l8_interrupts_pass_through(error: type[BaseException]) -> None:
    """An interrupt inside a hook passes through, and nothing has changed."""

    def behave(request: object) -> None:
        raise error

    manager = ContextManager(60, counter=len, strategies=[Hostile("stopper", behave)])
    manager.extend({"role": "user", "content": "hello " * 5} for _ in range(5))
    before = manager.to_dict()
    for call in (manager.messages, manager.prune_history, manager.plan, lambda: asyncio.run(manager.amessages())):
        with pytest.raises(error):
            call()
        assert manager.to_dict() == before


@given(histories(), counters(), budgets())
def test_l9_no_aliasing(history: list[Wire], count: Count, budget: int) -> None:
    """Nothing that goes in or comes out is live state."""
    given_json = json.dumps(history)
    manager, _ = build(history, set(), max_tokens=budget, counter=count)
    window = window_of(manager)
    state = manager.to_dict()
    assert json.dumps(history) == given_json
    for wire in [*history, *window, *(m.to_dict() for m in manager.conversation_history)]:
        if isinstance(wire["content"], list):
            wire["content"].append("evil")
        for call in wire.get("tool_calls") or []:
            call["function"]["name"] = "evil"
        wire["evil"] = True
    for message in (*manager.conversation_history, *manager, *manager.left_out):
        message.extra["evil"] = True
        message._wire["content"] = "evil"
    assert manager.to_dict() == state


@given(histories(), counters(), budgets(), CHAINS)
def test_l10_deterministic(history: list[Wire], count: Count, budget: int, chain: list[str]) -> None:
    """The same calls give the same windows; plans, meters and a second look change nothing."""
    first, _ = build(history, set(), max_tokens=budget, counter=count, strategies=chain)
    second, _ = build(history, set(), max_tokens=budget, counter=count, strategies=chain)
    before = first.to_dict()
    planned: Receipt | None = None
    try:
        planned = first.plan()
    except BudgetError:
        with pytest.raises(BudgetError):
            first.prune_history()
    first.preview("draft")
    assert (repr(first), len(first), bool(first)) == (repr(second), len(second), True)
    assert first.to_dict() == before
    if planned is not None:
        assert window_of(first) == window_of(second) == first.messages()
        assert first.to_dict() == second.to_dict()
        third, _ = build(history, set(), max_tokens=budget, counter=count, strategies=chain)
        assert third.prune_history() == planned


@given(histories(60), st.integers(60, 400), st.floats(0.1, 1))
def test_l11_stable_prefix(history: list[Wire], budget: int, low: float) -> None:
    """Between two cuts the window only grows, and by no less than what a cut made free."""
    texts = [wire for wire in history if wire["role"] in ("user", "assistant") and "tool_calls" not in wire]
    plain = [wire for wire in texts if "function_call" not in wire]
    manager = ContextManager(budget=Budget(budget, low=low), counter=len)
    cost = CallableCounter(len).count_message
    previous: list[Wire] = []
    receipt, appended = manager.last_receipt, None
    for wire in plain:
        manager.append(wire)
        appended = None if appended is None else appended + cost(wire)
        window = window_of(manager)
        if manager.last_receipt is receipt:
            assert window[: len(previous)] == previous
        else:
            assert receipt is None or appended is None or appended > budget - receipt.after_tokens
            receipt, appended = manager.last_receipt, 0
        previous = window


class Recorder(CallableCounter):
    """Remembers every text that it was asked to count."""

    def __init__(self) -> None:
        super().__init__(self._record)
        self.texts: list[str] = []

    def _record(self, text: str) -> int:
        self.texts.append(text)
        return len(text)


@given(st.lists(st.text(max_size=30), min_size=1, max_size=40), st.integers(20, 300))
def test_l12_counted_once(texts: list[str], budget: int) -> None:
    """Whatever is asked in between, each text is counted once; a `BudgetError` may look at a request once more."""
    counter = Recorder()
    manager = ContextManager(budget, counter=counter)
    assume(all(len(text) + 7 <= budget for text in texts))
    for text in texts:
        manager.add_message("user", text)
        manager.messages()
        manager.plan()
        assert manager.remaining_tokens >= 0
    assert counter.texts == texts


@given(histories(), PINS, counters(), budgets(), CHAINS, st.integers(0, 23))
def test_l13_nothing_lost(
    history: list[Wire], pins: set[int], count: Count, budget: int, chain: list[str], back: int
) -> None:
    """The log keeps everything; a restored manager goes on as the first would have."""
    options: dict[str, Any] = {"max_tokens": budget, "counter": count, "strategies": chain}
    manager, log = build(history, pins, **options)
    window_of(manager)
    assert [message.to_dict() for message in manager.conversation_history] == history
    state = json.loads(json.dumps(manager.to_dict()))
    restored = ContextManager.from_dict(state, **options)
    assert restored.to_dict() == state
    if back < len(log):
        cut = restored.rewind(manager.conversation_history[back])
        assert [message.to_dict() for message in cut] == history[back:]
        assert restored.extend(message.to_dict() for message in cut)
        assert [message.to_dict() for message in restored.conversation_history] == history
    else:
        restored.add_message("user", "go on")
        manager.add_message("user", "go on")
        assert restored.to_dict() == manager.to_dict()


def test_every_law_is_here() -> None:
    """L1 to L14 have a property in this file; L15 and L16 speak of summaries and tickets."""
    names = [name for name in globals() if name.startswith("test_l")]
    for law in LAWS[:14]:
        assert any(f"{law.id.lower()}_" in f"{name}_" for name in names), law
