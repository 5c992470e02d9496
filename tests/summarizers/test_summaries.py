"""
Summaries lose nothing, whatever fails: any call, cancellation at any await, any interleaving.

A run is described by a `Model`: a summariser, sync or async, that answers, but fails in a given way
at a given call.
"""

import asyncio
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ctxwin import Budget, BudgetError, ContextManager, Message, SummarizerError
from ctxwin.counting import TokenCounter
from ctxwin.testing import ScriptedSummarizer, WordCounter
from ctxwin.testing.judge.windows import marked_faults
from ctxwin.testing.strategies import counters, histories
from ctxwin.values.wire import Wire
from ctxwin_plugins.summarize_history import SummarizeHistory

# Calls of a model in one prune. Each fails in each way, so more calls take long and show no more.
MOST_CALLS = 5


def _raise(error: BaseException) -> Callable[[int], str]:
    def fail(_: int) -> str:
        raise error

    return fail


WAYS: dict[str, Callable[[int], Any]] = {
    "raises": _raise(ConnectionError("the model is away")),
    "times out": _raise(TimeoutError()),
    "is cancelled": _raise(asyncio.CancelledError()),
    "refuses": _raise(SummarizerError("I would rather not")),
    "answers empty": lambda _: "",
    "answers blank": lambda _: " \n\t",
    "answers too long": lambda most: "word " * (most + 1),
    "answers longer than its source": lambda _: "word " * 5000,
    "answers no text": lambda _: None,
}


class Model:
    """Answers, except at one call, where it fails in a given way."""

    def __init__(self, fails_at: int | None = None, way: str = "raises", *, steps: int = 1) -> None:
        self.fails_at = fails_at
        self.way = WAYS[way]
        self.steps = steps
        self.calls = 0

    def sync(self, messages: Sequence[Message], previous: str | None, max_tokens: int) -> Any:
        self.calls += 1
        return self.way(max_tokens) if self.calls - 1 == self.fails_at else "s"

    async def awaited(
        self, messages: Sequence[Message], previous: str | None, max_tokens: int
    ) -> Any:
        for _ in range(self.steps):
            await asyncio.sleep(0)
        return self.sync(messages, previous, max_tokens)


class Scene:
    """Makes equal conversations over their budget, and one of them that never summarises."""

    def __init__(self, history: Sequence[Wire], counter: TokenCounter, share: int) -> None:
        self.history = history
        self.counter = counter
        costs = [counter.count_message(wire) for wire in history]
        self.budget = Budget(
            max(1, counter.count_request(()) + sum(costs) * share // 100), low=0.6, soft=0.5
        )

    def conversation(self, summarizer: Any = None) -> ContextManager:
        strategy = SummarizeHistory(
            summarizer, keep_last_turns=1, max_summary_tokens=6, max_source_tokens=40
        )
        chain: list[object] = ["drop-oldest"] if summarizer is None else [strategy]
        ctx = ContextManager(budget=self.budget, counter=self.counter, strategies=chain)
        ctx.extend(self.history)
        return ctx

    def window_without(self) -> list[Wire] | None:
        return window_of(self.conversation())


def window_of(ctx: ContextManager) -> list[Wire] | None:
    try:
        return ctx.messages()
    except BudgetError:
        return None


async def awindow_of(ctx: ContextManager) -> list[Wire] | None:
    try:
        return await ctx.amessages()
    except BudgetError:
        return None


def logged(ctx: ContextManager) -> list[Wire]:
    return [message.to_dict() for message in ctx.conversation_history]


def is_valid(
    ctx: ContextManager,
    window: Sequence[Wire],
    budget: Budget,
    counter: TokenCounter,
    pinned: Iterable[int] = (),
) -> bool:
    """Return whether an independent judge finds nothing; `pinned` are ids."""
    marked = [(wire, bool(message.sources)) for message, wire in zip(ctx, window, strict=True)]
    kept = frozenset(
        place for place, message in enumerate(ctx.conversation_history) if message.id in pinned
    )
    return not marked_faults(logged(ctx), marked, budget, counter, pinned=kept)


scenes = st.builds(
    Scene, histories(min_size=6, max_size=12), counters(odd=False), st.integers(30, 90)
)
# Each example tries some fifty failures.
fewer = settings(max_examples=max(10, settings().max_examples // 4))


@given(scenes)
@fewer
def test_every_failure_of_every_call_in_the_foreground(scene: Scene) -> None:
    """Sync and async: the log is as before, and the window is the one without summaries."""
    model = Model()
    window_of(scene.conversation(model.sync))
    assume(1 <= model.calls <= MOST_CALLS)
    expected = scene.window_without()
    with asyncio.Runner() as loop:
        for fails_at, way in product(range(model.calls), WAYS):
            ctx = scene.conversation(Model(fails_at, way).sync)
            assert window_of(ctx) == expected, (fails_at, way)
            assert logged(ctx) == list(scene.history)
            other = scene.conversation(Model(fails_at, way).awaited)
            assert loop.run(awindow_of(other)) == expected, (fails_at, way)
            assert other.to_dict() == ctx.to_dict()
            if expected is not None:
                assert is_valid(ctx, expected, scene.budget, scene.counter)
                assert ctx.last_receipt is not None
                assert ctx.last_receipt.rejected[0].law == "L8"


@given(scenes)
@fewer
def test_every_failure_of_every_call_in_the_background(scene: Scene) -> None:
    """A ticket that failed changes nothing but the count of failures."""
    model = Model()
    ctx = scene.conversation(model.sync)
    ticket = ctx.prepare()
    assume(ticket is not None)
    assert ticket is not None
    ticket.run(model.sync)
    assume(model.calls <= MOST_CALLS)
    before = ctx.to_dict() | {"failures": {}}
    with asyncio.Runner() as loop:
        for fails_at, way in product(range(model.calls), WAYS):
            if way.startswith("answers") and "long" in way and fails_at < model.calls - 1:
                continue  # a ticket cannot tell whether a chunk before the last is too long
            finished = ticket.run(Model(fails_at, way).sync)
            assert loop.run(ticket.arun(Model(fails_at, way).awaited)) == finished
            ctx._keeper.conversation.failures = {}
            receipt = ctx.commit(finished)
            assert not [action for action in receipt.actions if action.kind != "leave-out"], (
                fails_at,
                way,
            )
            assert receipt.rejected[-1].law == "L8"
            assert ctx.to_dict() | {"failures": {}} == before
    window = window_of(ctx)
    if window is not None:
        assert is_valid(ctx, window, scene.budget, scene.counter)


@given(scenes, st.integers(1, 3))
@fewer
def test_cancelled_at_every_await(scene: Scene, steps: int) -> None:
    """The state is exactly as before, and the window can still be made without the model."""

    async def cancelled(ctx: ContextManager, call: Callable[[], Any], after: int) -> bool:
        """Cancel a call after some steps of the loop; return whether that came before its end."""
        state = ctx.to_dict()
        task = asyncio.ensure_future(call())
        for _ in range(after):
            await asyncio.sleep(0)
        if task.done():
            return False
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ctx.to_dict() == state
        return True

    after = 1
    while True:
        ctx = scene.conversation(Model(steps=steps).awaited)
        ticket = ctx.prepare()
        assume(ticket is not None)
        assert ticket is not None
        assume(len(ticket._chunks) <= MOST_CALLS)
        run = partial(ticket.arun, Model(steps=steps).awaited)
        runs = asyncio.run(cancelled(ctx, run, after))
        asked = asyncio.run(cancelled(ctx, ctx.aprune_history, after)) if _fits(scene) else False
        if not runs and not asked:
            break
        window = window_of(ctx)  # the summariser is async, so that no model is asked here
        if window is not None:
            assert is_valid(ctx, window, scene.budget, scene.counter)
        assert logged(ctx) == list(scene.history)
        after += 1


def _fits(scene: Scene) -> bool:
    return scene.window_without() is not None


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_an_interrupt_passes(error: BaseException) -> None:
    """It passes through all layers, and nothing has changed."""

    def summarizer(*_: Any) -> str:
        raise error

    scene = Scene([{"role": "user", "content": "some words " * 6}] * 8, WordCounter(), 50)
    ctx = scene.conversation(summarizer)
    state = ctx.to_dict()
    with pytest.raises(type(error)):
        ctx.messages()
    assert ctx.to_dict() == state
    ticket = ctx.prepare()
    assert ticket is not None
    with pytest.raises(type(error)):
        ticket.run(summarizer)


@given(scenes, st.integers(1, 12), st.booleans())
def test_summaries_are_bounded_and_shrink(scene: Scene, bound: int, ahead: bool) -> None:
    """Whatever the model says, a summary keeps its bound and costs less than what it replaces."""
    summarizer = ScriptedSummarizer("w " * bound)
    strategy = SummarizeHistory(summarizer, keep_last_turns=0, max_summary_tokens=8)
    ctx = ContextManager(budget=scene.budget, counter=scene.counter, strategies=[strategy])
    for wire in scene.history:
        ctx.append(wire)
        ticket = ctx.prepare() if ahead else None
        before = {message.id: message for message in ctx}
        if ticket is not None:
            ctx.commit(ticket.run(summarizer))
        elif window_of(ctx) is None:
            continue
        for summary in (message for message in ctx if message.sources and message.id not in before):
            assert scene.counter.count_text(str(summary.content)) <= 8
            replaced = [
                old
                for old in before.values()
                if set(summary.sources) >= set(old.sources or (old.id,))
            ]
            cost = scene.counter.count_message
            assert cost(summary.to_dict()) < sum(cost(old.to_dict()) for old in replaced)


# Interleavings: writers, pruners and summarisers on one conversation.

WRITERS, MESSAGES = 3, 8


class Stage:
    """One conversation, and what must hold for it whoever acts on it."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.budget = Budget(
            self.random.choice([60, 90, 140]), low=self.random.choice([0.4, 0.7, 1.0]), soft=0.5
        )
        self.counter = WordCounter()
        strategy = SummarizeHistory(keep_last_turns=1, max_summary_tokens=20)
        self.ctx = ContextManager(budget=self.budget, counter=self.counter, strategies=[strategy])
        self.newest = ""
        self.outcomes: Counter[str] = Counter()
        self.pinned: set[int] = set()

    def append(self, writer: int, number: int) -> None:
        message = self.ctx.add_message(
            "user", f"writer {writer} says {number} and a few words more"
        )
        if self.random.random() < 0.1:
            self.ctx.pin(message)
            self.pinned.add(message.id)

    def window(self) -> None:
        try:
            self.ctx.prune_history()
            window = self.ctx.messages()
        except BudgetError:
            self.outcomes["BudgetError"] += 1
            return
        assert self.counter.count_request(window) <= self.budget.max_tokens

    def commit(self, ticket: Any) -> None:
        """Commit a finished ticket, and check what the receipt says of it."""
        receipt = self.ctx.commit(ticket)
        covered = {message.id for message in ticket.messages}
        applied = [action for action in receipt.actions if action.kind == "replace"]
        self.outcomes["applied" if applied else "stale"] += 1
        if applied:
            assert covered <= set(applied[0].message_ids)
            assert receipt.after_tokens < receipt.before_tokens
        else:
            assert receipt.actions == ()

    def check(self) -> None:
        """Check that the log is complete, in each writer's order, and that the window is valid."""
        texts = [str(message.content) for message in self.ctx.conversation_history]
        for writer in range(WRITERS):
            own = [text for text in texts if text.startswith(f"writer {writer} ")]
            assert own == [
                f"writer {writer} says {number} and a few words more" for number in range(MESSAGES)
            ]
        shown = {message.id for message in self.ctx}
        assert self.pinned <= shown
        window = window_of(self.ctx)
        if window is not None:
            assert is_valid(self.ctx, window, self.budget, self.counter, self.pinned)
        restored = ContextManager.from_dict(
            self.ctx.to_dict(), budget=self.budget, counter=self.counter
        )
        assert window_of(restored) == window


INTERLEAVINGS = int(os.environ.get("CTXWIN_INTERLEAVINGS", "150"))


def test_interleavings_of_tasks() -> None:
    """In many runs any task's step may follow any other's; a stale ticket is never applied."""
    total: Counter[str] = Counter()
    for seed in range(INTERLEAVINGS):
        stage = Stage(seed)
        asyncio.run(_tasks(stage))
        stage.check()
        total += stage.outcomes
    assert total["applied"] > INTERLEAVINGS // 4
    assert total["stale"] > INTERLEAVINGS // 4


async def _tasks(stage: Stage) -> None:
    async def pause() -> None:
        for _ in range(stage.random.randrange(4)):
            await asyncio.sleep(0)

    async def write(writer: int) -> None:
        for number in range(MESSAGES):
            stage.append(writer, number)
            await pause()

    async def prune() -> None:
        for _ in range(3):
            await pause()
            stage.window()

    async def model(messages: Sequence[Message], previous: str | None, max_tokens: int) -> str:
        await pause()
        return f"summary of {len(messages)}"

    async def summarise() -> None:
        for _ in range(4):
            await pause()
            ticket = stage.ctx.prepare()
            if ticket is None:
                continue
            stage.newest = ticket.key
            finished = await ticket.arun(model)
            superseded = stage.newest != ticket.key
            gone = {message.id for message in ticket.messages} - {
                message.id for message in stage.ctx
            }
            before = stage.outcomes["applied"]
            stage.commit(finished)
            assert not (superseded or gone) or stage.outcomes["applied"] == before

    tasks = [write(0), write(1), write(2), prune(), summarise(), summarise()]
    stage.random.shuffle(tasks)
    await asyncio.gather(*tasks)


@contextmanager
def _switching_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def test_interleavings_of_threads() -> None:
    """
    As many again, with threads that switch as often as Python lets them.

    How many tickets survive the writers is up to the scheduler; what they wrote is folded when all
    is quiet.
    """
    total: Counter[str] = Counter()
    with _switching_often():
        for seed in range(INTERLEAVINGS):
            stage = Stage(seed)
            errors: list[BaseException] = []
            threads = [
                threading.Thread(target=_guarded, args=(act, stage, errors)) for act in _ACTS
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
                assert not thread.is_alive(), "a deadlock"
            assert not errors, errors
            stage.check()
            stage.outcomes.clear()
            _writing(WRITERS)(stage)
            _summarising(stage)
            stage.check()
            total += stage.outcomes
    assert total["applied"] > INTERLEAVINGS // 4


def _guarded(act: Callable[[Stage], None], stage: Stage, errors: list[BaseException]) -> None:
    try:
        act(stage)
    except BaseException as error:
        errors.append(error)


def _writing(writer: int) -> Callable[[Stage], None]:
    def write(stage: Stage) -> None:
        for number in range(MESSAGES):
            stage.append(writer, number)

    return write


def _pruning(stage: Stage) -> None:
    for _ in range(3):
        stage.window()


def _summarising(stage: Stage) -> None:
    for _ in range(12):
        ticket = stage.ctx.prepare()
        if ticket is not None:
            stage.commit(ticket.run(_yielding))


def _yielding(messages: Sequence[Message], previous: str | None, max_tokens: int) -> str:
    time.sleep(0)  # another thread's turn
    return f"summary of {len(messages)}"


_ACTS = [*map(_writing, range(WRITERS)), _pruning, _summarising]


def test_the_request_path_never_waits_for_a_model() -> None:
    """A task asks a slow model, driven by `should_prepare`; `amessages()` returns in one step."""

    async def slow(messages: Sequence[Message], previous: str | None, max_tokens: int) -> str:
        asked.append(len(messages))
        for _ in range(20):
            await asyncio.sleep(0)
        return f"{len(messages)} messages as agreed"

    async def summarise(ctx: ContextManager) -> None:
        ticket = ctx.prepare()
        if ticket is not None:
            applied.append(bool(ctx.commit(await ticket.arun(slow)).actions))

    async def talk(ctx: ContextManager) -> None:
        task: asyncio.Task[None] | None = None
        for turn in range(400):
            ctx.add_message("user", f"question {turn} about the parcel")
            call = ctx.amessages()
            with pytest.raises(StopIteration):  # it ends without having waited once
                call.send(None)
            ctx.add_message("assistant", f"answer {turn} about the parcel")
            if ctx.should_prepare and (task is None or task.done()):
                task = asyncio.ensure_future(summarise(ctx))
            for _ in range(5):
                await asyncio.sleep(0)

    asked: list[int] = []
    applied: list[bool] = []
    budget = Budget(600, low=0.5, soft=0.7)
    ctx = ContextManager(budget=budget, counter=WordCounter(), strategies=[SummarizeHistory()])
    asyncio.run(talk(ctx))
    assert len(asked) == len(applied) > 3
    assert all(applied)
    assert "as agreed" in str(ctx.messages()[0])
