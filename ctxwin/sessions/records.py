"""
What a session's records say, and how they are written.

A record is a checksum, a space and a JSON object: a schema version, who wrote it, its kind and the
kind's fields. The number of an appended or written message's record is the message's id.

| kind | says |
|---|---|
| append | a message of the log, with its cost |
| written | a summary that the cut behind it brings into the window |
| blank | nothing: a number that a cut took, and whose summary a later plan of the same cut replaced |
| cut | what a prune or a commit made of the window |
| pin, unpin, rewind | what the caller did |
| observe | what was learnt from a bill |
| state | all of it anew, where what happened concerns messages that are held in memory no longer |
| checkpoint | not in the log: the same as a state, of a position |
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ctxwin.values.errors import MessageError, RecordError
from ctxwin.values.message import read_message
from ctxwin.values.wire import Wire

VERSION = 1
KINDS = frozenset(
    {
        "append",
        "written",
        "blank",
        "cut",
        "pin",
        "unpin",
        "rewind",
        "observe",
        "state",
        "checkpoint",
    }
)


@dataclass(frozen=True, slots=True)
class Record:
    """
    One record: its kind, and the fields that go with it.

    Attributes:
        own: whether this process made it, so that its figures hold even where the counter has no
            name.
    """

    kind: str
    fields: Mapping[str, Any]
    own: bool = False


def killed_by(number: int, record: Record) -> range:
    """Return the numbers, ending with its own, that a record makes hold no message of the log."""
    first = number
    if record.kind == "append":
        first = number + 1
    elif record.kind == "rewind":
        first = record.fields["id"]
    elif record.kind == "state":
        first = record.fields["rewound"] or number
    return range(first, number + 1)


def encode(record: Record, writer: str) -> bytes:
    """
    Write a record.

    Lone surrogates pass, and are not joined to pairs, which escaping them would do.
    """
    whole = {"v": VERSION, "by": writer, "kind": record.kind, **record.fields}
    text = json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )
    return b"%08x %b" % (zlib.crc32(text), text)


class Reader:
    """Reads the records of one session; whatever is wrong with one is a `RecordError` that names it."""

    def __init__(self, session: str) -> None:
        self.session = session

    def decode(self, number: int | None, data: bytes) -> Record:
        """Read a record, or with None for a number the checkpoint."""
        checksum, text = data[:8], data[9:]
        if data[8:9] != b" " or checksum != b"%08x" % zlib.crc32(text):
            raise RecordError(
                self.session, number, "its checksum does not match, so that it is corrupt"
            )
        try:
            fields = json.loads(text.decode("utf-8", "surrogatepass"))
            version, kind = fields.pop("v"), fields.pop("kind")
            fields.pop("by")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise RecordError(
                self.session, number, f"it is no record of ctxwin: {error!r}"
            ) from error
        if version != VERSION:
            raise RecordError(
                self.session, number, f"it is of schema {version!r}, this release reads {VERSION}"
            )
        if kind not in KINDS or (kind == "checkpoint") != (number is None):
            raise RecordError(self.session, number, f"its kind is {kind!r}")
        return Record(kind, fields)

    def message(self, number: int, record: Record) -> Wire:
        """Return the message of a record."""
        try:
            return read_message(record.fields["message"])
        except (KeyError, MessageError) as error:
            raise RecordError(self.session, number, f"it holds no message: {error}") from error
