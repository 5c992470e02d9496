"""What is hidden goes to no summariser: thoughts, signatures, bytes, long fields of any name."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from ctxwin import ContextManager, Message
from ctxwin.summarizers.transcript import transcript
from ctxwin.values.wire import Wire, told
from ctxwin_plugins.summarize_history import SummarizeHistory

LONG = "hidden " * 60_000
BLOB = "QUJD" * 100_000
HIDDEN: dict[str, Wire] = {
    "thinking_blocks": {"thinking_blocks": [{"type": "thinking", "thinking": LONG}]},
    "reasoning": {"reasoning": LONG},
    "reasoning_content": {"reasoning_content": LONG},
    "short reasoning": {"reasoning_content": "hidden"},
    "reasoning_details": {"reasoning_details": [{"type": "reasoning.encrypted", "data": BLOB}]},
    "provider_specific_fields": {"provider_specific_fields": {"signature": "hidden"}},
    "unknown": {"unknown": {"a": [LONG]}},
    "call": {
        "tool_calls": [
            {
                "id": "a",
                "type": "function",
                "function": {"name": "f", "arguments": "{}", "thought": LONG},
                "extra_content": {"google": {"thought_signature": "hidden"}},
            }
        ]
    },
    "custom": {
        "tool_calls": [
            {"id": "a", "type": "custom", "custom": {"name": "f", "input": "x", "y": "hidden"}}
        ]
    },
    "legacy": {"function_call": {"name": "f", "arguments": "{}", "thought": LONG}},
    "part": {"content": [{"type": "text", "text": "said", "signature": LONG}]},
    "thought": {"content": [{"type": "thinking", "thinking": LONG, "text": "hidden"}]},
    "picture": {"content": [{"type": "image_url", "image_url": {"url": BLOB}, "alt": "hidden"}]},
    "bytes": {"content": [{"type": "zzz", "data": BLOB}]},
}


def conversation(strategy: object, hidden: Wire) -> ContextManager:
    """Return a conversation of which the oldest answer holds what is hidden."""
    wire: Wire = {"role": "assistant", "content": "said", **hidden}
    ctx = ContextManager(1500, counter=len, strategies=[strategy])
    ctx.add_message("user", "the first question")
    ctx.append(wire)
    if wire.get("tool_calls"):
        ctx.add_message("tool", "the result", tool_call_id="a")
    if wire.get("function_call"):
        ctx.append({"role": "function", "name": "f", "content": "the result"})
    for number in range(20):
        ctx.add_message("user", f"question {number} " + "of some words " * 5)
    return ctx


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize("limit", [500, None])
def test_what_is_hidden_goes_to_no_summariser(name: str, limit: int | None) -> None:
    """Whether it asks in chunks or not; what was said is all there."""
    calls: list[str] = []

    def summarizer(messages: Sequence[Message], previous: str | None, max_tokens: int) -> str:
        calls.append(json.dumps([message.to_dict() for message in messages]))
        return "s"

    strategy = SummarizeHistory(summarizer, max_summary_tokens=50, max_source_tokens=limit)
    ctx = conversation(strategy, HIDDEN[name])
    assert ctx.messages()
    assert calls
    said = "".join(calls)
    assert "hidden" not in said
    assert "QUJD" not in said
    assert "the first question" in said
    assert all(len(call) <= 1500 for call in calls if limit)
    ticket = conversation(strategy, HIDDEN[name]).prepare()
    assert ticket is not None
    calls.clear()
    ticket.run(summarizer)
    assert calls
    assert "hidden" not in "".join(calls)


@pytest.mark.parametrize("name", HIDDEN)
def test_a_transcript_shows_nothing_hidden(name: str) -> None:
    """Nor does the view itself; reading it twice changes nothing."""
    wire: Any = {"role": "assistant", "content": "said", **HIDDEN[name]}
    assert told(told(wire)) == told(wire)
    assert len(json.dumps(told(wire))) < 500
    text = transcript([Message(1, wire)])
    assert "hidden" not in text
    assert "QUJD" not in text
