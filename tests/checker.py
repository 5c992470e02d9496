"""
An independent judge of windows: L1 to L5 on plain dicts.

It shares no code with `ctxwin.laws` or `ctxwin.history`: units are found by looking at the whole log again, and
messages are told apart by a key `uid` that the tests put on each of them and that nothing else looks at.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Wire = dict[str, Any]
SYSTEM = ("system", "developer")
RESULT = ("tool", "function")


@dataclass
class Logged:
    """A message of the log, and whether it must never leave."""

    wire: Wire
    pinned: bool = False

    @property
    def uid(self) -> int:
        uid: int = self.wire["uid"]
        return uid


@dataclass
class LogUnit:
    """A message with all results that answer it, by position in the log."""

    positions: list[int]
    missing: int = 0
    orphan: bool = False


@dataclass
class Verdict:
    """What is wrong with a window."""

    faults: list[str] = field(default_factory=list)

    def add(self, law: str, text: str) -> None:
        self.faults.append(f"{law}: {text}")


def uid_log(wires: Sequence[Wire]) -> list[Logged]:
    """Number the messages of a real log, system and developer messages pinned."""
    return [Logged({**wire, "uid": number}, wire["role"] in SYSTEM) for number, wire in enumerate(wires)]


def wanted(wire: Wire) -> list[str | None]:
    """What the calls of a message wait for: ids, None for a call without one, "()" for a legacy call."""
    if wire.get("tool_calls"):
        return [call.get("id") or None for call in wire["tool_calls"]]
    return ["()"] if wire.get("function_call") else []


def answers(wire: Wire) -> str | None:
    return "()" if wire["role"] == "function" else wire.get("tool_call_id") or None


def units_of(log: Sequence[Logged]) -> list[LogUnit]:
    """Group a log: each result goes to the nearest call before it that still lacks it."""
    units: list[LogUnit] = []
    for position, logged in enumerate(log):
        if logged.wire["role"] not in RESULT:
            units.append(LogUnit([position], len(wanted(logged.wire))))
            continue
        for unit in reversed(units):
            given = Counter(answers(log[p].wire) for p in unit.positions[1:])
            lacking = Counter(wanted(log[unit.positions[0]].wire)) - given
            if not unit.orphan and lacking[answers(logged.wire)]:
                unit.positions.append(position)
                unit.missing -= 1
                break
        else:
            units.append(LogUnit([position], orphan=True))
    return units


def sendable(log: Sequence[Logged]) -> list[LogUnit]:
    """The units that a window may hold: complete ones, and a pending one at the very end."""
    units = [unit for unit in units_of(log) if not unit.orphan]
    return [unit for unit in units if not unit.missing or unit is units[-1]]


def kept_units(log: Sequence[Logged]) -> list[LogUnit]:
    """The units that no window may lack."""
    units = sendable(log)
    users = [unit for unit in units if log[unit.positions[0]].wire["role"] == "user"]
    newest = [unit for unit in units if log[unit.positions[0]].wire["role"] not in SYSTEM][-1:]
    kept = [unit for unit in units if any(log[position].pinned for position in unit.positions)]
    return [unit for unit in units if unit in kept or unit in users[-1:] or unit in newest]


def judge(
    log: Sequence[Logged],
    window: Sequence[Wire],
    *,
    max_tokens: int,
    cost: Callable[[Sequence[Wire]], int],
    may_edit: bool = False,
) -> list[str]:
    """Return every fault of a window; written messages have no `uid` and are passed over, but for L1 and L2."""
    verdict = Verdict()
    if window and cost(window) > max_tokens:
        verdict.add("L1", f"costs {cost(window)} of {max_tokens}")
    _judge_pairs(log, window, verdict)
    by_uid = {logged.uid: logged for logged in log}
    present = {wire["uid"]: wire for wire in window if "uid" in wire}
    for unit in kept_units(log):
        for position in unit.positions:
            logged = log[position]
            edited = present.get(logged.uid)
            if edited is None:
                verdict.add("L3/L4", f"{logged.wire} is missing")
            elif edited != logged.wire and not (may_edit and logged.wire["role"] in RESULT and not logged.pinned):
                verdict.add("L3/L4", f"{logged.wire} became {edited}")
    for uid, wire in present.items():
        if uid not in by_uid or {**wire, "content": 0} != {**by_uid[uid].wire, "content": 0}:
            verdict.add("L5", f"{wire} is not of the log")
        elif wire != by_uid[uid].wire and not may_edit:
            verdict.add("L6", f"{by_uid[uid].wire} became {wire}")
    expected = [log[p].uid for unit in sendable(log) for p in unit.positions if log[unit.positions[0]].uid in present]
    if [wire["uid"] for wire in window if "uid" in wire] != expected:
        verdict.add("L5", f"order {list(present)} instead of {expected}")
    return verdict.faults


def _judge_pairs(log: Sequence[Logged], window: Sequence[Wire], verdict: Verdict) -> None:
    """Check that results stand directly behind their call, all of them but at the tail."""
    open_calls: Counter[str | None] = Counter()
    for wire in window:
        if wire["role"] in RESULT:
            if not open_calls[answers(wire)]:
                verdict.add("L2", f"{wire} has no call before it")
            open_calls[answers(wire)] -= 1
            continue
        if +open_calls:
            verdict.add("L2", f"calls {+open_calls} have no result before {wire}")
        open_calls = Counter(wanted(wire))
    units = units_of(log)
    if +open_calls and not [unit for unit in units if not unit.orphan][-1].missing:
        verdict.add("L2", f"calls {+open_calls} at the tail are not pending")
