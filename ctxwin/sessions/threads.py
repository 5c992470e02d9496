"""What waits for a store, done in a thread, so that an event loop goes on."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(step: Callable[..., T], *args: Any, **options: Any) -> T:
    """Run a step in a thread; a cancellation waits for it, so none of it goes on unseen."""
    task = asyncio.ensure_future(asyncio.to_thread(step, *args, **options))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        _ = task.cancelled() or task.exception()  # seen, or asyncio would say it was not
        raise
