"""
The laws of a window, as pure functions.

`log` = every message appended, oldest first. `window` = what `messages()` returns. `LAWS` lists all
sixteen. Laws of kind W speak about one window: each has a function of a `Outcome` (units before,
units after, the plan, the context) that yields what is wrong. The manager applies them to every
plan before it takes effect, and the one about the budget to what comes out at the end. Laws of kind
M speak about the manager over a sequence of calls: they have no function, tests prove them.

Rules for this module: no state, no repair, no trust. A function reads what was before and what
would be after, and never asks how it came about.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from ctxwin.laws.edits import edit_faults
from ctxwin.values.message import Message, answer_key, call_keys
from ctxwin.values.plan import Drop, Edit, Plan, Replace, Unit
from ctxwin.values.receipt import Broken
from ctxwin.values.wire import RESULT_ROLES


@dataclass(frozen=True, slots=True)
class Context:
    """
    What a law must know beside the window.

    Attributes:
        base_tokens: the cost of a request without messages: tools and priming.
        max_tokens: the budget.
        question: id of the current question (the last user message), or None.
        newest: ids of the newest unit's messages; `()` in an empty window.
        allow_question_edit: whether a declared edit may shorten the question.
        protected_by_plugin: ids of the first messages of the units that plugins asked to spare and that are not
            released.
    """

    base_tokens: int
    max_tokens: int
    question: int | None = None
    newest: tuple[int, ...] = ()
    allow_question_edit: bool = False
    protected_by_plugin: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Outcome:
    """A window before and after a plan; units oldest first, the plan's units and messages as they stood before."""

    before: tuple[Unit, ...]
    after: tuple[Unit, ...]
    plan: Plan
    context: Context

    @cached_property
    def gone(self) -> tuple[Unit, ...]:
        """The units of before that are not in after as the same object: what most laws need look at."""
        kept = set(map(id, self.after))
        return tuple([unit for unit in self.before if id(unit) not in kept])

    @cached_property
    def new(self) -> tuple[Unit, ...]:
        """The units of after that are not in before as the same object."""
        known = set(map(id, self.before))
        return tuple([unit for unit in self.after if id(unit) not in known])


def budget(outcome: Outcome) -> Iterator[str]:
    """L1: the window costs no more than the budget."""
    cost = outcome.context.base_tokens + sum(unit.tokens for unit in outcome.after)
    if outcome.after and cost > outcome.context.max_tokens:
        yield f"the window costs {cost} tokens, the budget is {outcome.context.max_tokens}"


def tool_units(outcome: Outcome) -> Iterator[str]:
    """L2: results stand directly behind their call, all of them; only the last unit may lack some."""
    last = outcome.after[-1] if outcome.after else None
    for unit in outcome.after:
        head, results = unit.messages[0], unit.messages[1:]
        keys = call_keys(head)
        if not keys and not results and head.role not in RESULT_ROLES:
            continue  # a message and nothing more, which most units are
        calls = Counter(keys)
        answers = Counter(answer_key(message) for message in results)
        if head.role in RESULT_ROLES:
            yield f"result {head.id} stands without its call"
        elif any(message.role not in RESULT_ROLES for message in results) or answers - calls:
            yield f"the unit of message {head.id} holds what is no result of its calls"
        elif calls - answers and unit is not last:
            yield f"message {head.id} has calls without results, and is not the last unit"


def pins(outcome: Outcome) -> Iterator[str]:
    """L3: pinned units, and units that are spared, stay as they are (a pin on one message keeps its exchange)."""
    for unit in outcome.gone:
        if (unit.pinned or unit.first in outcome.context.protected_by_plugin) and unit not in outcome.after:
            kept = "pinned" if unit.pinned else "spared by a plugin"
            yield f"messages {_ids(unit)} are {kept} and must stay as they are"


def current_question(outcome: Outcome) -> Iterator[str]:
    """L4: the question and the newest unit stay, but for a declared edit where one is allowed."""
    context = outcome.context
    after = _messages(outcome.new)
    for message in _messages(outcome.gone).values():
        if message.id != context.question and message.id not in context.newest:
            continue
        kind = "the current question" if message.id == context.question else "of the newest unit"
        if message.id not in after:
            yield f"message {message.id} is {kind} and must stay"
        elif after[message.id] != message and not _may_edit(message, context):
            yield f"message {message.id} is {kind} and must not be edited"


def order(outcome: Outcome) -> Iterator[str]:
    """L5: units of the log keep their order and are whole; a written unit stands at its oldest source."""
    places = [unit.place for unit in outcome.after]
    if any(left >= right for left, right in pairwise(places)):
        yield "units stand out of order"
    before = {unit.first: unit.ids for unit in outcome.gone}
    for unit in outcome.new:
        if not unit.written and before.get(unit.first) != unit.ids:
            yield f"messages {_ids(unit)} are no unit of the window before"


def silent_edits(outcome: Outcome) -> Iterator[str]:
    """L6: content changes only as the plan declares, and well: whole graphemes, JSON stays JSON, reasoning whole."""
    declared = {
        step.message.id: step.content for step in outcome.plan.steps if isinstance(step, Edit)
    }
    before = _messages(outcome.gone)
    for after in _messages(outcome.new).values():
        old = before.get(after.id)
        if old is None or old == after:
            continue
        if after.id not in declared or old.with_content(declared[after.id]) != after:
            yield f"message {after.id} was changed without being declared"
        elif old.sources:
            yield f"message {after.id} was written by a strategy: replace it, do not edit it"
        else:
            yield from (
                f"message {after.id}: {fault}" for fault in edit_faults(old.content, after.content)
            )


def progress(outcome: Outcome) -> Iterator[str]:
    """L7: the window gets strictly cheaper, and no unit of it dearer."""
    before = sum(unit.tokens for unit in outcome.before)
    after = sum(unit.tokens for unit in outcome.after)
    if after >= before:
        yield f"the plan frees nothing: {before} tokens before, {after} after"
    costs = {unit.first: unit.tokens for unit in outcome.gone}
    for unit in outcome.new:
        if unit.tokens > costs.get(unit.first, unit.tokens):
            yield f"messages {_ids(unit)} would cost {unit.tokens} tokens, not {costs[unit.first]}"


def explained(outcome: Outcome) -> Iterator[str]:
    """L14: every unit that is gone is named by the plan."""
    steps = [step for step in outcome.plan.steps if isinstance(step, Drop | Replace)]
    named = {unit.first for step in steps for unit in step.units}
    kept = {unit.first for unit in outcome.new}
    for unit in outcome.gone:
        if unit.first not in kept and unit.first not in named:
            yield f"messages {_ids(unit)} are gone and the plan does not say why"


def summaries_shrink(outcome: Outcome) -> Iterator[str]:
    """L15: a summary is not blank, costs less than what it replaces, and names all its transitive sources."""
    known = {unit.first for unit in outcome.gone}
    covered = {
        sources_of(step.units): step for step in outcome.plan.steps if isinstance(step, Replace)
    }
    for unit in outcome.new:
        message = unit.messages[0]
        if not unit.written or message.id in known:
            continue
        step = covered.get(message.sources)
        if step is None:
            yield f"written message {message.id} does not name all its sources"
            continue
        replaced = sum(source.tokens for source in step.units)
        if not str(message.content).strip():
            yield "a summary must not be blank"
        if unit.tokens >= replaced:
            yield f"the summary costs {unit.tokens} tokens, what it replaces {replaced}"


def sources_of(units: tuple[Unit, ...]) -> tuple[int, ...]:
    """Return the ids of the log's messages that units stand for, transitively, ascending."""
    ids: set[int] = set()
    for unit in units:
        for message in unit.messages:
            ids.update(message.sources or (message.id,))
    return tuple(sorted(ids))


def protected_by_law(unit: Unit, context: Context) -> bool:
    """Return whether the laws leave no window without the unit."""
    first = unit.first
    return first == context.question or context.newest[:1] == (first,) or unit.pinned


def editable(units: tuple[Unit, ...], context: Context) -> tuple[Message, ...]:
    """Return the messages for whose editing the laws leave room."""
    found: list[Message] = []
    for unit in units:
        first = unit.first
        if unit.pinned or unit.written or first in context.protected_by_plugin:
            continue
        if first == context.question or first in context.newest:
            found += [message for message in unit.messages if _may_edit(message, context)]
        else:
            found += unit.messages
    return tuple(found)


def _may_edit(message: Message, context: Context) -> bool:
    if message.id == context.question:
        return context.allow_question_edit
    return message.role in RESULT_ROLES


def _messages(units: tuple[Unit, ...]) -> dict[int, Message]:
    return {message.id: message for unit in units for message in unit.messages}


def _ids(unit: Unit) -> str:
    return ", ".join(map(str, unit.ids))


@dataclass(frozen=True, slots=True)
class Law:
    """
    One law.

    Attributes:
        id: `L1` to `L16`.
        title: two or three words.
        kind: `W` (about one window) or `M` (about the manager over a sequence of calls).
        statement: the law in a sentence.
        check: yields what is wrong with a `Outcome`; None for a law of kind M.
    """

    id: str
    title: str
    kind: str
    statement: str
    check: Callable[[Outcome], Iterator[str]] | None = None


LAWS = (
    Law(
        "L1",
        "budget",
        "W",
        "A window costs at most the budget, or `BudgetError` says what cannot fit.",
        budget,
    ),
    Law(
        "L2",
        "tool units",
        "W",
        "No tool result without its call, no call without all its results.",
        tool_units,
    ),
    Law(
        "L3",
        "pins",
        "W",
        "System, developer and pinned messages are in the window, byte for byte.",
        pins,
    ),
    Law(
        "L4",
        "current question",
        "W",
        "The last user message and the newest unit are there.",
        current_question,
    ),
    Law(
        "L5",
        "order",
        "W",
        "Units keep the log's order; a summary stands at its oldest source.",
        order,
    ),
    Law(
        "L6",
        "no silent edit",
        "W",
        "Content changes only by a declared edit, and well.",
        silent_edits,
    ),
    Law(
        "L7", "progress", "W", "An accepted plan makes the window cheaper; a prune ends.", progress
    ),
    Law(
        "L8",
        "failure is free",
        "M",
        "Whoever raises or returns junk changes nothing; the chain goes on.",
    ),
    Law(
        "L9", "no aliasing", "M", "Inputs are never mutated; what is returned is never live state."
    ),
    Law(
        "L10",
        "deterministic",
        "M",
        "Same calls and answers, same windows; meters and plans change nothing.",
    ),
    Law("L11", "stable prefix", "M", "Between two cuts each window extends the one before it."),
    Law("L12", "counted once", "M", "A message is counted at most once per counter."),
    Law(
        "L13", "nothing lost", "M", "The log keeps everything until the caller rewinds or forgets."
    ),
    Law(
        "L14",
        "explained",
        "W",
        "Whatever is dropped, replaced, edited or left out has a reason.",
        explained,
    ),
    Law(
        "L15",
        "summaries shrink",
        "W",
        "A summary is not blank and costs less than its source.",
        summaries_shrink,
    ),
    Law("L16", "no lost update", "M", "Two writers on one conversation lose nothing."),
)

# Of a chain only the last plan must fit, so L1 is not asked of each; and L7 comes last, since a
# plan that breaks another law as well is better told about that one.
PLAN_LAWS = ("L2", "L3", "L4", "L5", "L6", "L14", "L15", "L7")
_PLAN_CHECKS = [
    (law.id, law.check)
    for name in PLAN_LAWS
    for law in LAWS
    if law.id == name and law.check is not None
]


def check_plan(outcome: Outcome) -> Iterator[Broken]:
    """Yield what a plan breaks, L1 apart."""
    for law, check in _PLAN_CHECKS:
        yield from (Broken(law, reason) for reason in check(outcome))
