"""Windows of other models, independent forks, and moving for good."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from around import Observes, chat, logged, reply
from ctxwin import Budget, BudgetError, ContextManager, Plan, PruneRequest, hookimpl
from ctxwin.calls import forks
from ctxwin.sessions import MemoryStore, Sessions, open_store
from ctxwin.testing import WordCounter
from ctxwin.testing.strategies import histories
from ctxwin_plugins.summarize_history import SummarizeHistory

SMALL = Budget(60)


class Counts(WordCounter):
    """Remembers what it was asked to count."""

    def __init__(self, name: str = "counts") -> None:
        super().__init__()
        self.name = name
        self.asked: list[str] = []

    def count_message(self, message: Any) -> int:
        self.asked.append(json.dumps(message))
        return super().count_message(message)


def long_chat(*plugins: object, turns: int = 20, tokens: int = 10_000, **options: Any) -> Any:
    ctx = chat(*plugins, tokens=tokens, **options)
    for number in range(turns):
        ctx.add_message("assistant", f"answer {number} w w w")
        ctx.add_message("user", f"question {number} w w w")
    return ctx


def test_a_request_to_another_budget_leaves_the_window_as_it_is() -> None:
    """It is fitted by a fork, which only grows between its own cuts."""
    ctx = long_chat()
    before = ctx.messages()
    first = ctx.request(budget=SMALL)
    assert first.tokens <= SMALL.max_tokens
    assert len(first.messages) < len(before)
    assert ctx.messages() == before
    ctx.add_message("assistant", "a")
    ctx.add_message("user", "q")
    second = ctx.request(budget=SMALL)
    assert second.messages[: len(first.messages)] == first.messages
    assert len(second.messages) == len(first.messages) + 2


def test_a_request_to_another_model_is_counted_by_its_counter() -> None:
    """The conversation's own counter beats only its own model."""
    ctx = long_chat()
    assert ctx.request(model="gpt-4o").counter == "o200k_base"
    assert ctx.request(model="m").counter == "words"
    assert ctx.request().counter == "words"


@pytest.mark.parametrize("same", [True, False])
def test_no_message_is_counted_twice_by_one_counter(
    same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the conversation's, its forks', or both at once; whoever asks first."""
    main, other = Counts("main"), Counts("other")
    monkeypatch.setattr("ctxwin.counting.costs.counter_for", lambda _: main if same else other)
    ctx = long_chat(counter=main)
    for turn in range(10):
        ctx.request(model="n" if turn % 2 else None)
        ctx.request(model="n", budget=Budget(9_000))
        ctx.request(budget=Budget(9_000))
        ctx.add_message("assistant", f"late answer {turn}")
        ctx.request(model=None if turn % 2 else "n")
        ctx.add_message("user", f"late question {turn}")
    ctx.messages()
    for counter in (main, other):
        assert len(counter.asked) == len(set(counter.asked))
    assert len(main.asked) == len(ctx)
    assert bool(other.asked) is not same


def test_counts_made_early_are_shared_too() -> None:
    """Large texts are counted in a thread for async callers."""
    import asyncio

    counter = Counts()
    ctx = chat(counter=counter, tokens=100_000)
    ctx.request(budget=Budget(90_000))
    ctx.add_message("user", "w " * 60_000)

    async def main() -> None:
        await ctx.amessages()
        await ctx.arequest(budget=Budget(90_000))

    asyncio.run(main())
    assert len(counter.asked) == len(set(counter.asked)) == 3


def test_forks_follow_what_happens_to_the_conversation() -> None:
    """Appends, pins, rewinds, tools, forgetting; not its cuts and what bills taught it."""
    ctx = long_chat()
    pinned = next(one for one in ctx if one.content == "question 3 w w w")
    ctx.request(budget=SMALL)
    ctx.pin(pinned)
    ctx.tools = [{"type": "function", "function": {"name": "f"}}]
    last = ctx.add_message("assistant", "taken back")
    ctx.rewind(last)
    ctx.add_message("assistant", "said instead")
    ctx.prune_history()
    ctx.observe({"prompt_tokens": 400})
    ctx.forget()
    request = ctx.request(budget=SMALL)
    texts = [wire["content"] for wire in request.messages]
    assert "question 3 w w w" in texts
    assert "said instead" in texts
    assert "taken back" not in texts
    assert request.tools == tuple(ctx.tools)


def test_a_fork_that_cannot_follow_is_made_anew() -> None:
    """It has no such message: the conversation's own strategies wrote it."""
    ctx = long_chat(SummarizeHistory(lambda *_: "told", keep_last_turns=1), tokens=200)
    ctx.request(budget=SMALL)
    ctx.prune_history()
    (summary,) = (one for one in ctx if one.sources)
    ctx.pin(summary)
    assert not ctx._forks._kept
    request = ctx.request(budget=SMALL)
    assert summary.to_dict() in request.messages


def test_a_fork_writes_summaries_of_its_own() -> None:
    """Their ids are never among the log's, so the conversation may go on giving those."""
    written = []

    def summarize(messages: Any, previous: str | None, max_tokens: int) -> str:
        written.append(len(messages))
        return f"{len(messages)} told"

    def make() -> Any:
        return SummarizeHistory(summarize, keep_last_turns=1)

    ctx = long_chat(make(), tokens=300, turns=5)
    for number in range(30):
        small = ctx.request(budget=SMALL)
        assert small.tokens <= SMALL.max_tokens
        assert [one.id for one in ctx.conversation_history] == sorted(
            {one.id for one in ctx.conversation_history}
        )
        ctx.add_message("assistant", f"more {number} w w w")
        ctx.add_message("user", f"again {number} w w w")
        ctx.messages()
    assert any("told" in str(wire["content"]) for wire in small.messages)
    assert len(written) > 4


def test_at_most_four_forks_are_kept() -> None:
    """The one that was asked for least lately goes."""
    ctx = long_chat()
    for tokens in (60, 61, 62, 63, 60, 64):
        ctx.request(budget=Budget(tokens))
    kept = ctx._forks._kept
    assert [budget.window for _, budget in kept] == [62, 63, 60, 64]
    assert len(kept) == forks.MOST


def test_a_registered_strategy_is_asked_for_forks_too() -> None:
    """Though nothing else has changed since their last prune."""

    class DropAll:
        @hookimpl
        def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
            return Plan.drop(request.droppable) if request.droppable else None

    ctx = long_chat()
    first = ctx.request(budget=SMALL)
    ctx.register(DropAll())
    ctx.add_message("user", "w " * 30)
    assert len(ctx.request(budget=SMALL).messages) < len(first.messages)


def test_receipts_of_forks_are_shown_to_observers_only() -> None:
    """`last_receipt` is of the conversation's own window."""
    seen = []

    class Watches:
        @hookimpl
        def ctxwin_pruned(self, receipt: Any) -> None:
            seen.append(receipt)

    ctx = long_chat(Watches())
    ctx.request(budget=SMALL)
    assert len(seen) == 1
    assert ctx.last_receipt is None


def test_a_fork_is_independent() -> None:
    """Same log, window, tools, chain and tags; neither sees the other's changes."""
    observer = Observes()
    tools = [{"type": "function", "function": {"name": "f"}}]
    ctx = long_chat(observer, tools=tools, tags={"user": "ann"})
    ctx.pin(3)
    before = ctx.messages()
    fork = ctx.fork(budget=SMALL)
    assert (fork.tags, fork.tools, fork.model) == (ctx.tags, ctx.tools, "m")
    assert fork.conversation_history == ctx.conversation_history
    assert str(fork).endswith("observes -> drop-oldest>")
    assert len(fork.messages()) < len(before)
    fork.add_message("user", "only here")
    ctx.add_message("assistant", "only there")
    assert ctx.messages()[:-1] == before
    assert fork.messages()[-1]["content"] == "only here"
    assert ctx.fork(model="gpt-4o").request().counter == "o200k_base"
    assert ctx.fork(counter="gpt-4o", model="n").model == "n"
    assert ctx.fork(counter=len).request().counter == ""


def test_a_fork_of_a_session_is_a_plain_manager_with_the_whole_log() -> None:
    """Also with what memory had released."""
    sessions = Sessions(MemoryStore())
    with sessions.open("s", 60, counter=WordCounter(), strategies=["drop-oldest"]) as ctx:
        for number in range(20):
            ctx.add_message("user", f"q {number} w w")
            ctx.messages()
        fork = ctx.fork()
        assert type(fork) is ContextManager
        assert [one.content for one in fork.conversation_history] == [
            one.content for one in ctx.conversation_history
        ]
        assert fork.messages() == ctx.messages()
        fork.refit(budget=Budget(1000))
        assert len(fork) == 20


def test_refit_moves_the_conversation_for_good() -> None:
    """To a smaller budget, and back: all of it returns."""
    ctx = long_chat(tokens=300)
    ctx.refit(budget=SMALL)
    assert ctx.max_tokens == 60
    assert len(ctx.messages()) < 20
    ctx.observe({"prompt_tokens": 80})
    ctx.refit(budget=Budget(10_000), model="gpt-4o")
    assert ctx.model == "gpt-4o"
    assert ctx.request().counter == "o200k_base"
    assert ctx.messages() == [one.to_dict() for one in ctx.conversation_history]
    fresh = ContextManager(10_000, model="gpt-4o")
    fresh.extend(ctx.conversation_history)
    assert ctx.total_tokens == fresh.total_tokens


def test_refit_counts_again_only_under_another_name() -> None:
    """Of one counter each message is counted once."""
    counter = Counts()
    ctx = long_chat(counter=counter, tokens=300)
    ctx.messages()
    counted = len(counter.asked)
    ctx.refit(budget=SMALL)
    ctx.messages()
    ctx.refit(counter=counter, budget=Budget(10_000))
    ctx.messages()
    assert len(counter.asked) == counted
    other = Counts("other")
    ctx.refit(counter=other)
    ctx.messages()
    assert len(other.asked) == len(set(other.asked)) == len(ctx)


def test_a_refit_that_cannot_hold_what_must_be_kept_changes_nothing() -> None:
    """Nor one whose counter fails."""

    class Fails(WordCounter):
        name = "fails"

        def count_message(self, message: Any) -> int:
            raise OSError("away")

    ctx = long_chat(tokens=100)
    ctx.messages()
    before = (ctx.to_dict(), ctx.model, ctx.max_tokens)
    with pytest.raises(BudgetError):
        ctx.refit(budget=Budget(3), model="gpt-4o")
    with pytest.raises(Exception, match="cannot be counted"):
        ctx.refit(counter=Fails())
    assert (ctx.to_dict(), ctx.model, ctx.max_tokens) == before


def test_refit_lets_forks_go() -> None:
    """They follow a window that is no more."""
    ctx = long_chat()
    ctx.request(budget=SMALL)
    ctx.refit(budget=Budget(500))
    assert not ctx._forks._kept
    request = ctx.request(budget=SMALL)
    ctx.observe(reply(), request)


def test_refit_keeps_pins_and_open_exchanges() -> None:
    """And what `forget` released stays away."""
    ctx = long_chat(tokens=100)
    ctx.pin(3)
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ctx.append({"role": "assistant", "content": None, "tool_calls": [call]})
    ctx.messages()
    released = ctx.forget()
    ctx.refit(budget=Budget(10_000))
    texts = [wire["content"] for wire in ctx.messages()]
    assert "answer 0 w w w" in texts
    assert texts[-1] is None
    assert not {one.content for one in released} & set(texts)
    ctx.append({"role": "tool", "tool_call_id": "c", "content": "42"})
    assert ctx.messages()[-1]["content"] == "42"


def test_refit_undoes_edits_and_summaries() -> None:
    """The window is derived anew from the log."""

    class Shortens:
        @hookimpl
        def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
            tools = [one for one in request.editable if one.role == "tool" and one.content != "w"]
            return Plan.edit(tools[-1], "w") if tools else None

    ctx = chat(Shortens(), SummarizeHistory(lambda *_: "told", keep_last_turns=1), tokens=60)
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    for number in range(6):
        ctx.append({"role": "assistant", "content": None, "tool_calls": [call]})
        ctx.append({"role": "tool", "tool_call_id": "c", "content": "w " * 20})
        ctx.add_message("user", f"q {number} w w w")
        ctx.messages()
    ctx.append({"role": "assistant", "content": None, "tool_calls": [call]})
    ctx.append({"role": "tool", "tool_call_id": "c", "content": "v " * 30})
    ctx.messages()
    shown = [one.content for one in ctx]
    assert "w" in shown
    assert "told" in shown
    ctx.refit(budget=Budget(10_000))
    assert ctx.messages() == [one.to_dict() for one in ctx.conversation_history]


LONG = int(os.environ.get("CTXWIN_REFITS", "0"))  # 2000 take half a minute


@settings(max_examples=LONG or settings().max_examples)
@given(histories(max_size=25), st.integers(20, 200), st.integers(20, 200), st.booleans())
def test_refit_gives_what_the_log_alone_would(
    history: Any, budget: int, other: int, forked: bool
) -> None:
    """Under the new options, however the window had been cut before."""
    options: Any = {"counter": WordCounter(), "strategies": ["clear-tool-results"]}
    ctx = ContextManager(budget, **options)
    for number, wire in enumerate(history):
        ctx.append(wire)
        if number % 3 == 0:
            _window(ctx)
    fresh = ContextManager(other, **options)
    fresh.extend(ctx.conversation_history)
    try:
        expected = fresh.messages()
    except BudgetError:
        with pytest.raises(BudgetError):
            ctx.refit(budget=Budget(other))
        return
    if forked:
        before = _window(ctx)
        ctx.fork(budget=Budget(other)).messages()
        assert _window(ctx) == before
    ctx.refit(budget=Budget(other))
    assert ctx.messages() == expected
    assert ctx.total_tokens == fresh.total_tokens


def _window(ctx: ContextManager) -> Any:
    try:
        return ctx.messages()
    except BudgetError:
        return None


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_workers_see_the_same_window_after_a_refit(kind: str, tmp_path: Path) -> None:
    """It is one stored change; options stay the opener's."""
    if kind == "sqlite":
        pytest.importorskip("sqlalchemy")
    sessions = open_store("memory://" if kind == "memory" else f"sqlite:///{tmp_path}/chats.db")
    options: Any = {"counter": WordCounter(), "strategies": ["drop-oldest"]}
    with sessions.open("s", 60, **options) as one, sessions.open("s", 10_000, **options) as two:
        for number in range(30):
            one.add_message("user", f"q {number} w w w")
            one.messages()
        two.refresh()
        assert two.messages() == one.messages()
        one.refit(budget=Budget(200))
        two.refresh()
        assert len(two) == 30
        assert two.max_tokens == 10_000
        one.messages()
        two.refresh()
        assert one.messages() == two.messages()
        assert len(one) < 30
        two.add_message("user", "more")
        one.refresh()
        assert one.messages() == two.messages()
    with sessions.open("s", 200, **options) as three:
        assert three.messages() == one.messages()
    sessions.close()


def test_a_refit_that_others_were_quicker_than_is_worked_out_again() -> None:
    """On the log as it is then."""
    sessions = Sessions(MemoryStore())
    options: Any = {"counter": WordCounter(), "strategies": ["drop-oldest"]}
    with sessions.open("s", 60, **options) as one, sessions.open("s", 60, **options) as two:
        one.extend({"role": "user", "content": f"q {number} w w w"} for number in range(20))
        one.messages()
        two.add_message("user", "quicker")
        one.refit(budget=Budget(1000))
        assert one.messages()[-1]["content"] == "quicker"
        assert len(one) == 21


def test_observing_a_routed_request_after_its_fork_went_teaches_nothing(caplog: Any) -> None:
    """And is told all the same."""
    observer = Observes()
    ctx = long_chat(observer)
    request = ctx.request(budget=SMALL)
    ctx.refit()
    with logged(caplog):
        ctx.observe(reply(usage=None), request)
    assert observer.last.estimated
