"""Chunks of a source, and what is thrown and sent into a flow."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ctxwin import ContextManager, Message, Plan, PruneRequest, Summarize, SummarizerError, hookimpl
from ctxwin.counting import TokenCounter
from ctxwin.laws.graphemes import is_boundary
from ctxwin.pruning.chunks import chunks_of
from ctxwin.testing import ScriptedSummarizer, WordCounter
from ctxwin.testing.strategies import counters, histories
from ctxwin.values.message import hash_of
from ctxwin.values.wire import Wire


def effect_of(
    wires: Sequence[Wire], limit: int | None, *, previous: str | None = None, most: int = 5
) -> Summarize:
    messages = tuple(Message(number, wire) for number, wire in enumerate(wires, 1))
    return Summarize(
        ScriptedSummarizer(), messages, previous, max_tokens=most, max_source_tokens=limit
    )


@given(histories(min_size=1), counters(), st.integers(6, 200), st.none() | st.just("as agreed"))
def test_chunks_hold_everything_within_the_limit(
    wires: list[Wire], counter: TokenCounter, limit: int, previous: str | None
) -> None:
    """All is there, in order; a chunk and the summary before it cost no more than the limit."""
    assume(wires)
    effect = effect_of(wires, limit, previous=previous)
    costs = {message.id: counter.count_message(message.to_dict()) for message in effect.messages}
    try:
        chunks = chunks_of(effect, costs, counter.count_text)
    except SummarizerError as error:
        assert re.search("cannot be cut|would be more than", str(error))
        return
    pieces = [piece for chunk in chunks for piece in chunk]
    assert [n for n, _ in _groups(pieces)] == [message.id for message in effect.messages]
    before = counter.count_text(previous or "")
    for number, chunk in enumerate(chunks):
        source = sum(
            costs[m.id] if m in effect.messages else counter.count_message(m.to_dict())
            for m in chunk
        )
        assert source + (max(before, 5) if number else before) <= limit
    for message, (_, parts) in zip(effect.messages, _groups(pieces), strict=True):
        if (
            parts != [message]
            and isinstance(message.content, str)
            and not message.tool_calls
            and not message.extra
        ):
            _check_cut(message.content, [str(part.content) for part in parts])


def _groups(pieces: Sequence[Message]) -> list[tuple[int, list[Message]]]:
    groups: list[tuple[int, list[Message]]] = []
    for piece in pieces:
        if not groups or groups[-1][0] != piece.id:
            groups.append((piece.id, []))
        groups[-1][1].append(piece)
    return groups


def _check_cut(text: str, parts: list[str]) -> None:
    assert "".join(parts) == text
    place = 0
    for part in parts:
        assert is_boundary(text, place)
        place += len(part)


def test_chunks_of_a_small_source_are_one() -> None:
    """Without a limit, or where everything fits, the summariser is asked once."""
    wires: list[Wire] = [{"role": "user", "content": "one two"}] * 3
    count = WordCounter().count_text
    assert len(chunks_of(effect_of(wires, None), {}, count)) == 1
    assert len(chunks_of(effect_of(wires, 6), {}, count)) == 1
    assert len(chunks_of(effect_of(wires, 7, previous="x y", most=2), {}, count)) == 2


def test_a_giant_call_is_told_as_json() -> None:
    """What is no plain text is cut as the JSON that is sent."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "w " * 40}}
    effect = effect_of([{"role": "assistant", "content": None, "tool_calls": [call]}], 30)
    pieces = [
        piece for chunk in chunks_of(effect, {1: 50}, WordCounter().count_text) for piece in chunk
    ]
    assert len(pieces) > 2
    assert "".join(str(piece.content) for piece in pieces).startswith('{"role": "assistant"')


def test_what_is_told_of_a_message_costs_at_least_its_texts() -> None:
    """A call beside hidden thoughts: its texts are counted, and a null has none."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "w " * 9}}
    hidden = {"role": "assistant", "content": None, "reasoning_content": "h", "tool_calls": [call]}
    effect = effect_of([hidden, {"role": "user", "content": "w"}], 30)
    chunks = chunks_of(effect, {1: 1, 2: 1}, WordCounter().count_text)
    assert len(chunks) > 1


def test_what_cannot_be_cut_is_an_error() -> None:
    """One cluster that is larger than the room."""
    with pytest.raises(SummarizerError, match="message 1 cannot be cut into parts of 1 tokens"):
        chunks_of(effect_of([{"role": "user", "content": "👨‍👩‍👧"}], 6), {1: 20}, len)


def test_a_source_of_too_many_chunks_is_an_error() -> None:
    """Each of them would be a model's call."""
    with pytest.raises(SummarizerError, match="3004 tokens in chunks of 2 would be more than 1000"):
        chunks_of(
            effect_of([{"role": "user", "content": "w " * 3000}], 7),
            {1: 3004},
            WordCounter().count_text,
        )


def test_a_source_must_have_room_for_the_summary_before_it() -> None:
    """Or the second chunk would have none."""
    with pytest.raises(ValueError, match="max_source_tokens"):
        effect_of([{"role": "user", "content": "x"}], 5)


class Chunked:
    """Folds what may go, in chunks."""

    def __init__(self, summarizer: Any) -> None:
        self.summarizer = summarizer

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Any:
        messages = tuple(message for unit in request.droppable for message in unit.messages)
        text = yield Summarize(self.summarizer, messages, None, max_tokens=9, max_source_tokens=40)
        return Plan.replace(request.droppable, text, reason="folded")


def chunked_manager(summarizer: Any) -> ContextManager:
    ctx = ContextManager(60, counter=WordCounter(), strategies=[Chunked(summarizer)])
    ctx.extend(
        {"role": "user", "content": f"question {number} " + "word " * 8} for number in range(9)
    )
    return ctx


def test_a_manager_folds_chunk_by_chunk() -> None:
    """Each chunk comes with the summary of those before it; the last summary stands."""
    summarizer = ScriptedSummarizer("first", "second", "third", "fourth")
    window = chunked_manager(summarizer).messages()
    assert window[0]["content"] == "fourth"
    assert [previous for _, previous, _ in summarizer.calls] == [None, "first", "second", "third"]
    assert [message.id for messages, _, _ in summarizer.calls for message in messages] == list(
        range(1, 9)
    )


def test_one_bad_chunk_changes_nothing() -> None:
    """A blank summary of any chunk is a failure of the whole."""
    ctx = chunked_manager(ScriptedSummarizer("first", " "))
    ctx.messages()
    assert not any(message.sources for message in ctx)
    assert ctx.last_receipt is not None
    assert (
        ctx.last_receipt.rejected[0].reason
        == "SummarizerError: the summariser returned a blank text"
    )


class Panic(BaseException):
    """As a Rust extension raises."""


@pytest.mark.parametrize("error", [asyncio.CancelledError(), Panic("panicked"), GeneratorExit()])
def test_whatever_a_sync_summariser_raises_is_its_own(error: BaseException) -> None:
    """So is the cancellation of what it waited for: the caller's own task is not cancelled."""

    def summarizer(*_: Any) -> str:
        raise error

    for window in (
        chunked_manager(summarizer).messages(),
        asyncio.run(chunked_manager(summarizer).amessages()),
    ):
        assert window


def test_a_cancellation_from_inside_is_a_failure() -> None:
    """What an async summariser awaits may be cancelled by others: the next strategy is asked."""

    async def summarizer(*_: Any) -> str:
        inner = asyncio.ensure_future(asyncio.sleep(9))
        asyncio.get_running_loop().call_soon(inner.cancel)
        await inner
        return "never"

    ctx = chunked_manager(summarizer)
    assert asyncio.run(ctx.amessages())
    assert ctx.last_receipt is not None
    assert "CancelledError" in ctx.last_receipt.rejected[0].reason


def test_a_panic_in_an_awaitable_passes() -> None:
    """What is neither an error nor a cancellation is not ours to judge; nothing has changed."""

    async def summarizer(*_: Any) -> str:
        raise Panic("panicked")

    ctx = chunked_manager(summarizer)
    state = ctx.to_dict()
    with pytest.raises(Panic):
        asyncio.run(ctx.amessages())
    assert ctx.to_dict() == state


def test_a_summary_can_be_traced() -> None:
    """Its hash is that of the messages which it names, over summaries of summaries too."""
    ctx = chunked_manager(ScriptedSummarizer("told"))
    ctx.messages()
    for _ in range(9):
        ctx.add_message("user", "and another question " + "word " * 8)
    ctx.messages()
    summary = next(message for message in ctx if message.sources)
    assert len(summary.sources) > 9
    sources = [message for message in ctx.conversation_history if message.id in summary.sources]
    assert summary.source_hash == hash_of(sources) != hash_of(sources[1:])
    restored = ContextManager.from_dict(ctx.to_dict(), 60, counter=WordCounter())
    assert next(message for message in restored if message.sources) == summary
