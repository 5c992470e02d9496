"""
Strategies that break one law each, and strategies that look strange and break none.

Each section holds the strategies that break one law. `SABOTEURS` has the law and the claims of
each, and `ODDITIES` has those that break none.
"""

import json
import random
import threading
import time
import types
import zlib
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from time import time as now
from typing import Any, ClassVar

from ctxwin import Message, Plan, PruneRequest, Receipt, Summarize, SummarizerError, Unit, hookimpl
from ctxwin.laws.edits import is_json_document
from ctxwin.laws.graphemes import floor_boundary
from ctxwin.testing import FailingSummarizer, ScriptedSummarizer

REASON = "sabotage"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Behaves:
    """A strategy whose behaviour is a function of the request."""

    def __init__(self, behave: Callable[[PruneRequest], Any]) -> None:
        self.behave = behave
        self.name = behave.__name__.strip("_").replace("_", "-")

    def __repr__(self) -> str:
        return f"Behaves({self.behave.__name__})"

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Any:
        return self.behave(request)


def oldest(request: PruneRequest, excess_tokens: int | None = None) -> list[Unit]:
    """Return the units that drop-oldest would drop."""
    excess = request.excess_tokens if excess_tokens is None else excess_tokens
    units, freed = [], 0
    for unit in request.droppable:
        if freed >= excess:
            break
        units.append(unit)
        freed += unit.tokens
    return units


def drop(units: Iterable[Unit]) -> Plan | None:
    found = list(units)
    return Plan.drop(found, REASON) if any(unit.tokens for unit in found) else None


def texts_of(request: PruneRequest) -> list[Message]:
    """Return the editable messages whose content is text."""
    return [message for message in request.editable if isinstance(message.content, str)]


# L1: strategies that claim to reach the target.


def off_by_one(request: PruneRequest) -> Plan | None:
    return drop(oldest(request, request.excess_tokens - 1))


def one_too_few(request: PruneRequest) -> Plan | None:
    return drop(oldest(request)[:-1])


def three_at_most(request: PruneRequest) -> Plan | None:
    return drop(oldest(request)[:3])


def counts_an_overhead_twice(request: PruneRequest) -> Plan | None:
    units, freed = [], 0
    for unit in request.droppable:
        if freed >= request.excess_tokens:
            break
        units.append(unit)
        freed += unit.tokens + len(unit.messages)
    return drop(units)


def aims_at_the_budget(request: PruneRequest) -> Plan | None:
    return drop(oldest(request, request.used_tokens - request.max_tokens))


# L2.


def _part(unit: Unit, which: slice) -> Unit:
    figures = unit.message_tokens[which]
    return replace(unit, messages=unit.messages[which], message_tokens=figures, tokens=sum(figures))


def drops_the_call_alone(request: PruneRequest) -> Plan | None:
    return drop([_part(unit, slice(1)) for unit in request.droppable if len(unit.messages) > 1][:1])


def drops_the_last_of_parallel_results(request: PruneRequest) -> Plan | None:
    return drop(
        [_part(unit, slice(-1)) for unit in request.droppable if len(unit.messages) > 2][:1]
    )


def drops_two_exchanges_as_one(request: PruneRequest) -> Plan | None:
    pairs = [unit for unit in request.droppable if len(unit.messages) > 1]
    if len(pairs) < 2:
        return None
    return drop([replace(pairs[0], messages=pairs[0].messages + pairs[1].messages)])


def drops_results_and_keeps_the_call(request: PruneRequest) -> Plan | None:
    return drop(
        [_part(unit, slice(1, None)) for unit in request.droppable if len(unit.messages) > 1][:1]
    )


# L3.


def forgets_pins_when_the_model_fails(
    request: PruneRequest,
) -> Generator[Summarize, str, Plan | None]:
    units = oldest(request)
    if sum(unit.tokens for unit in units) < 20:
        return drop(units)
    try:
        text = yield Summarize(ScriptedSummarizer("s"), units[0].messages, max_tokens=10)
    except SummarizerError:
        return drop([unit for unit in request.units if unit.pinned][:1] or units)
    return Plan.replace(units, text, reason=REASON)


def ignores_pins(request: PruneRequest) -> Plan | None:
    current = {unit.index for unit in request.units if unit.role == "user"} | {
        len(request.units) - 1
    }
    newest = [unit.index for unit in request.units if unit.role not in ("system", "developer")][-1:]
    return drop([unit for unit in request.units if unit.index not in current | set(newest)][:1])


def spares_nothing_for_others(request: PruneRequest) -> Plan | None:
    users = [unit.index for unit in request.units if unit.role == "user" and not unit.written]
    ordinary = [
        unit.index
        for unit in request.units
        if unit.role not in ("system", "developer") and not unit.written
    ]
    kept = {*users[-1:], *ordinary[-1:]}
    free = [
        unit
        for unit in request.units
        if unit.index not in kept and not any(m.pinned for m in unit.messages)
    ]
    return drop(free[:1])


def six_pins_at_most(request: PruneRequest) -> Plan | None:
    return drop([unit for unit in request.units if unit.pinned][:-6])


def drops_what_system_says_twice(request: PruneRequest) -> Plan | None:
    said: list[Any] = []
    for unit in request.units[::-1]:
        if unit.role == "system" and not unit.written and unit.messages[0].content in said:
            return drop([unit])
        said.append(unit.messages[0].content if unit.role == "system" else None)
    return None


def shortens_a_pinned_message(request: PruneRequest) -> Plan | None:
    for unit in request.units[:-1]:
        message = unit.messages[0]
        if message.pinned and unit.role == "system" and message.content:
            return Plan.edit(message, "", REASON)
    return None


# L4.


def emptied(request: PruneRequest, message: Message) -> Plan | None:
    cheaper = request.count("") < request.count(str(message.content))
    return Plan.edit(message, "", REASON) if cheaper else None


def drops_the_question(request: PruneRequest) -> Plan | None:
    users = [unit for unit in request.units if unit.role == "user" and not unit.written]
    return drop([unit for unit in users[-1:] if not unit.pinned])


def drops_the_newest(request: PruneRequest) -> Plan | None:
    talk = [
        unit
        for unit in request.units
        if unit.role not in ("system", "developer") and not unit.written
    ]
    return drop([unit for unit in talk[-1:] if not unit.pinned])


def empties_the_newest_call(request: PruneRequest) -> Plan | None:
    talk = [unit for unit in request.units if unit.role not in ("system", "developer")]
    for unit in talk[-1:]:
        if (
            unit.role == "assistant"
            and not unit.pinned
            and isinstance(unit.messages[0].content, str)
        ):
            return emptied(request, unit.messages[0])
    return None


def empties_the_question(request: PruneRequest) -> Plan | None:
    users = [unit for unit in request.units if unit.role == "user" and not unit.written]
    for unit in users[-1:]:
        message = unit.messages[0]
        if not unit.pinned and message not in request.editable and isinstance(message.content, str):
            return emptied(request, message)
    return None


# L5.


def drops_what_is_not_there(request: PruneRequest) -> Plan:
    message = Message(10**6, {"role": "user", "content": "of another conversation"})
    return Plan.drop([Unit((message,), 10, (10,), "user")], REASON)


def edits_what_is_not_there(request: PruneRequest) -> Plan:
    return Plan.edit(
        Message(10**6, {"role": "user", "content": "of another conversation"}), "", REASON
    )


def drops_what_left_long_ago(request: PruneRequest) -> Plan | None:
    first = request.units[0]
    number = first.messages[0].id
    if number < 2 or first.written:
        return None
    message = Message(number - 1, {"role": "user", "content": "gone"})
    return Plan.drop([Unit((message,), 5, (5,), "user")], REASON)


# L6.


def cuts_in_the_middle(request: PruneRequest) -> Plan | None:
    for message in texts_of(request):
        content = str(message.content)
        if len(content) > 4 and not is_json_document(content) and floor_boundary(content, 3) != 3:
            return Plan.edit(message, content[:3], REASON)
    return None


def halves_json(request: PruneRequest) -> Plan | None:
    for message in texts_of(request):
        content = str(message.content)
        if is_json_document(content) and len(content) > 30:
            return Plan.edit(message, content[: floor_boundary(content, len(content) // 2)], REASON)
    return None


def shortens_reasoning(request: PruneRequest) -> Plan | None:
    for message in request.editable:
        for part in message.content if isinstance(message.content, list) else ():
            if part["type"] == "thinking":
                return Plan.edit(message, [{**part, "thinking": ""}], REASON)
    return None


def ellipsis_joins_a_mark(request: PruneRequest) -> Plan | None:
    for message in texts_of(request):
        content = str(message.content)
        shorter = request.count(content[:5]) < request.count(content)
        if len(content.split()) > 8 and shorter and not is_json_document(content):
            return Plan.edit(message, f"{content[:5]}\u0301", REASON)
    return None


# L7.


def drops_nothing(request: PruneRequest) -> Plan:
    return Plan.drop([], REASON)


def plans_nothing(request: PruneRequest) -> Plan:
    return Plan()


def edits_to_the_same(request: PruneRequest) -> Plan | None:
    texts = texts_of(request)
    return Plan.edit(texts[0], texts[0].content, REASON) if texts else None


def adds_a_note(request: PruneRequest) -> Plan | None:
    for message in texts_of(request):
        if not is_json_document(message.content):
            return Plan.edit(
                message, f"{message.content} (this is an old message, and may be ignored)", REASON
            )
    return None


def cuts_bytes_of_what_is_very_long(request: PruneRequest) -> Plan | None:
    for message in texts_of(request):
        content = str(message.content)
        if len(content) > 2000 and not is_json_document(content):
            cut = content.encode("utf-8", "surrogatepass")[:1999].decode(errors="ignore")
            return (
                Plan.edit(message, cut, REASON)
                if request.count(cut) < request.count(content)
                else None
            )
    return None


# L8.


def expects_json_arguments(request: PruneRequest) -> Plan | None:
    for unit in request.units:
        for call in unit.messages[0].tool_calls:
            json.loads(call["function"]["arguments"] or "{}")
    return drop(oldest(request))


def expects_to_be_over_the_budget(request: PruneRequest) -> Plan | None:
    assert request.used_tokens > request.max_tokens
    return drop(oldest(request))


def _summary_or_error(
    request: PruneRequest, quoted: slice
) -> Generator[Summarize, str, Plan | None]:
    units = oldest(request)
    if sum(unit.tokens for unit in units) < 30:
        return None
    try:
        text = yield Summarize(ScriptedSummarizer("s"), units[0].messages, max_tokens=20)
    except SummarizerError as error:
        text = str(error)[quoted]
    if request.count(text) + 8 > sum(unit.tokens for unit in units):
        return drop(units)
    return Plan.replace(units, text, reason=REASON)


def quotes_the_error(request: PruneRequest) -> Generator[Summarize, str, Plan | None]:
    return (yield from _summary_or_error(request, slice(30)))


def raises(request: PruneRequest) -> Plan:
    raise ValueError("I do not like it")


def raises_without_droppable(request: PruneRequest) -> Plan | None:
    return drop([request.droppable[0]])


def raises_on_missing_content(request: PruneRequest) -> Plan | None:
    words = [len(str(unit.messages[0].content + "").split()) for unit in request.units]  # type: ignore[operator]
    return drop(oldest(request)) if words else None


def returns_units(request: PruneRequest) -> Any:
    return oldest(request)


def returns_a_coroutine(request: PruneRequest) -> Any:
    async def answer() -> None: ...

    return answer()


def yields_junk(request: PruneRequest) -> Generator[Any, Any, None]:
    yield "a summary, please"


def yields_for_ever(request: PruneRequest) -> Generator[Summarize, str, None]:
    while True:
        yield Summarize(ScriptedSummarizer("ok"), request.units[0].messages, max_tokens=100)


def leaves_the_process(request: PruneRequest) -> Plan:
    raise SystemExit(3)


def expects_content_to_be_given(request: PruneRequest) -> Plan | None:
    return (
        drop(oldest(request))
        if [unit.messages[0].to_dict()["content"] for unit in request.units]
        else None
    )


def expects_one_summary_at_most(request: PruneRequest) -> Plan | None:
    assert sum(unit.written for unit in request.units) < 2
    return drop(oldest(request))


def expects_its_second_summary(request: PruneRequest) -> Generator[Summarize, str, Plan | None]:
    units = oldest(request)
    if sum(unit.tokens for unit in units) < 30:
        return drop(units)
    try:
        yield Summarize(ScriptedSummarizer("s"), units[0].messages, max_tokens=20)
    except SummarizerError:
        return drop(units)
    try:
        text = yield Summarize(ScriptedSummarizer("t"), units[-1].messages, max_tokens=20)
    except SummarizerError as error:
        raise RuntimeError("half of it is done") from error
    return Plan.replace(units, text, reason=REASON)


def goes_on_when_cancelled(request: PruneRequest) -> Generator[Summarize, str, Plan | None]:
    units = oldest(request)
    if sum(unit.tokens for unit in units) < 30:
        return drop(units)
    for _ in range(3):
        try:
            yield Summarize(ScriptedSummarizer("s"), units[0].messages, max_tokens=20)
        except BaseException:  # noqa: S112 - to be cancelled as well
            continue
        break
    return drop(units)


def keeps_the_error_as_summary(request: PruneRequest) -> Generator[Summarize, str, Plan | None]:
    return (yield from _summary_or_error(request, slice(-60, None)))


def chokes_on_a_failure(request: PruneRequest) -> Generator[Summarize, str, Plan | None]:
    if not request.droppable:
        return None
    try:
        yield Summarize(ScriptedSummarizer("ok"), request.droppable[0].messages, max_tokens=100)
    except SummarizerError as error:
        raise RuntimeError("no summary") from error
    return None


class RaisingObserver:
    """Raises after the cut."""

    @hookimpl
    def ctxwin_pruned(self, receipt: Receipt) -> None:
        raise OSError("the log file is full")


class JunkProtector:
    """Returns messages in place of units."""

    @hookimpl
    def ctxwin_protect(self, request: PruneRequest) -> Any:
        return [unit.messages[0] for unit in request.units]


# L9.


def marks_what_it_saw(request: PruneRequest) -> Plan | None:
    for unit in request.units:
        unit.messages[0]._wire["seen"] = True
    return drop(oldest(request))


def takes_one_for_true(request: PruneRequest) -> Plan | None:
    for unit in request.units:
        seen = unit.messages[0]._wire.get("metadata", {}).get("seen")
        if seen:
            seen[0] = float(seen[0])
    return drop(oldest(request))


def takes_protection_off(request: PruneRequest) -> Plan | None:
    for unit in request.units:
        object.__setattr__(unit, "protected", False)
    return drop(oldest(request))


class MarksReceipts:
    """Changes the messages of a receipt."""

    @hookimpl
    def ctxwin_pruned(self, receipt: Receipt) -> None:
        for message in receipt.evicted:
            message._wire["archived"] = True


# L10.


def drops_at_random(request: PruneRequest) -> Plan | None:
    return drop([unit for unit in request.droppable if random.random() < 0.5])


def by_reading(request: PruneRequest, reading: int) -> Plan | None:
    """Plan otherwise one step later, and two: clocks that run ahead differ by one, or by two."""
    return (drop(oldest(request)), drop(request.droppable[-1:]), None)[reading % 3]


def drops_by_the_clock(request: PruneRequest) -> Plan | None:
    return by_reading(request, int(time.time() // 3600))


def drops_by_address(request: PruneRequest) -> Plan | None:
    return drop(sorted(request.droppable, key=id)[:1])


def drops_by_the_date(request: PruneRequest) -> Plan | None:
    return by_reading(request, datetime.now(tz=UTC).hour)


def drops_by_an_imported_clock(request: PruneRequest) -> Plan | None:
    return by_reading(request, int(now() // 3600))


def drops_by_the_calendar(request: PruneRequest) -> Plan | None:
    return by_reading(request, int(time.strftime("%M")))  # hours may change twice a year


def gives_up_after_a_while(request: PruneRequest) -> Plan | None:
    end = time.perf_counter() + 1
    return drop([unit for unit in oldest(request) if time.perf_counter() < end])


def tells_the_time(request: PruneRequest) -> Plan | None:
    units = oldest(request)
    return Plan.drop(units, f"dropped at {datetime.now(tz=UTC):%H:%M}") if units else None


class HasAClock:
    """Holds a clock in an attribute."""

    def __init__(self) -> None:
        self.clock = time.time

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
        return (
            drop(oldest(request)) if int(self.clock() // 3600) % 2 else drop(request.droppable[-1:])
        )


class ServesOneAtATime:
    """Keeps its units in an attribute while a model answers, which another conversation changes."""

    def __init__(self) -> None:
        self.units: list[Unit] = []

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Generator[Summarize, str, Plan | None]:
        self.units = oldest(request)
        if sum(unit.tokens for unit in self.units) < 30:
            return drop(self.units)
        yield Summarize(ScriptedSummarizer("s"), self.units[0].messages, max_tokens=20)
        return drop(self.units)


class FirstOneWins:
    """Takes its limit from the first conversation that it sees."""

    def __init__(self) -> None:
        self.limit: int | None = None

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
        if self.limit is None:
            self.limit = request.used_tokens // 3
        return drop(
            [unit for unit in request.droppable if unit.tokens > (self.limit or 0)]
            or oldest(request)
        )


class SharesItsLimit:
    """Keeps the limit of the first conversation in its class."""

    limits: ClassVar[list[int]] = []

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
        self.limits.append(request.used_tokens // 3)
        return drop(
            [unit for unit in request.droppable if unit.tokens > self.limits[0]] or oldest(request)
        )


_COSTS: dict[int, int] = {}


def believes_old_costs(request: PruneRequest) -> Plan | None:
    units, freed = [], 0
    for unit in request.droppable:
        if freed >= request.excess_tokens:
            break
        units.append(unit)
        freed += _COSTS.setdefault(unit.first, unit.tokens)
    return drop(units)


class LocksTheFirst:
    """Takes its limit from the first conversation, and cannot be copied as it is."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.limit: int | None = None

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
        with self.lock:
            self.limit = request.used_tokens // 3 if self.limit is None else self.limit
        return drop(
            [unit for unit in request.droppable if unit.tokens > (self.limit or 0)]
            or oldest(request)
        )


class Alternates:
    """Drops the oldest units every other time."""

    def __init__(self) -> None:
        self.calls = 0

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
        self.calls += 1
        return drop(oldest(request)) if self.calls % 2 else drop(request.droppable[-1:])


class Remembers:
    """Never drops a message id that it has seen before, in any conversation."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
        plan = drop(
            [unit for unit in request.droppable if unit.messages[0].id not in self.seen][:1]
        )
        self.seen.update(unit.messages[0].id for unit in request.units)
        return plan


class Moody:
    """Protects at random."""

    @hookimpl
    def ctxwin_protect(self, request: PruneRequest) -> list[Unit]:
        return [unit for unit in request.units if random.random() < 0.5]


# L14.


def edits_what_it_drops(request: PruneRequest) -> Plan | None:
    units = oldest(request)
    return Plan.edit(units[0].messages[0], "", REASON) + Plan.drop(units, REASON) if units else None


# L15.


def writes_a_blank(request: PruneRequest) -> Plan | None:
    units = oldest(request)
    return Plan.replace(units, " \n", reason=REASON) if units else None


def writes_too_much(request: PruneRequest) -> Plan | None:
    units = oldest(request)
    return Plan.replace(units, "word " * 400, reason=REASON) if units else None


def sums_up_nothing(request: PruneRequest) -> Plan:
    return Plan.replace([], "nothing happened", reason=REASON)


def repeats_in_full(request: PruneRequest) -> Plan | None:
    units = [
        unit
        for unit in request.droppable
        if len(unit.messages) == 1 and isinstance(unit.messages[0].content, str)
    ]
    texts = [str(unit.messages[0].content) for unit in units[:1]]
    return (
        Plan.replace(units[:1], f"summary: {texts[0]}", reason=REASON)
        if units and texts[0].strip()
        else None
    )


def asks_for_any_length(request: PruneRequest) -> Generator[Summarize, str, Plan | None]:
    if not request.droppable:
        return None
    text = yield Summarize(ScriptedSummarizer("s"), request.droppable[0].messages, max_tokens=10**6)
    return Plan.replace(request.droppable, text, reason=REASON)


def sums_up_everything_at_once(request: PruneRequest) -> Generator[Summarize, str, Plan | None]:
    messages = [message for unit in request.droppable for message in unit.messages]
    if sum(unit.tokens for unit in request.droppable) < 20:
        return None
    text = yield Summarize(ScriptedSummarizer("s"), tuple(messages), max_tokens=10)
    return Plan.replace(request.droppable, text, reason=REASON)


# L17.


def speaks_first_as_the_model(request: PruneRequest) -> Plan | None:
    units = oldest(request)
    tokens = sum(unit.tokens for unit in units)
    return Plan.replace(units, "s", "assistant", REASON) if tokens > 40 else None


CLAIMS: dict[str, dict[str, Any]] = {
    "L1": {"reaches_target": True},
    "asks_for_any_length": {"bounds_summaries": True},
    "sums_up_everything_at_once": {"max_source_tokens": 50},
}
_OF_LAW: dict[str, Sequence[Any]] = {
    "L1": [off_by_one, one_too_few, three_at_most, counts_an_overhead_twice, aims_at_the_budget],
    "L2": [
        drops_results_and_keeps_the_call,
        drops_the_call_alone,
        drops_the_last_of_parallel_results,
        drops_two_exchanges_as_one,
    ],
    "L3": [
        *(
            forgets_pins_when_the_model_fails,
            ignores_pins,
            spares_nothing_for_others,
            shortens_a_pinned_message,
        ),
        *(six_pins_at_most, drops_what_system_says_twice),
    ],
    "L4": [drops_the_question, drops_the_newest, empties_the_newest_call, empties_the_question],
    "L5": [drops_what_is_not_there, edits_what_is_not_there, drops_what_left_long_ago],
    "L6": [
        cuts_bytes_of_what_is_very_long,
        cuts_in_the_middle,
        halves_json,
        shortens_reasoning,
        ellipsis_joins_a_mark,
    ],
    "L7": [drops_nothing, plans_nothing, edits_to_the_same, adds_a_note],
    "L8": [
        *(
            raises,
            raises_without_droppable,
            raises_on_missing_content,
            returns_units,
            returns_a_coroutine,
        ),
        *(
            yields_junk,
            yields_for_ever,
            leaves_the_process,
            keeps_the_error_as_summary,
            chokes_on_a_failure,
        ),
        *(
            RaisingObserver,
            JunkProtector,
            expects_json_arguments,
            expects_to_be_over_the_budget,
            quotes_the_error,
        ),
        *(expects_content_to_be_given, expects_one_summary_at_most, expects_its_second_summary),
        goes_on_when_cancelled,
    ],
    "L9": [marks_what_it_saw, takes_one_for_true, takes_protection_off, MarksReceipts],
    "L10": [
        *(
            drops_at_random,
            drops_by_the_clock,
            drops_by_the_date,
            drops_by_an_imported_clock,
            drops_by_address,
        ),
        *(
            drops_by_the_calendar,
            gives_up_after_a_while,
            tells_the_time,
            HasAClock,
            ServesOneAtATime,
        ),
        *(
            Alternates,
            FirstOneWins,
            Remembers,
            Moody,
            SharesItsLimit,
            believes_old_costs,
            LocksTheFirst,
        ),
    ],
    "L14": [edits_what_it_drops],
    "L15": [
        *(writes_a_blank, writes_too_much, sums_up_nothing, repeats_in_full),
        *(asks_for_any_length, sums_up_everything_at_once),
    ],
    "L17": [speaks_first_as_the_model],
}


def made(saboteur: Any) -> object:
    return saboteur() if isinstance(saboteur, type) else Behaves(saboteur)


SABOTEURS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    saboteur.__name__: (law, saboteur, CLAIMS.get(saboteur.__name__, CLAIMS.get(law, {})))
    for law, group in _OF_LAW.items()
    for saboteur in group
}


# Strange, but lawful.


def gives_no_reason(request: PruneRequest) -> Plan | None:
    units = oldest(request)
    return Plan.drop(units) if units else None


def gives_a_blank_reason(request: PruneRequest) -> Plan | None:
    units = oldest(request)
    return Plan.drop(units, "  ") if units else None


def never_helps(request: PruneRequest) -> None:
    return None


def drops_all_it_may(request: PruneRequest) -> Plan | None:
    return drop(request.droppable)


def drops_newest_first(request: PruneRequest) -> Plan | None:
    return drop(oldest(replace(request, droppable=request.droppable[::-1])))


def shuffles_by_content(request: PruneRequest) -> Plan | None:
    def key(unit: Unit) -> int:
        return zlib.crc32(repr(unit.messages[0].content).encode("utf-8", "surrogatepass"))

    return drop(oldest(replace(request, droppable=tuple(sorted(request.droppable, key=key)))))


def rolls_seeded_dice(request: PruneRequest) -> Plan | None:
    dice = random.Random(request.used_tokens)
    return drop([unit for unit in request.droppable if dice.random() < 0.5])


def generates_without_asking(request: PruneRequest) -> Generator[Summarize, str, Plan | None]:
    yield from ()
    return drop(oldest(request))


def names_units_twice_and_anew(request: PruneRequest) -> Plan | None:
    units = [replace(unit, index=99) for unit in oldest(request)]
    return drop([*units, *units])


def speaks_as_system(request: PruneRequest) -> Plan | None:
    units = oldest(request)
    tokens = sum(unit.tokens for unit in units)
    return Plan.replace(units, "s", "system", REASON) if tokens > 40 else None


def drops_replaces_and_edits(request: PruneRequest) -> Plan | None:
    units = list(request.droppable)
    if len(units) < 3 or any(unit.tokens < 40 for unit in units[:2]):
        return None
    plan = Plan.drop(units[:1], REASON) + Plan.replace(units[1:2], "s", reason=REASON)
    message = units[2].messages[0]
    text = message.content if isinstance(message.content, str) and not units[2].written else ""
    # Behind its last letter no mark may be left out, and what is JSON stays so.
    if text.isascii() and not is_json_document(text) and request.count(text) > request.count("s"):
        plan += Plan.edit(message, "s", REASON)
    return plan


def drops_where_the_model_fails(request: PruneRequest) -> Generator[Summarize, str, Plan | None]:
    units = oldest(request)
    if sum(unit.tokens for unit in units) < 30:
        return None
    try:
        text = yield Summarize(FailingSummarizer(), units[0].messages, max_tokens=5)
    except SummarizerError:
        return drop(units)
    return Plan.replace(units, text, reason=REASON)


def lets_the_model_fail(request: PruneRequest) -> Generator[Summarize, str, Plan | None]:
    if not request.droppable:
        return None
    text = yield Summarize(FailingSummarizer(), request.droppable[0].messages, max_tokens=5)
    return Plan.replace(request.droppable, text, reason=REASON)


async def _asleep(messages: Sequence[Message], previous: str | None, max_tokens: int) -> str:
    return "s"


def awaits_its_model(request: PruneRequest) -> Generator[Summarize, str, Plan | None]:
    units = oldest(request)
    if sum(unit.tokens for unit in units) < 30:
        return None
    text = yield Summarize(_asleep, units[0].messages, request.previous_summary, max_tokens=20)
    return Plan.replace(units, text, reason=REASON)


class ScriptedFold:
    """Has a model that never gives the same answer twice."""

    def __init__(self) -> None:
        self.summarizer = ScriptedSummarizer("one", "two", "three", "four")

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Generator[Summarize, str, Plan | None]:
        units = oldest(request)
        if sum(unit.tokens for unit in units) < 60:
            return drop(units)
        text = yield Summarize(self.summarizer, units[0].messages, max_tokens=20)
        return Plan.replace(units, text, reason=REASON)


class CachesSummaries:
    """Never has the same messages summarised twice."""

    def __init__(self) -> None:
        self.cache: dict[str, str] = {}

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Generator[Summarize, str, Plan | None]:
        units = oldest(request)
        if sum(unit.tokens for unit in units) < 60:
            return drop(units)
        messages = [message for unit in units for message in unit.messages]
        key = repr([message.to_dict() for message in messages])
        if key not in self.cache:
            self.cache[key] = yield Summarize(ScriptedSummarizer(), tuple(messages), max_tokens=20)
        return Plan.replace(units, self.cache[key], reason=REASON)


def wraps_the_error(request: PruneRequest) -> Generator[Summarize, str, Plan | None]:
    if not request.droppable:
        return None
    try:
        yield Summarize(ScriptedSummarizer("s"), request.droppable[0].messages, max_tokens=20)
    except SummarizerError as error:
        raise SummarizerError(f"while folding: {error}") from error
    return None


class KeepsCount:
    """Counts calls, caches, and cannot be copied; none of this changes an answer."""

    __slots__ = ("cache", "calls", "lock")

    def __init__(self) -> None:
        self.calls = 0
        self.cache: dict[str, int] = {}
        self.lock = threading.Lock()

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
        with self.lock:
            self.calls += 1
            for unit in request.droppable:
                text = repr(unit.messages[0].content)
                self.cache.setdefault(text, request.count(text))
        return drop(oldest(request))


class SparesEverything:
    """Asks to protect every unit, with a lazy iterator."""

    @hookimpl
    def ctxwin_protect(self, request: PruneRequest) -> Iterable[Unit]:
        return (unit for unit in request.units)


MISSING = object()


class HoldsASentinel:
    """Marks a missing argument with an object of its own."""

    def __init__(self) -> None:
        self.limit: object = MISSING

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
        return drop(oldest(request)) if self.limit is MISSING else None


class SumsUpInChunks:
    """Summarises chunk after chunk, with a model that sometimes answers too long."""

    def __init__(self) -> None:
        self.summarizer = ScriptedSummarizer("one", "two words", "word " * 30, "", "five")

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Generator[Summarize, str, Plan | None]:
        units = oldest(request)
        if sum(unit.tokens for unit in units) < 60:
            return drop(units)
        text = request.previous_summary
        for unit in units[:3]:
            text = yield Summarize(self.summarizer, unit.messages, text, max_tokens=20)
        return Plan.replace(units, text or "nothing", reason=REASON)


def puts_words_for_pictures(request: PruneRequest) -> Plan | None:
    for message in request.editable:
        parts = message.content if isinstance(message.content, list) else []
        shown = [
            {"type": "text", "text": "[image]"} if part["type"] == "image_url" else part
            for part in parts
        ]
        if shown != parts and request.count("[image]") < 40 and len(parts) == 1:
            return Plan.edit(message, shown, REASON)
    return None


def drops_by_date_of_message(request: PruneRequest) -> Plan | None:
    def key(unit: Unit) -> datetime:
        when = unit.messages[0].extra.get("at", EPOCH)
        return when if isinstance(when, datetime) else datetime.fromisoformat(when)

    return drop(oldest(replace(request, droppable=tuple(sorted(request.droppable, key=key)))))


class AsksForNothing:
    """Does not even look at the request."""

    @staticmethod
    @hookimpl
    def ctxwin_prune() -> None:
        return None


class Looks:
    """Only watches."""

    def __init__(self) -> None:
        self.freed = 0

    @hookimpl
    def ctxwin_pruned(self, receipt: Receipt) -> None:
        self.freed += receipt.before_tokens - receipt.after_tokens


def as_module() -> types.ModuleType:
    """A module with a hook is a strategy too."""
    module = types.ModuleType("module_strategy")

    @hookimpl
    def ctxwin_prune(request: PruneRequest) -> Plan | None:
        return drop(oldest(request))

    module.ctxwin_prune = ctxwin_prune  # type: ignore[attr-defined]
    return module


ODDITIES: dict[str, object] = {
    function.__name__: Behaves(function)
    for function in (
        *(
            gives_no_reason,
            gives_a_blank_reason,
            never_helps,
            drops_all_it_may,
            drops_newest_first,
            shuffles_by_content,
            rolls_seeded_dice,
        ),
        *(
            generates_without_asking,
            names_units_twice_and_anew,
            speaks_as_system,
            drops_replaces_and_edits,
        ),
        *(drops_where_the_model_fails, lets_the_model_fail, awaits_its_model, wraps_the_error),
        *(puts_words_for_pictures, drops_by_date_of_message),
    )
} | {
    "ScriptedFold": ScriptedFold(),
    "CachesSummaries": CachesSummaries(),
    "KeepsCount": KeepsCount(),
    "SparesEverything": SparesEverything(),
    "AsksForNothing": AsksForNothing(),
    "HoldsASentinel": HoldsASentinel(),
    "SumsUpInChunks": SumsUpInChunks(),
    "Looks": Looks(),
    "module": as_module(),
}
