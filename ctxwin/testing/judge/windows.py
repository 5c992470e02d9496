"""
An independent judge of windows: the laws L1 to L5 and L17 on plain messages, whoever made them.

It shares no code with `ctxwin.laws` or `ctxwin.log.history`, so it finds faults of those too, and
it can judge the output of any library. It reads the whole history again to find the units. A window
is lawful if it can be read as whole units of the history, in order, and no unit is missing that
must be kept.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from ctxwin.counting import TokenCounter
from ctxwin.counting.costs import as_counter
from ctxwin.testing.judge.grouping import (
    RESULT,
    SYSTEM,
    AnyMessage,
    LogUnit,
    answers,
    frozen_positions,
    kept_units,
    pins_of,
    sendable,
    units_of,
    wanted,
)
from ctxwin.values.budget import Budget
from ctxwin.values.message import Message
from ctxwin.values.receipt import Broken

AnyCounter: TypeAlias = TokenCounter | Callable[[str], int]


class InvalidWindowError(AssertionError):
    """
    A window breaks laws.

    Attributes:
        violations: the broken laws, each with `law` and `reason`.
    """

    def __init__(self, violations: Sequence[Broken]) -> None:
        self.violations = tuple(violations)
        super().__init__(
            "\n".join(f"{violation.law}: {violation.reason}" for violation in violations)
        )


def assert_valid_window(  # noqa: PLR0913 - each option is a fact about the window
    before: Sequence[AnyMessage | Message],
    after: Sequence[AnyMessage | Message],
    budget: int | Budget,
    counter: AnyCounter,
    *,
    tools: Sequence[Mapping[str, Any]] = (),
    pinned: Collection[int] = (),
    unpinned: Collection[int] = (),
    protected: Collection[int] = (),
    edits: bool = False,
    question_edits: bool = False,
    written: bool = False,
) -> None:
    """
    Check a window against L1 to L5 and L17.

    Args:
        before: the whole history, OpenAI-style messages or `Message` objects, oldest first.
        after: the window made from it.
        budget: the most that the window may cost, in tokens.
        counter: counts the cost. A callable gets the standard chat overhead, as in a manager.
        tools: the tool schemas sent with the window.
        pinned: positions in `before` that must be kept, besides system and developer messages.
        unpinned: positions of system and developer messages that are no longer pinned.
        protected: positions of messages that plugins asked to protect: these need not be there, but
            may stand before the first user message.
        edits: whether the content of messages may differ, where plans may edit it.
        question_edits: whether the content of the current question may differ too.
        written: whether the window may hold messages from outside the history (summaries). Only L1
            L2 and L17 look at them. `Message` objects say themselves whether they were written.

    Raises:
        InvalidWindowError: an `AssertionError` that names every broken law, and how it is broken.
    """
    knobs: dict[str, Any] = {"tools": tools, "pinned": pinned, "unpinned": unpinned}
    knobs["protected"] = protected
    knobs |= {"edits": edits, "question_edits": question_edits}
    marked = [
        (message, isinstance(message, Message) and bool(message.sources)) for message in after
    ]
    if any(mark for _, mark in marked):
        found = marked_faults(before, marked, budget, counter, **knobs)
    else:
        found = list(window_faults(before, after, budget, counter, written=written, **knobs))
    if found:
        raise InvalidWindowError(found)


def marked_faults(
    before: Sequence[AnyMessage | Message],
    after: Sequence[tuple[AnyMessage | Message, bool]],
    budget: int | Budget,
    counter: AnyCounter,
    **knobs: Any,
) -> list[Broken]:
    """
    Return what is wrong with a window whose messages are marked as written or not.

    The whole window must keep L1, L2 and L17: it must fit, hold tool calls with their results, and
    begin with a user message. Without the written messages it must keep the other laws.
    """
    written = any(mark for _, mark in after)
    whole = window_faults(
        before, [wire for wire, _ in after], budget, counter, written=written, **knobs
    )
    if not written:
        return list(whole)
    own = window_faults(
        before, [wire for wire, mark in after if not mark], budget, counter, **knobs
    )
    laws = ("L1", "L2", "L17")
    return [f for f in whole if f.law in laws] + [f for f in own if f.law not in laws]


def window_faults(  # noqa: PLR0913 - the same options
    before: Sequence[AnyMessage | Message],
    after: Sequence[AnyMessage | Message],
    budget: int | Budget,
    counter: AnyCounter,
    *,
    tools: Sequence[Mapping[str, Any]] = (),
    pinned: Collection[int] = (),
    unpinned: Collection[int] = (),
    protected: Collection[int] = (),
    edits: bool = False,
    question_edits: bool = False,
    written: bool = False,
) -> Iterator[Broken]:
    """Yield what `assert_valid_window` raises; the arguments are the same."""
    before, after = _wires(before), _wires(after)
    max_tokens = budget.window - budget.reserve_output if isinstance(budget, Budget) else budget
    cost = count_request(counter, after, tools)
    if after and cost > max_tokens:
        yield Broken("L1", f"the window costs {cost} tokens, the budget is {max_tokens}")
    units = units_of(before)
    yield from _pair_faults(after, may_end_open=bool(units) and units[-1].is_open)
    pinned = pins_of(before, pinned, unpinned)
    yield from _first_turn_faults(before, after, {*pinned, *protected}, edits=edits)
    exact = (
        frozen_positions(before, pinned, question_edits=question_edits)
        if edits
        else range(len(before))
    )
    reading = _Reading(before, exact, after)
    if reading.strange and not written:
        yield Broken("L5", f"{_short(reading.strange[0])} is not in the history, or was changed")
        return
    yield from reading.faults(kept_units(before, pinned), pinned)


def not_extended(
    earlier: Sequence[Message],
    later: Sequence[Message],
    log: Sequence[AnyMessage],
    ids: Sequence[int],
    known: Collection[int],
) -> list[Message]:
    """
    Return the messages in which a window differs from an earlier one that it should extend.

    There was no cut between the two, so the later one should begin as the earlier one did. Two
    changes are allowed. A call that was pending at the end leaves when something follows it, until
    its results arrive. And an exchange enters at its place when its last result arrives late.

    Args:
        earlier: the earlier window.
        later: the later window.
        log: the history when the later window was made.
        ids: the ids of its messages; there may be more.
        known: the ids of the history when the earlier window was made.
    """
    units = sendable(log)
    sent = {ids[position] for unit in units for position in unit.positions}
    opened = set(ids[: len(log)]) - sent
    late = [unit for unit in units if ids[unit.positions[-1]] not in known]
    arrived = {ids[position] for unit in late for position in unit.positions}
    window, old = {message.id: message for message in later}, {message.id for message in earlier}
    lost = [m for m in earlier if window.get(m.id) != m and m.id not in opened]
    last = max((place for place, number in enumerate(window) if number in old), default=0)
    between = [m for m in later[:last] if m.id not in old and m.id not in arrived]
    return lost + between


def _wires(messages: Sequence[AnyMessage | Message]) -> list[AnyMessage]:
    return [message.to_dict() if isinstance(message, Message) else message for message in messages]


def count_request(
    counter: AnyCounter, messages: Sequence[AnyMessage], tools: Sequence[Mapping[str, Any]] = ()
) -> int:
    """Return the cost of a request, counted with a counter or a callable."""
    return as_counter(counter, None).count_request(messages, tools)


def _pair_faults(after: Sequence[AnyMessage], *, may_end_open: bool) -> Iterator[Broken]:
    """Yield a fault for each call that is not directly followed by all its results."""
    lacking: Counter[str] = Counter()
    caller: AnyMessage = {}
    for wire in after:
        if wire["role"] in RESULT:
            if lacking[answers(wire)] < 1:
                yield Broken("L2", f"the result {_short(wire)} has no call before it")
            lacking[answers(wire)] -= 1
            continue
        if +lacking:
            yield Broken("L2", f"the call {_short(caller)} lacks a result before {_short(wire)}")
        lacking, caller = Counter(wanted(wire)), wire
    if +lacking and not may_end_open:
        yield Broken("L2", f"the call {_short(caller)} lacks a result at the window's end")


def _first_turn_faults(
    before: Sequence[AnyMessage],
    after: Sequence[AnyMessage],
    may_stand: Collection[int],
    *,
    edits: bool,
) -> Iterator[Broken]:
    """
    Yield a fault for each message that stands before the first user message of a cut window.

    Messages at `may_stand` may, and so may what stands before the first user message of the history
    itself. Of equal messages any will do.
    """
    units = sendable(before)
    users = [position for position, wire in enumerate(before) if wire["role"] == "user"]
    talk = [wire for wire in after if wire["role"] not in SYSTEM]
    start = next((place for place, wire in enumerate(talk) if wire["role"] == "user"), 0)
    if len(after) == sum(len(unit.positions) for unit in units) or not users:
        return
    free = [
        unit.positions[0]
        for unit in units
        if unit.positions[0] < users[0] or not set(may_stand).isdisjoint(unit.positions)
    ]
    known = {_key(before[position], content=not edits) for position in free}
    for wire in talk[:start]:
        if wire["role"] not in RESULT and _key(wire, content=not edits) not in known:
            yield Broken("L17", f"{_short(wire)} stands before the first user message")


def lost_first_turns(earlier: Sequence[Message], later: Sequence[Message]) -> list[Message]:
    """
    Return the user messages that a cut took, though without them the window begins with their turn.

    L17 keeps the user message of a turn with what must stay of it. Each may be missing only if it
    does not fit.

    Args:
        earlier: the window before the cut.
        later: the window after it.
    """
    told = {source for message in later for source in message.sources}
    gone = {message.id for message in earlier} - {message.id for message in later} - told
    found: list[Message] = []
    for message in later:
        if message.role == "user":
            return found
        users = [o for o in earlier if o.role == "user" and _place(o) < _place(message)]
        if message.role not in (*SYSTEM, *RESULT) and users and users[-1].id in gone:
            found.append(users[-1])
    return []


def _place(message: Message) -> int:
    """Return where a message stands: a summary at its oldest source."""
    return message.sources[0] if message.sources else message.id


class _Reading:
    """The ways to read a window's messages as whole units of a history, in order."""

    def __init__(
        self, before: Sequence[AnyMessage], exact: Collection[int], after: Sequence[AnyMessage]
    ) -> None:
        """Compare messages at `exact` positions whole, and others without their content."""
        self.before = before
        self._units = sendable(before)
        self._keys = [_key(wire, content=position in exact) for position, wire in enumerate(before)]
        known = set(self._keys)
        self.strange: list[AnyMessage] = []
        self._own: list[AnyMessage] = []
        # Places in the window are bits of a number, so that all are looked at in one step.
        self._where: defaultdict[str, int] = defaultdict(int)
        for wire in after:
            # It may be a message that must be equal as a whole, or one whose content may differ.
            keys = _key(wire, content=True), _key(wire, content=False)
            if known.isdisjoint(keys):
                self.strange.append(wire)
            else:
                for key in keys:
                    self._where[key] |= 1 << len(self._own)
                self._own.append(wire)

    def faults(self, kept: Sequence[LogUnit], pinned: Collection[int]) -> Iterator[Broken]:
        """Yield why no reading has every unit that must be kept; nothing if one does."""
        if self._furthest(kept) == len(self._own):
            return
        furthest = self._furthest([])
        if furthest < len(self._own):
            where = _short(self._own[furthest])
            yield Broken(
                "L5", f"{where} is out of order, there twice, without its unit, or was changed"
            )
            missing = [unit for unit in kept if not self._places(unit)]
        else:
            missing = [
                unit for unit in kept if self._furthest([unit]) < len(self._own)
            ] or self._one_of_equals(kept, pinned)
        for unit in missing:
            law = "L3" if any(place in pinned for place in unit.positions) else "L4"
            kind = "pinned" if law == "L3" else "the current question or the newest unit"
            shown = " + ".join(_short(self.before[position]) for position in unit.positions)
            yield Broken(law, f"{shown} is {kind}, and missing or changed")

    def _one_of_equals(self, kept: Sequence[LogUnit], pinned: Collection[int]) -> list[LogUnit]:
        """Return a kept unit that is missing, although an equal unit is there."""
        held = [unit for unit in kept if any(place in pinned for place in unit.positions)]
        return held[-1:] if self._furthest(held) < len(self._own) else list(kept[-1:])

    def _furthest(self, required: Sequence[LogUnit]) -> int:
        """Return how many messages a reading covers; all only if it has every required unit."""
        # `reach` holds every place in the window up to which the units so far can be read. A unit
        # may be skipped unless it is required.
        reach, best = 1, 0
        needed = {unit.positions[0] for unit in required}
        for unit in self._units:
            matched = (self._places(unit) & reach) << len(unit.positions)
            reach = matched if unit.positions[0] in needed else reach | matched
            best = max(best, matched.bit_length() - 1)
        whole = len(self._own)
        return whole if reach >> whole & 1 else min(best, whole - 1)

    def _places(self, unit: LogUnit) -> int:
        """Return the places in the window where the unit, or an equal one, begins."""
        places = -1
        for offset, position in enumerate(unit.positions):
            places &= self._where[self._keys[position]] >> offset
        return places


def _key(wire: AnyMessage, *, content: bool) -> str:
    """Return a message as a key to compare, with or without its content."""
    return json.dumps(
        wire if content else [{**wire, "content": None}], sort_keys=True, default=dict
    )


def _short(wire: AnyMessage) -> str:
    """Return a message as the text of a fault shows it."""
    text = (
        wire.get("content")
        if isinstance(wire.get("content"), str)
        else json.dumps(wire.get("content"))
    )
    shown = repr(text if len(str(text)) <= 40 else f"{str(text)[:37]}...")
    return f"{wire.get('role')} {shown}"
