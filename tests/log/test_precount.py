"""Counting large texts in a thread: what the event loop is spared, and what stays as it was."""

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from ctxwin import BudgetError, ContextManager, CounterError
from ctxwin.counting import CallableCounter
from ctxwin.log import precount as ahead

LARGE = "word " * (ahead.LARGE // 5)


class Witness(CallableCounter):
    """Counts words, and notes which thread counted which text, and how often."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__(lambda text: len(text.split()))
        self.threads: list[str] = []
        self.fails = fails

    def count_message(self, message: Mapping[str, Any]) -> int:
        self.threads.append(threading.current_thread().name)
        if self.fails:
            raise ValueError("no")
        return super().count_message(message)


class Held(Witness):
    """Says when it has begun to count, and goes on when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.go_on = threading.Event(), threading.Event()

    def count_message(self, message: Mapping[str, Any]) -> int:
        self.began.set()
        assert self.go_on.wait(10)
        return super().count_message(message)


def _asked(
    witness: Witness, *contents: Any, calls: Any = None, budget: int = 10**6
) -> list[dict[str, Any]]:
    """Return the window of a conversation with these contents, awaited."""
    ctx = ContextManager(budget, counter=witness)
    for content in contents:
        ctx.add_message("user", content)
    if calls:
        ctx.add_message("assistant", None, tool_calls=calls)
    return asyncio.run(ctx.amessages())


def test_small_texts_are_counted_where_they_are_asked_for() -> None:
    """A thread costs more than it saves."""
    witness = Witness()
    assert len(_asked(witness, "hello", "there")) == 2
    assert set(witness.threads) == {"MainThread"}


@pytest.mark.parametrize(
    "contents",
    [
        (LARGE,),
        ([{"type": "text", "text": LARGE}],),
        ([{"type": "refusal", "refusal": LARGE}],),
        tuple([LARGE[: ahead.LARGE // 10]] * 10),
    ],
    ids=["one", "parts", "other parts", "together"],
)
def test_large_texts_are_counted_in_a_thread(contents: tuple[Any, ...]) -> None:
    """One text, a list of parts, or many texts: each is counted once, none on the event loop."""
    witness = Witness()
    assert len(_asked(witness, *contents)) == len(contents)
    assert len(witness.threads) == len(contents)
    assert "MainThread" not in witness.threads


def test_large_arguments_count_too() -> None:
    """A call may carry a file."""
    witness = Witness()
    call = {"id": "a", "type": "function", "function": {"name": "write", "arguments": LARGE}}
    _asked(witness, "write it", calls=[call])
    assert "MainThread" not in witness.threads


def test_a_budget_that_cannot_hold_says_so() -> None:
    """What was counted ahead is what the budget is held against."""
    with pytest.raises(BudgetError):
        _asked(Witness(), LARGE, budget=100)


def test_errors_of_the_counter_come_where_they_always_come() -> None:
    """Counting ahead reports nothing; the window does, and the state is as before."""
    witness = Witness(fails=True)
    with pytest.raises(CounterError, match="no"):
        _asked(witness, LARGE, LARGE)
    assert witness.threads[-1] == "MainThread"


def test_a_cancelled_count_changes_nothing() -> None:
    """The thread ends by itself; the next to ask counts again."""
    witness = Held()

    async def cancel(ctx: ContextManager) -> None:
        task = asyncio.create_task(ctx.amessages())
        await asyncio.to_thread(witness.began.wait, 10)
        ctx.add_message("user", "the loop is free, and so is the lock")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        witness.go_on.set()

    ctx = ContextManager(10**6, counter=witness)
    ctx.add_message("user", LARGE)
    asyncio.run(cancel(ctx))
    assert len(ctx.messages()) == 2


def test_two_at_once_count_once() -> None:
    """The second awaits what the first has begun, and counts what came after it."""

    async def both(ctx: ContextManager) -> None:
        first = asyncio.create_task(ctx.amessages())
        await asyncio.sleep(0)
        ctx.add_message("user", LARGE)
        second = asyncio.create_task(ctx.amessages())
        assert [len(await first), len(await second)] == [2, 2]

    witness = Witness()
    ctx = ContextManager(10**6, counter=witness)
    ctx.add_message("user", LARGE)
    asyncio.run(both(ctx))
    asyncio.run(ctx.aprune_history())
    assert len(witness.threads) == 2
    assert "MainThread" not in witness.threads
    assert ctx.total_tokens == 3 + 2 * (4 + len(LARGE.split()))


def test_a_cancelled_caller_leaves_its_count() -> None:
    """A time-out does not have the same text counted again."""

    async def impatient(ctx: ContextManager) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ctx.amessages(), 0.001)
        witness.go_on.set()
        assert len(await ctx.amessages()) == 1

    witness = Held()
    ctx = ContextManager(10**6, counter=witness)
    ctx.add_message("user", LARGE)
    asyncio.run(impatient(ctx))
    assert len(witness.threads) == 1


def test_a_rewind_meanwhile_does_no_harm() -> None:
    """What was cut while it was counted is simply gone."""

    async def regret(ctx: ContextManager) -> list[dict[str, Any]]:
        task = asyncio.create_task(ctx.amessages())
        await asyncio.to_thread(witness.began.wait, 10)
        ctx.rewind(2)
        witness.go_on.set()
        return await task

    witness = Held()

    ctx = ContextManager(10**6, counter=witness)
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ctx.add_message("user", LARGE)
    ctx.add_message("assistant", None, tool_calls=[call])
    ctx.add_message("tool", LARGE, tool_call_id="a")
    assert len(asyncio.run(regret(ctx))) == 1


def test_without_asyncio_the_texts_are_counted_in_place() -> None:
    """Another event loop drives the coroutine: nothing is awaited, nothing breaks."""
    witness = Witness()
    ctx = ContextManager(10**6, counter=witness)
    ctx.add_message("user", LARGE)
    steps = ctx.amessages()
    with pytest.raises(StopIteration) as stop:
        steps.send(None)
    assert len(stop.value.value) == 1
    assert witness.threads == ["MainThread"]
