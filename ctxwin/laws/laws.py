"""
The laws of a window, as pure functions.

The *log* is every message appended, oldest first. The *window* is what `messages()` returns. `LAWS`
lists all seventeen laws:

- Laws of kind W are about one window. Each has a function that takes an `Outcome` (the window
  before and after a plan) and yields what is wrong with it. The manager applies these functions to
  every plan before it takes effect; the laws about the budget and about the first turn, only to
  the final window.
- Laws of kind M are about the manager over a sequence of calls. They have no function: tests prove
  them.

Rules for this module: no state, no repair, no trust. A function compares what was before with what
would be after, and does not care how it came about.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from ctxwin.laws.edits import edit_faults
from ctxwin.values.budget import billed_tokens
from ctxwin.values.message import Message, answer_key, call_keys, says_nothing
from ctxwin.values.plan import Drop, Edit, Plan, Replace, Unit
from ctxwin.values.receipt import Broken
from ctxwin.values.wire import RESULT_ROLES, SYSTEM_ROLES


@dataclass(frozen=True, slots=True)
class Context:
    """
    What a law must know besides the window.

    Attributes:
        base_tokens: the count of a request without messages: tools and priming.
        max_tokens: the budget.
        question: the id of the current question (the last user message), or None.
        newest: the ids of the messages of the newest unit, or `()` if there is none. The newest
            unit is the last one of the log, apart from system messages. If it is a tool exchange
            that a system message interrupted (so it is open, and in no window), there is none: no
            older unit takes its place. Only where nothing else must stay, the last unit of the
            window stands for it, since a cut must leave something to send.
        allow_question_edit: True if a declared edit may shorten the question.
        hidden_tokens: what bills were above the count, or below it if negative.
        protected: the units that plugins asked to protect, and the user message of the first turn
            that must stay; without those released since; each by the id of its first message.
        cut_before: whether the window has lost units to an earlier cut.
    """

    base_tokens: int
    max_tokens: int
    question: int | None = None
    newest: tuple[int, ...] = ()
    allow_question_edit: bool = False
    hidden_tokens: int = 0
    protected: frozenset[int] = frozenset()
    cut_before: bool = False

    def cost(self, unit_tokens: int) -> int:
        """Return what a request costs whose units count so many tokens."""
        counted = self.base_tokens + unit_tokens
        return billed_tokens(counted, self.hidden_tokens, self.max_tokens)


@dataclass(frozen=True)
class Outcome:
    """
    A window before and after a plan: what a law judges.

    Attributes:
        before: the units of the window before the plan, oldest first.
        after: the units of the window that the plan would leave, oldest first.
        plan: the plan, with units and messages as they were before it.
        context: what a law must know besides.
    """

    before: tuple[Unit, ...]
    after: tuple[Unit, ...]
    plan: Plan
    context: Context

    @cached_property
    def gone(self) -> tuple[Unit, ...]:
        """The units of `before` that are not in `after`, as the same object, any more."""
        # By identity: a long window is mostly unchanged, and comparing texts would cost more. What
        # stays the same object was not changed, so most laws look only at `gone` and `new`.
        kept = set(map(id, self.after))
        return tuple([unit for unit in self.before if id(unit) not in kept])

    @cached_property
    def new(self) -> tuple[Unit, ...]:
        """The units of `after` that were not in `before` as the same object."""
        known = set(map(id, self.before))
        return tuple([unit for unit in self.after if id(unit) not in known])


def budget(outcome: Outcome) -> Iterator[str]:
    """L1: the window costs no more than the budget."""
    cost = outcome.context.cost(sum(unit.tokens for unit in outcome.after))
    if outcome.after and cost > outcome.context.max_tokens:
        yield f"the window costs {cost} tokens, the budget is {outcome.context.max_tokens}"


def tool_units(outcome: Outcome) -> Iterator[str]:
    """L2: all results stand directly behind their calls; only the last unit may lack some."""
    last = outcome.after[-1] if outcome.after else None
    for unit in outcome.after:
        head, results = unit.messages[0], unit.messages[1:]
        keys = call_keys(head)
        if not keys and not results and head.role not in RESULT_ROLES:
            continue  # a single message without calls, which most units are
        calls = Counter(keys)
        answers = Counter(answer_key(message) for message in results)
        if head.role in RESULT_ROLES:
            yield f"result {head.id} stands without its call"
        elif any(message.role not in RESULT_ROLES for message in results) or answers - calls:
            yield f"the unit of message {head.id} holds something that is not a result of its calls"
        elif calls - answers and unit is not last:
            yield f"message {head.id} has calls without results, and its unit is not the last"


def pins(outcome: Outcome) -> Iterator[str]:
    """
    L3: units that are pinned or protected stay as they are.

    A pin on one message of an exchange keeps the whole exchange.
    """
    protected = outcome.context.protected
    for unit in outcome.gone:
        if (unit.pinned or unit.first in protected) and unit not in outcome.after:
            kept = "pinned" if unit.pinned else "protected"
            yield f"messages {_ids(unit)} are {kept} and must stay as they are"


def current_question(outcome: Outcome) -> Iterator[str]:
    """
    L4: the question and the newest unit stay; only an edit that is allowed may change them.

    Results of the newest unit may always be edited, the question only with `allow_question_edit`.

    The newest unit is the last one of the log, apart from system messages. If it is a tool exchange
    that a system message interrupted (so it is open, and in no window), there is no newest unit: no
    older unit takes its place.
    """
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
    """L5: units keep the log's order and are whole; a summary stands at its oldest source."""
    places = [unit.place for unit in outcome.after]
    if any(left >= right for left, right in pairwise(places)):
        yield "units stand out of order"
    before = {unit.first: unit.ids for unit in outcome.gone}
    for unit in outcome.new:
        if not unit.written and before.get(unit.first) != unit.ids:
            yield f"messages {_ids(unit)} are not a unit of the window before"


def silent_edits(outcome: Outcome) -> Iterator[str]:
    """
    L6: content changes only as the plan declares, and every edit is a good one.

    Graphemes stay whole, JSON stays JSON, and reasoning is kept whole or dropped whole. What is
    left says something: APIs refuse a message without content.
    """
    declared = {
        step.message.id: step.content for step in outcome.plan.steps if isinstance(step, Edit)
    }
    before = _messages(outcome.gone)
    for after in _messages(outcome.new).values():
        old = before.get(after.id)
        if old is None or old == after:
            continue
        if after.id not in declared or old.with_content(declared[after.id]) != after:
            yield f"message {after.id} was changed, and the plan declares no such edit"
        elif old.sources:
            yield f"message {after.id} was written by a strategy: replace it, do not edit it"
        elif says_nothing(after):
            yield f"message {after.id} would have no content, which APIs refuse: drop its unit"
        else:
            yield from (
                f"message {after.id}: {fault}" for fault in edit_faults(old.content, after.content)
            )


def progress(outcome: Outcome) -> Iterator[str]:
    """L7: the window gets cheaper, and no unit in it gets more expensive."""
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
    """
    L15: a summary is not blank, costs less than what it replaces, and names all its sources.

    The sources of a summary of summaries are the log's messages behind them.
    """
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
        if says_nothing(message) or not str(message.content).strip():
            yield "a summary must not be blank"
        if unit.tokens >= replaced:
            yield f"the summary costs {unit.tokens} tokens, what it replaces costs {replaced}"


def first_turn(outcome: Outcome) -> Iterator[str]:
    """
    L17: a window that was cut begins, behind its system messages, with a user message.

    A summary written as a user message will do. Only units that are pinned or protected may stand
    before the first user message, as long as the user message of their own turn does not fit. A log
    without a user message has no first turn.
    """
    context = outcome.context
    after = {unit.first for unit in outcome.after}
    cut = context.cut_before or any(unit.first not in after for unit in outcome.before)
    if not cut or context.question is None:
        return
    tokens = sum(unit.tokens for unit in outcome.after)
    for unit in before_first_user(outcome.after):
        own = own_user_message(unit, outcome.before, outcome.after)
        if not (unit.pinned or unit.first in context.protected):
            yield f"messages {_ids(unit)} stand before the first user message"
        elif own is not None and context.cost(tokens + own.tokens) <= context.max_tokens:
            yield f"messages {_ids(unit)} must stay, and their user message {own.first} would fit"


def first_summary(outcome: Outcome) -> Iterator[str]:
    """L17, of a plan: no summary that it writes as a model's message would begin the window."""
    if outcome.context.question is None:
        return
    new = {unit.first for unit in outcome.new if unit.written}
    for unit in before_first_user(outcome.after) if new else ():
        if unit.first in new:
            yield f"the summary would begin the window, so its role must be user, not {unit.role}"


def before_first_user(units: Sequence[Unit]) -> tuple[Unit, ...]:
    """
    Return the units, system messages apart, that stand before the first user message.

    A summary written as a user message counts as one. Without any, nothing stands before it.
    """
    found: list[Unit] = []
    for unit in units:
        if unit.role == "user":
            return tuple(found)
        if unit.role not in SYSTEM_ROLES:
            found.append(unit)
    return ()


def own_user_message(unit: Unit, left: Iterable[Unit], window: Sequence[Unit]) -> Unit | None:
    """
    Return the user message of a unit's turn, if it is among those that have left the window.

    Not if a summary in the window tells of it.
    """
    present = {other.first for other in window}
    told = set(sources_of(tuple(other for other in window if other.written)))
    users = [
        other
        for other in left
        if other.role == "user" and other.place < unit.place and other.first not in present
    ]
    own = max(users, key=lambda other: other.place, default=None)
    return None if own is None or told.intersection(sources_of((own,))) else own


def sources_of(units: tuple[Unit, ...]) -> tuple[int, ...]:
    """
    Return the ids of the log's messages that units stand for, ascending.

    A summary stands for its sources; summaries of summaries already list the log's messages.
    """
    ids: set[int] = set()
    for unit in units:
        for message in unit.messages:
            ids.update(message.sources or (message.id,))
    return tuple(sorted(ids))


def protected_by_law(unit: Unit, context: Context) -> bool:
    """Return whether L3 and L4 keep the unit in every window, whatever plugins ask for."""
    first = unit.first
    return first == context.question or context.newest[:1] == (first,) or unit.pinned


def editable(units: tuple[Unit, ...], context: Context) -> tuple[Message, ...]:
    """Return the messages that the laws allow a plan to edit."""
    found: list[Message] = []
    for unit in units:
        first = unit.first
        if unit.pinned or unit.written or first in context.protected:
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
        id: `L1` to `L17`.
        title: one to three words.
        kind: `W` (about one window) or `M` (about the manager over a sequence of calls).
        statement: the law in a sentence.
        check: a function that yields what is wrong with an `Outcome`; None for a law of kind M.
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
    Law(
        "L17",
        "first turn",
        "W",
        "A window that was cut begins, behind its system messages, with a user message.",
        first_turn,
    ),
)

# L1 is missing: a plan need not reach the budget alone, since the next strategy goes on from there.
# Of L17, only what a plan writes is checked: what the prune leaves before the first user message,
# the manager drops itself. L7 comes last: if a plan breaks another law as well, that one tells its
# author more.
PLAN_LAWS = ("L2", "L3", "L4", "L5", "L6", "L14", "L15", "L17", "L7")
_CHECKS = {law.id: law.check for law in LAWS if law.check is not None} | {"L17": first_summary}
_PLAN_CHECKS = [(name, _CHECKS[name]) for name in PLAN_LAWS]


def check_plan(outcome: Outcome) -> Iterator[Broken]:
    """Yield each law that a plan breaks, and how; L1 is not checked here."""
    for law, check in _PLAN_CHECKS:
        yield from (Broken(law, reason) for reason in check(outcome))
