"""
Receipts: what a prune did, unit by unit, and what was refused; previews: what a prune would do.

The caller reads them to log, to show or to test why a window looks as it does. A `Broken` law is
how a check says no. A `Rejection` in a receipt adds whose plan it was.
"""

from dataclasses import dataclass, replace

from ctxwin.values.message import Message


@dataclass(frozen=True, slots=True)
class Broken:
    """
    A law that is broken, and how.

    Attributes:
        law: the law's id, `L1` to `L17`; `L8` if foreign code failed; `""` if no law is concerned.
        reason: what is wrong.
    """

    law: str
    reason: str


@dataclass(frozen=True, slots=True)
class Action:
    """
    One thing that a prune did.

    Attributes:
        kind: `drop`, `replace` or `edit`; `release` (the unit was protected, but the rest did not
            fit); `unlearn` (what bills had taught is forgotten, because it alone left no room);
            `leave-out` (no window may hold it: an open tool exchange, or a result without its
            call); `keep` (it must stay, though the user message of its turn does not fit); or
            `bring-back` (it had been dropped, and begins a turn of which something must stay).
        strategy: who did it; `ctxwin` for the manager itself.
        reason: why.
        message_ids: the ids of the messages concerned, oldest first.
        freed_tokens: how many tokens it freed; negative for `bring-back`.
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
        strategy: the name of the strategy.
        law: the law it broke (`L1` ...); `L8` if the strategy failed; `""` if it declined, or was
            not asked because it rests after failures.
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
        target_tokens: the cost that the cut aimed at.
        actions: what was done, unit by unit.
        rejected: the plans that broke a law, and the strategies that failed.
        left_out: the messages that no window may hold.
        evicted: the messages that left the window.
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
        total_tokens: what the window costs with the draft.
        remaining_tokens: the budget minus `total_tokens`; may be negative.
        prunes: True if sending the draft would cut the window.
        fits: True if sending the draft would not raise `BudgetError`; None where that was not asked
            for (`check=False`).
    """

    tokens: int
    total_tokens: int
    remaining_tokens: int
    prunes: bool
    fits: bool | None
