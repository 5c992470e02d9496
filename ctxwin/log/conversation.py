"""
The state of one conversation, and the one place where it changes.

`Conversation.apply` takes a change (`changes.py`), checks it whole and then carries it out. A
change that cannot be carried out raises, and everything is as before. Others only make changes: a
prune works on a draft and ends in a `Cut`; a session stores a change and then applies it; loading a
state is a row of `Append`s and a `Cut`.

The methods are plain and quick: no locks, no hooks, no foreign code but the counter. Each change
bumps `version`, so that a prune can tell whether what it started from is still the present.

Beside changes, a few notes belong to this process alone and are no part of the conversation: which
window was sent last, which ticket is the newest, what was counted early. A follower is shown every
change once it is carried out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, ClassVar

from ctxwin.counting.costs import BOUNDS, UNLEARNT, Costs
from ctxwin.log import state as states
from ctxwin.log.changes import (
    Append,
    Change,
    Cut,
    Edited,
    Forget,
    Learn,
    Pin,
    Refit,
    Restore,
    Rewind,
    SetOptions,
    SetTools,
    Written,
)
from ctxwin.log.history import SAYS_NOTHING, History, LogMessage, LogUnit
from ctxwin.log.window import Window
from ctxwin.values.budget import Budget, billed_tokens
from ctxwin.values.errors import MessageError, StateError, logger, quoted
from ctxwin.values.message import Message, call_keys
from ctxwin.values.plan import Unit
from ctxwin.values.wire import RESULT_ROLES


class Conversation:
    """
    Log, window and figures of one conversation.

    Attributes:
        version: grows with every change.
        next_id: the id of the next message.
        request_gap: what `count_request` said of the window at the last cut, minus the sum of its
            messages.
        sent_tokens: what the window of the latest `messages()` was predicted to cost, until its
            bill is observed; None since a cut.
        settled: the version after the last prune: as long as it is the present one, another prune
            has nothing new to do.
        failures: strategy name -> (failures in a row, length of the log until which it rests).
        prepared: the key of the newest ticket; `""` before the first.
        follower: is shown each change once it is carried out; None where nobody follows.
        own_ids: the least id of the next message that a cut writes, where those must not be among
            the log's; 0 where they may.
    """

    def __init__(
        self,
        budget: Budget,
        costs: Costs,
        *,
        model: str | None = None,
        allow_question_edit: bool = False,
    ) -> None:
        self.budget = budget
        self.costs = costs
        self.model = model
        self.allow_question_edit = allow_question_edit
        self.version = 0
        self.history = History()
        self.window = Window(self.history, self.costs)
        self.next_id = 1
        self.request_gap = 0
        self.sent_tokens: int | None = None
        self.settled = -1
        self.failures: Mapping[str, tuple[int, int]] = {}
        self.prepared = ""
        self.follower: Callable[[Change], None] | None = None
        self.own_ids = 0
        self._sent_as = ""  # the id of the request that the window was sent as
        self._refused_tokens: int | None = None  # what the last window cost that did not fit
        self._warned = False  # of a bill beyond the bounds

    @property
    def total_tokens(self) -> int:
        """The cost of the window; counts what was never counted."""
        self.window.settle()
        return self.billed(self.window.total_tokens + self.request_gap)

    @property
    def over_budget(self) -> bool:
        """Whether the window must be cut before it can be sent; an empty one is no request."""
        return self.total_tokens > self.budget.max_tokens and bool(self.window.units)

    @property
    def was_cut(self) -> bool:
        """Whether the window lacks what a cut took, be that still in memory or not."""
        return bool(self.history.gone) or self.history.appended > len(self.history.messages)

    @property
    def nothing_new(self) -> bool:
        """Whether a prune would do what the last one did: nothing more."""
        return self.settled == self.version and not self.over_budget

    def billed(self, counted_tokens: int) -> int:
        """Return what a request costs that counts so many tokens, by what bills have taught."""
        return billed_tokens(counted_tokens, self.costs.hidden_tokens, self.budget.max_tokens)

    def learnt(self, real_tokens: int, request_id: str | None = None) -> Sequence[Learn]:
        """
        Return what a bill teaches: that of the latest request, or of the one with that id.

        Nothing since a cut or for an older request, and nothing where it is beyond the bounds: that
        is logged once.
        """
        if request_id is not None and request_id != self._sent_as:
            return ()
        predicted = self._refused_tokens if self.sent_tokens is None else self.sent_tokens
        if predicted is None:
            return ()
        figures = self.costs.learnt(predicted, real_tokens, self.budget.max_tokens)
        if figures is not None:
            return (Learn(*figures),)
        if not self._warned:
            self._warned = True
            logger().warning(
                "a bill of %d tokens for a request of about %d is not learnt: it must be another "
                "request's, or that of a whole run. Observe the usage of each request. (Further "
                "bills like it are not logged.)",
                real_tokens,
                predicted,
            )
        return ()

    def logged(self, message_id: int) -> LogMessage:
        """Return a message of the log; raises `MessageError` where the log in memory lacks it."""
        logged = self.history.messages.get(message_id)
        if logged is None:
            raise MessageError(f"no message {quoted(message_id)} in the log held in memory")
        return logged

    def to_dict(self) -> dict[str, Any]:
        """Return the state: JSON values only, nothing shared with the conversation."""
        return states.dump(self)

    def restored(self, state: Mapping[str, Any]) -> "Conversation":
        """
        Return a new conversation with the same options that is what a state says.

        Raises `StateError`: the state cannot be restored.
        """
        other = self._empty(self.budget, copy(self.costs))
        states.load(state, other)
        return other

    def copy(self) -> "Conversation":
        """Return an equal conversation that shares nothing with this one; counts nothing again."""
        return self.under(self.budget, copy(self.costs))

    def under(
        self,
        budget: Budget,
        costs: Costs,
        model: str | None = None,
        *,
        shared: dict[int, int] | None = None,
        own_ids: int = 0,
    ) -> "Conversation":
        """
        Return a copy with another budget and other costs.

        One counter counts nothing again; another one counts when that is needed.

        Args:
            budget: its budget.
            costs: its costs.
            model: its model; None for that of this one.
            shared: for its window's attribute of that name.
            own_ids: for its attribute of that name; 0 for that of this one.
        """
        other = self._empty(budget, costs)
        other.model = model or self.model
        other.window.shared, other.own_ids = shared, own_ids or self.own_ids
        same = costs.counter is self.costs.counter
        state = states.dump(self, counts=same)
        if not same and not costs.name:  # two counters without a name have nothing in common
            state["offset"], state["correction"] = UNLEARNT
            state["adjustment"], state["sent_tokens"] = 0, None
        states.load(state, other, counts=same, settle=False)
        return other

    def _empty(self, budget: Budget, costs: Costs) -> "Conversation":
        """Return a new conversation with the same other options."""
        edits = self.allow_question_edit
        return Conversation(budget, costs, model=self.model, allow_question_edit=edits)

    # What this process notes.

    def follow(self, follower: Callable[[Change], None]) -> None:
        """Show every change to a follower from now on."""
        self.follower = follower

    @property
    def next_written_id(self) -> int:
        """The id of the next message that a cut writes."""
        return max(self.next_id, self.own_ids)

    def send(self, request_id: str = "") -> list[Unit]:
        """Return the window, which is sent now: the next bill will be for it."""
        self.sent_tokens, self._sent_as = self.total_tokens, request_id
        return self.window.units

    def refuse(self) -> None:
        """Note that the window does not fit: whoever sends it all the same may observe its bill."""
        self._refused_tokens = self.total_tokens

    def supersede(self, ticket_key: str) -> None:
        """Record the newest ticket: an older one is stale from now on."""
        self.prepared = ticket_key

    def unsettle(self) -> None:
        """Have the next prune ask the strategies, though nothing else has changed."""
        self.settled = -1

    def skip_to(self, next_id: int) -> None:
        """Give no message an id below this one."""
        self.next_id = max(self.next_id, next_id)

    def uncounted(self) -> list[tuple[LogMessage, Message, Message | None]]:
        """Return what belongs in the window and was never counted, each result with its call."""
        return [one for one in self.history.uncounted() if not self.window.knows(one[0])]

    def take_counts(self, counts: Iterable[tuple[LogMessage, int]], costs: Costs) -> None:
        """
        Keep what messages were counted early, if the costs that counted them are those of now.

        Whoever counted one since got the same figure.
        """
        for logged, tokens in counts if costs is self.costs else ():
            logged.tokens = tokens
            self.window.share(logged)

    # Changes. Each method below checks its change first; from the first assignment on, nothing of
    # it can fail. That is what makes `apply` all or nothing.

    def apply(self, change: Change) -> list[Message]:
        """
        Carry a change out, or raise and change nothing.

        Returns:
            The message appended, the messages taken back by a rewind, or those that were forgotten.

        Raises:
            MessageError: it names a message that is not in the log held in memory.
            StateError: it contradicts the conversation, and nobody can have made it.
            CounterError: a message that it writes or edits cannot be counted.
        """
        carried_out = self._CARRY_OUT[type(change)](self, change)
        if self.follower is not None:
            self.follower(change)
        return carried_out

    def is_news(self, change: Change) -> bool:
        """Return whether a change is more than a note of this process: whether others must know."""
        if isinstance(change, Learn):
            return (change.hidden_tokens, change.scale) != self.costs.learnt_figures
        if isinstance(change, Cut):
            return self._rewrites(change) or change.failures != self.failures
        return not isinstance(change, SetTools | Forget | SetOptions)

    def _append(self, change: Append) -> list[Message]:
        if change.id < self.next_id:
            raise StateError(f"ids must ascend, {change.id} comes after {self.next_id - 1}")
        message = Message(change.id, change.message, change.pinned)
        pending = self.history.pending
        logged = self.history.append(message, change.tokens)
        if change.pinned and logged.unit.gone:  # a late result whose exchange had left unanswered
            self.history.restore(logged.unit)
        if pending is not None and self.history.open.get(pending.first) is pending:
            # A gap below zero was saved on messages of which these leave the window now.
            self.request_gap = max(0, self.request_gap)
        self.next_id = change.id + 1
        self.version += 1
        return [message]

    def _pin(self, change: Pin) -> list[Message]:
        written = self.window.find_written(change.id)
        if written is not None:
            pinned = replace(written.messages[0], pinned=change.pinned)
            self.window.show_written(written, pinned)
        else:
            logged = self.logged(change.id)
            logged.message = replace(logged.message, pinned=change.pinned)
            if change.pinned:  # it comes back as it was said, wherever it had gone
                self.history.bring_back(logged)
            if logged.edited is not None:
                logged.edited = replace(logged.edited, pinned=change.pinned)
            self.history.touch(logged.unit)
        self._changed()
        return []

    def _rewind(self, change: Rewind) -> list[Message]:
        self.logged(change.id)
        cut = self.history.rewind(change.id)
        for logged in cut:
            if not logged.unit.messages:
                self.window.take_out(logged.unit)
        for number in list(self.window.written):
            unit = self.window.find_written(number)
            sources = unit.messages[0].sources if unit is not None else ()
            if unit is not None and sources[-1] >= change.id:  # it tells of what was taken back
                self.window.show_written(unit, None)
                for source in self._in_memory(sources):
                    self.history.restore(source.unit)
        self._keep_what_is_now_newest()
        self._changed()
        return [logged.message for logged in cut]

    def _cut(self, change: Cut) -> list[Message]:
        named = [first for first in change.gone if not self._says_nothing(first)]
        gone = {first: self._droppable(first) for first in named}
        written = self._written(change.written)
        edits = [self._edit(edit, gone) for edit in change.edits]
        if change.request_gap and self.costs.sums_are_exact:
            raise StateError(
                f"sums are exact: no cut can have measured {quoted(change.request_gap)}"
            )
        rewrites, failures = self._rewrites(change), dict(change.failures)
        self.window.cut(gone, written)
        for logged, message, tokens in edits:
            logged.edited, logged.edited_tokens = message, tokens
            self.history.touch(logged.unit)
        after = max((message.id + 1 for message in written), default=0)
        if self.own_ids:
            self.own_ids = max(self.own_ids, after)
        else:
            self.skip_to(after)
        self.request_gap, self.failures = change.request_gap, failures
        if gone or written or edits:
            # The next bill is for a window that is no more.
            self.sent_tokens = self._refused_tokens = None
        if rewrites:
            self.version += 1
        if change.settled:
            self.settled = self.version
        return []

    def _learn(self, change: Learn) -> list[Message]:
        # Hidden tokens are held to their bounds where they are used: budgets may differ.
        if not BOUNDS[0] <= change.scale <= BOUNDS[1]:
            raise StateError(f"no bill can have taught {quoted(change)}")
        self.sent_tokens = self._refused_tokens = None  # one bill a request
        if self.is_news(change):
            self.costs.learn(change.hidden_tokens, change.scale)
            self.window.reprice()
            self._changed()
        return []

    def _set_tools(self, change: SetTools) -> list[Message]:
        self.costs.tools = change.tools
        self._changed()
        return []

    def _forget(self, change: Forget) -> list[Message]:
        return [logged.message for logged in self.history.forget(change.held)]

    def _restore(self, change: Restore) -> list[Message]:
        other = self.restored(change.state)
        self.history, self.window, self.costs = other.history, other.window, other.costs
        self.next_id, self.request_gap = other.next_id, other.request_gap
        self.sent_tokens, self.failures = other.sent_tokens, other.failures
        self.prepared = other.prepared
        self.version += 1
        self.settled = self.version if other.settled == other.version else -1
        return []

    def _refit(self, _: Refit) -> list[Message]:
        for gone in list(self.history.gone.values()):
            self.history.restore(gone)
        for logged in self.history.messages.values():
            if logged.edited is not None:
                logged.edited = None
                self.history.touch(logged.unit)
        for unit in [unit for unit in self.window.units if unit.written]:
            self.window.show_written(unit, None)
        self.costs.learn(*UNLEARNT)
        self.window.reprice()
        self.sent_tokens = self._refused_tokens = None
        self.failures = {}
        self._changed()
        return []

    def _set_options(self, change: SetOptions) -> list[Message]:
        self.budget, self.model = change.budget, change.model
        for logged in self.history.messages.values():
            logged.tokens = change.counts.get(logged.message.id)
            logged.unit.shown = None
            self.history.touch(logged.unit)
        self.costs = change.costs
        self.window = Window(self.history, self.costs)
        self._changed()
        return []

    _CARRY_OUT: ClassVar[dict[type, Callable[..., list[Message]]]] = {
        Append: _append,
        Pin: _pin,
        Rewind: _rewind,
        Cut: _cut,
        Learn: _learn,
        SetTools: _set_tools,
        Forget: _forget,
        Restore: _restore,
        Refit: _refit,
        SetOptions: _set_options,
    }

    def _changed(self) -> None:
        """Record a change other than an append: a gap measured before it no longer holds."""
        self.request_gap = 0
        self.version += 1

    def _rewrites(self, cut: Cut) -> bool:
        """Return whether a cut changes the window or its cost."""
        return bool(cut.gone or cut.written or cut.edits or cut.request_gap != self.request_gap)

    def _keep_what_is_now_newest(self) -> None:
        """Bring back the question and the newest unit: a cut may have dropped or edited them."""
        question, newest = self.history.question, self.history.newest
        if question is not None and (question.unit.gone or not self.allow_question_edit):
            self.history.bring_back(question)
        if newest is None or (question is not None and newest is question.unit):
            return  # the question alone; where it may be edited, a declared edit of it stays
        for logged in newest.messages:
            if logged.unit.gone or logged.message.role not in RESULT_ROLES:
                self.history.bring_back(logged)  # results of the newest unit may stay shortened

    def _in_memory(self, ids: Iterable[int]) -> list[LogMessage]:
        found = (self.history.messages.get(message_id) for message_id in ids)
        return [logged for logged in found if logged is not None]

    # Checks of a cut.

    def _says_nothing(self, first: int) -> bool:
        """Return whether a message says nothing: an older release had it in windows, and cut it."""
        logged = self.history.messages.get(first)
        return logged is not None and logged.unit.unfit == SAYS_NOTHING

    def _droppable(self, first: int) -> LogUnit | None:
        """Return the unit of the log that a cut names, None for a written one, or raise."""
        if first in self.window.written:
            return None
        unit = self.logged(first).unit
        if unit.first != first:
            raise StateError(f"message {first} is a part of the unit {unit.first}, and cannot go")
        question = self.history.question
        pending = unit.missing and first not in self.history.open
        kept = unit.pinned or pending or unit.unfit
        if kept or (question is not None and question.unit is unit):
            raise StateError(f"message {first} must be kept: no cut can have dropped it")
        return unit

    def _written(self, written: Sequence[Written]) -> dict[Message, int]:
        """Return what a cut writes, each with its cost, or raise."""
        found: dict[Message, int] = {}
        last = 0
        for one in written:
            message = Message(one.id, one.message, one.pinned, one.sources, one.source_hash)
            if one.id <= last or one.id in self.history.messages or one.id in self.window.written:
                raise StateError(f"id {one.id} of a written message is taken")
            sources = list(one.sources)
            if not sources or sources != sorted(set(sources)) or sources[-1] >= one.id:
                raise StateError(
                    f"written message {one.id} cannot stand for messages {quoted(sources)}"
                )
            if message.role in RESULT_ROLES or call_keys(message):
                raise StateError(f"no strategy can have written message {one.id}, {message!r}")
            found[message] = self.costs.message(message) if one.tokens is None else one.tokens
            last = one.id
        return found

    def _edit(
        self, edit: Edited, gone: Mapping[int, LogUnit | None]
    ) -> tuple[LogMessage, Message, int]:
        """Return the message that a cut edits, as what, and the cost of that; or raise."""
        logged = self.logged(edit.id)
        if logged.message.pinned or logged.unit.first in gone:
            raise StateError(f"message {edit.id} is pinned or leaves: no cut can have edited it")
        message = logged.message.with_content(edit.content)
        tokens = edit.tokens
        if tokens is None:
            tokens = self.costs.message(message, logged.unit.call_of(logged))
        return logged, message, tokens
