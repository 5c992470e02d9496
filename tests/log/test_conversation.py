"""Changes that contradict the conversation are refused, each with what is wrong."""

from typing import Any

import pytest

from ctxwin import ContextManager, StateError
from ctxwin.log.changes import Append, Change, Cut, Edited, Learn, Written

USER = {"role": "user", "content": "so"}
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (Append(2, {"role": "user", "content": "x"}), "ids must ascend, 2 comes after 4"),
        (Learn(0, 10**6), "no bill can have taught"),
        (Cut(gone=(3,)), "message 3 is a part of the unit 2, and cannot go"),
        (Cut(gone=(4,)), "message 4 must be kept"),
        (Cut(request_gap=7), "sums are exact"),
        (Cut(gone=(1,), request_gap=7), "sums are exact"),
        (Cut(gone=(1,), edits=(Edited(1, "x"),)), "is pinned or leaves"),
        (Cut(gone=(1,), written=(Written(9, USER, (9,)),)), "cannot stand for"),
    ],
    ids=[
        *("append", "scale", "part of a unit", "question", "gap"),
        *("gap of a cut", "edit of what leaves", "summary of itself"),
    ],
)
def test_what_nobody_can_have_made_is_refused(change: Change, reason: str) -> None:
    """And nothing has changed."""
    manager = ContextManager(1000, counter=len)
    manager.add_message("user", "q")
    manager.append({"role": "assistant", "content": None, "tool_calls": [CALL]})
    manager.add_message("tool", "r", tool_call_id="a")
    manager.add_message("user", "and now?")
    manager.messages()
    before = manager.to_dict()
    with pytest.raises(StateError, match=reason):
        manager._keeper.conversation.apply(change)
    assert manager.to_dict() == before


def test_figures_of_failures_are_read_before_anything_changes() -> None:
    """A cut whose figures are no mapping is refused whole."""
    manager = ContextManager(1000, counter=len)
    manager.add_message("user", "q")
    manager.add_message("user", "and now?")
    manager.messages()
    before = manager.to_dict()
    broken: Any = 7
    with pytest.raises(TypeError):
        manager._keeper.conversation.apply(Cut(gone=(1,), failures=broken))
    assert manager.to_dict() == before


def test_a_state_that_fails_while_it_is_read_is_refused() -> None:
    """Whatever the mapping does."""

    class Odd(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            raise KeyError(key)

    state = Odd(ContextManager(10, counter=len).to_dict())
    with pytest.raises(StateError, match="contradicts itself"):
        ContextManager.from_dict(state, 10, counter=len)
