"""
Counting large texts early, away from the event loop.

A long text takes the tokenizer a while, and an event loop that waits for it serves nobody. So what
a window is about to count is counted in a thread first, without the lock. Small texts are not worth
the trip. Under an event loop other than asyncio's nothing is done: those texts are counted when
they are needed, as in sync code.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from ctxwin.counting.costs import Costs
from ctxwin.log.history import LogMessage
from ctxwin.log.keeper import Keeper
from ctxwin.values.errors import CounterError
from ctxwin.values.message import Message

if TYPE_CHECKING:
    import asyncio

LARGE = 100_000  # characters in all: some milliseconds, about what a loop's callback may take

Uncounted: TypeAlias = Sequence[tuple[LogMessage, Message, Message | None]]
"""Messages of the log that were never counted, as messages, each result with its call."""


class Precount:
    """Counts what a conversation has not counted yet, in one thread at a time."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._task: asyncio.Task[bool] | None = None

    async def run(self) -> None:
        """Count in a thread if there is much; a counter's error is left to whoever counts next."""
        while uncounted := self._large():
            import asyncio  # noqa: PLC0415 - whoever awaits has an event loop, though not always this one

            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return
            running = self._task  # another caller's task counts what this one would count again
            if running is None or running.done() or running.get_loop() is not loop:
                running = self._task = loop.create_task(self._count(uncounted))
            if not await asyncio.shield(running):  # cancelling a caller loses no count
                return

    def _large(self) -> Uncounted:
        """Return what is uncounted, if it is large."""
        with self._keeper.lock:
            uncounted = self._keeper.conversation.uncounted()
        size = sum(_size(message.to_dict()) for _, message, _ in uncounted)
        return uncounted if size >= LARGE else []

    async def _count(self, uncounted: Uncounted) -> bool:
        """Return whether all could be counted."""
        import asyncio  # noqa: PLC0415 - as above

        conversation = self._keeper.conversation
        costs = conversation.costs
        counts = await asyncio.to_thread(_count, costs, uncounted)
        with self._keeper.lock:
            conversation.take_counts(counts, costs)
        return len(counts) == len(uncounted)


def _count(costs: Costs, uncounted: Uncounted) -> list[tuple[LogMessage, int]]:
    """Return what each message costs, up to the first that cannot be counted."""
    counts = []
    try:
        for logged, message, call in uncounted:
            counts.append((logged, costs.message(message, call)))
    except CounterError:
        pass
    return counts


def _size(value: Any) -> int:
    """Return how many characters of text a JSON value holds."""
    if isinstance(value, str):
        return len(value)
    items = value.values() if isinstance(value, Mapping) else value
    return sum(map(_size, items)) if isinstance(value, Mapping | list) else 0
