"""Hypothesis strategies for chat histories, nasty ones included."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

Wire = dict[str, Any]

TEXTS = st.one_of(
    st.sampled_from(
        [
            "",
            "ok",
            "Where is my parcel?",
            "您好，我的订单在哪里？",
            "👨‍👩‍👧‍👦 family 🇨🇭",
            "e\u0301tude",
            "\ud800 lone",
            "<|endoftext|>",
            '{"rows": [1, 2, 3], "note": "long enough to clear"}',
            "line\n" * 12,
            "x" * 300,
        ]
    ),
    st.text(max_size=12),
)
CONTENTS = st.one_of(TEXTS, TEXTS, st.lists(TEXTS.map(lambda text: {"type": "text", "text": text}), max_size=2))
CALL_IDS = st.sampled_from(["a", "b", "c", None])


def calls(ids: list[str | None]) -> list[Wire]:
    return [{"id": id_, "type": "function", "function": {"name": "look", "arguments": "{}"}} for id_ in ids]


@st.composite
def messages(draw: st.DrawFn) -> Wire:
    """Any message but a result."""
    kind = draw(st.sampled_from(["user", "user", "assistant", "assistant", "call", "legacy", "system", "developer"]))
    if kind == "call":
        ids = draw(st.lists(CALL_IDS, min_size=1, max_size=3))
        return {"role": "assistant", "content": draw(st.none() | TEXTS), "tool_calls": calls(ids)}
    if kind == "legacy":
        return {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}}
    wire: Wire = {"role": kind, "content": draw(CONTENTS)}
    if draw(st.integers(0, 9)) == 0:
        wire["name"] = "ada"
    if draw(st.integers(0, 9)) == 0:
        wire["metadata"] = {"seen": [1, 2.5, None]}
    return wire


@st.composite
def results(draw: st.DrawFn) -> Wire:
    """A result: of a call, of several, or of none."""
    if draw(st.integers(0, 5)) == 0:
        return {"role": "function", "name": "look", "content": draw(TEXTS)}
    wire: Wire = {"role": "tool", "content": draw(CONTENTS)}
    call_id = draw(CALL_IDS)
    if call_id is not None:
        wire["tool_call_id"] = call_id
    return wire


def histories(max_size: int = 24) -> st.SearchStrategy[list[Wire]]:
    """Whole logs: results come in any order, late, twice or never. Each message has a `uid`."""
    logs = st.lists(st.one_of(messages(), messages(), results()), max_size=max_size)
    return logs.map(lambda wires: [{**wire, "uid": uid} for uid, wire in enumerate(wires)])


def _superlinear(text: str) -> int:
    return len(text) ** 2 // 16


def _picky(text: str) -> int:
    return 0 if text.startswith(("o", "{")) else len(text.split())


COUNTERS: list[Callable[[str], int]] = [len, lambda text: len(text.split()), _superlinear, _picky, lambda _: 1]


def counters() -> st.SearchStrategy[Callable[[str], int]]:
    """Text counters, odd ones included: zero for some texts, superlinear, constant."""
    return st.sampled_from(COUNTERS)


def budgets() -> st.SearchStrategy[int]:
    """Budgets, from what holds nothing to what holds all."""
    return st.one_of(st.integers(1, 12), st.integers(10, 400), st.just(100_000))
