"""States and records that version 0.1.0 wrote are read, and come to what it saw in them."""

import json
from pathlib import Path
from typing import Any

import pytest

from ctxwin import ContextManager
from ctxwin.sessions import MemoryStore, Position, Sessions
from ctxwin.sessions.stores.memory import _Log
from ctxwin.testing import Folding, WordCounter
from ctxwin_plugins.clamp_oversized import ClampOversized

WRITTEN = Path(__file__).parents[1] / "data" / "version_1"


def options() -> dict[str, Any]:
    strategies = [Folding(), ClampOversized(max_message_tokens=14)]
    return {"max_tokens": 80, "counter": WordCounter(), "strategies": strategies}


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((WRITTEN / name).read_text(encoding="utf-8"))
    return found


def agree(ctx: ContextManager, seen: dict[str, Any]) -> None:
    """What a manager holds is what the old version saw."""
    assert [[m.id, m.to_dict(), m.pinned, list(m.sources)] for m in ctx] == seen["window"]
    assert [m.id for m in ctx.left_out] == seen["left_out"]
    assert ctx.total_tokens == seen["total_tokens"]
    assert [[m.id, m.to_dict(), m.pinned] for m in ctx.conversation_history] == seen["log"]


def test_a_state_is_restored() -> None:
    """And saved again it is the same."""
    seen = read("state.json")
    ctx = ContextManager.from_dict(seen["state"], **options())
    agree(ctx, seen)
    assert ctx.to_dict() == seen["state"]


@pytest.mark.parametrize("name", ["records", "checkpoint"])
def test_a_session_is_opened(name: str) -> None:
    """From its records alone, or from a checkpoint and the records behind it; and it goes on."""
    seen = read("session.json")[name]
    store = MemoryStore()
    records = {int(number): data.encode() for number, data in seen["records"].items()}
    checkpoint = seen["checkpoint"].encode() if seen["checkpoint"] else None
    store._logs["a"] = _Log(Position("life", seen["number"]), records, seen["floor"], checkpoint)
    sessions = Sessions(store)
    ctx = sessions.open("a", **options())
    agree(ctx, seen)
    assert ctx.add_message("user", "and now?").id == seen["number"] + 1
    ctx.pin(5)
    ctx.rewind(ctx.add_message("user", "no"))
    window = ctx.messages()
    assert sessions.open("a", **options()).messages() == window
