"""Clocks that run ahead, for whoever may not look at them: those of `time` and `datetime`, however imported."""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

AHEAD_SECONDS = 86_400 + 3_661.5  # a day, an hour, a minute, a second and a half: every field of a clock differs
CLOCKS = ("time", "monotonic", "perf_counter")
AHEAD = dt.timedelta(seconds=AHEAD_SECONDS)


class LaterDate(dt.date):
    """A date whose today is tomorrow."""

    @classmethod
    def today(cls) -> "LaterDate":
        """Return tomorrow's date."""
        return super().today() + AHEAD


class LaterDatetime(dt.datetime):
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


def _later(clock: Callable[[], Any], ahead: Any) -> Any:
    return clock() + ahead


@contextmanager
def ahead(names: dict[str, Any]) -> Iterator[None]:
    """
    Have the clocks run a day ahead.

    Args:
        names: the globals of the module whose clocks these are: what it imported by name is replaced there.
    """
    clocks: dict[str, Any] = {}
    for name in CLOCKS:
        clocks[name] = partial(_later, getattr(time, name), AHEAD_SECONDS)
        clocks[f"{name}_ns"] = partial(_later, getattr(time, f"{name}_ns"), int(AHEAD_SECONDS * 10**9))
    originals = [(getattr(time, name), later) for name, later in clocks.items()]
    originals += [(dt.datetime, LaterDatetime), (dt.date, LaterDate)]
    imported = {name: later for name, value in names.items() for original, later in originals if value is original}
    with (
        mock.patch.multiple(time, **clocks),
        mock.patch.multiple(dt, datetime=LaterDatetime, date=LaterDate),
        mock.patch.dict(names, imported),
    ):
        yield
