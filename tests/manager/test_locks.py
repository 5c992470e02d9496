"""Nothing reads a conversation without its lock: another thread may be changing it."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ctxwin import Budget, ContextManager
from ctxwin.log.conversation import Conversation
from ctxwin.log.history import History
from ctxwin.log.window import Window
from ctxwin.sessions import MemoryStore, Sessions, journal
from ctxwin.testing import WordCounter
from ctxwin_plugins.summarize_history import SummarizeHistory

SET_ONCE = {"budget", "allow_question_edit"}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def sum_up(*_: Any) -> str:
    return "a summary"


OPTIONS: dict[str, Any] = {
    "budget": Budget(60, soft=0.5),
    "counter": WordCounter(),
    "strategies": ["keep-pinned", SummarizeHistory(sum_up), "clamp-oversized"],
}


def in_memory() -> ContextManager:
    return ContextManager(**OPTIONS)


def in_a_store() -> ContextManager:
    return Sessions(MemoryStore()).open("a", **OPTIONS)


def filled(ctx: ContextManager, words: int = 6) -> None:
    ctx.add_message("system", "be kind")
    for number in range(8):
        ctx.add_message("user", f"question {number} " + "word " * words)
        ctx.append({"role": "assistant", "content": None, "tool_calls": [CALL]})
        ctx.append({"role": "tool", "tool_call_id": "1", "content": "r " * 4})


def commit(ctx: ContextManager) -> None:
    ticket = ctx.prepare()
    assert ticket is not None
    ctx.commit(ticket.run(sum_up))


def observe(ctx: ContextManager) -> None:
    ctx.messages()
    ctx.observe({"prompt_tokens": 70})
    ctx.messages()


ACTS: dict[str, Callable[[ContextManager], object]] = {
    "add": lambda ctx: ctx.add_message("user", "hi"),
    "extend": lambda ctx: ctx.extend([{"role": "user", "content": "hi"}] * 2),
    "pin": lambda ctx: ctx.pin(2),
    "unpin": lambda ctx: ctx.unpin(2),
    "rewind": lambda ctx: ctx.rewind(6),
    "rewind after a cut": lambda ctx: (ctx.messages(), ctx.rewind(6)),
    "forget": lambda ctx: (ctx.messages(), ctx.forget()),
    "messages": lambda ctx: (ctx.messages(), ctx.messages()),
    "amessages": lambda ctx: asyncio.run(ctx.amessages()),
    "prune": lambda ctx: (ctx.prune_history(), ctx.prune_history()),
    "plan": lambda ctx: ctx.plan(),
    "should prepare": lambda ctx: ctx.should_prepare,
    "commit": commit,
    "tools": lambda ctx: setattr(ctx, "tools", ctx.tools),
    "register": lambda ctx: ctx.register(SummarizeHistory(), name="mine"),
    "observe": observe,
    "state": lambda ctx: ctx.to_dict(),
    "meters": lambda ctx: (repr(ctx), len(ctx), list(ctx), ctx.total_tokens, ctx.left_out),
    "history": lambda ctx: ctx.conversation_history,
    "preview": lambda ctx: (ctx.preview("x " * 9), ctx.messages(), ctx.preview("x " * 99)),
}


@pytest.fixture
def strays(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What was read without the lock of the conversation that is watched."""
    found: list[str] = []
    monkeypatch.setattr(journal, "MIN_TAIL", 4)
    yield found
    assert found == []


def watch(monkeypatch: pytest.MonkeyPatch, ctx: ContextManager, strays: list[str]) -> None:
    """Note every reading of a conversation, its log and its window without the lock."""
    keeper: Any = ctx._keeper
    get = object.__getattribute__

    def read(self: Any, name: str) -> Any:
        live = keeper.conversation
        watched = (live, get(live, "history"), get(live, "window"))
        known = name in SET_ONCE or name.startswith("__") or keeper.lock._is_owned()
        if not known and any(self is one for one in watched):
            caller = sys._getframe(1)
            strays.append(f"{name} in {caller.f_code.co_filename}:{caller.f_lineno}")
        return get(self, name)

    for kind in (Conversation, History, Window):
        monkeypatch.setattr(kind, "__getattribute__", read)


@pytest.mark.parametrize("make", [in_memory, in_a_store])
@pytest.mark.parametrize("act", ACTS)
def test_nothing_is_read_without_the_lock(
    monkeypatch: pytest.MonkeyPatch, strays: list[str], make: Callable[[], ContextManager], act: str
) -> None:
    """Whatever is called, on a conversation that must be cut."""
    ctx = make()
    filled(ctx)
    watch(monkeypatch, ctx, strays)
    ACTS[act](ctx)
