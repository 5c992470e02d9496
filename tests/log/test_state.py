"""States: exact, and refused where they are not ours."""

import copy
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ctxwin import ContextManager, StateError
from ctxwin.counting import CallableCounter, counter_for
from ctxwin.testing import WordCounter
from pruning.test_prune import Fold, sync_answer


class Named(CallableCounter):
    """A counter with a name, which counts its calls."""

    name = "named"

    def __init__(self) -> None:
        super().__init__(len)
        self.calls = 0

    def count_message(self, message: Any) -> int:
        self.calls += 1
        return super().count_message(message)


def sample(counter: Any, **options: Any) -> ContextManager:
    """A conversation with a summary, an edit, a pin, a dropped unit and a dead call."""
    manager = ContextManager(
        150, counter=counter, strategies=[Fold(sync_answer), "clear-tool-results"], **options
    )
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    manager.add_message("system", "be kind")
    manager.add_message("assistant", None, tool_calls=[call])
    manager.extend({"role": "user", "content": f"question {number}"} for number in range(14))
    manager.messages()
    manager.pin(manager.conversation_history[3])
    manager.pin(next(message for message in manager if message.sources))
    manager.observe({"prompt_tokens": manager.total_tokens + 3})
    return manager


OPTIONS: dict[str, Any] = {"strategies": [Fold(sync_answer), "clear-tool-results"]}


def test_restored_manager_counts_nothing_again() -> None:
    """The same named counter is not asked about any stored message."""
    counter = Named()
    state = json.loads(json.dumps(sample(counter).to_dict()))
    before = counter.calls
    manager = ContextManager.from_dict(state, 150, counter=counter, **OPTIONS)
    assert manager.to_dict() == state
    manager.prune_history()
    assert counter.calls == before


def test_other_counter_counts_again() -> None:
    """A nameless counter stores no counts; another named one does not believe them."""
    state = sample(len).to_dict()
    assert {entry["tokens"] for entry in state["log"]} == {None}
    assert ContextManager.from_dict(state, 150, counter=len, **OPTIONS).to_dict() == state
    named = sample(Named()).to_dict()
    manager = ContextManager.from_dict(named, 150, counter=counter_for("gpt-4o"), **OPTIONS)
    assert manager.to_dict()["log"][0]["tokens"] == counter_for("gpt-4o").count_message(
        {"role": "s", "content": "be kind"}
    )


def test_edits_are_restored() -> None:
    """What a window shows for a message survives, with its cost."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    for counter in (len, Named()):
        from ctxwin_plugins.clear_tool_results import ClearToolResults

        options: dict[str, Any] = {
            "counter": counter,
            "strategies": [ClearToolResults(keep_last=0, min_freed_tokens=1)],
        }
        manager = ContextManager(160, **options)
        manager.add_message("user", "hi")
        manager.append({"role": "assistant", "content": None, "tool_calls": [call]})
        manager.append({"role": "tool", "tool_call_id": "a", "content": "r" * 200})
        window = manager.messages()
        assert window[2]["content"].startswith("[tool output cleared")
        state = json.loads(json.dumps(manager.to_dict()))
        restored = ContextManager.from_dict(state, 160, **options)
        assert restored.messages() == window
        assert restored.total_tokens == manager.total_tokens
        assert restored.to_dict() == manager.to_dict()
        restored.pin(3)
        assert [message.to_dict() for message in restored][2]["content"] == "r" * 200


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (("schema",), 2, "schema 2"),
        (("schema",), None, "schema"),
        (("counter",), 7, "counter"),
        (("log",), {}, "log"),
        (("log", 0), 7, r"log\[0\]"),
        (("log", 0, "id"), -1, "at least 0"),
        (("log", 1, "id"), 1, "ascend"),
        (("log", 0, "id"), True, "must be int"),
        (("log", 0, "message"), {"role": "villain"}, "role"),
        (("log", 0, "pinned"), "yes", "pinned"),
        (("log", 0, "edited"), {"tokens": 3}, "content"),
        (("log", 0, "edited"), {"tokens": 3, "content": "x"}, "message 1 is pinned"),
        (("log", 15, "edited"), {"tokens": 3, "content": 7}, "content"),
        (("next_id",), 1, "next_id"),
        (("next_id",), 1 << 48, "ids end at"),
        (("correction",), 0, "correction"),
        (("failures",), {"x": [1]}, "failures"),
        (("failures",), {"x": ["1", 2]}, "failures"),
        (("written", 0, "sources"), [], "cannot stand for"),
        (("written", 0, "sources"), [3, 2], "cannot stand for"),
        (("written", 0, "sources"), ["x"], "sources"),
        (("written", 0, "source_hash"), "xyz", "64 hexadecimal digits"),
        (("written", 0, "source_hash"), "abc", "64 hexadecimal digits"),
        (("written", 0, "message"), {}, "role"),
        (("written", 0, "id"), 16, "is taken"),
        (("written", 0, "id"), 1, "is taken"),
        (("written", 0, "message"), {"role": "tool", "content": "x"}, "can have written"),
        (("log", 0, "gone"), True, "message 1 must be kept"),
        (("log", 15, "gone"), True, "message 16 must be kept"),
        (("correction",), 10**9, "correction.*at most"),
        (("adjustment",), -1, "sums are exact"),
        (("adjustment",), -(10**6), "sums are exact"),
        (("appended",), 0, "appended"),
        (("settled",), 1, "settled"),
    ],
)
def test_malformed_state_is_refused(path: tuple[Any, ...], value: Any, text: str) -> None:
    """The error says where."""
    state = sample(len).to_dict()
    at = state
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    with pytest.raises(StateError, match=text):
        ContextManager.from_dict(state, 150, counter=len, **OPTIONS)


@pytest.mark.parametrize("key", sorted(sample(len).to_dict()))
def test_missing_field_is_named(key: str) -> None:
    """Nothing has a silent default."""
    state = sample(len).to_dict()
    del state[key]
    with pytest.raises(StateError, match=key):
        ContextManager.from_dict(state, 150, counter=len, **OPTIONS)


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 20), st.text(max_size=3), st.just([]), st.just({})
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [path] * bool(path) + [
        below for key, item in items for below in _paths(item, (*path, key))
    ]


SAMPLE = sample(Named()).to_dict()


@example(("written", 0, "sources", 1), "x")
@given(st.sampled_from(_paths(SAMPLE)), JUNK)
def test_any_state_is_restored_or_refused(path: tuple[Any, ...], junk: Any) -> None:
    """Whatever stands anywhere in a state: a working manager or a `StateError`."""
    state = copy.deepcopy(SAMPLE)
    at = state
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = junk
    try:
        manager = ContextManager.from_dict(state, 10**6, counter=Named(), **OPTIONS)
    except StateError:
        return
    manager.add_message("user", "go on")
    assert manager.messages()[-1]["content"] == "go on"
    assert manager.prune_history().after_tokens <= 10**6


def test_state_is_a_mapping() -> None:
    """Anything else is refused."""
    with pytest.raises(StateError, match="mapping"):
        ContextManager.from_dict([], 150)  # type: ignore[call-overload]


def test_half_an_exchange_cannot_be_gone() -> None:
    """What a plan can never have done is refused."""
    manager = ContextManager(100, counter=len)
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    manager.append({"role": "assistant", "content": None, "tool_calls": [call]})
    manager.append({"role": "tool", "tool_call_id": "a", "content": "r"})
    manager.add_message("user", "q")
    state = manager.to_dict()
    state["log"][1]["gone"] = True
    with pytest.raises(StateError, match="a part of a tool exchange"):
        ContextManager.from_dict(state, 100, counter=len)


def test_what_was_learnt_of_one_counter_is_not_told_of_another() -> None:
    """An offset or correction belongs to the counter that it was observed with."""
    manager = ContextManager(10**6, counter=len)
    manager.add_message("user", "x" * 100)
    manager.messages()
    manager.observe({"prompt_tokens": 200})
    state = manager.to_dict()
    assert ContextManager.from_dict(state, 10**6, counter=len).total_tokens == manager.total_tokens
    fresh = ContextManager(10**6, model="gpt-4o")
    fresh.add_message("user", "x" * 100)
    assert ContextManager.from_dict(state, 10**6, model="gpt-4o").total_tokens == fresh.total_tokens


def test_a_conversation_that_cannot_be_counted_can_be_saved() -> None:
    """And is loaded by a counter that can, or cannot, count it."""

    def fails(text: str) -> int:
        raise OSError("away")

    manager = ContextManager(100, counter=fails)
    manager.add_message("user", "hello")
    state = json.loads(json.dumps(manager.to_dict()))
    assert state["settled"] is False
    assert ContextManager.from_dict(state, 100, counter=len).messages() == [
        {"role": "user", "content": "hello"}
    ]
    assert len(ContextManager.from_dict(state, 100, counter=fails).conversation_history) == 1


def test_an_open_call_stays_open_after_forgetting() -> None:
    """What came after it is what makes it open: that much is not forgotten."""
    manager = ContextManager(60, counter=len)
    manager.add_message("user", "q")
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    manager.append({"role": "assistant", "content": None, "tool_calls": [call]})
    manager.unpin(manager.add_message("system", "s" * 100))
    window = manager.messages()
    manager.forget()
    restored = ContextManager.from_dict(manager.to_dict(), 60, counter=len)
    assert restored.messages() == manager.messages() == window == [{"role": "user", "content": "q"}]
    assert restored.left_out == manager.left_out


def test_what_was_learnt_goes_with_the_kind_of_counter() -> None:
    """An estimate's correction is not used by an exact counter, nor an offset by an estimate."""
    words = "some words of a message"
    bill = counter_for("gpt-4o").count_request([{"role": "user", "content": words}]) * 3 // 4
    estimate = ContextManager(1000)
    estimate.add_message("user", words)
    estimate.messages()
    estimate.observe({"prompt_tokens": bill})
    exact = ContextManager.from_dict(estimate.to_dict(), 1000, model="gpt-4o")
    assert (
        exact.total_tokens
        == counter_for("gpt-4o").count_request(exact.messages())
        > estimate.total_tokens
    )
    exact.observe({"prompt_tokens": exact.total_tokens + 50})
    assert ContextManager.from_dict(exact.to_dict(), 1000).total_tokens == exact.total_tokens - 50


class Merging(WordCounter):
    """Costs of a request are less than the sum of its messages'."""

    name = "merging"
    additive = False

    def count_request(self, messages: Any, tools: Any = ()) -> int:
        return super().count_request(messages, tools) - len(messages)


def test_another_counter_starts_afresh() -> None:
    """Adjustments, and the prediction a bill is compared with, mean nothing to another counter."""
    manager = ContextManager(60, counter=Merging())
    for number in range(20):
        manager.add_message("user", f"message {number} of a few words")
    manager.messages()
    assert manager.to_dict()["adjustment"] < 0
    other = ContextManager.from_dict(manager.to_dict(), 1000, model="gpt-4o")
    before = other.total_tokens
    assert before == counter_for("gpt-4o").count_request(other.messages())
    other = ContextManager.from_dict(manager.to_dict(), 1000, model="gpt-4o")
    other.observe({"prompt_tokens": before + 300})
    assert other.total_tokens == before
