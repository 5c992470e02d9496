"""
One prune: who is asked, in which order, and what becomes of the answers.

`prune` is a generator. It looks at the conversation, lets the chain work on a draft, and has the
conversation adopt that; where the conversation moved on meanwhile, the accepted plans are replayed
on the newer window. It yields every `Summarize` that a strategy yields and is sent the text, or
thrown the error; who drives it decides how a model is called (`effects.py`).

Strategies are foreign code: each is called inside a guard, and whatever it raises or returns ends
up in the receipt. `KeyboardInterrupt`, `SystemExit` and cancellation pass through; the draft is
then thrown away.
"""

import inspect
from collections.abc import Callable, Collection, Generator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias

from ctxwin.hooks.chain import Chain, Hook, Strategy
from ctxwin.hooks.guard import call_hook
from ctxwin.log.conversation import Conversation
from ctxwin.pruning.chunks import in_chunks
from ctxwin.pruning.draft import Draft, MovedError, Snapshot
from ctxwin.pruning.driving import Steps, drive, refuse_model, run_flow
from ctxwin.values.errors import BudgetError, describe
from ctxwin.values.plan import Plan, Summarize, Unit, message_tokens
from ctxwin.values.receipt import Receipt

Answer: TypeAlias = Callable[[Draft, Summarize], Steps[str]]
"""How a strategy's effect is answered: steps that end in the text."""


@dataclass(slots=True)
class Tally:
    """Which strategies were asked in a prune, which of them failed, and which one is asked just now."""

    asked: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    asking: str = ""


def prune(
    conversation: Conversation,
    chain: Chain,
    lock: AbstractContextManager[object],
    *,
    owner: object,
    dry: bool,
) -> Steps[Receipt]:
    """
    Prune a conversation; the steps are the summaries that strategies ask for.

    The lock is held to look and to adopt, never while foreign code runs. A dry prune adopts
    nothing.
    """
    with lock:
        snapshot, resting = (
            conversation.snapshot(),
            conversation.breaker.resting(conversation.history.appended),
        )
        draft = Draft(snapshot, conversation.costs)
        if conversation.nothing_new:
            return replace(conversation.receipt(draft), after_tokens=snapshot.total_tokens)
    tally = Tally()
    yield from ask_chain(draft, chain, owner, resting, tally)
    draft.drop_what_is_needed()
    with lock:
        if dry:
            conversation.verify(draft)
            return conversation.receipt(draft)
        conversation.breaker.note(tally.asked, tally.failed, conversation.history.appended)
        receipt = _adopted(conversation, draft)
        conversation.settled = conversation.version
    tell(chain, receipt, owner)
    return receipt


def _adopted(conversation: Conversation, draft: Draft) -> Receipt:
    """Have a draft adopted, its plans replayed as often as the conversation moves on meanwhile."""
    while True:
        if conversation.version != draft.snapshot.version:
            draft = draft.replay(conversation.snapshot(), conversation.costs)
            draft.drop_what_is_needed()
        adjustment = conversation.verify(draft)
        receipt = conversation.receipt(draft)
        with suppress(MovedError):
            conversation.adopt(draft, adjustment, receipt)
            return receipt


def can_fit(conversation: Conversation, chain: Chain, snapshot: Snapshot, *, owner: object) -> bool:
    """Return whether the chain, without any summary, gets a snapshot within the budget."""
    draft = Draft(snapshot, conversation.costs)
    resting = conversation.breaker.resting(conversation.history.appended)
    drive(ask_chain(draft, chain, owner, resting, Tally()), refuse_model)
    draft.drop_what_is_needed()
    try:
        conversation.verify(draft)
    except BudgetError:
        return False
    return True


def tell(chain: Chain, receipt: Receipt, owner: object) -> None:
    """Show observers the receipt; what they raise is logged."""
    for strategy in chain.strategies:
        if strategy.pruned is not None:
            try:
                call_hook(owner, strategy.pruned, receipt=receipt.clone())
            except Exception:
                import logging

                logging.getLogger("ctxwin").exception(
                    "ctxwin_pruned of strategy %r failed", strategy.name
                )


def _in_chunks(draft: Draft, effect: Summarize) -> Steps[str]:
    return in_chunks(effect, message_tokens(draft.units), draft.count)


def ask_chain(
    draft: Draft,
    chain: Chain,
    owner: object,
    resting: Collection[str],
    tally: Tally,
    answer: Answer = _in_chunks,
) -> Steps[None]:
    """Ask the chain, left to right and each strategy once, until the draft costs no more than its target."""
    spare_all(draft, chain, owner)
    for strategy in chain.strategies:
        if strategy.prune is None or not draft.over_target:
            continue
        if strategy.name in resting:
            draft.reject(
                strategy.name,
                "",
                "rests after three failures in a row, until the log has grown by a fifth",
            )
            continue
        tally.asked.add(strategy.name)
        tally.asking = strategy.name
        rejected = len(draft.rejected)
        yield from ask(draft, strategy.name, strategy.prune, owner, answer)
        if len(draft.rejected) > rejected:
            tally.failed.add(strategy.name)


def spare_all(draft: Draft, chain: Chain, owner: object) -> None:
    """Protect what any plugin of the chain asks to spare."""
    for strategy in chain.strategies:
        if strategy.protect is not None:
            _spare(draft, strategy, strategy.protect, owner)


def _spare(draft: Draft, strategy: Strategy, protect: Hook, owner: object) -> None:
    """Protect the units that a plugin names."""
    try:
        units = call_hook(owner, lambda: tuple(protect(request=draft.request()) or ()))
        if not all(isinstance(unit, Unit) for unit in units):
            raise TypeError("ctxwin_protect must return units of the request")
        draft.spare(strategy.name, units)
    except Exception as error:
        draft.reject(strategy.name, "L8", describe(error))


def ask(draft: Draft, name: str, hook: Hook, owner: object, how: Answer) -> Steps[None]:
    """Ask one strategy, and apply its plan if it keeps the laws."""
    try:
        answer = call_hook(owner, hook, request=draft.request())
        if isinstance(answer, Generator):
            answer = yield from run_flow(answer, owner, partial(how, draft))
        if inspect.iscoroutine(answer):
            answer.close()
        if answer is not None and type(answer) is not Plan:
            raise TypeError(
                f"ctxwin_prune must return a Plan, a generator or None, not {type(answer).__name__}"
            )
    except Exception as error:
        draft.reject(name, "L8", describe(error))
        return
    if answer is not None:
        draft.accept(name, answer)
