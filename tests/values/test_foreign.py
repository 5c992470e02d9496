"""Messages of other APIs, frameworks and exports are refused, each by what it is and what to do."""

import gzip
import json
from importlib import import_module
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxwin import ContextManager, MessageError
from ctxwin.counting import counter_for
from ctxwin.values.message import read_message

MESSAGE = {"role": "assistant", "content": "hi"}
EXPORTED = {"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["hi"]}}
GATHER, CONTENT, CALLS, RESULT = "put the chunks", '"content"', "tool_calls", '"role": "tool"'
LANGCHAIN, LLAMA_INDEX = "convert_to_openai_messages", "to_openai_message_dict"

# What is given; what the error calls it; what it says to do.
WHOLE: dict[str, tuple[Any, str, str]] = {
    "reply": (
        {"id": "1", "choices": [{"message": MESSAGE}]},
        "whole reply",
        r"choices\[0\].message",
    ),
    "reply without choices": ({"choices": []}, "whole reply", r"choices\[0\].message"),
    "choice": ({"index": 0, "finish_reason": "stop", "message": MESSAGE}, "choice", "`message`"),
    "chunk": ({"choices": [{"delta": {"content": "h"}}]}, "chunk", GATHER),
    "choice of a chunk": ({"index": 0, "delta": {"content": "h"}}, "chunk", GATHER),
    "Ollama's reply": ({"model": "m", "message": MESSAGE, "done": True}, "reply", "`message`"),
    "Responses' reply": ({"object": "response", "output": []}, "reply", CONTENT),
    "Bedrock's reply": ({"output": {"message": {}}, "stopReason": "end_turn"}, "reply", CONTENT),
    "Gemini's reply": ({"candidates": []}, "Gemini reply", CONTENT),
    "Gemini's content": ({"role": "model", "parts": [{"text": "hi"}]}, "Gemini", CONTENT),
    "Gemini's question": ({"role": "user", "parts": [{"text": "hi"}]}, "Gemini", CONTENT),
    "a UI message": ({"id": "1", "role": "user", "parts": [{"type": "text"}]}, "UI", CONTENT),
    "Anthropic's reply": (
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": "hi"}],
            "stop_reason": "end_turn",
        },
        "Anthropic reply",
        CONTENT,
    ),
    "call item": ({"type": "function_call", "name": "f"}, "'function_call' block", CALLS),
    "result item": ({"type": "function_call_output"}, "'function_call_output' block", RESULT),
    "search item": ({"type": "web_search_call"}, "'web_search_call' block", CALLS),
    "reasoning item": ({"type": "reasoning", "summary": []}, "item", CONTENT),
    "block alone": ({"type": "tool_result", "tool_use_id": "t"}, "'tool_result' block", RESULT),
    "request": ({"model": "m", "messages": [MESSAGE]}, "whole conversation", "extend"),
    "ChatGPT's export": ({"title": "t", "mapping": {}}, "ChatGPT export", "author"),
    "its node": ({"id": "1", "message": EXPORTED, "children": []}, "ChatGPT export", "author"),
    "its message": (EXPORTED, "ChatGPT export", "author"),
    "ShareGPT's row": ({"conversations": [{"from": "human", "value": "hi"}]}, "ShareGPT", "value"),
    "ShareGPT's turn": ({"from": "human", "value": "hi"}, "ShareGPT", "value"),
    "LangChain's dump": ({"type": "human", "content": "hi"}, "LangChain", LANGCHAIN),
    "LangChain's fields": ({"content": "hi", "additional_kwargs": {}}, "LangChain", LANGCHAIN),
    "LangChain's constructor": ({"lc": 1, "kwargs": {}}, "LangChain", LANGCHAIN),
    "LlamaIndex's dump": ({"role": "user", "blocks": [{"text": "hi"}]}, "LlamaIndex", LLAMA_INDEX),
    "a role of others": ({"role": "Human", "content": "hi"}, "not 'Human'", "here it is 'user'"),
    "another role of others": ({"role": "model", "content": "hi"}, "'model'", "it is 'assistant'"),
    "text": ("hi", "not str", "add_message"),
    "a pair": (("user", "hi"), "not tuple", "extend"),
    "several": ([MESSAGE], "not list", "extend"),
    "an object": (SimpleNamespace(role="user", content="hi"), "not SimpleNamespace", CONTENT),
    "nothing": (None, "not NoneType", CONTENT),
    "a class": (dict, "not type", CONTENT),
}


@pytest.mark.parametrize(("given", "what", "advice"), WHOLE.values(), ids=WHOLE)
def test_it_is_named_and_the_way_out_told(given: Any, what: str, advice: str) -> None:
    """One error, and nothing has changed; `extend` says which message it was."""
    ctx = ContextManager(100, counter=len)
    before = ctx.to_dict()
    with pytest.raises(MessageError, match=what) as refused:
        ctx.append(given)
    assert refused.match(advice)
    assert len(str(refused.value)) < 400
    with pytest.raises(MessageError, match=rf"^messages\[1\]: .*{what}"):
        ctx.extend([{"role": "user", "content": "fine"}, given])
    assert ctx.to_dict() == before


class Dumps:
    """An SDK's object: what it dumps is recognised as a mapping is."""

    def __init__(self, fields: Any) -> None:
        self.fields = fields

    def model_dump(self) -> Any:
        return self.fields


@pytest.mark.parametrize("kind", [kind for kind, row in WHOLE.items() if isinstance(row[0], dict)])
def test_objects_are_named_like_mappings(kind: str) -> None:
    """A reply of an SDK, say."""
    given, what, advice = WHOLE[kind]
    with pytest.raises(MessageError, match=what) as refused:
        read_message(Dumps(given))
    assert refused.match(advice)


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        ("langchain_core.messages", LANGCHAIN),
        ("llama_index.core.llms", LLAMA_INDEX),
        ("haystack.dataclasses", "to_openai_dict_format"),
        ("agent_framework", CONTENT),
        ("autogen_core.models", CONTENT),
        ("pydantic_ai.messages", CONTENT),
    ],
)
def test_objects_of_frameworks(module: str, advice: str) -> None:
    """They are known by where their class, or the one it extends, comes from."""
    base = type("ChatMessage", (Dumps,), {"__module__": module})
    own = type("OurMessage", (base,), {"__module__": "app"})
    for kind in (base, own):
        with pytest.raises(MessageError, match=module.partition(".")[0]) as refused:
            read_message(kind({"role": "user", "content": "hi", "blocks": []}))
        assert refused.match(advice)


def test_real_objects_of_frameworks() -> None:
    """The same with the frameworks themselves, where they are installed."""
    frameworks: list[tuple[str, str, str]] = [
        ("langchain_core.messages", "HumanMessage", LANGCHAIN),
        ("llama_index.core.llms", "ChatMessage", LLAMA_INDEX),
    ]
    found = [row for row in frameworks if find_spec(row[0].partition(".")[0])]
    for module, name, advice in found:
        with pytest.raises(MessageError, match=advice):
            read_message(getattr(import_module(module), name)("hi"))
    if not found:
        pytest.skip("neither LangChain nor LlamaIndex is installed")


def cased(words: tuple[str, ...]) -> list[str]:
    """Return words as a name: with underscores, hyphens, spaces, and in camel case."""
    camel = words[0] + "".join(word.capitalize() for word in words[1:])
    return ["_".join(words), "-".join(words), camel, camel[0].upper() + camel[1:]]


CALL_BLOCKS = [
    name for pair in product(("tool", "function"), ("use", "call")) for name in cased(pair)
]
CALL_BLOCKS += ["server_tool_use", "mcp_tool_use", "mcp_call", "web_search_call", "tool_call_chunk"]
RESULT_BLOCKS = [
    name
    for pair in product(("tool", "function"), ("result", "response", "return", "output"))
    for name in cased(pair)
]
RESULT_BLOCKS += [
    "web_search_tool_result",
    "bash_code_execution_tool_result",
    "mcp_tool_result",
    "function_call_output",
    "custom_tool_call_output",
]


@pytest.mark.parametrize(
    ("names", "advice"), [(CALL_BLOCKS, CALLS), (RESULT_BLOCKS, RESULT)], ids=["calls", "results"]
)
def test_blocks_with_calls_and_results(names: list[str], advice: str) -> None:
    """By type or by key, for any role, at any place; the error says where, and what to use."""
    text = {"type": "text", "text": "hi"}
    for name in names:
        for role in ("user", "assistant", "tool", "system"):
            for block in ({"type": name, "id": "t"}, {name: {"id": "t"}}):
                with pytest.raises(MessageError) as refused:
                    read_message({"role": role, "content": [text, block]})
                said = str(refused.value)
                assert said.startswith(f"content[1] is a {name!r} block"), said
                assert advice in said


@pytest.mark.parametrize("name", ["input_text", "output_text", "input_image", "input_file"])
def test_parts_of_responses(name: str) -> None:
    """They are called otherwise here."""
    with pytest.raises(MessageError, match=rf"content\[0\] is a '{name}' part of the Responses"):
        read_message({"role": "user", "content": [{"type": name, "text": "hi"}]})


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"type": "file", "file": {"file_id": "f"}},
        {"type": "refusal", "refusal": "no"},
        {"type": "video_url", "video_url": {"url": "https://example.org/a.mp4"}},
        {"type": "audio_url", "audio_url": {"url": "https://example.org/a.mp3"}},
        {"type": "document_url", "document_url": "https://example.org/a.pdf"},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        {"type": "document", "source": {"type": "text", "data": "hi"}},
        {"type": "thinking", "thinking": "so", "signature": "s"},
        {"type": "redacted_thinking", "data": "s"},
        {"type": "tool_reference", "tool_name": "f"},
        {"type": "of_tomorrow", "of_tomorrow": 1},
    ],
)
def test_parts_that_providers_add_are_taken(part: dict[str, Any]) -> None:
    """Only calls and results of another API are refused: of the rest, a provider may know more."""
    wire = {"role": "user", "content": [part, {"type": "text", "text": "hi"}], "extra": [1]}
    assert read_message(wire) == wire


@pytest.mark.parametrize(
    "call",
    [
        {"name": "f", "args": {}, "id": "t", "type": "tool_call"},
        {"toolName": "f", "toolCallId": "t", "input": {}},
        {"name": "f", "arguments": "{}"},
    ],
)
def test_calls_of_frameworks(call: dict[str, Any]) -> None:
    """A call that is not wrapped in `function`, as LangChain has it."""
    with pytest.raises(MessageError, match=r"tool_calls\[0\] .*function.*name.*arguments"):
        read_message({"role": "assistant", "content": "", "tool_calls": [call]})


KEYS = [
    *("role", "content", "name", "tool_calls", "tool_call_id", "function_call", "audio", "refusal"),
    *("type", "text", "choices", "delta", "message", "children", "author", "mapping", "messages"),
    *("conversations", "from", "value", "candidates", "stop_reason", "output", "parts", "blocks"),
    *("additional_kwargs", "lc", "tool_use", "functionCall", "toolResult", "id", "function"),
    *("arguments", "annotations", "parsed", "index", "incomplete", "data", "signature"),
]
ATOMS = st.sampled_from(
    [None, True, 0, 1.5, "", "hi", "user", "assistant", "tool", "model", "text", "thinking", "ai"]
)
JSON: st.SearchStrategy[Any] = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=12,
)


@given(JSON, st.booleans(), st.booleans())
def test_whatever_is_given_is_taken_or_refused(given_: Any, dumped: bool, incomplete: bool) -> None:
    """A `MessageError`, short and of one line, or a message that every counter can count."""
    try:
        wire = read_message(Dumps(given_) if dumped else given_, incomplete=incomplete)
    except MessageError as error:
        assert len(str(error)) < 600
        assert "\n" not in str(error)
        return
    assert counter_for("gpt-4o").count_message(wire) > 0
    assert counter_for("claude-sonnet-4-5").count_message(wire) > 0
    assert read_message(wire) == wire


def test_what_is_quoted_is_short() -> None:
    """A type may be a whole text by mistake."""
    with pytest.raises(MessageError) as refused:
        read_message({"role": "user", "content": [{"type": f"tool_use{'x' * 10**6}"}]})
    assert len(str(refused.value)) < 400


def test_recorded_conversations_of_another_api(data: Path) -> None:
    """Whoever appends Anthropic's calls and results is told so; no window parts them."""
    refused = taken = 0
    path = data / "api_conversations" / "anthropic_messages.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        conversations = [json.loads(line)["messages"] for line in file]
    for messages in conversations:
        blocks = [
            block.get("type", "")
            for message in messages
            if isinstance(message["content"], list)
            for block in message["content"]
        ]
        uses_tools = any(kind.endswith(("tool_use", "tool_result")) for kind in blocks)
        ctx = ContextManager(10**6, counter=len)
        if uses_tools:
            where = r"^messages\[\d+\]: content\[\d+\] is a '\w+' block"
            with pytest.raises(MessageError, match=where):
                ctx.extend(messages)
            assert not ctx.conversation_history
        else:
            ctx.extend(messages)
        refused, taken = refused + uses_tools, taken + (not uses_tools)
    assert refused > 70
    assert taken > 10
