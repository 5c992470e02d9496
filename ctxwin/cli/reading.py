"""
Conversations from a file or from standard input.

Four forms are read, plain or gzip: a JSON array of messages, one JSON object with a list of
messages under "messages", or either kind of item one a line (JSON Lines). What cannot be read of
one conversation does not keep the others from being read.
"""

import gzip
import json
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GZIP_MAGIC = b"\x1f\x8b"
TOO_DEEP = "nested too deeply"
LONGEST_LABEL = 80  # characters of a conversation's id


class InputError(Exception):
    """The input, or one conversation of it, cannot be read; the text says where and why."""


@dataclass
class Conversation:
    """
    One conversation of the input.

    Attributes:
        name: what messages to the user call it: file, line and id.
        fields: its JSON object; the messages are under "messages".
        bare: whether the input was a plain list of messages, without an object around it.
        fault: why it cannot be read; `""` if it can.
        places: what messages to the user call its messages; empty: by their number.
    """

    name: str
    fields: dict[str, Any]
    bare: bool = False
    fault: str = ""
    places: Sequence[str] = ()

    @property
    def messages(self) -> list[tuple[str, Any]]:
        """
        The messages, each with what it is called.

        Raises `InputError`: it cannot be read.
        """
        if self.fault:
            raise InputError(self.fault)
        found = self.fields["messages"]
        places = self.places or [f"message {number}" for number in range(1, len(found) + 1)]
        return list(zip(places, found, strict=True))


@dataclass
class _Item:
    """One item of the input: a message or a conversation, or why it is neither."""

    place: str
    fields: dict[str, Any] = field(default_factory=dict)
    fault: str = ""

    @classmethod
    def of(cls, place: str, value: object) -> "_Item":
        if isinstance(value, dict):
            return cls(place, value)
        return cls(place, fault=f"{type(value).__name__}, not an object")


def read_conversations(source: str) -> list[Conversation]:
    """
    Return the conversations of a file, or of standard input for "-".

    Raises `InputError`: the input cannot be read, is no JSON at all, or is empty.
    """
    items = _parse(_read_text(source), source)
    if not items:
        raise InputError(f"{source} holds no messages")
    name = "standard input" if source == "-" else Path(source).name
    # Most items decide: one that is broken or strayed in must not change what the others are.
    found = sum("messages" in item.fields for item in items)
    if found and found * 2 >= sum(not item.fault for item in items):
        return [_conversation(item, name) for item in items]
    return [_bare(items, name)]


def _read_text(source: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        data = gzip.decompress(raw) if raw.startswith(GZIP_MAGIC) else raw
        return data.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read {source}: {error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{source} is not UTF-8: {error}") from error


def _parse(text: str, source: str) -> list[_Item]:
    """Return the items of a JSON document, or of JSON Lines."""
    # The whole text first: a document may span many lines. JSON Lines fail here at their second
    # line, and are read line by line.
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        items = _parse_lines(text)
        if sum(bool(item.fault) for item in items) * 2 > len(items):
            # Hardly a line is JSON of its own: this is one document, broken somewhere.
            raise InputError(f"{source}: {_why(error)}") from error
        return items
    if isinstance(document, dict):
        return [_Item("", document)]
    values = document if isinstance(document, list) else [document]
    return [_Item.of(f"item {number}", value) for number, value in enumerate(values, 1)]


def _parse_lines(text: str) -> list[_Item]:
    # Not splitlines(): it also splits at characters that JSON allows inside a string, as U+2028.
    lines = enumerate(text.split("\n"), 1)
    return [_parse_line(line, f"line {number}") for number, line in lines if line.strip()]


def _parse_line(line: str, place: str) -> _Item:
    try:
        return _Item.of(place, json.loads(line))
    except (ValueError, RecursionError) as error:
        return _Item(place, fault=_why(error))


def _why(error: Exception) -> str:
    """Return why a text could not be parsed."""
    return TOO_DEEP if isinstance(error, RecursionError) else f"not JSON: {error}"


def _conversation(item: _Item, name: str) -> Conversation:
    name = f"{name}, {item.place}" if item.place else name
    label = item.fields.get("id")
    found = item.fields.get("messages")
    fault = item.fault
    if not fault and "messages" not in item.fields:
        fault = "it has no messages, and the others are conversations"
    elif not fault and not isinstance(found, list):
        fault = f"messages must be a list, not {type(found).__name__}"
    if isinstance(label, str | int):  # whatever else it is, it would be long
        name = f"{name} ({str(label)[:LONGEST_LABEL]})"
    return Conversation(name, item.fields, fault=fault)


def _bare(items: Sequence[_Item], name: str) -> Conversation:
    """Return the conversation of which the items are the messages."""
    strayed = "a conversation, and the others are messages"
    faults = [
        f"{item.place} is {strayed}" if not item.fault else f"{item.place} is {item.fault}"
        for item in items
        if item.fault or "messages" in item.fields
    ]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    messages = {"messages": [item.fields for item in items]}
    places = [item.place for item in items] if items[0].place else ()
    fault = f"{faults[0]}{more}" if faults else ""
    return Conversation(name, messages, bare=True, fault=fault, places=places)
