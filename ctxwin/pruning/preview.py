"""What sending a draft of a message would mean: priced beside the window, which stays as it is."""

from dataclasses import replace

from ctxwin.counting.costs import Costs
from ctxwin.hooks.chain import Chain
from ctxwin.log.conversation import Conversation
from ctxwin.log.keeper import Keeper
from ctxwin.pruning.draft import Snapshot, newest_shown, target_of, with_one_kept
from ctxwin.pruning.prune import can_fit
from ctxwin.values.message import Message, says_nothing
from ctxwin.values.plan import Unit, make_unit
from ctxwin.values.receipt import Preview
from ctxwin.values.wire import SYSTEM_ROLES, Wire


def preview(keeper: Keeper, chain: Chain, wire: Wire, *, owner: object, check: bool) -> Preview:
    """Return what appending a message and sending the window would mean; fast without `check`."""
    conversation = keeper.conversation

    def look(unlearnt: Costs | None) -> Snapshot:
        with keeper.lock:
            if nothing:
                return Snapshot.of(conversation, unlearnt)
            costs = unlearnt or conversation.costs
            return _with(conversation, make_unit([message], [costs.scaled(tokens)]), unlearnt)

    with keeper.lock:
        message = Message(conversation.next_id, wire, wire["role"] in SYSTEM_ROLES)
        nothing = says_nothing(message)  # no window will hold it
        tokens = 0 if nothing else conversation.costs.message(message)
        draft = make_unit([message], [conversation.costs.scaled(tokens)])
        total = conversation.total_tokens if nothing else _total_with(conversation, draft)
    max_tokens = conversation.budget.max_tokens
    over = total > max_tokens
    fits = (not over or can_fit(keeper, chain, look, owner=owner)) if check else None
    return Preview(draft.tokens, total, max_tokens - total, over, fits)


def _total_with(conversation: Conversation, draft: Unit) -> int:
    """Return what the window would cost with the draft; reads no unit but the first two."""
    window = conversation.window
    window.settle()
    left, gap = _leaving(conversation)
    first = next((unit for unit in window.units[:2] if not left or unit.first != left.first), draft)
    units_tokens = window.total_tokens - window.base_tokens - (left.tokens if left else 0)
    return conversation.billed(window.base_of(first) + units_tokens + draft.tokens + gap)


def _leaving(conversation: Conversation) -> tuple[Unit | None, int]:
    """Return the unit that would leave before the draft, an open call's, and the gap that stays."""
    pending, gap = conversation.history.pending, conversation.request_gap
    shown = pending.shown if pending is not None else None
    return (None, gap) if shown is None else (shown, max(0, gap))


def _with(conversation: Conversation, draft: Unit, unlearnt: Costs | None) -> Snapshot:
    """
    Return what a prune would start from if the draft were the last message.

    A call that still lacks results would be open then, and leave the window.
    """
    before = Snapshot.of(conversation, unlearnt)
    shown, gap = _leaving(conversation)
    units = (*(unit for unit in before.units if shown is None or unit.first != shown.first), draft)
    base_tokens = conversation.window.base_of(units[0], unlearnt)
    newest = newest_shown(conversation) if shown is None else ()
    if unlearnt is None:
        total = _total_with(conversation, draft)
    else:  # as in `Snapshot.of`
        gap, total = 0, base_tokens + sum(unit.tokens for unit in units)
    context = replace(
        before.context,
        base_tokens=base_tokens + max(0, gap),
        question=draft.first if draft.role == "user" else before.context.question,
        newest=newest if draft.role in SYSTEM_ROLES else draft.ids,
    )
    context = with_one_kept(context, units)
    return replace(
        before,
        units=units,
        context=context,
        target_tokens=target_of(conversation, units, context),
        total_tokens=total,
    )
