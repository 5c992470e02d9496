"""Everything that is sent counts, and no bytes written as text are counted as text."""

import base64
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxwin.counting import CallableCounter, ChatCounter, counter_for
from ctxwin.counting.models import openai_counter
from ctxwin.counting.openai import media
from ctxwin.counting.openai.parts import read_field, read_part
from ctxwin.values.wire import Wire

BYTES = random.Random(1).randbytes(142_000)
BLOB = base64.b64encode(BYTES).decode()
LINES = base64.encodebytes(BYTES).decode()  # as MIME has it
COUNTERS: dict[str, Any] = {
    "gpt-4o": openai_counter("gpt-4o"),
    "gpt-4": openai_counter("gpt-4"),
    "stand-in": openai_counter(None),
    "claude": counter_for("claude-sonnet-4-5"),
    "gemini": counter_for("gemini-2.5-flash"),
    "callable": CallableCounter(len),
}


def url(kind: str) -> str:
    return f"data:{kind};base64,{BLOB}"


def mixed(**source: Any) -> Wire:
    """Return a part of unknown shape, with bytes deep inside."""
    return {"type": "zzz", "items": [{"x": {"deep": source}}]}


# Each with 142,000 bytes.
MEDIA: dict[str, Wire] = {
    "video_url": {"type": "video_url", "video_url": {"url": url("video/mp4")}},
    "video_url as text": {"type": "video_url", "video_url": url("video/mp4")},
    "audio_url": {"type": "audio_url", "audio_url": {"url": url("audio/mpeg")}},
    "input_audio": {"type": "input_audio", "input_audio": {"data": BLOB, "format": "mp3"}},
    "image_url": {"type": "image_url", "image_url": {"url": url("image/png")}},
    "MCP image": {"type": "image", "data": BLOB, "mimeType": "image/png"},
    "MCP audio": {"type": "audio", "data": BLOB, "mimeType": "audio/wav"},
    "MCP resource": {"type": "resource", "resource": {"mimeType": "a/b", "blob": BLOB}},
    "MCP resource, no type": {"type": "resource", "resource": {"type": "b", "blob": BLOB}},
    "Gemini media": {"type": "media", "mime_type": "video/mp4", "data": BLOB},
    "screenshot": {"type": "computer_screenshot", "image_url": url("image/png")},
    "redacted thinking": {"type": "redacted_thinking", "data": BLOB},
    "sealed reasoning": {"type": "reasoning", "encrypted_content": BLOB},
    "thinking": {"type": "thinking", "thinking": "so", "signature": BLOB},
    "image in a result": {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": BLOB}}
        ],
    },
    "file": {"type": "file", "file": {"filename": "a.pdf", "file_data": url("application/pdf")}},
    "document": {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": BLOB},
    },
    "any data URL": mixed(picture=url("image/avif")),
    "a data URL without a type": mixed(it=f"data:;base64,{BLOB}"),
    "data": mixed(data=BLOB, mediaType="image/heic"),
    "blob": mixed(blob=BLOB, content_type="application/zip"),
    "base64": mixed(base64=BLOB, mime_type="model/gltf"),
    "lines": mixed(data=LINES, mime_type="audio/ogg"),
    "format": mixed(data=BLOB, format="mp3"),
    "video": mixed(data=BLOB, format="mp4"),
    "audio of a reply": {"type": "zzz", "audio": {"id": "a", "data": BLOB}},
    "no type at all": {"type": "zzz", "images": [{"b64_json": BLOB}]},
    "pdf": mixed(data=BLOB, mime_type="application/pdf"),
}


@pytest.mark.parametrize("name", MEDIA)
def test_media_are_estimated_and_never_tokenised(name: str) -> None:
    """In a message, in a result alone and in one of several, and beside the content."""
    part = MEDIA[name]
    calls = [
        {"id": one, "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for one in "ab"
    ]
    asked = {"role": "assistant", "content": None, "tool_calls": calls}
    for counter in COUNTERS.values():
        wire = {"role": "user", "content": [part]}
        result = {"role": "tool", "tool_call_id": "a", "content": [part]}
        bare = counter.count_message({"role": "user", "content": [{"type": "text", "text": ""}]})
        found = [
            counter.count_message(wire) - bare,
            counter.count_message(result),
            counter.count_message({"role": "assistant", "content": "", "parts": [part]}),
        ]
        if isinstance(counter, ChatCounter):
            found.append(counter.count_result(result, asked))
        assert all(0 < tokens < 10_000 for tokens in found), found


def test_text_that_is_written_as_bytes_is_text() -> None:
    """Its tokens are those of the text."""
    text = "Every file of text counts as its text, however it is written. " * 9
    encoded = base64.b64encode(text.encode()).decode()
    for part in (
        mixed(blob=encoded, mimeType="text/plain"),
        mixed(it=f"data:text/plain;base64,{encoded}"),
        mixed(it="data:text/markdown," + text.replace(" ", "%20")),
    ):
        assert ("text", text) in list(read_part(part))
    odd = mixed(data="not base64, but words beside a type", mime_type="audio/wav")
    assert [kind for kind, _ in read_part(odd)] == ["text"]
    assert list(read_part({"type": "text", "text": "data:image/png;base64,AAAA"})) == [
        ("text", "data:image/png;base64,AAAA")
    ]


@pytest.mark.parametrize("kind", ["video_url", "audio_url", "audio", "media"])
def test_what_is_behind_a_link_costs_something(kind: str) -> None:
    """An estimate, besides the text of the link."""
    part = {"type": kind, kind: {"url": "https://example.org/it"}}
    assert ("tokens", media.LINKED_TOKENS) in list(read_part(part))


WORDS = "some words " * 2500
FIELDS: dict[str, Wire] = {
    "thinking_blocks": {"thinking_blocks": [{"type": "thinking", "thinking": WORDS}]},
    "odd thinking_blocks": {"thinking_blocks": {"text": WORDS}},
    "reasoning": {"reasoning": WORDS},
    "reasoning_content": {"reasoning_content": WORDS},
    "reasoning of an odd shape": {"reasoning": {"text": WORDS}},
    "reasoning_details": {"reasoning_details": [{"type": "reasoning.text", "text": WORDS}]},
    "provider_specific_fields": {"provider_specific_fields": {"it": [WORDS]}},
    "refusal": {"refusal": WORDS},
    "unknown": {"unknown": {"a": {"b": WORDS}}},
    "key": {"unknown": {WORDS: 1}},
    "call": {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": ""}, "x": WORDS}]},
    "function": {
        "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "", "x": WORDS}}]
    },
    "legacy": {"function_call": {"name": "f", "arguments": "", "x": WORDS}},
    "arguments": {
        "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"x": WORDS}}}]
    },
    "part": {"content": [{"type": "text", "text": "", "x": WORDS}]},
    "image": {"content": [{"type": "image_url", "image_url": {"url": "", "x": WORDS}}]},
    "file": {"content": [{"type": "file", "file": {"file_id": "a", "x": WORDS}}]},
    "document": {
        "content": [{"type": "document", "source": {"type": "content", "content": [WORDS]}}]
    },
    "block": {"content": [{"type": "tool_use", "name": "f", "input": {}, "x": WORDS}]},
    "result": {"content": [{"type": "tool_result", "content": "", "x": WORDS}]},
}


@pytest.mark.parametrize("name", FIELDS)
def test_all_that_stands_in_a_message_counts(name: str) -> None:
    """5,000 tokens of text count as 5,000 tokens, wherever they stand."""
    wire = {"role": "assistant", "content": None, **FIELDS[name]}
    for kind, counter in COUNTERS.items():
        least = counter.count_text(WORDS) * 98 // 100
        assert least <= counter.count_message(wire) <= least * 11 // 10 + 1600, kind


def test_what_says_nothing_costs_nothing() -> None:
    """Null, empty, a switch that is off; ids and marks for a cache are not billed."""
    plain = {"role": "assistant", "content": [{"type": "text", "text": "so"}]}
    part = {**plain["content"][0], "cache_control": {"type": "ephemeral"}, "citations": None}  # type: ignore[dict-item]
    full = {**plain, "content": [part], "annotations": [], "audio": None, "prefix": False}
    for counter in COUNTERS.values():
        assert counter.count_message(full) == counter.count_message(plain)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 99) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.text(min_size=1, max_size=8).map(lambda key: f"x{key}"), JSON, st.text(max_size=200))
def test_any_further_field_costs_no_less(key: str, value: Any, text: str) -> None:
    """In a message, a call, a function and a part; and more of it costs more."""
    function = {"name": "f", "arguments": "{}"}
    call = {"id": "a", "type": "function", "function": function}
    part = {"type": "text", "text": "so"}
    for counter in (COUNTERS["gpt-4o"], COUNTERS["claude"], COUNTERS["callable"]):
        bare = counter.count_message({"role": "assistant", "content": [part], "tool_calls": [call]})
        held = {key: [value, text]}
        for wire in (
            {"content": [part], "tool_calls": [call], **held},
            {"content": [part], "tool_calls": [{**call, **held}]},
            {"content": [part], "tool_calls": [{**call, "function": {**function, **held}}]},
            {"content": [{**part, **held}], "tool_calls": [call]},
        ):
            full = counter.count_message({"role": "assistant", **wire})
            assert full > bare
            # The bound: no more than its JSON, and media in it are cheaper than text.
            if counter is COUNTERS["callable"] and "data:" not in text:
                most = sum(len(text) for kind, text in read_field(held) if kind == "text")
                assert full - bare <= most


def test_what_stands_beside_a_signature_counts() -> None:
    """The signature has its price; what else stands beside it counts too."""
    signed = {"google": {"thought_signature": "abc", "more": WORDS}}
    call = {"id": "a", "function": {"name": "f", "arguments": ""}, "extra_content": signed}
    wire = {
        "role": "assistant",
        "content": None,
        "tool_calls": [call, {**call, "extra_content": 0}],
    }
    assert COUNTERS["gemini"].count_message(wire) > COUNTERS["gemini"].count_text(WORDS)
