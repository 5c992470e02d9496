"""`MemoryStore`: a store in memory, for tests and first steps; the reference for all others."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from uuid import uuid4

from ctxwin.sessions.stores.protocol import NOWHERE, Page, Position
from ctxwin.values.errors import StaleError, StoreError, quoted


@dataclass(slots=True)
class _Log:
    """A session: its position, its records by number, its checkpoint, and the floor of that."""

    position: Position
    records: dict[int, bytes] = field(default_factory=dict)
    floor: int = 0
    checkpoint: bytes | None = None


class MemoryStore:
    """A `SessionStore` that lives as long as its process; `open_store("memory://")`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._logs: dict[str, _Log] = {}
        self._closed = False

    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        """Add records to the end of a log, if it is at the expected position."""
        with self._lock:
            log = self._find(session)
            if (log.position if log else NOWHERE) != expected:
                raise StaleError(f"session {quoted(session)} is not at {expected}")
            if log is None:
                log = self._logs[session] = _Log(Position(uuid4().hex, 0))
            for number, record in enumerate(records, log.position.number + 1):
                log.records[number] = bytes(record)
            log.position = Position(log.position.life, log.position.number + len(records))
            return log.position

    def read(self, session: str, start: int | None = None, limit: int | None = None) -> Page:
        """Return records from a number on, or the checkpoint and what follows."""
        with self._lock:
            log = self._find(session)
            if log is None:
                return Page(NOWHERE, 0)
            if start is None:
                after = [item for item in log.records.items() if item[0] > log.floor]
                return Page(log.position, log.floor, tuple(after), log.checkpoint)
            found = [item for item in log.records.items() if item[0] >= start]
            return Page(log.position, log.floor, tuple(found[:limit]))

    def compact(
        self,
        session: str,
        position: Position,
        checkpoint: bytes | None,
        changes: Mapping[int, bytes | None],
    ) -> bool:
        """Set a checkpoint, and drop or rewrite records."""
        with self._lock:
            log = self._find(session)
            if (
                log is None
                or log.position.life != position.life
                or log.position.number < position.number
            ):
                return False
            if position.number < log.floor:
                return False
            if checkpoint is not None:
                log.floor, log.checkpoint = position.number, bytes(checkpoint)
            for number in changes.keys() & log.records.keys():
                record = changes[number]
                if record is not None:
                    log.records[number] = bytes(record)
                else:
                    del log.records[number]
            return True

    def delete(self, session: str) -> bool:
        """Remove a session."""
        with self._lock:
            found = self._find(session)
            self._logs.pop(session, None)
            return found is not None

    def list(self) -> Iterator[str]:
        """Yield the ids of the sessions."""
        with self._lock:
            self._check_open()
            sessions = tuple(self._logs)
        yield from sessions

    def close(self) -> None:
        """Refuse all further calls."""
        self._closed = True

    def _find(self, session: str) -> _Log | None:
        self._check_open()
        return self._logs.get(session)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the store was closed")


def from_url(url: str) -> MemoryStore:
    """Return a new store for `memory://`."""
    if url != "memory://":
        raise ValueError("a store in memory has no place to name: write memory://")
    return MemoryStore()
