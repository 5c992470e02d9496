"""
Summaries made ahead: `prepare` finds out what to summarise, a `Ticket` carries it, `commit` applies what came of it.

Rules:

1. A ticket is a value: an immutable snapshot, and no callable. It pickles; whoever runs it needs no manager.
2. The manager waits for nobody. It may cut, and the log may grow, while a ticket is out.
3. `commit` trusts nothing: the strategy is asked once more what it makes of the text, by the very request that it was
   shown, and the plan is replayed on the present window, law checks included. All of it is applied, or nothing.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from ctxwin.conversation import Conversation
from ctxwin.draft import Draft, Snapshot
from ctxwin.effects import Chunk, Steps, adrive, chunks_of, drive, fold, in_one_piece, said
from ctxwin.errors import SummarizerError
from ctxwin.messages import Message, hash_of
from ctxwin.plan import Plan, Receipt, Summarize, Summarizer, Unit, message_tokens
from ctxwin.pruning import Tally, ask, ask_chain, tell
from ctxwin.registry import Chain, Hook

Plans: TypeAlias = tuple[tuple[str, Plan], ...]


@dataclass(frozen=True, slots=True)
class Basis:
    """What a ticket was made from: the log's messages in the window, the plans accepted before, the window then."""

    last_id: int
    log: tuple[Message, ...]
    plans: Plans
    snapshot: Snapshot


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
        return self._finished(drive(self._steps(summarizer)))

    async def arun(self, summarizer: Summarizer) -> "Ticket":
        """Return what `run` returns, for a summariser of either colour. Cancelled, it leaves the ticket as it was."""
        return self._finished(await adrive(self._steps(summarizer)))

    def _steps(self, summarizer: Summarizer) -> Steps[str | SummarizerError]:
        effect = Summarize(summarizer, self.messages, self.previous_summary, max_tokens=self.max_tokens)
        try:
            return (yield from fold(effect, self._chunks, said))
        except SummarizerError as error:
            return error

    def _finished(self, outcome: str | SummarizerError) -> "Ticket":
        if isinstance(outcome, SummarizerError):
            return replace(self, text=None, error=str(outcome))
        return replace(self, text=outcome, error=None)


def prepare(
    conversation: Conversation, chain: Chain, lock: AbstractContextManager[object], *, owner: object
) -> Ticket | None:
    """Ask the chain as a prune would, up to the first summary; None where it needs none, or there is nothing new."""
    with lock:
        snapshot, resting = conversation.snapshot(), conversation.breaker.resting(conversation.history.appended)
        last_id = next(reversed(conversation.history.entries), 0)
        if conversation.nothing_new:
            return None
    draft, tally = Draft(snapshot, conversation.costs), Tally()
    steps = ask_chain(draft, chain, owner, resting, tally, _whole)
    try:
        effect = next(steps)
        chunks = chunks_of(effect, message_tokens(draft.units), draft.count)
    except (StopIteration, SummarizerError):
        return None
    finally:
        steps.close()
    log = tuple(message.clone() for unit in snapshot.units if not unit.written for message in unit.messages)
    seen = replace(snapshot, units=_cloned(draft.units), context=draft.context, next_id=draft.next_id)
    ticket = Ticket(
        tally.asking,
        tuple(message.clone() for message in effect.messages),
        effect.previous_summary,
        effect.max_tokens,
        _chunks=chunks,
        _basis=Basis(last_id, log, tuple(draft.accepted), seen),
    )
    with lock:
        conversation.prepared = ticket.key
    return ticket


def commit(
    conversation: Conversation, chain: Chain, lock: AbstractContextManager[object], ticket: Ticket, *, owner: object
) -> Receipt:
    """Apply a finished ticket if the log still extends what it was made from; else say why not, and change nothing."""
    if not ticket.finished:
        raise ValueError(f"{ticket!r} was not run: commit what ticket.run(summarizer) returns")
    hook = next((known.prune for known in chain.strategies if known.name == ticket.strategy), None)
    with lock:
        stale = _why_stale(conversation, ticket)
        if hook is None or stale:
            return _refused(conversation, ticket, stale or f"the chain has no strategy {ticket.strategy!r}")
    proposed = _proposed(conversation, ticket, hook, owner)
    with lock:
        if stale := _why_stale(conversation, ticket):
            return _refused(conversation, ticket, stale)
        failed = {ticket.strategy} if proposed.rejected else set()
        conversation.breaker.note({ticket.strategy}, failed, conversation.history.appended)
        draft = proposed.replay(conversation.snapshot())
        if not any(name == ticket.strategy for name, _ in draft.accepted):
            rejected, draft = draft.rejected, Draft(conversation.snapshot(), conversation.costs)
            draft.rejected = rejected
            return conversation.receipt(draft)
        receipt = conversation.receipt(draft)
        conversation.adopt(draft, draft.context.base_tokens - conversation.costs.base_tokens, receipt)
    tell(chain, receipt, owner)
    return receipt


def _whole(draft: Draft, effect: Summarize) -> Steps[str]:
    return in_one_piece(effect, draft.count)


def _cloned(units: Iterable[Unit]) -> tuple[Unit, ...]:
    return tuple(replace(unit, messages=tuple(message.clone() for message in unit.messages)) for unit in units)


def _why_stale(conversation: Conversation, ticket: Ticket) -> str:
    """Return why a ticket must not be applied; `""` where it may."""
    if conversation.prepared not in ("", ticket.key):
        return "a newer prepare() supersedes it"
    entries = conversation.history.entries
    if ticket._basis.last_id not in entries:  # noqa: SLF001 - this module owns it
        return "the log no longer extends what it was made from"
    for message in ticket._basis.log:  # noqa: SLF001
        entry = entries.get(message.id)
        shown = [] if entry is None else [other.to_dict() for other in (entry.message, entry.edited) if other]
        if shown and message.to_dict() not in shown:
            return f"message {message.id} is no longer what it was made from"
    return ""


def _proposed(conversation: Conversation, ticket: Ticket, hook: Hook, owner: object) -> Draft:
    """Ask the strategy again, by the request that it was shown then, with the ticket's text for an answer."""
    basis = ticket._basis  # noqa: SLF001
    draft = Draft(basis.snapshot, conversation.costs)

    def answer(effect: Summarize) -> str:
        asked = (effect.messages, effect.previous_summary, effect.max_tokens)
        if asked != (ticket.messages, ticket.previous_summary, ticket.max_tokens):
            raise SummarizerError("the strategy asks for another summary than the ticket's")
        if ticket.text is None:
            raise SummarizerError(ticket.error or "")
        return ticket.text

    drive(ask(draft, ticket.strategy, hook, owner, _whole), answer)
    draft.accepted = [*basis.plans, *draft.accepted]
    return draft


def _refused(conversation: Conversation, ticket: Ticket, reason: str) -> Receipt:
    draft = Draft(conversation.snapshot(), conversation.costs)
    draft.reject(ticket.strategy, "L16", f"stale: {reason}")
    return conversation.receipt(draft)
