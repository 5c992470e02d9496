"""What the texts of errors hold: a quotation at most, never a whole message or record."""

from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from ctxwin import ContextManager, Message, MessageError, StateError
from ctxwin.testing import Folding, WordCounter
from ctxwin.values.errors import LONGEST_REPORT, describe, quoted
from leaves import SECRET, quotes_too_much, replaced

ODD: dict[str, object] = {
    "text": SECRET,
    "list": [SECRET],
    "mapping": {SECRET: SECRET},
    "nested": {"a": [{SECRET: {1: 2}}]},
    "number": 10**5_000,
    "object": SimpleNamespace(text=SECRET),
}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
MESSAGES: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "text", "text": "hi"}], "name": "me"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "assistant", "content": "a", "function_call": CALL["function"]},
    {"role": "tool", "content": "r", "tool_call_id": "1"},
]


def state() -> dict[str, Any]:
    """A state with an edit, a summary, failures and a pin."""
    manager = ContextManager(60, counter=WordCounter(), strategies=[Folding(), "clamp-oversized"])
    manager.pin(manager.add_message("user", "keep this"))
    for number in range(12):
        manager.add_message("user", f"question {number} of many words")
    manager.messages()
    return {**manager.to_dict(), "failures": {"folding": [1, 2]}}


def trials() -> Iterator[tuple[type[Exception], Callable[..., object], object]]:
    """What to call with something odd in one place, for each place and each odd thing."""
    manager = ContextManager(60)
    for odd in ODD.values():
        for message in MESSAGES:
            for wire in replaced(message, odd):
                yield MessageError, manager.append, wire
        for saved in replaced(state(), odd):
            yield StateError, restore, saved
        for refused in (manager.append, manager.pin, manager.rewind):
            yield MessageError, refused, odd
        yield MessageError, partial(manager.preview, "x"), odd
        yield ValueError, manager.observe, {"tokens": odd}


def restore(saved: Any) -> ContextManager:
    return ContextManager.from_dict(saved, 60, counter=WordCounter())


def test_an_error_quotes_at_most_eighty_characters() -> None:
    """Wherever something odd stands, in a message, a state or an argument."""
    refused = 0
    for kind, call, argument in trials():
        try:
            call(argument)
        except kind as error:
            refused += 1
            assert not quotes_too_much(str(error)), str(error)[:500]
            assert len(str(error)) < 1_000
    assert refused > 300


def test_a_window_that_cannot_fit_quotes_its_messages() -> None:
    """At most eighty characters of each."""
    manager = ContextManager(60, counter=len)
    manager.add_message("system", SECRET)
    manager.add_message("user", SECRET)
    with pytest.raises(ValueError, match="the budget is 60") as caught:
        manager.messages()
    assert not quotes_too_much(str(caught.value))


class Mute:
    """Cannot be printed."""

    def __repr__(self) -> str:
        raise ValueError(SECRET)


def test_quotations() -> None:
    """Short values stand whole, long ones are cut, and what cannot be printed is named."""
    assert quoted("a\x1b") == r"'a\x1b'"
    assert quoted(SECRET) == f"'{SECRET[:76]}..."
    assert quoted(Mute()) == "<Mute>"
    assert quoted(10**5_000) == "<int>"
    assert quoted(Message(1, {"role": "user", "content": "hi"})) == "<Message 1 user 'hi'>"
    assert len(describe(ValueError(SECRET))) == LONGEST_REPORT
