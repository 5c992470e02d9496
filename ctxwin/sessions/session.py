"""`Session`: a `ContextManager` whose conversation is kept in a store."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ctxwin.hooks.guard import refuse_inside_hook
from ctxwin.manager import ContextManager
from ctxwin.pruning.threads import in_thread
from ctxwin.pruning.tickets import Ticket
from ctxwin.sessions.journal import Journal, counted
from ctxwin.sessions.stores.protocol import SessionStore
from ctxwin.values.message import Message
from ctxwin.values.receipt import Receipt
from ctxwin.values.request import checked_tags, tag_of
from ctxwin.values.wire import Content, Role, copy_json

T = TypeVar("T")


class Closing(ABC):
    """What is closed at the end of a `with` block."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Let go."""


class Session(Closing, ContextManager):
    """
    A `ContextManager` on a stored conversation; made by `Sessions.open` and `Sessions.aopen`.

    Once a method has returned, what it did is stored. What leaves the window is released from
    memory at once, and read back when it is asked for; `conversation_history` reads the whole log
    from the store. Each method that waits for the store has a twin to await, with an `a` in front,
    which does so in a thread. Strategies run there too; async summarisers run in the event loop. A
    cancellation of such a method waits for what it has begun to write, and the same call again then
    returns what came of it and writes nothing, as long as nothing else is written between the two.

    `Session.from_dict(state, store, "user-42", 4000)` takes a saved conversation over into a
    session that does not exist yet.

    Every method that changes something may raise, beside the errors of a `ContextManager`:
        StoreError: the store failed; nothing has changed here. If a connection broke, the change
            may be stored or not: trying the same again stores it once, as long as nothing else is
            written between the two.
        RecordError: what others have written meanwhile cannot be read.
        SessionDeletedError: the session was deleted, or expired, meanwhile.
    """

    __slots__ = ("_journal", "_unheard")

    def __init__(
        self,
        store: SessionStore,
        session: str,
        *args: Any,
        refuses_loops: bool = False,
        **options: Any,
    ) -> None:
        tags = {"conversation": tag_of(session), **checked_tags(options.pop("tags", None))}
        super().__init__(*args, tags=tags, **options)
        conversation = self._keeper.conversation
        self._journal = Journal(store, session, conversation, refuses_loops=refuses_loops)
        self._keep(self._journal)
        self._unheard: list[_Unheard] = []

    if TYPE_CHECKING:  # store and id stand before the budget

        @classmethod
        def from_dict(  # type: ignore[override]
            cls,
            state: Mapping[str, Any],
            store: SessionStore,
            session: str,
            *args: Any,
            **options: Any,
        ) -> Self:
            """Take a saved conversation over into a session that does not exist yet."""
            ...

    @property
    def id(self) -> str:
        """The id of the session."""
        return self._journal.reader.session

    def refresh(self) -> None:
        """Take in what others have written since; a change does so by itself if it must."""
        refuse_inside_hook(self, "refresh")
        self._journal.refresh()

    def close(self) -> None:
        """Take no more changes; nothing need be written for it."""
        self._journal.close()

    # The same, to be awaited.

    async def aadd_message(self, role: Role, content: Content, **rest: Any) -> Message:
        """Do what `add_message` does."""
        return await self._finish(self.add_message, role, content, **rest)

    async def aappend(
        self, message: object, *, pinned: bool = False, incomplete: bool = False
    ) -> Message:
        """Do what `append` does."""
        return await self._finish(self.append, message, pinned=pinned, incomplete=incomplete)

    async def aextend(self, messages: Iterable[object]) -> list[Message]:
        """Do what `extend` does."""
        return await self._finish(self.extend, [*messages])

    async def apin(self, message: Message | int) -> None:
        """Do what `pin` does."""
        await self._finish(self.pin, message)

    async def aunpin(self, message: Message | int) -> None:
        """Do what `unpin` does."""
        await self._finish(self.unpin, message)

    async def arewind(self, message: Message | int) -> tuple[Message, ...]:
        """Do what `rewind` does."""
        return await self._finish(self.rewind, message)

    async def aforget(self) -> tuple[Message, ...]:
        """Do what `forget` does."""
        return await self._finish(self.forget)

    async def aset_tools(self, tools: Sequence[Mapping[str, Any]]) -> None:
        """Set `tools`."""
        await self._finish(partial(setattr, self, "tools"), tools)

    async def afork(self, **options: Any) -> ContextManager:
        """Do what `fork` does."""
        return await in_thread(self.fork, **options)

    async def acommit(self, ticket: Ticket) -> Receipt:
        """Do what `commit` does."""
        return await self._finish(self.commit, ticket)

    async def arefresh(self) -> None:
        """Do what `refresh` does."""
        await in_thread(self.refresh)

    async def aconversation_history(self) -> tuple[Message, ...]:
        """Return what `conversation_history` is."""
        return await in_thread(lambda: self.conversation_history)

    async def _finish(self, method: Callable[..., T], *args: Any, **options: Any) -> T:
        """
        Call a method in a thread, and again for a caller who was cancelled and tries again.

        A cancellation waits for the method, and its result is kept for the same call, as long as
        nothing else is begun between the two: what it wrote is not written again.
        """
        call = (getattr(method, "__name__", ""), *map(copy_json, ([*args], options)))
        begun = self._journal.begun
        self._unheard = [one for one in self._unheard if one.begun == begun]
        for unheard in self._unheard:
            if unheard.call == call:
                self._unheard.remove(unheard)
                result: T = unheard.result
                return result
        self._journal.begun += 1
        made: list[T] = []

        def step() -> None:
            counted.set(True)  # in a thread's own context
            made.append(method(*args, **options))

        try:
            await in_thread(step)
        except asyncio.CancelledError:
            if made:
                self._unheard.append(_Unheard(call, made[0], self._journal.begun))
            raise
        return made[0]


@dataclass(frozen=True, slots=True, eq=False)
class _Unheard:
    """A call whose caller was cancelled before it heard of the result, and when that was."""

    call: tuple[Any, ...]
    result: Any
    begun: int
