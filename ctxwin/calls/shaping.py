"""
What a plugin may make of a request: marks, more `params`, a lower cap; no word of it changes.

A mark (`cache_control`) tells the provider where a cached prefix ends. To carry one, a text may
become a list of text parts. So messages are compared as they are read: marks left away, text parts
joined. Whatever else differs is undone, each field on its own, and logged.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ctxwin.values.errors import MessageError, logger
from ctxwin.values.request import Request, check_cap
from ctxwin.values.wire import Wire, read_json

MARKS = frozenset({"cache_control"})
# What no parameter may say: the request has a field for it, or the caller decides.
RESERVED = frozenset(
    {
        *("model", "messages", "input", "contents", "system", "tools", "stream", "stream_options"),
        *("max_tokens", "max_completion_tokens", "max_output_tokens"),
    }
)
FIXED = ("id", "model", "stable", "tokens", "tags", "answer", "counter", "budget")


def shaped(before: Request, after: Request, plugin: str) -> Request:
    """Return the request as a plugin shaped it, without what it may not change."""
    shape = _Shape(before, after)
    request = replace(
        before,
        messages=shape.marked("messages"),
        system=shape.marked("system"),
        tools=shape.marked("tools"),
        params=shape.params(),
        max_output_tokens=shape.cap(),
        _origin=before._origin or before,  # noqa: SLF001 - `origin` would be a copy
    )
    if shape.undone:
        logger().warning(
            "plugin %r may not change the %s of a request: undone", plugin, ", ".join(shape.undone)
        )
    return request


class _Shape:
    """
    A request before and after a plugin shaped it.

    Attributes:
        undone: the fields that it changed, and may not.
    """

    def __init__(self, before: Request, after: Request) -> None:
        self._before, self._after = before, after
        self.undone = [name for name in FIXED if getattr(after, name) != getattr(before, name)]

    def marked(self, name: str) -> tuple[Wire, ...]:
        """Return messages or tools with the plugin's marks, if it changed nothing else of them."""
        was: tuple[Wire, ...] = getattr(self._before, name)
        given = getattr(self._after, name)
        if given == was:
            return was
        if isinstance(given, Sequence) and len(given) == len(was):
            with suppress(MessageError):  # a value that JSON cannot hold
                wires = [  # most are as they were, and the plugin may hold its copies
                    before if one == before else read_json(one, f"{name}[{place}]")
                    for place, (one, before) in enumerate(zip(given, was, strict=True))
                ]
                pairs = zip(wires, was, strict=True)
                if all(one is before or _read(one) == _read(before) for one, before in pairs):
                    return tuple(wires)
        self.undone.append(name)
        return was

    def params(self) -> Mapping[str, Any]:
        """Return the parameters with what the plugin added."""
        was: Mapping[str, Any] = self._before.params
        given: object = self._after.params
        if not isinstance(given, Mapping):
            self.undone.append("params")
            return was
        more = {key: item for key, item in given.items() if key not in was}
        if any(key not in given or given[key] != value for key, value in was.items()):
            self.undone.append("params")
        try:
            if RESERVED & more.keys():
                raise MessageError("they have a field of their own")
            added: Wire = read_json(more, "params")
        except MessageError:
            self.undone.append("params")
            added = {}
        return {**added, **was}

    def cap(self) -> int | None:
        """Return the cap on the reply, if the plugin lowered it or left it."""
        was, given = self._before.max_output_tokens, self._after.max_output_tokens
        if given == was:
            return was
        with suppress(ValueError):
            check_cap(given)
            if given is not None and (was is None or given < was):
                return given
        self.undone.append("max_output_tokens")
        return was


def _read(wire: Wire) -> Wire:
    """Return a message or a tool as it is read: without marks, and text parts joined to one."""
    plain: Wire = _unmarked(wire)
    content = plain.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if isinstance(content, list):
        plain["content"] = _joined(content)
    return plain


def _joined(parts: list[Any]) -> list[Any]:
    """Return the parts of a content, neighbours that are text as one."""
    joined: list[Any] = []
    for part in map(_unmarked, parts):
        if joined and _is_text(part) and _is_text(joined[-1]):
            joined[-1] = {"type": "text", "text": joined[-1]["text"] + part["text"]}
        else:
            joined.append(part)
    return joined


def _unmarked(value: Any) -> Any:
    """Return a message, a tool or a content part without its marks."""
    if not isinstance(value, dict):
        return value
    return {key: item for key, item in value.items() if key not in MARKS}


def _is_text(part: Any) -> bool:
    """Return whether a content part is a text and nothing else."""
    if not (isinstance(part, dict) and part.keys() == {"type", "text"}):
        return False
    return part["type"] == "text" and isinstance(part["text"], str)
