"""
Summaries made ahead of time, away from the request path.

`prepare` finds out what to summarise, a `Ticket` carries it, `commit` applies what came of it.

Rules:

1. A ticket is a value: an immutable snapshot, and no callable. It pickles; whoever runs it needs no
   manager.
2. The manager waits for nobody. It may cut, and the log may grow, while a ticket is out.
3. `commit` trusts nothing. The strategy is called once more, with the very request that it was
   shown and the text for an answer, and its plan is replayed on the present window, law checks
   included. All of it is applied, or nothing.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace

from ctxwin.counting.costs import Costs
from ctxwin.hooks.chain import Chain, Hook
from ctxwin.log.changes import Change, Cut
from ctxwin.log.conversation import Conversation
from ctxwin.log.keeper import Keeper
from ctxwin.pruning.breaker import recorded, resting
from ctxwin.pruning.chunks import Chunk, bounded, chunks_of, fold, in_one_piece, said
from ctxwin.pruning.draft import Accepted, BrokenPlanError, Draft, Snapshot
from ctxwin.pruning.driving import Flow, adrive, drive
from ctxwin.pruning.prune import Done, Tally, call_chain, call_strategy, protect_all, unchanged
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
        scale: by which an estimate was multiplied then, in thousandths.
    """

    last_id: int
    messages: tuple[Message, ...]
    accepted: tuple[Accepted, ...]
    snapshot: Snapshot
    scale: int


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
        """What tells it from other tickets; of two with equal keys, either will do."""
        return f"{self.strategy} {self._basis.last_id} {hash_of(self.messages)}"

    def run(self, summarizer: Summarizer) -> "Ticket":
        """
        Return a finished copy, with the text or with what went wrong.

        Args:
            summarizer: sync; asked once a chunk, `(messages, previous_summary, max_tokens) -> str`.
        """
        return drive(self._finished(summarizer))

    async def arun(self, summarizer: Summarizer) -> "Ticket":
        """
        Return what `run` returns, for a summariser of either colour.

        Cancelled, it leaves the ticket as it was.
        """
        return await adrive(self._finished(summarizer))

    def _finished(self, summarizer: Summarizer) -> Flow["Ticket"]:
        effect = Summarize(
            summarizer, self.messages, self.previous_summary, max_tokens=self.max_tokens
        )
        # Copies, for the ticket may be run again.
        chunks = [tuple([message.clone() for message in chunk]) for chunk in self._chunks]
        drafts: list[str] = []

        def check(text: str) -> str:
            drafts.append(said(text))
            return text

        try:
            text = yield from fold(effect, chunks, check)
        except SummarizerError as error:
            return replace(self, text=None, error=str(error), _drafts=())
        return replace(self, text=text, error=None, _drafts=tuple(drafts))


def prepare(keeper: Keeper, chain: Chain, *, owner: object) -> Ticket | None:
    """Call the chain as a prune would, up to the first summary; None where it needs none."""
    conversation = keeper.conversation
    with keeper.lock:
        snapshot = Snapshot.of(conversation)
        rests = resting(conversation.failures, conversation.history.appended)
        last_id = next(reversed(conversation.history.messages), 0)
        costs, scale = conversation.costs, conversation.costs.scale
    draft, tally = Draft(snapshot, costs), Tally()
    flow = call_chain(draft, chain, owner, rests, tally, _whole)
    try:
        effect = next(flow)
        while (copies := _copies(draft, effect)) is None:
            effect = flow.throw(SummarizerError("its source cannot be told in chunks"))
    except StopIteration:
        return None
    finally:
        flow.close()
    seen = replace(snapshot, units=draft.units, context=draft.context, next_id=draft.next_id)
    messages = tuple(message for unit in snapshot.units for message in unit.messages)
    basis = Basis(last_id, messages, tuple(draft.accepted), seen, scale)
    ticket = Ticket(
        tally.calling,
        copies[0],
        effect.previous_summary,
        effect.max_tokens,
        _chunks=copies[1:],
        _basis=deepcopy(basis),  # or the ticket would hold live state
    )
    with keeper.lock:
        conversation.supersede(ticket.key)
    return ticket


def commit(keeper: Keeper, chain: Chain, ticket: Ticket, owner: object, done: Done) -> Receipt:
    """
    Apply a finished ticket if the log still extends what it was made from.

    Where it does not, nothing changes and the receipt says why; `done` is then not called.

    Raises:
        ValueError: the ticket was not run.
    """
    if not ticket.finished:
        raise ValueError(f"{ticket!r} was not run: commit what ticket.run(summarizer) returns")
    conversation = keeper.conversation
    try:
        with keeper.lock:
            hook = _hook_for(conversation, ticket, chain)
            costs = conversation.costs
            present = Draft(Snapshot.of(conversation), costs)
        protect_all(present, chain, owner)
        proposed = _proposed(costs, ticket, hook, owner)
        proposed.protect_as(present)
        receipt = _apply(keeper, chain, ticket, proposed)
    except BrokenPlanError as error:
        with keeper.lock:
            same = Draft(Snapshot.of(conversation), conversation.costs)
            same.reject(ticket.strategy, error.broken)
            return unchanged(same, conversation)
    done(receipt)
    return receipt


def _apply(keeper: Keeper, chain: Chain, ticket: Ticket, proposed: Draft) -> Receipt:
    """Have the keeper apply what was proposed; returns the receipt, or raises `BrokenPlanError`."""
    outcome: list[Receipt] = []

    def work_out(conversation: Conversation) -> Sequence[Change]:
        _hook_for(conversation, ticket, chain)
        called, length = {ticket.strategy}, conversation.history.appended
        if proposed.rejected:  # the window stays; that the strategy failed is kept all the same
            failures = recorded(conversation.failures, called, called, length)
            return [Cut(request_gap=conversation.request_gap, failures=failures)]
        draft = _replayed(conversation, ticket, proposed)
        outcome[:] = [draft.receipt(conversation)]
        return [draft.cut(conversation, recorded(conversation.failures, called, (), length))]

    keeper.change(work_out)
    if not outcome:
        rejection = proposed.rejected[0]
        raise BrokenPlanError(rejection.law, rejection.reason)
    return outcome[0]


def _hook_for(conversation: Conversation, ticket: Ticket, chain: Chain) -> Hook:
    """Return the hook that asked for a ticket; raises `BrokenPlanError` if the ticket is stale."""
    hooks = (known.prune for known in chain.strategies if known.name == ticket.strategy)
    hook = next(hooks, None)
    reason = _why_stale(conversation, ticket)
    if hook is None or reason:
        reason = reason or f"the chain has no strategy {ticket.strategy!r}"
        raise BrokenPlanError("L16", f"stale: {reason}")
    return hook


def _replayed(conversation: Conversation, ticket: Ticket, proposed: Draft) -> Draft:
    """
    Return what the plans make of the present window.

    Raises `BrokenPlanError`: not all of them can be applied, or they would free nothing.
    """
    if len(proposed.accepted) == len(ticket._basis.accepted):  # noqa: SLF001 - this module owns it
        raise BrokenPlanError("", "the strategy makes nothing of the summary")
    draft = proposed.replay(Snapshot.of(conversation), conversation.costs)
    if draft.rejected:
        raise BrokenPlanError(draft.rejected[0].law, draft.rejected[0].reason)
    draft.begin_with_user_message()
    if not conversation.costs.additive:
        draft.go_by_true_cost()
    before = draft.snapshot.total_tokens
    if draft.used_tokens >= before:
        reason = f"the window costs {before} tokens and would cost {draft.used_tokens}"
        raise BrokenPlanError("L7", reason)
    return draft


def _whole(draft: Draft, effect: Summarize) -> Flow[str]:
    return in_one_piece(effect, draft.count)


def _copies(draft: Draft, effect: Summarize) -> tuple[Chunk, ...] | None:
    """Return copies of what to summarise, whole and then in chunks; None if that fails."""
    try:
        chunks = chunks_of(effect, message_tokens(draft.units), draft.count)
        whole = (effect.messages, *chunks)
        return tuple(tuple(message.clone() for message in chunk) for chunk in whole)
    except Exception:  # noqa: BLE001 - the messages are foreign, and so is the counter
        return None


def _why_stale(conversation: Conversation, ticket: Ticket) -> str:
    """Return why a ticket must not be applied; `""` where it may."""
    if conversation.prepared not in ("", ticket.key):
        return "a newer prepare() supersedes it"
    basis = ticket._basis  # noqa: SLF001 - this module owns it
    if basis.last_id not in conversation.history.messages:
        return "the log no longer extends what it was made from"
    for message in basis.messages:
        shown = _shown_as(conversation, message.id)
        if shown and _facts(message) not in map(_facts, shown):
            return f"message {message.id} is no longer what it was made from"
    return ""


def _shown_as(conversation: Conversation, message_id: int) -> list[Message]:
    """Return what a message is and how the window shows it; `[]` if it is not in memory."""
    logged = conversation.history.messages.get(message_id)
    if logged is not None:
        return [logged.message] if logged.edited is None else [logged.message, logged.edited]
    written = conversation.window.find_written(message_id)
    return list(written.messages) if written else []


def _facts(message: Message) -> tuple[int, Wire]:
    """Return what of a message must not have changed: all but its pin."""
    return message.id, message.to_dict()


def _proposed(costs: Costs, ticket: Ticket, hook: Hook, owner: object) -> Draft:
    """
    Call the strategy again, with the request that it was shown and the text for an answer.

    Returns the plans accepted before, and its own. Raises `BrokenPlanError` if it asks for
    something else now.
    """
    basis = ticket._basis  # noqa: SLF001 - this module owns it
    draft = Draft(basis.snapshot, costs.scaled_by(basis.scale))
    expected = _asked(ticket)
    others: list[Summarize] = []

    def reply(effect: Summarize) -> str:
        try:
            if _asked(effect) != expected:
                others.append(effect)
                raise SummarizerError("this ticket is no answer to it")
            for text in ticket._drafts:  # noqa: SLF001
                bounded(text, ticket.max_tokens, draft.count)
        except SummarizerError:
            raise
        except Exception as error:  # the messages are foreign, and so is the counter
            raise SummarizerError(describe(error)) from error
        if ticket.text is None:
            raise SummarizerError(ticket.error or "")
        return ticket.text

    drive(call_strategy(draft, ticket.strategy, hook, owner, _whole), reply)
    if others:
        reason = "stale: the strategy asks for another summary than the ticket's"
        raise BrokenPlanError("L16", reason)
    draft.accepted = [*basis.accepted, *draft.accepted]
    return draft


def _asked(what: Summarize | Ticket) -> tuple[object, ...]:
    return [_facts(message) for message in what.messages], what.previous_summary, what.max_tokens
