"""What waits for a store or a database, done in a thread, so that an event loop goes on."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(step: Callable[..., T], *args: Any, **options: Any) -> T:
    """
    Run a step in a thread; a cancellation waits for it, so none of it goes on unseen.

    Under an event loop that is not asyncio's it runs right here.
    """
    import asyncio  # noqa: PLC0415 - slow to import, and only whoever awaits needs it

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return step(*args, **options)
    task = asyncio.ensure_future(asyncio.to_thread(step, *args, **options))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        _ = task.cancelled() or task.exception()  # seen, or asyncio would say it was not
        raise
