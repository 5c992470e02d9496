"""
A draft: the window as a prune in progress would have it.

A draft starts as a snapshot of the window and is changed by plans that keep the laws, never
otherwise. Nothing of it reaches the conversation until the manager adopts it whole; throwing it
away undoes everything. It calls no hook, so that accepted plans can be replayed on a newer snapshot
where the conversation moved on meanwhile.
"""

from dataclasses import dataclass, replace
from typing import Literal

from ctxwin.counting.costs import Costs
from ctxwin.laws import laws
from ctxwin.laws.laws import Change, Context
from ctxwin.pruning.resolve import Refusal, renamed, resolve
from ctxwin.values.errors import describe
from ctxwin.values.message import Message, hash_of, read_message
from ctxwin.values.plan import Drop, Edit, Plan, PruneRequest, Replace, Unit, make_unit
from ctxwin.values.receipt import Action, Rejection

MAX_CULPRITS = 5
CORE = "ctxwin"  # the strategy name under which the manager itself acts


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    What a prune starts from.

    Attributes:
        units: the window, oldest first.
        context: what the laws must know.
        target_tokens: what to cut down to.
        next_id: the id of the first message that the prune writes.
        version: how often the conversation had changed when this was taken.
        total_tokens: what the window cost then.
    """

    units: tuple[Unit, ...]
    context: Context
    target_tokens: int
    next_id: int
    version: int
    total_tokens: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """A plan that was applied: whose it was, and the id of the first message that it wrote, if it wrote any."""

    strategy: str
    plan: Plan
    first_id: int


class MovedError(Exception):
    """What was to be adopted is out of date: others have written to the conversation meanwhile. Look again."""


class Draft:
    """
    The window of a prune in progress.

    Attributes:
        snapshot: what it started from.
        units: the window so far.
        tokens: uncorrected costs of the messages written and edited so far, by id.
        actions, rejected: what goes into the receipt.
        accepted: the plans applied so far.
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
        self._costs = costs

        def count(
            text: str,
        ) -> int:  # a bound method would hand the live costs to whoever asks it for its `__self__`
            return costs.text(text)

        self._shown_count = count

    @property
    def used_tokens(self) -> int:
        """The cost of the window so far, tools and priming included."""
        return self.context.base_tokens + sum(unit.tokens for unit in self.units)

    @property
    def over_budget(self) -> bool:
        """Whether the window so far breaks the law of the budget."""
        return any(laws.budget(Change((), self.units, Plan(), self.context)))

    @property
    def over_target(self) -> bool:
        """Whether there is more to free."""
        return self.used_tokens > self.snapshot.target_tokens

    def count(self, text: str) -> int:
        """Return the tokens of a text."""
        return self._costs.text(text)

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
            count=self._shown_count,
        )

    def _shown(self, unit: Unit, index: int) -> Unit:
        """Return a copy of a unit, all the way down."""
        messages = tuple([message.clone() for message in unit.messages])
        return Unit(
            messages,
            unit.tokens,
            unit.message_tokens,
            unit.role,
            not self.is_droppable(unit),
            index,
        )

    def is_droppable(self, unit: Unit) -> bool:
        """Return whether a plan may drop the unit."""
        return not laws.must_keep(unit, self.context) and unit.first not in self.context.spared

    def spare(self, strategy: str, units: tuple[Unit, ...]) -> None:
        """Protect further units, softly; units that are not of the window are refused."""
        known = {unit.ids for unit in self.units}
        foreign = [unit for unit in units if unit.ids not in known]
        if foreign:
            self.reject(
                strategy, "L5", f"asked to spare {foreign[0]!r}, which is no unit of the window"
            )
        spared = {unit.first for unit in units if unit.ids in known}
        self.context = replace(self.context, spared=self.context.spared | spared)

    def reject(self, strategy: str, law: str, reason: str) -> None:
        """Record a plan that was not applied."""
        self.rejected.append(Rejection(strategy, law, reason))

    def accept(self, strategy: str, plan: Plan) -> bool:
        """Apply a plan if it keeps the laws, else record why not; either way it is all or nothing."""
        try:
            plan = resolve(plan, self.units)
            after, tokens, actions = self._outcome(strategy, plan)
            for violation in laws.check_plan(Change(self.units, after, plan, self.context)):
                raise Refusal(violation.law, violation.reason)
        except Refusal as refusal:
            self.reject(strategy, refusal.law, refusal.reason)
            return False
        except Exception as error:
            self.reject(strategy, "L8", describe(error))
            return False
        self.accepted.append(Accepted(strategy, plan, self.next_id))
        self.units = after
        self.tokens |= tokens
        self.next_id += sum(isinstance(step, Replace) for step in plan.steps)
        self.actions += actions
        return True

    def drop_what_is_needed(self) -> None:
        """
        Drop what may be dropped, oldest first, where the chain left the window over the budget.

        Units of the log go before written ones, down to the target; spared units go last, and only
        until the rest fits the budget: this is what makes a `BudgetError` honest whatever
        strategies are installed.
        """
        if not self.over_budget:
            return
        droppable = [unit for unit in self.units if self.is_droppable(unit)]
        ordinary = sorted(droppable, key=lambda unit: unit.written)
        self._drop(
            ordinary, self.snapshot.target_tokens, "the chain left the window over the budget"
        )
        spared = [unit for unit in self.units if unit.first in self.context.spared]
        self.context = replace(self.context, spared=frozenset())
        releasable = [unit for unit in spared if self.is_droppable(unit)]
        kept = self._drop(
            releasable, self.context.max_tokens, "spared, but the rest does not fit", kind="release"
        )
        spared_on = frozenset(unit.first for unit in kept)
        self.context = replace(self.context, spared=spared_on)

    def culprits(self, tools_tokens: int) -> list[Message | Literal["tools"]]:
        """Return what costs most of what is left, tools included if they cost anything, dearest first."""
        priced: list[tuple[int, Message | Literal["tools"]]] = [
            (tokens, message.clone())
            for unit in self.units
            for message, tokens in zip(unit.messages, unit.message_tokens, strict=True)
        ]
        if tools_tokens:
            priced.append((tools_tokens, "tools"))
        return [item for _, item in sorted(priced, key=lambda pair: -pair[0])[:MAX_CULPRITS]]

    def replay(self, snapshot: Snapshot, costs: Costs) -> "Draft":
        """
        Return a draft of a newer snapshot with the same plans applied, as far as they still keep
        the laws.

        By the costs of now: what a message costs may have been learnt anew meanwhile.

        What a plan wrote gets another id there, since the log may have taken its own meanwhile: the
        plans after it are told so.
        """
        draft = Draft(snapshot, costs)
        present = {unit.first for unit in snapshot.units}
        draft.context = replace(draft.context, spared=self.context.spared & present)
        draft.rejected = list(self.rejected)
        names: dict[int, int] = {}
        first_written = min((accepted.first_id for accepted in self.accepted), default=self.next_id)
        for accepted in self.accepted:
            first_id = draft.next_id
            steps = [
                renamed(step, draft.units, names, first_written) for step in accepted.plan.steps
            ]
            if None in steps:
                draft.reject(
                    accepted.strategy, "L5", "it counts on a plan that is no longer applied"
                )
            elif draft.accept(
                accepted.strategy, Plan(tuple(step for step in steps if step is not None))
            ):
                written = range(draft.next_id - first_id)
                names |= {accepted.first_id + place: first_id + place for place in written}
        return draft

    def _drop(self, units: list[Unit], down_to: int, reason: str, kind: str = "drop") -> list[Unit]:
        """Drop units in the given order until the window costs at most `down_to`; return those kept."""
        used, count = self.used_tokens, 0
        while used > down_to and count < len(units):
            used -= units[count].tokens
            count += 1
        gone = {unit.first for unit in units[:count]}
        self.units = tuple(unit for unit in self.units if unit.first not in gone)
        self.actions += [
            Action(kind, CORE, reason, unit.ids, unit.tokens) for unit in units[:count]
        ]
        return units[count:]

    def _outcome(
        self, strategy: str, plan: Plan
    ) -> tuple[tuple[Unit, ...], dict[int, int], list[Action]]:
        """Return the window that a plan leads to, what it wrote costs, and what it did."""
        window = {unit.first: unit for unit in self.units}
        edits = any(isinstance(step, Edit) for step in plan.steps)
        home = (
            {message.id: unit.first for unit in self.units for message in unit.messages}
            if edits
            else {}
        )
        tokens: dict[int, int] = {}
        actions: list[Action] = []
        next_id = self.next_id
        for step in plan.steps:
            reason = step.reason or "no reason given"
            if isinstance(step, Edit):
                first = home[step.message.id]
                before = window[first]
                window[first] = self._edited(step, before, tokens)
                freed = before.tokens - window[first].tokens
                actions.append(Action("edit", strategy, reason, (step.message.id,), freed))
                continue
            for unit in step.units:
                del window[unit.first]
            if isinstance(step, Drop):
                actions += [
                    Action("drop", strategy, reason, unit.ids, unit.tokens) for unit in step.units
                ]
                continue
            window[next_id] = self._written(step, next_id, tokens)
            replaced = tuple(message_id for unit in step.units for message_id in unit.ids)
            freed = sum(unit.tokens for unit in step.units) - window[next_id].tokens
            actions.append(Action("replace", strategy, reason, replaced, freed))
            next_id += 1
        units = list(window.values())
        if (
            next_id > self.next_id
        ):  # what was written stands at its oldest source; the rest is in order
            units.sort(key=lambda unit: unit.place)
        return tuple(units), tokens, actions

    def _written(self, step: Replace, message_id: int, tokens: dict[int, int]) -> Unit:
        """Make the unit of a written message."""
        sources = laws.sources_of(step.units)
        if not sources:
            raise Refusal("L15", "a summary of nothing")
        wire = read_message({"role": step.role, "content": step.content})
        covered = hash_of(message for unit in step.units for message in unit.messages)
        message = Message(message_id, wire, False, sources, covered)
        tokens[message_id] = self._costs.message(message)
        return make_unit([message], [self._costs.corrected(tokens[message_id])])

    def _edited(self, step: Edit, unit: Unit, tokens: dict[int, int]) -> Unit:
        """Make the unit of an edited message."""
        new = step.message.with_content(step.content)
        at = unit.ids.index(new.id)
        tokens[new.id] = self._costs.message(new, unit.messages[0] if at else None)
        messages, figures = list(unit.messages), list(unit.message_tokens)
        messages[at], figures[at] = new, self._costs.corrected(tokens[new.id])
        return make_unit(messages, figures)
