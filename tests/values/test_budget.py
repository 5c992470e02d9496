"""Budget: the high and the low mark, and which figures are refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxwin import Budget


@given(st.integers(1, 10**6), st.floats(0.01, 1), st.data())
def test_target_lies_between_floor_and_budget(window: int, low: float, data: st.DataObject) -> None:
    """A target leaves what must be kept, and never exceeds the budget."""
    reserve = data.draw(st.integers(0, window - 1))
    budget = Budget(window, reserve_output=reserve, low=low)
    assert budget.max_tokens == window - reserve
    floor = data.draw(st.integers(0, budget.max_tokens))
    assert floor <= budget.target_tokens(floor) <= budget.max_tokens
    assert budget.target_tokens(floor) == floor + int(low * (budget.max_tokens - floor))
    assert budget.target_tokens(budget.max_tokens + floor) == budget.max_tokens


@pytest.mark.parametrize(
    "bad",
    [
        {"window": 0},
        {"window": -1},
        {"window": 10, "reserve_output": 10},
        {"window": 10, "reserve_output": 11},
        {"window": 10, "reserve_output": -1},
        {"window": 10, "low": 0},
        {"window": 10, "low": 1.01},
        {"window": 10, "low": float("nan")},
        {"window": 10, "soft": 0},
        {"window": 10, "soft": 1.5},
    ],
)
def test_bad_values_are_refused(bad: dict[str, Any]) -> None:
    """The error is raised on construction, and its text has the figure."""
    with pytest.raises(ValueError, match=r"-?\d|nan"):
        Budget(**bad)


def test_floats_are_not_token_counts() -> None:
    """A budget is a whole number of tokens."""
    with pytest.raises(TypeError):
        Budget(10.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("soft", [None, 0.01, 0.8, 1])
def test_soft_marks(soft: float | None) -> None:
    """Any share above 0 and up to 1, or None."""
    assert Budget(10, soft=soft).soft == soft
