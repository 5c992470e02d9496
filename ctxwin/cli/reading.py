"""
Conversations from a file or from standard input.

Four forms are read, plain or gzip: a JSON array of messages, one JSON object with a list of
messages under "messages", or either kind of item one a line (JSON Lines).
"""

import gzip
import json
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GZIP_MAGIC = b"\x1f\x8b"


class InputError(Exception):
    """The input cannot be read; the text says where and why."""


@dataclass
class Conversation:
    """
    One conversation of the input.

    Attributes:
        name: what messages to the user call it.
        fields: its JSON object; the messages are under "messages".
        bare: whether the input was a plain list of messages, without an object around it.
    """

    name: str
    fields: dict[str, Any]
    bare: bool


def read_conversations(source: str) -> list[Conversation]:
    """
    Return the conversations of a file, or of standard input for "-".

    Raises `InputError`: the input cannot be read, is malformed, or is empty.
    """
    items = list(_parse(_read_text(source), source))
    if not items:
        raise InputError(f"{source} holds no messages")
    name = "standard input" if source == "-" else Path(source).name
    if all("messages" in item for item in items):
        return [_conversation(item, f"{name}, conversation {n}") for n, item in enumerate(items, 1)]
    mixed = next((n for n, item in enumerate(items, 1) if "messages" in item), None)
    if mixed is not None:
        raise InputError(f"{source}: item {mixed} is a conversation, but others are messages")
    return [Conversation(name, {"messages": items}, bare=True)]


def _read_text(source: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        data = gzip.decompress(raw) if raw.startswith(GZIP_MAGIC) else raw
        return data.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read {source}: {error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{source} is not UTF-8: {error}") from error


def _parse(text: str, source: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON document, or of JSON Lines."""
    # The whole text first: a document may span many lines. JSON Lines fail here at their second
    # line, and are read line by line.
    try:
        document = json.loads(text)
        items = document if isinstance(document, list) else [document]
    except ValueError:
        items = list(_parse_lines(text, source))
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict):
            raise InputError(f"{source}: item {number} is {type(item).__name__}, not an object")
        yield item


def _parse_lines(text: str, source: str) -> Iterator[object]:
    # Not splitlines(): it also splits at characters that JSON allows inside a string, as U+2028.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise InputError(f"{source}, line {number}: not JSON: {error}") from error


def _conversation(fields: dict[str, Any], name: str) -> Conversation:
    if not isinstance(fields["messages"], list):
        kind = type(fields["messages"]).__name__
        raise InputError(f"{name}: messages must be a list, not {kind}")
    label = fields.get("id")
    return Conversation(f"{name} ({label})" if label is not None else name, fields, bare=False)
