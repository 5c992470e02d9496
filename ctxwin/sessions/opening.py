"""`open_store`: from a URL to sessions; and what can be done with sessions as a whole."""

import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import islice
from typing import Any, Unpack, overload

from ctxwin.manager import Options
from ctxwin.pruning.threads import in_thread
from ctxwin.sessions.records import PAGE, Reader, as_message, read_log, survey
from ctxwin.sessions.session import Closing, Session
from ctxwin.sessions.stores.protocol import SessionStore
from ctxwin.values.budget import Budget
from ctxwin.values.errors import quoted
from ctxwin.values.message import Message

GROUP = "ctxwin.stores"
BUILT_IN = {
    "memory": "ctxwin.sessions.stores.memory:from_url",
    "postgresql": "ctxwin.sessions.stores.sql:SQLStore",
    "redis": "ctxwin.sessions.stores.redis:RedisStore",
    "rediss": "ctxwin.sessions.stores.redis:RedisStore",
    "sqlite": "ctxwin.sessions.stores.sql:SQLStore",
    "unix": "ctxwin.sessions.stores.redis:RedisStore",
}


class Sessions(Closing):
    """
    Conversations kept in a store.

    Args:
        store: where they are kept; `open_store` makes one from a URL.
    """

    def __init__(self, store: SessionStore) -> None:
        self.store = store

    @overload
    def open(
        self, session: str, max_tokens: int, *, budget: None = None, **options: Unpack[Options]
    ) -> Session: ...

    @overload
    def open(
        self, session: str, max_tokens: None = None, *, budget: Budget, **options: Unpack[Options]
    ) -> Session: ...

    def open(self, session: str, max_tokens: int | None = None, **options: Any) -> Session:
        """
        Open a session; one that is not there yet begins with what is first written to it.

        Args:
            session: its id, any text.
            max_tokens: the input budget, in tokens, as for a `ContextManager`.
            options: all others of a `ContextManager`. They are no part of what is stored: give them
                each time.

        Raises:
            StoreError: the store failed.
            RecordError: what is stored cannot be read; the session stays as it is.
        """
        return Session(self.store, session, max_tokens, **options)

    @overload
    def aopen(
        self, session: str, max_tokens: int, *, budget: None = None, **options: Unpack[Options]
    ) -> AbstractAsyncContextManager[Session]: ...

    @overload
    def aopen(
        self, session: str, max_tokens: None = None, *, budget: Budget, **options: Unpack[Options]
    ) -> AbstractAsyncContextManager[Session]: ...

    @asynccontextmanager
    async def aopen(
        self, session: str, max_tokens: int | None = None, **options: Any
    ) -> AsyncIterator[Session]:
        """
        Open a session for an event loop.

        Its methods with an `a` in front wait for the store in a thread; the others refuse to block
        the loop.
        """
        options = {"refuses_loops": True, **options}
        with await in_thread(Session, self.store, session, max_tokens, **options) as opened:
            yield opened

    def read(self, session: str, start: int = 0, limit: int = 100) -> list[Message]:
        """
        Return a page of a session's log, oldest first; `[]` where there is no such session.

        Args:
            session: its id.
            start: the lowest id of a message to return; go on with the last one's id plus one.
            limit: how many to return at most.

        Raises:
            ValueError: `limit` is negative.
            StoreError, RecordError: as for `open`.
        """
        reader, page = Reader(session), self.store.read(session)
        dead, pinned = survey(reader, page)
        found = read_log(
            self.store, reader, page.position, dead, max(1, start), max(1, min(limit, PAGE))
        )
        return [
            as_message(reader, number, record, pinned) for number, record in islice(found, limit)
        ]

    async def aread(self, session: str, start: int = 0, limit: int = 100) -> list[Message]:
        """Return what `read` returns."""
        return await in_thread(self.read, session, start, limit)

    def delete(self, session: str) -> bool:
        """
        Remove a session with all it holds; returns whether there was one.

        Raises `StoreError`: the store failed.
        """
        return self.store.delete(session)

    async def adelete(self, session: str) -> bool:
        """Do what `delete` does."""
        return await in_thread(self.delete, session)

    def list(self) -> Iterator[str]:
        """
        Yield the ids of the sessions, in no particular order.

        Raises `StoreError`: the store failed.
        """
        return self.store.list()

    def close(self) -> None:
        """Let go of connections and files."""
        self.store.close()


def open_store(url: str, *, keys: Sequence[str | bytes] = (), **options: Any) -> Sessions:
    """
    Open the store that a URL names.

    Args:
        url: `sqlite:///chats.db`, `postgresql+psycopg://...`, `redis://...`, or of the scheme of an
            installed store (an entry point of the group `ctxwin.stores`, whose value is called with
            the URL and the options).
        keys: Fernet keys to encrypt by; the first one encrypts, all decrypt.
        options: whatever else the store takes.

    Raises:
        ValueError: no store is installed for that scheme, or a key is malformed.
        StoreError: it cannot be opened.
        ImportError: what it needs is not installed.
    """
    store: SessionStore = _factory(url)(url, **options)
    if keys:
        from ctxwin.sessions.stores.encrypted import EncryptedStore  # noqa: PLC0415 - needs an extra

        store = EncryptedStore(store, keys)
    return Sessions(store)


def _factory(url: str) -> Callable[..., SessionStore]:
    from importlib.metadata import EntryPoint, entry_points  # noqa: PLC0415 - slow to import

    named = re.match(r"([A-Za-z][\w.-]*)(\+[\w.-]+)?://", url)
    scheme = named[1] if named is not None else ""
    if scheme in BUILT_IN:
        found = [EntryPoint(scheme, BUILT_IN[scheme], GROUP)]
    else:
        found = list(entry_points(group=GROUP, name=scheme))
    if not found:
        known = sorted({*BUILT_IN, *(entry.name for entry in entry_points(group=GROUP))})
        # Nothing else of the URL is named: anything may be a password.
        raise ValueError(
            f"no store is installed for the scheme {quoted(scheme)}; schemes: {', '.join(known)}"
        )
    factory: Callable[..., SessionStore] = found[0].load()
    return factory
