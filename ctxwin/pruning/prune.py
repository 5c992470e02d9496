"""
One prune: which strategies are called, in which order, and what becomes of their plans.

`prune` is a flow. It looks at the conversation, lets the chain work on a draft, and hands the
keeper the cut that the draft comes to. If the conversation has moved on meanwhile, the accepted
plans are replayed on the newer window. The flow yields every `Summarize` that a strategy yields and
is sent the text, or thrown the error; whoever drives it decides how a model is called
(`driving.py`).

Strategies are foreign code: each is called inside a guard, and whatever it raises or returns ends
up in the receipt. `KeyboardInterrupt`, `SystemExit` and cancellation pass through; the draft is
then thrown away.
"""

import inspect
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias, TypeVar

from ctxwin.counting.costs import UNLEARNT
from ctxwin.hooks.chain import Chain, Hook, Strategy
from ctxwin.hooks.guard import call_hook, log_failure
from ctxwin.log.changes import Change, Cut, Learn
from ctxwin.log.conversation import Conversation
from ctxwin.log.keeper import Keeper
from ctxwin.pruning.advice import advised
from ctxwin.pruning.breaker import recorded, resting
from ctxwin.pruning.chunks import in_chunks
from ctxwin.pruning.draft import Draft, Look, Snapshot, fitting
from ctxwin.pruning.driving import Flow, drive, refuse_model, run_flow
from ctxwin.values.errors import BudgetError, describe
from ctxwin.values.plan import Plan, Summarize, Unit, message_tokens
from ctxwin.values.receipt import Broken, Receipt

T = TypeVar("T")

Reply: TypeAlias = Callable[[Draft, Summarize], Flow[str]]
"""How a strategy's request for a summary is answered: a flow that ends in the text."""

Done: TypeAlias = Callable[[Receipt], None]
"""Is given the receipt of what was applied."""

RESTS = Broken("", "rests after three failures in a row, until the log has grown by a fifth")


@dataclass(slots=True)
class Tally:
    """Which strategies were called in a prune, which of them failed, and which one is running."""

    called: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    calling: str = ""

    def failures(self, conversation: Conversation) -> dict[str, tuple[int, int]]:
        """Return the conversation's figures of failures with this prune."""
        length = conversation.history.appended
        return recorded(conversation.failures, self.called, self.failed, length)


def fit(
    keeper: Keeper,
    chain: Chain,
    owner: object,
    done: Done | None,
    send: Callable[[Conversation], T],
) -> Flow[T]:
    """
    Return what is sent of a window that fits, pruning it first if it is over the budget.

    `send` is called with the lock held. The rest, and what is raised, is as for `prune`.
    """
    while True:
        with keeper.lock:
            if not keeper.conversation.over_budget:
                return send(keeper.conversation)
        yield from prune(keeper, chain, owner, done)


def prune(keeper: Keeper, chain: Chain, owner: object, done: Done | None) -> Flow[Receipt]:
    """
    Prune a conversation; the flow asks for the summaries that strategies want.

    The lock is held to look and to apply, never while foreign code runs.

    Args:
        keeper: keeps the conversation.
        chain: the strategies to call.
        owner: must not be changed while a hook runs.
        done: is given the receipt once the cut is applied; None for a dry run, which applies none.

    Raises:
        BudgetError: what must be kept does not fit; the window is as before.
    """
    conversation = keeper.conversation
    with keeper.lock:
        draft = Draft(Snapshot.of(conversation), conversation.costs)
        rests = resting(conversation.failures, conversation.history.appended)
        if conversation.nothing_new:
            return unchanged(draft, conversation)
    tally = Tally()
    yield from call_chain(draft, chain, owner, rests, tally)
    draft.drop_what_is_needed()
    try:
        receipt = _looked_at(keeper, draft) if done is None else _apply(keeper, draft, tally)
    except BudgetError as error:
        raise advised(error, keeper, draft) from None
    if done is not None:
        done(receipt)
    return receipt


def can_fit(keeper: Keeper, chain: Chain, look: Look, *, owner: object) -> bool:
    """
    Return whether the chain, without any summary, gets a window within the budget.

    The window has one message more than the conversation's, so the log is longer by one, too.
    """
    with keeper.lock:
        conversation = keeper.conversation
        draft = Draft(look(None), conversation.costs)
        rests = resting(conversation.failures, conversation.history.appended + 1)
    drive(call_chain(draft, chain, owner, rests, Tally()), refuse_model)
    draft.drop_what_is_needed()
    try:
        fitting(draft, look)
    except BudgetError:
        return False
    return True


def must_fit(conversation: Conversation) -> None:
    """Raise `BudgetError` if what must be kept of a conversation does not fit its budget."""
    draft = Draft(Snapshot.of(conversation), conversation.costs)
    draft.drop_what_is_needed()
    fitting(draft, partial(Snapshot.of, conversation))


def unchanged(draft: Draft, conversation: Conversation) -> Receipt:
    """Return the receipt of a prune that changes nothing."""
    return replace(draft.receipt(conversation), after_tokens=draft.snapshot.total_tokens)


def caught_up(draft: Draft, conversation: Conversation) -> Draft:
    """Return the draft, its plans replayed if the conversation has moved on since it was begun."""
    if conversation.version == draft.snapshot.version:
        return draft
    return draft.replay(Snapshot.of(conversation), conversation.costs)


def notify(chain: Chain, receipt: Receipt, owner: object) -> None:
    """Show observers the receipt; what they raise is logged."""
    for strategy in chain.strategies:
        if strategy.pruned is not None:
            try:
                call_hook(owner, strategy.pruned, receipt=receipt.clone())
            except Exception as error:  # noqa: BLE001 - an observer's failure changes nothing
                log_failure("ctxwin_pruned", strategy.name, error)


def call_chain(
    draft: Draft,
    chain: Chain,
    owner: object,
    rests: Collection[str],
    tally: Tally,
    reply: Reply | None = None,
) -> Flow[None]:
    """Call the chain, each strategy once, until the draft costs no more than its target."""
    protect_all(draft, chain, owner)
    for strategy in chain.strategies:
        if strategy.prune is None or not draft.over_target:
            continue
        if strategy.name in rests:
            draft.reject(strategy.name, RESTS)
            continue
        tally.called.add(strategy.name)
        tally.calling = strategy.name
        rejected = len(draft.rejected)
        yield from call_strategy(draft, strategy.name, strategy.prune, owner, reply or _in_chunks)
        if len(draft.rejected) > rejected:
            tally.failed.add(strategy.name)


def call_strategy(draft: Draft, name: str, hook: Hook, owner: object, reply: Reply) -> Flow[None]:
    """Call one strategy, and apply its plan if it keeps the laws."""
    try:
        plan = call_hook(owner, hook, request=draft.request())
        if isinstance(plan, Generator):
            plan = yield from run_flow(plan, owner, partial(reply, draft))
        if inspect.iscoroutine(plan):
            plan.close()
        if plan is not None and type(plan) is not Plan:
            kind = type(plan).__name__
            raise TypeError(f"ctxwin_prune must return a Plan, a generator or None, not {kind}")
    except Exception as error:  # noqa: BLE001 - whatever foreign code raises goes into the receipt
        draft.reject(name, Broken("L8", describe(error)))
        return
    if plan is not None:
        draft.accept(name, plan)


def protect_all(draft: Draft, chain: Chain, owner: object) -> None:
    """Protect what any plugin of the chain names, and the first turn that must stay."""
    for strategy in chain.strategies:
        if strategy.protect is not None:
            _protect(draft, strategy, strategy.protect, owner)
    draft.protect_first_turn()


def _protect(draft: Draft, strategy: Strategy, protect: Hook, owner: object) -> None:
    """Protect the units that a plugin names."""
    try:
        units = call_hook(owner, lambda: tuple(protect(request=draft.request()) or ()))
        if not all(isinstance(unit, Unit) for unit in units):
            raise TypeError("ctxwin_protect must return units of the request")
        draft.protect(strategy.name, units)
    except Exception as error:  # noqa: BLE001 - whatever foreign code raises goes into the receipt
        draft.reject(strategy.name, Broken("L8", describe(error)))


def _looked_at(keeper: Keeper, draft: Draft) -> Receipt:
    """Return what a draft would come to, or raise `BudgetError`."""
    conversation = keeper.conversation
    with keeper.lock:
        return fitting(draft, partial(Snapshot.of, conversation)).receipt(conversation)


def _apply(keeper: Keeper, draft: Draft, tally: Tally) -> Receipt:
    """Have the keeper apply what a draft comes to; returns the receipt, or raises `BudgetError`."""
    outcome: list[Receipt | BudgetError] = []

    def work_out(conversation: Conversation) -> Sequence[Change]:
        present, failures = caught_up(draft, conversation), tally.failures(conversation)
        if present is not draft:
            present.drop_what_is_needed()
        try:
            present = fitting(present, partial(Snapshot.of, conversation))
        except (
            BudgetError
        ) as error:  # the window stays; which strategies failed is kept all the same
            conversation.refuse()
            outcome[:] = [error]
            return [Cut(request_gap=conversation.request_gap, failures=failures)]
        outcome[:] = [present.receipt(conversation)]
        # Where plans were lost in the replay, the next prune has something to ask for.
        settled = present is draft or present.unlearns or not present.over_target
        cut = present.cut(conversation, failures, settled=settled)
        return [Learn(*UNLEARNT), cut] if present.unlearns else [cut]

    keeper.change(work_out)
    if isinstance(outcome[0], BudgetError):
        raise outcome[0]
    return outcome[0]


def _in_chunks(draft: Draft, effect: Summarize) -> Flow[str]:
    return in_chunks(effect, message_tokens(draft.units), draft.count)
