"""
Wire dicts: a message as it is sent, copied from whatever the caller gave and checked once.

`read_wire` is the door for mappings and SDK objects. What comes out is plain JSON values that
nobody else holds, so that later code may trust it without looking again.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from ctxwin.values.errors import MessageError, describe, quoted

Wire: TypeAlias = dict[str, Any]
"""A message as it is sent: JSON values only, keys as the caller gave them."""

Content: TypeAlias = str | list[dict[str, Any]] | None
"""The content of a message: text, a list of parts, or nothing."""

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool", "function"]
"""Who a message is from; a type checker finds a misspelt one."""

DraftRole: TypeAlias = Literal["system", "developer", "user", "assistant"]
"""A role of a message that answers no call."""

SYSTEM_ROLES = frozenset({"system", "developer"})

RESULT_ROLES = frozenset({"tool", "function"})

ROLES = SYSTEM_ROLES | RESULT_ROLES | {"user", "assistant"}

FIELDS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id"})

# The fields of a reply that a request may have too. An SDK object also holds fields that only
# replies have, such as annotations and parsed output, and an API may refuse those.
REQUEST_FIELDS = (*sorted(FIELDS), "audio", "function_call", "refusal")

CALL_FIELDS = ("id", "type", "function", "custom", "extra_content")

_ATOMS = (str, bool, int)

# By default Python refuses to write integers of over 4,300 digits, about 14,284 bits
# (`sys.set_int_max_str_digits`).
MAX_BITS = 14_000

MAX_DEPTH = 64  # real messages nest about six levels deep


def copy_json(value: Any) -> Any:
    """Return a deep copy of a JSON value."""
    # Far quicker than `copy.deepcopy`, which also looks for cycles.
    if isinstance(value, dict):
        return {key: copy_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_json(item) for item in value]
    return value


def read_wire(message: object) -> Wire:
    """
    Copy a caller's message into a wire dict of our own.

    Args:
        message: a mapping, copied key for key (tuples in it become lists); or an SDK object with
            `model_dump`, of which only the request fields are copied.

    Raises:
        MessageError: it is malformed; the text names the field.
    """
    if message.__class__ is dict or isinstance(message, Mapping):  # most are dicts: ask that first
        given: Mapping[Any, Any] = message
    elif hasattr(message, "model_dump"):
        try:
            given = _request_fields(message.model_dump())
        except Exception as error:
            kind = type(message).__name__
            raise MessageError(
                f"model_dump() of {kind} does not give a chat message: {describe(error)}"
            ) from error
    else:
        raise MessageError(
            "a message must be a mapping or an SDK object with model_dump(), "
            f"not {type(message).__name__}"
        )
    wire: Wire = read_json(given, "message")
    _check(wire)
    return wire


def _request_fields(dumped: Mapping[str, Any]) -> Wire:
    """Return the request fields of a dumped SDK object, without those that are None."""
    wire = {key: dumped[key] for key in REQUEST_FIELDS if dumped.get(key) is not None}
    wire.setdefault("content", None)
    if "tool_calls" in wire:
        wire["tool_calls"] = [
            {key: call[key] for key in CALL_FIELDS if call.get(key) is not None}
            for call in wire["tool_calls"]
        ]
        for call in wire["tool_calls"]:
            if "function" in call:
                call["function"] = {key: call["function"].get(key) for key in ("name", "arguments")}
    if "audio" in wire:
        wire["audio"] = {"id": wire["audio"]["id"]}
    return wire


def read_json(value: object, path: str, depth: int = 0) -> Any:
    """Copy a JSON value; raise `MessageError`, naming the path, for what JSON cannot hold."""
    if value is None or isinstance(value, _ATOMS):
        if value.__class__ is int and value.bit_length() > MAX_BITS:
            raise MessageError(
                f"{path} is an integer with more digits than Python can write as JSON"
            )
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
                raise MessageError(f"{path} has the key {quoted(key)}: keys must be strings")
        return {
            key: item
            if item.__class__ is str
            else read_json(item, f"{path}[{quoted(key)}]", depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [read_json(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    raise MessageError(f"{path} is of type {type(value).__name__}, which JSON cannot hold")


def _check(wire: Wire) -> None:
    """Raise `MessageError` for the first field that no chat API would accept."""
    role = wire.get("role")
    if (
        len(wire) == 2
        and wire.get("content").__class__ is str
        and role.__class__ is str
        and role in ROLES
    ):
        return  # plain text, which most messages are
    if not isinstance(role, str) or role not in ROLES:
        raise MessageError(f"role must be one of {', '.join(sorted(ROLES))}, not {quoted(role)}")
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
        raise MessageError(
            f"tool_calls: only an assistant message may have calls, not one of role {role!r}"
        )
    if role != "tool" and wire.get("tool_call_id") is not None:
        raise MessageError(
            f"tool_call_id: only a tool message may answer a call, not one of role {role!r}"
        )


def _check_content(wire: Wire, role: str) -> None:
    content = wire.get("content")
    if "content" not in wire:  # an assistant may do without, if it says something in another way
        says_more = any(
            wire.get(key) for key in ("tool_calls", "function_call", "refusal", "audio")
        )
        if role != "assistant" or not says_more:
            raise MessageError(f"content is missing from a message of role {role!r}")
    _expect(
        content is None or isinstance(content, str | list),
        "content",
        "a string, None or a list",
        content,
    )
    for i, part in enumerate(content if isinstance(content, list) else ()):
        path = f"content[{i}]"
        _expect(isinstance(part, dict), path, "a mapping", part)
        _expect(isinstance(part.get("type"), str), f"{path}['type']", "a string", part.get("type"))
        if part["type"] == "text":
            _expect(
                isinstance(part.get("text"), str), f"{path}['text']", "a string", part.get("text")
            )


def _check_call(call: object, path: str) -> None:
    if not isinstance(call, dict):
        raise MessageError(f"{path} must be a mapping, not {quoted(call)}")
    _expect(
        call.get("id") is None or isinstance(call["id"], str),
        f"{path}['id']",
        "a string",
        call.get("id"),
    )
    if call.get("function") is None and call.get("custom") is not None:
        _check_function(call["custom"], f"{path}['custom']", "input")
    else:
        _check_function(call.get("function"), f"{path}['function']", "arguments")


def _check_function(function: object, path: str, payload: str) -> None:
    if not isinstance(function, dict):
        raise MessageError(f"{path} must be a mapping, not {quoted(function)}")
    for key in ("name", payload):
        _expect(
            isinstance(function.get(key), str), f"{path}[{key!r}]", "a string", function.get(key)
        )


def _expect(condition: bool, path: str, kind: str, value: object) -> None:  # noqa: FBT001 - reads as an assertion
    if not condition:
        raise MessageError(f"{path} must be {kind}, not {type(value).__name__}")


def without_media(wire: Wire) -> Wire:
    """Return a wire dict for readers of text: images, audio and files are named by type only."""
    parts = wire.get("content")
    if not isinstance(parts, list):
        return wire
    return {
        **wire,
        "content": [part if "text" in part else {"type": part["type"]} for part in parts],
    }
