"""How much work a call does: lines of Python run and text copied, whatever the clock says."""

import gc
import sys
from collections.abc import Callable
from typing import Any

CHARACTERS = 64  # copying so many counts as a line


def lines_run(function: Callable[[], object]) -> int:
    """Return how many lines of Python a call runs."""
    return _traced(function, lambda frame: 0)


def work_done(function: Callable[[], object]) -> int:
    """
    Return how many lines of Python a call runs, and a line more for 64 characters of new text.

    Lines alone miss a loop that copies a long text each time. Text is new where a variable of a
    running function holds another string than on the line before.
    """
    held: dict[tuple[int, str], object] = {}

    def copied(frame: Any) -> int:
        size = 0
        for name, value in frame.f_locals.items():
            if isinstance(value, str | list | tuple) and held.get((id(frame), name)) is not value:
                held[id(frame), name] = value
                size += len(value) // CHARACTERS
        return size

    return _traced(function, copied)


def _traced(function: Callable[[], object], weigh: Callable[[Any], int]) -> int:
    count = 0

    def trace(frame: Any, event: str, _: object) -> Any:
        nonlocal count
        if event == "line":
            count += 1 + weigh(frame)
        return trace

    before = sys.gettrace()
    collects = gc.isenabled()
    gc.disable()  # Hypothesis hears of each collection, and its lines would count
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
        if collects:
            gc.enable()
    return count


class Text(str):
    """A text that counts the characters which are copied out of it, and out of the copies."""

    __slots__ = ()
    copied = 0

    def __getitem__(self, index: Any) -> "Text":
        part = Text(super().__getitem__(index))
        Text.copied += len(part)
        return part
