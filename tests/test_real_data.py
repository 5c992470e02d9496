"""Recorded conversations: every window at every budget, judged by the kit's independent judge."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from ctxwin import BudgetError, ContextManager
from ctxwin.counting import CallableCounter, counter_for
from ctxwin.testing.judge.grouping import kept_messages
from ctxwin.testing.judge.windows import marked_faults, window_faults
from openai_rules import refusals

FILES = [
    *("tau_bench", "agentdojo", "swe_agent", "crosswoz", "aider_chat"),
    *("kdconv", "taskmaster4"),
]
STEPS = 5
# Long corpora have a thousand windows alike: every conversation is judged, but behind the first few
# only at the least budget, at the full size, or at one between, in turn.
AT_ALL_BUDGETS = 10**9 if os.environ.get("CTXWIN_ALL_BUDGETS") else 40


def conversations(
    data: Path, name: str, file_name: str = "conversations"
) -> list[list[dict[str, Any]]]:
    with gzip.open(data / name / f"{file_name}.jsonl.gz", "rt", encoding="utf-8") as file:
        found = [json.loads(line)["messages"] for line in file]
    return (
        [[message for messages in found for message in messages]] if name == "aider_chat" else found
    )


class Stored(CallableCounter):
    """Real costs, each message counted once and looked up from then on."""

    def __init__(self, count_text: Any, messages: list[dict[str, Any]]) -> None:
        super().__init__(count_text)
        self.known: dict[str, int] = {}
        for message in messages:
            self.count_message(message)

    def count_message(self, message: Any) -> int:
        key = repr(message)
        if key not in self.known:
            self.known[key] = super().count_message(message)
        return self.known[key]


@pytest.mark.parametrize("name", FILES)
def test_every_window_keeps_the_laws(name: str, data: Path) -> None:
    """From the smallest feasible budget to the full size, with and without edits."""
    tokens = counter_for("gpt-4o")
    windows = 0
    for number, messages in enumerate(conversations(data, name)):
        counter = Stored(tokens.count_text, messages)
        least, full = (
            counter.count_request(kept_messages(messages)),
            counter.count_request(messages),
        )
        steps = range(STEPS + 1)
        for step in steps if number < AT_ALL_BUDGETS else [number % len(steps)]:
            budget = least + (full - least) * step // STEPS
            for chain in (["drop-oldest"], ["clear-tool-results", "clamp-oversized"]):
                manager = ContextManager(budget, counter=counter, strategies=chain)
                manager.extend(messages)
                window = manager.messages()
                faults = list(
                    window_faults(messages, window, budget, counter, edits=len(chain) > 1)
                )
                assert not faults, faults
                refused = refusals(window)
                assert not refused, refused
                windows += 1
        manager = ContextManager(least - 1, counter=counter)
        manager.extend(messages)
        with pytest.raises(BudgetError):
            manager.messages()
    assert windows


@pytest.mark.parametrize(
    ("name", "budget"),
    [
        ("tau_bench/conversations", 2500),
        ("crosswoz/conversations", 300),
        ("aider_chat/conversations", 8000),
        ("memorybank/conversations_zh", 1000),
        ("memorybank/conversations_en", 1000),
    ],
)
def test_summaries_of_real_conversations(name: str, budget: int, data: Path) -> None:
    """With the embedded digest, turn by turn: windows are lawful and account for each message."""
    folder, _, file = name.partition("/")
    summaries = 0
    for messages in conversations(data, folder, file)[:60]:
        ctx = ContextManager(budget, model="gpt-4o", strategies=["summarize-history"])
        counter = ctx._keeper.conversation.costs.counter
        for number, message in enumerate(messages[:800]):
            ctx.append(message)
            if message["role"] != "user" or ctx.total_tokens <= budget:
                continue
            try:
                window = ctx.messages()
            except BudgetError:  # a pasted file, say
                continue
            log = messages[: number + 1]
            marked = [(wire, bool(shown.sources)) for wire, shown in zip(window, ctx, strict=True)]
            faults = marked_faults(log, marked, budget, counter)
            assert not faults, faults
            assert not refusals(window)
            assert ctx.last_receipt is not None
            summaries += any(action.kind == "replace" for action in ctx.last_receipt.actions)
            assert not ctx.last_receipt.rejected
    assert summaries


def test_long_history_turn_by_turn_is_counted_once(data: Path) -> None:
    """One `append`, one `messages()` a message: each text is counted once, `BudgetError` or not."""
    seen: list[str] = []

    def count(text: str) -> int:
        seen.append(text)
        return len(text) // 4

    (messages,) = conversations(data, "aider_chat")
    manager = ContextManager(8000, counter=count)
    errors = 0
    for message in messages:
        manager.append(message)
        try:
            manager.messages()
        except BudgetError:
            errors += 1
    assert len(messages) == 2050
    assert seen == [message["content"] for message in messages]
    assert 0 < errors < 40
