"""Receipts."""

from dataclasses import dataclass, replace

from ctxwin.values.message import Message


@dataclass(frozen=True, slots=True)
class Broken:
    """
    A law that is broken, and how.

    Attributes:
        law: `L1` and so on; `L8` where foreign code failed; `""` where no law is concerned.
        reason: what is wrong.
    """

    law: str
    reason: str


@dataclass(frozen=True, slots=True)
class Action:
    """
    One thing that a prune did.

    Attributes:
        kind: `drop`, `replace`, `edit`; `release` (a unit that a plugin asked to spare had to go
            after all); or `leave-out` (no window may hold it: an open tool exchange, a result
            without its call).
        strategy: who did it; `ctxwin` for the manager itself.
        reason: why.
        message_ids: the messages concerned, oldest first.
        freed_tokens: what it freed.
    """

    kind: str
    strategy: str
    reason: str
    message_ids: tuple[int, ...]
    freed_tokens: int


@dataclass(frozen=True, slots=True)
class Rejection:
    """
    A plan that was not applied, or a strategy that failed.

    Attributes:
        strategy: whose it was.
        law: the law it broke (`L1` ...); `L8` where the strategy failed; `""` where it rests or
            declines.
        reason: what was wrong.
    """

    strategy: str
    law: str
    reason: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """
    What a prune did.

    Attributes:
        before_tokens: the cost of the window before.
        after_tokens: the cost of the window after.
        target_tokens: what the cut aimed at.
        actions: what was done, unit by unit.
        rejected: plans that broke a law, and strategies that failed.
        left_out: messages that no window may hold.
        evicted: messages that left the window.
    """

    before_tokens: int
    after_tokens: int
    target_tokens: int
    actions: tuple[Action, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    left_out: tuple[Message, ...] = ()
    evicted: tuple[Message, ...] = ()

    def clone(self) -> "Receipt":
        """Return an equal receipt that shares no message with this one."""
        left_out = tuple(message.clone() for message in self.left_out)
        return replace(
            self, left_out=left_out, evicted=tuple(message.clone() for message in self.evicted)
        )


@dataclass(frozen=True, slots=True)
class Preview:
    """
    What sending a draft would mean.

    Attributes:
        tokens: what the draft costs.
        total_tokens: the window with the draft.
        remaining_tokens: the budget minus that; may be negative.
        prunes: sending it would cut the window.
        fits: sending it would not raise `BudgetError`.
    """

    tokens: int
    total_tokens: int
    remaining_tokens: int
    prunes: bool
    fits: bool
