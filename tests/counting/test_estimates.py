"""Estimates: what a family's coefficients price, and which model belongs to which family."""

import base64
import json
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.vectors import png_header
from ctxwin import ContextManager, TokenCounter
from ctxwin.counting import counter_for
from ctxwin.counting.estimates.estimates import EstimateCounter, estimate_for
from ctxwin.counting.estimates.families import FAMILIES, RATES, Family, family_of
from ctxwin.counting.text.encodings import load_encoding
from ctxwin.testing.strategies import histories

FLAT = Family(name="flat", text=1)
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "Where"},
        "unit": {"enum": ["C", "F"], "default": "C"},
    },
    "$defs": {"Day": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "Look up", "parameters": SCHEMA},
}
NATIVE_TOOL = {"name": "weather", "description": "Look up", "input_schema": SCHEMA}


def tokens(text: str) -> int:
    return len(load_encoding("o200k_base").encode_ordinary(text))


def counter(**rates: float) -> EstimateCounter:
    none: dict[str, Any] = {"name": "one", **rates}
    return EstimateCounter(Family(**none))


families = st.sampled_from(FAMILIES)
quantiles = st.sampled_from([None, 0.9, 0.95])


@given(histories(), families, quantiles, st.lists(st.sampled_from([TOOL, NATIVE_TOOL]), max_size=2))
def test_a_request_is_its_base_and_its_messages(
    history: list[dict[str, Any]],
    family: Family,
    quantile: float | None,
    tools: list[dict[str, Any]],
) -> None:
    """No request costs more than its parts, and no part is negative."""
    estimate = EstimateCounter(family, quantile=quantile)
    costs = [estimate.count_message(message) for message in history]
    assert min(costs, default=0) >= 0
    assert estimate.count_request(history, tools) == estimate.count_request((), tools) + sum(costs)


@given(histories(), families, st.lists(st.just(TOOL), max_size=2))
def test_a_bound_is_no_less_than_the_estimate(
    history: list[dict[str, Any]], family: Family, tools: list[dict[str, Any]]
) -> None:
    """Nor is the bound of a higher quantile below that of a lower one."""
    counts = [
        EstimateCounter(family, quantile=q).count_request(history, tools) for q in (None, 0.9, 0.95)
    ]
    assert counts == sorted(counts)


@given(st.text())
def test_text_is_scaled(text: str) -> None:
    """The vocabulary's count times the family's rate."""
    assert counter(text=2).count_text(text) == 2 * tokens(text)


def test_names_tell_family_quantile_and_version() -> None:
    """Stored counts are reused under an equal name only."""
    counters = [
        EstimateCounter(family, quantile=q) for family in FAMILIES for q in (None, 0.9, 0.95)
    ]
    assert len({one.name for one in counters}) == len(counters)
    assert (
        EstimateCounter(family_of("claude-opus-5") or FLAT, quantile=0.95).name
        == "estimate:claude-4.7:p95:1"
    )
    assert repr(counters[1]) == "EstimateCounter('claude-3:p90')"
    assert all(isinstance(one, TokenCounter) for one in counters)
    assert {(one.exact, one.additive) for one in counters} == {(False, True)}


def test_unknown_quantile_is_refused() -> None:
    """There is no bound that was not measured."""
    with pytest.raises(
        ValueError, match=r"claude-3 has no bound for the quantile 0\.5: it has 0\.9, 0\.95"
    ):
        EstimateCounter(FAMILIES[0], quantile=0.5)
    with pytest.raises(ValueError, match=r"flat .* none"):
        EstimateCounter(FLAT, quantile=0.95)


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("claude-3-opus-20240229", "claude-3-opus"),
        ("claude-2.1", "claude-3"),
        ("anthropic.claude-v2", "claude-3"),
        ("claude-3-5-haiku-latest", "claude-3"),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", "claude-4"),
        ("claude-sonnet-4-20250514", "claude-4"),
        ("claude-sonnet-4-0", "claude-4"),
        ("anthropic/claude-opus-4.1", "claude-4"),
        ("anthropic/claude-sonnet-4", "claude-4"),
        ("claude-sonnet-4-5-20250929", "claude-4.5"),
        ("anthropic/claude-sonnet-4.6", "claude-4.5"),
        ("claude-haiku-4-5", "claude-4.5"),
        ("claude-opus-4-8", "claude-4.7"),
        ("Claude-Future-9", "claude-4.7"),
        ("models/gemini-1.5-flash", "gemini-2.0"),
        ("google/gemini-2.0-flash-exp:free", "gemini-2.0"),
        ("gemini-2.5-pro", "gemini-2.5"),
        ("gemini-3-flash-preview", "gemini-3"),
        ("gemini-flash-latest", "gemini-3"),
        ("mistral-large-latest", "mistral"),
        ("claude-4.5", "claude-4.5"),
    ],
)
def test_a_model_has_its_family(model: str, family: str) -> None:
    """Prefixes and suffixes are ignored; a newer generation counts as the most expensive one."""
    estimate = estimate_for(model)
    assert estimate is not None
    assert estimate.family.name == family


@pytest.mark.parametrize("model", ["gpt-4o", "llama-3.3-70b", "qwen3-32b", "codestral-2501"])
def test_a_model_without_rows_has_none(model: str) -> None:
    """Better no estimate than one that nothing supports."""
    assert estimate_for(model, quantile=0.95) is None


def test_unknown_generations_get_the_most_expensive_text() -> None:
    """A model that is newer than the figures had better be counted too high than too low."""
    for name in ("claude", "gemini"):
        newest = family_of(name)
        assert newest is not None
        assert newest.text == max(
            family.text for family in FAMILIES if family.name.startswith(name)
        )


def test_every_rate_counts_once() -> None:
    """A request with one of each, counted with one coefficient at a time."""
    signed = {"google": {"thought_signature": "abc"}}
    call = {"id": "1", "function": {"name": "weather", "arguments": "{}"}, "extra_content": signed}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "sunny"},
    ]
    texts = ["Be brief.", "Hi", "weather{}", "sunny"]
    words = ["weather", "Look up", "city", "unit", "Where", '["C","F"]', '"C"', "Day"]
    expected = {
        "base": 1,
        "turn": 2,
        "text": sum(map(tokens, texts)),
        "call": 1,
        "tools": 1,
        "tool": 1,
        "word": sum(map(tokens, words)),
        "node": 6,  # the schema, two properties, a definition and its two alternatives
        "signature": 3,
    }
    assert set(expected) == set(RATES)
    for rate, count in expected.items():
        assert counter(**{rate: 1}).count_request(messages, [TOOL]) == count, rate


def test_native_tools_count_as_functions() -> None:
    """Anthropic's tools have the same words and schema; a server-side tool counts as its JSON."""
    shape = counter(word=1, node=1)
    assert shape.count_request((), [NATIVE_TOOL]) == shape.count_request((), [TOOL])
    words = counter(word=1)
    server = {"type": "web_search_20250305", "max_uses": 5}
    assert words.count_request((), [server]) == tokens(
        '{"type":"web_search_20250305","max_uses":5}'
    )


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"type": "text", "text": "Hello there"}, "Hello there"),
        ({"type": "thinking", "thinking": "Let me see", "signature": "xyz"}, "Let me see"),
        (
            {"type": "tool_use", "id": "1", "name": "weather", "input": {"city": "Rome"}},
            'weather{"city":"Rome"}',
        ),
        ({"type": "tool_result", "tool_use_id": "1", "content": "sunny"}, "sunny"),
        (
            {
                "type": "tool_result",
                "tool_use_id": "1",
                "content": [{"type": "text", "text": "sunny"}],
            },
            "sunny",
        ),
        ({"type": "tool_result", "tool_use_id": "1"}, ""),
        ({"type": "input_text", "text": "Hello there"}, "Hello there"),
        ({"type": "document", "source": {"type": "text", "data": "Hello there"}}, "Hello there"),
        ({"type": "citation", "title": "A"}, '{"type":"citation","title":"A"}'),
        ({"kind": "odd"}, '{"kind":"odd"}'),
        ("bare", '"bare"'),
    ],
)
def test_blocks_count_as_their_text(block: object, text: str) -> None:
    """Blocks of the Messages API count as what they hold, blocks of unknown shape as their JSON."""
    assert EstimateCounter(FLAT).count_message({"role": "user", "content": [block]}) == tokens(text)


@pytest.mark.parametrize(
    "call",
    [
        {"tool_calls": [{"id": "1", "type": "custom", "custom": {"name": "run", "input": "ls"}}]},
        {"function_call": {"name": "run", "arguments": "ls"}},
        {"refusal": "run", "reasoning": "ls", "name": None},
    ],
)
def test_every_field_that_is_read_back_counts(call: Mapping[str, Any]) -> None:
    """Custom tools, the legacy call, refusals and reasoning."""
    message = {"role": "assistant", "content": None, **call}
    assert EstimateCounter(FLAT).count_message(message) == tokens("run") + tokens("ls")


def test_images_cost_by_size_where_the_family_has_it() -> None:
    """Pixels divided by the family's figure, up to a maximum; an unknown size costs the maximum."""
    priced = EstimateCounter(replace(FLAT, image=1600, pixels=750))
    flat = EstimateCounter(replace(FLAT, image=258))
    small, large = (
        base64.b64encode(png_header(*size)).decode() for size in ((300, 250), (4000, 3000))
    )
    for data, cost in ((small, 100), (large, 1600)):
        linked = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
        native = {"type": "image", "source": {"type": "base64", "data": data}}
        for part in (linked, native):
            assert priced.count_message({"role": "user", "content": [part]}) == cost
            assert flat.count_message({"role": "user", "content": [part]}) == 258
    remote = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    assert priced.count_message({"role": "user", "content": [remote]}) == 1600


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/tiff;base64,DATA"}},
        {"type": "input_image", "image_url": "data:image/tiff;base64,DATA"},
        {"type": "image", "source": {"type": "base64", "data": "DATA"}},
        {"type": "input_audio", "input_audio": {"data": "DATA", "format": "mp3"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,DATA"}},
        {"type": "input_file", "file_data": "data:application/pdf;base64,DATA"},
        {"type": "document", "source": {"type": "base64", "data": "DATA"}},
    ],
    ids=lambda part: part["type"],
)
@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-5", "gemini-2.5-flash"])
def test_data_is_not_read_as_text(model: str, part: Mapping[str, Any]) -> None:
    """With every counter a hundred kilobytes of any medium cost at most a few thousand tokens."""
    data = base64.b64encode(random.Random(1).randbytes(100_000)).decode()
    filled = json.loads(json.dumps(part).replace("DATA", data))
    assert counter_for(model).count_message({"role": "user", "content": [filled]}) < 6000


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("claude-4-sonnet-20250514", "claude-4"),
        ("claude-haiku-3.5", "claude-3"),
        ("gemini-live-2.5-flash", "gemini-2.5"),
        ("claude-next", "claude-4.7"),
        ("gemini-next", "gemini-3"),
    ],
)
def test_names_in_other_orders(model: str, family: str) -> None:
    """Hosts reorder names; a model newer than the coefficients is of the newest generation."""
    estimate = estimate_for(model)
    assert estimate is not None
    assert estimate.family.name == family


def test_a_manager_counts_with_it() -> None:
    """An estimate is a counter like any other."""
    estimate = estimate_for("claude-sonnet-4-5", quantile=0.95)
    assert estimate is not None
    ctx = ContextManager(100, counter=estimate)
    for number in range(30):
        ctx.add_message("user", f"What is {number} times {number}?")
    assert estimate.count_request(ctx.messages()) <= 100
