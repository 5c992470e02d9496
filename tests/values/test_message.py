"""Messages: what is accepted, what is refused, and that nothing is shared."""

import copy
import pickle
from collections import OrderedDict
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxwin import ContextManager, Message, MessageError
from ctxwin.testing.strategies import histories
from ctxwin.values.message import read_message

CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@given(histories())
def test_mapping_comes_back_key_for_key(history: list[dict[str, Any]]) -> None:
    """Every mapping comes back equal, keys in the same order, and shares nothing."""
    manager = ContextManager(10**9, counter=len)
    for wire in history:
        before = copy.deepcopy(wire)
        message = manager.append(MappingProxyType(wire))
        assert message.to_dict() == before == wire
        assert list(message.to_dict()) == list(wire)
        assert Message(message.id, read_message(wire), message.pinned) == message


@pytest.mark.parametrize(
    ("wire", "field"),
    [
        ({}, "role"),
        ({"role": "villain", "content": "x"}, "role"),
        ({"role": ["user"], "content": "x"}, "role"),
        ({"role": "user"}, "content"),
        ({"role": "assistant"}, "content"),
        ({"role": "user", "content": 7}, "content"),
        ({"role": "user", "content": ["text"]}, r"content\[0\]"),
        ({"role": "user", "content": [{"text": "no type"}]}, r"content\[0\]\['type'\]"),
        ({"role": "user", "content": [{"type": "text"}]}, r"content\[0\]\['text'\]"),
        ({"role": "user", "content": "x", "name": 7}, "name"),
        ({"role": "tool", "content": "x", "tool_call_id": 7}, "tool_call_id"),
        ({"role": "user", "content": "x", "tool_call_id": "a"}, "tool_call_id"),
        ({"role": "user", "content": "x", "tool_calls": [CALL]}, "tool_calls"),
        ({"role": "user", "content": "x", "function_call": CALL["function"]}, "tool_calls"),
        ({"role": "assistant", "tool_calls": "f"}, "tool_calls"),
        ({"role": "assistant", "tool_calls": ["f"]}, r"tool_calls\[0\]"),
        ({"role": "assistant", "tool_calls": [{"id": 7}]}, r"tool_calls\[0\]\['id'\]"),
        ({"role": "assistant", "tool_calls": [{"id": "a"}]}, r"tool_calls\[0\]\['function'\]"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}, "arguments"),
        ({"role": "assistant", "tool_calls": [{"custom": {"name": "f"}}]}, "input"),
        ({"role": "assistant", "function_call": {"arguments": "{}"}}, r"function_call\['name'\]"),
        ({"role": "user", "content": "x", "blob": b"bytes"}, r"message\['blob'\]"),
        ({"role": "user", "content": "x", "when": {1: 2}}, "keys must be strings"),
        ({"role": "user", "content": "x", "score": float("nan")}, r"message\['score'\]"),
        ("user: x", "mapping"),
        (None, "mapping"),
    ],
)
def test_malformed_message_is_refused(wire: Any, field: str) -> None:
    """The error names the field, and nothing has changed."""
    manager = ContextManager(100, counter=len)
    before = manager.to_dict()
    with pytest.raises(MessageError, match=field):
        manager.append(wire)
    with pytest.raises(MessageError, match=field):
        manager.extend([{"role": "user", "content": "fine"}, wire])
    assert manager.to_dict() == before


def test_endless_nesting_is_refused() -> None:
    """A value that contains itself is an error, not a crash."""
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    with pytest.raises(MessageError, match="levels deep"):
        read_message({"role": "user", "content": "x", "loop": loop})


@pytest.mark.parametrize(
    "wire",
    [
        {"role": "assistant", "content": None},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "assistant", "refusal": "no"},
        {"role": "assistant", "content": "", "function_call": None},
        {
            "role": "assistant",
            "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}],
        },
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "data:..."}}],
            "score": 0.5,
        },
        {"role": "function", "name": "f", "content": None},
        OrderedDict(role="user", content="x"),
    ],
)
def test_odd_but_valid(wire: dict[str, Any]) -> None:
    """Messages that real APIs accept are accepted."""
    assert read_message(wire) == wire


class Reply:
    """Looks like the reply object of an SDK."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def model_dump(self) -> Any:
        return copy.deepcopy(self.fields)


def test_sdk_object_is_taken_without_what_only_replies_have() -> None:
    """Fields that only replies have are left out; an absent field is not sent as null."""
    call = {**CALL, "index": 0, "function": {**CALL["function"], "parsed_arguments": {"a": 1}}}  # type: ignore[dict-item]
    reply = Reply(
        role="assistant",
        content=None,
        refusal=None,
        annotations=[],
        parsed={"x": 1},
        function_call=None,
        tool_calls=[call],
        audio={"id": "audio_1", "data": "..."},
    )
    expected = {
        "role": "assistant",
        "content": None,
        "tool_calls": [CALL],
        "audio": {"id": "audio_1"},
    }
    assert read_message(reply) == expected
    assert read_message(Reply(role="assistant", content="hi", tool_calls=None)) == {
        "role": "assistant",
        "content": "hi",
    }


@pytest.mark.parametrize(
    "fields",
    [{"role": "assistant", "tool_calls": [7]}, {"role": "assistant", "tool_calls": {"a": 1}}],
)
def test_odd_sdk_object_is_refused(fields: dict[str, Any]) -> None:
    """If an object does not dump a message, the error names its type."""
    with pytest.raises(MessageError, match="Reply"):
        read_message(Reply(**fields))


def test_properties() -> None:
    """Each property returns its field as documented; `extra` holds the rest."""
    wire = {
        "role": "assistant",
        "content": "x",
        "name": "ada",
        "tool_calls": [CALL],
        "mood": "fine",
    }
    message = Message(7, read_message(wire), sources=(1, 2))
    assert (message.role, message.content, message.name) == ("assistant", "x", "ada")
    assert message.tool_calls == (CALL,)
    assert (message.tool_call_id, message.extra, message.sources) == (
        None,
        {"mood": "fine"},
        (1, 2),
    )
    assert repr(message) == "<Message 7 assistant 'x'>"
    assert repr(Message(8, {"role": "user", "content": "y" * 50}, True)).endswith("...' pinned>")
    assert len({message, message.clone()}) == 1
    assert pickle.loads(pickle.dumps(message)) == message  # noqa: S301 - our own bytes
    with pytest.raises((AttributeError, TypeError)):
        message.role = "user"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        message.id = 9  # type: ignore[misc]


@given(st.text())
def test_id_is_part_of_equality(text: str) -> None:
    """Two messages with the same text are not the same message."""
    manager = ContextManager(10**6, counter=len)
    assert manager.add_message("user", text) != manager.add_message("user", text)


def test_what_an_object_dumps_is_not_changed() -> None:
    """An object may dump its own state; whatever it raises is a `MessageError`."""
    call = {**CALL, "function": {"name": "f", "arguments": "{}", "parsed_arguments": {"x": 1}}}
    dumped = {"role": "assistant", "content": None, "tool_calls": [call]}

    class Live:
        def model_dump(self) -> Any:
            return dumped

    class Broken:
        def model_dump(self) -> Any:
            raise RuntimeError("cannot dump")

    custom = {"id": "b", "type": "custom", "custom": {"name": "f", "input": "x"}}
    assert read_message(Live())["tool_calls"] == [CALL]
    assert read_message(Reply(role="assistant", tool_calls=[custom]))["tool_calls"] == [custom]
    assert call["function"] == {"name": "f", "arguments": "{}", "parsed_arguments": {"x": 1}}
    with pytest.raises(MessageError, match="cannot dump"):
        read_message(Broken())


def test_integers_that_python_cannot_write_as_json() -> None:
    """Python refuses to write integers of over 4,300 digits, so no message may hold one."""
    assert read_message({"role": "user", "content": "hi", "n": 10**4000})["n"] == 10**4000
    with pytest.raises(MessageError, match="more digits"):
        read_message({"role": "user", "content": "hi", "n": [10**5000]})
