"""What providers bill, in each one's own form, and what streams say of it."""

import gzip
import json
import math
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ctxwin import StreamUsage, Usage
from ctxwin.values.usage import FORMS, input_tokens


class Modality(Enum):
    """As Gemini's SDK has it."""

    AUDIO = "AUDIO"


CHAT = {
    "prompt_tokens": 100,
    "completion_tokens": 40,
    "total_tokens": 140,
    "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10, "audio_tokens": 7},
    "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 2},
}
ANTHROPIC = {
    "input_tokens": 6,
    "cache_creation_input_tokens": 574,
    "cache_read_input_tokens": 20_443,
    "cache_creation": {"ephemeral_1h_input_tokens": 74, "ephemeral_5m_input_tokens": 500},
    "output_tokens": 489,
    "output_tokens_details": {"thinking_tokens": 77},
    "server_tool_use": {"web_search_requests": 0},
    "service_tier": "standard",
}
GEMINI = {
    "promptTokenCount": 95,
    "cachedContentTokenCount": 50,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 90},
        {"modality": "AUDIO", "tokenCount": 5},
    ],
    "toolUsePromptTokenCount": 439,
    "toolUsePromptTokensDetails": [{"modality": "AUDIO", "tokenCount": 4}],
    "candidatesTokenCount": 66,
    "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 6}],
    "thoughtsTokenCount": 132,
    "totalTokenCount": 732,
}
READ = [
    (CHAT, Usage(100, 40, 60, 10, 0, 7, 30, 2)),
    ({"prompt_tokens": 4, "total_tokens": 4}, Usage(4)),  # embeddings
    ({"prompt_tokens": 64, "completion_tokens": 6, "num_cached_tokens": 32}, Usage(64, 6, 32)),
    ({"prompt_tokens": 64, "completion_tokens": 6, "cached_tokens": 32}, Usage(64, 6, 32)),
    (  # DeepSeek tells the same twice
        {
            "prompt_tokens": 64,
            "completion_tokens": 6,
            "prompt_cache_hit_tokens": 32,
            "prompt_cache_miss_tokens": 32,
            "prompt_tokens_details": {"cached_tokens": 32},
        },
        Usage(64, 6, 32),
    ),
    (  # reasoning that no field states: Gemini behind OpenAI's form
        {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109},
        Usage(35, 74, reasoning_tokens=62),
    ),
    (  # reasoning beside the completion: xAI
        {
            "prompt_tokens": 35,
            "completion_tokens": 12,
            "total_tokens": 109,
            "completion_tokens_details": {"reasoning_tokens": 62},
        },
        Usage(35, 74, reasoning_tokens=62),
    ),
    (
        {
            "input_tokens": 4020,
            "input_tokens_details": {"cache_write_tokens": 12, "cached_tokens": 4000},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 3},
            "total_tokens": 4025,
        },
        Usage(4020, 5, 4000, 12, reasoning_tokens=3),
    ),
    (ANTHROPIC, Usage(21_023, 489, 20_443, 574, 74, reasoning_tokens=77)),
    (
        {
            "inputTokens": 3,
            "outputTokens": 227,
            "cacheReadInputTokens": 9,
            "cacheWriteInputTokens": 1712,
            "cacheDetails": [{"inputTokens": 1700, "ttl": "5m"}, {"inputTokens": 12, "ttl": "1h"}],
            "totalTokens": 1951,
        },
        Usage(1724, 227, 9, 1712, 12),
    ),
    (
        GEMINI,
        Usage(534, 198, 50, audio_input_tokens=9, reasoning_tokens=132, audio_output_tokens=6),
    ),
    (
        SimpleNamespace(
            prompt_token_count=20,
            prompt_tokens_details=[SimpleNamespace(modality=Modality.AUDIO, token_count=5)],
            candidates_token_count=None,
            thoughts_token_count=3,
            total_token_count=23,
        ),
        Usage(20, 3, audio_input_tokens=5, reasoning_tokens=3),
    ),
    ({"prompt_tokens": 0, "completion_tokens": 0}, Usage()),
    ({"prompt_tokens": 5, "completion_tokens": None, "prompt_tokens_details": None}, Usage(5)),
    ({"prompt_tokens": 5, "completion_tokens": 1, "novelty": {"tokens": 9}}, Usage(5, 1)),
    (Usage(3, 1), Usage(3, 1)),
]


@pytest.mark.parametrize(("given", "usage"), READ)
def test_each_form_is_read(given: Any, usage: Usage) -> None:
    """As a usage, and in the reply that holds it, as a mapping or an object."""
    assert Usage.of(given) == usage
    for name in ("usage", "usage_metadata"):
        assert Usage.of({name: given, "id": "x"}) == Usage.of(SimpleNamespace(**{name: given}))
    total = dict(given).get("totalTokenCount") if isinstance(given, dict) else None
    assert total in (None, usage.input_tokens + usage.output_tokens)


def test_the_prompt_is_what_a_count_is_compared_with() -> None:
    """A tool-use prompt is billed, but never stood in the window."""
    assert input_tokens(GEMINI) == 95
    assert input_tokens({"usageMetadata": GEMINI}) == 95
    assert input_tokens(ANTHROPIC) == Usage.of(ANTHROPIC).input_tokens
    assert input_tokens(Usage(7, 1)) == 7


@pytest.mark.parametrize(
    "given",
    [
        {},
        None,
        {"usage": None},
        SimpleNamespace(usage=None),
        {"total_tokens": 9},
        {"completion_tokens": 9},
        {"prompt_tokens": -1},
        {"prompt_tokens": "9"},
        {"prompt_tokens": True},
        {"prompt_tokens": 9.0},
        {"prompt_tokens": math.nan},
    ],
)
def test_what_states_no_input_is_refused(given: Any) -> None:
    """The error lists what would do."""
    with pytest.raises(ValueError, match="one of prompt_tokens, input_tokens, prompt_token_count"):
        Usage.of(given)


@pytest.mark.parametrize("figure", [-1, True, 1.0, math.nan, "1"])
@pytest.mark.parametrize("path", ["completion_tokens", "prompt_tokens_details.cached_tokens"])
def test_a_figure_that_cannot_be_is_named(figure: object, path: str) -> None:
    """Never passed over: somebody would be billed wrong."""
    outer, _, last = path.rpartition(".")
    given = {"prompt_tokens": 9, **({outer: {last: figure}} if outer else {last: figure})}
    with pytest.raises(ValueError, match=f"{path} must be a whole number of at least 0"):
        Usage.of(given)
    with pytest.raises(ValueError, match="output_tokens must be"):
        Usage(9, figure)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "figures",
    [
        {"cache_read_tokens": 11},
        {"cache_read_tokens": 6, "cache_write_tokens": 5},
        {"cache_write_tokens": 4, "cache_write_1h_tokens": 5},
        {"audio_input_tokens": 11},
        {"reasoning_tokens": 6},
        {"audio_output_tokens": 6},
    ],
)
def test_a_part_is_no_larger_than_its_whole(figures: dict[str, int]) -> None:
    """The error states both."""
    with pytest.raises(ValueError, match=r"larger than its whole: .*put_tokens=|write_tokens=4"):
        Usage(10, 5, **figures)


FIGURES = st.integers(0, 100)
USAGES = st.builds(
    lambda rest, read, write, hour, output, reasoning: Usage(
        rest + read + write + hour, output + reasoning, read, write + hour, hour, 0, reasoning, 0
    ),
    *[FIGURES] * 6,
)


@given(one=USAGES, two=USAGES, three=USAGES)
def test_usages_add_up(one: Usage, two: Usage, three: Usage) -> None:
    """In any order and grouping; nothing else is added to one."""
    assert one + two == two + one
    assert (one + two) + three == one + (two + three)
    assert one + Usage() == one
    with pytest.raises(TypeError):
        one + 1  # type: ignore[operator]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 50) | st.floats() | st.text(max_size=3),
    lambda inner: st.dictionaries(
        st.sampled_from(
            [
                *(form.input for form in FORMS),
                *("prompt_tokens_details", "cached_tokens", "cache_creation", "total_tokens"),
                *("usage", "cache_read_input_tokens", "output_tokens"),
            ]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=8,
)


@given(junk=JUNK)
@example(junk={"prompt_token_count": 0, "prompt_tokens_details": True})
def test_whatever_is_given_is_read_or_refused(junk: Any) -> None:
    """With a `ValueError`, and what is read adds up."""
    try:
        usage = Usage.of(junk)
    except ValueError:
        return
    assert usage.cache_read_tokens + usage.cache_write_tokens <= usage.input_tokens


def test_recorded_rows_add_up(data: Path) -> None:
    """Input and output are the total that the provider states, wherever it states one."""
    rows = stated = 0
    for path in sorted(data.glob("*_usage_vectors/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                usage = json.loads(line)["usage"]
                names = ("total_tokens", "totalTokenCount", "totalTokens")
                total = next((usage[name] for name in names if name in usage), None)
                if not any(form.input in usage for form in FORMS):
                    with pytest.raises(ValueError, match="does not state the input"):
                        Usage.of(usage)
                    continue
                read = Usage.of(usage)
                rows += 1
                stated += total is not None
                assert total in (None, read.input_tokens + read.output_tokens), usage
    assert (rows, stated) >= (2_150, 1_800)


def fed(*parts: Any) -> StreamUsage:
    stream = StreamUsage()
    for part in parts:
        stream.add(part)
    return stream


def facts(stream: StreamUsage) -> tuple[object, ...]:
    return stream.usage, stream.model, stream.reply_id, stream.finish_reason, stream.text


def choice(content: str | None, reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": {"content": content}, "finish_reason": reason}


STREAMS: dict[str, tuple[list[Any], tuple[Any, ...]]] = {
    "chat": (
        [
            {"id": "c1", "model": "gpt-4o", "choices": [choice("Hel")], "usage": None},
            {"id": "c1", "model": "gpt-4o", "choices": [choice("lo")]},
            {"id": "c1", "model": "gpt-4o", "choices": [choice(None, "stop")]},
            {"id": "c1", "model": "gpt-4o", "choices": [], "usage": CHAT},
        ],
        (Usage.of(CHAT), "gpt-4o", "c1", "stop", "Hello"),
    ),
    "chat through a helper": (
        [
            {"type": "chunk", "chunk": {"id": "c1", "model": "gpt-4o", "choices": [choice("Hi")]}},
            {"type": "content.delta", "delta": "Hi", "snapshot": "Hi"},
            {"type": "chunk", "chunk": {"choices": [choice(None, "stop")], "usage": CHAT}},
        ],
        (Usage.of(CHAT), "gpt-4o", "c1", "stop", "Hi"),
    ),
    "chat that counts on": (
        [
            {"choices": [choice("a")], "usage": {"prompt_tokens": 5, "completion_tokens": 1}},
            {
                "choices": [choice("b", "length")],
                "usage": {"prompt_tokens": 5, "completion_tokens": 2},
            },
        ],
        (Usage(5, 2), None, None, "length", "ab"),
    ),
    "anthropic": (
        [
            {
                "type": "message_start",
                "message": {
                    "id": "m1",
                    "model": "claude-x",
                    "usage": {"input_tokens": 9, "cache_read_input_tokens": 4, "output_tokens": 1},
                },
            },
            {"type": "ping"},
            {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "x"}},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hello"}},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {"output_tokens": 20, "input_tokens": None},
            },
            {"type": "message_stop"},
        ],
        (Usage(13, 20, 4), "claude-x", "m1", "end_turn", "Hello"),
    ),
    "anthropic without usage": (
        [
            {"type": "message_start", "message": {"id": "m1", "model": "claude-x"}},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hello"}},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {"output_tokens": 20},
            },
        ],
        (None, "claude-x", "m1", "end_turn", "Hello"),
    ),
    "responses": (
        [
            {"type": "response.created", "response": {"id": "r1", "model": "gpt-5"}},
            {"type": "response.output_text.delta", "delta": "Hello"},
            {
                "type": "response.completed",
                "response": {
                    "id": "r1",
                    "model": "gpt-5",
                    "status": "completed",
                    "usage": {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7},
                },
            },
        ],
        (Usage(5, 2), "gpt-5", "r1", "completed", "Hello"),
    ),
    "responses that failed": (
        [
            {"type": "response.created", "response": {"id": "r1", "model": "gpt-5", "usage": None}},
            {"type": "response.output_text.delta", "delta": "Hel"},
            {"type": "error", "message": "the server had an error"},
        ],
        (None, "gpt-5", "r1", "failed", "Hel"),
    ),
    "responses cut off": (
        [
            {
                "type": "response.incomplete",
                "response": {
                    "id": "r1",
                    "status": "incomplete",
                    "incomplete_details": {"reason": "max_output_tokens"},
                    "usage": None,
                },
            }
        ],
        (None, None, "r1", "max_output_tokens", ""),
    ),
    "gemini": (
        [
            {
                "modelVersion": "gemini-x",
                "responseId": "g1",
                "candidates": [
                    {"content": {"parts": [{"text": "think", "thought": True}, {"text": "Hel"}]}}
                ],
                "usageMetadata": {"promptTokenCount": 3},
            },
            {
                "candidates": [{"content": {"parts": [{"text": "lo"}]}, "finishReason": "STOP"}],
                "usageMetadata": {
                    "promptTokenCount": 3,
                    "candidatesTokenCount": 2,
                    "thoughtsTokenCount": 1,
                },
            },
        ],
        (Usage(3, 3, reasoning_tokens=1), "gemini-x", "g1", "STOP", "Hello"),
    ),
    "bedrock": (
        [
            {"messageStart": {"role": "assistant"}},
            {"contentBlockDelta": {"delta": {"text": "Hello"}}},
            {"messageStop": {"stopReason": "end_turn"}},
            {"metadata": {"usage": {"inputTokens": 5, "outputTokens": 2}}},
        ],
        (Usage(5, 2), None, None, "end_turn", "Hello"),
    ),
    "nothing known": (
        [{}, None, "text", {"type": "novelty"}, {"choices": True, "candidates": {"a": 1}}],
        (None, None, None, None, ""),
    ),
}


def as_object(part: Any) -> Any:
    """The same part as an SDK object."""
    if isinstance(part, dict):
        return SimpleNamespace(**{key: as_object(value) for key, value in part.items()})
    return [as_object(one) for one in part] if isinstance(part, list) else part


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_says_in_the_end_what_was_billed(name: str) -> None:
    """Mappings and SDK objects alike."""
    parts, expected = STREAMS[name]
    assert facts(fed(*parts)) == expected
    assert facts(fed(*map(as_object, parts))) == expected


def test_a_stream_that_broke_states_no_usage() -> None:
    """Anthropic's first event states the input, and one token of an output that is not over."""
    parts, (_, model, reply_id, _, _) = STREAMS["anthropic"]
    assert facts(fed(*parts[:4])) == (None, model, reply_id, None, "Hello")


def test_real_objects_of_the_sdk_are_read() -> None:
    """Also fields that its classes do not declare."""
    chat = pytest.importorskip("openai.types.chat")
    usage = pytest.importorskip("openai.types").CompletionUsage.model_validate(CHAT)
    assert Usage.of(usage) == Usage.of(CHAT)
    parts, expected = STREAMS["chat"]
    rest = {"created": 0, "object": "chat.completion.chunk"}
    chunks = [chat.ChatCompletionChunk.model_validate({**part, **rest}) for part in parts]
    assert facts(fed(*chunks)) == expected
