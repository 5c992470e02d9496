"""
Summaries made ahead: `prepare` finds out what to summarise, a `Ticket` carries it, `commit` applies
what came of it.

Rules:

1. A ticket is a value: an immutable snapshot, and no callable. It pickles; whoever runs it needs no
manager.
2. The manager waits for nobody. It may cut, and the log may grow, while a ticket is out.
3. `commit` trusts nothing: the strategy is asked once more what it makes of the text, by the very
   request that it was shown, and the plan is replayed on the present window, law checks included.
   All of it is applied, or nothing.
"""

from contextlib import AbstractContextManager, suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace

from ctxwin.hooks.chain import Chain, Hook
from ctxwin.log.conversation import Conversation
from ctxwin.pruning.chunks import Chunk, bounded, chunks_of, fold, in_one_piece, said
from ctxwin.pruning.draft import Accepted, Draft, MovedError, Snapshot
from ctxwin.pruning.driving import Steps, adrive, drive
from ctxwin.pruning.prune import Tally, ask, ask_chain, spare_all, tell
from ctxwin.pruning.resolve import Refusal
from ctxwin.values.errors import SummarizerError, describe
from ctxwin.values.message import Message, hash_of
from ctxwin.values.plan import Summarize, Summarizer, message_tokens
from ctxwin.values.receipt import Receipt
from ctxwin.values.wire import Wire


@dataclass(frozen=True, slots=True)
class Basis:
    """
    What a ticket was made from.

    Attributes:
        last_id: the id of the log's last message.
        messages: the window as it was.
        accepted: the plans accepted before the strategy was asked.
        snapshot: the window that the strategy was shown.
        correction: by which an estimate was corrected then, in thousandths.
    """

    last_id: int
    messages: tuple[Message, ...]
    accepted: tuple[Accepted, ...]
    snapshot: Snapshot
    correction: int


@dataclass(frozen=True, slots=True)
class Ticket:
    """
    A summary to be made away from the request path.

    `run` or `arun` return a finished copy, wherever they run; `ContextManager.commit` applies it.

    Attributes:
        strategy: the strategy that asked for the summary.
        messages: what to summarise, oldest first (copies).
        previous_summary: a summary to carry on from, or None.
        max_tokens: how long the summary may be, in tokens.
        text: the summary, once it is made.
        error: why there is none, where the summariser failed.
    """

    strategy: str
    messages: tuple[Message, ...]
    previous_summary: str | None
    max_tokens: int
    text: str | None = None
    error: str | None = None
    _chunks: tuple[Chunk, ...] = field(repr=False, kw_only=True)
    _drafts: tuple[str, ...] = field(
        default=(), repr=False, kw_only=True
    )  # the summaries of the chunks
    _basis: Basis = field(repr=False, kw_only=True)

    def __repr__(self) -> str:
        state = "failed" if self.error is not None else "finished" if self.finished else "open"
        return f"<Ticket {self.strategy}, {len(self.messages)} messages, {state}>"

    @property
    def finished(self) -> bool:
        """Whether it has been run: there is a text, or an error."""
        return self.text is not None or self.error is not None

    @property
    def key(self) -> str:
        """What tells it from tickets prepared before and after: of equal keys one is as good as the other."""
        return f"{self.strategy} {self._basis.last_id} {hash_of(self.messages)}"

    def run(self, summarizer: Summarizer) -> "Ticket":
        """
        Return a finished copy, with the text or with what went wrong.

        Args:
            summarizer: sync; asked once a chunk, `(messages, previous_summary, max_tokens) -> str`.
        """
        return drive(self._finished(summarizer))

    async def arun(self, summarizer: Summarizer) -> "Ticket":
        """Return what `run` returns, for a summariser of either colour. Cancelled, it leaves the ticket as it was."""
        return await adrive(self._finished(summarizer))

    def _finished(self, summarizer: Summarizer) -> Steps["Ticket"]:
        effect = Summarize(
            summarizer, self.messages, self.previous_summary, max_tokens=self.max_tokens
        )
        chunks = [
            tuple([message.clone() for message in chunk]) for chunk in self._chunks
        ]  # it may be run again
        drafts: list[str] = []

        def check(text: str) -> str:
            drafts.append(said(text))
            return text

        try:
            text = yield from fold(effect, chunks, check)
        except SummarizerError as error:
            return replace(self, text=None, error=str(error), _drafts=())
        return replace(self, text=text, error=None, _drafts=tuple(drafts))


def prepare(
    conversation: Conversation, chain: Chain, lock: AbstractContextManager[object], *, owner: object
) -> Ticket | None:
    """Ask the chain as a prune would, up to the first summary; None where it needs none."""
    with lock:
        snapshot, resting = (
            conversation.snapshot(),
            conversation.breaker.resting(conversation.history.appended),
        )
        last_id, correction = (
            next(reversed(conversation.history.entries), 0),
            conversation.costs.correction,
        )
    draft, tally = Draft(snapshot, conversation.costs), Tally()
    steps = ask_chain(draft, chain, owner, resting, tally, _whole)
    try:
        effect = next(steps)
        while (copies := _copies(draft, effect)) is None:
            effect = steps.throw(SummarizerError("its source cannot be told in chunks"))
    except StopIteration:
        return None
    finally:
        steps.close()
    seen = replace(snapshot, units=draft.units, context=draft.context, next_id=draft.next_id)
    messages = tuple(message for unit in snapshot.units for message in unit.messages)
    basis = Basis(last_id, messages, tuple(draft.accepted), seen, correction)
    ticket = Ticket(
        tally.asking,
        copies[0],
        effect.previous_summary,
        effect.max_tokens,
        _chunks=copies[1:],
        _basis=deepcopy(basis),  # or the ticket would hold live state
    )
    with lock:
        conversation.prepared = ticket.key
    return ticket


def commit(
    conversation: Conversation,
    chain: Chain,
    lock: AbstractContextManager[object],
    ticket: Ticket,
    *,
    owner: object,
) -> Receipt:
    """Apply a finished ticket if the log still extends what it was made from; else say why not, and change nothing."""
    if not ticket.finished:
        raise ValueError(f"{ticket!r} was not run: commit what ticket.run(summarizer) returns")
    try:
        with lock:
            hook = _hook_for(conversation, ticket, chain)
            present = Draft(conversation.snapshot(), conversation.costs)
        spare_all(present, chain, owner)
        proposed = _proposed(conversation, ticket, hook, owner)
        spared = proposed.context.spared | present.context.spared
        proposed.context = replace(proposed.context, spared=spared)
        with lock:
            receipt = _committed(conversation, ticket, chain, proposed)
    except Refusal as refusal:
        with lock:
            unchanged = Draft(conversation.snapshot(), conversation.costs)
            unchanged.reject(ticket.strategy, refusal.law, refusal.reason)
            return replace(
                conversation.receipt(unchanged), after_tokens=unchanged.snapshot.total_tokens
            )
    tell(chain, receipt, owner)
    return receipt


def _committed(
    conversation: Conversation, ticket: Ticket, chain: Chain, proposed: Draft
) -> Receipt:
    """Have what was proposed adopted, looking again as often as others write meanwhile; or raise `Refusal`."""
    while True:
        _hook_for(conversation, ticket, chain)
        draft, adjustment = _replayed(conversation, ticket, proposed)
        receipt = conversation.receipt(draft)
        with suppress(MovedError):
            conversation.adopt(draft, adjustment, receipt)
            return receipt


def _hook_for(conversation: Conversation, ticket: Ticket, chain: Chain) -> Hook:
    """Return the hook that asked for a ticket; raises `Refusal` where the ticket is stale."""
    hook = next((known.prune for known in chain.strategies if known.name == ticket.strategy), None)
    reason = _why_stale(conversation, ticket)
    if hook is None or reason:
        raise Refusal("L16", f"stale: {reason or f'the chain has no strategy {ticket.strategy!r}'}")
    return hook


def _replayed(conversation: Conversation, ticket: Ticket, proposed: Draft) -> tuple[Draft, int]:
    """Return what the plans make of the present window, all of them, and the adjustment with it; or raise `Refusal`."""
    snapshot, appended = conversation.snapshot(), conversation.history.appended
    if proposed.rejected:
        conversation.breaker.note({ticket.strategy}, {ticket.strategy}, appended)
        raise Refusal(proposed.rejected[0].law, proposed.rejected[0].reason)
    if len(proposed.accepted) == len(ticket._basis.accepted):
        raise Refusal("", "the strategy makes nothing of the summary")
    costs = conversation.costs
    draft = proposed.replay(snapshot, costs)
    if draft.rejected:
        raise Refusal(draft.rejected[0].law, draft.rejected[0].reason)
    if not costs.additive:
        true_tokens = costs.request([message for unit in draft.units for message in unit.messages])
        base_tokens = draft.context.base_tokens + true_tokens - draft.used_tokens
        draft.context = replace(draft.context, base_tokens=base_tokens)
    if draft.used_tokens >= snapshot.total_tokens:
        raise Refusal(
            "L7",
            f"the window costs {snapshot.total_tokens} tokens and would cost {draft.used_tokens}",
        )
    conversation.breaker.note({ticket.strategy}, (), appended)
    return draft, draft.context.base_tokens - conversation.window.base_tokens


def _whole(draft: Draft, effect: Summarize) -> Steps[str]:
    return in_one_piece(effect, draft.count)


def _copies(draft: Draft, effect: Summarize) -> tuple[Chunk, ...] | None:
    """Return copies of what to summarise, whole and then in chunks; None where they cannot be made."""
    try:
        chunks = chunks_of(effect, message_tokens(draft.units), draft.count)
        return tuple(
            tuple(message.clone() for message in chunk) for chunk in (effect.messages, *chunks)
        )
    except Exception:
        return None


def _why_stale(conversation: Conversation, ticket: Ticket) -> str:
    """Return why a ticket must not be applied; `""` where it may."""
    if conversation.prepared not in ("", ticket.key):
        return "a newer prepare() supersedes it"
    basis = ticket._basis
    if basis.last_id not in conversation.history.entries:
        return "the log no longer extends what it was made from"
    for message in basis.messages:
        shown = _shown_as(conversation, message.id)
        if shown and _facts(message) not in map(_facts, shown):
            return f"message {message.id} is no longer what it was made from"
    return ""


def _shown_as(conversation: Conversation, message_id: int) -> list[Message]:
    """Return what a message is and what the window shows for it; nothing where it is not in memory."""
    written = conversation.window.find_written(message_id)
    entry = conversation.history.entries.get(message_id)
    known = (
        [entry.message, entry.edited]
        if entry is not None
        else list(written.messages)
        if written
        else []
    )
    return [message for message in known if message is not None]


def _facts(message: Message) -> tuple[int, Wire]:
    """Return what of a message must not have changed: all but its pin."""
    return message.id, message.to_dict()


def _proposed(conversation: Conversation, ticket: Ticket, hook: Hook, owner: object) -> Draft:
    """
    Ask the strategy again, by the request that it was shown then, with the ticket's text for an
    answer.

    Returns the plans accepted before, and its own. Raises `Refusal` where it asks for something
    else now.
    """
    basis = ticket._basis
    draft = Draft(basis.snapshot, conversation.costs.corrected_by(basis.correction))
    expected = _asked(ticket)
    others: list[Summarize] = []

    def answer(effect: Summarize) -> str:
        try:
            if _asked(effect) != expected:
                others.append(effect)
                raise SummarizerError("this ticket is no answer to it")
            for text in ticket._drafts:
                bounded(text, ticket.max_tokens, draft.count)
        except SummarizerError:
            raise
        except Exception as error:  # the messages are foreign, and so is the counter
            raise SummarizerError(describe(error)) from error
        if ticket.text is None:
            raise SummarizerError(ticket.error or "")
        return ticket.text

    drive(ask(draft, ticket.strategy, hook, owner, _whole), answer)
    if others:
        raise Refusal("L16", "stale: the strategy asks for another summary than the ticket's")
    draft.accepted = [*basis.accepted, *draft.accepted]
    return draft


def _asked(what: Summarize | Ticket) -> tuple[object, ...]:
    return [_facts(message) for message in what.messages], what.previous_summary, what.max_tokens
