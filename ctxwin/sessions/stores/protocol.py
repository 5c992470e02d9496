"""
What a store must do: keep one log of opaque records per session, with an optional checkpoint.

A store knows nothing about messages. It numbers the records of a session 1, 2, 3, ... A caller may
add records only if it has read every earlier one. A store never changes or loses a record unless it
is told to, by number. Everything else (what a record means, merging, replaying, when to compact) is
done above the store, once for all of them. `ctxwin.testing.StoreContract` tests a store against
this text.

Rules:

1. Every call is atomic: it does everything or nothing, whatever is killed in the middle. Once
   `append` returns, its records are durable.
2. Bytes of any length and content come back unchanged. A session id is any text, compared code
   point by code point. That includes lone surrogates, NUL, the empty text, and characters that mean
   something in a query language.
3. Sessions do not affect each other.
4. Several threads and processes may call a store at the same time.
5. Errors of the engine are raised as `StoreError`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


def encode_id(session: str) -> bytes:
    """Return a session id as bytes: UTF-8, with lone surrogates let through."""
    return session.encode("utf-8", "surrogatepass")


def is_text(value: str) -> bool:
    """Return whether a text can be sent to any server: no lone surrogates, no NUL."""
    return "\0" not in value and value.encode(errors="replace").decode() == value


def decode_id(name: bytes) -> str:
    """Return the session id that was encoded."""
    return name.decode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Position:
    """
    How far the log of a session has got.

    Attributes:
        life: a random id, new each time a session is created, so that a deleted session is never
            mistaken for the next one of the same name; `""` if there is no such session.
        number: the number of the newest record; 0 if there is no such session.
    """

    life: str
    number: int


NOWHERE = Position("", 0)


@dataclass(frozen=True, slots=True)
class Page:
    """
    A session as it was at one moment.

    Attributes:
        position: the position of its log.
        floor: the number of the last record that the newest checkpoint covers; 0 without a
            checkpoint.
        records: the requested records as (number, body), in ascending order. Records that
            `compact` dropped are missing.
        checkpoint: the newest checkpoint, if it was asked for and there is one.
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
        Add at least one record to the end of a log, if it is at the expected position.

        Expect `NOWHERE` to create a session that does not exist yet.

        Returns:
            The new position.

        Raises:
            StaleError: the log is at another position; nothing was stored.
            StoreError: the store failed. If a connection broke, the records may or may not have
                been stored.
        """
        ...

    def read(self, session: str, start: int | None = None, limit: int | None = None) -> Page:
        """
        Return at most `limit` records from number `start` on, or the checkpoint and what follows.

        The second form is without `start`; `limit` is ignored then. A session that does not exist
        gives `Page(NOWHERE, 0)`.

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
        Set a checkpoint that covers everything up to a position, and drop or rewrite records.

        Args:
            session: the session.
            position: the last position that the checkpoint covers; the log may have grown since.
            checkpoint: the checkpoint; None leaves checkpoint and floor as they are.
            changes: number -> the new record, or None to drop it. Numbers that no longer exist are
                ignored; records that are not named stay as they are.

        Returns:
            Whether it was done. It is not if the session has another life, is shorter than the
            position, or has a checkpoint of a later position; then nothing has changed.

        Raises `StoreError`: the store failed.
        """
        ...

    def delete(self, session: str) -> bool:
        """
        Remove a session and everything in it; return whether there was one.

        Raises `StoreError`: the store failed.
        """
        ...

    def list(self) -> Iterator[str]:
        """
        Yield the ids of the sessions, in no particular order.

        Raises `StoreError`: the store failed.
        """
        ...

    def close(self) -> None:
        """Close connections and files; calling it twice is fine."""
        ...
