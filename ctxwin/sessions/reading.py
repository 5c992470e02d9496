"""Reading the log of a session back from its store, a page at a time, whatever is held in memory."""

from collections.abc import Iterator, Mapping, Sequence

from ctxwin.sessions.records import Reader, Record, killed_by
from ctxwin.sessions.stores.protocol import Page, Position, SessionStore
from ctxwin.values.errors import SessionDeletedError
from ctxwin.values.message import Message
from ctxwin.values.wire import SYSTEM_ROLES

PAGE = 500  # records


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

    Raises `SessionDeletedError`: the session has been deleted.
    """
    while start <= position.number:
        found = store.read(reader.session, start, page)
        if found.position.life != position.life:
            raise SessionDeletedError(
                f"session {reader.session!r} was deleted, or expired, while it was read"
            )
        for number, data in found.records:
            if number <= position.number and not any(number in numbers for numbers in dead):
                yield number, reader.decode(number, data)
        start = found.records[-1][0] + 1 if len(found.records) == page else position.number + 1


def as_message(reader: Reader, number: int, record: Record, pinned: Mapping[int, bool]) -> Message:
    """Return a message of the log; what is not held in any window cannot be pinned."""
    return Message(number, reader.message(number, record), pinned.get(number, False))


def survey(reader: Reader, page: Page) -> tuple[list[range], dict[int, bool]]:
    """Return which numbers hold no message of the log, and what is known of pins, as a page from a checkpoint tells."""
    dead: list[range] = []
    pinned: dict[int, bool] = {}
    if page.checkpoint is not None:
        pinned = _pins(reader.decode(None, page.checkpoint))
    for number, data in page.records:
        record = reader.decode(number, data)
        dead.append(killed_by(number, record))
        if record.kind == "append":
            pinned[number] = (
                record.fields["pinned"] or reader.message(number, record)["role"] in SYSTEM_ROLES
            )
        elif record.kind in ("pin", "unpin"):
            pinned[record.fields["id"]] = record.kind == "pin"
        elif record.kind == "state":
            pinned = _pins(record)
    return dead, pinned


def _pins(record: Record) -> dict[int, bool]:
    return {entry["id"]: entry["pinned"] for entry in record.fields["state"]["log"]}
