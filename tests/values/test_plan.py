"""Plans are values: they combine, and refuse the wrong types where they are made."""

from typing import Any

import pytest

from ctxwin import Message, Plan, Unit
from ctxwin.values.plan import Drop, Edit, Replace, make_unit

MESSAGE = Message(1, {"role": "user", "content": "x"})
UNIT = make_unit([MESSAGE], [5])


def test_plans_combine() -> None:
    """`+` puts the steps of one plan after those of the other."""
    plan = (
        Plan.drop([UNIT], "a")
        + Plan.replace([UNIT], "s", reason="b")
        + Plan.edit(MESSAGE, "y", "c")
    )
    assert plan.steps == (
        Drop((UNIT,), "a"),
        Replace((UNIT,), "s", "user", "b"),
        Edit(MESSAGE, "y", "c"),
    )
    assert (Plan() + Plan()).steps == ()
    with pytest.raises(TypeError):
        Plan() + 7


@pytest.mark.parametrize(
    "make",
    [
        lambda: Plan.drop([MESSAGE]),  # type: ignore[list-item]
        lambda: Plan.drop([UNIT], 7),  # type: ignore[arg-type]
        lambda: Plan.replace([UNIT], None),  # type: ignore[arg-type]
        lambda: Plan.replace([UNIT], "s", None),  # type: ignore[arg-type]
        lambda: Plan.edit(UNIT, "x"),  # type: ignore[arg-type]
    ],
    ids=["message", "reason", "content", "role", "unit"],
)
def test_wrong_types_are_refused(make: Any) -> None:
    """The error comes up in the strategy, where the mistake is."""
    with pytest.raises(TypeError, match="expected"):
        make()


def test_unit_properties() -> None:
    """A unit says what a strategy needs to know of it."""
    call = Message(4, {"role": "assistant", "content": None, "tool_calls": []})
    result = Message(5, {"role": "tool", "content": "r"}, True)
    unit = make_unit([call, result], [3, 4])
    assert unit == Unit((call, result), 7, (3, 4), "assistant", protected=False, index=0)
    assert (unit.ids, unit.first, unit.pinned, unit.written) == ((4, 5), 4, True, False)
    summary = make_unit([Message(9, {"role": "user", "content": "s"}, False, (4, 5))], [2])
    assert summary.written
    assert summary.place < unit.place < UNIT.place or summary.place < unit.place
    assert len({unit, unit, UNIT}) == 2
