"""Counters: the embedded vocabularies, the chat overhead, model names, usage."""

import base64
import hashlib
import runpy
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxwin import ContextManager, CounterError, Message, TokenCounter, counting
from ctxwin.counting import CallableCounter, ChatCounter, TiktokenCounter, counter_for, input_tokens
from ctxwin.counting.costs import Costs, as_counter
from ctxwin.counting.models import openai_counter
from ctxwin.counting.text import vocabulary
from ctxwin.counting.text.encodings import PATTERNS, SPECIAL_TOKENS, load_encoding, read_vocabulary
from ctxwin.testing import WordCounter
from ctxwin.testing.strategies import histories, texts

# The hashes of the official files that tiktoken checks (tiktoken_ext/openai_public.py).
SHA256 = {
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
}


@pytest.mark.parametrize("name", sorted(SHA256))
def test_embedded_vocabulary_is_the_official_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written back, the data is the official file, which packs to the data that ships."""
    official = vocabulary.serialise(read_vocabulary(name))
    assert hashlib.sha256(official).hexdigest() == SHA256[name]
    (tmp_path / "official").write_bytes(official)
    monkeypatch.setattr(
        sys, "argv", ["vocabulary", str(tmp_path / "official"), str(tmp_path / "packed")]
    )
    runpy.run_path(str(vocabulary.__file__), run_name="__main__")
    assert vocabulary.unpack((tmp_path / "packed").read_bytes()) == read_vocabulary(name)


@pytest.mark.parametrize("name", sorted(SHA256))
def test_patterns_are_tiktokens(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patterns and special tokens are those of the installed tiktoken."""
    from tiktoken_ext import openai_public

    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", lambda *_, **__: {})
    official = getattr(openai_public, name)()
    assert (PATTERNS[name], SPECIAL_TOKENS[name]) == (
        official["pat_str"],
        official["special_tokens"],
    )


@given(st.sets(st.binary(min_size=1, max_size=255), max_size=30).map(sorted))
def test_pack_round_trip(tokens: list[bytes]) -> None:
    """Any vocabulary survives packing, in rank order."""
    ranks = vocabulary.unpack(vocabulary.pack(tokens))
    assert list(ranks) == tokens
    assert list(ranks.values()) == list(range(len(tokens)))
    assert vocabulary.parse(vocabulary.serialise(ranks)) == tokens


def test_gap_in_ranks_is_refused() -> None:
    """A file with a gap in its ranks would be packed wrongly."""
    with pytest.raises(ValueError, match="line 2"):
        vocabulary.parse(base64.b64encode(b"a") + b" 0\n" + base64.b64encode(b"b") + b" 2\n")


def test_counting_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting opens no connection."""

    def refuse(*args: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket, "socket", refuse)
    load_encoding.cache_clear()
    assert counter_for("gpt-4o").count_text("hello world") == 2
    assert counter_for("gpt-4").count_text("您好") == 2


@given(texts())
def test_any_text_has_a_count(text: str) -> None:
    """Lone surrogates, special tokens and emoji count, and never more than one token per byte."""
    for model in ("gpt-4o", "gpt-4"):
        assert (
            0 <= counter_for(model).count_text(text) <= len(text.encode("utf-8", "surrogatepass"))
        )


@pytest.mark.parametrize(
    ("name", "encoding", "exact"),
    [
        ("gpt-4o", "o200k_base", True),
        ("gpt-4o-2024-08-06", "o200k_base", True),
        ("openai/gpt-4o-mini", "o200k_base/mini", True),
        ("azure/gpt-35-turbo", "cl100k_base", True),
        ("ft:gpt-4.1-mini:acme::abc", "o200k_base/4.1-mini", True),
        ("ft:gpt-3.5-turbo:acme::abc", "cl100k_base", True),
        ("gpt-4-turbo", "cl100k_base", True),
        ("gpt-5.4-mini", "o200k_base/gpt-5", True),
        ("o3-mini", "o200k_base/o3", True),
        ("o200k_harmony", "o200k_base", True),
        ("cl100k_base", "cl100k_base", True),
        ("openai/gpt-oss-120b", "o200k_base/gpt-oss", False),
        ("gpt-6-astra", "o200k_base/gpt-5", True),
        ("gpt-realtime", "o200k_base", True),
        ("codex-mini-latest", "o200k_base", True),
        ("anthropic/claude-sonnet-4.5", "estimate:claude-4.5:1", False),
        ("gemini-2.5-flash", "estimate:gemini-2.5:1", False),
        ("mistral-large-latest", "estimate:mistral:1", False),
        (None, "o200k_base", False),
    ],
)
def test_names(name: str | None, encoding: str, exact: bool) -> None:
    """A model's or an encoding's name finds its counter."""
    counter = counter_for(name)
    assert (counter.name, counter.exact, counter.additive) == (encoding, exact, True)
    assert isinstance(counter, TokenCounter)
    assert counter_for(name) is counter


def test_an_unknown_name_is_warned_of_once() -> None:
    """It gets a stand-in, and a warning the first time."""
    with pytest.warns(UserWarning, match="no tokenizer is known for 'kimi-k2'") as warned:
        counter = counter_for("kimi-k2")
    assert warned[0].filename == __file__
    with pytest.warns(UserWarning, match="no tokenizer is known for 'kimi-k3'") as warned:
        ContextManager(100, model="kimi-k3")
    assert warned[0].filename == __file__
    assert (counter.name, counter.exact) == ("o200k_base/other", False)
    assert counter_for("kimi-k2") is counter


def test_counters_are_imported_when_they_are_asked_for() -> None:
    """Every exported name is there, and no other."""
    for name in counting.__all__:
        assert callable(getattr(counting, name))
    with pytest.raises(AttributeError, match="no attribute 'Abacus'"):
        counting.Abacus  # noqa: B018 - the access itself must fail


def test_counters_of_one_vocabulary_share_what_they_counted() -> None:
    """There is one memo per vocabulary, not one per model."""
    texts = [
        openai_counter(model)._texts for model in ("gpt-4o", "gpt-4o-mini", "gpt-5", "o3-mini")
    ]
    assert all(one is texts[0] for one in texts)


def test_plain_chat_is_counted_as_billed() -> None:
    """The cookbook prints 129 tokens for gpt-4 and gpt-3.5-turbo, 124 for gpt-4o."""
    system = (
        "You are a helpful, pattern-following assistant that translates corporate jargon "
        "into plain English."
    )
    pairs = [
        ("example_user", "New synergies will help drive top-line growth."),
        ("example_assistant", "Things working well together will increase revenue."),
        (
            "example_user",
            (
                "Let's circle back when we have more bandwidth to touch base on opportunities for "
                "increased leverage."
            ),
        ),
        ("example_assistant", "Let's talk later when we're less busy about how to do better."),
    ]
    question = (
        "This late pivot means we don't have time to boil the ocean for the client deliverable."
    )
    messages = [{"role": "system", "content": system}]
    messages += [{"role": "system", "name": name, "content": text} for name, text in pairs]
    messages += [{"role": "user", "content": question}]
    assert counter_for("gpt-4").count_request(messages) == 129
    assert counter_for("gpt-4o").count_request(messages) == 124


def test_what_counts_beside_text() -> None:
    """Names, calls, images, refusals, tools."""
    counter = CallableCounter(len)
    user = {"role": "user", "content": "abc"}
    assert counter.count_message(user) == 7
    assert counter.count_message({**user, "name": "ada"}) == 11
    function = {"name": "f", "arguments": "{}"}
    call = {"id": "a", "type": "function", "function": function}
    custom = {"id": "a", "type": "custom", "custom": {"name": "f", "input": "xyz"}}
    assert counter.count_message({"role": "assistant", "content": None, "tool_calls": [call]}) == 10
    assert (
        counter.count_message({"role": "assistant", "content": None, "tool_calls": [custom]}) == 11
    )
    assert (
        counter.count_message({"role": "assistant", "content": None, "tool_calls": [call, call]})
        == 32
    )
    assert (
        counter.count_message({"role": "assistant", "content": None, "function_call": function})
        == 10
    )
    assert counter.count_message({"role": "tool", "tool_call_id": "a", "content": "ab"}) == 8
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": "ab"},
        {"type": "image_url", "image_url": {"url": "x", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "odd"},
    ]
    assert counter.count_message({"role": "user", "content": parts}) == 4 + 2 + 85 + 1445 + len(
        '{"type":"odd"}'
    )
    assert counter.count_message({"role": "assistant", "content": None, "refusal": "no"}) == 6
    assert counter.count_request([], [{"a": 1}]) == 3 + len('{"a":1}')
    assert repr(counter).startswith("CallableCounter(")
    assert repr(counter_for("gpt-4o")) == "TiktokenCounter('o200k_base', exact=True)"
    with pytest.raises(NotImplementedError):
        ChatCounter().count_text("")


@given(histories())
def test_a_request_is_the_sum_of_its_messages(history: list[dict[str, Any]]) -> None:
    """For a wrapped callable the sum is exact."""
    counter = CallableCounter(len)
    assert counter.count_request(history) == 3 + sum(map(counter.count_message, history))


class Preamble(WordCounter):
    """Prices tools in the one method that every counter has."""

    def count_request(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> int:
        return super().count_request(messages, tools) + 100 * bool(tools)


class Double(WordCounter):
    """Overrides only the price of messages."""

    def count_message(self, message: Mapping[str, Any]) -> int:
        return 2 * super().count_message(message)


class Wrapper:
    """Wraps another counter and passes on all its attributes."""

    def __init__(self, inner: TokenCounter) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def count_message(self, message: Mapping[str, Any]) -> int:
        return 2 * self.inner.count_message(message)


@pytest.mark.parametrize(
    "counter", [Preamble(), Double(), Wrapper(WordCounter())], ids=lambda it: type(it).__name__
)
def test_optional_methods_do_not_bypass_an_override(counter: Any) -> None:
    """A counter that overrides only `count_request` or `count_message` is asked through it."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    log: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one two three"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "four five"},
    ]
    tools = [{"type": "function", "function": {"name": "f"}}]
    costs = Costs(counter, tools)
    messages = [Message(number, wire, number == 1) for number, wire in enumerate(log, 1)]
    base = counter.count_request((), tools)
    assert costs.base_tokens(messages[0]) == base
    figures = [
        costs.message(message, messages[2] if message.role == "tool" else None)
        for message in messages
    ]
    assert figures == [counter.count_message(wire) for wire in log]


def test_results_of_one_call_see_one_copy_of_it() -> None:
    """A call with a thousand results is not copied a thousand times."""

    class Seeing(WordCounter):
        def count_result(self, result: Mapping[str, Any], call: Mapping[str, Any]) -> int:
            seen.append(call)
            return super().count_result(result, call)

    seen: list[Mapping[str, Any]] = []
    calls = [
        {"id": str(number), "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for number in (1, 2)
    ]
    ctx = ContextManager(1000, counter=Seeing())
    ctx.add_message("assistant", None, tool_calls=calls)
    for number in (1, 2):
        ctx.add_message("tool", "done", tool_call_id=str(number))
    assert ctx.total_tokens == ctx._keeper.conversation.costs.counter.count_request(ctx.messages())
    assert len(seen) == 4
    assert seen[0] is seen[1]


def test_encoding_object_is_taken() -> None:
    """Your own encoding may have a name that ctxwin does not know."""
    counter = TiktokenCounter(load_encoding("o200k_base"), name="mine")
    assert counter.count_text("hello world") == 2


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (
            {
                "prompt_tokens": 10,
                "total_tokens": 99,
                "prompt_tokens_details": {"cached_tokens": 8},
            },
            10,
        ),
        ({"input_tokens": 10, "output_tokens": 5}, 10),
        ({"prompt_tokens": 0, "input_tokens": 10}, 10),
        ({"prompt_tokens": True, "input_tokens": 10}, 10),
        ({"prompt_tokens": 0}, 0),
        ({"inputTokens": 10, "cacheReadInputTokens": 7, "cacheWriteInputTokens": 3}, 20),
        ({"input_tokens": 10, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 3}, 20),
        ({"input_tokens": 10, "cache_read_input_tokens": None}, 10),
        ({"promptTokenCount": 4, "totalTokenCount": 9}, 4),
        (SimpleNamespace(prompt_token_count=4, total_token_count=9), 4),
        (SimpleNamespace(prompt_tokens=10), 10),
    ],
)
def test_usage(usage: object, tokens: int) -> None:
    """Input tokens of every API, cached ones counted once."""
    assert input_tokens(usage) == tokens


@pytest.mark.parametrize(
    "usage", [{}, {"total_tokens": 9}, None, {"prompt_tokens": -1}, {"prompt_tokens": "9"}]
)
def test_usage_without_input_is_refused(usage: object) -> None:
    """Totals are no substitute."""
    with pytest.raises(ValueError, match="prompt_tokens"):
        input_tokens(usage)


class Panic(BaseException):
    """As a Rust extension raises it."""


@pytest.mark.parametrize("answer", [-1, 2.5, None, "7", ValueError("boom"), Panic("rust")])
def test_junk_from_a_counter_is_a_counter_error(answer: Any) -> None:
    """If a counter raises, or returns what is not a count, the error says so."""

    def count(text: str) -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    with pytest.raises(CounterError, match="count_text"):
        Costs(CallableCounter(count)).text("x")


def test_interrupts_pass_through_a_counter() -> None:
    """Ctrl-C while counting is not an error of the counter."""

    def count(text: str) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Costs(CallableCounter(count)).text("x")


def test_what_may_be_given_as_a_counter() -> None:
    """A counter, a callable, a name, a model's name; the name takes precedence over the model."""
    counter = counter_for("gpt-4")
    assert as_counter(counter, "gpt-4o") is counter
    assert as_counter("cl100k_base", "gpt-4o") is counter
    assert as_counter(None, "gpt-4") is counter
    assert isinstance(as_counter(len, None), CallableCounter)
    for junk in (7, TiktokenCounter):
        with pytest.raises(TypeError, match="must be a TokenCounter"):
            as_counter(junk, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("tools", ["f", {"a": 1}, ["f"], [1]])
def test_junk_tools_are_refused(tools: Any) -> None:
    """Tools are a sequence of schemas."""
    with pytest.raises(TypeError, match="tools"):
        Costs(CallableCounter(len), tools)


def test_unknown_shapes_count_as_their_json() -> None:
    """A provider's own fields may hold anything."""
    counter = CallableCounter(len)
    odd = {
        "role": "assistant",
        "content": "x",
        "reasoning": [{"text": "abc"}],
        "reasoning_content": ["abc"],
    }
    assert counter.count_message(odd) == 4 + 1 + len('{"text":"abc"}') + len('"abc"')
