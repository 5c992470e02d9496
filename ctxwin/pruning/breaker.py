"""
Rest for strategies that keep failing: a circuit breaker that goes by growth, not by clock.

The figures are a part of the conversation: strategy name -> (failures in a row, length of the log
until which it rests). A cut carries the new ones.
"""

import math
from collections.abc import Collection, Mapping
from typing import TypeAlias

FAILURES_BEFORE_REST = 3
GROWTH_BEFORE_RETRY = 1.2

Failures: TypeAlias = Mapping[str, tuple[int, int]]


def resting(failures: Failures, log_length: int) -> frozenset[str]:
    """Return the names of the strategies that rest; lengths are in messages."""
    return frozenset(name for name, (_, until) in failures.items() if until > log_length)


def recorded(
    failures: Failures, asked: Collection[str], failed: Collection[str], log_length: int
) -> dict[str, tuple[int, int]]:
    """Return the figures after a prune in which some strategies were asked and some failed."""
    after = dict(failures)
    for name in sorted(asked):
        if name not in failed:
            after.pop(name, None)  # a success ends the row
            continue
        in_a_row, until = after.get(name, (0, 0))
        if in_a_row + 1 >= FAILURES_BEFORE_REST:
            until = math.ceil(log_length * GROWTH_BEFORE_RETRY)
        after[name] = (in_a_row + 1, until)
    return after
