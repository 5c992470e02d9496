"""Clocks that run ahead, for whoever may not look at them: those of `time` and `datetime`, however imported."""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from typing import Any
from unittest import mock

AHEAD_SECONDS = (
    86_400 + 3_661.5
)  # a day, an hour, a minute, a second and a half: every field of a clock differs
STEP_SECONDS = 60  # and whoever measures how long something takes finds that it takes minutes
CLOCKS = ("time", "monotonic", "perf_counter")
CALENDARS = ("localtime", "gmtime", "ctime", "asctime")
AHEAD = dt.timedelta(seconds=AHEAD_SECONDS)

_now = time.time


class _Kind(type):
    """Tells dates as those are told that it stands in for: what was made before is one too."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.__mro__[1])


class LaterDate(dt.date, metaclass=_Kind):
    """A date whose today is tomorrow."""

    @classmethod
    def today(cls) -> "LaterDate":
        """Return tomorrow's date."""
        return super().today() + AHEAD


class LaterDatetime(dt.datetime, metaclass=_Kind):
    """A moment whose now is a day ahead."""

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
    """Read a calendar that tells of now where no other moment is given."""
    seconds = _now() + AHEAD_SECONDS
    return read(*(given or ((time.localtime(seconds),) if read is time.asctime else (seconds,))))


def _formatted(read: Callable[..., str], layout: str, *given: Any) -> str:
    return read(layout, *(given or (time.localtime(_now() + AHEAD_SECONDS),)))


@contextmanager
def ahead(*places: dict[str, Any]) -> Iterator[None]:
    """
    Have the clocks run a day ahead.

    Args:
        places: the globals of the module whose clocks these are, and the attributes of an object:
            what they hold by name is replaced there.
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
