"""Fits of least absolute error, in plain Python: few rows, few columns."""

import math
from collections.abc import Sequence

LEAST = 30  # tokens below which an absolute error weighs the same
ROUNDS = 40  # of reweighting least squares to least absolute errors


def rank(values: Sequence[float], quantile: float) -> float:
    """Return the value that this share of further values does not exceed, judged by these few."""
    ordered = sorted(values)
    return ordered[min(len(ordered), math.ceil(quantile * (len(ordered) + 1))) - 1]


def three_digits(value: float) -> float:
    """Return the value, rounded to three digits."""
    return float(f"{value:.3g}")


def least_absolute(features: Sequence[tuple[list[float], float]]) -> list[float]:
    """
    Return the coefficients of least absolute error relative to the target, none of them negative.

    Least squares are repeated, each time weighted by the inverse of the last errors. A coefficient
    that comes out negative is left out.
    """
    told = [
        column
        for column in range(len(features[0][0]))
        if any(values[column] for values, _ in features)
    ]
    weights = [1 / max(goal, LEAST) ** 2 for _, goal in features]
    found: dict[int, float] = {}
    for _ in range(ROUNDS):
        free = told
        found = _least_squares(features, weights, free)
        while min(found.values()) < 0:
            free = [column for column in free if found[column] > min(found.values())]
            found = _least_squares(features, weights, free)
        errors = [
            abs(sum(found[column] * values[column] for column in free) - goal)
            for values, goal in features
        ]
        weights = [
            1 / (max(goal, LEAST) * max(error, 0.05))
            for (_, goal), error in zip(features, errors, strict=True)
        ]
    return [found.get(column, 0.0) for column in range(len(features[0][0]))]


def _least_squares(
    features: Sequence[tuple[list[float], float]], weights: Sequence[float], free: Sequence[int]
) -> dict[int, float]:
    """Solve the weighted normal equations of the free columns by elimination."""
    size = len(free)
    table = [[0.0] * (size + 1) for _ in free]
    for (values, goal), weight in zip(features, weights, strict=True):
        line = [*(values[column] for column in free), goal]
        for row, own in zip(table, line, strict=False):
            if own:
                for column, value in enumerate(line):
                    row[column] += weight * own * value
    for pivot in range(size):
        table[pivot][pivot] *= 1 + 1e-9  # columns that depend on each other share what they explain
        for other in range(size):
            if other != pivot:
                factor = table[other][pivot] / table[pivot][pivot]
                table[other] = [
                    a - factor * b for a, b in zip(table[other], table[pivot], strict=True)
                ]
    return {
        column: row[size] / row[place]
        for place, (column, row) in enumerate(zip(free, table, strict=True))
    }
