"""What goes back of a reply: all that is set, but what only replies have. And broken streams."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxwin import ContextManager, MessageError
from ctxwin.values.message import read_message

FUNCTION = {"name": "f", "arguments": "{}"}
SIGNED = {"google": {"thought_signature": "c2ln"}}
CALL = {"id": "a", "type": "function", "function": FUNCTION, "extra_content": SIGNED}
THINKING = [{"type": "thinking", "thinking": "so", "signature": "c2ln"}]
# Fields that no class of the OpenAI SDK declares, and that some provider demands back.
MUST_GO_BACK: dict[str, Any] = {
    "reasoning_content": "so",  # DeepSeek, Kimi, vLLM
    "reasoning": "so",  # OpenRouter, Groq, Ollama
    "reasoning_details": [  # OpenRouter
        {"type": "reasoning.encrypted", "data": "c2ln", "id": None, "format": "x", "index": 0}
    ],
    "thinking_blocks": THINKING,  # litellm
    "provider_specific_fields": {"thought_signatures": ["c2ln"], "citations": None},  # litellm
    "extra_content": SIGNED,  # Gemini
    "prefix": False,
}
CITED = {
    "type": "url_citation",
    "url_citation": {"start_index": 0, "end_index": 1, "title": "t", "url": "https://example.org"},
}
REPLY_ONLY: dict[str, Any] = {"annotations": [CITED], "parsed": {"a": 1}}
EMPTY: dict[str, Any] = {"refusal": None, "function_call": None, "images": [], "more": {}}


def said(**fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": "hi", **deepcopy(fields)}


class Dumps:
    """An SDK's object; this one knows no options."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields

    def model_dump(self) -> dict[str, Any]:
        return self.fields


def openai_object(fields: dict[str, Any]) -> Any:
    return pytest.importorskip("openai.types.chat").ChatCompletionMessage.construct(**fields)


def validated(fields: dict[str, Any]) -> Any:
    chat = pytest.importorskip("openai.types.chat")
    return chat.ChatCompletionMessage.model_validate(fields)


def litellm_object(fields: dict[str, Any]) -> Any:
    with pytest.MonkeyPatch.context() as patch:  # or it asks the network for prices on import
        patch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        return pytest.importorskip("litellm.types.utils").Message(**fields)


MADE = pytest.mark.parametrize("made", [Dumps, openai_object, validated, litellm_object])


@MADE
def test_what_is_set_goes_back(made: Any) -> None:
    """Also what the class of the object does not declare, on the message and on its calls."""
    given = said(**MUST_GO_BACK, tool_calls=[{**CALL, "signature": "c2ln"}])
    ctx = ContextManager(10**6, counter=len)
    ctx.append(made(deepcopy(given)))
    ctx.append({"role": "tool", "tool_call_id": "a", "content": "r"})
    assert ctx.messages()[0] == given


@pytest.mark.parametrize("made", [Dumps, openai_object, validated])
def test_what_is_set_on_a_function_goes_back(made: Any) -> None:
    """And on a custom tool."""
    function = {"function": {**FUNCTION, "thought_signature": "c2ln"}}
    custom = {"custom": {"name": "f", "input": "", "thought_signature": "c2ln"}}
    calls = [{**CALL, **function}, {"id": "b", "type": "custom", **custom}]
    assert read_message(made(said(tool_calls=deepcopy(calls)))) == said(tool_calls=calls)


@MADE
@pytest.mark.parametrize("field", MUST_GO_BACK)
def test_each_field_goes_back(made: Any, field: str) -> None:
    """One by one, with text and without."""
    fields = {field: MUST_GO_BACK[field]}
    for content in ("hi", None):
        given = {**said(**fields), "content": content}
        assert read_message(made(deepcopy(given))) == given


@MADE
def test_what_only_replies_have_stays_behind(made: Any) -> None:
    """And what is empty: an API may refuse null for a field that it does not know."""
    call = {**CALL, "index": 0, "function": {**FUNCTION, "parsed_arguments": {"a": 1}}}
    given = said(**REPLY_ONLY, **EMPTY, tool_calls=[call])
    assert read_message(made(given)) == said(tool_calls=[CALL])


@MADE
def test_audio_goes_back_as_its_id(made: Any) -> None:
    """The id stands for the data, which the API has."""
    audio = {"id": "audio_1", "data": "UklG", "expires_at": 1, "transcript": "hi"}
    given = {"role": "assistant", "content": None, "audio": audio}
    expected = {"role": "assistant", "content": None, "audio": {"id": "audio_1"}}
    assert read_message(made(given)) == expected


def test_audio_without_an_id_is_kept() -> None:
    """Nothing stands for its data."""
    audio = {"data": "UklG"}
    given = {"role": "assistant", "content": None, "audio": audio}
    assert read_message(Dumps(given))["audio"] == audio


def test_content_in_parts_is_taken_without_a_warning() -> None:
    """Mistral's reasoning comes in parts, which the OpenAI SDK's class does not declare."""
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "so"}]}]
    parts += [{"type": "text", "text": "hi"}]
    assert read_message(openai_object({"role": "assistant", "content": parts}))["content"] == parts


def test_a_mapping_keeps_every_key() -> None:
    """What a caller writes down is the caller's: only empty `tool_calls` are left away."""
    wire = said(**MUST_GO_BACK, **REPLY_ONLY, **EMPTY, audio={"id": "1", "data": "UklG"})
    assert read_message(wire) == wire
    assert read_message({**wire, "tool_calls": []}) == wire
    assert read_message({**wire, "tool_calls": None}) == wire


@pytest.mark.parametrize("arguments", [{}, {"city": "Zürich", "days": [1, 2]}])
def test_arguments_may_be_a_mapping(arguments: dict[str, Any]) -> None:
    """Chat templates and Ollama have them so; they go back so, and count as their JSON."""
    call: dict[str, Any] = {"function": {"name": "f", "arguments": arguments}}
    wire = {"role": "assistant", "content": "", "tool_calls": [call]}
    ctx = ContextManager(10**6, counter=len)
    assert ctx.append(wire).to_dict() == wire == read_message(Dumps(wire))
    ctx.append({"role": "tool", "content": "r"})
    assert ctx.messages()[0] == wire


@pytest.mark.parametrize("arguments", [None, [], 7])
def test_arguments_of_other_types_are_refused(arguments: Any) -> None:
    """No API has them so."""
    calls = [{"function": {"name": "f", "arguments": arguments}}]
    with pytest.raises(MessageError, match=r"\['arguments'\] must be text or a mapping"):
        read_message({"role": "assistant", "content": "", "tool_calls": calls})


# A stream that broke off.

SEEN = [
    {"content": "Let me look"},
    {"content": [{"type": "text", "text": "Let me look"}]},
    {"content": None, "refusal": "I would rather n"},
    {"content": "Let me look", "reasoning_content": "so", "name": "ada", "mood": []},
    {"content": "Let me look", "thinking_blocks": THINKING},
    {"content": [*THINKING, {"type": "text", "text": "Let me look"}]},
    {"content": "Let me look", "reasoning_details": MUST_GO_BACK["reasoning_details"]},
]
UNFINISHED: list[dict[str, Any]] = [
    {},
    {"tool_calls": [CALL]},
    {"tool_calls": [{"index": 0, "id": None, "function": {"name": None, "arguments": '{"a'}}]},
    {"tool_calls": [{"index": 0}]},
    {"tool_calls": []},
    {"function_call": {"name": "f", "arguments": '{"a'}},
    {"audio": {"data": "Ukl"}},
    {"tool_calls": [CALL], "thinking_blocks": [{"type": "thinking", "thinking": "s"}]},
    {"reasoning_details": [{"type": "reasoning.text", "text": "s", "signature": None}]},
]


@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize("unfinished", UNFINISHED)
def test_of_a_broken_stream_what_was_seen_is_taken(
    seen: dict[str, Any], unfinished: dict[str, Any]
) -> None:
    """It stays in every window, and nothing of a call is even in the log."""
    if seen.keys() & unfinished.keys():
        return
    given = {"role": "assistant", **seen, **unfinished}
    expected = {"role": "assistant", **seen}
    for one in (given, Dumps({key: item for key, item in given.items() if item != []})):
        ctx = ContextManager(10**6, counter=len)
        ctx.add_message("user", "Where is my parcel?")
        message = ctx.append(deepcopy(one), incomplete=True)
        ctx.add_message("user", "Never mind")
        taken = {key: item for key, item in expected.items() if one is given or item != []}
        assert message.to_dict() == taken
        assert ctx.messages()[1] == taken
        assert not ctx.left_out
    assert not message.tool_calls


def test_unsigned_reasoning_in_content_is_left_away() -> None:
    """APIs refuse reasoning whose signature is missing."""
    parts = [{"type": "thinking", "thinking": "s"}, {"type": "text", "text": "Let me look"}]
    ctx = ContextManager(10**6, counter=len)
    message = ctx.add_message("assistant", parts, incomplete=True, tool_calls=[CALL])
    assert message.to_dict() == {"role": "assistant", "content": parts[1:]}


@pytest.mark.parametrize("seen", [{}, {"content": None}, {"content": ""}, {"reasoning": "so"}])
def test_a_stream_of_which_nothing_was_seen(seen: dict[str, Any]) -> None:
    """The log has it, as it has an empty reply; no window does."""
    ctx = ContextManager(10**6, counter=len)
    ctx.add_message("user", "hi")
    message = ctx.append({"role": "assistant", **seen, "tool_calls": [CALL]}, incomplete=True)
    assert message.to_dict() == {"role": "assistant", "content": None, **seen}
    assert ctx.left_out == (message,)
    assert ctx.messages() == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("role", ["user", "system", "tool", "villain", None])
def test_only_an_assistant_streams(role: Any) -> None:
    """Of any other role nothing can be incomplete, and nothing has changed."""
    ctx = ContextManager(10**6, counter=len)
    with pytest.raises(MessageError, match="incomplete"):
        ctx.append({"role": role, "content": "hi"}, incomplete=True)
    assert not ctx.conversation_history


@given(
    st.dictionaries(
        st.sampled_from(["content", "refusal", *MUST_GO_BACK, "mood"]),
        st.none() | st.text(max_size=3),
    )
)
def test_without_calls_nothing_of_text_is_lost(fields: dict[str, Any]) -> None:
    """What is no call, no audio and no unsigned block is taken as it is."""
    wire = {"role": "assistant", "content": "x", **fields}
    assert read_message(wire, incomplete=True) == read_message(wire)
