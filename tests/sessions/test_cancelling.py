"""A cancelled method of a session: nothing goes on unseen, and another try writes nothing twice."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from functools import partial
from itertools import count, product
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from ctxwin import MessageError
from ctxwin.sessions import Session, Sessions, open_store
from ctxwin.testing import WordCounter
from ctxwin_plugins.summarize_history import SummarizeHistory

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


async def asummary(*_: Any) -> str:
    await asyncio.sleep(0)
    return "a summary"


OPTIONS: dict[str, Any] = {
    "max_tokens": 100,
    "counter": WordCounter(),
    "strategies": [SummarizeHistory(asummary)],
}


async def aticket(ctx: Session) -> Any:
    """A ticket for what now is in the window, which is made over the budget for it."""
    await ctx.aextend([{"role": "user", "content": "some more words"}] * 12)
    ticket = await asyncio.to_thread(ctx.prepare)
    assert ticket is not None
    return await ticket.arun(asummary)


async def none(_: Session) -> None:
    """Prepare nothing."""


Prepare = Callable[[Session], Awaitable[Any]]
Act = Callable[[Session, Any], Coroutine[Any, Any, Any]]
# What is done first, and the method that is cancelled, with what the first step returned.
ACTS: dict[str, tuple[Prepare, Act]] = {
    "add": (none, lambda ctx, _: ctx.aadd_message("user", "one", name="Ann")),
    "append": (none, lambda ctx, _: ctx.aappend({"role": "user", "content": "two"}, pinned=True)),
    "extend": (none, lambda ctx, _: ctx.aextend({"role": "user", "content": t} for t in "ab")),
    "pin": (none, lambda ctx, _: ctx.apin(2)),
    "unpin": (lambda ctx: ctx.apin(2), lambda ctx, _: ctx.aunpin(2)),
    "rewind": (none, lambda ctx, _: ctx.arewind(3)),
    "rewind of what left": (lambda ctx: ctx.amessages(), lambda ctx, _: ctx.arewind(3)),
    "forget": (none, lambda ctx, _: ctx.aforget()),
    "tools": (none, lambda ctx, _: ctx.aset_tools(TOOLS)),
    "observe": (
        lambda ctx: ctx.amessages(),
        lambda ctx, _: ctx.aobserve({"prompt_tokens": ctx.total_tokens + 7}),
    ),
    "commit": (aticket, lambda ctx, ticket: ctx.acommit(ticket)),
    "messages": (aticket, lambda ctx, _: ctx.amessages()),
    "prune": (none, lambda ctx, _: ctx.aprune_history()),
    "refresh": (none, lambda ctx, _: ctx.arefresh()),
    "history": (none, lambda ctx, _: ctx.aconversation_history()),
}


STORES = ["memory", "sqlite", "postgresql", "redis"]


@pytest.fixture
def sessions(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sessions]:
    url = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path / 'chats.db'}"}.get(request.param)
    server = {"postgresql": "postgresql", "redis": "redis_server"}.get(request.param, "")
    with open_store(url or request.getfixturevalue(server)) as opened:
        yield opened


class Cancelled:
    """
    Awaits a coroutine, and has its task cancelled where it waits for the time of that number.

    Args:
        work: the coroutine.
        at: the number of the time, from 0.
        how: `once`; `late`, when what it waits for is there already; `again` at every later time.
    """

    def __init__(self, work: Coroutine[Any, Any, Any], at: int, how: str) -> None:
        self.work = work
        self.at = at
        self.how = how

    def __await__(self) -> Generator[Any, Any, Any]:
        waiting = self.work.__await__()
        step: Callable[[], Any] = partial(next, waiting)
        for number in count():
            try:
                future = step()
            except StopIteration as stop:
                return stop.value
            if number == self.at or (self.how == "again" and number > self.at):
                self._cancel(future)
            try:
                step = partial(waiting.send, (yield future))
            except BaseException as error:
                step = partial(waiting.throw, error)

    def _cancel(self, future: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self.how == "late" and future is not None:
            future.add_done_callback(lambda _: task.cancel())
        else:
            asyncio.get_running_loop().call_soon(task.cancel)


async def until_done(make: Callable[[], Coroutine[Any, Any, Any]], at: int, how: str) -> bool:
    """Cancel one try at that point, then try again; returns whether it was cancelled."""

    async def tried() -> Any:
        return await Cancelled(make(), at, how)

    task = asyncio.ensure_future(tried())
    if at < 0:
        task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        await make()
        return True
    return False


async def played(sessions: Sessions, act: str, at: int | None, how: str = "") -> Any:
    """What a session is after an act that was cancelled at a point, or at none, and retried."""
    session = uuid4().hex
    async with sessions.aopen(session, **OPTIONS) as ctx:
        await ctx.aextend([{"role": "user", "content": f"some words {n}"} for n in range(1, 41)])
        prepare, method = ACTS[act]
        prepared = await prepare(ctx)
        cancelled = False
        if at is None:
            await method(ctx, prepared)
        else:
            cancelled = await until_done(lambda: method(ctx, prepared), at, how)
        log = [(m.id, m.content, m.pinned) for m in await ctx.aconversation_history()]
        window = [(m.role, m.content) for m in ctx]
    async with sessions.aopen(session, **OPTIONS) as again:
        assert [(m.role, m.content) for m in again] == window
    assert [(m.id, m.content, m.pinned) for m in await sessions.aread(session, limit=999)] == log
    return cancelled, (log, window)


@pytest.mark.parametrize(
    ("sessions", "how"),
    [("memory", "again"), *product(STORES, ("once", "late"))],
    indirect=["sessions"],
)
@pytest.mark.parametrize("act", ACTS)
def test_a_cancelled_method_that_is_tried_again_is_done_once(
    sessions: Sessions, act: str, how: str
) -> None:
    """Wherever it was cancelled: no message is lost or doubled, and the window is the same."""

    async def play() -> int:
        _, wanted = await played(sessions, act, None)
        for at in count(-1):
            cancelled, got = await played(sessions, act, at, how)
            assert got == wanted, at
            if not cancelled:
                return at
        raise AssertionError

    assert asyncio.run(play()) >= 1


async def given_up(work: Coroutine[Any, Any, Any]) -> None:
    """Cancel a method while it waits for the store."""

    async def tried() -> Any:
        return await Cancelled(work, 0, "once")

    with pytest.raises(asyncio.CancelledError):
        await asyncio.ensure_future(tried())


def test_a_message_that_is_said_again_later_is_another_one() -> None:
    """Only the next thing that is begun can be another try, and only if it is just the same."""

    async def use() -> list[Any]:
        async with open_store("memory://").aopen("a", **OPTIONS) as ctx:
            await given_up(ctx.aadd_message("user", "yes"))
            first = await ctx.aadd_message("user", "yes")
            assert first.id == 1
            await ctx.aadd_message("user", "yes")
            await given_up(ctx.aadd_message("user", "no"))
            await ctx.aadd_message("user", "well")
            await ctx.aadd_message("user", "no")
            message = {"role": "user", "content": "a"}
            await given_up(ctx.aappend(message))
            message["content"] = "b"
            await ctx.aappend(message)
            return [m.content for m in await ctx.aconversation_history()]

    assert asyncio.run(use()) == ["yes", "yes", "no", "well", "no", "a", "b"]


def test_of_two_that_were_given_up_at_once_each_can_be_tried_again() -> None:
    """And a third that was under way meanwhile is no reason to write them twice."""

    async def use() -> list[Any]:
        async with open_store("memory://").aopen("a", **OPTIONS) as ctx:
            add = ctx.aadd_message
            third = asyncio.ensure_future(add("user", "three"))
            await asyncio.gather(given_up(add("user", "one")), given_up(add("user", "two")))
            await third
            for text in ("two", "one", "four"):
                await add("user", text)
            return sorted(str(m.content) for m in await ctx.aconversation_history())

    assert asyncio.run(use()) == sorted(["one", "two", "three", "four"])


def test_what_failed_while_it_was_given_up_fails_again() -> None:
    """There is no result to keep."""

    async def use() -> None:
        async with open_store("memory://").aopen("a", **OPTIONS) as ctx:
            await given_up(ctx.arewind(7))
            with pytest.raises(MessageError, match="no message 7"):
                await ctx.arewind(7)

    asyncio.run(use())
