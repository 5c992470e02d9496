"""Summaries made ahead: prepared, run anywhere, committed if the log still extends what they were made from."""

import asyncio
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from ctxwin import Budget, ContextManager, Plan, PruneRequest, Receipt, Summarize, SummarizerError, Ticket, hookimpl
from ctxwin.testing import OddCounter, ScriptedSummarizer, WordCounter
from ctxwin_plugins.summarize_history import SummarizeHistory


def never(*_: Any) -> str:
    raise AssertionError("a model was called on the request path")


async def slowly(*_: Any) -> str:
    await asyncio.sleep(0)
    return "as agreed"


def conversation(*strategies: object, turns: int = 8, max_tokens: int = 200, **options: Any) -> ContextManager:
    """Return a conversation above its soft mark: every message costs twelve tokens or so."""
    chain = list(strategies) or [SummarizeHistory(never)]
    budget = Budget(max_tokens, low=0.5, soft=0.8)
    ctx = ContextManager(budget=budget, **{"counter": WordCounter(), "strategies": chain, **options})
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
    """Prepared above the soft mark, run in another process for all we know, applied; the log keeps everything."""
    ctx = conversation(turns=7)
    assert ctx.should_prepare
    state = ctx.to_dict()
    ticket = prepared(ctx)
    assert ctx.to_dict() == state | {"prepared": ticket.key}
    assert repr(ticket) == "<Ticket summarize-history, 11 messages, open>"
    summarizer = ScriptedSummarizer("as agreed")
    finished = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(ticket)).run(summarizer)))  # noqa: S301
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
    """Below the target, without a strategy that asks for a summary, after a prune, in an empty conversation."""
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
    """Equal ids are not equal messages; nor is a summary applied by a chain that has no such strategy."""
    ctx = conversation()
    finished = prepared(ctx).run(ScriptedSummarizer("as agreed"))
    other = ContextManager(budget=Budget(200), counter=WordCounter(), strategies=[SummarizeHistory(never)])
    other.extend({"role": "user", "content": f"somebody else's question {number}"} for number in range(20))
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
    """It says so when it is committed; after three in a row the strategy rests until the log has grown."""
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
    """A strategy that asks for another summary, or for a second one, is not given the wrong text."""
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
    """Nothing changes, and nobody is blamed."""
    ctx = conversation(Declines())
    receipt = ctx.commit(prepared(ctx).run(ScriptedSummarizer("as agreed")))
    assert (receipt.actions, receipt.rejected) == ((), ())


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
    ctx = conversation(SummarizeHistory(never, max_summary_tokens=20, keep_tokens=100, keep_last_turns=9), turns=16)
    receipt = ctx.commit(prepared(ctx).run(ScriptedSummarizer("as agreed")))
    assert receipt.after_tokens > receipt.target_tokens
    assert ctx.prune_history().actions


def test_a_counter_whose_sums_are_no_truth() -> None:
    """After a commit the window costs its sum at most."""
    ctx = conversation(SummarizeHistory(never), counter=OddCounter("merging"), turns=9)
    ctx.commit(prepared(ctx).run(ScriptedSummarizer("as agreed")))
    assert ctx.total_tokens == sum(ctx._state.costs.message(message) for message in ctx) + ctx._state.costs.base_tokens
    assert ctx.messages()


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
    assert "no longer extends" in stale(ctx.commit(prepared(ctx).run(ScriptedSummarizer("as agreed"))))


def test_the_error_of_a_summariser_is_kept_word_for_word() -> None:
    """In the ticket and in the receipt."""

    def refuse(*_: Any) -> str:
        raise SummarizerError("I would rather not")

    ctx = conversation()
    finished = prepared(ctx).run(refuse)
    assert finished.error == "I would rather not"
    assert "I would rather not" in ctx.commit(finished).rejected[0].reason
