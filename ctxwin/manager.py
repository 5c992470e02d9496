"""
`ContextManager`: a conversation, its strategies, and the drive of a prune.

Rules:

1. Every public method is atomic: it holds the lock, or works on a draft that is adopted whole or
not at all.
2. No lock is held while a hook or a summariser runs; where the conversation moved on meanwhile,
plans are replayed.
3. Nothing is decided by what a strategy was shown: drafts hold values of their own.
4. Adding never counts and never prunes; costs are settled when they are first asked for.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self

from ctxwin.counting import TokenCounter, input_tokens
from ctxwin.counting.costs import Costs, as_counter
from ctxwin.hooks.chain import chain_of
from ctxwin.hooks.guard import refuse_inside_hook
from ctxwin.log import state as states
from ctxwin.log.conversation import Conversation
from ctxwin.log.precount import Ahead
from ctxwin.meters import Meters, id_of
from ctxwin.pruning.driving import Steps, adrive, drive
from ctxwin.pruning.prune import prune
from ctxwin.pruning.tickets import Ticket, commit, prepare
from ctxwin.values.budget import Budget
from ctxwin.values.errors import CounterError
from ctxwin.values.message import Message, read_message, to_dicts
from ctxwin.values.receipt import Receipt
from ctxwin.values.wire import Content


class ContextManager(Meters):
    """
    Keeps a chat history inside a token budget.

    Args:
        max_tokens: the input budget, in tokens; or
        budget: its decomposed form. Exactly one of the two.
        strategies: names or objects, asked left to right; a missing `drop-oldest` is appended.
        counter: a `TokenCounter`, a `Callable[[str], int]`, or an encoding's or a model's name;
            beats `model`.
        model: whose counter to use; with neither, o200k_base as an estimate.
        tools: the tool schemas sent with each request; they count.
        allow_question_edit: whether a declared edit may shorten the current question.

    Raises:
        TypeError: neither or both of `max_tokens` and `budget`; a counter or tools of the wrong
            type.
        ValueError: a budget out of range; a chain that names a strategy twice, or `drop-oldest` not
            last.
        UnknownStrategyError: a strategy of that name is not installed.
        StrategyError: a strategy cannot be loaded or registered.
    """

    _conversation: Callable[..., Conversation] = Conversation
    _run: Callable[..., Awaitable[Any]] | None = (
        None  # runs the steps of an async prune; None: the event loop does
    )

    def __init__(
        self,
        max_tokens: int | None = None,
        *,
        budget: Budget | None = None,
        strategies: Sequence[str | object] = ("drop-oldest",),
        counter: TokenCounter | Callable[[str], int] | str | None = None,
        model: str | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        allow_question_edit: bool = False,
    ) -> None:
        if max_tokens is not None and budget is None:
            budget = Budget(max_tokens)
        elif budget is None or max_tokens is not None:
            raise TypeError("give exactly one of max_tokens and budget")
        costs = Costs(as_counter(counter, model), tools)
        state = self._conversation(budget, costs, allow_question_edit=allow_question_edit)
        super().__init__(state, chain_of(strategies))
        self._ahead = Ahead(self._state, self._lock)

    # Adding and taking back.

    def add_message(
        self,
        role: str,
        content: Content,
        *,
        name: str | None = None,
        tool_calls: Sequence[Mapping[str, Any]] | None = None,
        tool_call_id: str | None = None,
        pinned: bool = False,
        **extra: Any,
    ) -> Message:
        """
        Append one message; O(1), and it cannot fail for lack of room.

        Raises `MessageError`: it is malformed; nothing has changed.
        """
        optional = {"name": name, "tool_calls": tool_calls, "tool_call_id": tool_call_id}
        given = {key: value for key, value in optional.items() if value is not None}
        return self.append({"role": role, "content": content, **given, **extra}, pinned=pinned)

    def append(self, message: object, *, pinned: bool = False) -> Message:
        """
        Append one message as it is sent: a mapping, or an SDK object with `model_dump` (request
        fields only).

        Raises `MessageError`: it is malformed; nothing has changed.
        """
        wire = read_message(message)
        refuse_inside_hook(self, "append")
        with self._gate:
            return self._state.add(wire, pinned=pinned)

    def extend(self, messages: Iterable[object]) -> list[Message]:
        """Append messages, all or none. Raises `MessageError`: one is malformed; nothing has changed."""
        wires = [read_message(message) for message in messages]
        with self._changing("extend"):
            return self._state.extend(wires)

    def pin(self, message: Message | int) -> None:
        """
        Keep a message whatever happens, byte for byte; one that had left the window comes back.

        Raises `MessageError`: it is not in the log held in memory.
        """
        with self._changing("pin"):
            self._state.set_pinned(id_of(message), pinned=True)

    def unpin(self, message: Message | int) -> None:
        """
        Make a message ordinary; a system or developer message too.

        Raises `MessageError`: it is not in the log held in memory.
        """
        with self._changing("unpin"):
            self._state.set_pinned(id_of(message), pinned=False)

    def rewind(self, message: Message | int) -> tuple[Message, ...]:
        """
        Cut the log's tail from that message on, and return it, oldest first.

        A summary that tells of it is taken back too, and its other sources return to the window.

        Raises:
            MessageError: it is not in the log held in memory.
        """
        with self._changing("rewind"):
            return tuple(cut.clone() for cut in self._state.rewind(id_of(message)))

    def forget(self) -> tuple[Message, ...]:
        """Release from memory what has left the window, and return it, oldest first; the window does not change."""
        with self._changing("forget"):
            return tuple(self._state.forget())

    def messages(self) -> list[dict[str, Any]]:
        """
        Return the window, fresh objects: within the budget, cut first where it is over.

        Raises:
            BudgetError: what must be kept does not fit; nothing has changed.
            CounterError: a message cannot be counted.
        """
        refuse_inside_hook(self, "messages")
        while (window := self._fitting()) is None:
            drive(self._steps())
        return window

    async def amessages(self) -> list[dict[str, Any]]:
        """Return what `messages` returns, for async summarisers; large texts are counted in a thread (asyncio)."""
        refuse_inside_hook(self, "amessages")
        await self._ahead.count()
        while (window := self._fitting()) is None:
            await adrive(self._steps(), self._run)
        return window

    def prune_history(self) -> Receipt:
        """
        Prune now, down to the low mark; with nothing new since the last prune, do nothing.

        Raises `BudgetError`: what must be kept does not fit; nothing has changed.
        """
        refuse_inside_hook(self, "prune_history")
        return drive(self._steps())

    async def aprune_history(self) -> Receipt:
        """Do what `prune_history` does, in the manner of `amessages`."""
        refuse_inside_hook(self, "aprune_history")
        await self._ahead.count()
        return await adrive(self._steps(), self._run)

    def plan(self) -> Receipt:
        """Return the receipt that `prune_history` would, or raise what it would; changes nothing."""
        refuse_inside_hook(self, "plan")
        return drive(self._steps(dry=True))

    def prepare(self) -> Ticket | None:
        """
        Find out what to summarise ahead, away from the request path; calls no model, changes no
        window.

        A newer ticket supersedes an older one. None where a prune would ask for no summary.
        """
        refuse_inside_hook(self, "prepare")
        return prepare(self._state, self._chain, self._lock, owner=self)

    def commit(self, ticket: Ticket) -> Receipt:
        """
        Apply a finished ticket if the log still extends what it was made from; else change nothing.

        Returns:
            What it did; where it did nothing, `rejected` says why: `L16` for a stale ticket.

        Raises:
            ValueError: the ticket was not run.
        """
        refuse_inside_hook(self, "commit")
        return commit(self._state, self._chain, self._gate, ticket, owner=self)

    @property
    def tools(self) -> list[Any]:
        """The tool schemas sent with each request (copies); may be set."""
        return self._state.costs.tools

    @tools.setter
    def tools(self, tools: Sequence[Mapping[str, Any]]) -> None:
        with self._changing("tools"):
            self._state.set_tools(tools)

    # Strategies, usage, state.

    def register(
        self, strategy: object, *, name: str | None = None, before: str | None = None
    ) -> None:
        """
        Add a strategy object, by default before `drop-oldest`; atomic.

        Raises:
            ValueError: its name is taken, or it would stand behind `drop-oldest`.
            UnknownStrategyError: `before` names none of the chain.
            StrategyError: its hooks cannot work.
        """
        with self._changing("register"):
            self._chain = self._chain.adding(strategy, name, before)
            self._state.version += 1

    def observe(self, usage: object) -> None:
        """
        Learn from the real usage of the request that the latest `messages()` was sent as.

        Ignored if a cut happened since. An exact counter gains an offset of zero or more, an
        estimate a correction within 0.5 to 2; the window does not change, a higher cost may cause
        the next cut.

        Args:
            usage: a mapping or an SDK object with the input tokens, as the provider gives it.

        Raises:
            ValueError: it states no input tokens.
        """
        tokens = input_tokens(usage)
        with self._changing("observe"):
            self._state.observe(tokens)

    def to_dict(self) -> dict[str, Any]:
        """Return the state, JSON-ready and with a schema version; options are not part of it."""
        with self._lock:
            with suppress(CounterError):  # what cannot be counted can still be saved
                self._state.window.settle()
            return states.dump(self._state)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], *args: Any, **options: Any) -> Self:
        """
        Restore a manager that gives the same windows.

        Args:
            state: what `to_dict` returned.
            args: the budget, if it was given by position.
            options: the same options as the manager's that was saved.

        Raises:
            StateError: the state cannot be restored.
        """
        manager = cls(*args, **options)
        states.load(state, manager._state)
        return manager

    @contextmanager
    def _changing(self, method: str) -> Iterator[None]:
        """Hold the lock for a method that changes something; refuse it inside a hook."""
        refuse_inside_hook(self, method)
        with self._gate:
            yield

    def _fitting(self) -> list[dict[str, Any]] | None:
        """Return the window, or None where it must be cut first."""
        with self._lock:
            if self._state.over_budget:
                return None
            self._state.sent_tokens = self._state.total_tokens
            return to_dicts(
                [message for unit in self._state.window.units for message in unit.messages]
            )

    def _steps(self, *, dry: bool = False) -> Steps[Receipt]:
        return prune(self._state, self._chain, self._gate, owner=self, dry=dry)
