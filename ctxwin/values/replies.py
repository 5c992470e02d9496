"""What of a model's reply goes back to the model: an SDK's object, or a stream that broke off."""

from collections.abc import Mapping
from typing import Any

from ctxwin.values import foreign
from ctxwin.values.errors import MessageError, describe

# A field that an SDK does not know may be one that the provider demands back, such as reasoning
# that goes with a call. So everything goes back but these, which only replies have.
REPLY_ONLY = frozenset({"annotations", "parsed"})
REPLY_ONLY_OF_CALLS = frozenset({"index"})
REPLY_ONLY_OF_FUNCTIONS = frozenset({"parsed_arguments"})
MAY_BE_EMPTY = frozenset({"content", "arguments"})

_UNFINISHED = frozenset({"tool_calls", "function_call", "audio"})


def fields_of(message: object) -> dict[str, Any]:
    """
    Return the fields of an SDK's object that are set, but those that only replies have.

    Raises `MessageError`: it is no such object, or one of a framework.
    """
    found = foreign.object_said(message)
    if found is not None:
        raise MessageError(f"this is {found}")
    kind = type(message).__name__
    if not hasattr(message, "model_dump") or isinstance(message, type):
        raise MessageError(
            f"a message must be a mapping or an SDK object with model_dump(), not {kind}"
            + foreign.other_said(message)
        )
    try:
        return _as_sent(_dumped(message))
    except Exception as error:
        raise MessageError(
            f"model_dump() of {kind} does not give a chat message: {describe(error)}"
        ) from error


def without_calls(wire: dict[str, Any]) -> dict[str, Any]:
    """
    Return what a reader has seen of an assistant message from a stream that broke off.

    Nothing of a call, of audio or of unsigned reasoning is left: nobody can go on from a part of
    those, and APIs refuse it.

    Raises `MessageError`: it is a message of another role.
    """
    if wire.get("role") != "assistant":
        raise MessageError("incomplete: only an assistant message can be from a stream")
    kept = {key: _finished(item) for key, item in wire.items() if key not in _UNFINISHED}
    seen = {key: item for key, item in kept.items() if item or not wire[key]}
    return {**seen, "content": kept.get("content")}


def _dumped(message: Any) -> Any:
    try:  # pydantic warns of content that is a list though its class declares text
        return message.model_dump(warnings=False)
    except TypeError:
        return message.model_dump()


def _as_sent(dumped: Mapping[str, Any]) -> dict[str, Any]:
    if "role" not in dumped:
        return dict(dumped)  # a whole reply, say
    wire = _set(dumped, REPLY_ONLY)
    if "tool_calls" in wire:
        wire["tool_calls"] = [_call_as_sent(call) for call in wire["tool_calls"]]
    audio = wire.get("audio")
    if isinstance(audio, Mapping) and audio.get("id"):
        wire["audio"] = {"id": audio["id"]}  # stands for its data
    return wire


def _call_as_sent(call: Mapping[str, Any]) -> dict[str, Any]:
    found = _set(call, REPLY_ONLY_OF_CALLS)
    if "function" in found:
        found["function"] = _set(found["function"], REPLY_ONLY_OF_FUNCTIONS)
    return found


def _set(given: Mapping[str, Any], left_away: frozenset[str]) -> dict[str, Any]:
    """Return the fields that say something, without some."""
    return {
        key: item
        for key, item in given.items()
        if key in MAY_BE_EMPTY
        or (key not in left_away and item is not None and item not in ([], {}))
    }


def _finished(value: Any) -> Any:
    """Return a value without blocks of reasoning that carry no signature yet."""
    if isinstance(value, dict):
        return {key: _finished(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finished(item) for item in value if not _is_unsigned(item)]
    return value


def _is_unsigned(block: Any) -> bool:
    kind = block.get("type") if isinstance(block, dict) else None
    reasons = isinstance(kind, str) and kind.startswith(("thinking", "reasoning"))
    return reasons and not (block.get("signature") or block.get("data"))
