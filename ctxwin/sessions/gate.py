"""
The gate of a session: one writer at a time, and readers that never wait for a store.

Whoever changes something holds the gate, which is two locks: one against other writers, and the
manager's own, which
readers (the meters, `messages()` while all fits) take too. While a store is asked, the second is
let go: what readers see cannot change meanwhile, for no other writer can come between.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from types import TracebackType
from typing import Any


class Gate:
    """
    A lock for writers.

    Attributes:
        refuses_loops: whether waiting for a store is refused where an event loop runs.
    """

    def __init__(self, state: Any, *, refuses_loops: bool) -> None:
        self.refuses_loops = refuses_loops
        self._writing = RLock()
        self._state = state

    def __enter__(self) -> None:
        self._writing.acquire()
        self._state.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._state.release()
        self._writing.release()

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Let readers go on while the holder waits for a store. Raises `RuntimeError`: an event loop would wait too."""
        if self.refuses_loops and _loop_runs():
            raise RuntimeError(
                "this session was opened by aopen(), and here an event loop would wait for the store: "
                "await the method of the same name with an a in front"
            )
        self._state.release()
        try:
            yield
        finally:
            self._state.acquire()


def _loop_runs() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
