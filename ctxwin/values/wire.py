"""
Wire dicts: a message as it is sent, copied from whatever the caller gave and checked once.

`read_wire` is the door for mappings and SDK objects. What comes out is plain JSON values that
nobody else holds, so that later code may trust it without looking again. `read_stored` is the side
door for what was let in before: an older release may have admitted what this one refuses.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from ctxwin.values import foreign, replies
from ctxwin.values.errors import MessageError, quoted

Wire: TypeAlias = dict[str, Any]
"""A message as it is sent: JSON values only, keys as the caller gave them."""

Content: TypeAlias = str | list[dict[str, Any]] | None
"""The content of a message: text, a list of parts, or nothing."""

Path: TypeAlias = "str | tuple[Path, str | int]"
"""Where a value stands: a name, or the path of what holds it and the key there."""
# Put together only for an error: that costs more than the copy does.

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool", "function"]
"""Who a message is from; a type checker finds a misspelt one."""

DraftRole: TypeAlias = Literal["system", "developer", "user", "assistant"]
"""A role of a message that answers no call."""

SYSTEM_ROLES = frozenset({"system", "developer"})

RESULT_ROLES = frozenset({"tool", "function"})

ROLES = SYSTEM_ROLES | RESULT_ROLES | {"user", "assistant"}

# What an assistant message may say beside its content.
SAYS_MORE = ("tool_calls", "function_call", "refusal", "audio")

FIELDS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id"})

REASONING_TYPES = frozenset({"reasoning", "redacted_thinking", "thinking"})

# What of a message no reader is told: thoughts, and what only its provider can use.
HIDDEN_FIELDS = frozenset(
    {
        *("reasoning", "reasoning_content", "reasoning_details", "thinking", "thinking_blocks"),
        *("provider_specific_fields", "extra_content", "signature", "thought_signature"),
        *("encrypted_content", "audio", "annotations"),
    }
)
# A field beside the content is told as long as it is short: it was never meant to be read.
LONGEST_TOLD = 1_000  # characters of JSON

# What of a call a reader is told.
TOLD_CALL_FIELDS = frozenset({"id", "type", "function", "custom"})
TOLD_FUNCTION_FIELDS = frozenset({"name", "arguments", "input"})

# By default Python refuses to write integers of over 4,300 digits, about 14,284 bits
# (`sys.set_int_max_str_digits`).
MAX_BITS = 14_000

MAX_DEPTH = 64  # real messages nest about six levels deep
LONGEST_PATH = 160  # characters of a path that an error shows


def copy_json(value: Any) -> Any:
    """Return a deep copy of a JSON value."""
    # Far quicker than `copy.deepcopy`, which also looks for cycles.
    if isinstance(value, dict):
        return {key: copy_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_json(item) for item in value]
    return value


def read_wire(message: object, *, incomplete: bool = False) -> Wire:
    """
    Copy a caller's message into a wire dict of our own, to be sent to an API.

    Args:
        message: a mapping, copied key for key (tuples in it become lists, and empty `tool_calls`
            are left away, which APIs refuse); or an SDK object with `model_dump`, of which all
            that is set is taken but what only replies have.
        incomplete: whether it is from a stream that broke off. Then its calls are left away.

    Raises:
        MessageError: it is malformed, of another API's form, or of no use to any API; the text
            names the field, and says what to do.
    """
    if message.__class__ is dict and not incomplete and _is_plain(message):
        return message.copy()
    given = message if isinstance(message, Mapping) else replies.fields_of(message)
    wire: Wire = read_json(given, "message")
    if incomplete:
        wire = replies.without_calls(wire)
    _check(wire)
    if not wire.get("tool_calls", True):
        del wire["tool_calls"]
    _check_new(wire)
    return wire


def read_stored(message: Mapping[Any, Any]) -> Wire:
    """
    Copy a message that was let in before into a wire dict of our own.

    Raises `MessageError`: it is malformed; the text names the field.
    """
    wire: Wire = read_json(message, "message")
    if not _is_plain(wire):
        _check(wire)
    return wire


def says_nothing(wire: Wire) -> bool:
    """
    Return whether a message has neither calls nor content, so that APIs refuse it.

    That is content of None or `[]`. For an assistant message it is also `""`, and a list without
    any text but reasoning. A refusal and audio are content; a result may be empty text.
    """
    content = wire.get("content")
    if content.__class__ is str and content:
        return False
    if wire.get("tool_calls"):
        return False
    role = wire["role"]
    if role == "assistant":
        return not any(wire.get(key) for key in SAYS_MORE) and not _has_content(content)
    return not content and not isinstance(content, str) and role != "function"


def _has_content(content: Content) -> bool:
    if not isinstance(content, list):
        return bool(content)
    return any(part.get("text") != "" and part["type"] not in REASONING_TYPES for part in content)


def _is_plain(wire: Any) -> bool:
    """Return whether a message is a role and a text, as most are: nothing can be wrong with it."""
    role = wire.get("role")
    return (
        len(wire) == 2
        and wire.get("content").__class__ is str
        and role.__class__ is str
        and role in ROLES
    )


def read_json(value: object, path: Path, depth: int = 0) -> Any:
    """Copy a JSON value; raise `MessageError`, naming the path, for what JSON cannot hold."""
    if value is None or value.__class__ is str or value.__class__ is bool:
        return value
    if isinstance(value, str):  # what a subclass adds is neither sent nor counted
        return str.__str__(value)
    if isinstance(value, int | float):
        return _read_number(value, path)
    if depth > MAX_DEPTH:
        raise MessageError(f"{_short(path)} nests more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise MessageError(
                    f"{_short(path)} has the key {quoted(key)}: keys must be strings"
                )
        return {
            key if key.__class__ is str else str.__str__(key): item
            if item.__class__ is str
            else read_json(item, (path, key), depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [read_json(item, (path, i), depth + 1) for i, item in enumerate(value)]
    raise MessageError(f"{_short(path)} is of type {type(value).__name__}, which JSON cannot hold")


def _read_number(value: Any, path: Path) -> int | float:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise MessageError(f"{_short(path)} is {float.__repr__(value)}, which JSON cannot hold")
        return float.__mul__(value, 1.0)  # a plain float, whatever the subclass
    if value.__class__ is not int:
        kind = type(value).__name__
        raise MessageError(f"{_short(path)} is of type {kind}, a subclass of int: give int(value)")
    if value.bit_length() > MAX_BITS:
        raise MessageError(
            f"{_short(path)} is an integer with more digits than Python can write as JSON"
        )
    return value


def _short(path: Path) -> str:
    """Return a path as an error shows it: a deep one is cut, so that the error stays readable."""
    keys: list[str] = []
    while not isinstance(path, str):
        path, key = path
        keys.append(f"[{quoted(key)}]")
    path += "".join(reversed(keys))
    return path if len(path) <= LONGEST_PATH else f"{path[:LONGEST_PATH]}..."


def _check(wire: Wire) -> None:
    """Raise `MessageError` for the first field that no chat API would accept."""
    role = wire.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise MessageError(_role_said(wire, role))
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
        says_more = any(wire.get(key) for key in SAYS_MORE)
        if role != "assistant" or not says_more:
            found = foreign.whole_said(wire)
            raise MessageError(
                f"content is missing from a message of role {role!r}"
                + (f"; it looks like {found}" if found else "")
            )
    _expect(
        content is None or isinstance(content, str | list),
        "content",
        "a string, None or a list",
        content,
    )
    for i, part in enumerate(content if isinstance(content, list) else ()):
        path = f"content[{i}]"
        _expect(isinstance(part, dict), path, "a mapping", part)
        if "type" not in part and (found := foreign.part_said(part)):
            raise MessageError(f"{path} is {found}")
        kind = part.get("type")
        wanted = 'a string, as in {"type": "text", "text": ...}'
        _expect(isinstance(kind, str), f"{path}['type']", wanted, kind)
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
        if call.get("function") is None and (found := foreign.call_said(call)):
            raise MessageError(f"{path} has no 'function'{found}")
        _check_function(call.get("function"), f"{path}['function']", "arguments")


def _check_function(function: object, path: str, payload: str) -> None:
    if not isinstance(function, dict):
        raise MessageError(f"{path} must be a mapping, not {quoted(function)}")
    name, given = function.get("name"), function.get(payload)
    _expect(isinstance(name, str), f"{path}['name']", "a string", name)
    if payload == "arguments":  # chat templates and Ollama have the arguments as a mapping
        _expect(isinstance(given, str | dict), f"{path}[{payload!r}]", "text or a mapping", given)
    else:
        _expect(isinstance(given, str), f"{path}[{payload!r}]", "a string", given)


def _check_new(wire: Wire) -> None:
    """Raise `MessageError` for what is well formed, and still of no use to the API."""
    content = wire.get("content")
    for i, part in enumerate(content if isinstance(content, list) else ()):
        if found := foreign.part_said(part):
            raise MessageError(f"content[{i}] is {found}")
    if wire.get("type") == "message" and "stop_reason" in wire:
        raise MessageError(f"it is {foreign.whole_said(wire)}")
    role = wire["role"]
    if role != "assistant" and says_nothing(wire):
        instead = 'say "" for an empty result' if role == "tool" else "leave the message away"
        raise MessageError(
            f"content of a {role} message is {content}, which APIs refuse: {instead}"
        )


def _role_said(wire: Wire, role: object) -> str:
    """Return the text of an error about a role that is missing or unknown."""
    known = f"role must be one of {', '.join(sorted(ROLES))}, not {quoted(role)}"
    found = foreign.whole_said(wire)
    return f"{known}; this is {found}" if found else f"{known}{foreign.role_said(role)}"


def _expect(condition: bool, path: str, kind: str, value: object) -> None:  # noqa: FBT001 - reads as an assertion
    if not condition:
        raise MessageError(f"{path} must be {kind}, not {type(value).__name__}")


def told(wire: Wire) -> Wire:
    """
    Return what readers of text, such as summarisers, are told of a message.

    That is its text, its calls and whom it answers, and short fields that stand beside them.
    Images, audio, files and thoughts are named by type only; hidden reasoning, signatures and long
    fields are left out: they are no part of what was said, and may be of any size.
    """
    if len(wire) == 2 and wire.get("content").__class__ is str:
        return wire
    plain = {key: value for key, value in wire.items() if _is_told(key, value)}
    if isinstance(plain.get("content"), list):
        plain["content"] = [_told_part(part) for part in plain["content"]]
    if plain.get("tool_calls"):
        plain["tool_calls"] = [_told_call(call) for call in plain["tool_calls"]]
    if plain.get("function_call"):
        plain["function_call"] = _only(plain["function_call"], TOLD_FUNCTION_FIELDS)
    return plain


def _is_told(key: str, value: object) -> bool:
    if key in FIELDS or key in ("function_call", "refusal"):
        return True
    return key not in HIDDEN_FIELDS and len(repr(value)) + len(key) <= LONGEST_TOLD


def _told_part(part: Mapping[str, Any]) -> Wire:
    told = {"type": part["type"]}
    if isinstance(part.get("text"), str) and part["type"] not in REASONING_TYPES:
        told["text"] = part["text"]
    return told


def _told_call(call: Mapping[str, Any]) -> Wire:
    plain = _only(call, TOLD_CALL_FIELDS)
    for key in ("function", "custom"):
        if isinstance(plain.get(key), dict):
            plain[key] = _only(plain[key], TOLD_FUNCTION_FIELDS)
    return plain


def _only(fields: Mapping[str, Any], keys: frozenset[str]) -> Wire:
    return {key: value for key, value in fields.items() if key in keys}
