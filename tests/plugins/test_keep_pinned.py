"""`keep-pinned`: protect by rule."""

from typing import Any

import pytest

from ctxwin import ContextManager
from ctxwin_plugins.keep_pinned import KeepPinned


def left(**rule: Any) -> list[str]:
    """Return what a window holds of twelve messages, with a rule."""
    manager = ContextManager(70, counter=len, strategies=[KeepPinned(**rule)])
    manager.add_message("assistant", "welcome")
    for number in range(4):
        manager.add_message("user", f"user {number}", name="ada" if number == 1 else None)
        manager.add_message("assistant", f"reply {number}")
    return [str(wire["content"]) for wire in manager.messages()]


def test_rules() -> None:
    """By role, name, first and last turns, or predicate; without a rule, what the core keeps."""
    assert left() == ["user 2", "reply 2", "user 3", "reply 3"]
    assert left(first_turns=1) == ["user 0", "reply 0", "reply 2", "user 3", "reply 3"]
    assert left(last_turns=3) == ["user 1", "reply 1", "user 2", "reply 2", "user 3", "reply 3"]
    assert left(names=["ada"]) == ["user 1", "reply 2", "user 3", "reply 3"]
    assert left(where=lambda message: message.content == "welcome") == [
        "welcome",
        "user 2",
        "reply 2",
        "user 3",
        "reply 3",
    ]
    assert left(roles=["user"]) == ["user 0", "user 1", "user 2", "user 3", "reply 3"]


def test_spared_units_go_where_nothing_else_can() -> None:
    """Protecting everything does not end in a `BudgetError`."""
    assert left(last_turns=99)[-1] == "reply 3"


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ({"roles": "user"}, TypeError),
        ({"names": "ada"}, TypeError),
        ({"first_turns": -1}, ValueError),
    ],
)
def test_bad_rules_are_refused(rule: dict[str, Any], error: type[Exception]) -> None:
    """The constructor refuses them."""
    with pytest.raises(error):
        KeepPinned(**rule)
