"""
A draft: the window as a prune in progress would have it.

A draft starts from a snapshot of the window and is changed by plans that keep the laws, never
otherwise. Nothing of it reaches the conversation until its `cut` is applied; throwing it away
undoes everything. It calls no hook, so accepted plans can be replayed on a newer snapshot if the
conversation has moved on.

A strategy is shown copies and may forge what it likes, so a plan is first resolved: the window's
own units and messages take the place of those that it names.

What plans write has ids of the draft's own, above every id of a log. It gets its real id in `cut`.
So a plan that names what an earlier one wrote still names it when both are replayed. Strategies and
tickets may see such ids; receipts, errors and the log never do.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from ctxwin.counting.costs import Costs
from ctxwin.laws import laws
from ctxwin.laws.laws import Context, Outcome
from ctxwin.log.changes import Cut, Edited, Written
from ctxwin.log.conversation import Conversation
from ctxwin.log.state import ID_LIMIT
from ctxwin.values.errors import BudgetError, CounterError, describe, quoted
from ctxwin.values.message import Message, hash_of
from ctxwin.values.plan import Drop, Edit, Plan, PruneRequest, Replace, Step, Unit, make_unit
from ctxwin.values.receipt import Action, Broken, Receipt, Rejection
from ctxwin.values.wire import SYSTEM_ROLES, read_stored

MAX_CULPRITS = 5
UNLEARN = "what bills had taught alone left no room for what must be kept, so it is forgotten"
CORE = "ctxwin"  # the strategy name under which the manager itself acts


class BrokenPlanError(Exception):
    """A plan cannot be carried out; never leaves this package."""

    def __init__(self, law: str, reason: str) -> None:
        self.broken = Broken(law, reason)
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    What a prune starts from.

    Attributes:
        units: the window, oldest first.
        context: what the laws must know.
        target_tokens: what to cut down to.
        version: how often the conversation had changed when this was taken.
        total_tokens: what the window cost then.
        next_id: the draft's id of the next message to be written.
    """

    units: tuple[Unit, ...]
    context: Context
    target_tokens: int
    version: int
    total_tokens: int
    next_id: int = ID_LIMIT

    @classmethod
    def of(cls, conversation: Conversation, unlearnt: Costs | None = None) -> "Snapshot":
        """
        Look at a conversation; the holder of its lock does.

        Args:
            conversation: the conversation.
            unlearnt: its costs as the count alone says, for a window that is priced by these.
        """
        conversation.window.settle()
        units, gap = tuple(conversation.window.units), max(0, conversation.request_gap)
        if unlearnt is not None:  # a gap was measured at what bills had taught
            units = tuple([conversation.window.priced(unit, unlearnt) for unit in units])
            gap = 0
        costs = unlearnt or conversation.costs
        question = conversation.history.question
        context = Context(
            base_tokens=conversation.window.base_of(units[0] if units else None, costs) + gap,
            max_tokens=conversation.budget.max_tokens,
            question=question.message.id if question else None,
            newest=newest_shown(conversation),
            allow_question_edit=conversation.allow_question_edit,
            hidden_tokens=costs.hidden_tokens,
            cut_before=conversation.was_cut,
        )
        context = with_one_kept(context, units)
        target = target_of(conversation, units, context)
        total = conversation.total_tokens
        if unlearnt is not None:
            total = context.cost(sum(unit.tokens for unit in units))
        return cls(units, context, target, conversation.version, total)


def newest_shown(conversation: Conversation) -> tuple[int, ...]:
    """Return the ids of the newest unit's messages; `()` if it is in no window."""
    newest = conversation.history.newest
    shown = newest.shown if newest is not None else None
    return shown.ids if shown is not None else ()


def with_one_kept(context: Context, units: Sequence[Unit]) -> Context:
    """Return a context in which the last unit stands for the newest if nothing else would stay."""
    if not units or any(laws.protected_by_law(unit, context) for unit in units):
        return context
    return replace(context, newest=units[-1].ids)


Look: TypeAlias = Callable[[Costs | None], Snapshot]
"""Looks at a window, priced as bills have taught (None) or by the costs given, without that."""


def target_of(conversation: Conversation, units: Iterable[Unit], context: Context) -> int:
    """Return what to cut a window down to, in tokens."""
    kept = (unit.tokens for unit in units if laws.protected_by_law(unit, context))
    return conversation.budget.target_tokens(context.cost(sum(kept)))


@dataclass(frozen=True, slots=True)
class Accepted:
    """A plan that was applied: whose it was, and the draft's id of the first message it wrote."""

    strategy: str
    plan: Plan
    first_id: int


class Draft:
    """
    The window of a prune in progress.

    Attributes:
        snapshot: what it started from.
        units: the window so far.
        tokens: uncorrected costs of the messages written and edited so far, by id.
        actions, rejected: what goes into the receipt.
        accepted: the plans applied so far.
        unlearns: whether it fits only if what bills have taught is forgotten.
    """

    def __init__(self, snapshot: Snapshot, costs: Costs) -> None:
        self.snapshot = snapshot
        self.context = snapshot.context
        self.units = snapshot.units
        self.next_id = snapshot.next_id
        self.tokens: dict[int, int] = {}
        self.actions: list[Action] = []
        self.rejected: list[Rejection] = []
        self.accepted: list[Accepted] = []
        self.unlearns = False
        self._ever_protected: frozenset[int] = frozenset()  # by plugins, also what was released
        self._costs = costs
        self._sources: dict[int, tuple[int, ...]] = {}  # of every message written, also if replaced
        self._left: dict[int, Unit] = {}  # what has left the window, as it was then

        def count(text: str) -> int:  # a bound method would give away the costs as `__self__`
            return costs.text(text)

        self.count = count

    @property
    def used_tokens(self) -> int:
        """The cost of the window so far, tools and priming included."""
        return self.context.cost(self._unit_tokens)

    @property
    def over_budget(self) -> bool:
        """Whether the window so far breaks the law of the budget."""
        return any(laws.budget(Outcome((), self.units, Plan(), self.context)))

    @property
    def over_target(self) -> bool:
        """Whether there is more to free."""
        return self.used_tokens > self.snapshot.target_tokens

    # What strategies see and say.

    def request(self) -> PruneRequest:
        """Show the window to a strategy: copies throughout."""
        units = tuple([self._shown(unit, index) for index, unit in enumerate(self.units)])
        used = self.used_tokens
        written = [message for unit in units if unit.written for message in unit.messages]
        summary = max(written, key=lambda message: message.id).content if written else None
        return PruneRequest(
            units=units,
            droppable=tuple(unit for unit in units if not unit.protected),
            editable=laws.editable(units, self.context),
            used_tokens=used,
            max_tokens=self.context.max_tokens,
            target_tokens=self.snapshot.target_tokens,
            excess_tokens=used - self.snapshot.target_tokens,
            previous_summary=summary if isinstance(summary, str) else None,
            count=self.count,
        )

    def protect(self, strategy: str, units: tuple[Unit, ...]) -> None:
        """Protect further units, softly; units that are not in the window are rejected."""
        known = {unit.ids for unit in self.units}
        foreign = [unit for unit in units if unit.ids not in known]
        if foreign:
            reason = f"asked to protect {foreign[0]!r}, which is not a unit of the window"
            self.reject(strategy, Broken("L5", reason))
        self._protect({unit.first for unit in units if unit.ids in known})

    def protect_as(self, other: "Draft") -> None:
        """Protect also what another draft of the same conversation protected at first."""
        self._protect(other._ever_protected)  # noqa: SLF001 - a draft too

    def protect_first_turn(self) -> None:
        """
        Protect the user message of the first turn of which something must stay, softly.

        A pinned answer could not begin a window (L17), so its user message is kept with it.
        """
        own: Unit | None = None
        for unit in self.units:
            stays = unit.role not in SYSTEM_ROLES and not self._is_droppable(unit)
            if stays and unit.role == "user":
                return
            if stays and own is not None:
                # A summary may be replaced by another, which begins the window as well.
                self._protect(() if own.written else {own.first})
                return
            if unit.role == "user":
                own = unit

    def reject(self, strategy: str, broken: Broken) -> None:
        """Record a plan that was not applied."""
        reason = _DRAFT_ID.sub(_name_of_written, broken.reason)
        self.rejected.append(Rejection(strategy, broken.law, reason))

    def accept(self, strategy: str, plan: Plan) -> bool:
        """Apply a plan if it keeps the laws, else record why not; it is all or nothing."""
        try:
            plan = resolve(plan, self.units)
            after = _Rewritten(self, strategy, plan)
            checked = Outcome(self.units, after.units, plan, self.context)
            for broken in laws.check_plan(checked):
                self.reject(strategy, broken)
                return False
        except BrokenPlanError as error:
            self.reject(strategy, error.broken)
            return False
        except Exception as error:  # noqa: BLE001 - a forged plan may fail anywhere
            self.reject(strategy, Broken("L8", describe(error)))
            return False
        self.accepted.append(Accepted(strategy, plan, self.next_id))
        self._left |= {unit.first: unit for unit in checked.gone}
        self.units, self.next_id = after.units, after.next_id
        self.tokens |= after.tokens
        self._sources |= after.sources
        self.actions += after.actions
        return True

    def replay(self, snapshot: Snapshot, costs: Costs) -> "Draft":
        """
        Return a draft of a newer snapshot with the same plans applied, if they still keep the laws.

        It goes by the costs of now: what a message costs may have been learnt anew meanwhile.
        """
        draft = Draft(snapshot, costs)
        present = {unit.first for unit in snapshot.units}
        draft._protect(self.context.protected & present)
        draft.rejected = list(self.rejected)
        for accepted in self.accepted:
            draft.next_id = accepted.first_id
            draft.accept(accepted.strategy, accepted.plan)
        draft.next_id = self.next_id
        return draft

    # What the manager does itself.

    def unlearnt(self) -> Costs | None:
        """Return the costs by the count alone; None where bills have taught nothing."""
        return self._costs.unlearnt() if self._costs.has_learnt else None

    def by_count(self, snapshot: Snapshot, unlearnt: Costs) -> "Draft | None":
        """
        Return what fits without what bills have taught; None where not even that does.

        What was learnt must never lock a conversation. The window is cut no further than the count
        asks for: the plans were made under a cost that is given up here, and are carried out only
        where nothing else fits.

        Args:
            snapshot: the same window, priced by the count alone.
            unlearnt: the costs that it is priced by.
        """
        learnt_tokens = self.snapshot.total_tokens - snapshot.total_tokens
        snapshot = replace(snapshot, total_tokens=self.snapshot.total_tokens)
        core_alone = Draft(snapshot, unlearnt)
        core_alone._protect(self._ever_protected)
        core_alone.rejected = list(self.rejected)
        for draft in (core_alone, self.replay(snapshot, unlearnt)):
            draft.drop_what_is_needed()
            with suppress(BudgetError):
                draft.verify()
                draft.unlearns = True
                draft.actions.insert(0, Action("unlearn", CORE, UNLEARN, (), learnt_tokens))
                return draft
        return None

    def drop_what_is_needed(self) -> None:
        """
        Drop what may be dropped, oldest first, if the chain left the window over the budget.

        Units of the log go before written ones, down to the target. Units that a plugin protects
        go last, and only until the rest fits the budget. This is what makes a `BudgetError` honest
        whatever strategies are installed. What then stands before the first user message goes too.
        """
        if self.over_budget:
            self._drop_to_fit()
        self.begin_with_user_message()

    def _drop_to_fit(self) -> None:
        droppable = [unit for unit in self.units if self._is_droppable(unit)]
        ordinary = sorted(droppable, key=lambda unit: unit.written)
        needed = self._needed(ordinary, self.snapshot.target_tokens)
        self._drop(needed, "the chain left the window over the budget")
        protected = self.context.protected
        self.context = replace(self.context, protected=frozenset())
        releasable = [u for u in self.units if u.first in protected and self._is_droppable(u)]
        released = self._needed(releasable, self.context.max_tokens)
        self._drop(released, "protected, but the rest does not fit", kind="release")
        self._protect(protected & {unit.first for unit in self.units})

    def begin_with_user_message(self) -> None:
        """
        Have a window that was cut begin with a user message, as L17 demands.

        Whole units leave, and they only make the window cheaper. Where a unit that must stay stands
        before the first user message, that of its own turn comes back if it fits.
        """
        if not self._needs_first_turn:
            return
        leading = laws.before_first_user(self.units)
        ordinary = [unit for unit in leading if self._is_droppable(unit)]
        self._drop(ordinary, "it stood before the first user message")
        for unit in laws.before_first_user(self.units):
            own = laws.own_user_message(unit, self._left.values(), self.units)
            if own is not None and self._fits(own):
                self._bring_back(own, unit)
                return

    def _fits(self, unit: Unit) -> bool:
        """Return whether there is room for a unit more."""
        return self.context.cost(self._unit_tokens + unit.tokens) <= self.context.max_tokens

    @property
    def _was_cut(self) -> bool:
        """Whether the window has lost units, now or before."""
        kept = {unit.first for unit in self.units}
        return self.context.cut_before or any(u.first not in kept for u in self.snapshot.units)

    @property
    def _needs_first_turn(self) -> bool:
        """Whether L17 binds the window: it was cut, and the log has a user message."""
        return self.context.question is not None and self._was_cut

    def verify(self) -> None:
        """
        Make sure that the window fits, by the true cost of the request if sums do not decide.

        Drops more if they were too low.

        Raises:
            BudgetError: what must be kept does not fit.
        """
        if not self.units or (self._costs.additive and not self.over_budget):
            return
        while True:
            units = self.units
            if not self._costs.sums_are_exact:
                self.go_by_true_cost()
            true_tokens = self.used_tokens
            if not self.over_budget:
                return
            self.drop_what_is_needed()
            if self.units == units:
                raise BudgetError(true_tokens, self.context.max_tokens, self._culprits())

    def go_by_true_cost(self) -> None:
        """
        Count the request as a whole, and go by that from now on.

        A counter may refuse a sequence of messages, as a chat template does that wants roles to
        alternate. Then smaller cuts are tried: whole turns leave from the head, one, two more, four
        more, and so on. If the counter takes none of these either, the sum of the messages stands.
        """
        units, actions = self.units, self.actions
        turns, count = self._droppable_turns() if self._was_cut else [], 1
        while not self._ask_true_cost():
            if not turns:
                self.units, self.actions = units, actions
                return
            leaving = [unit for turn in turns[:count] for unit in turn]
            self._drop(leaving, "the counter refuses the request with it")
            turns, count = turns[count:], count * 2

    def _ask_true_cost(self) -> bool:
        """Count the request as a whole; returns False if the counter refuses it."""
        messages = [message for unit in self.units for message in unit.messages]
        try:
            true_tokens = self._costs.request(messages)
        except CounterError:
            return False
        gap = true_tokens - self.context.base_tokens - self._unit_tokens
        self.context = replace(self.context, base_tokens=self.context.base_tokens + gap)
        return True

    def _droppable_turns(self) -> list[list[Unit]]:
        """Return what may be dropped of each turn, oldest first."""
        turns: list[list[Unit]] = [[]]
        for unit in self.units:
            if unit.role == "user":
                turns.append([])
            if self._is_droppable(unit):
                turns[-1].append(unit)
        return [turn for turn in turns if turn]

    # What comes of it.

    def cut(
        self,
        conversation: Conversation,
        failures: Mapping[str, tuple[int, int]],
        *,
        settled: bool = False,
    ) -> Cut:
        """Return the change that makes this draft the window of a conversation."""
        after = {unit.first: unit for unit in self.units}
        new = sorted(first for first in after if first >= ID_LIMIT)
        written = [
            self._written_as(conversation.next_written_id + place, after[first].messages[0])
            for place, first in enumerate(new)
        ]
        units = [unit for unit in self.units if not unit.written] if self.tokens else []
        shown = {message.id: message for unit in units for message in unit.messages}
        edits = [
            Edited(message_id, shown[message_id].content, tokens)
            for message_id, tokens in self.tokens.items()
            if message_id in shown
        ]
        gone = [unit.first for unit in self.snapshot.units if unit.first not in after]
        return Cut(
            gone=(*gone, *self._abandoned(conversation)),
            written=tuple(written),
            edits=tuple(edits),
            request_gap=self.context.base_tokens - self._base_tokens(conversation),
            failures=failures,
            settled=settled,
        )

    def receipt(self, conversation: Conversation) -> Receipt:
        """Return what the draft's prune does."""
        kept = {message.id for unit in self.units for message in unit.messages}
        before = (message for unit in self.snapshot.units for message in unit.messages)
        final = map(self._final, self.actions) if self._sources else self.actions
        return Receipt(
            before_tokens=self.snapshot.total_tokens,
            after_tokens=self.used_tokens,
            target_tokens=self.snapshot.target_tokens,
            actions=(*final, *self._notes(conversation)),
            rejected=tuple(self.rejected),
            left_out=tuple(message.clone() for message in conversation.history.left_out()),
            evicted=tuple(message.clone() for message in before if message.id not in kept),
        )

    def _base_tokens(self, conversation: Conversation) -> int:
        units = conversation.window.units
        return conversation.window.base_of(units[0] if units else None, self._costs)

    @property
    def _unit_tokens(self) -> int:
        return sum(unit.tokens for unit in self.units)

    def _abandoned(self, conversation: Conversation) -> list[int]:
        """
        Return the open exchanges whose turn leaves the window: they leave with it.

        If their results came late, they would stand before the first user message.
        """
        if not self._needs_first_turn:
            return []
        start = next((unit.place[0] for unit in self.units if unit.role == "user"), 0)
        return [
            first
            for first, unit in conversation.history.open.items()
            if first < start and not (unit.gone or unit.unfit or unit.pinned)
        ]

    def _notes(self, conversation: Conversation) -> list[Action]:
        """Say of each unit that is left out, or stands before the first user message, why."""
        notes = []
        left = set(self._abandoned(conversation))
        for unit in sorted(conversation.history.open.values(), key=lambda unit: unit.first):
            lacks = f"{unit.missing} of its calls lack a result"
            lacks += ", and its turn has left" if unit.gone or unit.first in left else ""
            reason = unit.unfit or lacks
            ids = tuple(logged.message.id for logged in unit.messages)
            notes.append(Action("leave-out", CORE, reason, ids, 0))
        leading = laws.before_first_user(self.units) if self._needs_first_turn else ()
        kept = [unit.ids for unit in leading if not self._is_droppable(unit)]
        reason = "it must stay, and the user message of its turn does not fit"
        return notes + [Action("keep", CORE, reason, ids, 0) for ids in kept]

    def _shown(self, unit: Unit, index: int) -> Unit:
        """Return a copy of a unit, all the way down."""
        messages = tuple([message.clone() for message in unit.messages])
        protected = not self._is_droppable(unit)
        return Unit(messages, unit.tokens, unit.message_tokens, unit.role, protected, index)

    def _is_droppable(self, unit: Unit) -> bool:
        """Return whether a plan may drop the unit."""
        protected = unit.first in self.context.protected
        return not protected and not laws.protected_by_law(unit, self.context)

    def _protect(self, firsts: Iterable[int]) -> None:
        protected = self.context.protected | frozenset(firsts)
        self._ever_protected |= protected
        self.context = replace(self.context, protected=protected)

    def _needed(self, units: list[Unit], down_to: int) -> list[Unit]:
        """Return as many of the units, in their order, as must go to cost at most that."""
        counted, count = self._unit_tokens, 0
        while self.context.cost(counted) > down_to and count < len(units):
            counted -= units[count].tokens
            count += 1
        return units[:count]

    def _drop(self, units: list[Unit], reason: str, kind: str = "drop") -> None:
        gone = {unit.first: unit for unit in units}
        self.units = tuple(unit for unit in self.units if unit.first not in gone)
        done = [Action(kind, CORE, reason, unit.ids, unit.tokens) for unit in units]
        self.actions = [*self.actions, *done]  # a new list: `go_by_true_cost` may go back to it
        self._left |= gone

    def _bring_back(self, own: Unit, turn_of: Unit) -> None:
        self.units = tuple(sorted((*self.units, own), key=lambda unit: unit.place))
        reason = f"the turn of message {turn_of.first}, which must stay, begins with it"
        self.actions.append(Action("bring-back", CORE, reason, own.ids, -own.tokens))

    def _culprits(self) -> list[Message | Literal["tools"]]:
        """Return what costs most of what is left, tools included, most expensive first."""
        priced: list[tuple[int, Message | Literal["tools"]]] = [
            (tokens, message.clone())
            for unit in self.units
            for message, tokens in zip(unit.messages, unit.message_tokens, strict=True)
        ]
        if self._costs.tools:
            priced.append((self.snapshot.context.base_tokens, "tools"))
        return [item for _, item in sorted(priced, key=lambda pair: -pair[0])[:MAX_CULPRITS]]

    def _written_as(self, message_id: int, message: Message) -> Written:
        tokens = self.tokens[message.id]
        wire = message.to_dict()
        return Written(message_id, wire, message.sources, message.source_hash, tokens)

    def _final(self, action: Action) -> Action:
        """Return an action in the log's ids: what was written and replaced again by its sources."""
        if all(message_id < ID_LIMIT for message_id in action.message_ids):
            return action
        ids = [self._sources.get(one, (one,)) for one in action.message_ids]
        return replace(action, message_ids=tuple(one for some in ids for one in some))


def fitting(draft: Draft, look: Look) -> Draft:
    """
    Return a draft that fits, this one or one without what bills have taught.

    Raises `BudgetError`: what must be kept does not fit, whatever bills have taught.
    """
    try:
        draft.verify()
    except BudgetError:
        unlearnt = draft.unlearnt()
        by_count = draft.by_count(look(unlearnt), unlearnt) if unlearnt is not None else None
        if by_count is None:
            raise
        return by_count
    return draft


class _Rewritten:
    """
    What a resolved plan makes of a draft.

    Attributes:
        units: the window that it leads to.
        next_id: the draft's id of the next message to be written.
        tokens, sources: what the messages that it writes or edits cost, and cover.
        actions: what it does.
    """

    def __init__(self, draft: Draft, strategy: str, plan: Plan) -> None:
        self.next_id = draft.next_id
        self.tokens: dict[int, int] = {}
        self.sources: dict[int, tuple[int, ...]] = {}
        self.actions: list[Action] = []
        self._costs = draft._costs  # noqa: SLF001 - a part of the draft
        self._strategy = strategy
        self._window = {unit.first: unit for unit in draft.units}
        edits = any(isinstance(step, Edit) for step in plan.steps)
        units = draft.units if edits else ()
        self._home = {message.id: unit.first for unit in units for message in unit.messages}
        for step in plan.steps:
            self._take(step)
        window = list(self._window.values())
        if self.sources:  # what was written stands at its oldest source; the rest is in order
            window.sort(key=lambda unit: unit.place)
        self.units = tuple(window)

    def _take(self, step: Step) -> None:
        if isinstance(step, Edit):
            self._edit(step)
            return
        for unit in step.units:
            del self._window[unit.first]
        if isinstance(step, Drop):
            for unit in step.units:
                self._act("drop", step, unit.ids, unit.tokens)
            return
        unit = self._write(step)
        replaced = tuple(message_id for unit in step.units for message_id in unit.ids)
        freed = sum(unit.tokens for unit in step.units) - unit.tokens
        self._act("replace", step, replaced, freed)

    def _edit(self, step: Edit) -> None:
        new = step.message.with_content(step.content)
        first = self._home[new.id]
        unit = self._window[first]
        at = unit.ids.index(new.id)
        self.tokens[new.id] = self._costs.message(new, unit.messages[0] if at else None)
        messages, figures = list(unit.messages), list(unit.message_tokens)
        messages[at], figures[at] = new, self._costs.scaled(self.tokens[new.id])
        self._window[first] = make_unit(messages, figures)
        self._act("edit", step, (new.id,), unit.tokens - self._window[first].tokens)

    def _write(self, step: Replace) -> Unit:
        sources = laws.sources_of(step.units)
        if not sources:
            raise BrokenPlanError("L15", "a summary of nothing")
        wire = read_stored({"role": step.role, "content": step.content})
        covered = hash_of(message for unit in step.units for message in unit.messages)
        message = Message(self.next_id, wire, False, sources, covered)
        self.tokens[message.id] = self._costs.message(message)
        self.sources[message.id] = sources
        self.next_id += 1
        unit = make_unit([message], [self._costs.scaled(self.tokens[message.id])])
        self._window[message.id] = unit
        return unit

    def _act(self, kind: str, step: Step, message_ids: tuple[int, ...], freed: int) -> None:
        reason = step.reason if step.reason.strip() else self._strategy
        self.actions.append(Action(kind, self._strategy, reason, message_ids, freed))


def resolve(plan: Plan, window: Sequence[Unit]) -> Plan:
    """
    Return the plan with our own units and messages in place of those that the strategy names.

    Raises `BrokenPlanError`: it names what is not there, a part of a unit, or something twice.
    """
    units = {unit.first: unit for unit in window}
    edits = any(isinstance(step, Edit) for step in plan.steps)
    within = window if edits else ()
    messages = {message.id: message for unit in within for message in unit.messages}
    dropped: set[int] = set()
    touched: set[int] = set()
    steps: list[Step] = []
    for step in plan.steps:
        if not isinstance(step.reason, str):
            raise BrokenPlanError("L14", f"a reason must be a string, not {quoted(step.reason)}")
        if isinstance(step, Edit):
            mine = messages.get(step.message.id)
            if mine is None:
                raise BrokenPlanError("L5", f"{step.message!r} is not in the window")
            steps.append(replace(step, message=mine))
            named = {mine.id}
        else:
            own = {unit.ids: unit for unit in (_own(unit, units) for unit in step.units)}
            if isinstance(step, Drop):  # naming a unit twice to drop it says nothing new
                own = {ids: unit for ids, unit in own.items() if ids[0] not in dropped}
                dropped |= {ids[0] for ids in own}
            steps.append(replace(step, units=tuple(own.values())))
            named = {message_id for ids in own for message_id in ids}
        if touched & named:
            raise BrokenPlanError(
                "L14", f"two steps of the plan name message {min(touched & named)}"
            )
        touched |= named
    return Plan(tuple(steps))


def _own(unit: Unit, units: dict[int, Unit]) -> Unit:
    """Return our own unit for one that a strategy names."""
    mine = units.get(unit.first) if unit.messages else None
    if mine is None:
        ids = set(unit.ids)
        whole = next((other for other in units.values() if ids and ids < set(other.ids)), None)
        if whole is not None:
            reason = f"messages {unit.ids} are a part of the unit {whole.ids}"
            raise BrokenPlanError("L2", reason)
        raise BrokenPlanError("L5", f"{unit!r} is not a unit of the window")
    if mine.ids != unit.ids:
        raise BrokenPlanError("L2", f"messages {unit.ids} are a part of the unit {mine.ids}")
    return mine


_DRAFT_ID = re.compile(r"\b\d{15}\b")  # what ID_LIMIT and the numbers just above it look like


def _name_of_written(found: re.Match[str]) -> str:
    """Return how to name a message of a draft to people, who know no id of it."""
    number = int(found[0]) - ID_LIMIT
    return f"(written {number + 1})" if number >= 0 else found[0]
