"""
What passes between the manager and a strategy: values only, frozen, and never live state.

A strategy gets a `PruneRequest` with `Unit`s and answers with a `Plan` (or, to have text written by
a model first, with a generator that yields `Summarize`). What came of a prune is told in a
`Receipt`.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from ctxwin.values.message import Message
from ctxwin.values.wire import Content

Summarizer: TypeAlias = Callable[[Sequence[Message], str | None, int], str | Awaitable[str]]
"""`(messages, previous_summary, max_tokens) -> text`, sync or async; the caller's own."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unit:
    """
    What is kept or dropped whole: one message, or a tool exchange (the calls with all their
    results).

    Attributes:
        messages: one message; or the message with the calls, then its results.
        tokens: what the unit costs.
        message_tokens: the same, one figure a message.
        role: the role of the first message.
        protected: the unit must be kept, or a plugin asked to spare it.
        index: its place in `PruneRequest.units`, 0 being the oldest.
    """

    messages: tuple[Message, ...]
    tokens: int
    message_tokens: tuple[int, ...]
    role: str
    protected: bool = False
    index: int = 0

    @property
    def first(self) -> int:
        """The id of its first message, which names it."""
        return self.messages[0].id

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of its messages."""
        return tuple([message.id for message in self.messages])

    @property
    def written(self) -> bool:
        """Whether a strategy wrote it (a summary), so that it is not of the log."""
        return bool(self.messages[0].sources)

    @property
    def pinned(self) -> bool:
        """Whether one of its messages is pinned, which keeps all of them."""
        messages = self.messages
        return messages[0].pinned or (
            len(messages) > 1 and any(message.pinned for message in messages)
        )

    @property
    def place(self) -> tuple[int, bool, int]:
        """Where it stands in a window: at its first message, a written unit at (and before) its oldest source."""
        first = self.messages[0]
        return first.sources[0] if first.sources else first.id, not first.sources, first.id


def make_unit(messages: Sequence[Message], message_tokens: Sequence[int]) -> Unit:
    """Make a unit of messages and what each of them costs."""
    return Unit(tuple(messages), sum(message_tokens), tuple(message_tokens), messages[0].role)


def message_tokens(units: Iterable[Unit]) -> dict[int, int]:
    """Return what the messages of units cost, by id."""
    pairs = (zip(unit.ids, unit.message_tokens, strict=True) for unit in units)
    return {message_id: tokens for unit in pairs for message_id, tokens in unit}


@dataclass(frozen=True, slots=True)
class PruneRequest:
    """
    What a strategy is shown: copies, so that changing them changes nothing.

    Attributes:
        units: the window, oldest first.
        droppable: the units that a plan may drop or replace, oldest first.
        editable: the messages whose content a plan may change.
        used_tokens: the cost of the window, tools and priming included.
        max_tokens: the budget.
        target_tokens: what the window should cost after the prune.
        excess_tokens: `used_tokens - target_tokens`, what there is to free; above zero whenever a
            strategy is asked.
        previous_summary: the text of the newest written message in the window, or None.
        count: returns the tokens of a text.
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
    """A step of a plan: one message gets other content."""

    message: Message
    content: Content
    reason: str


Step: TypeAlias = Drop | Replace | Edit


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What a strategy proposes; the manager checks it against the laws before anything changes.

    Plans are made with `Plan.drop`, `Plan.replace` and `Plan.edit`, and combine with `+`. A wrong
    type raises `TypeError` where the plan is made.
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
        """Propose that one written message, a summary of the units, stands in their place."""
        return cls(
            (Replace(_all(units, Unit), _is(content, str), _is(role, str), _is(reason, str)),)
        )

    @classmethod
    def edit(cls, message: Message, content: Content, reason: str = "") -> "Plan":
        """Propose other content for a message."""
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
    An effect: yielded by a generator strategy, answered with the text of a summary.

    Attributes:
        summarizer: the caller's callable; an async one needs `amessages()` or `aprune_history()`.
        messages: what to summarise, oldest first.
        previous_summary: a summary to carry on from, or None.
        max_tokens: how long the summary may be, in tokens.
        max_source_tokens: how much the summariser takes at once, the previous summary included; a
            larger source is folded in chunks, each with the summary of those before it. None:
                everything at once.

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
                f"max_source_tokens ({self.max_source_tokens}) must be above max_tokens ({self.max_tokens}): "
                "a chunk comes with the summary of those before it"
            )
