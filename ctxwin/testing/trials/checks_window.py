"""
The checks of the laws of kind W: what a trial tells of plans and windows.

A check yields a `Breach` for everything that is wrong. Two kinds of evidence count: what the
manager turned down, by the law that it names; and what an observer sees who trusts neither manager
nor strategy.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ctxwin.laws.edits import edit_faults
from ctxwin.testing.judge.grouping import RESULT, kept_messages
from ctxwin.testing.judge.windows import count_request
from ctxwin.testing.trials.trials import Ask, Trial
from ctxwin.values.message import Message
from ctxwin.values.plan import Plan, Summarize
from ctxwin.values.wire import Wire

LONGEST_FILL = 2000  # words of a summary that is as long as it may be


@dataclass(frozen=True)
class Breach:
    """What is wrong, and in which call of `messages()`."""

    reason: str
    ask: Ask | None = None


Breaches = Iterator[Breach]


def budget(trial: Trial) -> Breaches:
    """L1: windows fit, errors are honest; and the target is reached by whoever claims to."""
    yield from _judged(trial, "L1")
    for ask in trial.plain.asks:
        kept = count_request(trial.case.counter, kept_messages(ask.log, ask.pinned))
        if ask.error is not None and kept <= trial.case.budget.max_tokens:
            yield Breach(
                f"BudgetError, although what must be kept costs {kept} tokens only: {ask.error}",
                ask,
            )
        if trial.subject.capabilities.reaches_target and ask.receipt is not None:
            yield from _short_of_target(trial, ask)


def _short_of_target(trial: Trial, ask: Ask) -> Breaches:
    if any(rejection.strategy == trial.name for rejection in ask.rejected):
        return  # its plan was not applied, and another law says why
    actions = ask.receipt.actions if ask.receipt else ()
    freed = sum(action.freed_tokens for action in actions if action.strategy == trial.name)
    for asked in (asked for asked in ask.asked if asked.hook == "prune"):
        request = asked.pristine
        if sum(unit.tokens for unit in request.droppable) >= request.excess_tokens > freed:
            yield Breach(
                f"it claims reaches_target, and freed {freed} of {request.excess_tokens} tokens",
                ask,
            )


def tool_units(trial: Trial) -> Breaches:
    """L2."""
    yield from _judged(trial, "L2")


def pins(trial: Trial) -> Breaches:
    """L3."""
    yield from _judged(trial, "L3")


def current_question(trial: Trial) -> Breaches:
    """L4."""
    yield from _judged(trial, "L4")


def order(trial: Trial) -> Breaches:
    """L5: and what is written stands at its oldest source."""
    yield from _judged(trial, "L5")
    for ask in trial.plain.asks:
        heads = [message for message in ask.after if message.role not in RESULT]
        places = [message.sources[0] if message.sources else message.id for message in heads]
        if places != sorted(places):
            yield Breach(f"the window's messages stand at {places}", ask)


def silent_edits(trial: Trial) -> Breaches:
    """L6: content changes as a plan declares, and well."""
    yield from _judged(trial, "L6")
    log = {message.id: message for message in trial.plain.ctx.conversation_history}
    declared: Counter[int] = Counter()
    for ask in trial.plain.asks:
        actions = ask.receipt.actions if ask.receipt else ()
        declared.update(action.message_ids[0] for action in actions if action.kind == "edit")
        for message in ask.after:
            old = log.get(message.id)
            if old is None or message.content == old.content:
                continue
            if not declared[message.id]:
                yield Breach(f"message {message.id} was changed, and no plan says so", ask)
            elif declared[message.id] == 1:  # of several edits in turn, each was looked at alone
                for fault in edit_faults(old.content, message.content):
                    yield Breach(f"message {message.id}: {fault}", ask)


def progress(trial: Trial) -> Breaches:
    """L7: a prune makes the window cheaper, and asks a strategy at most once."""
    yield from _judged(trial, "L7")
    cost = trial.case.counter.count_message
    for ask in trial.plain.asks:
        if len([asked for asked in ask.asked if asked.hook == "prune"]) > (2 if ask.error else 1):
            yield Breach("it was asked more than once in a prune", ask)
        if ask.receipt is None:
            continue
        for name in {
            action.strategy
            for action in ask.receipt.actions
            if action.kind not in ("leave-out", "release")
        }:
            freed = sum(
                action.freed_tokens for action in ask.receipt.actions if action.strategy == name
            )
            if freed <= 0:
                yield Breach(f"a plan of {name} was applied that freed {freed} tokens", ask)
        if not any(action.freed_tokens for action in ask.receipt.actions):
            continue
        before, after = (
            sum(cost(message.to_dict()) for message in side) for side in (ask.before, ask.after)
        )
        if after >= before:
            yield Breach(
                f"the messages cost {before} tokens before the prune and {after} after it", ask
            )


def explained(trial: Trial) -> Breaches:
    """L14: a plan gives a reason for each step; a receipt accounts for all that is gone."""
    yield from _judged(trial, "L14")
    for ask in trial.asks:
        for asked in ask.asked:
            steps = asked.answer.steps if isinstance(asked.answer, Plan) else ()
            if any(not str(step.reason).strip() for step in steps):
                yield Breach("a step of its plan gives no reason", ask)
        if ask.receipt is None:
            continue
        gone = {message.id for message in ask.before} - {message.id for message in ask.after}
        named = {
            number
            for action in ask.receipt.actions
            if action.kind != "edit"
            for number in action.message_ids
        }
        if not gone <= named:
            yield Breach(
                f"messages {sorted(gone - named)} are gone, and the receipt does not say why", ask
            )
        if not all(action.strategy and action.reason for action in ask.receipt.actions):
            yield Breach("an action of the receipt lacks strategy or reason", ask)


def summaries_shrink(trial: Trial) -> Breaches:
    """L15: summaries say something, cost less than their sources and name them; sources are bounded where claimed."""
    yield from _judged(trial, "L15")
    limit = trial.subject.capabilities.max_source_tokens
    cost = trial.case.counter.count_message
    for ask in trial.asks:
        known = {message.id for message in ask.before}
        for message in (
            message for message in ask.after if message.sources and message.id not in known
        ):
            yield from _bad_summary(message, ask, cost)
        for effect in (effect for asked in ask.asked for effect, _ in asked.effects):
            if limit is None or (
                effect.max_source_tokens is not None and effect.max_source_tokens <= limit
            ):
                continue  # the manager sees to it
            source = sum(cost(message.to_dict()) for message in effect.messages)
            source += trial.case.counter.count_text(effect.previous_summary or "")
            if source > limit:
                yield Breach(
                    f"it had {source} tokens summarised at once, and claims {limit} at most", ask
                )
    if trial.subject.capabilities.bounds_summaries:
        run = trial.told(_filling(trial.case.counter.count_text))
        for ask in run.asks:
            for breach in blamed(trial, ask, "L15"):
                yield Breach(f"with a summary as long as it asked for: {breach.reason}", ask)


def _bad_summary(summary: Message, ask: Ask, cost: Callable[[Wire], int]) -> Breaches:
    """Yield what is wrong with a summary that is new in a window."""
    sources = set(summary.sources)
    replaced = [
        message for message in ask.before if sources >= set(message.sources or (message.id,))
    ]
    price, before = cost(summary.to_dict()), sum(cost(message.to_dict()) for message in replaced)
    if not str(summary.content).strip():
        yield Breach("a summary is blank", ask)
    if price >= before:
        yield Breach(f"a summary costs {price} tokens, what it replaces {before}", ask)
    if sources & {message.id for message in ask.after} or sources != {
        n for m in replaced for n in m.sources or (m.id,)
    }:
        yield Breach(f"a summary names the sources {sorted(sources)}", ask)


def _judged(trial: Trial, law: str) -> Breaches:
    """Yield what the independent judge finds, and what the manager turned down, under a law."""
    for ask in trial.asks:
        for fault in trial.faults(ask):
            if fault.law == law:
                yield Breach(fault.reason, ask)
        yield from blamed(trial, ask, law)


def blamed(trial: Trial, ask: Ask, law: str) -> Breaches:
    """Yield what the manager turned down of the strategy under a law."""
    for rejection in ask.rejected:
        if rejection.strategy == trial.name and rejection.law == law:
            yield Breach(rejection.reason, ask)


def _filling(count: Callable[[str], int]) -> Callable[[Summarize], str]:
    """Return a summariser whose texts are as long as they may be."""

    def fill(effect: Summarize) -> str:
        low, high = 1, LONGEST_FILL
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (
                (middle, high) if count("w " * middle) <= effect.max_tokens else (low, middle - 1)
            )
        return "w " * low

    return fill
