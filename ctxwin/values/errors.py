"""
Every error that ctxwin raises on purpose.

    CtxwinError
    +-- BudgetError(ValueError)            what must be kept does not fit
    +-- MessageError(ValueError)           a message is malformed, or not in the log
    +-- UnknownStrategyError(LookupError)  no strategy of that name is installed
    +-- StrategyError                      a plugin's fault
    +-- SummarizerError                    the summariser's fault
    +-- CounterError                       the counter's fault
    +-- RefusedError                       a plugin does not admit a request
    +-- StateError(ValueError)             a stored state cannot be restored
    +-- StoreError                         a store failed: unreachable, full, read-only or closed
        +-- RecordError                    what is stored cannot be read; names session and record
        +-- SessionDeletedError            the session was deleted, or expired, while it was open
        +-- StaleError                     others have written first; sessions merge, and hide it

All are raised before anything has changed. Bad configuration (a negative budget, a chain that names
a strategy twice) is a plain `ValueError` or `TypeError`, as everywhere in Python.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime
    from logging import Logger

    from ctxwin.values.message import Message
    from ctxwin.values.request import Request

LONGEST_QUOTE = 80  # characters of a value in the text of an error
LONGEST_REPORT = 200  # characters of what foreign code said


class CtxwinError(Exception):
    """The root of the tree."""


class BudgetError(CtxwinError, ValueError):
    """
    What must be kept costs more than the budget; the window is as it was before.

    Attributes:
        required_tokens: what the smallest possible window costs, tools and priming included.
        budget_tokens: what a window may cost.
        culprits: the most expensive of the messages that must be kept, most expensive first;
            `"tools"` stands for the tool schemas.
        advice: what would help here, one each, tried on a copy of the conversation; also what
            shortens a text that is too long. `()` if nothing was tried.
    """

    def __init__(
        self,
        required_tokens: int,
        budget_tokens: int,
        culprits: "Sequence[Message | Literal['tools']]" = (),
        advice: Sequence[str] = (),
    ) -> None:
        self.required_tokens = required_tokens
        self.budget_tokens = budget_tokens
        self.culprits = tuple(culprits)
        self.advice = tuple(advice)
        named = ", ".join(item if isinstance(item, str) else repr(item) for item in self.culprits)
        helps = f"; what would help: {'; or '.join(self.advice)}" if self.advice else ""
        super().__init__(
            f"what must be kept costs {required_tokens} tokens, the budget is {budget_tokens}; "
            f"the most expensive: {named or 'the priming of the reply'}{helps}"
        )

    # Pickle calls `type(self)(*self.args)`, and `args` holds the text alone.
    def __reduce__(self) -> "tuple[type[BudgetError], tuple[object, ...]]":
        return type(self), (self.required_tokens, self.budget_tokens, self.culprits, self.advice)


class MessageError(CtxwinError, ValueError):
    """A message is malformed (the text names the field), or is not in the log."""


class UnknownStrategyError(CtxwinError, LookupError):
    """No strategy of that name is installed; the text lists those that are."""


class StrategyError(CtxwinError):
    """
    A plugin's fault, named where it is known.

    The plugin cannot be loaded or registered, or its hook called a method that changes the manager.

    Attributes:
        strategy: the strategy's name, or `""` if it is not known.
    """

    def __init__(self, message: str, *, strategy: str = "") -> None:
        self.strategy = strategy
        super().__init__(message)


class SummarizerError(CtxwinError):
    """
    The summariser raised, or returned something that is not a summary.

    It is raised inside the strategy that asked for the summary.
    """


class CounterError(CtxwinError):
    """
    The counter raised, or returned something that is not a count.

    The messages stay in the log, uncounted.
    """


class RefusedError(CtxwinError):
    """
    A request is not admitted; nothing was sent, and nothing is held.

    A plugin raises `RefusedError(reason)` in `ctxwin_admit`; the core adds whose it is.

    Attributes:
        reason: why, for people.
        retry_at: when to try again, in UTC; None where time alone does not help.
        plugin: the name of the plugin; `""` until the core has named it.
        request: the request that was refused; None until the core has named it.
    """

    def __init__(
        self,
        reason: str,
        *,
        retry_at: "datetime | None" = None,
        plugin: str = "",
        request: "Request | None" = None,
    ) -> None:
        self.reason = reason
        self.retry_at = retry_at
        self.plugin = plugin
        self.request = request
        super().__init__(reason)

    def __reduce__(self) -> "tuple[object, ...]":
        state = {"retry_at": self.retry_at, "plugin": self.plugin, "request": self.request}
        return type(self), (self.reason,), state


class StateError(CtxwinError, ValueError):
    """A stored state cannot be restored; the text says what is wrong with it."""


class StoreError(CtxwinError):
    """
    A store of sessions failed: it is unreachable, full, read-only or closed.

    The text repeats what the store said.
    """


class RecordError(StoreError):
    """
    What is stored cannot be read; nothing was skipped or changed.

    It is corrupt, has an unknown schema, was encrypted with another key, or has expired.

    Attributes:
        session: the id of the session.
        number: the number of the record; None for the checkpoint.
        reason: what is wrong with it.
    """

    def __init__(self, session: str, number: int | None, reason: str) -> None:
        self.session = session
        self.number = number
        self.reason = reason
        what = "the checkpoint" if number is None else f"record {number}"
        super().__init__(f"{what} of session {quoted(session)} cannot be read: {reason}")

    def __reduce__(self) -> "tuple[type[RecordError], tuple[object, ...]]":
        return type(self), (self.session, self.number, self.reason)


class SessionDeletedError(StoreError):
    """The session was deleted, or expired, while it was open; open it again to start afresh."""


class StaleError(StoreError):
    """
    The log of a session is not where its caller expected: others have written to it meanwhile.

    Nothing was stored.
    """


def logger() -> "Logger":
    """Return the logger of ctxwin; `logging` is rarely needed, and slow to import."""
    import logging  # noqa: PLC0415 - as said

    return logging.getLogger("ctxwin")


def describe(error: BaseException) -> str:
    """
    Return an error's type and the beginning of its text.

    Only the type if the text itself cannot be had.
    """
    try:
        return _shortened(f"{type(error).__name__}: {error}", LONGEST_REPORT)
    except Exception:  # noqa: BLE001 - the error is foreign, and so is its __str__
        return type(error).__name__


def quoted(value: object) -> str:
    """
    Return a value as the text of an error shows it: its `repr`, at most 80 characters of it.

    Errors end up in logs, where no whole message and no whole record should stand.
    """
    try:
        return _shortened(repr(value), LONGEST_QUOTE)
    except Exception:  # noqa: BLE001 - a foreign __repr__, or an integer too long to print
        return f"<{type(value).__name__}>"


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
