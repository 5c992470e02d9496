"""
What a store must be: logs of opaque records, one log a session, each with an optional checkpoint.

A store knows nothing of messages. It numbers the records of a session 1, 2, 3, ..., takes new ones
only from a caller who has seen all before them, and never changes or loses one unless told to by
number. All else (what a record says, merging, replaying, when to compact) is done above it, once
for all stores. `ctxwin.testing.StoreContract` proves a store against this text.

Rules:

1. Atomic: a call does all that it was asked or nothing, whatever is killed in the middle, and what
   `append` has returned is durable.
2. Bytes come back as they were given, of any length and content; a session id is any text, compared
   code point by code point (lone surrogates, NUL, the empty text and what means something to a
   query language included).
3. Sessions do not touch each other.
4. Safe to call from several threads and processes at once.
5. What the engine raises becomes a `StoreError`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


def encode_id(session: str) -> bytes:
    """Return the id of a session as bytes: UTF-8, lone surrogates passed."""
    return session.encode("utf-8", "surrogatepass")


def decode_id(name: bytes) -> str:
    """Return the id of a session that was encoded."""
    return name.decode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Position:
    """
    Where the log of a session stands.

    Attributes:
        life: drawn anew whenever a session is created, so that a deleted one is never mistaken for
            its successor; `""` where there is no such session.
        number: the number of the newest record; 0 where there is no such session.
    """

    life: str
    number: int


NOWHERE = Position("", 0)


@dataclass(frozen=True, slots=True)
class Page:
    """
    One consistent look at a session.

    Attributes:
        position: where its log stands.
        floor: the number of the record up to which the newest checkpoint tells everything; 0
            without one.
        records: the records asked for with their numbers, which ascend; what `compact` dropped is
            missing.
        checkpoint: the newest checkpoint, where it was asked for and there is one.
    """

    position: Position
    floor: int
    records: tuple[tuple[int, bytes], ...] = ()
    checkpoint: bytes | None = None


@runtime_checkable
class SessionStore(Protocol):
    """Keeps the logs of sessions."""

    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        """
        Add records (at least one) to the end of a session's log, if it stands at the expected
        position.

        `NOWHERE` is expected of a session that does not exist; this creates it.

        Returns:
            The new position.

        Raises:
            StaleError: the log stands elsewhere; nothing was stored.
            StoreError: the store failed. Whether the records were stored may be unknown, where a
                connection broke.
        """
        ...

    def read(self, session: str, start: int | None = None, limit: int | None = None) -> Page:
        """
        Return records from number `start` on, at most `limit`; or, without a start, the checkpoint
        and what follows.

        Of a session that does not exist: `Page(NOWHERE, 0)`. Without a start, `limit` is ignored.

        Raises `StoreError`: the store failed.
        """
        ...

    def compact(
        self,
        session: str,
        position: Position,
        checkpoint: bytes | None,
        changes: Mapping[int, bytes | None],
    ) -> bool:
        """
        Set a checkpoint that tells everything up to a position, and drop or rewrite records.

        Args:
            session: the session.
            position: what the checkpoint tells of; the log may have grown beyond it.
            checkpoint: the checkpoint; None leaves checkpoint and floor as they are.
            changes: number -> what the record is to be instead, None to drop it. Numbers that are
                no longer there are passed over; all others stay as they are.

        Returns:
            Whether it was done: not where the session has another life, does not reach to the
            position, or has a checkpoint of a later one. Then nothing has changed.

        Raises `StoreError`: the store failed.
        """
        ...

    def delete(self, session: str) -> bool:
        """Remove a session with all it holds; returns whether there was one. Raises `StoreError`: the store failed."""
        ...

    def list(self) -> Iterator[str]:
        """Yield the ids of the sessions, in no particular order. Raises `StoreError`: the store failed."""
        ...

    def close(self) -> None:
        """Let go of connections and files; it may be called twice."""
        ...
