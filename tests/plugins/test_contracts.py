"""Our own strategies, proved as a third party proves its own: each alone, and in chains of two."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import settings

from ctxwin.testing import ScriptedSummarizer, StrategyContract, check_strategy
from ctxwin_plugins.clamp_oversized import ClampOversized
from ctxwin_plugins.clear_tool_results import ClearToolResults
from ctxwin_plugins.drop_oldest import DropOldest
from ctxwin_plugins.keep_pinned import KeepPinned
from ctxwin_plugins.summarize_history import SummarizeHistory


class TestDropOldest(StrategyContract):
    """The last link of every chain, as a class with one test per law, on its own histories."""

    reaches_target = True
    max_examples = max(10, settings().max_examples // 4)

    def strategy(self) -> DropOldest:
        return DropOldest()


ALONE: dict[str, tuple[Any, dict[str, Any]]] = {
    "drop-oldest": (DropOldest(), {"reaches_target": True}),
    "keep-pinned, every rule": (
        KeepPinned(
            ["assistant"],
            ["ada"],
            first_turns=1,
            last_turns=1,
            where=lambda message: not message.content,
        ),
        {},
    ),
    "clear-tool-results, eager": (ClearToolResults(keep_last=0, min_freed_tokens=1), {}),
    "clamp-oversized, tight": (ClampOversized(8, 0.3, clamp_question=True), {}),
    "summarize-history, digest": (SummarizeHistory(), {"bounds_summaries": True}),
    "summarize-history, chunks": (  # with a model that has a small window and may be unavailable
        SummarizeHistory(
            ScriptedSummarizer(),
            keep_last_turns=1,
            keep_user_messages=True,
            max_source_tokens=40,
            role="assistant",
        ),
        {"bounds_summaries": True, "max_source_tokens": 40},
    ),
}


@pytest.mark.parametrize("name", ALONE)
def test_each_alone(name: str) -> None:
    """Every history is judged by all seventeen laws."""
    strategy, claims = ALONE[name]
    check_strategy(strategy, **claims)


STRATEGIES: dict[str, Any] = {
    "keep-pinned": KeepPinned(first_turns=1),
    "clear-tool-results": ClearToolResults(keep_last=1, min_freed_tokens=1),
    "clamp-oversized": ClampOversized(10),
    "summarize-history": SummarizeHistory(keep_last_turns=1),
    "drop-oldest": DropOldest(),
}
PAIRS = [(first, second) for first, second in permutations(STRATEGIES, 2) if first != "drop-oldest"]


@pytest.mark.parametrize(
    ("first", "second"), PAIRS, ids=[f"{first}, {second}" for first, second in PAIRS]
)
def test_chains_of_two(first: str, second: str) -> None:
    """The second sees what the first has left; there are fewer histories than for each alone."""
    check_strategy(
        STRATEGIES[second],
        before=[STRATEGIES[first]],
        reaches_target=second == "drop-oldest",
        max_examples=max(10, settings().max_examples // 5),
    )
