"""
Messages: validated when they come in, frozen ever after.

A message comes in as an OpenAI-style mapping (or an SDK object) and is copied into a plain *wire dict* by
`read_message`, the only door. `Message` wraps a wire dict of its own and hands out copies, so that no caller and no
strategy ever holds live state.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ctxwin.errors import MessageError

Wire: TypeAlias = dict[str, Any]
"""A message as it is sent: JSON values only, keys as the caller gave them."""

Content: TypeAlias = str | list[dict[str, Any]] | None
"""The content of a message: text, a list of parts, or nothing."""

SYSTEM_ROLES = frozenset({"system", "developer"})
RESULT_ROLES = frozenset({"tool", "function"})
ROLES = SYSTEM_ROLES | RESULT_ROLES | {"user", "assistant"}
FIELDS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id"})

# What a request may carry of a reply; an SDK object also holds what only replies have (annotations, parsed output).
REQUEST_FIELDS = (*sorted(FIELDS), "audio", "function_call", "refusal")
CALL_FIELDS = ("id", "type", "function", "custom", "extra_content")
_ATOMS = (str, bool, int)
_CONTAINERS = (dict, list)
MAX_BITS = 14_000  # sys.set_int_max_str_digits: 4,300 digits, some 14,284 bits, unless it was changed
MAX_DEPTH = 64  # a real message nests half a dozen levels deep


@dataclass(frozen=True, slots=True)
class Message:
    """
    One message of a log or a window.

    Attributes:
        id: a number that grows with every message and is never reused.
        pinned: never dropped or edited; true from the start for system and developer messages.
        sources: ids of the messages that a written message (a summary) covers, ascending; `()` for a message of
            the log.
        source_hash: `hash_of` what a written message was made from, as the window showed it then; else `""`.
    """

    id: int
    _wire: Wire
    pinned: bool = False
    sources: tuple[int, ...] = ()
    source_hash: str = ""
    _nested: tuple[str, ...] | None = field(default=None, compare=False)

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        content = self._wire.get("content")
        text = content if isinstance(content, str) else str(content)
        shown = repr(text if len(text) <= 40 else text[:37] + "...")
        return f"<Message {self.id} {self.role} {shown}{' pinned' if self.pinned else ''}>"

    @property
    def role(self) -> str:
        """`system`, `developer`, `user`, `assistant`, `tool` or `function`."""
        role: str = self._wire["role"]
        return role

    @property
    def content(self) -> Content:
        """Text, a list of content parts (a copy), or None."""
        content: Content = copy_json(self._wire.get("content"))
        return content

    @property
    def name(self) -> str | None:
        """The participant's or the function's name."""
        name: str | None = self._wire.get("name")
        return name

    @property
    def tool_calls(self) -> tuple[dict[str, Any], ...]:
        """The calls of an assistant message (copies), `()` where there are none."""
        return tuple(copy_json(self._wire.get("tool_calls") or []))

    @property
    def tool_call_id(self) -> str | None:
        """Which call a tool message answers."""
        call: str | None = self._wire.get("tool_call_id")
        return call

    @property
    def extra(self) -> dict[str, Any]:
        """Every other key of the message (a copy)."""
        return {key: copy_json(value) for key, value in self._wire.items() if key not in FIELDS}

    def to_dict(self) -> Wire:
        """Return the message as it is sent, equal key for key to what came in; a fresh object."""
        wire = self._wire.copy()
        if self._nested is None:  # which values a copy must go into: found once, handed on to clones
            nested = tuple([key for key, value in wire.items() if isinstance(value, _CONTAINERS)])
            object.__setattr__(self, "_nested", nested)
        for key in self._nested or ():
            wire[key] = copy_json(wire[key])
        return wire

    def clone(self) -> "Message":
        """Return an equal message that shares nothing with this one."""
        return Message(self.id, self.to_dict(), self.pinned, self.sources, self.source_hash, self._nested)

    def with_content(self, content: Content) -> "Message":
        """Return the message with other content; raises `MessageError` where that is malformed."""
        wire = read_message({**self._wire, "content": content})
        return Message(self.id, wire, self.pinned, self.sources, self.source_hash)


def to_dicts(messages: Iterable[Message]) -> list[Wire]:
    """Return messages as they are sent, fresh objects: `to_dict` of each, without a call for plain ones."""
    return [message._wire.copy() if message._nested == () else message.to_dict() for message in messages]  # noqa: SLF001


def hash_of(messages: Iterable[Message]) -> str:
    """
    Return what identifies a set of messages of one log: 64 hexadecimal digits.

    The sum, modulo 2 ** 256, of the SHA-256 of each message's id and wire dict; a written message counts as what it
    was made from. So the hash of a summary of summaries is that of all the log's messages that it covers.
    """
    import hashlib  # noqa: PLC0415 - needed for summaries only
    import json  # noqa: PLC0415

    total = 0
    for message in messages:
        digest = message.source_hash
        if not message.sources:
            digest = hashlib.sha256(json.dumps([message.id, message.to_dict()], sort_keys=True).encode()).hexdigest()
        total += int(digest or "0", 16)
    return f"{total % 2**256:064x}"


def copy_json(value: Any) -> Any:
    """Return a deep copy of a JSON value; far quicker than `copy.deepcopy`, which also looks for cycles."""
    if isinstance(value, dict):
        return {key: copy_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_json(item) for item in value]
    return value


def call_keys(message: Message) -> list[str]:
    """
    Return what each call of a message waits for.

    An id, `""` for a call without one (its result is paired by position), `"()"` for a legacy `function_call`.
    """
    wire = message._wire  # noqa: SLF001 - this module owns it; a copy would be made for every message of a window
    calls = wire.get("tool_calls")
    if calls:
        return [f"id:{call['id']}" if call.get("id") else "" for call in calls]
    return ["()"] if wire.get("function_call") else []


def answer_key(message: Message) -> str:
    """Return what a result answers, in the terms of `call_keys`."""
    if message.role == "function":
        return "()"
    return f"id:{message.tool_call_id}" if message.tool_call_id else ""


def read_message(message: object) -> Wire:
    """
    Copy a caller's message into a wire dict of our own.

    Args:
        message: a mapping, taken key for key (tuples in it become lists); a `Message`, taken as it is sent; or an
            SDK object with `model_dump`, taken with its request fields.

    Raises:
        MessageError: it is malformed; the text names the field.
    """
    if message.__class__ is dict or isinstance(message, Mapping):
        given: Mapping[Any, Any] = message
    elif isinstance(message, Message):
        return message.to_dict()
    elif hasattr(message, "model_dump"):
        try:
            given = _request_fields(message.model_dump())
        except Exception as error:
            kind = type(message).__name__
            raise MessageError(f"model_dump() of {kind} gives no chat message: {error}") from error
    else:
        raise MessageError(f"a message is a mapping or an SDK object, not {type(message).__name__}")
    wire: Wire = read_json(given, "message")
    _check(wire)
    return wire


def _request_fields(dumped: Mapping[str, Any]) -> Wire:
    """Keep of a dumped SDK object what a request takes: an absent field is not sent as null."""
    wire = {key: dumped[key] for key in REQUEST_FIELDS if dumped.get(key) is not None}
    wire.setdefault("content", None)
    if "tool_calls" in wire:
        wire["tool_calls"] = [
            {key: call[key] for key in CALL_FIELDS if call.get(key) is not None} for call in wire["tool_calls"]
        ]
        for call in wire["tool_calls"]:
            if "function" in call:
                call["function"] = {key: call["function"].get(key) for key in ("name", "arguments")}
    if "audio" in wire:
        wire["audio"] = {"id": wire["audio"]["id"]}
    return wire


def read_json(value: object, path: str, depth: int = 0) -> Any:
    """Copy a value; `MessageError` names by its `path` what JSON cannot hold."""
    if value is None or isinstance(value, _ATOMS):
        if value.__class__ is int and value.bit_length() > MAX_BITS:
            raise MessageError(f"{path} is a number of more digits than Python writes as JSON")
        return value
    if depth > MAX_DEPTH:
        raise MessageError(f"{path} nests more than {MAX_DEPTH} levels deep")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise MessageError(f"{path} is {value}, which JSON cannot hold")
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise MessageError(f"{path} has the key {key!r}: keys must be strings")
        return {
            key: item if item.__class__ is str else read_json(item, f"{path}[{key!r}]", depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [read_json(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    raise MessageError(f"{path} is of type {type(value).__name__}, which JSON cannot hold")


def _check(wire: Wire) -> None:
    """Raise `MessageError` for the first field that no chat API would take."""
    role = wire.get("role")
    if len(wire) == 2 and wire.get("content").__class__ is str and role.__class__ is str and role in ROLES:
        return  # plain text, which most messages are
    if not isinstance(role, str) or role not in ROLES:
        raise MessageError(f"role must be one of {', '.join(sorted(ROLES))}, not {role!r}")
    _check_content(wire, role)
    for key in ("name", "tool_call_id"):
        _expect(wire.get(key) is None or isinstance(wire[key], str), key, "a string", wire.get(key))
    calls = wire.get("tool_calls")
    _expect(calls is None or isinstance(calls, list), "tool_calls", "a list", calls)
    for i, call in enumerate(calls or ()):
        _check_call(call, f"tool_calls[{i}]")
    if wire.get("function_call") is not None:
        _check_function(wire["function_call"], "function_call", "arguments")
    if role != "assistant" and (calls or wire.get("function_call")):
        raise MessageError(f"tool_calls: only an assistant message may call, this one's role is {role!r}")
    if role != "tool" and wire.get("tool_call_id") is not None:
        raise MessageError(f"tool_call_id: only a tool message answers a call, this one's role is {role!r}")


def _check_content(wire: Wire, role: str) -> None:
    content = wire.get("content")
    if "content" not in wire:
        says_more = any(wire.get(key) for key in ("tool_calls", "function_call", "refusal", "audio"))
        if role != "assistant" or not says_more:
            raise MessageError(f"content is missing from a message of role {role!r}")
    _expect(content is None or isinstance(content, str | list), "content", "a string, None or a list", content)
    for i, part in enumerate(content if isinstance(content, list) else ()):
        path = f"content[{i}]"
        _expect(isinstance(part, dict), path, "a mapping", part)
        _expect(isinstance(part.get("type"), str), f"{path}['type']", "a string", part.get("type"))
        if part["type"] == "text":
            _expect(isinstance(part.get("text"), str), f"{path}['text']", "a string", part.get("text"))


def _check_call(call: object, path: str) -> None:
    if not isinstance(call, dict):
        raise MessageError(f"{path} must be a mapping, not {call!r}")
    _expect(call.get("id") is None or isinstance(call["id"], str), f"{path}['id']", "a string", call.get("id"))
    if call.get("function") is None and call.get("custom") is not None:
        _check_function(call["custom"], f"{path}['custom']", "input")
    else:
        _check_function(call.get("function"), f"{path}['function']", "arguments")


def _check_function(function: object, path: str, payload: str) -> None:
    if not isinstance(function, dict):
        raise MessageError(f"{path} must be a mapping, not {function!r}")
    for key in ("name", payload):
        _expect(isinstance(function.get(key), str), f"{path}[{key!r}]", "a string", function.get(key))


def _expect(condition: bool, path: str, kind: str, value: object) -> None:  # noqa: FBT001 - reads as an assertion
    if not condition:
        raise MessageError(f"{path} must be {kind}, not {type(value).__name__}")
