"""
The guard around hooks: what foreign code raises, and what it may not do while it runs.

Hooks must not change the manager that asks them. A task that a hook starts inherits the mark that
says so, but not its being active, so that it may use the manager once the hook has returned.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

from ctxwin.values.errors import StrategyError, describe

T = TypeVar("T")


class Mark:
    """Says that a hook of the owner runs; a task that the hook starts inherits the mark, but not its being active."""

    def __init__(self, owner: object) -> None:
        self.owner: object | None = owner


_inside: ContextVar[tuple[Mark, ...]] = ContextVar("ctxwin_inside_hook", default=())


def call_hook(owner: object, hook: Callable[..., T], *args: object, **arguments: object) -> T:
    """
    Call foreign code, marked so that it cannot change the owner that it is asked about.

    What it raises comes out as an `Exception`, a Rust panic (a `BaseException`) included; only
    `KeyboardInterrupt` and `SystemExit` pass through as they are.
    """
    mark = Mark(owner)
    token = _inside.set((*_inside.get(), mark))
    try:
        return hook(*args, **arguments)
    except (Exception, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise RuntimeError(describe(error)) from error
    finally:
        mark.owner = None
        _inside.reset(token)


def refuse_inside_hook(owner: object, method: str) -> None:
    """Raise `StrategyError` where a hook of the owner runs: it must not change what it is asked about."""
    marks = _inside.get()
    if marks and any(mark.owner is owner for mark in marks):
        raise StrategyError(
            f"{method}() was called from inside a hook: return a plan instead, the manager applies it"
        )
