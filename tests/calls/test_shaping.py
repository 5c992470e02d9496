"""What plugins may make of a request: marks, more parameters, a lower cap; no word of it."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from around import Shapes, chat, logged
from ctxwin import Answer, Budget, Request
from ctxwin.calls.shaping import shaped
from ctxwin.values.wire import Wire

MARK = {"cache_control": {"type": "ephemeral"}}
TOOLS = [{"type": "function", "function": {"name": "f"}}]
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def request(**fields: Any) -> Request:
    """Return a request with a text, parts, calls and a tool."""
    ctx = chat(tools=TOOLS)
    parts = [{"type": "text", "text": "look "}, {"type": "text", "text": "here"}]
    image = {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}}
    ctx.add_message("user", [*parts, image])
    ctx.append({"role": "assistant", "content": None, "tool_calls": [CALL]})
    ctx.append({"role": "tool", "tool_call_id": "c", "content": "42"})
    made = ctx.request(max_output_tokens=100, params={"seed": 1}, user="ann")
    return replace(made, **fields) if fields else made


def with_message(place: int, wire: Wire) -> Any:
    """Return a plugin's way to put another message in a place."""

    def change(before: Request) -> Request:
        messages = list(before.messages)
        messages[place] = wire
        return replace(before, messages=tuple(messages))

    return change


ALLOWED = {
    "a mark on a message": with_message(0, {"role": "system", "content": "be brief", **MARK}),
    "a text as parts": with_message(
        0, {"role": "system", "content": [{"type": "text", "text": "be brief", **MARK}]}
    ),
    "a text as two parts": with_message(
        0,
        {
            "role": "system",
            "content": [{"type": "text", "text": "be "}, {"type": "text", "text": "brief", **MARK}],
        },
    ),
    "a mark on a tool": lambda before: replace(before, tools=({**TOOLS[0], **MARK},)),
    "a list for a tuple": lambda before: replace(before, messages=list(before.messages)),
    "more parameters": lambda before: replace(before, params={**before.params, "top_p": 1}),
    "a lower cap": lambda before: replace(before, max_output_tokens=50),
}


@pytest.mark.parametrize("change", ALLOWED)
def test_marks_parameters_and_lower_caps_are_taken(change: str, caplog: Any) -> None:
    """And nothing is logged."""
    before = request()
    after = ALLOWED[change](before)
    with logged(caplog):
        assert shaped(before, after, "p") == replace(after, messages=tuple(after.messages))
    assert shaped(before, after, "p").origin == before


CHANGED: dict[str, tuple[Any, str]] = {
    "another text": (with_message(0, {"role": "system", "content": "be long"}), "messages"),
    "another role": (with_message(0, {"role": "user", "content": "be brief"}), "messages"),
    "another argument": (
        with_message(
            3,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{**CALL, "function": {"name": "f", "arguments": '{"a": 1}'}}],
            },
        ),
        "messages",
    ),
    "no image": (with_message(2, {"role": "user", "content": "look here"}), "messages"),
    "one more": (lambda b: replace(b, messages=(*b.messages, b.messages[0])), "messages"),
    "one less": (lambda b: replace(b, messages=b.messages[1:]), "messages"),
    "another order": (lambda b: replace(b, messages=b.messages[::-1]), "messages"),
    "a list of text": (with_message(0, {"role": "system", "content": ["be brief"]}), "messages"),
    "a text for a list": (with_message(2, {"role": "user", "content": "look here"}), "messages"),
    "a mark within a tool": (
        lambda b: replace(b, tools=({**TOOLS[0], "function": {"name": "f", **MARK}},)),
        "tools",
    ),
    "no json": (with_message(0, {"role": "system", "content": {1, 2}}), "messages"),
    "no messages": (lambda b: replace(b, messages=None), "messages"),
    "no tools": (lambda b: replace(b, tools=()), "tools"),
    "a system text": (lambda b: replace(b, system=({"type": "text", "text": "x"},)), "system"),
    "another parameter": (lambda b: replace(b, params={"seed": 2}), "params"),
    "a parameter less": (lambda b: replace(b, params={}), "params"),
    "no parameters": (lambda b: replace(b, params=None), "params"),
    "a higher cap": (lambda b: replace(b, max_output_tokens=101), "max_output_tokens"),
    "no cap": (lambda b: replace(b, max_output_tokens=None), "max_output_tokens"),
    "an odd cap": (lambda b: replace(b, max_output_tokens=0), "max_output_tokens"),
    "another id": (lambda b: replace(b, id="x"), "id"),
    "another model": (lambda b: replace(b, model="x"), "model"),
    "other tags": (lambda b: replace(b, tags={}), "tags"),
    "an answer": (lambda b: replace(b, answer=Answer("x")), "answer"),
    "fewer tokens": (lambda b: replace(b, tokens=0), "tokens"),
    "more is stable": (lambda b: replace(b, stable=99), "stable"),
    "another counter": (lambda b: replace(b, counter="x"), "counter"),
    "another budget": (lambda b: replace(b, budget=Budget(1)), "budget"),
}


@pytest.mark.parametrize("change", CHANGED)
def test_any_other_change_is_undone_and_logged(change: str, caplog: Any) -> None:
    """Each field on its own: what is allowed beside it stays."""
    make, field = CHANGED[change]
    before = request()
    after = make(before)
    if field != "params":
        after = replace(after, params={**before.params, "top_p": 1})
    with logged(caplog, f"may not change the {field} of a request"):
        made = shaped(before, after, "p")
    if field != "params":
        assert made.params == {"seed": 1, "top_p": 1}
    assert replace(made, params=before.params) == before
    with logged(caplog, "'changer' may not change"):
        chat(Shapes(lambda b: replace(b, model="x"), "changer")).request()


def test_a_cap_may_be_set_where_there_was_none() -> None:
    """That is lower than none."""
    before = request(max_output_tokens=None)
    assert shaped(before, replace(before, max_output_tokens=5), "p").max_output_tokens == 5
    assert shaped(before, replace(before), "p").max_output_tokens is None


def test_each_plugin_sees_what_the_one_before_made() -> None:
    """And the request as it was before all of them."""
    seen: list[Any] = []

    def add(key: str) -> Any:
        def does(before: Request) -> Request:
            seen.append((dict(before.params), dict(before.origin.params)))
            return replace(before, params={**before.params, key: 1})

        return does

    made = chat(Shapes(add("a"), "one"), Shapes(lambda _: None, "two"), Shapes(add("b"), "x"))
    request = made.request()
    assert request.params == {"a": 1, "b": 1}
    assert request.origin.params == {}
    assert seen == [({}, {}), ({"a": 1}, {})]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text("ab{", max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "role", "content", "cache_control"]), inner
        )
    ),
    max_leaves=8,
)


@given(st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": JSON}), max_size=3))
def test_whatever_a_plugin_makes_of_messages_no_text_of_them_changes(wires: Any) -> None:
    """R2: roles, order and texts are equal after joining text parts."""
    before = request(messages=({"role": "user", "content": "a{b"},))
    made = shaped(before, replace(before, messages=tuple(wires)), "p")
    (message,) = made.messages
    content = message["content"]
    text = content if isinstance(content, str) else "".join(part["text"] for part in content)
    assert (message["role"], text) == ("user", "a{b")
