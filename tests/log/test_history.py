"""Units: every shape of a tool exchange, and that a rewind undoes an append exactly."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxwin import ContextManager
from ctxwin.log.history import History
from ctxwin.testing.judge.grouping import sendable, units_of
from ctxwin.testing.strategies import histories
from ctxwin.values.message import Message
from ctxwin.values.wire import Wire


def user(text: str = "hi") -> Wire:
    return {"role": "user", "content": text}


def call(*ids: str | None) -> Wire:
    function = {"name": "f", "arguments": "{}"}
    calls = [{"id": id_, "type": "function", "function": function} for id_ in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(id_: str | None, content: str = "r") -> Wire:
    wire = {"role": "tool", "content": content}
    return wire if id_ is None else {**wire, "tool_call_id": id_}


LEGACY = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
LEGACY_RESULT = {"role": "function", "name": "f", "content": "r"}


@pytest.mark.parametrize(
    ("log", "window", "left_out"),
    [
        ([user(), call("a"), result("a"), user()], [0, 1, 2, 3], []),
        (
            [user(), call("a", "b"), result("b"), result("a")],
            [0, 1, 2, 3],
            [],
        ),  # parallel, out of order
        (
            [call("a"), user(), result("a")],
            [0, 2, 1],
            [],
        ),  # deferred: results stand behind their call
        ([call("a"), call("b"), result("a"), result("b")], [0, 2, 1, 3], []),  # interleaved
        ([call("a"), result("a"), call("a"), result("a")], [0, 1, 2, 3], []),  # the id used again
        ([call("a"), user(), call("a"), result("a")], [1, 2, 3], [0]),  # a dead call, tried again
        (
            [call("a", "a"), result("a"), user()],
            [2],
            [0, 1],
        ),  # two calls of one id want two results
        ([call("a", "a"), result("a"), result("a")], [0, 1, 2], []),
        ([call(None, None), result(None), result(None)], [0, 1, 2], []),  # no ids: by position
        ([call(None), call(None), result(None), result(None)], [0, 3, 1, 2], []),
        ([call(""), result("")], [0, 1], []),
        (
            [call("a"), result(None), user()],
            [2],
            [0, 1],
        ),  # a result without an id answers no call with one
        ([LEGACY, LEGACY_RESULT], [0, 1], []),
        ([LEGACY_RESULT, user()], [1], [0]),
        ([user(), result("x")], [0], [1]),  # a result without its call
        ([user(), call("a")], [0, 1], []),  # pending
        ([user(), call("a", "b"), result("a")], [0, 1, 2], []),  # still pending
        ([user(), call("a"), result("x")], [0, 1], [2]),  # an orphan does not close a pending call
        ([user(), call("a"), user()], [0, 2], [1]),  # open
        ([call("a"), result("a"), result("a")], [0, 1], [2]),  # one result too many
        (
            [call("id:"), result("id:"), {"role": "assistant", "content": "x", "tool_calls": []}],
            [0, 1, 2],
            [],
        ),
    ],
)
def test_exchanges(log: list[Wire], window: list[int], left_out: list[int]) -> None:
    """Which messages are sent, in which order, and which are left out."""
    manager = ContextManager(10**6, counter=len)
    ids = [message.id for message in manager.extend(log)]
    assert [ids.index(message.id) for message in manager] == window
    assert [ids.index(message.id) for message in manager.left_out] == left_out


@given(histories(), st.data())
def test_units_agree_with_the_judge(history: list[Wire], data: st.DataObject) -> None:
    """Grouping one by one, with rewinds in between, is grouping the whole log at once."""
    manager = ContextManager(10**9, counter=len)
    kept: list[Wire] = []
    for wire in history:
        manager.append(wire)
        kept.append(wire)
        if data.draw(st.integers(0, 4)) == 0:
            back = data.draw(st.integers(1, min(5, len(kept))))
            manager.rewind(manager.conversation_history[-back])
            del kept[-back:]
    expected = [kept[position] for unit in sendable(kept) for position in unit.positions]
    assert manager.messages() == expected
    assert sorted(position for unit in units_of(kept) for position in unit.positions) == list(
        range(len(kept))
    )


def test_an_exchange_that_lacks_a_result_again_is_no_longer_gone() -> None:
    """A plan dropped it whole; what is left after a rewind is not what was dropped."""
    history = History()
    for number, wire in enumerate([user(), call("a", "b"), result("a"), result("b")], 1):
        entry = history.append(Message(number, wire))
    entry.slot.gone = True
    history.rewind(4)
    assert not entry.slot.gone
    assert history.pending is entry.slot


@given(histories(), st.integers(0, 24))
def test_rewind_is_the_inverse_of_append(history: list[Wire], size: int) -> None:
    """After a rewind, grouping is as if the tail had never been."""
    one, two = History(), History()
    for number, wire in enumerate(history):
        one.append(Message(number, wire))
        if number < size:
            two.append(Message(number, wire))
    one.rewind(size)
    assert snapshot(one) == snapshot(two)


def snapshot(history: History) -> Any:
    return (
        list(history.entries),
        history.appended,
        sorted(history.open),
        {
            id_: (entry.slot.first, entry.slot.missing, entry.slot.orphan)
            for id_, entry in history.entries.items()
        },
        {key: [slot.first for slot in slots] for key, slots in history._waiting.items()},
        history._last.first if history._last else None,
        history.question.message.id if history.question else None,
    )
