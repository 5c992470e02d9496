"""
How a history groups into units, found by reading all of it again.

This shares no code with `ctxwin.log.history`, which groups messages one by one as they are
appended.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeAlias

from ctxwin.counting import TokenCounter

SYSTEM = ("system", "developer")
RESULT = ("tool", "function")

AnyMessage: TypeAlias = Mapping[str, Any]


@dataclass
class LogUnit:
    """
    A message and all results that answer it, as positions in the history.

    An orphan stands in no window: a result without its call, or a message that says nothing.
    """

    positions: list[int]
    lacks: Counter[str]
    orphan: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it lacks results."""
        return bool(+self.lacks)


def pins_of(
    before: Sequence[AnyMessage], pinned: Collection[int], unpinned: Collection[int] = ()
) -> set[int]:
    """Return the positions of pinned messages: also system and developer ones, unless unpinned."""
    system = {position for position, wire in enumerate(before) if wire["role"] in SYSTEM}
    return (system - set(unpinned)) | set(pinned)


def kept_messages(
    before: Sequence[AnyMessage], pinned: Collection[int] = (), unpinned: Collection[int] = ()
) -> list[AnyMessage]:
    """Return the messages that every window must have; if they do not fit, no window is valid."""
    units = kept_units(before, pins_of(before, pinned, unpinned))
    return [before[position] for unit in units for position in unit.positions]


def units_of(before: Sequence[AnyMessage]) -> list[LogUnit]:
    """Group a history into units, orphans first."""
    # A result answers the nearest call before it that still lacks one with its id.
    units: list[LogUnit] = []
    orphans: list[LogUnit] = []
    for position, wire in enumerate(before):
        if is_mute(wire):
            orphans.append(LogUnit([position], Counter(), orphan=True))
            continue
        if wire["role"] not in RESULT:
            units.append(LogUnit([position], Counter(wanted(wire))))
            continue
        key = answers(wire)
        unit = next((unit for unit in reversed(units) if unit.lacks[key] > 0), None)
        if unit is None:
            orphans.append(LogUnit([position], Counter(), orphan=True))
            continue
        unit.positions.append(position)
        unit.lacks[key] -= 1
    return orphans + units


def sendable(before: Sequence[AnyMessage]) -> list[LogUnit]:
    """Return the units that a window may hold: complete ones, and a pending one at the very end."""
    units = [unit for unit in units_of(before) if not unit.orphan]
    return [unit for unit in units if not unit.is_open or unit is units[-1]]


def kept_units(before: Sequence[AnyMessage], pinned: Collection[int]) -> list[LogUnit]:
    """Return the units that every window must have: pinned ones, the question, the newest unit."""
    units = sendable(before)
    current = _current(before, units)
    return [
        unit
        for unit in units
        if unit in current or any(place in pinned for place in unit.positions)
    ]


def current_positions(before: Sequence[AnyMessage], ask_every: int) -> set[int]:
    """Return the positions of the question and the newest unit, at every call of `messages()`."""
    found: set[int] = set()
    for length in {len(before), *(range(ask_every, len(before), ask_every) if ask_every else ())}:
        for unit in _current(before, sendable(before[:length])):
            found.update(unit.positions if unit is not None else ())
    return found


def costs_left(
    counter: TokenCounter, before: Sequence[AnyMessage], pinned: Collection[int]
) -> list[int]:
    """Return a window's cost with all units, without the oldest droppable one, without two, ..."""
    units, kept = sendable(before), kept_units(before, pins_of(before, pinned))
    costs = [
        sum(counter.count_message(before[position]) for position in unit.positions)
        for unit in units
    ]
    droppable = [-cost for unit, cost in zip(units, costs, strict=True) if unit not in kept]
    return list(accumulate(droppable, initial=counter.count_request(()) + sum(costs)))


def frozen_positions(
    before: Sequence[AnyMessage], pinned: Collection[int], *, question_edits: bool
) -> set[int]:
    """Return the positions of messages that no plan may edit."""
    units = sendable(before)
    question, newest = _current(before, units)
    frozen: set[int] = set()
    for unit in units:
        frozen.update(place for place in unit.positions if place in pinned)
        if (unit is question and not question_edits) or (unit is newest and unit is not question):
            frozen.add(unit.positions[0])
    return frozen


def _current(
    before: Sequence[AnyMessage], units: Sequence[LogUnit]
) -> tuple[LogUnit | None, LogUnit | None]:
    """
    Return the question's unit and the newest unit; None for each that does not exist.

    The newest unit is the last one of the history that is not a system message. If it cannot be
    sent, because a system message follows a call without results, no older unit takes its place.
    """
    apart = (*SYSTEM, *RESULT)
    heads = [
        position
        for position, wire in enumerate(before)
        if wire["role"] not in apart and not is_mute(wire)
    ]
    talk = [unit for unit in units if unit.positions[0] in heads]
    users = [unit for unit in talk if before[unit.positions[0]]["role"] == "user"]
    newest = talk[-1] if talk and talk[-1].positions[0] == heads[-1] else None
    return users[-1] if users else None, newest


def is_mute(wire: AnyMessage) -> bool:
    """
    Return whether it is an assistant's message without calls that says nothing to anybody.

    Reasoning alone is nothing said; a refusal, audio, an image or a file is.
    """
    if wire["role"] != "assistant" or wanted(wire) or wire.get("refusal") or wire.get("audio"):
        return False
    content = wire.get("content") or ()
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    hidden = ("thinking", "redacted_thinking", "reasoning")
    return all(part["type"] in hidden or part.get("text") == "" for part in parts)


def wanted(wire: AnyMessage) -> list[str]:
    """Return a key for each call: `#` and its id, `""` without an id, `"()"` for a legacy call."""
    if wire.get("tool_calls"):
        return [f"#{call['id']}" if call.get("id") else "" for call in wire["tool_calls"]]
    return ["()"] if wire.get("function_call") else []


def answers(wire: AnyMessage) -> str:
    """Return the key of the call that a result answers, as in `wanted`."""
    if wire["role"] == "function":
        return "()"
    return f"#{wire['tool_call_id']}" if wire.get("tool_call_id") else ""


def positions(ids: Sequence[int], chosen: Collection[int]) -> frozenset[int]:
    """Return the positions of the chosen ids."""
    return frozenset(position for position, number in enumerate(ids) if number in chosen)
