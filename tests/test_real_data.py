"""Recorded conversations: every window at every budget, judged by the independent checker."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from checker import judge, kept_units, uid_log
from ctxwin import BudgetError, ContextManager
from ctxwin.counting import CallableCounter, counter_for

FILES = ["tau_bench", "agentdojo", "swe_agent", "crosswoz", "aider_chat"]
STEPS = 5


def conversations(data: Path, name: str) -> list[list[dict[str, Any]]]:
    with gzip.open(data / name / "conversations.jsonl.gz", "rt", encoding="utf-8") as file:
        found = [json.loads(line)["messages"] for line in file]
    return [[message for messages in found for message in messages]] if name == "aider_chat" else found


@pytest.mark.parametrize("name", FILES)
def test_every_window_keeps_the_laws(name: str, data: Path) -> None:
    """From the smallest feasible budget to the full size, with and without edits."""
    tokens = counter_for("gpt-4o")
    windows = 0
    for messages in conversations(data, name):
        log = uid_log(messages)
        costs = {logged.uid: tokens.count_message(logged.wire) for logged in log}

        class Stored(CallableCounter):
            """Costs counted before: real counts, quick to look up."""

            def count_message(self, message: Any, known: dict[int, int] = costs) -> int:
                uid = message["uid"]
                same = message["content"] == log[uid].wire["content"]  # noqa: B023 - used within this round
                return known[uid] if same else tokens.count_message(message)

        counter = Stored(tokens.count_text)
        least = 3 + sum(costs[log[position].uid] for unit in kept_units(log) for position in unit.positions)
        full = 3 + sum(costs.values())
        for step in range(STEPS + 1):
            budget = least + (full - least) * step // STEPS
            for chain in (["drop-oldest"], ["clear-tool-results", "clamp-oversized"]):
                manager = ContextManager(budget, counter=counter, strategies=chain)
                manager.extend(logged.wire for logged in log)
                window = manager.messages()
                faults = judge(log, window, max_tokens=budget, cost=counter.count_request, may_edit=len(chain) > 1)
                assert not faults, faults
                windows += 1
        manager = ContextManager(least - 1, counter=counter)
        manager.extend(logged.wire for logged in log)
        with pytest.raises(BudgetError):
            manager.messages()
    assert windows


def test_long_history_turn_by_turn_is_counted_once(data: Path) -> None:
    """One `append` and one `messages()` a message: each text is counted exactly once, `BudgetError` or not."""
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
