"""
What a session's records say: the changes of a conversation, written down.

A record is a checksum, a space and a JSON object: a schema version, who wrote it, its kind, and the
kind's fields. The number of an appended or written message's record is the message's id.

| kind | says |
|---|---|
| append | a message of the log, with its cost |
| written | a message that the cut behind it brings into the window |
| cut | what a prune or a commit made of the window |
| pin, unpin, rewind | what the caller did |
| observe | what was learnt from a bill |
| state | everything anew, if what happened concerns messages that are no longer in memory |
| blank | nothing: a number that no message has |
| checkpoint | not in the log: the same as a state, of a position |

Keys are those of schema 1, whatever the attributes of a change are called today.
"""

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ctxwin.log.changes import Append, Change, Cut, Edited, Learn, Pin, Restore, Rewind, Written
from ctxwin.log.state import Fields
from ctxwin.sessions.stores.protocol import Page, Position, SessionStore
from ctxwin.values.errors import MessageError, RecordError, SessionDeletedError, describe, quoted
from ctxwin.values.message import Message
from ctxwin.values.wire import SYSTEM_ROLES, Wire, read_stored

VERSION = 1
KINDS = frozenset(
    (
        *("append", "written", "cut", "pin", "unpin", "rewind"),
        *("observe", "state", "blank", "checkpoint"),
    )
)
PAGE = 500  # records that are read at once
MALFORMED = (KeyError, TypeError, AttributeError, IndexError, ValueError, StopIteration)


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its kind, and the fields that go with it."""

    kind: str
    fields: Mapping[str, Any]


def killed_by(number: int, record: Record) -> range:
    """Return the numbers, up to its own, that hold no message of the log because of a record."""
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
    Write a record as bytes.

    Lone surrogates pass as they are: escaped, two neighbours would be read back as one character.
    """
    whole = {"v": VERSION, "by": writer, "kind": record.kind, **record.fields}
    text = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
    data = text.encode("utf-8", "surrogatepass")
    return b"%08x %b" % (zlib.crc32(data), data)


# From changes to records.


def records_of(change: Change, counter: str, unwritten: Mapping[int, int]) -> list[Record]:
    """
    Return what a change is written down as; the last record is the one that carries it out.

    Args:
        change: the change.
        counter: the name of the counter that its costs are by.
        unwritten: the ids of the written messages of the window, which a cut names apart.
    """
    match change:
        case Append():
            fields = {"message": change.message, "pinned": change.pinned, "tokens": change.tokens}
            return [Record("append", {**fields, "counter": counter})]
        case Pin():
            return [Record("pin" if change.pinned else "unpin", {"id": change.id})]
        case Rewind():
            return [Record("rewind", {"id": change.id})]
        case Learn():
            fields = {"offset": change.hidden_tokens, "correction": change.scale}
            return [Record("observe", {**fields, "counter": counter})]
        case Cut():
            return [
                *(Record("written", _written(one, counter)) for one in change.written),
                Record("cut", _cut(change, counter, unwritten)),
            ]
        case _:
            raise TypeError(f"{type(change).__name__} is not written down")


def _written(written: Written, counter: str) -> dict[str, Any]:
    return {
        "message": written.message,
        "sources": written.sources,
        "source_hash": written.source_hash,
        "tokens": written.tokens,
        "counter": counter,
    }


def _cut(cut: Cut, counter: str, unwritten: Mapping[int, int]) -> dict[str, Any]:
    return {
        "gone": [first for first in cut.gone if first not in unwritten],
        "unwritten": [first for first in cut.gone if first in unwritten],
        "edits": [[edit.id, edit.content, edit.tokens] for edit in cut.edits],
        "adjustment": cut.request_gap,
        "failures": {name: list(figures) for name, figures in cut.failures.items()},
        "settled": cut.settled,
        "counter": counter,
    }


# From records to changes.


class Reader:
    """Reads the records of one session; if one cannot be read, a `RecordError` names it."""

    def __init__(self, session: str) -> None:
        self.session = session

    def decode(self, number: int | None, data: bytes) -> Record:
        """Read a record from bytes; with None for a number, the checkpoint."""
        checksum, text = data[:8], data[9:]
        if data[8:9] != b" " or checksum != b"%08x" % zlib.crc32(text):
            raise self.error(number, "its checksum does not match, so it is corrupt")
        try:
            fields = json.loads(text.decode("utf-8", "surrogatepass"))
            version, kind = fields.pop("v"), fields.pop("kind")
            fields.pop("by")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise self.error(number, f"it is not a record of ctxwin: {describe(error)}") from error
        if version != VERSION:
            reason = f"it is of schema {quoted(version)}, this release reads {VERSION}"
            raise self.error(number, reason)
        known = isinstance(kind, str) and kind in KINDS
        if not known or (kind == "checkpoint") != (number is None):
            raise self.error(number, f"its kind is {quoted(kind)}")
        return Record(kind, fields)

    def message(self, number: int, record: Record) -> Wire:
        """Return the message of a record."""
        try:
            return read_stored(record.fields["message"])
        except (KeyError, MessageError) as error:
            raise self.error(number, f"it holds no message: {error}") from error

    @contextmanager
    def reading(self, number: int | None, claim: str = "it cannot be read") -> Iterator[None]:
        """Have a `RecordError` name the record where it does not hold what it should."""
        try:
            yield
        except MALFORMED as error:
            raise self.error(number, f"{claim}: {describe(error)}") from error

    def error(self, number: int | None, reason: str) -> RecordError:
        """Return the error that names a record."""
        return RecordError(self.session, number, reason)


def change_of(
    number: int, record: Record, counter: str, written: Sequence[Written]
) -> Change | Written | None:
    """
    Return the change that a record tells of, None if it tells of none.

    Args:
        number: its number.
        record: the record; a `written` one gives a part of the cut behind it.
        counter: the name of the present counter: the costs of others are counted again.
        written: what the records before it have written.

    Raises:
        StateError, MessageError, TypeError, ValueError: a field is missing or malformed.
    """
    fields = Fields(record.fields, record.kind)
    if record.kind == "cut":
        return _read_cut(fields, counter, written)
    read = _READ.get(record.kind)
    return read(number, fields, counter) if read is not None else None


def _read_append(number: int, fields: Fields, counter: str) -> Append:
    wire = read_stored(fields.get("message", dict))
    pinned = fields.get("pinned", bool) or wire["role"] in SYSTEM_ROLES
    return Append(number, wire, pinned, _tokens(fields, counter))


def _read_written(number: int, fields: Fields, counter: str) -> Written:
    wire = read_stored(fields.get("message", dict))
    sources = tuple(map(_whole, fields.get("sources", list)))
    return Written(number, wire, sources, fields.get("source_hash", str), _tokens(fields, counter))


def _read_learn(_: int, fields: Fields, counter: str) -> Learn | None:
    learn = Learn(fields.get("offset", int, at_least=None), fields.get("correction", int))
    return learn if fields.get("counter", str) == counter else None


def _read_state(_: int, fields: Fields, __: str) -> Restore:
    fields.get("forgotten", int)
    fields.get("rewound", int, optional=True)
    return Restore(fields.get("state", dict))


_READ: dict[str, Callable[[int, Fields, str], Change | Written | None]] = {
    "append": _read_append,
    "written": _read_written,
    "pin": lambda _, fields, __: Pin(fields.get("id", int), pinned=True),
    "unpin": lambda _, fields, __: Pin(fields.get("id", int), pinned=False),
    "rewind": lambda _, fields, __: Rewind(fields.get("id", int)),
    "observe": _read_learn,
    "state": _read_state,
}


def _read_cut(fields: Fields, counter: str, written: Sequence[Written]) -> Cut:
    same = _is_by(fields, counter)
    failures = fields.get("failures", dict).items()
    edits = [
        Edited(_whole(message_id), content, _whole(tokens) if same else None)
        for message_id, content, tokens in fields.get("edits", list)
    ]
    gap = fields.get("adjustment", int, at_least=None)
    return Cut(
        gone=tuple(map(_whole, (*fields.get("gone", list), *fields.get("unwritten", list)))),
        written=tuple(written),
        edits=tuple(edits),
        request_gap=gap if same else 0,
        failures={name: (_whole(in_a_row), _whole(until)) for name, (in_a_row, until) in failures},
        settled=fields.has("settled") and fields.get("settled", bool),
    )


def _tokens(fields: Fields, counter: str) -> int | None:
    tokens: int | None = fields.get("tokens", int, optional=True)
    return tokens if _is_by(fields, counter) else None


def _is_by(fields: Fields, counter: str) -> bool:
    """Return whether the costs of a record are those of the present counter."""
    name: str = fields.get("counter", str)
    return bool(name) and name == counter


def _whole(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"{quoted(value)} is not a whole number")
    return value


# Reading the log of a session back from its store, a page at a time.


def read_log(
    store: SessionStore,
    reader: Reader,
    position: Position,
    dead: Sequence[range],
    start: int = 1,
    page: int = PAGE,
) -> Iterator[tuple[int, Record]]:
    """
    Yield the records of a log's messages with their numbers, oldest first.

    Args:
        store: where they are.
        reader: decodes them.
        position: up to where to read, and of which life.
        dead: numbers of records that hold no message of the log.
        start: the lowest number.
        page: how many records to read at once.

    Raises:
        SessionDeletedError: the session has been deleted.
    """
    gone, at = merged(dead), 0
    while start <= position.number:
        found = store.read(reader.session, start, page)
        if found.position.life != position.life:
            raise SessionDeletedError(
                f"session {quoted(reader.session)} was deleted, or expired, while it was read"
            )
        for number, data in found.records:
            while at < len(gone) and gone[at].stop <= number:
                at += 1
            alive = at == len(gone) or number < gone[at].start
            if alive and number <= position.number:
                yield number, reader.decode(number, data)
        full = len(found.records) == page
        start = found.records[-1][0] + 1 if full else position.number + 1


def merged(ranges: Iterable[range]) -> list[range]:
    """Return ranges with the same numbers that ascend and do not touch each other."""
    found: list[range] = []
    for one in sorted(filter(None, ranges), key=lambda one: one.start):
        if found and one.start <= found[-1].stop:
            found[-1] = range(found[-1].start, max(found[-1].stop, one.stop))
        else:
            found.append(one)
    return found


def as_message(reader: Reader, number: int, record: Record, pinned: Mapping[int, bool]) -> Message:
    """Return a message of the log; one that is in no window cannot be pinned."""
    return Message(number, reader.message(number, record), pinned.get(number, False))


def survey(reader: Reader, page: Page) -> tuple[list[range], dict[int, bool]]:
    """
    Return, as a page from a checkpoint tells, which numbers are dead and what is pinned.

    Raises `RecordError`: one of its records cannot be read.
    """
    dead: list[range] = []
    pinned: dict[int, bool] = {}
    if page.checkpoint is not None:
        record = reader.decode(None, page.checkpoint)
        with reader.reading(None):
            pinned = _pins(record)
    for number, data in page.records:
        record = reader.decode(number, data)
        with reader.reading(number):
            dead.append(killed_by(number, record))
            pinned = _pinned_after(number, record, pinned)
    return dead, pinned


def _pinned_after(number: int, record: Record, pinned: dict[int, bool]) -> dict[int, bool]:
    """Return what is pinned after a record, changing what was before it."""
    fields = Fields(record.fields, record.kind)
    if record.kind == "append":
        system = read_stored(fields.get("message", dict))["role"] in SYSTEM_ROLES
        pinned[number] = fields.get("pinned", bool) or system
    elif record.kind in ("pin", "unpin"):
        pinned[fields.get("id", int)] = record.kind == "pin"
    elif record.kind == "state":
        return _pins(record)
    return pinned


def _pins(record: Record) -> dict[int, bool]:
    state = Fields(Fields(record.fields, record.kind).get("state", dict), "state")
    entries = [Fields(entry, "log") for entry in state.get("log", list)]
    return {entry.get("id", int): entry.get("pinned", bool) for entry in entries}
