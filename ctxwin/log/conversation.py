"""
The state of one conversation, and every way in which it may change.

Methods here are plain and quick: no locks, no hooks, no foreign code but the counter. `manager.py`
adds those. Each change bumps `version`, so that a prune can tell whether its snapshot is still the
present.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ctxwin.counting.costs import Costs
from ctxwin.laws import laws
from ctxwin.log.history import Entry, History, Slot
from ctxwin.log.window import Window
from ctxwin.pruning.breaker import Breaker
from ctxwin.pruning.draft import CORE, Draft, Snapshot
from ctxwin.values.budget import Budget
from ctxwin.values.errors import BudgetError, MessageError
from ctxwin.values.message import Message
from ctxwin.values.receipt import Action, Receipt
from ctxwin.values.wire import RESULT_ROLES, SYSTEM_ROLES, Wire


class Conversation:
    """
    Log, window and figures of one conversation.

    Attributes:
        version: grows with every change.
        next_id: the id of the next message.
        adjustment: what `count_request` said of the window at the last cut, minus the sum of its
            messages.
        sent_tokens: what the window of the latest `messages()` was predicted to cost; None since a
            cut.
        settled: the version after the last prune: while it is the present one, a prune has nothing
            new to do.
        breaker: which strategies rest.
        prepared: the key of the newest ticket; `""` before the first.
    """

    def __init__(self, budget: Budget, costs: Costs, *, allow_question_edit: bool = False) -> None:
        self.budget = budget
        self.costs = costs
        self.allow_question_edit = allow_question_edit
        self.version = 0
        self.last_receipt: Receipt | None = None
        self.clear()

    def clear(self) -> None:
        """Begin anew, with nothing in the log."""
        self.history = History()
        self.window = Window(self.history, self.costs)
        self.next_id = 1
        self.adjustment = 0
        self.sent_tokens: int | None = None
        self.settled = -1
        self.breaker = Breaker()
        self.prepared = ""

    @property
    def total_tokens(self) -> int:
        """The cost of the window; counts what was never counted."""
        self.window.settle()
        return self.window.total_tokens + self.adjustment

    @property
    def over_budget(self) -> bool:
        """Whether the window must be cut before it can be sent; an empty one is no request."""
        return self.total_tokens > self.budget.max_tokens and bool(self.window.units)

    @property
    def nothing_new(self) -> bool:
        """Whether a prune would do what the last one did: nothing more."""
        return self.settled == self.version and not self.over_budget

    def add(self, wire: Wire, *, pinned: bool) -> Message:
        """Append a message; system and developer messages are pinned from the start."""
        entry, newest = self._append(wire, pinned=pinned)
        if newest is not None:
            self._bring_back_unit(newest)
        self.version += 1
        return entry.message

    def extend(self, wires: Sequence[Wire]) -> list[Message]:
        """Append messages."""
        return [self.add(wire, pinned=False) for wire in wires]

    def set_pinned(self, message_id: int, *, pinned: bool) -> None:
        """Pin or unpin; a pinned message comes back into the window as it was, wherever it had gone."""
        written = self.window.find_written(message_id)
        if written is not None:
            self.window.show_written(written, replace(written.messages[0], pinned=pinned))
        else:
            entry = self.entry(message_id)
            entry.message = replace(entry.message, pinned=pinned)
            if pinned:
                self._bring_back(entry)
            if entry.edited is not None:
                entry.edited = replace(entry.edited, pinned=pinned)
            self.history.touch(entry.slot)
        self._changed()

    def entry(self, message_id: int) -> Entry:
        """Return the log's entry; raises `MessageError` where the log in memory has none."""
        entry = self.history.entries.get(message_id)
        if entry is None:
            raise MessageError(f"no message {message_id} in the log held in memory")
        return entry

    def rewind(self, message_id: int) -> list[Message]:
        """Cut the log's tail; what was dropped or summarised comes back where the laws now ask for it."""
        self.entry(message_id)
        cut = self.history.rewind(message_id)
        self._take_out(cut)
        for unit in [unit for unit in self.window.units if unit.written]:
            sources = unit.messages[0].sources
            if sources[-1] >= message_id:  # it tells of what was taken back
                self.window.show_written(unit, None)
                for source in sources:
                    if source in self.history.entries:
                        self._restore(self.history.entries[source].slot)
        self._keep_what_is_now_newest()
        self._changed()
        return [entry.message for entry in cut]

    def forget(self) -> list[Message]:
        """Release from memory what has left the window."""
        released = [entry.message for entry in self.history.forget()]
        if self.last_receipt is not None:
            self.last_receipt = replace(self.last_receipt, evicted=())
        return released

    def snapshot(self) -> Snapshot:
        """Return what a prune starts from."""
        self.window.settle()
        question = self.history.question
        newest = self.window.newest
        context = laws.Context(
            base_tokens=self.window.base_tokens + max(0, self.adjustment),
            max_tokens=self.budget.max_tokens,
            question=question.message.id if question else None,
            newest=newest.ids if newest else (),
            allow_question_edit=self.allow_question_edit,
        )
        units = tuple(self.window.units)
        floor = context.base_tokens + sum(
            unit.tokens for unit in units if laws.must_keep(unit, context)
        )
        return Snapshot(
            units,
            context,
            self.budget.target_tokens(floor),
            self.next_id,
            self.version,
            self.total_tokens,
        )

    def verify(self, draft: Draft) -> int:
        """
        Check that the outcome of a prune fits, asking for the true cost of the request where sums
        do not decide.

        Returns:
            The adjustment that goes with the draft: the true cost minus the sum, 0 where sums
                decide.

        Raises:
            BudgetError: what must be kept does not fit.
        """
        if not draft.units or (self.costs.additive and not draft.over_budget):
            return draft.context.base_tokens - self.window.base_tokens
        while True:
            units = draft.units
            true_tokens = draft.used_tokens
            if not self.costs.sums_are_exact:
                true_tokens = self.costs.request(
                    [message for unit in units for message in unit.messages]
                )
            draft.context = replace(
                draft.context,
                base_tokens=draft.context.base_tokens + true_tokens - draft.used_tokens,
            )
            if not draft.over_budget:
                return draft.context.base_tokens - self.window.base_tokens
            draft.drop_what_is_needed()
            if draft.units == units:
                culprits = draft.culprits(self.window.base_tokens if self.costs.tools else 0)
                raise BudgetError(true_tokens, self.budget.max_tokens, culprits)

    def receipt(self, draft: Draft) -> Receipt:
        """Return what the draft's prune did."""
        snapshot = draft.snapshot
        kept = {message.id for unit in draft.units for message in unit.messages}
        evicted = (
            message
            for unit in snapshot.units
            for message in unit.messages
            if message.id not in kept
        )
        return Receipt(
            before_tokens=snapshot.total_tokens,
            after_tokens=draft.used_tokens,
            target_tokens=snapshot.target_tokens,
            actions=(*draft.actions, *self._left_out_actions()),
            rejected=tuple(draft.rejected),
            left_out=tuple(message.clone() for message in self.history.left_out()),
            evicted=tuple(message.clone() for message in evicted),
        )

    def adopt(self, draft: Draft, adjustment: int, receipt: Receipt) -> None:
        """Make the draft the window."""
        if draft.units != draft.snapshot.units:
            self.sent_tokens = None
        self.window.adopt(draft.units, draft.tokens)
        self.next_id = draft.next_id
        self.adjustment = adjustment
        self.last_receipt = receipt
        self.version += 1

    def observe(self, real_tokens: int) -> None:
        """Learn what the request of the latest `messages()` really cost; ignored after a cut, one bill a request."""
        if self.sent_tokens is None:
            return
        self.window.settle()
        offset, correction = self.costs.learnt(self.sent_tokens, real_tokens)
        if (offset, correction) != (self.costs.offset, self.costs.correction):
            self.learn(offset, correction)
        self.sent_tokens = None

    def learn(self, offset: int, correction: int) -> None:
        """Price everything by another offset and correction from now on."""
        self.costs.offset, self.costs.correction = offset, correction
        self.window.recost()
        self._changed()

    def set_tools(self, tools: Sequence[Mapping[str, Any]]) -> None:
        """Send other tool schemas from now on."""
        self.costs.tools = tools
        self._changed()

    def try_out(self, wire: Wire) -> tuple[int, int, Snapshot]:
        """Append a message, look, and take it back: what it costs, the window with it, and a snapshot of that."""
        self.window.settle()
        adjustment = self.adjustment
        entry, newest = self._append(wire, pinned=False)
        before = (
            [(old, old.edited, old.edited_tokens, old.slot.gone) for old in newest.entries]
            if newest
            else []
        )
        try:
            if newest is not None:
                self._bring_back_unit(newest)
            total = self.total_tokens
            return self.costs.corrected(entry.tokens or 0), total, self.snapshot()
        finally:
            self._take_out(self.history.rewind(entry.message.id))
            self.next_id -= 1
            self.adjustment = adjustment
            for old, edited, edited_tokens, gone in before:
                old.edited, old.edited_tokens, old.slot.gone = edited, edited_tokens, gone
                self.history.touch(old.slot)
            self.window.settle()

    def _take_out(self, cut: Sequence[Entry]) -> None:
        """Take units out of the window that are no longer of the log."""
        for entry in cut:
            if not entry.slot.entries:
                self.window.take_out(entry.slot)

    def _changed(self) -> None:
        """Note a change other than an append: an adjustment measured before no longer holds."""
        self.adjustment = 0
        self.version += 1

    def _append(self, wire: Wire, *, pinned: bool) -> tuple[Entry, Slot | None]:
        """
        Append a message; returns its entry, and the slot that it made the newest again.

        A system message behind a pending call makes that open, and the unit before it the newest
        one.
        """
        pending = self.history.pending
        message = Message(self.next_id, wire, pinned or wire["role"] in SYSTEM_ROLES)
        entry = self.history.append(message)
        self.next_id += 1
        if pending is not None and pending.first in self.history.open:
            self.adjustment = max(
                0, self.adjustment
            )  # what it saved on messages that now leave the window is gone
        if pending is None or message.role not in SYSTEM_ROLES:
            return entry, None
        newest = self.history.newest
        return entry, newest if newest is not None and self._is_current(newest) else None

    def _is_current(self, slot: Slot) -> bool:
        """Return whether nothing but it comes after the question."""
        question = self.history.question
        return question is None or slot.first > question.message.id

    def _restore(self, slot: Slot) -> None:
        slot.gone = False
        self.history.touch(slot)

    def _bring_back(self, entry: Entry) -> None:
        """Put an entry's unit back into the window, and its text back to what it was."""
        entry.edited = None
        self._restore(entry.slot)

    def _keep_what_is_now_newest(self) -> None:
        """Bring back the question and the newest unit: after a rewind they may be what a prune had dropped."""
        question = self.history.question
        if question is not None and (question.slot.gone or not self.allow_question_edit):
            self._bring_back(question)
        newest = self.history.newest
        if newest is not None and self._is_current(newest):
            self._bring_back_unit(newest)

    def _bring_back_unit(self, slot: Slot) -> None:
        """Put the newest unit back as the laws ask for it; its results may stay shortened."""
        for entry in slot.entries:
            if slot.gone or entry.message.role not in RESULT_ROLES:
                self._bring_back(entry)

    def _left_out_actions(self) -> Iterator[Action]:
        for slot in sorted(self.history.open.values(), key=lambda slot: slot.first):
            reason = (
                "a result without its call"
                if slot.orphan
                else f"{slot.missing} of its calls lack a result"
            )
            yield Action(
                "leave-out", CORE, reason, tuple(entry.message.id for entry in slot.entries), 0
            )
