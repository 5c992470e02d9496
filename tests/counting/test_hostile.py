"""Whatever is admitted can be counted, by every counter of ours, in a bounded number of steps."""

import os
from typing import Any

import pytest

from counting.hostile import call_for, hostile
from ctxwin import ContextManager, CounterError, MessageError
from ctxwin.counting import CallableCounter, EstimateCounter, TiktokenCounter, counter_for
from ctxwin.counting.costs import Costs
from ctxwin.counting.models import openai_counter
from ctxwin.sessions import MemoryStore, Sessions
from ctxwin.testing import WordCounter
from ctxwin.values.message import Message
from ctxwin.values.wire import Wire, read_wire
from steps import lines_run

# 1,000,000 take about an hour on one core.
CASES = int(os.environ.get("CTXWIN_HOSTILE", "20000"))
BLOCKS = 4  # tests that may run on different cores


def counters() -> dict[str, Any]:
    """Return one counter of each kind that is built in."""
    found: dict[str, Any] = {
        name: openai_counter(name)
        for name in ("gpt-4o", "gpt-4", "gpt-4o-mini", "gpt-5-mini", "gpt-oss-20b", "kimi-k2")
    }
    for name in ("claude-sonnet-4-5", "gemini-2.5-flash", "mistral-large-latest"):
        found[name] = counter_for(name)
    found["callable"] = CallableCounter(len)
    return found


COUNTERS = counters()


def test_every_kind_of_counter_is_asked() -> None:
    """With chat templates apart, which `test_templates.py` asks."""
    assert {type(one) for one in COUNTERS.values()} == {
        TiktokenCounter,
        EstimateCounter,
        CallableCounter,
    }


def admitted(number: int) -> Wire | None:
    """Return the message of that number, or None if the door refuses it."""
    try:
        return read_wire(hostile(number))
    except MessageError as error:
        assert len(str(error)) < 600
        return None


def count_all(wire: Wire, call: Wire, counter: Any) -> None:
    costs, message = Costs(counter), Message(2, wire)
    tokens = costs.message(message)
    assert tokens > 0 or isinstance(counter, EstimateCounter)
    if wire["role"] == "tool":
        asked = Message(1, call)
        assert costs.message(message, asked) >= 0
        costs.request([asked, message])
    else:
        assert costs.request([message]) >= tokens


@pytest.mark.parametrize("block", range(BLOCKS))
def test_what_is_admitted_is_counted(block: int) -> None:
    """By all counters in turn, and every message by one of them."""
    names = sorted(COUNTERS)
    count = 0
    for number in range(block, CASES, BLOCKS):
        wire = admitted(number)
        if wire is not None:
            count += 1
            count_all(wire, call_for(number), COUNTERS[names[number // BLOCKS % len(names)]])
    assert count > CASES // BLOCKS // 3


def size_of(value: Any) -> int:
    """Return how many values and characters a JSON value holds."""
    if isinstance(value, str):
        return 1 + len(value)
    if isinstance(value, dict):
        return 1 + sum(size_of(key) + size_of(item) for key, item in value.items())
    return 1 + sum(map(size_of, value)) if isinstance(value, list) else 1


def test_counting_takes_a_bounded_number_of_steps() -> None:
    """In proportion to the message: lines of Python that counting runs."""
    for number in range(400):
        wire = admitted(number)
        for name, counter in COUNTERS.items() if wire is not None else ():
            counter.count_message(wire)  # what is read once is read now
            steps = lines_run(lambda: counter.count_message(wire))  # noqa: B023
            assert steps <= 300 + 40 * size_of(wire), (name, number)


@pytest.mark.parametrize(
    "value",
    [10**5000, -(10**5000), float("nan"), float("-inf"), {"a": 10**5000}],
    ids=["digits", "below zero", "nan", "infinity", "within"],
)
def test_numbers_that_nobody_can_write_are_refused(value: Any) -> None:
    """With what it is and where."""
    with pytest.raises(MessageError, match=r"message\['metadata'\]"):
        ContextManager(100).append({"role": "user", "content": "x", "metadata": value})


def test_what_python_adds_to_numbers_and_texts_does_not_get_in() -> None:
    """An int that is more than an int is refused; texts and floats become plain ones."""
    import enum

    class Level(enum.IntEnum):
        HIGH = 1

    class Loud(str):
        __slots__ = ()

    class Rate(float):
        pass

    with pytest.raises(MessageError, match=r"metadata.*Level, a subclass of int: give int\(value"):
        read_wire({"role": "user", "content": "x", "metadata": Level.HIGH})
    wire = read_wire({"role": Loud("user"), Loud("content"): Loud("x"), "m": [Rate(0.5), True]})
    assert wire == {"role": "user", "content": "x", "m": [0.5, True]}
    assert {type(key) for key in wire} == {type(wire["content"])} == {type(wire["role"])} == {str}
    assert [type(one) for one in wire["m"]] == [float, bool]


def test_nesting_that_json_cannot_write_is_refused() -> None:
    """Whatever it consists of."""
    for wrap in (lambda one: [one], lambda one: {"a": one}):
        value: Any = 1
        for _ in range(2000):
            value = wrap(value)
        with pytest.raises(MessageError, match="nests more than 64 levels deep"):
            read_wire({"role": "user", "content": "x", "metadata": value})


def test_a_lone_surrogate_in_a_text_file_poisons_nothing() -> None:
    """In memory and in a session."""
    part = {"type": "file", "file": {"file_data": "data:text/plain,\ud800 hello"}}
    for ctx in (
        ContextManager(100),
        Sessions(MemoryStore()).open("s", max_tokens=100, model="gpt-4o"),
    ):
        ctx.append({"role": "user", "content": [part]})
        assert ctx.messages() == [{"role": "user", "content": [part]}]


class Faulty(WordCounter):
    """Cannot count one word."""

    name = "faulty"

    def count_message(self, message: Any) -> int:
        if message["content"] == "poison":
            raise OSError("away")
        return super().count_message(message)


def test_a_message_that_a_counter_cannot_count_can_be_taken_back() -> None:
    """The error names it; in memory, after loading, and in a session of two workers."""
    store = Sessions(MemoryStore())
    options: dict[str, Any] = {"max_tokens": 100, "counter": Faulty()}
    worker = store.open("s", **options)
    found: tuple[ContextManager, ...] = (ContextManager(**options), worker)
    for ctx in found:
        first = ctx.add_message("user", "hello")
        second = ctx.add_message("user", "poison")
        with pytest.raises(CounterError, match=rf"message {second.id} cannot be .*OSError: away.*"):
            ctx.messages()
        with pytest.raises(CounterError, match=rf"rewind\({second.id}\) takes it back"):
            len(ctx)
        stored = ctx is worker
        loaded = ContextManager.from_dict(ctx.to_dict(), **options)
        other = store.open("s", **options) if stored else loaded
        with pytest.raises(CounterError):
            other.messages()
        assert [one.content for one in other.rewind(second)] == ["poison"]
        assert other.messages() == [first.to_dict()]
    worker.refresh()
    assert worker.messages() == [first.to_dict()]
