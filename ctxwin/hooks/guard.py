"""
The guard around hooks: what foreign code raises, and what it may not do while it runs.

A hook must not change the manager that calls it, so a mark in a context variable says whose hook is
running. A task that the hook starts inherits the mark; but the mark is switched off when the hook
returns, so a task that outlives the hook may use the manager.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

from ctxwin.values.errors import StrategyError, describe, logger

T = TypeVar("T")


class Mark:
    """Says that a hook of the owner is running; `owner` becomes None when the hook returns."""

    def __init__(self, owner: object) -> None:
        self.owner: object | None = owner


_inside: ContextVar[tuple[Mark, ...]] = ContextVar("ctxwin_inside_hook", default=())


def call_hook(owner: object, hook: Callable[..., T], *args: object, **arguments: object) -> T:
    """
    Call foreign code, which cannot change the owner while it runs.

    `KeyboardInterrupt`, `SystemExit` and every `Exception` pass through. Any other `BaseException`,
    such as a Rust panic, becomes a `RuntimeError`.
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
        # `reset` clears this context only; a task has a copy of it, with the same mark.
        mark.owner = None
        _inside.reset(token)


def log_failure(hook: str, plugin: str, error: Exception) -> None:
    """Log what a hook raised, where it changes nothing."""
    logger().error("%s of plugin %r failed", hook, plugin, exc_info=error)


def refuse_inside_hook(owner: object, method: str) -> None:
    """Raise `StrategyError` if the method was called from inside a hook of the owner."""
    marks = _inside.get()
    if marks and any(mark.owner is owner for mark in marks):
        raise StrategyError(
            f"{method}() was called from inside a hook: return a plan instead, "
            "or call it when the hook has returned"
        )
