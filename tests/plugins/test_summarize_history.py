"""`summarize-history`: what leaves, what stays, which bounds; `test_contracts` proves its laws."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxwin import Budget, ContextManager, Message
from ctxwin.summarizers import Digest
from ctxwin.testing import ScriptedSummarizer, WordCounter
from ctxwin_plugins.summarize_history import SummarizeHistory


def full(messages: Sequence[Message], previous: str | None, max_tokens: int) -> str:
    """Write a summary that uses all the room there is."""
    return "fact " * max_tokens


def conversation(
    strategy: SummarizeHistory, max_tokens: int = 1000, **options: Any
) -> ContextManager:
    return ContextManager(
        budget=Budget(max_tokens, **options), counter=WordCounter(), strategies=[strategy]
    )


def talk(ctx: ContextManager, turns: int, words: int = 20) -> None:
    for _ in range(turns):
        ctx.add_message("user", "u " * words)
        ctx.add_message("assistant", "a " * words)
    ctx.add_message("user", "now?")


def kinds(ctx: ContextManager) -> list[tuple[str, str]]:
    assert ctx.last_receipt is not None
    return [(action.kind, action.strategy) for action in ctx.last_receipt.actions]


def test_one_summary_takes_the_place_of_the_oldest() -> None:
    """This alone reaches the target; the newest turns stay unchanged."""
    ctx = conversation(SummarizeHistory(full))
    talk(ctx, 21)
    window = ctx.messages()
    assert kinds(ctx) == [("replace", "summarize-history")]
    assert ctx.last_receipt is not None
    assert ctx.last_receipt.after_tokens <= ctx.last_receipt.target_tokens
    assert [message["content"] for message in window[-3:]] == ["u " * 20, "a " * 20, "now?"]
    assert sum(message["content"].startswith("fact") for message in window) == 1


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "keep_last_turns": st.integers(0, 40),
        "keep_tokens": st.integers(0, 2000),
        "keep_user_messages": st.booleans(),
        "max_summary_tokens": st.integers(1, 900),
        "max_source_tokens": st.integers(901, 5000),
        "role": st.sampled_from(["user", "assistant", "system", "developer"]),
    },
)


@given(
    OPTIONS,
    st.integers(150, 1500),
    st.sampled_from([0.4, 0.7, 0.9]),
    st.integers(1, 40),
    st.integers(0, 100),
)
def test_no_summary_is_written_in_vain(
    options: dict[str, Any], tokens: int, low: float, words: int, floor: int
) -> None:
    """Whatever is asked for, a prune drops neither its own summary nor anything beside it."""
    ctx = conversation(SummarizeHistory(full, **options), tokens, low=low)
    ctx.add_message("system", "s " * floor)
    written = 0
    for _ in range(3):
        talk(ctx, 40, words)
        receipt = ctx.last_receipt
        ctx.messages()
        if ctx.last_receipt is receipt:
            continue
        # What stood before the first user message behind a summary of another role goes, too.
        done = {action.kind for action in _actions(ctx) if action.strategy != "ctxwin"}
        assert done == {"replace"} or "replace" not in done
        written += "replace" in done
        for summary in (message for message in ctx if message.sources):
            assert len(str(summary.content).split()) <= options.get("max_summary_tokens", 4000)
            role = options.get("role", "user")
            assert summary.role in ((role, "user") if role == "assistant" else (role,))
    assert written or ctx.last_receipt is None or tokens < 4 * (floor + words)


def _actions(ctx: ContextManager) -> Any:
    assert ctx.last_receipt is not None
    return ctx.last_receipt.actions


def test_an_agent_run_of_one_turn_is_summarised_too() -> None:
    """The newest exchanges stay; older ones of the same turn do not."""
    ctx = conversation(SummarizeHistory(full))
    ctx.add_message("user", "find the bug")
    for number in range(60):
        call = {
            "id": f"c{number}",
            "type": "function",
            "function": {"name": "run", "arguments": "{}"},
        }
        ctx.append({"role": "assistant", "content": None, "tool_calls": [call]})
        ctx.append({"role": "tool", "tool_call_id": f"c{number}", "content": "output " * 20})
    window = ctx.messages()
    assert kinds(ctx) == [("replace", "summarize-history")]
    assert "find the bug" in [message["content"] for message in window]
    assert window[-1]["tool_call_id"] == "c59"


def test_the_users_own_words_stay() -> None:
    """The newest of them stay, up to half of the room."""
    ctx = conversation(SummarizeHistory(full, keep_user_messages=True))
    talk(ctx, 21, words=10)
    talk(ctx, 21, words=10)
    ctx.messages()
    left = [message for message in ctx if message.role == "user" and not message.sources]
    assert len(left) > 20
    assert kinds(ctx) == [("replace", "summarize-history")]


def test_newest_turns_stay() -> None:
    """As many as asked for, and no more tokens than allowed."""
    choices: list[tuple[dict[str, Any], int]] = [
        ({"keep_last_turns": 5, "max_summary_tokens": 20}, 9),
        ({"keep_last_turns": 5, "keep_tokens": 100}, 5),
        ({"keep_last_turns": 1, "keep_tokens": 100}, 1),
    ]
    for options, expected in choices:
        summarizer = ScriptedSummarizer("short")
        ctx = conversation(SummarizeHistory(summarizer, **options), 500, low=0.5)
        talk(ctx, 30)
        ctx.messages()
        told = {message.id for message in summarizer.calls[0][0]}
        assert min(message.id for message in ctx if not message.sources) == max(told) + 1
        assert len([message for message in ctx if not message.sources]) >= expected


def test_several_summaries_become_one() -> None:
    """Summaries of other strategies go into it too, oldest first, but not as messages."""
    from ctxwin.testing import Folding

    summarizer = ScriptedSummarizer("all")
    ctx = ContextManager(
        budget=Budget(300, low=0.5),
        counter=WordCounter(),
        strategies=[Folding(), SummarizeHistory(summarizer)],
    )
    talk(ctx, 12)
    ctx.messages()
    messages, previous, _ = summarizer.calls[0]
    assert previous == "as agreed\nas agreed"
    assert not any(message.sources for message in messages)


def test_a_summary_from_when_more_could_be_taken() -> None:
    """It is read in chunks like everything else."""
    ctx = conversation(SummarizeHistory(full, max_summary_tokens=500))
    talk(ctx, 21)
    ctx.messages()
    summarizer = ScriptedSummarizer("short")
    options: dict[str, Any] = {"budget": Budget(1000), "counter": WordCounter()}
    small = SummarizeHistory(summarizer, max_source_tokens=300)
    ctx = ContextManager.from_dict(ctx.to_dict(), strategies=[small], **options)
    talk(ctx, 21)
    ctx.messages()
    assert kinds(ctx) == [("replace", "summarize-history")]
    assert all(
        sum(len(str(m.content).split()) for m in messages) <= 300
        for messages, _, _ in summarizer.calls
    )
    assert len(summarizer.calls) > 2


def test_nothing_to_summarise() -> None:
    """With no droppable unit, only a summary, or no room, the next strategy is asked."""
    ctx = ContextManager(
        20, counter=WordCounter(), strategies=[SummarizeHistory(ScriptedSummarizer())]
    )
    ctx.add_message("user", "x " * 5)
    ctx.add_message("user", "y " * 9)
    assert len(ctx.messages()) == 1
    assert kinds(ctx) == [("drop", "drop-oldest")]
    ctx = ContextManager(
        60, counter=WordCounter(), strategies=[SummarizeHistory(ScriptedSummarizer("s " * 9))]
    )
    talk(ctx, 4, words=9)
    ctx.messages()
    ctx.add_message("user", "z " * 45)
    assert len(ctx.messages()) == 1
    assert not [action for action in _actions(ctx) if action.kind == "replace"]
    assert ctx.last_receipt is not None
    assert not ctx.last_receipt.rejected


def test_a_summary_alone_is_not_summarised_again() -> None:
    """Where nothing else may go it is dropped: no model is asked."""
    scripted = ScriptedSummarizer("fact " * 40)
    ctx = conversation(SummarizeHistory(scripted), 300, low=1)
    talk(ctx, 8)
    ctx.messages()
    for message in ctx:
        if not message.sources:
            ctx.pin(message.id)
    ctx.add_message("user", "p " * (300 - ctx.total_tokens), pinned=True)
    ctx.messages()
    assert len(scripted.calls) == 1
    assert kinds(ctx) == [("drop", "drop-oldest"), ("keep", "ctxwin")]  # of a pinned answer


def test_messages_of_parts_alone() -> None:
    """If no message shows what it costs beside its text, a usual figure is used."""
    ctx = ContextManager(
        300, counter=WordCounter(), strategies=[SummarizeHistory(ScriptedSummarizer("told"))]
    )
    for number in range(30):
        ctx.append(
            {"role": "user", "content": [{"type": "text", "text": f"part {number} " + "word " * 9}]}
        )
    assert ctx.messages()[0]["content"] == "told"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"summarizer": 5}, TypeError),
        ({"summarizer": Digest}, TypeError),
        ({"keep_last_turns": 1.5}, TypeError),
        ({"keep_tokens": "2"}, TypeError),
        ({"max_summary_tokens": 2.5}, TypeError),
        ({"max_source_tokens": 2.5}, TypeError),
        ({"keep_last_turns": -1}, ValueError),
        ({"keep_tokens": -1}, ValueError),
        ({"max_summary_tokens": 0}, ValueError),
        ({"max_summary_tokens": 50, "max_source_tokens": 50}, ValueError),
        ({"max_source_tokens": 1}, ValueError),
        ({"role": "tool"}, ValueError),
    ],
)
def test_bad_arguments(options: dict[str, Any], error: type[Exception]) -> None:
    """The constructor refuses them, and names them."""
    with pytest.raises(error) as caught:
        SummarizeHistory(**options)
    assert error is TypeError or next(reversed(options)) in str(caught.value)
