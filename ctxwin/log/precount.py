"""
Counting large texts away from the event loop.

A long text takes the tokenizer a while, and an event loop that waits for it serves nobody. What a
window is about to count is therefore counted in a thread first, without the lock; small texts are
not worth the way there. Under another event loop than asyncio's nothing is done: the texts are then
counted where they are asked for, as ever.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ctxwin.counting.costs import Costs
from ctxwin.log.conversation import Conversation
from ctxwin.log.history import Entry
from ctxwin.values.errors import CounterError
from ctxwin.values.message import Message

if TYPE_CHECKING:
    import asyncio

LARGE = 100_000  # characters in all: some milliseconds, about what a loop's callback may take


class Ahead:
    """Counts what a conversation has not counted yet, one thread at a time."""

    def __init__(self, conversation: Conversation, lock: AbstractContextManager[object]) -> None:
        self._conversation = conversation
        self._lock = lock
        self._task: asyncio.Task[bool] | None = None

    async def count(self) -> None:
        """Count in a thread, if it is much; a counter's error is left to whoever counts next."""
        while uncounted := self._large():
            import asyncio

            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return
            running = self._task  # of another caller: it counts what this one would count again
            if running is None or running.done() or running.get_loop() is not loop:
                running = self._task = loop.create_task(self._count(uncounted))
            if not await asyncio.shield(
                running
            ):  # a caller that is cancelled loses nothing of what was counted
                return

    def _large(self) -> list[tuple[Entry, Message, Message | None]]:
        """Return what is uncounted, if it is large."""
        with self._lock:
            uncounted = self._conversation.history.uncounted()
        size = sum(_size(message.to_dict()) for _, message, _ in uncounted)
        return uncounted if size >= LARGE else []

    async def _count(self, uncounted: Sequence[tuple[Entry, Message, Message | None]]) -> bool:
        """Return whether all could be counted."""
        import asyncio

        counted = await asyncio.to_thread(_count, self._conversation.costs, uncounted)
        with self._lock:
            for entry, tokens in counted:  # whoever counted one meanwhile came to the same figure
                entry.tokens = tokens
        return len(counted) == len(uncounted)


def _count(
    costs: Costs, uncounted: Sequence[tuple[Entry, Message, Message | None]]
) -> list[tuple[Entry, int]]:
    """Return what each entry costs, up to the first that cannot be counted."""
    counted = []
    try:
        for entry, message, call in uncounted:
            counted.append((entry, costs.message(message, call)))
    except CounterError:
        pass
    return counted


def _size(value: Any) -> int:
    """Return how many characters of text a JSON value holds."""
    if isinstance(value, str):
        return len(value)
    items = (
        value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    )
    return sum(map(_size, items))
