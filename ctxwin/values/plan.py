"""
What the manager shows a strategy, and what the strategy proposes: frozen values, never live state.

A strategy gets a `PruneRequest` with the window as `Unit`s, and returns a `Plan` whose steps drop
units, replace units by a summary, or edit a message. If a model has to write text first, it returns
a generator that yields `Summarize` and ends with the plan.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from ctxwin.values.message import Message
from ctxwin.values.wire import Content

Summarizer: TypeAlias = Callable[[Sequence[Message], str | None, int], str | Awaitable[str]]
"""The caller's function `(messages, previous_summary, max_tokens) -> text`, sync or async."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unit:
    """
    What is kept or dropped whole: one message, or a tool exchange.

    Attributes:
        messages: one message; or, for an exchange, the message with the calls, then all results.
        tokens: what the unit costs.
        message_tokens: what each message costs, in the order of `messages`.
        role: the role of the first message.
        protected: True if the unit must be kept, or if a plugin asked to protect it.
        index: its position in `PruneRequest.units`; 0 is the oldest.
    """

    messages: tuple[Message, ...]
    tokens: int
    message_tokens: tuple[int, ...]
    role: str
    protected: bool = False
    index: int = 0

    @property
    def first(self) -> int:
        """The id of its first message, by which the unit is known."""
        return self.messages[0].id

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of its messages."""
        return tuple([message.id for message in self.messages])

    @property
    def written(self) -> bool:
        """Whether a strategy wrote it (a summary), so that it is not in the log."""
        return bool(self.messages[0].sources)

    @property
    def pinned(self) -> bool:
        """Whether any of its messages is pinned; one pin keeps the whole unit."""
        messages = self.messages
        return messages[0].pinned or (
            len(messages) > 1 and any(message.pinned for message in messages)
        )

    @property
    def place(self) -> tuple[int, bool, int]:
        """
        The key that sorts units in a window.

        A unit of the log stands at its first message. A written unit stands at its oldest source.
        """
        # False sorts before True: a written unit precedes a unit of the log with the same id.
        first = self.messages[0]
        return first.sources[0] if first.sources else first.id, not first.sources, first.id


def make_unit(messages: Sequence[Message], message_tokens: Sequence[int]) -> Unit:
    """Make a unit from messages and the cost of each."""
    return Unit(tuple(messages), sum(message_tokens), tuple(message_tokens), messages[0].role)


def message_tokens(units: Iterable[Unit]) -> dict[int, int]:
    """Return the cost of each message of the units, by message id."""
    pairs = (zip(unit.ids, unit.message_tokens, strict=True) for unit in units)
    return {message_id: tokens for unit in pairs for message_id, tokens in unit}


@dataclass(frozen=True, slots=True)
class PruneRequest:
    """
    What a strategy is shown; all copies, so changing them changes nothing.

    Attributes:
        units: the window, oldest first.
        droppable: the units that a plan may drop or replace, oldest first.
        editable: the messages whose content a plan may change.
        used_tokens: the cost of the window, tools and priming included.
        max_tokens: the budget.
        target_tokens: what the window should cost after the prune.
        excess_tokens: how many tokens to free, `used_tokens - target_tokens`; above zero whenever
            a strategy is asked.
        previous_summary: the text of the newest summary in the window, or None.
        count: a function that returns how many tokens a text costs.
    """

    units: tuple[Unit, ...]
    droppable: tuple[Unit, ...]
    editable: tuple[Message, ...]
    used_tokens: int
    max_tokens: int
    target_tokens: int
    excess_tokens: int
    previous_summary: str | None
    count: Callable[[str], int] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Drop:
    """A step of a plan: units leave the window."""

    units: tuple[Unit, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Replace:
    """A step of a plan: one written message takes the place of units."""

    units: tuple[Unit, ...]
    content: str
    role: str
    reason: str


@dataclass(frozen=True, slots=True)
class Edit:
    """A step of a plan: one message gets new content."""

    message: Message
    content: Content
    reason: str


Step: TypeAlias = Drop | Replace | Edit


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What a strategy proposes; the manager checks it against the laws before anything changes.

    Make plans with `Plan.drop`, `Plan.replace` and `Plan.edit`, and combine them with `+`:

        Plan.drop(request.droppable[:2], "old") + Plan.edit(message, "short", "too long")

    A wrong type raises `TypeError` right there, in the strategy.
    """

    steps: tuple[Step, ...] = ()

    @classmethod
    def drop(cls, units: Iterable[Unit], reason: str = "") -> "Plan":
        """Propose that the units leave the window."""
        return cls((Drop(_all(units, Unit), _is(reason, str)),))

    @classmethod
    def replace(
        cls, units: Iterable[Unit], content: str, role: str = "user", reason: str = ""
    ) -> "Plan":
        """Propose that one message, a summary of the units, takes their place."""
        return cls(
            (Replace(_all(units, Unit), _is(content, str), _is(role, str), _is(reason, str)),)
        )

    @classmethod
    def edit(cls, message: Message, content: Content, reason: str = "") -> "Plan":
        """Propose new content for a message."""
        return cls((Edit(_is(message, Message), content, _is(reason, str)),))

    def __add__(self, other: object) -> "Plan":
        if not isinstance(other, Plan):
            return NotImplemented
        return Plan(self.steps + other.steps)


def _is(value: object, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def _all(values: Iterable[object], kind: type[T]) -> tuple[T, ...]:
    return tuple(_is(value, kind) for value in values)


@dataclass(frozen=True, slots=True)
class Summarize:
    """
    An effect: a generator strategy yields it, and is sent the text of a summary.

    Attributes:
        summarizer: the caller's function; an async one needs `amessages()` or `aprune_history()`.
        messages: what to summarise, oldest first.
        previous_summary: a summary to continue from, or None.
        max_tokens: how long the summary may be, in tokens.
        max_source_tokens: how much the summariser can read at once, in tokens, the previous summary
            included. A larger source is folded: it is read in chunks, each together with the
            summary of the chunks before it. None reads everything at once.

    Raises:
        TypeError: the summariser cannot be called.
        ValueError: there is nothing to summarise, or no room for it.
    """

    summarizer: Summarizer
    messages: tuple[Message, ...]
    previous_summary: str | None = None
    max_tokens: int = field(kw_only=True)
    max_source_tokens: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", _all(self.messages, Message))
        if not callable(self.summarizer):
            raise TypeError(f"summarizer must be callable, not {type(self.summarizer).__name__}")
        if not self.messages or self.max_tokens < 1:
            raise ValueError("Summarize needs at least one message and max_tokens of at least 1")
        if self.max_source_tokens is not None and self.max_source_tokens <= self.max_tokens:
            raise ValueError(
                f"max_source_tokens ({self.max_source_tokens}) must be above max_tokens "
                f"({self.max_tokens}): each chunk is read with the summary of the chunks before it"
            )
