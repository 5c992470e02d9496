"""Summaries made ahead: prepared, run anywhere, committed if the log still extends their source."""

import asyncio
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from ctxwin import (
    Budget,
    ContextManager,
    CounterError,
    Message,
    Plan,
    PruneRequest,
    Receipt,
    Summarize,
    SummarizerError,
    Ticket,
    hookimpl,
)
from ctxwin.testing import Folding, OddCounter, ScriptedSummarizer, WordCounter
from ctxwin_plugins.keep_pinned import KeepPinned
from ctxwin_plugins.summarize_history import SummarizeHistory


def never(*_: Any) -> str:
    raise AssertionError("a model was called on the request path")


async def slowly(*_: Any) -> str:
    await asyncio.sleep(0)
    return "as agreed"


def conversation(
    *strategies: object, turns: int = 8, max_tokens: int = 200, **options: Any
) -> ContextManager:
    """Return a conversation above its soft mark: every message costs twelve tokens or so."""
    chain = list(strategies) or [SummarizeHistory(never)]
    budget = Budget(max_tokens, low=0.5, soft=0.8)
    ctx = ContextManager(
        budget=budget, **{"counter": WordCounter(), "strategies": chain, **options}
    )
    for number in range(turns):
        talk(ctx, number)
    return ctx


def talk(ctx: ContextManager, number: int) -> None:
    ctx.add_message("user", f"question {number} about my parcel and when it comes")
    ctx.add_message("assistant", f"answer {number}: it comes on day {number}")


def prepared(ctx: ContextManager) -> Ticket:
    ticket = ctx.prepare()
    assert ticket is not None
    return ticket


def stale(receipt: Receipt) -> str:
    """Return why a ticket was not applied."""
    assert receipt.actions == ()
    assert receipt.before_tokens == receipt.after_tokens
    (rejection,) = receipt.rejected
    assert rejection.law == "L16"
    return rejection.reason


def test_a_summary_is_made_ahead() -> None:
    """Prepared above the soft mark, run as if in another process, applied; the log keeps all."""
    ctx = conversation(turns=7)
    assert ctx.should_prepare
    state = ctx.to_dict()
    ticket = prepared(ctx)
    assert ctx.to_dict() == state | {"prepared": ticket.key}
    assert repr(ticket) == "<Ticket summarize-history, 11 messages, open>"
    summarizer = ScriptedSummarizer("as agreed")
    sent = pickle.loads(pickle.dumps(ticket))  # noqa: S301 - our own bytes
    finished = pickle.loads(pickle.dumps(sent.run(summarizer)))  # noqa: S301 - our own bytes
    assert (ticket.finished, finished.finished, finished.text) == (False, True, "as agreed")
    assert summarizer.calls == [(ticket.messages, None, ticket.max_tokens)]
    talk(ctx, 7)  # meanwhile
    receipt = ctx.commit(finished)
    assert [action.kind for action in receipt.actions] == ["replace"]
    assert receipt == ctx.last_receipt
    assert receipt.after_tokens == ctx.total_tokens < receipt.before_tokens
    window = ctx.messages()
    assert window[0] == {"role": "user", "content": "as agreed"}
    assert next(iter(ctx)).sources == tuple(message.id for message in ticket.messages)
    assert len(ctx.conversation_history) == 16
    assert not ctx.should_prepare


def test_the_next_summary_carries_on() -> None:
    """From the one before it."""
    ctx = conversation()
    ctx.commit(prepared(ctx).run(ScriptedSummarizer("first")))
    for number in range(9, 14):
        talk(ctx, number)
    second = prepared(ctx)
    assert second.previous_summary == "first"
    ctx.commit(second.run(ScriptedSummarizer("second")))
    assert [message.content for message in ctx if message.sources] == ["second"]


def test_both_colours() -> None:
    """`arun` takes either; `run` says what to do with an async summariser."""
    ticket = prepared(conversation())
    assert asyncio.run(ticket.arun(slowly)).text == "as agreed"
    assert asyncio.run(ticket.arun(ScriptedSummarizer("told"))).text == "told"
    refused = ticket.run(slowly)
    assert refused.finished
    assert "ticket.arun()" in str(refused.error)
    assert repr(refused).endswith("failed>")
    assert repr(ticket.run(ScriptedSummarizer("told"))).endswith("finished>")


def test_nothing_to_prepare() -> None:
    """Below the target, without a strategy that summarises, after a prune, with no messages."""
    assert conversation(turns=1).prepare() is None
    assert conversation("drop-oldest").prepare() is None
    assert conversation("clear-tool-results").prepare() is None
    assert not ContextManager(9).should_prepare
    assert ContextManager(9).prepare() is None
    ctx = conversation(SummarizeHistory())
    ctx.prune_history()
    assert ctx.prepare() is None


def test_should_prepare_has_a_mark_of_its_own() -> None:
    """Above `soft * max_tokens`; without one, never."""
    ctx = ContextManager(budget=Budget(100, soft=0.5), counter=len)
    ctx.add_message("user", "x" * (50 - ctx.preview("").total_tokens))
    assert (ctx.total_tokens, ctx.should_prepare) == (50, False)
    assert ctx.preview("").tokens
    ctx.add_message("user", "")
    assert ctx.should_prepare
    assert not conversation(max_tokens=1000).should_prepare


def test_a_newer_ticket_supersedes_an_older() -> None:
    """Only the newest may be applied; of equal ones either."""
    ctx = conversation()
    old, again = prepared(ctx), prepared(ctx)
    assert old.key == again.key
    talk(ctx, 9)
    new = prepared(ctx)
    text = ScriptedSummarizer("as agreed")
    assert "supersedes" in stale(ctx.commit(old.run(text)))
    assert ctx.commit(new.run(text)).actions
    assert stale(ctx.commit(again.run(text)))


def test_a_ticket_is_applied_once() -> None:
    """The second time there is nothing left that it could replace."""
    ctx = conversation()
    finished = prepared(ctx).run(ScriptedSummarizer("as agreed"))
    assert ctx.commit(finished).actions
    state = ctx.to_dict()
    receipt = ctx.commit(finished)
    assert (receipt.actions, receipt.rejected[0].law) == ((), "L5")
    assert ctx.to_dict() == state


CHANGES: dict[str, tuple[Callable[[ContextManager], object], str]] = {
    "rewound": (lambda ctx: ctx.rewind(15), "L16"),
    "pinned": (lambda ctx: ctx.pin(1), "L3"),
    "cut": (lambda ctx: ctx.messages(), "L5"),
}


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_a_ticket_goes_stale(change: str) -> None:
    """Where the log was taken back, or what it covers is pinned or gone: nothing changes."""
    happen, law = CHANGES[change]
    ctx = conversation(SummarizeHistory(lambda *_: "digest"), turns=9)
    finished = prepared(ctx).run(ScriptedSummarizer("as agreed"))
    happen(ctx)
    state = ctx.to_dict()
    receipt = ctx.commit(finished)
    assert receipt.rejected[-1].law == law
    assert receipt.actions == ()
    assert {**ctx.to_dict(), "failures": {}} == {**state, "failures": {}}


def test_another_conversation_is_not_touched() -> None:
    """Equal ids are not equal messages; and a chain without the strategy applies no summary."""
    ctx = conversation()
    finished = prepared(ctx).run(ScriptedSummarizer("as agreed"))
    other = ContextManager(
        budget=Budget(200), counter=WordCounter(), strategies=[SummarizeHistory(never)]
    )
    other.extend(
        {"role": "user", "content": f"somebody else's question {number}"} for number in range(20)
    )
    assert "no longer what it was made from" in stale(other.commit(finished))
    empty = ContextManager(200, counter=WordCounter(), strategies=[SummarizeHistory(never)])
    assert "no longer extends" in stale(empty.commit(finished))
    plain = conversation("drop-oldest")
    assert "has no strategy 'summarize-history'" in stale(plain.commit(finished))


def test_an_open_ticket_is_refused() -> None:
    """It must be run first."""
    ctx = conversation()
    with pytest.raises(ValueError, match=r"was not run: commit what ticket\.run"):
        ctx.commit(prepared(ctx))


FAILURES: dict[str, Any] = {
    "raises": lambda *_: 1 / 0,
    "blank": lambda *_: " ",
    "too long": lambda *_: "word " * 500,
    "no text": lambda *_: None,
    "refuses": ScriptedSummarizer(""),
}


@pytest.mark.parametrize("way", sorted(FAILURES))
def test_a_failed_ticket_changes_nothing(way: str) -> None:
    """The commit says so; after three in a row the strategy rests until the log has grown."""
    ctx = conversation()
    before = ctx.to_dict()
    for failures in range(1, 4):
        finished = prepared(ctx).run(FAILURES[way])
        assert finished.finished
        receipt = ctx.commit(finished)
        assert receipt.actions == ()
        assert receipt.rejected[0].law == "L8"
        assert ctx.to_dict()["failures"]["summarize-history"][0] == failures
        assert {**ctx.to_dict(), "failures": {}, "prepared": ""} == before
    assert ctx.prepare() is None
    for number in range(2):
        talk(ctx, 9 + number)
    assert ctx.prepare() is not None


def test_a_success_forgets_failures() -> None:
    """Only failures in a row send a strategy to rest."""
    ctx = conversation(turns=9)
    for _ in range(2):
        ctx.commit(prepared(ctx).run(FAILURES["blank"]))
    assert ctx.to_dict()["failures"]
    assert ctx.commit(prepared(ctx).run(ScriptedSummarizer("as agreed"))).actions
    assert not ctx.to_dict()["failures"]


def test_a_cancelled_run_leaves_the_ticket_as_it_was() -> None:
    """And the conversation."""

    async def cancelled(ctx: ContextManager, ticket: Ticket) -> None:
        task = asyncio.create_task(ticket.arun(slowly))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    ctx = conversation()
    ticket = prepared(ctx)
    state = ctx.to_dict()
    asyncio.run(cancelled(ctx, ticket))
    assert ctx.to_dict() == state
    assert not ticket.finished
    assert ctx.commit(ticket.run(ScriptedSummarizer("as agreed"))).actions


def test_a_restored_manager_commits() -> None:
    """On another worker, which never prepared anything, or which did; after forgetting too."""
    for forget in (False, True):
        ctx = conversation(SummarizeHistory(), turns=12)
        ctx.prune_history()
        for number in range(12, 20):
            talk(ctx, number)
        early = json.loads(json.dumps(ctx.to_dict()))
        finished = prepared(ctx).run(ScriptedSummarizer("as agreed"))
        if forget:
            assert ctx.forget()
        for state in (early, ctx.to_dict()):
            options: dict[str, Any] = {"counter": WordCounter(), "strategies": [SummarizeHistory()]}
            other = ContextManager.from_dict(state, budget=Budget(200, low=0.5), **options)
            assert other.commit(finished).actions
            assert "as agreed" in str(other.messages())


def test_forgetting_what_a_ticket_ends_with_makes_it_stale() -> None:
    """Whether the log was rewound cannot be told any more."""
    ctx = conversation(turns=9, max_tokens=150)
    finished = prepared(ctx).run(ScriptedSummarizer("as agreed"))
    for number in range(10):
        talk(ctx, number)
    ctx._chain = ContextManager(1)._chain
    ctx.prune_history()
    ctx.forget()
    ctx._chain = conversation()._chain
    assert "no longer extends" in stale(ctx.commit(finished))


class Shouts:
    """Edits every message that it may, so that a strategy stands before the one that summarises."""

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan:
        first = request.editable[0]
        return Plan.edit(first, "x", reason="shorter")


def test_what_was_planned_before_is_applied_too() -> None:
    """The chain's earlier plans are a part of the commit: all or nothing."""
    ctx = conversation(Shouts(), SummarizeHistory(never, keep_last_turns=1))
    finished = prepared(ctx).run(ScriptedSummarizer("as agreed"))
    assert finished.messages[0].content == "x"
    kinds = [action.kind for action in ctx.commit(finished).actions]
    assert kinds == ["edit", "replace"]
    ctx = conversation(Shouts(), SummarizeHistory(never, keep_last_turns=1))
    finished = prepared(ctx).run(ScriptedSummarizer("as agreed"))
    ctx.pin(3)
    state = ctx.to_dict()
    assert ctx.commit(finished).actions == ()
    assert ctx.to_dict() == {**state, "failures": {}}


def test_an_edited_message_is_still_the_one_that_it_was_made_from() -> None:
    """It is known by what the window shows as by what the log has."""
    ctx = conversation(SummarizeHistory(never), turns=7)
    shouting = conversation(Shouts(), turns=7)
    ctx._chain = shouting._chain
    ctx.prune_history()
    ctx._chain = conversation()._chain
    for number in range(8, 14):
        talk(ctx, number)
    finished = prepared(ctx).run(ScriptedSummarizer("as agreed"))
    assert ctx.commit(finished).actions


class Watching(SummarizeHistory):
    """Is told of what was done, and may be asked something else the second time."""

    def __init__(self) -> None:
        super().__init__(never)
        self.receipts: list[Receipt] = []
        self.asked = 0

    @hookimpl
    def ctxwin_pruned(self, receipt: Receipt) -> None:
        self.receipts.append(receipt)


def test_observers_are_told_of_a_commit() -> None:
    """Of one that did something."""
    watching = Watching()
    ctx = conversation(watching)
    finished = prepared(ctx).run(ScriptedSummarizer("as agreed"))
    receipt = ctx.commit(finished)
    assert watching.receipts == [receipt]
    ctx.commit(finished)
    assert len(watching.receipts) == 1


class Fickle:
    """Asks for something else each time."""

    def __init__(self, effects: int = 1) -> None:
        self.effects = effects
        self.asked = 0

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Any:
        self.asked += 1
        units = request.droppable[: 2 + (self.asked if self.effects == 1 else 0)]
        text = ""
        for number in range(self.effects):
            messages = tuple(message for unit in units for message in unit.messages)
            text = yield Summarize(never, messages, None, max_tokens=20 + number)
        return Plan.replace(units, text, reason="folded")


@pytest.mark.parametrize("strategy", [Fickle(), Fickle(2)], ids=["fickle", "two effects"])
def test_a_ticket_answers_what_it_was_made_for(strategy: Fickle) -> None:
    """A strategy that asks for another summary, or a second one, is not given the wrong text."""
    ctx = conversation(strategy)
    finished = prepared(ctx).run(ScriptedSummarizer("as agreed"))
    receipt = ctx.commit(finished)
    assert receipt.actions == ()
    assert "asks for another summary than the ticket's" in receipt.rejected[0].reason


class Declines:
    """Asks for a summary and then makes nothing of it."""

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Any:
        yield Summarize(never, request.droppable[0].messages, None, max_tokens=20)


def test_a_strategy_may_decline() -> None:
    """Nothing changes, and the receipt says so."""
    ctx = conversation(Declines())
    receipt = ctx.commit(prepared(ctx).run(ScriptedSummarizer("as agreed")))
    assert receipt.actions == ()
    assert [(rejection.law, rejection.reason) for rejection in receipt.rejected] == [
        ("", "the strategy makes nothing of the summary")
    ]
    assert not ctx.to_dict()["failures"]


def test_chunks_are_cut_when_a_ticket_is_made() -> None:
    """So that whoever runs it needs no counter; what cannot be cut makes no ticket."""
    ctx = conversation(SummarizeHistory(never, max_summary_tokens=10, max_source_tokens=40))
    summarizer = ScriptedSummarizer("one", "two", "three", "four", "five")
    finished = prepared(ctx).run(summarizer)
    assert len(summarizer.calls) > 2
    assert summarizer.calls[1][1] == "one"
    assert ctx.commit(finished).actions
    ctx = conversation(SummarizeHistory(never, max_summary_tokens=3, max_source_tokens=6))
    assert ctx.prepare() is None


def test_a_commit_is_no_prune() -> None:
    """It may leave the window over the target, and a prune by hand goes on from there."""
    ctx = conversation(Pair(), turns=16)
    receipt = ctx.commit(prepared(ctx).run(ScriptedSummarizer("as agreed")))
    assert receipt.after_tokens > receipt.target_tokens
    assert ctx.prune_history().actions


def test_a_counter_whose_sums_are_no_truth() -> None:
    """After a commit the window costs what the counter says of the whole; so does the receipt."""
    counter = OddCounter("merging")
    ctx = conversation(SummarizeHistory(never), counter=counter, turns=9)
    receipt = ctx.commit(prepared(ctx).run(ScriptedSummarizer("as agreed")))
    assert receipt.after_tokens == ctx.total_tokens == counter.count_request(ctx.messages())


class Pair:
    """Folds the first two longer units."""

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Any:
        units = [unit for unit in request.droppable if not unit.written and unit.tokens > 8][:2]
        if len(units) < 2:
            return None
        messages = tuple(message for unit in units for message in unit.messages)
        text = yield Summarize(never, messages, None, max_tokens=20)
        return Plan.replace(units, text, reason="a pair")


@pytest.mark.parametrize(("words", "applied"), [(14, True), (15, False)])
def test_a_commit_never_makes_the_window_cost_more(words: int, applied: bool) -> None:
    """By the true cost, not the sum: with one message fewer this counter says one token more."""
    counter = OddCounter("merging")
    ctx = ContextManager(budget=Budget(200, low=0.5), counter=counter, strategies=[Pair()])
    for _ in range(15):
        ctx.add_message("user", "a b c d e f")
    ctx.messages()
    for _ in range(9):
        ctx.add_message("user", "a b c d e f")
    # As a cut finds it that asks for the cost of the whole request.
    ctx._keeper.conversation.request_gap = -len(ctx)
    before, state = ctx.total_tokens, ctx.to_dict()
    assert before == counter.count_request([message.to_dict() for message in ctx])
    receipt = ctx.commit(prepared(ctx).run(ScriptedSummarizer("a " * words)))
    assert bool(receipt.actions) == applied
    if applied:
        assert receipt.before_tokens == before > receipt.after_tokens == ctx.total_tokens
    else:
        assert receipt.rejected[0].law == "L7"
        assert {**ctx.to_dict(), "prepared": ""} == state


def test_newer_messages_are_not_mistaken_for_earlier_summaries() -> None:
    """Ids that a draft gave may be the log's by now, with a ticket as in a prune."""

    def tell(ctx: ContextManager) -> None:
        ctx.add_message("user", "my account number is 4711 please")
        ctx.add_message("assistant", "noted, 4711 it is")
        for _ in range(3):
            ctx.add_message("user", "go on")

    ctx = conversation(Folding(), SummarizeHistory(never))
    finished = prepared(ctx).run(ScriptedSummarizer("as agreed"))
    assert any(unit.written for unit in finished._basis.snapshot.units)
    tell(ctx)
    assert ctx.commit(finished).actions
    assert "4711 please" in str(ctx.messages())

    def late(*_: Any) -> str:
        if len(inside.conversation_history) < 18:
            tell(inside)
        return "as agreed"

    inside = conversation(Folding(), SummarizeHistory(late))
    receipt = inside.prune_history()
    assert [action.strategy for action in receipt.actions][-1] == "summarize-history"
    assert "4711 please" in str(inside.messages())


class FoldingAgain(Folding):
    """Folds two more."""

    name = "testing-folding-again"


def test_what_several_plans_wrote_is_known_by_its_new_names() -> None:
    """Each plan is told of all that was written before it."""
    ctx = conversation(Folding(), FoldingAgain(), SummarizeHistory(never), turns=12, max_tokens=260)
    finished = prepared(ctx).run(ScriptedSummarizer("all of it"))
    assert len([unit for unit in finished._basis.snapshot.units if unit.written]) > 2
    for number in range(3):
        talk(ctx, 20 + number)
    assert ctx.commit(finished).actions
    (summary,) = (message for message in ctx if message.sources)
    assert summary.content == "all of it"
    assert "question 22" in str(ctx.messages())


def test_a_receipt_of_nothing_says_so() -> None:
    """As counted, also where sums are wrong: a second prune, a dry run, a refused ticket."""
    ctx = conversation(SummarizeHistory(lambda *_: "a b c"), counter=OddCounter("merging"))
    finished = prepared(ctx).run(ScriptedSummarizer("as agreed"))
    assert ctx.prune_history().actions
    for receipt in (ctx.prune_history(), ctx.plan(), ctx.commit(finished)):
        assert receipt.actions == ()
        assert receipt.before_tokens == receipt.after_tokens == ctx.total_tokens


def test_a_plan_that_counts_on_another_falls_with_it() -> None:
    """Where the first plan is no longer lawful, what it would have written cannot be folded."""
    ctx = conversation(Folding(), SummarizeHistory(never))
    finished = prepared(ctx).run(ScriptedSummarizer("as agreed"))
    ctx.pin(1)
    state = ctx.to_dict()
    receipt = ctx.commit(finished)
    assert (receipt.actions, receipt.rejected[0].law) == ((), "L3")
    assert ctx.to_dict() == state


def test_a_ticket_of_another_conversation_with_the_same_tail() -> None:
    """Its previous summary would overwrite ours."""

    def of(name: str) -> ContextManager:
        ctx = conversation(
            SummarizeHistory(lambda *_: f"customer {name}", keep_last_turns=0),
            turns=0,
            max_tokens=150,
        )
        for number in range(12):
            ctx.add_message(
                "user", f"I am {name} and this is thing {number} that I want to tell you"
            )
        ctx.add_message("user", "and now?")
        for number in range(4):
            ctx.add_message("assistant", f"press {number} to go on with the menu now")
        ctx.prune_history()
        for number in range(8):
            ctx.add_message("assistant", f"choose {number} out of these many things here please do")
        return ctx

    alice, robert = of("Alice"), of("Robert")
    assert len([message for message in alice if message.sources]) == 1
    assert [m.to_dict() for m in alice if not m.sources] == [
        m.to_dict() for m in robert if not m.sources
    ]
    assert "no longer what it was made from" in stale(
        robert.commit(prepared(alice).run(ScriptedSummarizer("Alice")))
    )


@pytest.mark.parametrize("percent", [60, 97, 103, 120, 180])
def test_what_is_learnt_of_the_bill_does_not_age_a_ticket(percent: int) -> None:
    """The strategy is asked again with the old figures; what it wrote is priced by the new ones."""
    ctx = conversation(SummarizeHistory(never))
    ticket = prepared(ctx)
    ctx._keeper.conversation.sent_tokens = ctx.total_tokens  # as if the window had been sent
    ctx.observe({"prompt_tokens": ctx.total_tokens * percent // 100})
    assert ctx.commit(
        ticket.run(ScriptedSummarizer("as agreed by all of us for now and for ever"))
    ).actions
    costs = ctx._keeper.conversation.costs
    each = [costs.scaled(costs.message(message)) for message in ctx]
    assert ctx.total_tokens == costs.base_tokens() + sum(each)


def test_what_is_spared_by_now_is_spared() -> None:
    """A plugin registered after the ticket was made has its say."""
    ctx = conversation()
    finished = prepared(ctx).run(ScriptedSummarizer("as agreed"))
    ctx.register(KeepPinned(where=lambda message: "question 1" in str(message.content)))
    receipt = ctx.commit(finished)
    assert (receipt.actions, receipt.rejected[0].law) == ((), "L3")


def test_a_ticket_holds_no_live_state() -> None:
    """Not even where nobody should look."""
    ctx = conversation(Shouts(), SummarizeHistory(never))
    basis = prepared(ctx)._basis
    log = ctx.conversation_history
    for message in [*basis.messages, *(m for unit in basis.snapshot.units for m in unit.messages)]:
        message._wire["content"] = "evil"
    for accepted in basis.accepted:
        for step in accepted.plan.steps:
            step.message._wire["content"] = "evil"  # type: ignore[union-attr]
    assert ctx.conversation_history == log


def test_a_summariser_cannot_spoil_a_ticket() -> None:
    """It is shown copies, each time that the ticket is run."""

    def spoil(messages: Any, *_: Any) -> str:
        for message in messages:
            message._wire["content"] = "evil"
        return "as agreed"

    ctx = conversation()
    ticket = prepared(ctx)
    ticket.run(spoil)
    summarizer = ScriptedSummarizer("as agreed")
    finished = ticket.run(summarizer)
    assert "evil" not in str([message.content for message in summarizer.calls[0][0]])
    assert ctx.commit(finished).actions


def test_an_overlong_summary_of_a_chunk_is_found_when_it_is_committed() -> None:
    """Whoever runs a ticket has no counter; so all its texts are looked at then."""
    ctx = conversation(SummarizeHistory(never, max_summary_tokens=10, max_source_tokens=40))
    finished = prepared(ctx).run(ScriptedSummarizer("word " * 50, "short"))
    receipt = ctx.commit(finished)
    assert "50 tokens long, 10 were asked for" in receipt.rejected[0].reason
    assert receipt.actions == ()


class Unchunked(Pair):
    """Asks for what cannot be told in chunks, before another strategy asks."""

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Any:
        yield Summarize(
            never, request.droppable[0].messages, None, max_tokens=3, max_source_tokens=5
        )


class Evil(Message):
    """Raises when it is copied."""

    def clone(self) -> Message:
        raise ZeroDivisionError


class Forging(Pair):
    """Asks for a summary of a message that it has made."""

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Any:
        yield Summarize(never, (Evil(1, {"role": "user", "content": "x"}),), None, max_tokens=3)


class EvilLater(Pair):
    """Asks for the summary of a message that cannot be read, the second time."""

    asked = 0

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Any:
        self.asked += 1
        message = request.droppable[0].messages[0]
        yield Summarize(
            never,
            (message if self.asked == 1 else Unreadable(1, message.to_dict()),),
            None,
            max_tokens=3,
        )


class Unreadable(Message):
    """Raises when it is read."""

    def to_dict(self) -> dict[str, Any]:
        raise ZeroDivisionError


def test_a_message_that_cannot_be_read_changes_nothing() -> None:
    """Whatever a strategy asks for when it is asked again."""
    ctx = conversation(EvilLater())
    receipt = ctx.commit(prepared(ctx).run(ScriptedSummarizer("told")))
    assert "ZeroDivisionError" in receipt.rejected[0].reason
    assert receipt.actions == ()


@pytest.mark.parametrize("first", [Unchunked(), Forging()], ids=["no chunks", "forged"])
def test_the_next_strategy_is_prepared(first: object) -> None:
    """Where the first one's source cannot be copied or cut, as in a prune."""
    ticket = prepared(conversation(first, SummarizeHistory(never)))
    assert ticket.strategy == "summarize-history"


class Failing(WordCounter):
    """Fails when it is told to."""

    fails = False

    def count_text(self, text: str) -> int:
        if self.fails:
            raise OSError("the vocabulary is away")
        return super().count_text(text)


def test_a_counter_that_fails_changes_nothing() -> None:
    """A commit that cannot be checked raises before anything has changed."""
    counter = Failing()
    ctx = conversation(counter=counter)
    finished = prepared(ctx).run(lambda *_: " ")
    ctx.add_message("user", "what cannot be counted")
    counter.fails = True
    with pytest.raises(CounterError):
        ctx.commit(finished)
    counter.fails = False
    assert ctx.to_dict()["failures"] == {}


def test_the_log_may_change_while_the_strategy_is_asked_again() -> None:
    """The ticket is looked at twice: before the strategy is asked, and before anything changes."""

    class Interrupts(SummarizeHistory):
        times = 0

        @hookimpl
        def ctxwin_prune(self, request: PruneRequest) -> Any:
            self.times += 1
            if self.times == 2:
                thread = Thread(target=ctx.rewind, args=(16,))
                thread.start()
                thread.join()
            return super().ctxwin_prune(request)

    from threading import Thread

    ctx = conversation(Interrupts(never))
    assert "no longer extends" in stale(
        ctx.commit(prepared(ctx).run(ScriptedSummarizer("as agreed")))
    )


def test_the_error_of_a_summariser_is_kept_word_for_word() -> None:
    """In the ticket and in the receipt."""

    def refuse(*_: Any) -> str:
        raise SummarizerError("I would rather not")

    ctx = conversation()
    finished = prepared(ctx).run(refuse)
    assert finished.error == "I would rather not"
    assert "I would rather not" in ctx.commit(finished).rejected[0].reason
