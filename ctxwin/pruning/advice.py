"""
What would help where a window cannot fit: each piece of advice is tried before it is given.

It is tried on a copy of the conversation, without the strategies of its chain: those could only
free more. Trying calls no hook of a plugin and no model, and what cannot be tried is not advised.
"""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from ctxwin.laws import laws
from ctxwin.log.changes import Change, Pin, Rewind, SetTools
from ctxwin.log.conversation import Conversation
from ctxwin.log.keeper import Keeper
from ctxwin.pruning.draft import Draft, Snapshot, fitting
from ctxwin.values.errors import BudgetError, CounterError
from ctxwin.values.plan import Unit
from ctxwin.values.wire import SYSTEM_ROLES


def advised(error: BudgetError, keeper: Keeper, failed: Draft) -> BudgetError:
    """Return the error of a draft with what would help in this conversation."""
    advice: list[str] = []
    # A counter that fails now and then may fail here: then what was found so far is said.
    with keeper.lock, suppress(CounterError):
        advice.extend(_advice(keeper.conversation, failed))
    return BudgetError(error.required_tokens, error.budget_tokens, error.culprits, advice)


def _advice(conversation: Conversation, failed: Draft) -> Iterator[str]:
    """Yield what would help, the least drastic first; only what is changed is copied."""
    yield from _shortening(conversation.copy(), failed)
    if any(map(_pinned_by_hand, conversation.window.units)):
        yield from _unpinning(conversation.copy())
    if conversation.costs.tools and _fits(_changed(conversation.copy(), SetTools(()))):
        yield "set fewer or shorter tools (without any it fits)"
    yield from _rewinding(conversation)
    yield from _raising(conversation)


def _shortening(conversation: Conversation, failed: Draft) -> Iterator[str]:
    """Yield the setting that shortens what is too long, the question only if nothing else does."""
    allowed = conversation.allow_question_edit
    for question in (False, True):
        conversation.allow_question_edit = allowed or question
        draft = Draft(Snapshot.of(conversation), conversation.costs)
        draft.protect_as(failed)  # what a plugin protects, no plan may shorten
        limit = _limit(draft, question=question)
        if limit and _fits_clamped(draft, conversation, limit, question=question):
            options = f"max_message_tokens={limit}{', clamp_question=True' if question else ''}"
            also = "" if allowed or not question else " and allow_question_edit=True"
            yield f"shorten it, with ClampOversized({options}) among the strategies{also}"
            return


def _limit(draft: Draft, *, question: bool) -> int:
    """Return the highest limit a message under which what is kept could fit; 0 if none would."""
    context = draft.context
    kept = [unit for unit in draft.units if laws.protected_by_law(unit, context)]
    editable = {message.id for message in laws.editable(tuple(kept), context)}
    if not question:
        editable.discard(context.question or 0)
    low, high = 0, context.max_tokens
    while low < high:
        middle = (low + high + 1) // 2
        costs = (
            min(tokens, middle) if message.id in editable else tokens
            for unit in kept
            for message, tokens in zip(unit.messages, unit.message_tokens, strict=True)
        )
        fits = context.cost(sum(costs)) <= context.max_tokens
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def _fits_clamped(draft: Draft, conversation: Conversation, limit: int, *, question: bool) -> bool:
    # Not at the top: it stands above this room, and only whoever is over the budget needs it.
    from ctxwin_plugins.clamp_oversized import ClampOversized  # noqa: PLC0415

    plan = ClampOversized(limit, clamp_question=question).ctxwin_prune(draft.request())
    accepted = plan is not None and draft.accept("clamp-oversized", plan)
    return accepted and _comes_to_fit(draft, conversation)


def _unpinning(conversation: Conversation) -> Iterator[str]:
    """Yield which messages to unpin, the most expensive first and no more than needed."""
    units = conversation.window.units
    pinned = sorted(filter(_pinned_by_hand, units), key=lambda unit: -unit.tokens)
    unpinned: list[int] = []
    for unit in pinned:
        for message in unit.messages:
            if message.pinned:
                _changed(conversation, Pin(message.id, pinned=False))
                unpinned.append(message.id)
        if _fits(conversation):
            yield f"unpin {' and '.join(map(str, unpinned))}"
            return


def _pinned_by_hand(unit: Unit) -> bool:
    return unit.pinned and unit.role not in SYSTEM_ROLES


def _rewinding(conversation: Conversation) -> Iterator[str]:
    """Yield from where to take the conversation back: the newest unit, or else the question."""
    history = conversation.history
    firsts = [history.newest.first] if history.newest else []
    if history.question:
        firsts.append(history.question.message.id)
    for first in firsts:
        rewound = _changed(conversation.copy(), Rewind(first))
        if rewound.history.uncounted():
            continue  # it brings back what no window has held: to say what it costs takes a count
        if _fits(rewound):
            yield f"take it back, with rewind({first})"
            return


def _raising(conversation: Conversation) -> Iterator[str]:
    """Yield the budget that suffices: what must be kept costs that, as it stands."""
    draft = Draft(Snapshot.of(conversation), conversation.costs)
    draft.units = tuple(unit for unit in draft.units if laws.protected_by_law(unit, draft.context))
    if not conversation.costs.sums_are_exact:
        draft.go_by_true_cost()
    yield f"raise the budget to {draft.used_tokens} tokens"


def _fits(conversation: Conversation) -> bool:
    return _comes_to_fit(Draft(Snapshot.of(conversation), conversation.costs), conversation)


def _comes_to_fit(draft: Draft, conversation: Conversation) -> bool:
    """Return whether a draft is within the budget once all that may go has gone."""
    draft.drop_what_is_needed()
    try:
        fitting(draft, partial(Snapshot.of, conversation))
    except BudgetError:
        return False
    return True


def _changed(conversation: Conversation, change: Change) -> Conversation:
    conversation.apply(change)
    return conversation
