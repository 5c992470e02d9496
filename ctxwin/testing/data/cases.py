"""A case: everything that decides the windows of a conversation, and code that repeats it."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from ctxwin.counting import TokenCounter
from ctxwin.manager import ContextManager
from ctxwin.testing.data.fakes import Folding, Sparing
from ctxwin.values.budget import Budget
from ctxwin.values.errors import BudgetError
from ctxwin.values.wire import Wire, copy_json


@dataclass(frozen=True, repr=False)
class Case:
    """
    A conversation, its budget and its counter.

    Attributes:
        history: the messages appended, oldest first.
        budget: the budget.
        counter: the counter.
        pinned: positions of the messages that are pinned when they are appended.
        spared: ids of messages whose units another plugin asks to protect (the first message
            appended has id 1).
        ask_every: `messages()` is called each time this many messages were appended, and at the
            end; with 0, only at the end.
        allow_question_edit: whether a declared edit may shorten the current question.
        prune_first: whether `prune_history()` is called before each `messages()`, even within the
            budget.
        folded: whether another strategy, earlier in the chain, writes summaries.
    """

    history: tuple[Wire, ...]
    budget: Budget
    counter: TokenCounter
    pinned: frozenset[int] = frozenset()
    spared: frozenset[int] = frozenset()
    ask_every: int = 0
    allow_question_edit: bool = False
    prune_first: bool = False
    folded: bool = False

    # Hypothesis prints it, and a history can be long; `snippet` shows everything.
    def __repr__(self) -> str:
        size = f"{len(self.history)} messages, {self.budget.max_tokens} tokens"
        return f"<Case of {size}, {self.counter!r}>"

    def manager(
        self, strategies: Sequence[object], counter: TokenCounter | None = None
    ) -> ContextManager:
        """Return an empty manager with these strategies, behind the plugins of the case."""
        return ContextManager(
            budget=self.budget,
            counter=counter or self.counter,
            strategies=[*self._plugins(), *strategies],
            allow_question_edit=self.allow_question_edit,
        )

    def _plugins(self) -> list[object]:
        return [
            *([Sparing(self.spared)] if self.spared else []),
            *([Folding()] if self.folded else []),
        ]

    def steps(self) -> Iterator[tuple[int, Wire, bool]]:
        """Yield each message with its position, and whether `messages()` is called after it."""
        for place, wire in enumerate(self.history):
            last = place == len(self.history) - 1
            yield (
                place,
                copy_json(wire),
                last or (self.ask_every > 0 and (place + 1) % self.ask_every == 0),
            )

    def play(self, ctx: ContextManager) -> None:
        """Append the messages to a manager, and call `messages()` where the case says so."""
        for place, wire, asks in self.steps():
            ctx.append(wire, pinned=place in self.pinned)
            if asks:
                with suppress(BudgetError):
                    if self.prune_first:
                        ctx.prune_history()
                    ctx.messages()

    def upto(self, length: int) -> "Case":
        """Return the case with only its first `length` messages."""
        kept = range(length)
        return replace(self, history=self.history[:length], pinned=self.pinned.intersection(kept))

    def snippet(self, strategies: Sequence[object]) -> str:
        """Return Python that repeats the case."""
        plugins = self._plugins()
        names = [_shown(strategy) for strategy in (*plugins, *strategies)]
        fakes = {type(fake).__name__ for fake in (self.counter, *plugins)}
        budget = f"Budget({self.budget.max_tokens}, low={self.budget.low})"
        options = [
            f"budget={budget}",
            f"counter={self.counter!r}",
            f"strategies=[{', '.join(names)}]",
        ]
        if self.allow_question_edit:
            options.append("allow_question_edit=True")
        lines = [
            "from ctxwin import Budget, ContextManager",
            f"from ctxwin.testing import {', '.join(sorted(fakes))}",
            "",
            f"ctx = ContextManager({', '.join(options)})",
        ]
        for place, wire, asks in self.steps():
            lines.append(f"ctx.append({wire!r}{', pinned=True' if place in self.pinned else ''})")
            if asks:
                lines += ["ctx.prune_history()"] * self.prune_first + ["ctx.messages()"]
        return "\n".join([*lines, "print(ctx.last_receipt)"])


def _shown(strategy: object) -> str:
    """Return a strategy as code: its own `repr`, or else its class called with `...`."""
    if isinstance(strategy, str) or type(strategy).__repr__ is not object.__repr__:
        return repr(strategy)
    return f"{type(strategy).__name__}({'...' if getattr(strategy, '__dict__', True) else ''})"
