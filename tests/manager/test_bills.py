"""What bills teach: offsets of either sign and factors, their bounds, and that none locks."""

import json
import logging
import os
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctxwin import Budget, BudgetError, ContextManager, Plan, PruneRequest, hookimpl
from ctxwin.counting import CallableCounter
from ctxwin.sessions import MemoryStore, Sessions
from ctxwin.testing import WordCounter
from ctxwin.values.budget import billed_tokens, counted_tokens, may_be_hidden

LONG = int(os.environ.get("CTXWIN_LONG_BILLS", "0"))  # 2000 sequences take about a minute


class Exact(CallableCounter):
    """A character is a token, exactly."""

    exact = True
    name = "exact"


class Merging(WordCounter):
    """An exact counter of which a request costs less than the sum of its messages, or more."""

    exact = True
    name = "merging"
    additive = False
    more = -1

    def count_request(self, messages: Any, tools: Any = ()) -> int:
        return max(0, super().count_request(messages, tools) + self.more * len(messages))


class Growing(Merging):
    name = "growing"
    more = 1


def chat(budget: int, counter: Any = None, **options: Any) -> ContextManager:
    """Return a manager that has sent one request of 107 tokens."""
    manager = ContextManager(budget, counter=counter or Exact(len), **options)
    manager.add_message("user", "x" * 100)
    manager.messages()
    return manager


@pytest.mark.parametrize(
    ("bill", "total"),
    [
        (107, 107),
        (150, 150),  # 43 more
        (607, 607),  # half of the budget more
        (608, 107),  # more than that is another request's bill
        (99, 99),  # 8 less
        (43, 43),  # 64 less
        (42, 107),  # a tenth, or 64 tokens: no less
        (10**6, 107),
        (0, 107),
    ],
)
def test_an_exact_counter_learns_an_offset_of_either_sign(bill: int, total: int) -> None:
    """Within the bounds; a bill beyond them is not learnt."""
    manager = chat(1000)
    manager.observe({"prompt_tokens": bill})
    assert manager.total_tokens == total
    manager.add_message("user", "y" * 10)
    assert manager.total_tokens == total + 14
    restored = ContextManager.from_dict(
        json.loads(json.dumps(manager.to_dict())), 1000, counter=Exact(len)
    )
    assert restored.total_tokens == total + 14
    assert restored.to_dict() == manager.to_dict()


def test_an_offset_is_held_to_its_bounds_at_each_use() -> None:
    """Downwards by a tenth of what is counted now; upwards by half of the budget of now."""
    manager = ContextManager(20_000, counter=Exact(len))
    first = manager.add_message("user", "x" * 9_993)
    manager.messages()
    manager.observe({"prompt_tokens": 9_100})
    assert manager.total_tokens == 9_100
    second = manager.add_message("user", "y" * 993)
    manager.rewind(first)
    manager.append(second)
    assert manager.total_tokens == 900  # not 100: a tenth of 1,000
    manager = chat(1000)
    manager.observe({"prompt_tokens": 600})
    moved = ContextManager.from_dict(manager.to_dict(), 400, counter=Exact(len))
    assert moved.total_tokens == 107 + 200


@given(
    st.integers(0, 5000) | st.integers(0, 10**12),
    st.integers(-5000, 5000) | st.integers(-(10**12), 10**12),
    st.integers(1, 10**6),
)
def test_what_is_billed_keeps_the_order(counted: int, hidden: int, budget: int) -> None:
    """A request that counts more costs no less, nor grows faster; the inverse is exact."""
    billed = billed_tokens(counted, hidden, budget)
    assert 0 <= billed_tokens(counted + 1, hidden, budget) - billed <= 1
    assert billed <= counted + budget // 2
    if billed:
        again = counted_tokens(billed, hidden, budget)
        assert billed_tokens(again, hidden, budget) == billed
        assert abs(again - counted) <= 1
    if may_be_hidden(hidden, counted, budget):
        assert billed == max(0, counted + hidden)


def test_offsets_add_up_to_the_last_bill() -> None:
    """Each bill is compared with the count, not with the bill before it."""
    manager = chat(1000)
    for bill in (150, 90, 107, 600, 43, 44):
        manager.observe({"prompt_tokens": bill})
        assert manager.total_tokens == bill
        manager.messages()


def test_bills_without_a_request_are_ignored() -> None:
    """Nothing was sent yet, a cut happened since, or there was a bill already."""
    manager = ContextManager(100, counter=Exact(len))
    manager.add_message("user", "hello")
    manager.observe({"prompt_tokens": 30})
    assert manager.total_tokens == 12
    manager.messages()
    manager.observe({"prompt_tokens": 30})
    manager.observe({"prompt_tokens": 20})
    assert manager.total_tokens == 30
    with pytest.raises(ValueError, match="prompt_tokens"):
        manager.observe({"total_tokens": 9})
    manager.messages()
    manager.extend({"role": "user", "content": "question"} for _ in range(9))
    manager.prune_history()
    total = manager.total_tokens
    manager.observe({"prompt_tokens": 99})
    assert manager.total_tokens == total


@given(st.floats(0.1, 4))
def test_an_estimate_learns_a_factor(factor: float) -> None:
    """Within 0.5 to 2, every cost alike; the window is as before."""
    manager = ContextManager(10**6, counter=len)
    manager.add_message("user", "x" * 1000)
    manager.add_message("assistant", "y" * 500)
    window = manager.messages()
    total = manager.total_tokens
    manager.observe({"prompt_tokens": int(total * factor)})
    learnt = int(total * factor) if total // 2 + 1 < int(total * factor) <= total * 2 else None
    if learnt is not None:
        assert abs(manager.total_tokens - learnt) <= 4
    elif factor > 2.01 or factor < 0.49:
        assert manager.total_tokens == total
    assert manager.messages() == window
    restored = ContextManager.from_dict(manager.to_dict(), 10**6, counter=len)
    assert restored.total_tokens == manager.total_tokens


def test_a_bill_beyond_the_bounds_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A conversation; and the request may still get its own bill."""
    manager = chat(1000)
    with caplog.at_level(logging.WARNING, "ctxwin"):
        for bill in (10**5, 10**6, 0):
            manager.observe({"prompt_tokens": bill})
    assert len(caplog.records) == 1
    assert "a bill of 100000 tokens for a request of about 107" in caplog.text
    manager.observe({"prompt_tokens": 110})
    assert manager.total_tokens == 110


def test_a_bill_after_a_budget_error_is_heard() -> None:
    """It is that of the window as it is; a bill that is still due comes first."""
    manager = chat(200)
    manager.add_message("user", "y" * 300)
    state = manager.to_dict()
    with pytest.raises(BudgetError):
        manager.messages()
    assert manager.to_dict() == state
    manager.observe({"prompt_tokens": 110})  # of the first request
    assert manager.total_tokens == 107 + 304 + 3
    with pytest.raises(BudgetError):
        manager.messages()
    manager.observe({"prompt_tokens": 400})  # of the second, which was sent all the same
    assert manager.total_tokens == 400
    manager.observe({"prompt_tokens": 410})
    assert manager.total_tokens == 400


class Soft:
    """Protects the oldest unit."""

    @hookimpl
    def ctxwin_protect(self, request: Any) -> Any:
        return request.units[:1]


def locked(counter: Any, **options: Any) -> ContextManager:
    """Return a manager of which the kept set does not fit for what a bill has taught."""
    manager = ContextManager(100, counter=counter, **options)
    manager.add_message("user", "word " * 6)
    manager.messages()
    manager.observe({"prompt_tokens": manager.total_tokens * 2 - 1})
    manager.add_message("assistant", "a " * 3)
    manager.add_message("user", "x " * 35)
    return manager


@pytest.mark.parametrize("counter", [len, Exact(len)])
@pytest.mark.parametrize("strategies", [["drop-oldest"], [Soft()], ["clamp-oversized"]])
def test_what_was_learnt_never_locks(counter: Any, strategies: list[Any]) -> None:
    """It is forgotten where it alone is in the way, and the receipt says so."""
    manager = locked(counter, strategies=strategies)
    assert manager.total_tokens > 100
    assert manager.preview("y").fits
    dry = manager.plan()
    window = manager.messages()
    receipt = manager.last_receipt
    assert receipt is not None
    assert (receipt.actions, receipt.after_tokens) == (dry.actions, dry.after_tokens)
    assert receipt.actions[0].kind == "unlearn"
    assert "forgotten" in receipt.actions[0].reason
    assert window[-1]["content"] == "x " * 35
    assert manager.to_dict()["offset"] == 0
    assert manager.to_dict()["correction"] == 1000
    counted = manager.total_tokens
    assert counted == receipt.after_tokens <= 100
    assert receipt.before_tokens - receipt.after_tokens == sum(
        action.freed_tokens for action in receipt.actions
    )
    manager.messages()
    assert manager.last_receipt is receipt


def test_a_window_that_fits_by_the_count_is_not_cut() -> None:
    """What was learnt goes; nothing else does."""
    manager = ContextManager(100, counter=Exact(len))
    manager.add_message("user", "x" * 10)
    manager.messages()
    manager.observe({"prompt_tokens": 60})
    manager.add_message("user", "y" * 60)
    assert len(manager.messages()) == 2
    assert manager.total_tokens == 3 + 14 + 64


class Shorten:
    """Shortens the question, so far that it fits by the count."""

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan:
        return Plan.edit(request.units[-1].messages[0], "short", reason="too long")


def test_plans_are_carried_out_where_nothing_else_fits() -> None:
    """Where the kept set fits only once it is shortened, and then only by the count."""
    manager = ContextManager(
        100, counter=Exact(len), strategies=[Shorten()], allow_question_edit=True
    )
    manager.add_message("system", "s" * 70)
    manager.messages()
    manager.observe({"prompt_tokens": manager.total_tokens + 45})
    manager.add_message("user", "word " * 200)
    assert manager.messages()[1]["content"] == "short"
    assert manager.total_tokens == 3 + 74 + 9


def test_workers_of_a_session_forget_it_alike() -> None:
    """It is a change like any other, recorded in the same step as the cut."""
    sessions = Sessions(MemoryStore())
    one = sessions.open("s", max_tokens=100, counter=Exact(len))
    two = sessions.open("s", max_tokens=100, counter=Exact(len))
    one.add_message("user", "x" * 10)
    one.messages()
    one.observe({"prompt_tokens": 60})
    two.refresh()
    assert two.total_tokens == 60
    two.add_message("user", "y" * 60)
    assert len(two.messages()) == 2
    one.refresh()
    assert one.messages() == two.messages()
    assert one.total_tokens == two.total_tokens == 81
    assert sessions.open("s", max_tokens=100, counter=Exact(len)).total_tokens == 81


ABSURD = st.integers(0, 400) | st.sampled_from([0, 1, 10**5, 10**9, 2**70])


@settings(max_examples=LONG or 60, deadline=None)
@given(
    st.integers(20, 400),
    st.sampled_from([len, Exact(len), Merging(), Growing()]),
    st.sampled_from([1.0, 0.7, 0.3]),
    st.lists(
        st.tuples(
            st.integers(0, 60), st.sampled_from(["user", "assistant"]), ABSURD, st.booleans()
        ),
        min_size=1,
        max_size=12,
    ),
)
def test_a_conversation_that_fits_by_the_count_is_never_refused(
    budget: int, counter: Any, low: float, turns: list[Any]
) -> None:
    """Whatever bills were observed; and each window fits by what it is said to cost."""
    options: dict[str, Any] = {"budget": Budget(budget, low=low), "counter": counter}
    manager = ContextManager(**options)
    for words, role, bill, reload in turns:
        manager.add_message(role, "w " * words)
        fresh = ContextManager(**options)  # the same log, no bills
        fresh.extend(message.to_dict() for message in manager.conversation_history)
        try:
            fresh.messages()
        except BudgetError:
            with suppress(BudgetError):  # bills may have taught that it costs less
                manager.messages()
        else:
            assert manager.preview("").total_tokens >= 0
            manager.messages()
            assert manager.total_tokens <= budget
        manager.observe({"prompt_tokens": bill})
        if reload:
            manager = ContextManager.from_dict(json.loads(json.dumps(manager.to_dict())), **options)
