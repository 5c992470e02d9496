"""
Counting large texts away from the event loop.

A long text takes the tokenizer a while, and an event loop that waits for it serves nobody. What a window is about to
count is therefore counted in a thread first, without the lock; small texts are not worth the way there. Under another
event loop than asyncio's nothing is done: the texts are then counted where they are asked for, as ever.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from ctxwin.conversation import Conversation
from ctxwin.costs import Costs
from ctxwin.errors import CounterError
from ctxwin.history import Entry, Slot
from ctxwin.messages import Message

LARGE = 100_000  # characters in all: some milliseconds, about what a loop's callback may take


async def count_ahead(conversation: Conversation, lock: AbstractContextManager[object]) -> None:
    """Count in a thread what was never counted, if it is large; a counter's error is left to whoever counts next."""
    with lock:
        uncounted = conversation.history.uncounted()
    if sum(_size(entry.message) for _, entry in uncounted) < LARGE:
        return
    import asyncio  # noqa: PLC0415 - whoever awaits has an event loop, though not always this one

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    counted = await asyncio.to_thread(_count, conversation.costs, uncounted)
    with lock:
        for entry, tokens in counted:
            if entry.tokens is None:
                entry.tokens = tokens


def _count(costs: Costs, uncounted: Sequence[tuple[Slot, Entry]]) -> list[tuple[Entry, int]]:
    """Return what each entry costs, up to the first that cannot be counted."""
    counted = []
    try:
        for slot, entry in uncounted:
            counted.append((entry, costs.message(entry.message, slot.call_of(entry))))
    except CounterError:
        pass
    return counted


def _size(message: Message) -> int:
    """Return about how many characters a counter will read of a message."""
    content = message.content
    texts = [content] if isinstance(content, str) else [part.get("text") for part in content or ()]
    payloads = [str(call) for call in message.tool_calls]
    return sum(len(text) for text in [*texts, *payloads] if isinstance(text, str))
