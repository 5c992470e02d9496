"""A case: everything that decides the windows of a conversation, and code that repeats it."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields, replace

from ctxwin.counting import TokenCounter
from ctxwin.manager import ContextManager
from ctxwin.testing.data.code import code_of
from ctxwin.testing.data.fakes import Folding, Protecting
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
        protected: ids of messages whose units another plugin asks to protect (the first message
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
    protected: frozenset[int] = frozenset()
    ask_every: int = 0
    allow_question_edit: bool = False
    prune_first: bool = False
    folded: bool = False

    # Hypothesis prints it, and a history can be long; `code` shows everything.
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
            strategies=[*(plugin for _, plugin in self.plugins()), *strategies],
            allow_question_edit=self.allow_question_edit,
        )

    def plugins(self) -> list[tuple[str, object]]:
        """Return the plugins of the case, with their names."""
        return [
            *([(Protecting.name, Protecting(self.protected))] if self.protected else []),
            *([(Folding.name, Folding())] if self.folded else []),
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

    def code(self) -> str:
        """Return Python that makes an equal case."""
        history = "".join(f"        {wire!r},\n" for wire in self.history)
        lines = [
            f"history=(\n{history}    )",
            f"budget=Budget({self.budget.max_tokens}, low={self.budget.low})",
            f"counter={code_of(self.counter) or repr(self.counter)}",
            *(
                f"{knob.name}={_ordered(getattr(self, knob.name))}"
                for knob in fields(self)
                if knob.default is not MISSING and getattr(self, knob.name) != knob.default
            ),
        ]
        return "".join(["Case(\n", *(f"    {line},\n" for line in lines), ")"])


def _ordered(value: object) -> str:
    """Return code for a knob; a set's order, which chance decides, is that of its members."""
    return f"frozenset({sorted(value)})" if isinstance(value, frozenset) else repr(value)
