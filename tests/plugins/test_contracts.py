"""Our own strategies, proved as a third party would prove hers: each alone, and behind every other."""

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
    """The last link of every chain."""

    reaches_target = True

    def strategy(self) -> DropOldest:
        return DropOldest()


class TestKeepPinned(StrategyContract):
    """With every rule at once."""

    def strategy(self) -> KeepPinned:
        return KeepPinned(
            ["assistant"],
            ["ada"],
            first_turns=1,
            last_turns=1,
            where=lambda message: not message.content,
        )


class TestClearToolResults(StrategyContract):
    """So eager that short histories have something to clear."""

    def strategy(self) -> ClearToolResults:
        return ClearToolResults(keep_last=0, min_freed_tokens=1)


class TestClampOversized(StrategyContract):
    """So tight that short messages are clamped; the question too, where that is allowed."""

    def strategy(self) -> ClampOversized:
        return ClampOversized(8, 0.3, clamp_question=True)


class TestSummarizeHistory(StrategyContract):
    """By name alone: with the embedded digest."""

    bounds_summaries = True

    def strategy(self) -> SummarizeHistory:
        return SummarizeHistory()


class TestSummarizeHistoryInChunks(StrategyContract):
    """With a model of a small window, which may be away, and the user's own words kept."""

    bounds_summaries = True
    max_source_tokens = 40
    max_examples = max(10, settings().max_examples // 2)

    def strategy(self) -> SummarizeHistory:
        return SummarizeHistory(
            ScriptedSummarizer(),
            keep_last_turns=1,
            keep_user_messages=True,
            max_source_tokens=40,
            role="assistant",
        )


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
    """The second is shown what the first has left."""
    reaches = second == "drop-oldest"
    # Each alone is tried on all; with a summary in it a case takes long: models that fail, texts
    # that fill their bound.
    examples = max(
        10, settings().max_examples // (3 if "summarize-history" in (first, second) else 2)
    )
    check_strategy(
        STRATEGIES[second],
        before=[STRATEGIES[first]],
        reaches_target=reaches,
        max_examples=examples,
    )
