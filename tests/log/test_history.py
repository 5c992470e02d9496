"""Units: every shape of a tool exchange, and that a rewind undoes an append exactly."""

from collections.abc import Callable
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
from steps import lines_run


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
        logged = history.append(Message(number, wire))
    history.drop(logged.unit)
    history.rewind(4)
    assert not logged.unit.gone
    assert history.gone == {}
    assert history.pending is logged.unit


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
        list(history.messages),
        history.appended,
        sorted(history.open),
        {
            id_: (logged.unit.first, logged.unit.missing, logged.unit.unfit)
            for id_, logged in history.messages.items()
        },
        {key: [unit.first for unit in units] for key, units in history._waiting.items()},
        list(history._units),
        history.question.message.id if history.question else None,
    )


def behind_dead_calls(pairs: int) -> ContextManager:
    """Calls that were never answered, each with a system message behind it."""
    manager = ContextManager(10**9, counter=len)
    for _ in range(pairs):
        manager.append(call("a"))
        manager.add_message("system", "s")
    return manager


def behind_orphans(results: int) -> ContextManager:
    """A question, and results without a call behind it."""
    manager = ContextManager(10**9, counter=len)
    manager.add_message("user", "q")
    manager.extend([result("x")] * results)
    return manager


STEPS: dict[str, Callable[[ContextManager], object]] = {
    "call": lambda manager: manager.append(call("a")),
    "system message": lambda manager: manager.add_message("system", "s"),
    "result": lambda manager: manager.append(result("a")),
    "rewind of a question": lambda manager: manager.rewind(manager.add_message("user", "q")),
    "rewind of a call": lambda manager: manager.rewind(manager.append(call("a"))),
    "interrupted call": lambda manager: manager.extend(
        [call("a"), {"role": "system", "content": "s"}]
    ),
}


@pytest.mark.parametrize("made", [behind_dead_calls, behind_orphans])
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_nothing_walks_over_what_no_window_holds(
    made: Callable[[int], ContextManager], step: Callable[[ContextManager], object]
) -> None:
    """An append or a rewind runs as many lines behind 4,000 open units as behind forty."""
    few, many = made(40), made(4_000)
    list(few), list(many)
    assert lines_run(lambda: step(few)) == lines_run(lambda: step(many))


def forgetful(*behind: Wire) -> ContextManager:
    """A question and a call that something followed, which was dropped and released since."""
    manager = ContextManager(100, counter=len)
    manager.append(user("q"), pinned=True)
    manager.append(call("a"))
    manager.append({"role": "assistant", "content": "x" * 90})
    manager.extend(behind)
    manager.messages()
    assert [message.id for message in manager.forget()] == [3]
    return manager


def test_what_followed_an_open_call_counts_though_it_was_released() -> None:
    """A rewind makes a call the last unit only if it takes back what followed it, too."""
    for restored in (False, True):
        manager = forgetful(user("q2"))
        manager.rewind(4)
        if restored:
            manager = ContextManager.from_dict(manager.to_dict(), 100, counter=len)
        assert [message["content"] for message in manager.messages()] == ["q"]
        assert [message.id for message in manager.left_out] == [2]
        late = manager.append(result("a"))
        assert [message["role"] for message in manager.messages()] == ["user", "assistant", "tool"]
        manager.rewind(late)
        assert [message.id for message in manager.left_out] == [2]


def test_a_call_is_the_last_unit_where_a_rewind_takes_back_what_was_released() -> None:
    """One of its own results stood before that."""
    manager = ContextManager(140, counter=len)
    manager.append(user("q"), pinned=True)
    manager.append(call("a", "b"), pinned=True)
    manager.extend([result("a"), user("x" * 130), result("b"), user("q2")])
    manager.messages()
    assert [message.id for message in manager.forget()] == [4]
    manager.rewind(3)
    assert [message["role"] for message in manager.messages()] == ["user", "assistant"]
    assert manager.left_out == ()


def test_a_unit_that_a_cut_dropped_does_not_come_back_for_an_interrupted_call() -> None:
    """The late result completes the call, and the window extends the one before the cut's."""
    manager = ContextManager(100, counter=len)
    manager.add_message("user", "q")
    manager.extend({"role": "assistant", "content": "x" * 60} for _ in range(2))
    manager.append(call("a"))
    first = manager.messages()
    assert [message["role"] for message in first] == ["user", "assistant"]
    manager.add_message("system", "s")
    assert [message["role"] for message in manager.messages()] == ["user", "system"]
    manager.append(result("a"))
    assert manager.messages()[:2] == first
    roles = [message["role"] for message in manager.messages()]
    assert roles == ["user", "assistant", "tool", "system"]
