"""
All laws together, for any sequence of calls: a Hypothesis state machine over `ContextManager`.

Its model is a plain list of the messages appended. Windows are judged by `ctxwin.testing.judge`,
which shares no code with the laws.
"""

import json
import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ctxwin.counting import TokenCounter
from ctxwin.counting.costs import Costs
from ctxwin.manager import ContextManager
from ctxwin.testing.data.fakes import Priced, ScriptedSummarizer, recording
from ctxwin.testing.judge.grouping import kept_messages, positions
from ctxwin.testing.judge.windows import lost_first_turns, marked_faults, not_extended
from ctxwin.testing.strategies import ROOM, WORDS, budgets, counters, histories, talk
from ctxwin.values.budget import Budget
from ctxwin.values.errors import BudgetError, MessageError
from ctxwin.values.message import Message
from ctxwin.values.wire import DraftRole, Wire


class HistoryMachine(RuleBasedStateMachine):
    """
    A machine that calls everything a manager has, in any order, with a subclass's strategies.

    It appends, cuts, pins, rewinds, plans, prepares, commits, forgets, saves and loads.

        class RecencyMachine(HistoryMachine):
            def strategies(self):
                return [Recency()]

        TestRecencyMachine = RecencyMachine.TestCase

    Attributes:
        edits: whether a strategy edits messages or writes new ones. If False, every message of a
            window must be in the log, byte for byte.
        deterministic: whether equal requests get equal answers; False for a model that answers as
            it likes.
    """

    edits: ClassVar[bool] = True
    deterministic: ClassVar[bool] = True

    def strategies(self) -> Sequence[object]:
        """Return the chain to test, names or objects; `drop-oldest` is appended if missing."""
        return ["drop-oldest"]

    @initialize(budget=budgets(), room=ROOM, counter=counters(), question=st.booleans())
    def start(
        self,
        budget: Budget,
        room: int | None,
        counter: TokenCounter,
        question: bool,  # noqa: FBT001 - drawn
    ) -> None:
        """Make the manager and the model."""
        self.counter = counter
        if room is not None:
            cost = counter.count_message({"role": "user", "content": WORDS})
            budget = Budget(max(1, counter.count_request(()) + cost * room), low=budget.low)
        recorder, self.asked = recording(counter)
        self.given: Counter[str] = Counter()
        self.options: dict[str, Any] = {
            "budget": budget,
            "counter": recorder,
            "allow_question_edit": question,
        }
        self.options["strategies"] = [*self.strategies()]
        self.ctx = ContextManager(**self.options)
        self.log: list[Wire] = []
        self.ids: list[int] = []
        self.pinned: set[int] = set()
        self.unpinned: set[int] = set()
        self.window: tuple[Message, ...] | None = None
        self.known: frozenset[int] = frozenset()  # the ids of the log when that window was made
        self.ticket: Any = None
        self.untouched = True  # whether the caller has changed nothing but the tail since a cut

    # What a caller may do.

    @rule(wires=talk(), pinned=st.integers(0, 9))
    def append(self, wires: list[Wire], pinned: int) -> None:
        """Append a message, an exchange, or a few ordinary turns, one by one."""
        for wire in wires:
            given = json.dumps(wire)
            message = self.ctx.append(wire, pinned=pinned == 9)
            _hold(json.dumps(wire) == given, "L9: the input was mutated")
            _hold(message.to_dict() == wire, "L13: the message came out changed")
            self._note(wire, message, pinned=pinned == 9)
            wire["content"] = "changed by the caller"  # which must not reach the log

    @rule(wires=histories(max_size=4), spoil=st.booleans())
    def extend(self, wires: list[Wire], spoil: bool) -> None:  # noqa: FBT001 - drawn
        """Append several messages; if one is malformed, none."""
        if not spoil:
            for wire, message in zip(wires, self.ctx.extend(wires), strict=True):
                self._note(wire, message, pinned=False)
            return
        before = self.ctx.to_dict()
        try:
            self.ctx.extend([*wires, {"role": "villain", "content": ""}])
        except MessageError:
            _hold(self.ctx.to_dict() == before, "L8: a refused extend changed something")
        else:
            raise AssertionError("a malformed message was accepted")

    @precondition(lambda self: self.log)
    @rule(pick=st.integers(0, 30), pinned=st.booleans())
    def pin_or_unpin(self, pick: int, pinned: bool) -> None:  # noqa: FBT001 - drawn
        """Pin or unpin any message of the log."""
        position = pick % len(self.log)
        (self.ctx.pin if pinned else self.ctx.unpin)(self.ids[position])
        (self.pinned.add if pinned else self.pinned.discard)(self.ids[position])
        (self.unpinned.discard if pinned else self.unpinned.add)(self.ids[position])
        self.window, self.untouched = None, False

    @precondition(lambda self: self.log)
    @rule(back=st.integers(1, 4))
    def rewind(self, back: int) -> None:
        """Take back the newest messages."""
        back = min(back, len(self.log))
        cut = self.ctx.rewind(self.ids[-back])
        _hold(
            [message.to_dict() for message in cut] == self.log[-back:],
            "L13: rewind returned something else",
        )
        del self.log[-back:], self.ids[-back:]
        self.window, self.untouched = None, False

    @rule()
    def forget(self) -> None:
        """Forget what has left the window."""
        before = tuple(self.ctx)
        gone = {message.id for message in self.ctx.forget()}
        _hold(tuple(self.ctx) == before, "forget changed the window")
        _hold(not gone & {message.id for message in before}, "L13: forgot what is in the window")
        kept = [place for place, number in enumerate(self.ids) if number not in gone]
        self.log, self.ids = (
            [self.log[place] for place in kept],
            [self.ids[place] for place in kept],
        )

    @rule()
    def prune(self) -> None:
        """Prune by hand: the dry run says the same before, and a second prune does nothing."""
        expected, before = None, tuple(self.ctx)
        try:
            if self.deterministic:
                expected = self.ctx.plan()
            receipt = self.ctx.prune_history()
        except BudgetError as error:
            self._check_budget_error(error)
            return
        _hold(expected in (None, receipt), "L10: plan() said something else")
        gone = {
            number
            for action in receipt.actions
            if action.kind != "edit"
            for number in action.message_ids
        }
        _hold({message.id for message in receipt.evicted} <= gone, "L14: gone without an action")
        _hold(
            all(action.reason and action.strategy for action in receipt.actions), "L14: no reason"
        )
        again = self.ctx.prune_history()
        _hold(
            not [action for action in again.actions if action.kind not in ("leave-out", "keep")],
            "L10: a second prune changed something",
        )
        self._check_first_turn(before)
        self.window = None

    @rule()
    def messages(self) -> None:
        """Ask for the window twice, and spoil what is returned."""
        receipt = self.ctx.last_receipt
        before = tuple(self.ctx)
        try:
            window = self.ctx.messages()
        except BudgetError as error:
            self._check_budget_error(error)
            _hold(tuple(self.ctx) == before, "L8: a BudgetError changed the window")
            return
        if receipt is not self.ctx.last_receipt:
            event("cut")
            self._check_first_turn(before)
        self._check_window(window)
        _hold(self.ctx.messages() == window, "L10: asking twice changed something")
        if receipt is self.ctx.last_receipt:
            self._check_extends()
        self.window, self.known = tuple(self.ctx), frozenset(self.ids)
        for wire in self.ctx.messages():
            wire.clear()
        _hold(self.ctx.messages() == window, "L9: a returned window was live state")

    @rule(text=st.text(max_size=40), role=st.sampled_from(["user", "user", "assistant", "system"]))
    def preview(self, text: str, role: DraftRole) -> None:
        """Preview a draft: a restored manager that appends it does what the preview says."""
        before = self.ctx.to_dict()
        preview, quick = self.ctx.preview(text, role), self.ctx.preview(text, role, check=False)
        _hold(self.ctx.to_dict() == before, "L10: a preview changed something")
        _hold(quick == replace(preview, fits=None), "L10: a quick preview says something else")
        trial = self._restored()
        trial.append({"role": role, "content": text})
        self.given[repr({"role": role, "content": text})] += 3  # both previews, and the trial
        _hold(preview.total_tokens == trial.total_tokens, "L10: the preview named another total")
        _hold(
            preview.remaining_tokens == trial.remaining_tokens,
            "L10: the preview named another remainder",
        )
        _hold(
            preview.prunes == (trial.total_tokens > trial.max_tokens),
            "L10: the preview was wrong about a cut",
        )
        try:
            trial.messages()
        except BudgetError:
            _hold(not preview.fits, "L1: the preview said that it fits")
        else:
            _hold(preview.fits is True, "L1: the preview said that it does not fit")

    @rule()
    def save_and_load(self) -> None:
        """Continue with a restored manager."""
        state = json.loads(json.dumps(self.ctx.to_dict()))
        asked = self.asked.total()
        self.ctx = self._restored()
        _hold(self.ctx.to_dict() == state, "L13: a restored manager saves another state")
        _hold(self.asked.total() == asked, "L12: counted again after loading")

    @rule(text=st.sampled_from(["s", "as agreed", " ", "word " * 60]), wait=st.booleans())
    def prepare(self, text: str, wait: bool) -> None:  # noqa: FBT001 - drawn
        """Prepare a summary as another process would, and apply it at once or later."""
        before = self.ctx.to_dict()
        ticket = self.ctx.prepare()
        _hold(
            self.ctx.to_dict()
            == before | {"prepared": ticket.key if ticket else before["prepared"]},
            "L10: prepare",
        )
        if ticket is not None:
            sent = pickle.loads(pickle.dumps(ticket))  # noqa: S301 - our own bytes
            self.ticket = sent.run(ScriptedSummarizer(text))
            if not wait:
                self.commit()

    @precondition(lambda self: self.ticket)
    @rule()
    def commit(self) -> None:
        """Apply what was prepared last; if it is stale, nothing changes."""
        before, state = tuple(self.ctx), self.ctx.to_dict()
        receipt = self.ctx.commit(self.ticket)
        if tuple(self.ctx) == before:
            _hold(
                self.ctx.to_dict() | {"failures": {}} == state | {"failures": {}},
                "L16: a stale ticket left traces",
            )
        else:
            event("committed")
            _hold(
                receipt.after_tokens < receipt.before_tokens,
                "L7: a commit did not make the window cheaper",
            )
            _hold(
                receipt == self.ctx.last_receipt and bool(receipt.actions),
                "L14: a commit without an action",
            )
            self._check_first_turn(before)
        self.window = None

    @rule(percent=st.integers(20, 300))
    def observe(self, percent: int) -> None:
        """Learn that the latest window in fact cost more or less."""
        window = tuple(self.ctx)
        self.ctx.observe({"prompt_tokens": self.ctx.total_tokens * percent // 100})
        _hold(tuple(self.ctx) == window, "observe changed the window")
        self.window = None

    # What must hold.

    @invariant()
    def nothing_is_lost(self) -> None:
        """L13: the log has everything, in order."""
        if hasattr(self, "ctx"):
            _hold(
                [message.to_dict() for message in self.ctx.conversation_history] == self.log, "L13"
            )

    @invariant()
    def counted_once(self) -> None:
        """L12: the counter counted each message once."""
        # Edited and written messages are counted too, and shortened ones before an error advises to
        # shorten them. The model does not know those, and an edit may look like a given one.
        if hasattr(self, "ctx") and not self.edits:
            _hold(all(self.asked[wire] <= times for wire, times in self.given.items()), "L12")

    @invariant()
    def figures_agree(self) -> None:
        """L1: the figures of the manager agree with each other."""
        if hasattr(self, "ctx"):
            _hold(
                self.ctx.remaining_tokens == self.ctx.max_tokens - self.ctx.total_tokens,
                "L1: the meters disagree",
            )
            _hold(len(self.ctx) == len(list(self.ctx)), "L1: the length is wrong")

    def _note(self, wire: Wire, message: Message, *, pinned: bool) -> None:
        self.log.append(dict(wire))
        self.ids.append(message.id)
        self.given[repr(wire)] += 1
        if pinned:
            self.pinned.add(message.id)

    def _restored(self) -> ContextManager:
        return ContextManager.from_dict(json.loads(json.dumps(self.ctx.to_dict())), **self.options)

    def _cost(self, window: Sequence[Mapping[str, Any]]) -> int:
        """Return the cost of a window, with what the manager has learnt from `observe`."""
        costs = self.ctx._keeper.conversation.costs  # noqa: SLF001 - the kit knows it from inside
        counted, learnt = self._count(window, costs), costs.hidden_tokens
        if learnt > 0:
            return counted + min(learnt, self.ctx.max_tokens // 2)
        return max(0, counted - min(-learnt, max(64, counted // 10)))

    def _count(self, window: Sequence[Mapping[str, Any]], costs: Costs) -> int:
        if costs.sums_are_exact:
            each = [costs.scaled(self.counter.count_message(message)) for message in window]
            return costs.scaled(self.counter.count_request(())) + sum(each)
        return costs.scaled(self.counter.count_request(window))

    def _check_window(self, window: Sequence[Wire]) -> None:
        faults = marked_faults(
            self.log,
            [(wire, bool(message.sources)) for message, wire in zip(self.ctx, window, strict=True)],
            self.options["budget"],
            Priced(self._cost),
            pinned=positions(self.ids, self.pinned),
            unpinned=positions(self.ids, self.unpinned),
            edits=self.edits,
            question_edits=self.options["allow_question_edit"],
        )
        begun = self.untouched and not self._protects
        faults = [fault for fault in faults if fault.law != "L17" or begun]
        _hold(not faults, "; ".join(map(str, faults)))

    @property
    def _protects(self) -> bool:
        """Whether a plugin of the chain protects units, which the machine then does not know."""
        return any(strategy.protect for strategy in self.ctx._chain.strategies)  # noqa: SLF001

    def _check_first_turn(self, before: Sequence[Message]) -> None:
        """L17: a cut takes no user message that its window needs, if that fits."""
        self.untouched = True
        costs = self.ctx._keeper.conversation.costs  # noqa: SLF001 - as above
        for user in lost_first_turns(before, tuple(self.ctx)) if costs.additive else ():
            tokens = costs.scaled(self.counter.count_message(user.to_dict()))
            _hold(tokens > self.ctx.remaining_tokens, f"L17: message {user.id} would fit")

    def _check_budget_error(self, error: BudgetError) -> None:
        event("BudgetError")
        kept = kept_messages(
            self.log, positions(self.ids, self.pinned), positions(self.ids, self.unpinned)
        )
        if not kept:  # a cut leaves something to send: then that is the last message
            kept.extend([message.to_dict() for message in self.ctx][-1:])
        _hold(self._cost(kept) > self.ctx.max_tokens, "L1: a BudgetError, but what is kept fits")
        costs = self.ctx._keeper.conversation.costs.unlearnt()  # noqa: SLF001
        _hold(
            self._count(kept, costs) > self.ctx.max_tokens,
            "L1: a BudgetError, but what is kept fits without what bills have taught",
        )
        _hold(
            error.required_tokens > error.budget_tokens == self.ctx.max_tokens,
            "L1: a BudgetError with wrong figures",
        )

    def _check_extends(self) -> None:
        """L11: without a cut, a window extends the one before it."""
        if self.window is not None:
            found = not_extended(self.window, tuple(self.ctx), self.log, self.ids, self.known)
            _hold(not found, f"L11: {found} came, went or changed without a cut")


def _hold(condition: bool, law: str) -> None:  # noqa: FBT001 - reads as an assertion
    # No `assert`: it must hold under `python -O` too.
    if not condition:
        raise AssertionError(law)
