"""Strategies that await a model: both colours, failure, cancellation, concurrency."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ctxwin import (
    Budget,
    BudgetError,
    ContextManager,
    Message,
    Plan,
    PruneRequest,
    StrategyError,
    Summarize,
    SummarizerError,
    Unit,
    hookimpl,
)
from ctxwin.pruning.driving import MAX_EFFECTS
from ctxwin.testing import WordCounter

Answer = Callable[[Sequence[Message], str | None, int], str | Awaitable[str]]


class Fold:
    """Replaces what may be dropped by a summary; falls back to dropping where it may."""

    def __init__(self, summarizer: Answer, *, fallback: bool = False) -> None:
        self.summarizer = summarizer
        self.fallback = fallback
        self.seen: list[str | None] = []

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Generator[Summarize, str, Plan | None]:
        self.seen.append(request.previous_summary)
        messages = tuple(message for unit in request.droppable for message in unit.messages)
        try:
            text = yield Summarize(
                self.summarizer, messages, request.previous_summary, max_tokens=20
            )
        except SummarizerError:
            if not self.fallback:
                raise
            return Plan.drop(request.droppable, "the model is away")
        return Plan.replace(request.droppable, text, reason="folded")


def manager_with(strategy: object, budget: int = 60) -> ContextManager:
    manager = ContextManager(budget, counter=len, strategies=[strategy])
    manager.add_message("system", "be kind")
    manager.extend({"role": "user", "content": f"question {number}"} for number in range(6))
    return manager


def sync_answer(messages: Sequence[Message], previous: str | None, max_tokens: int) -> str:
    return f"{len(messages)} so far"


async def async_answer(messages: Sequence[Message], previous: str | None, max_tokens: int) -> str:
    await asyncio.sleep(0)
    return f"{len(messages)} so far"


def test_summary_stands_in_for_what_it_covers() -> None:
    """Both colours lead to the same window; the mark is on the message, not on the wire."""
    one, two = manager_with(Fold(sync_answer)), manager_with(Fold(async_answer))
    window = one.messages()
    assert asyncio.run(two.amessages()) == window
    assert window[1] == {"role": "user", "content": "5 so far"}
    summary = list(one)[1]
    assert summary.sources == (2, 3, 4, 5, 6)
    assert summary.id > 7
    assert one.last_receipt is not None
    assert [action.kind for action in one.last_receipt.actions] == ["replace"]
    assert one.conversation_history[1].content == "question 0"
    assert asyncio.run(one.aprune_history()).actions == ()
    assert asyncio.run(manager_with(Fold(sync_answer)).amessages()) == window


def test_summary_of_a_summary_names_all_sources() -> None:
    """The previous summary is offered, and its sources are handed on."""
    fold = Fold(sync_answer)
    manager = manager_with(fold)
    manager.messages()
    manager.extend({"role": "user", "content": f"more {number}"} for number in range(6))
    assert [message.role for message in manager][:2] == ["system", "user"]
    manager.messages()
    assert fold.seen == [None, "5 so far"]
    assert [message.sources for message in manager if message.sources] == [
        (2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13)
    ]


def test_summary_is_dropped_last() -> None:
    """`drop-oldest` takes what a strategy wrote after everything else."""
    manager = manager_with(Fold(sync_answer), budget=60)
    manager.messages()
    manager._chain = ContextManager(1)._chain
    manager.extend({"role": "user", "content": f"more {number}"} for number in range(4))
    manager.messages()
    assert [message.content for message in manager][1] == "5 so far"


def _failing(error: BaseException) -> Answer:
    def answer(messages: Sequence[Message], previous: str | None, max_tokens: int) -> str:
        raise error

    return answer


def _failing_async(error: BaseException) -> Answer:
    async def answer(messages: Sequence[Message], previous: str | None, max_tokens: int) -> str:
        await asyncio.sleep(0)
        raise error

    return answer


@pytest.mark.parametrize(
    ("answer", "law"),
    [
        (_failing(TimeoutError("late")), "L8"),
        (lambda *_: None, "L8"),
        (lambda *_: "", "L8"),
        (lambda *_: " \n", "L8"),
        (lambda *_: "long " * 100, "L8"),
        (async_answer, "L8"),
    ],
    ids=["raises", "none", "empty", "blank", "long", "async"],
)
def test_failed_summary_changes_nothing(answer: Any, law: str) -> None:
    """The next strategy is asked, and the receipt says what went wrong."""
    manager = manager_with(Fold(answer))
    window = manager.messages()
    assert len(window) < 7
    assert manager.last_receipt is not None
    first = manager.last_receipt.rejected[0]
    assert (first.strategy, first.law) == ("fold", law)
    assert len(manager.conversation_history) == 7


def test_async_summariser_under_a_sync_call_says_what_to_do() -> None:
    """The coroutine is closed, and the receipt names `amessages`."""
    manager = manager_with(Fold(async_answer))
    manager.messages()
    assert manager.last_receipt is not None
    assert "amessages()" in manager.last_receipt.rejected[0].reason

    loop = asyncio.new_event_loop()
    future = loop.create_future()
    loop.close()
    manager = manager_with(Fold(lambda *_: future))
    manager.messages()
    assert manager.last_receipt is not None
    assert "amessages()" in manager.last_receipt.rejected[0].reason


@pytest.mark.parametrize(
    "answer", [_failing(TimeoutError()), _failing_async(TimeoutError())], ids=["sync", "async"]
)
def test_strategy_may_catch_and_fall_back(answer: Answer) -> None:
    """The error is thrown into the strategy's generator, under both drivers."""
    manager = manager_with(Fold(answer, fallback=True))
    asyncio.run(manager.amessages())
    assert manager.last_receipt is not None
    assert manager.last_receipt.rejected == ()
    assert {action.reason for action in manager.last_receipt.actions} == {"the model is away"}


def test_cancelling_changes_nothing() -> None:
    """A cancelled `amessages()` leaves the conversation as it was."""

    async def forever(messages: Sequence[Message], previous: str | None, max_tokens: int) -> str:
        await asyncio.sleep(60)
        return "never"

    async def run() -> None:
        manager = manager_with(Fold(forever))
        before = manager.to_dict()
        task = asyncio.create_task(manager.amessages())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert manager.to_dict() == before

    asyncio.run(run())


def test_interrupted_summariser_changes_nothing() -> None:
    """Ctrl-C in the caller's own callable comes out as it is."""
    manager = manager_with(Fold(_failing(KeyboardInterrupt())))
    before = manager.to_dict()
    with pytest.raises(KeyboardInterrupt):
        manager.messages()
    assert manager.to_dict() == before


def test_appends_during_a_summary_are_kept() -> None:
    """While a model writes, the conversation goes on; the plan is replayed on its new state."""
    started, release = threading.Event(), threading.Event()

    def slow(messages: Sequence[Message], previous: str | None, max_tokens: int) -> str:
        started.set()
        assert release.wait(10)
        return "so far"

    manager = manager_with(Fold(slow))
    windows: list[Any] = []
    thread = threading.Thread(target=lambda: windows.append(manager.messages()))
    thread.start()
    assert started.wait(10)
    manager.add_message("user", "meanwhile")
    assert manager.total_tokens > 60
    release.set()
    thread.join()
    assert windows[0][-1] == {"role": "user", "content": "meanwhile"}
    assert windows[0][1]["content"] == "so far"
    assert len(manager.conversation_history) == 8


def test_plan_that_no_longer_holds_is_rejected() -> None:
    """A pin set while the model wrote beats the plan, and the window still fits."""
    pinned: list[Message] = []

    def slow(messages: Sequence[Message], previous: str | None, max_tokens: int) -> str:
        manager.pin(messages[0])
        pinned.append(messages[0])
        return "so far"

    manager = manager_with(Fold(slow))
    window = manager.messages()
    assert {"role": "user", "content": "question 0"} in window
    assert manager.last_receipt is not None
    assert [(rejected.law, rejected.strategy) for rejected in manager.last_receipt.rejected] == [
        ("L3", "fold")
    ]


def test_a_prune_that_lost_its_plan_is_not_the_last_word() -> None:
    """What it would have freed is still there to be freed, so the next prune asks again."""
    asked: list[int] = []

    def slow(messages: Sequence[Message], previous: str | None, max_tokens: int) -> str:
        asked.append(messages[0].id)
        if len(asked) == 1:
            manager.pin(messages[0])
        return "so far"

    manager = manager_with(Fold(slow), budget=105)  # it fits, and is above the low mark
    assert manager.prune_history().actions == ()
    assert [action.kind for action in manager.prune_history().actions] == ["replace"]
    assert len(asked) == 2


class Rewrites:
    """Folds the oldest units, and then names what it wrote in a plan that breaks a law."""

    def __init__(self, name: str) -> None:
        self.name = name

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
        written = [unit for unit in request.units if unit.written]
        if written:
            return Plan.edit(written[0].messages[0], "y", "no")
        return Plan.replace(request.droppable[:3], "w w w", "user", "fold")


def test_no_receipt_names_an_id_that_is_only_the_drafts() -> None:
    """What a plan wrote has no id of the log until the cut; people are told which one it was."""
    manager = ContextManager(
        budget=Budget(60, low=0.1), counter=len, strategies=[Rewrites("one"), Rewrites("two")]
    )
    manager.extend({"role": "user", "content": f"message {number}"} for number in range(9))
    receipt = manager.plan()
    assert [rejected.reason for rejected in receipt.rejected] == [
        "message (written 1) was written by a strategy: replace it, do not edit it"
    ]
    assert "2814749767106" not in str(receipt)


def test_failing_strategy_rests() -> None:
    """After three failures in a row it rests until the log grows by a fifth; success resets it."""
    calls: list[int] = []

    def answer(messages: Sequence[Message], previous: str | None, max_tokens: int) -> str:
        calls.append(len(messages))
        raise TimeoutError

    manager = manager_with(Fold(answer))
    rested = []
    for number in range(30):
        manager.add_message("user", f"more {number}")
        manager.prune_history()
        assert manager.last_receipt is not None
        rested.append(any("rests" in rejected.reason for rejected in manager.last_receipt.rejected))
    assert len(calls) < 15
    first = rested.index(True)
    assert len(calls) > 3
    assert rested[first : first + 2] == [True, True]
    restored = ContextManager.from_dict(
        manager.to_dict(), 60, counter=len, strategies=[Fold(answer)]
    )
    assert restored._keeper.conversation.failures == manager._keeper.conversation.failures
    fold = Fold(sync_answer)
    restored = ContextManager.from_dict(manager.to_dict(), 60, counter=len, strategies=[fold])
    for number in range(12):
        restored.add_message("user", f"again {number}")
        restored.messages()
    assert fold.seen
    assert restored.to_dict()["failures"] == {}


def test_plan_of_a_dry_run_counts_no_failures() -> None:
    """Planning three times sends nobody to rest."""
    manager = manager_with(Fold(_failing(TimeoutError())))
    before = manager.to_dict()
    receipts = [manager.plan() for _ in range(4)]
    assert receipts[0] == receipts[3]
    assert manager.to_dict() == before


def test_runaway_generator_is_stopped() -> None:
    """Effects are bounded in number."""
    manager = manager_with(Fold(sync_answer))

    class Endless:
        @hookimpl
        def ctxwin_prune(self, request: PruneRequest) -> Generator[Summarize, str, Plan]:
            while True:
                yield Summarize(sync_answer, request.units[0].messages, max_tokens=9)

    manager.register(Endless(), before="fold")
    manager.messages()
    assert manager.last_receipt is not None
    assert str(MAX_EFFECTS) in manager.last_receipt.rejected[0].reason


def test_changing_the_manager_from_a_hook_is_refused() -> None:
    """Every method that changes something raises `StrategyError` inside a hook; reading is fine."""
    errors: list[str] = []
    ticket = manager_with(Fold(sync_answer)).prepare()
    assert ticket is not None
    finished = ticket.run(sync_answer)

    class Meddler:
        @hookimpl
        def ctxwin_prune(self, request: PruneRequest) -> None:
            assert manager.total_tokens == request.used_tokens
            assert len(manager.conversation_history) == 7
            loop = asyncio.new_event_loop()
            calls: list[Callable[[], object]] = [
                lambda: manager.add_message("user", "x"),
                lambda: manager.extend([]),
                lambda: manager.pin(1),
                lambda: manager.unpin(1),
                lambda: manager.rewind(1),
                manager.forget,
                manager.messages,
                lambda: loop.run_until_complete(manager.amessages()),
                manager.prune_history,
                lambda: loop.run_until_complete(manager.aprune_history()),
                manager.plan,
                manager.prepare,
                lambda: manager.commit(finished),
                lambda: manager.register(Meddler()),
                lambda: manager.observe({"prompt_tokens": 1}),
                lambda: setattr(manager, "tools", []),
            ]
            for call in calls:
                try:
                    call()
                except StrategyError as error:
                    errors.append(str(error))
            loop.close()
            assert len(errors) == len(calls)

    manager = manager_with(Meddler())
    manager.messages()
    assert len(errors) == 16
    assert manager.last_receipt is not None
    assert manager.last_receipt.rejected == ()


@pytest.mark.parametrize(
    "bad",
    [
        {
            "summarizer": "no",
            "messages": (Message(1, {"role": "user", "content": "x"}),),
            "max_tokens": 5,
        },
        {"summarizer": sync_answer, "messages": ("x",), "max_tokens": 5},
        {"summarizer": sync_answer, "messages": (), "max_tokens": 5},
        {
            "summarizer": sync_answer,
            "messages": (Message(1, {"role": "user", "content": "x"}),),
            "max_tokens": 0,
        },
    ],
)
def test_bad_effects_are_refused_where_they_are_made(bad: dict[str, Any]) -> None:
    """A summary of nothing, or by nobody, is refused."""
    with pytest.raises((TypeError, ValueError)):
        Summarize(**bad)


def test_a_task_started_by_an_observer_may_change_the_manager() -> None:
    """The mark of a running hook is not inherited by what goes on after it."""
    tasks: list[asyncio.Task[None]] = []

    class Observer:
        @hookimpl
        def ctxwin_pruned(self, receipt: object) -> None:
            tasks.append(asyncio.get_running_loop().create_task(later()))

    async def later() -> None:
        await asyncio.sleep(0.001)
        manager.add_message("user", "later")

    async def run() -> None:
        await manager.amessages()
        await tasks[0]

    manager = manager_with(Observer())
    asyncio.run(run())
    assert manager.conversation_history[-1].content == "later"


def test_a_plugin_that_spares_what_is_not_there_is_named() -> None:
    """A unit of another conversation; the rest of what it asks for counts."""

    class Elsewhere:
        @hookimpl
        def ctxwin_protect(self, request: PruneRequest) -> list[Unit]:
            message = Message(10**6, {"role": "user", "content": "elsewhere"})
            return [Unit((message,), 5, (5,), "user"), request.units[0]]

    manager = ContextManager(30, counter=len, strategies=[Elsewhere()])
    manager.extend({"role": "user", "content": text} for text in ("one", "two", "three", "four"))
    assert [wire["content"] for wire in manager.messages()] == ["one", "four"]
    assert manager.last_receipt is not None
    assert [(rejection.strategy, rejection.law) for rejection in manager.last_receipt.rejected] == [
        ("elsewhere", "L5")
    ]


class Abridge:
    """Tells a long unit in one word."""

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
        long = [unit for unit in request.droppable if unit.tokens > 30 and not unit.written]
        return Plan.replace(long[:1], "short", "assistant", "abridged") if long else None


def test_what_came_back_can_be_summarised_again() -> None:
    """Two summaries of one message stand at its place, the older first; a state keeps that."""
    options: dict[str, Any] = {
        "budget": Budget(50, low=1.0),
        "counter": WordCounter(),
        "strategies": [Abridge()],
    }
    manager = ContextManager(**options)
    manager.extend({"role": "user", "content": text} for text in ("q", "w " * 35, "x y z"))
    manager.messages()
    manager.pin(2)
    manager.unpin(2)
    manager.add_message("user", "y")
    manager.messages()
    assert manager.last_receipt is not None
    assert not manager.last_receipt.rejected
    assert [(message.id, message.sources) for message in manager][1:3] == [(4, (2,)), (6, (2,))]
    state = manager.to_dict()
    assert ContextManager.from_dict(state, **options).to_dict() == state


def test_what_counts_for_a_strategy_is_not_live() -> None:
    """`request.count` leads to nothing that a strategy could change."""
    owners: list[object] = []

    class Looks:
        @hookimpl
        def ctxwin_prune(self, request: PruneRequest) -> None:
            owners.append(getattr(request.count, "__self__", None))

    manager = ContextManager(20, counter=WordCounter(), strategies=[Looks()])
    manager.extend({"role": "user", "content": "one two three"} for _ in range(4))
    manager.messages()
    assert owners == [None]


@given(
    texts=st.lists(st.tuples(st.sampled_from(["system", "assistant"]), st.integers(1, 40))),
    budget=st.integers(10, 80),
)
@example(texts=[("assistant", 40), ("assistant", 40), ("system", 40), ("system", 1)], budget=60)
def test_a_cut_leaves_something_to_send(texts: list[tuple[str, int]], budget: int) -> None:
    """Also without a question, where the newest unit is a call that was interrupted."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    manager = ContextManager(budget, counter=len)
    for role, length in texts:
        manager.unpin(manager.append({"role": role, "content": "x" * length}))
    manager.add_message("assistant", None, tool_calls=[call])
    manager.unpin(manager.add_message("system", "be kind"))
    copy = ContextManager.from_dict(manager.to_dict(), budget, counter=len)
    preview = copy.preview("more", "system")
    copy.add_message("system", "more")
    assert preview.fits == (sent_by(copy) is not None)
    assert sent_by(manager) != []
    assert len(manager) > 0


def sent_by(manager: ContextManager) -> list[Any] | None:
    """The window, None where it does not fit; whichever it is, the total said so."""
    try:
        return manager.messages()
    except BudgetError as error:
        assert error.required_tokens > manager.max_tokens
        return None
