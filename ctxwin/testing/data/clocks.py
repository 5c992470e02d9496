"""
Clocks that run ahead, to catch strategies that read the time.

They stand in for those of `time` and `datetime`, however a strategy imported them.
"""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from typing import Any
from unittest import mock

# A day, an hour, a minute, a second and a half: every field of a clock differs.
AHEAD_SECONDS = 86_400 + 3_661.5
STEP_SECONDS = 60  # between two looks at a clock, so that anything that is timed takes minutes
CLOCKS = ("time", "monotonic", "perf_counter")
CALENDARS = ("localtime", "gmtime", "ctime", "asctime")
AHEAD = dt.timedelta(seconds=AHEAD_SECONDS)

_now = time.time


class _Kind(type):
    """Makes `isinstance` accept every date, also those made before the stand-in was there."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.__mro__[1])


class LaterDate(dt.date, metaclass=_Kind):
    """A date that takes tomorrow for today."""

    @classmethod
    def today(cls) -> "LaterDate":
        """Return tomorrow's date."""
        return super().today() + AHEAD


class LaterDatetime(dt.datetime, metaclass=_Kind):
    """A datetime whose `now` is a day ahead."""

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> "LaterDatetime":
        """Return this time tomorrow."""
        return super().now(tz) + AHEAD

    @classmethod
    def today(cls) -> "LaterDatetime":
        """Return this time tomorrow."""
        return super().today() + AHEAD

    @classmethod
    def utcnow(cls) -> "LaterDatetime":
        """Return this time tomorrow."""
        return cls.now(dt.UTC).replace(tzinfo=None)


def _later(clock: Callable[[], Any], steps: Iterator[int], unit: int) -> Any:
    now = clock()
    return now + type(now)((AHEAD_SECONDS + STEP_SECONDS * next(steps)) * unit)


def _calendar(read: Callable[..., Any], *given: Any) -> Any:
    """Read a calendar function for tomorrow, unless it was given another moment."""
    seconds = _now() + AHEAD_SECONDS
    return read(*(given or ((time.localtime(seconds),) if read is time.asctime else (seconds,))))


def _formatted(read: Callable[..., str], layout: str, *given: Any) -> str:
    return read(layout, *(given or (time.localtime(_now() + AHEAD_SECONDS),)))


@contextmanager
def ahead(*places: dict[str, Any]) -> Iterator[None]:
    """
    Let all clocks run a day ahead.

    Args:
        places: the globals of a module, or the attributes of an object. Clocks that they hold under
            a name of their own (`from time import time`) are replaced there too.
    """
    clocks: dict[str, Any] = {}
    steps = count()
    for name in CLOCKS:
        clocks[name] = partial(_later, getattr(time, name), steps, 1)
        clocks[f"{name}_ns"] = partial(_later, getattr(time, f"{name}_ns"), steps, 10**9)
    clocks |= {name: partial(_calendar, getattr(time, name)) for name in CALENDARS}
    clocks["strftime"] = partial(_formatted, time.strftime)
    originals = [(getattr(time, name), later) for name, later in clocks.items()]
    originals += [(dt.datetime, LaterDatetime), (dt.date, LaterDate)]
    with ExitStack() as stack:
        for names in places:
            held = [
                (name, *pair)
                for name, value in names.items()
                for pair in originals
                if value is pair[0]
            ]
            for name, original, later in held:
                names[name] = later
                stack.callback(names.__setitem__, name, original)
        stack.enter_context(mock.patch.multiple(time, **clocks))
        stack.enter_context(mock.patch.multiple(dt, datetime=LaterDatetime, date=LaterDate))
        yield
