"""
What a plan names, in our own terms: a strategy is shown copies, and may forge what it likes.

`resolve` puts the window's own units and messages in the place of those that a plan names, and
refuses what is none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ctxwin.values.plan import Drop, Edit, Plan, Step, Unit


class Refusal(Exception):
    """A plan cannot be carried out: which law it breaks, and how."""

    def __init__(self, law: str, reason: str) -> None:
        self.law = law
        self.reason = reason
        super().__init__(reason)


def resolve(plan: Plan, window: Sequence[Unit]) -> Plan:
    """Return the plan with our own units and messages in place of those that the strategy names."""
    units = {unit.first: unit for unit in window}
    edits = any(isinstance(step, Edit) for step in plan.steps)
    messages = (
        {message.id: message for unit in window for message in unit.messages} if edits else {}
    )
    dropped: set[int] = set()
    touched: set[int] = set()
    steps: list[Step] = []
    for step in plan.steps:
        if not isinstance(step.reason, str):
            raise Refusal("L14", f"a reason must be a string, not {step.reason!r}")
        if isinstance(step, Edit):
            mine = messages.get(step.message.id)
            if mine is None:
                raise Refusal("L5", f"{step.message!r} is not in the window")
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
            raise Refusal("L14", f"two steps of the plan name message {min(touched & named)}")
        touched |= named
    return Plan(tuple(steps))


def renamed(
    step: Step, window: Sequence[Unit], names: Mapping[int, int], next_id: int
) -> Step | None:
    """
    Return a step that was made for an older window, for this one; None where something that it
    names is not there.

    Args:
        step: it names what plans before it wrote by ids from `next_id` on.
        window: the units of the newer window.
        names: the ids that they have there, by their old ones.
        next_id: the first id that was free when the step was made.
    """
    if isinstance(step, Edit):
        return step  # of the log: what was written is not edited
    own = {unit.first: unit for unit in window}
    units = [
        unit if unit.first < next_id else own.get(names.get(unit.first, 0)) for unit in step.units
    ]
    found = tuple(unit for unit in units if unit is not None)
    return replace(step, units=found) if len(found) == len(units) else None


def _own(unit: Unit, units: dict[int, Unit]) -> Unit:
    """Return our own unit for one that a strategy names."""
    mine = units.get(unit.first) if unit.messages else None
    if mine is None:
        whole = next(
            (other for other in units.values() if unit.ids and set(unit.ids) < set(other.ids)), None
        )
        if whole is not None:
            raise Refusal("L2", f"messages {unit.ids} are a part of the unit {whole.ids}")
        raise Refusal("L5", f"{unit!r} is no unit of the window")
    if mine.ids != unit.ids:
        raise Refusal("L2", f"messages {unit.ids} are a part of the unit {mine.ids}")
    return mine
