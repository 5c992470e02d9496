"""Windows as requests: OpenAI takes every one, and what says nothing is in none."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxwin import BudgetError, ContextManager, MessageError, Plan, StateError, hookimpl
from ctxwin.counting import counter_for
from ctxwin.testing.judge.grouping import kept_messages
from ctxwin.testing.strategies import histories
from ctxwin.values.message import read_message
from openai_rules import TYPED, refusals

USER = {"role": "user", "content": "Where is my parcel?"}
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ASKED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "a", "content": "r"}
TEXT = {"type": "text", "text": "hi"}

# Assistant messages that say nothing: providers refuse them, some at once and some later.
NOTHING: list[dict[str, Any]] = [
    {"content": None},
    {"content": ""},
    {"content": []},
    {"content": None, "tool_calls": []},
    {"content": "", "tool_calls": None, "function_call": None},
    {"content": None, "refusal": None, "audio": None},
    {"content": "", "refusal": ""},
    {"content": None, "reasoning_content": "so"},
    {"content": "", "reasoning_details": [{"type": "reasoning.text", "text": "so"}]},
    {"content": [{"type": "text", "text": ""}]},
    {"content": [{"type": "thinking", "thinking": "so", "signature": "s"}]},
    {"content": [{"type": "redacted_thinking", "data": "s"}, {"type": "text", "text": ""}]},
]
SOMETHING: list[dict[str, Any]] = [
    {"content": "hi"},
    {"content": " "},
    {"content": [TEXT]},
    {"content": [{"type": "refusal", "refusal": "no"}]},
    {"content": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]},
    {"content": None, "refusal": "no"},
    {"refusal": "no"},
    {"content": None, "audio": {"id": "audio_1"}},
    {"content": "hi", "tool_calls": []},
]
# Contents that no API takes, by role, and what the error says to do.
LEAVE_AWAY, SAY_EMPTY = "leave the message away", 'say "" for an empty result'
REFUSED: list[tuple[str, Any, str]] = [
    *((role, None, LEAVE_AWAY) for role in ("user", "system", "developer")),
    *((role, [], LEAVE_AWAY) for role in ("user", "system", "developer")),
    ("tool", None, SAY_EMPTY),
    ("tool", [], SAY_EMPTY),
]


@pytest.mark.parametrize("said", NOTHING)
@pytest.mark.parametrize("pinned", [False, True])
def test_what_says_nothing_is_in_no_window(said: dict[str, Any], pinned: bool) -> None:
    """The log has it, `left_out` names it, a receipt says why; around it nothing changes."""
    mute = {"role": "assistant", **said}
    ctx = ContextManager(10**6, counter=len)
    before = [USER, ASKED, RESULT]
    ctx.extend(before)
    message = ctx.append(mute, pinned=pinned)
    assert ctx.conversation_history[-1] == message
    assert ctx.left_out == (message,)
    assert ctx.messages() == before
    assert len(ctx) == len(before)
    action = ctx.prune_history().actions[0]
    assert (action.kind, action.message_ids) == ("leave-out", (message.id,))
    assert "neither content nor calls" in action.reason
    ctx.append(USER)
    assert ctx.messages() == [*before, USER]
    restored = ContextManager.from_dict(json.loads(json.dumps(ctx.to_dict())), 10**6, counter=len)
    assert restored.to_dict() == ctx.to_dict()
    assert restored.messages() == ctx.messages()
    assert [one.id for one in ctx.rewind(message)] == [message.id, message.id + 1]
    assert not ctx.left_out


@pytest.mark.parametrize("said", SOMETHING)
def test_what_says_something_is_sent(said: dict[str, Any]) -> None:
    """Also without text, and without the empty list of calls."""
    ctx = ContextManager(10**6, counter=len)
    ctx.extend([USER, {"role": "assistant", **said}])
    sent = {key: value for key, value in said.items() if key != "tool_calls"}
    assert ctx.messages() == [USER, {"role": "assistant", **sent}]
    assert not ctx.left_out


@pytest.mark.parametrize("said", NOTHING)
def test_a_call_stays_pending_behind_an_empty_reply(said: dict[str, Any]) -> None:
    """An empty reply is as if it were not there: the results still come."""
    ctx = ContextManager(10**6, counter=len)
    ctx.extend([USER, ASKED, {"role": "assistant", **said}])
    assert ctx.messages() == [USER, ASKED]
    ctx.append(RESULT)
    assert ctx.messages() == [USER, ASKED, RESULT]


@pytest.mark.parametrize(("role", "content", "advice"), REFUSED)
def test_contents_that_no_api_takes_are_refused(role: Any, content: Any, advice: str) -> None:
    """By every door, and nothing has changed."""
    wire = {"role": role, "content": content}
    if role == "tool":
        wire["tool_call_id"] = "a"
    ctx = ContextManager(100, counter=len)
    for door in (ctx.append, lambda one: ctx.extend([one]), lambda one: ctx.add_message(**one)):
        with pytest.raises(MessageError, match=f"content of a {role} message is .*{advice}"):
            door(wire)
    if role != "tool":
        with pytest.raises(MessageError, match="content of a"):
            ctx.preview(content, role)
    assert not ctx.conversation_history


def test_a_preview_of_nothing() -> None:
    """A draft that says nothing adds nothing, even where the window must be cut."""
    ctx = ContextManager(100, counter=len)
    ctx.extend([USER, {"role": "assistant", "content": "x" * 60}, USER])
    preview = ctx.preview("", "assistant")
    assert (preview.tokens, preview.total_tokens) == (0, ctx.total_tokens)
    assert preview.prunes
    assert preview.fits


class Emptied:
    """Edits or replaces the first message that it may, so that it says nothing."""

    def __init__(self, content: Any, *, writes: bool) -> None:
        self.content, self.writes = content, writes

    @hookimpl
    def ctxwin_prune(self, request: Any) -> Plan:
        unit = next(unit for unit in request.droppable if unit.role in ("assistant", "user"))
        if self.writes:
            return Plan.replace([unit], self.content, role="assistant")
        return Plan.edit(unit.messages[0], self.content)


@pytest.mark.parametrize("content", [None, "", [], [{"type": "text", "text": ""}]])
@pytest.mark.parametrize("writes", [False, True])
def test_no_strategy_empties_a_message(content: Any, writes: bool) -> None:
    """Neither by an edit nor by a summary, which must be text."""
    ctx = ContextManager(100, counter=len, strategies=[Emptied(content, writes=writes)])
    ctx.extend([{"role": "assistant", "content": "x" * 90}, USER])
    assert ctx.messages() == [USER]
    assert ctx.last_receipt is not None
    (broken,) = ctx.last_receipt.rejected
    assert broken.law == ("L6" if not writes else "L15" if content == "" else "L8")


# What was stored before.

OLD = [
    {"role": "user", "content": None},
    {"role": "system", "content": []},
    {"role": "assistant", "content": None},
    {"role": "assistant", "content": "", "tool_calls": []},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
]


@pytest.mark.parametrize("old", OLD)
@pytest.mark.parametrize("gone", [False, True])
def test_what_an_older_release_admitted_still_loads(old: dict[str, Any], gone: bool) -> None:
    """Its state is restored; only its empty replies are in windows no more."""
    ctx = ContextManager(10**6, counter=len)
    ctx.extend([USER, {"role": "assistant", "content": "hi"}, USER])
    state = json.loads(json.dumps(ctx.to_dict()))
    state["log"][1] |= {"message": old, "gone": gone, "pinned": False}
    restored = ContextManager.from_dict(state, 10**6, counter=len)
    away = gone or (old["role"] == "assistant" and not old["content"])
    assert restored.messages() == [USER, *([] if away else [old]), USER]
    assert restored.conversation_history[1].to_dict() == old
    again = ContextManager.from_dict(restored.to_dict(), 10**6, counter=len)
    assert again.to_dict() == restored.to_dict()


def test_a_malformed_state_is_still_refused() -> None:
    """Only what an older release admitted is let in."""
    state = ContextManager(100, counter=len).to_dict()
    fields = {"id": 1, "message": {"role": "villain"}, "pinned": False, "gone": False}
    with pytest.raises(StateError, match="malformed message: role"):
        ContextManager.from_dict(state | {"log": [fields | {"tokens": None}]}, 100, counter=len)


# The validator itself: it must be able to say no.


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([USER, RESULT], "must follow"),
        ([ASKED, USER], "must be followed"),
        ([ASKED, RESULT, RESULT], "must follow"),
        ([{"role": "assistant", "content": None}], "empty assistant"),
        ([{"role": "assistant", "content": ""}], "empty assistant"),
        ([{"role": "assistant", "content": []}], "empty array"),
        ([{"role": "assistant", "content": [{"type": "text", "text": ""}]}], "empty assistant"),
        ([{"role": "assistant", "content": [{"type": "thinking"}]}], "empty"),
        ([{"role": "assistant", "content": "hi", "tool_calls": []}], "empty array"),
        ([{"role": "user", "content": []}], "empty array"),
        ([{"role": "user", "content": None}], "got null"),
        ([ASKED, {**RESULT, "content": None}], "got null"),
        ([{"role": "villain", "content": "hi"}], "no role"),
    ],
)
def test_the_validator_refuses(messages: list[dict[str, Any]], why: str) -> None:
    """Each rule, by one window that breaks it."""
    assert why in refusals(messages)[0]


@pytest.mark.skipif(not TYPED, reason="the openai SDK is not installed")
@pytest.mark.parametrize(
    "wire",
    [
        {"role": "user", "content": 7},
        {"role": "user", "content": [{"type": "text"}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": "https://example.org"}]},
        {"role": "user", "content": "hi", "name": 7},
        {"role": "assistant", "content": "hi", "tool_calls": None},
        {"role": "assistant", "content": None, "tool_calls": [{**CALL, "function": {}}]},
        {"role": "tool", "content": "r", "tool_call_id": 7},
    ],
)
def test_the_validator_knows_the_types_of_the_sdk(wire: dict[str, Any]) -> None:
    """Also inside lists, which pydantic looks at on the way only."""
    assert any("validation error" in fault for fault in refusals([wire]))


@given(histories(), st.integers(1, 400))
def test_openai_takes_every_window(history: list[dict[str, Any]], budget: int) -> None:
    """Turn by turn, whatever was said; what a caller adds for another provider apart."""
    ctx = ContextManager(budget, counter=len)
    for wire in history:
        ctx.append(wire)
        try:
            window = ctx.messages()
        except BudgetError:
            continue
        assert not refusals(window)


BUDGETS = 6  # from what must be kept to the whole conversation


def test_openai_takes_every_window_of_recorded_conversations(data: Path) -> None:
    """As strict as the API, for conversations that were held with it."""
    path = data / "api_conversations" / "openai_chat.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    windows = 0
    for row in rows:
        strict = row["meta"]["provider"] == "openai"
        messages = [read_message(wire) for wire in row["messages"]]
        counter = counter_for("gpt-4o")
        least = counter.count_request(kept_messages(messages))
        full = counter.count_request(messages)
        for step in range(BUDGETS):
            ctx = ContextManager(least + (full - least) * step // (BUDGETS - 1), counter=counter)
            ctx.extend(row["messages"])
            faults = refusals(ctx.messages(), strict=strict)
            assert not faults, (row["id"], faults)
            windows += 1
    assert windows > 1000
