"""The judge of windows finds each broken law on plain messages, and accepts lawful windows."""

from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given

from ctxwin import Budget, ContextManager, Message, TokenCounter, testing
from ctxwin.testing import InvalidWindowError, WordCounter, assert_valid_window
from ctxwin.testing.data.cases import Case
from ctxwin.testing.judge.grouping import kept_messages
from ctxwin.testing.judge.windows import count_request, lost_first_turns, window_faults
from ctxwin.testing.strategies import cases, counters, histories
from ctxwin.values.wire import Wire

SYSTEM: Wire = {"role": "system", "content": "be kind"}
FIRST: Wire = {"role": "user", "content": "hello there"}
REPLY: Wire = {"role": "assistant", "content": "hi"}
QUESTION: Wire = {"role": "user", "content": "how much is it"}


def call(*ids: str) -> Wire:
    function = {"name": "look", "arguments": "{}"}
    calls = [{"id": call_id, "type": "function", "function": function} for call_id in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(call_id: str, content: str = "here") -> Wire:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


PLAIN = [SYSTEM, FIRST, REPLY, QUESTION]
TOOLS = [FIRST, call("a", "b"), result("b"), result("a"), QUESTION, call("c"), result("c")]


def laws(before: list[Wire], after: list[Wire], **knobs: Any) -> list[str]:
    budget = knobs.pop("budget", 1000)
    return [fault.law for fault in window_faults(before, after, budget, WordCounter(), **knobs)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], []),
        (PLAIN, PLAIN),
        (PLAIN, [SYSTEM, QUESTION]),
        ([SYSTEM, REPLY, QUESTION], [SYSTEM, REPLY, QUESTION]),  # never cut
        ([REPLY, call("a"), result("a"), FIRST, REPLY, QUESTION], [REPLY, FIRST, QUESTION]),
        (TOOLS, TOOLS),
        (TOOLS, [QUESTION, call("c"), result("c")]),
        ([QUESTION, call("a")], [QUESTION, call("a")]),  # pending
        ([FIRST, call("a"), QUESTION], [FIRST, QUESTION]),  # open
        ([FIRST, result("z"), QUESTION], [FIRST, QUESTION]),  # a result without its call
        # A late result stands behind its call.
        ([call("a"), QUESTION, result("a")], [call("a"), result("a"), QUESTION]),
        ([REPLY, REPLY, REPLY, QUESTION], [REPLY, QUESTION]),  # equal messages: any of them will do
    ],
)
def test_valid_windows(before: list[Wire], after: list[Wire]) -> None:
    """The judge finds nothing."""
    assert_valid_window(before, after, 1000, WordCounter())


@pytest.mark.parametrize(
    ("before", "after", "law"),
    [
        (PLAIN, [FIRST, REPLY, QUESTION], "L3"),
        (PLAIN, [SYSTEM, FIRST, REPLY], "L4"),
        (PLAIN, [], "L3"),
        (PLAIN, [SYSTEM, REPLY, QUESTION], "L17"),
        (TOOLS, TOOLS[1:], "L17"),
        (PLAIN, [SYSTEM, REPLY, FIRST, QUESTION], "L5"),
        (PLAIN, [SYSTEM, REPLY, REPLY, QUESTION], "L5"),
        (PLAIN, [SYSTEM, {"role": "user", "content": "invented"}, QUESTION], "L5"),
        (PLAIN, [SYSTEM, {**QUESTION, "content": "how"}], "L5"),
        (TOOLS, [QUESTION, result("c")], "L2"),
        (TOOLS, [QUESTION, call("c")], "L2"),
        (TOOLS, [call("a", "b"), result("b"), QUESTION, call("c"), result("c")], "L2"),
        (TOOLS, [FIRST, QUESTION], "L4"),  # the newest unit is gone
        ([REPLY, FIRST, FIRST], [REPLY], "L4"),
        ([SYSTEM, REPLY, SYSTEM, FIRST], [SYSTEM, FIRST], "L3"),  # one of two equal ones
    ],
)
def test_broken_windows(before: list[Wire], after: list[Wire], law: str) -> None:
    """The judge names the law."""
    assert law in laws(before, after)


def test_what_is_missing_is_said_of_a_window_in_disorder_too() -> None:
    """An orphan does not hide that the question is gone."""
    assert laws(TOOLS, [result("a"), call("c"), result("c")]) == ["L2", "L5", "L4"]
    assert laws(PLAIN, [REPLY, REPLY, QUESTION]) == ["L17", "L17", "L5", "L3"]


def test_l1_and_who_counts() -> None:
    """A budget is a number or a `Budget`, a counter may be a callable; tools cost."""
    assert laws(PLAIN, PLAIN, budget=10) == ["L1"]
    assert laws(PLAIN, PLAIN, budget=Budget(40, reserve_output=30)) == ["L1"]
    assert_valid_window(PLAIN, PLAIN, 60, len)
    with pytest.raises(
        InvalidWindowError, match=r"L1: the window costs 53 tokens, the budget is 52"
    ):
        assert_valid_window(PLAIN, PLAIN, 52, len)
    assert laws(PLAIN, PLAIN, budget=28) == []
    assert laws(PLAIN, PLAIN, budget=28, tools=[{"a tool": "with words"}]) == ["L1"]


def test_pins_edits_and_summaries_are_told() -> None:
    """The caller says what a plain list of messages cannot say."""
    assert laws(PLAIN, [SYSTEM, QUESTION], pinned=[2]) == ["L3"]
    assert laws(PLAIN, [QUESTION], unpinned=[0]) == []
    shorter = [SYSTEM, FIRST, {**REPLY, "content": ""}, QUESTION]
    assert laws(PLAIN, shorter) == ["L5"]
    assert laws(PLAIN, shorter, edits=True) == []
    assert laws(PLAIN, shorter, edits=True, pinned=[2]) == ["L5"]
    short_question = [SYSTEM, {**QUESTION, "content": ""}]
    assert laws(PLAIN, short_question, edits=True)
    assert laws(PLAIN, short_question, edits=True, question_edits=True) == []
    newest = [QUESTION, call("c"), result("c", "")]
    assert laws(TOOLS, newest, edits=True) == []  # results of the newest unit may be shortened
    summary: Wire = {"role": "user", "content": "they said hello"}
    assert laws(PLAIN, [SYSTEM, summary, QUESTION]) == ["L5"]
    assert laws(PLAIN, [SYSTEM, summary, QUESTION], written=True) == []
    spoken = {**summary, "role": "assistant"}
    assert laws(PLAIN, [SYSTEM, spoken, QUESTION], written=True) == ["L17"]


def test_what_must_stay_may_stand_before_the_first_user_message() -> None:
    """What is pinned, or protected by a plugin, edited or not; whole exchanges alike."""
    window = [SYSTEM, REPLY, QUESTION]
    assert laws(PLAIN, window, pinned=[2]) == []
    assert laws(PLAIN, window, protected=[2]) == []
    shorter = [SYSTEM, {**REPLY, "content": ""}, QUESTION]
    assert laws(PLAIN, shorter, edits=True) == ["L17"]
    assert laws(PLAIN, shorter, edits=True, protected=[2]) == []
    assert laws(TOOLS, TOOLS[1:], protected=[3]) == []


def test_a_user_message_that_a_window_needs() -> None:
    """The judge finds the user message of the turn that a window begins with."""
    log = [Message(number, wire) for number, wire in enumerate([*PLAIN, REPLY, QUESTION], 1)]
    assert lost_first_turns(log, [log[0], log[2], log[3]]) == [log[1]]
    assert lost_first_turns(log, [log[0], log[3]]) == []
    assert lost_first_turns(log[2:], [log[2], log[3]]) == []
    assert lost_first_turns(log, [log[2]]) == []  # without any user message there is no first turn
    told = Message(9, {"role": "system", "content": "told"}, sources=(2,))
    assert lost_first_turns(log, [log[0], told, log[2], log[3]]) == []


def test_the_error_lists_all() -> None:
    """Each broken law is listed, with the message."""
    with pytest.raises(InvalidWindowError) as caught:
        assert_valid_window(PLAIN, [REPLY], 1, WordCounter())
    assert [violation.law for violation in caught.value.violations] == ["L1", "L3", "L4"]
    assert "'how much is it'" in str(caught.value)
    long: Wire = {"role": "user", "content": [{"type": "text", "text": "x" * 99}]}
    assert "..." in next(iter(window_faults([long], [], 9, WordCounter()))).reason


def test_messages_of_a_manager_and_any_mapping() -> None:
    """`Message` objects are judged, and so are mappings that are not dicts."""
    manager = ContextManager(1000, counter=WordCounter())
    manager.extend(PLAIN)
    assert_valid_window(manager.conversation_history, tuple(manager), 1000, WordCounter())
    assert_valid_window(
        [MappingProxyType(wire) for wire in TOOLS], manager_window(TOOLS), 1000, WordCounter()
    )


def manager_window(history: list[Wire]) -> list[Wire]:
    manager = ContextManager(1000, counter=WordCounter())
    manager.extend(history)
    return manager.messages()


@given(histories(), counters())
def test_what_must_be_kept_is_a_valid_window_of_its_own(
    history: list[Wire], counter: TokenCounter
) -> None:
    """It is also the smallest one: if it fits, a manager finds a window."""
    kept = list(map(dict, kept_messages(history)))
    cost = max(1, count_request(counter, kept))
    assert not list(window_faults(history, kept, cost, counter))
    manager = ContextManager(cost, counter=counter)
    manager.extend(history)
    assert not list(window_faults(history, manager.messages(), cost, counter))


@given(cases())
def test_cases_can_be_written_as_code(case: Case) -> None:
    """The code makes a case that plays alike."""
    names = vars(testing) | {"Budget": Budget}
    again = eval(case.code(), names)  # noqa: S307 - our own code
    assert again.code() == case.code()
    assert again.history == case.history
    windows = []
    for one in (case, again):
        manager = one.manager(["clear-tool-results"])
        one.play(manager)
        windows.append([message.to_dict() for message in manager])
    assert windows[0] == windows[1]


def test_summaries_are_known_by_their_sources() -> None:
    """A summary with the role of a user is not taken for something that the user said."""
    log: list[Wire] = [
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "pinned"},
        {"role": "user", "content": "c"},
        {"role": "user", "content": "q"},
    ]
    summary = Message(9, {"role": "user", "content": "as agreed"}, sources=(1, 3))
    window = [summary, Message(2, log[1]), Message(4, log[3])]
    assert_valid_window(log, window, 100, WordCounter(), pinned=[1], edits=True)
    with pytest.raises(InvalidWindowError, match="L3"):
        assert_valid_window(
            log, [summary, Message(4, log[3])], 100, WordCounter(), pinned=[1], edits=True
        )
