"""Messages that say nothing, in sessions: of this release, and of one that sent them."""

from typing import Any

import pytest

from ctxwin.sessions import MemoryStore, Session, Sessions
from ctxwin.testing import WordCounter
from openai_rules import refusals

OPTIONS: dict[str, Any] = {"max_tokens": 40, "counter": WordCounter()}
EMPTY: list[dict[str, Any]] = [
    {"role": "assistant", "content": None},
    {"role": "assistant", "content": "", "reasoning_content": "so"},
    {"role": "assistant", "content": []},
]
EMPTY_ONCE = [*EMPTY, {"role": "assistant", "content": "", "tool_calls": []}]


def talk(ctx: Session, empty: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Say more than fits, with an empty message behind each; return what was said."""
    said: list[dict[str, Any]] = []
    for number in range(12):
        words = {"role": ("user", "assistant")[number % 2], "content": f"turn {number} " * 3}
        for wire in (words, empty[number % len(empty)]):
            ctx.append(wire)
            said.append(wire)
        ctx.messages()
    return said


def checked(sessions: Sessions, said: list[dict[str, Any]]) -> None:
    """Check that the session opens, sends what it may, and has kept everything."""
    with sessions.open("a", **OPTIONS) as ctx:
        window = ctx.messages()
        assert window
        assert not refusals(window)
        history = ctx.conversation_history
        assert [one.to_dict() for one in history] == said
        ctx.rewind(history[-3])
        assert not refusals(ctx.messages())
        ctx.add_message("user", "and now?")
        assert ctx.messages()[-1]["content"] == "and now?"
    with sessions.open("a", **OPTIONS) as again:
        assert again.messages() == ctx.messages()


@pytest.mark.parametrize("tail", [2, 1000], ids=["checkpoints", "records"])
def test_empty_replies_are_stored_and_never_sent(
    tail: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are part of the stored conversation, and left out by every worker."""
    monkeypatch.setattr("ctxwin.sessions.journal.MIN_TAIL", tail)
    sessions = Sessions(MemoryStore())
    with sessions.open("a", **OPTIONS) as ctx:
        said = talk(ctx, EMPTY)
        assert [one.to_dict() for one in ctx.left_out] == said[1::2]
    checked(sessions, said)


@pytest.mark.parametrize("tail", [2, 1000], ids=["checkpoints", "records"])
def test_a_session_that_sent_them_opens(tail: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older release admitted them, had them in windows, and cut them."""
    sessions = Sessions(MemoryStore())
    monkeypatch.setattr("ctxwin.sessions.journal.MIN_TAIL", tail)
    with monkeypatch.context() as older:
        older.setattr("ctxwin.manager.read_message", lambda wire, **_: dict(wire))
        older.setattr("ctxwin.log.history.says_nothing", lambda _: False)
        with sessions.open("a", **OPTIONS) as ctx:
            said = talk(ctx, EMPTY_ONCE)
            assert not ctx.left_out
    checked(sessions, said)
