"""
The checks of the laws of kind W, which are about plans and windows.

A check yields a `Breach` for everything that is wrong. There are two kinds of evidence: plans that
the manager rejected, with the law that it names; and what the independent judge finds, which trusts
neither manager nor strategy.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ctxwin.laws.edits import edit_faults
from ctxwin.testing.judge.grouping import RESULT, kept_messages
from ctxwin.testing.judge.windows import count_request
from ctxwin.testing.trials.trials import Ask, Trial
from ctxwin.values.message import Message
from ctxwin.values.plan import Summarize
from ctxwin.values.wire import Wire

LONGEST_FILL = 2000  # the most words of a summary, where a strategy asks for more


@dataclass(frozen=True)
class Breach:
    """A fault, and the call of `messages()` in which it happened."""

    reason: str
    ask: Ask | None = None


Breaches = Iterator[Breach]


def budget(trial: Trial) -> Breaches:
    """L1: windows fit, every `BudgetError` is true, and a claim to reach the target holds."""
    yield from _judged(trial, "L1")
    for ask in trial.plain.asks:
        kept = count_request(trial.case.counter, kept_messages(ask.log, ask.pinned))
        if ask.error is not None and kept <= trial.case.budget.max_tokens:
            yield Breach(
                f"BudgetError, although what must be kept costs only {kept} tokens: {ask.error}",
                ask,
            )
        if trial.subject.capabilities.reaches_target and ask.receipt is not None:
            yield from _short_of_target(trial, ask)


def _short_of_target(trial: Trial, ask: Ask) -> Breaches:
    if any(rejection.strategy == trial.name for rejection in ask.rejected):
        return  # its plan was rejected, under another law
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
    """L2: calls and results stay together."""
    yield from _judged(trial, "L2")


def pins(trial: Trial) -> Breaches:
    """L3: pinned messages stay."""
    yield from _judged(trial, "L3")


def current_question(trial: Trial) -> Breaches:
    """L4: the question and the newest unit stay."""
    yield from _judged(trial, "L4")


def order(trial: Trial) -> Breaches:
    """L5: messages keep their order, and a summary stands at its oldest source."""
    yield from _judged(trial, "L5")
    for ask in trial.plain.asks:
        heads = [message for message in ask.after if message.role not in RESULT]
        places = [message.sources[0] if message.sources else message.id for message in heads]
        if places != sorted(places):
            yield Breach(f"the messages of the window are out of order: {places}", ask)


def silent_edits(trial: Trial) -> Breaches:
    """L6: content changes only as a plan declares, and keeps its form."""
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
            elif declared[message.id] == 1:  # the sum of several good edits need not be good
                for fault in edit_faults(old.content, message.content):
                    yield Breach(f"message {message.id}: {fault}", ask)


def progress(trial: Trial) -> Breaches:
    """L7: a prune makes the window cheaper, and asks a strategy at most once."""
    yield from _judged(trial, "L7")
    cost = trial.case.counter.count_message
    for ask in trial.plain.asks:
        # After a BudgetError the trial asks a second time, to learn which plans were rejected.
        if len([asked for asked in ask.asked if asked.hook == "prune"]) > (2 if ask.error else 1):
            yield Breach("it was asked more than once in a prune", ask)
        if ask.receipt is None:
            continue
        notes = ("leave-out", "release", "keep", "bring-back")
        actions = [action for action in ask.receipt.actions if action.kind not in notes]
        for name in {action.strategy for action in actions}:
            freed = sum(action.freed_tokens for action in actions if action.strategy == name)
            if freed <= 0:
                yield Breach(f"a plan of {name} was applied, and freed {freed} tokens", ask)
        if not any(action.freed_tokens for action in ask.receipt.actions):
            continue
        before, after = (
            sum(cost(message.to_dict()) for message in side) for side in (ask.before, ask.after)
        )
        # All that a plan dropped may have come back, as the user message that a window begins with.
        least = 0 if any(action.kind == "bring-back" for action in ask.receipt.actions) else 1
        if before - after < least:
            yield Breach(
                f"the messages cost {before} tokens before the prune and {after} after it", ask
            )


def explained(trial: Trial) -> Breaches:
    """L14: a receipt names everything that is gone, with a strategy and a reason."""
    yield from _judged(trial, "L14")
    for ask in trial.asks:
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
            yield Breach("an action of the receipt has no strategy or no reason", ask)


def summaries_shrink(trial: Trial) -> Breaches:
    """L15: summaries have text, cost less than their sources, and name them; claims hold."""
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
                continue  # then the manager splits the source
            source = sum(cost(message.to_dict()) for message in effect.messages)
            source += trial.case.counter.count_text(effect.previous_summary or "")
            if source > limit:
                yield Breach(
                    f"it had {source} tokens summarised at once, but claims at most {limit}", ask
                )
    if trial.subject.capabilities.bounds_summaries:
        run = trial.told(_filling(trial.case.counter.count_text))
        for ask in run.asks:
            for breach in blamed(trial, ask, "L15"):
                yield Breach(f"with a summary as long as it allowed: {breach.reason}", ask)


def _bad_summary(summary: Message, ask: Ask, cost: Callable[[Wire], int]) -> Breaches:
    """Yield the faults of a summary that is new in a window."""
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


def first_turn(trial: Trial) -> Breaches:
    """L17: a window that was cut begins with a user message, or a summary written as one."""
    yield from _judged(trial, "L17")


def _judged(trial: Trial, law: str) -> Breaches:
    """Yield what the independent judge finds and what the manager rejected under a law."""
    for ask in trial.asks:
        for fault in trial.faults(ask):
            if fault.law == law:
                yield Breach(fault.reason, ask)
        yield from blamed(trial, ask, law)


def blamed(trial: Trial, ask: Ask, law: str) -> Breaches:
    """Yield what the manager rejected from the strategy under a law."""
    for rejection in ask.rejected:
        if rejection.strategy == trial.name and rejection.law == law:
            yield Breach(rejection.reason, ask)


def _filling(count: Callable[[str], int]) -> Callable[[Summarize], str]:
    """Return a summariser whose texts are as long as allowed."""

    def fill(effect: Summarize) -> str:
        low, high = 1, LONGEST_FILL
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (
                (middle, high) if count("w " * middle) <= effect.max_tokens else (low, middle - 1)
            )
        return "w " * low

    return fill
