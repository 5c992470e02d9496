"""
Who keeps a conversation: in memory alone, or (a session's journal) in a store first.

A keeper is what a `ContextManager` is given. It owns the conversation and its lock, and every
change goes through `change`. A change is passed as a function that works it out, because others may
write to the same conversation: what they wrote is taken in first, and the change is worked out
again on the conversation as it is then.
"""

from collections.abc import Callable, Sequence
from threading import RLock
from typing import Any, Protocol, TypeAlias, TypeVar

from ctxwin.log.changes import Change
from ctxwin.log.conversation import Conversation
from ctxwin.values.message import Message

T = TypeVar("T")

WorkOut: TypeAlias = Callable[[Conversation], Sequence[Change]]
"""Works out what to change, on the conversation as it is; may be called again. No change: `()`."""


class Keeper(Protocol):
    """
    Keeps one conversation.

    Attributes:
        conversation: the conversation.
        lock: held by whoever reads it; nothing changes while it is held.
        releases: whether what leaves the window is released from memory at once.
    """

    conversation: Conversation
    lock: RLock
    releases: bool

    def log(self) -> tuple[Message, ...]:
        """Return every message of the log that it keeps, oldest first; copies."""
        ...

    def change(self, work_out: WorkOut) -> list[Message]:
        """
        Work changes out and apply them, all or none, with no other change in between.

        Returns what applying them returned, one after the other.
        """
        ...

    def whole(self) -> Conversation:
        """Return a copy of the conversation with every message of the log that it keeps."""
        ...

    async def run(self, step: Callable[..., T], *args: Any) -> T:
        """Run a step of something that may end in a change, without blocking an event loop."""
        ...


class InMemory:
    """Keeps a conversation in memory alone."""

    releases = False

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.lock = RLock()

    def log(self) -> tuple[Message, ...]:
        """Return every message of the log that is held, oldest first; copies."""
        with self.lock:
            logged = self.conversation.history.messages.values()
            return tuple([one.message.clone() for one in logged])

    def change(self, work_out: WorkOut) -> list[Message]:
        """Apply the changes. Each of a row is one that cannot fail once it was worked out."""
        with self.lock:
            changes, apply = work_out(self.conversation), self.conversation.apply
            if len(changes) == 1:
                return apply(changes[0])
            return [message for change in changes for message in apply(change)]

    def whole(self) -> Conversation:
        """Return a copy of the conversation."""
        with self.lock:
            return self.conversation.copy()

    async def run(self, step: Callable[..., T], *args: Any) -> T:
        """Run a step here: nothing of it waits."""
        return step(*args)
