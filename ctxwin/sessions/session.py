"""`Session`: a `ContextManager` whose conversation is kept in a store."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from ctxwin.counting.costs import Costs
from ctxwin.manager import ContextManager
from ctxwin.pruning.tickets import Ticket
from ctxwin.sessions.gate import Gate
from ctxwin.sessions.journal import Journal
from ctxwin.sessions.reading import as_message, read_log
from ctxwin.sessions.stores.protocol import SessionStore
from ctxwin.values.budget import Budget
from ctxwin.values.message import Message
from ctxwin.values.receipt import Receipt
from ctxwin.values.wire import Content

T = TypeVar("T")


class Closing(ABC):
    """What is closed at the end of a `with` block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Let go."""


class Session(Closing, ContextManager):
    """
    A `ContextManager` on a stored conversation; made by `Sessions.open` and `Sessions.aopen`.

    What a method has returned from is stored. Whatever else it is, the window is kept as by any
    `ContextManager`; what has left it is released from memory at once, and read back where it is
    asked for. Each method that waits for the store has a twin to await, with an `a` in front, which
    does so in a thread; strategies run there too, and async summarisers in the event loop.

    Errors, beside those of a `ContextManager`, of every method that changes something:
        StoreError: the store failed; nothing has changed here. Whether what was to be written is
            stored may be unknown, where a connection broke: trying the same again stores it once,
            as long as nothing else is written between the two.
        RecordError: what others have written meanwhile cannot be read.
        SessionDeletedError: the session was deleted, or expired, meanwhile.
    """

    _state: Journal

    def __init__(
        self,
        store: SessionStore,
        session: str,
        *args: Any,
        refuses_loops: bool = False,
        **options: Any,
    ) -> None:
        self._session = session
        super().__init__(*args, **options)
        gate = Gate(self._lock, refuses_loops=refuses_loops)
        self._state.attach(store, gate)
        self._gate = gate

    @property
    def id(self) -> str:
        """The id of the session."""
        return self._session

    @property
    def conversation_history(self) -> tuple[Message, ...]:
        """The whole log, oldest first, read from the store and held by nobody; `Sessions.read` reads it in pages."""
        with self._gate:
            state, reader = self._state, self._state.reader
            position, dead = state.position, tuple(state.dead)
            pinned = {
                entry.message.id: entry.message.pinned for entry in state.history.entries.values()
            }
            with state.gate.outside():
                found = read_log(state.store, reader, position, dead)
                return tuple(
                    [as_message(reader, number, record, pinned) for number, record in found]
                )

    def refresh(self) -> None:
        """Take in what others have written since; every change does so too, where it finds that they have."""
        with self._changing("refresh"):
            self._state.catch_up()

    def close(self) -> None:
        """Take no more changes; nothing need be written for it."""
        self._state.close()

    @classmethod
    def from_dict(cls, *_: Any, **__: Any) -> Self:
        """Raise `TypeError`: a session's state is in its store; `extend` takes over another conversation."""
        raise TypeError(
            "open a session with open_store(url).open(...), and extend() it with the messages"
        )

    # The same, to be awaited.

    async def aadd_message(self, role: str, content: Content, **rest: Any) -> Message:
        """Do what `add_message` does."""
        return await asyncio.to_thread(self.add_message, role, content, **rest)

    async def aappend(self, message: object, *, pinned: bool = False) -> Message:
        """Do what `append` does."""
        return await asyncio.to_thread(self.append, message, pinned=pinned)

    async def aextend(self, messages: Iterable[object]) -> list[Message]:
        """Do what `extend` does."""
        return await asyncio.to_thread(self.extend, messages)

    async def apin(self, message: Message | int) -> None:
        """Do what `pin` does."""
        await asyncio.to_thread(self.pin, message)

    async def aunpin(self, message: Message | int) -> None:
        """Do what `unpin` does."""
        await asyncio.to_thread(self.unpin, message)

    async def arewind(self, message: Message | int) -> tuple[Message, ...]:
        """Do what `rewind` does."""
        return await asyncio.to_thread(self.rewind, message)

    async def aobserve(self, usage: object) -> None:
        """Do what `observe` does."""
        await asyncio.to_thread(self.observe, usage)

    async def acommit(self, ticket: Ticket) -> Receipt:
        """Do what `commit` does."""
        return await asyncio.to_thread(self.commit, ticket)

    async def arefresh(self) -> None:
        """Do what `refresh` does."""
        await asyncio.to_thread(self.refresh)

    async def aconversation_history(self) -> tuple[Message, ...]:
        """Return what `conversation_history` is."""
        return await asyncio.to_thread(lambda: self.conversation_history)

    def _conversation(self, budget: Budget, costs: Costs, *, allow_question_edit: bool) -> Journal:
        return Journal(
            budget, costs, allow_question_edit=allow_question_edit, session=self._session
        )

    async def _run(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function in a thread; a cancellation waits for it, so that nothing of it goes on unseen."""
        task = asyncio.ensure_future(asyncio.to_thread(function, *args))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            while not task.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([task])
            _ = task.cancelled() or task.exception()  # seen, so that nobody is told that it was not
            raise
