"""
How the Hypothesis strategies draw texts, messages, exchanges and histories.

Hypothesis shrinks a list well only while each item takes few choices, about five. So the role and
form of a message are one choice from a table and not a tree of choices, and so are the ids and the
fate of an exchange.
"""

import json
from collections.abc import Sequence
from itertools import product
from typing import Any, TypeVar

from hypothesis import strategies as st

from ctxwin.values.wire import SYSTEM_ROLES, Wire, copy_json

T = TypeVar("T")

ROLES = ("user", "assistant", "system", "developer")
GIANT = "word " * 60

_TEXTS = (
    "",
    "ok",
    "Where is my parcel?",
    "您好，我的订单在哪里？",  # noqa: RUF001 - Chinese
    "👨‍👩‍👧‍👦 👍🏽 🇨🇭🇨🇭 y\u0301 क्षि 각",
    "\ud800 lone",
    "<|endoftext|>",
    '{"rows": [1, 2, 3], "note": "a text that is long enough to shorten"}',
    "line\n" * 12,
    "null",
    "x" * 200,
    GIANT,
)
# Graphemes of several characters, which a cut in the wrong place breaks; long texts are made of
# them too. None begins as a placeholder does, or that would seem to keep a part of the text.
_CLUSTERS = ("a", " ", "中", "y\u0301", "👍🏽", "🇨🇭", "👨‍👩‍👧", "क्षि", "\r\n", "\ud800", "각")
_LONG = (
    "👨‍👩‍👧‍👦" * 16,
    "y\u0301" * 60,
    "🇨🇭" * 41,
    json.dumps([{"n": n, "é": "word"} for n in range(12)], ensure_ascii=False),
    "👨‍👩‍👧🇨🇭👍🏽y\u0301" * 350,  # some thousand characters: above the usual limits of strategies
    "word " + "y\u0301🇨🇭👍🏽👨‍👩‍👧 中" * 250,
    json.dumps({"rows": [{"n": n, "é": "word 中"} for n in range(200)]}, ensure_ascii=False),
    "\r" * 40,
    "[" * 1500 + "]" * 1500,  # deeper than Python's JSON parser goes
)

_ANY_TEXT, _ANY_CLUSTERS, _ANY_JSON = object(), object(), object()
_VALUES = st.none() | st.integers(-9, 9) | st.sampled_from(["", "é", "word " * 8])
_DOCUMENTS = st.dictionaries(st.sampled_from("ab"), _VALUES, max_size=2) | st.lists(
    _VALUES, max_size=3
)

_PARTS: tuple[Wire, ...] = (
    {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
    {"type": "thinking", "thinking": "first this then that", "signature": "c2lnbmVk"},
    {"type": "image_url", "image_url": {"url": "https://example.org/b.png"}},
    {"type": "redacted_thinking", "data": "c2VjcmV0IHdvcmRz"},
    {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
    {"type": "file", "file": {"file_id": "f1"}},
    {"type": "refusal", "refusal": "I would rather not"},
)
# The form of a message, beyond role and text; most are plain.
PLAIN = ("plain",)
FORMS = (*(PLAIN * 12), *(["list"] * 5), "none", "reasoning", "named", "metadata")

# The ids of a message's calls (None: no id, paired by position; "()": a legacy call), and what
# happens to the results.
IDS = (
    ("a",),
    ("d",),
    ("a", "b"),
    ("b", "a", "c"),
    ("a", "a"),
    (None,),
    (None, None),
    ("()",),
    ("custom",),
    ("mapping",),
)
FATES = (
    *(["in place"] * 6),
    *(
        "lists",
        "lists",
        "reversed",
        "late",
        "later",
        "last late",
        "never",
        "last never",
        "twice",
        "without its call",
    ),
)


class Table(tuple[T, ...]):
    """Choices with a short `repr`, because Hypothesis prints the arguments of strategies."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Table of {len(self)}"


def distinct_ids(max_calls: int) -> Sequence[Sequence[str | None]]:
    """Return the ids of one call, of two parallel ones, and so on."""
    return Table(tuple(f"c{number}" for number in range(size)) for size in range(1, max_calls + 1))


def talk(roles: Sequence[str]) -> Sequence[tuple[str, str]]:
    """Return forms and roles of messages, the simplest first; system messages are rarer."""
    ordinary = [role for role in roles if role not in SYSTEM_ROLES]
    return Table((*product(FORMS, roles), *product(FORMS, ordinary * 2)))


@st.composite
def texts(draw: st.DrawFn, random: st.SearchStrategy[str]) -> str:
    """Draw a text."""
    choice = draw(
        st.sampled_from(
            (*_TEXTS, *_LONG, *([_ANY_TEXT] * 4), *([_ANY_CLUSTERS] * 4), *([_ANY_JSON] * 3))
        )
    )
    if choice is _ANY_CLUSTERS:
        return "".join(draw(st.lists(st.sampled_from(_CLUSTERS), max_size=20)))
    if choice is _ANY_JSON:
        return json.dumps(draw(_DOCUMENTS), ensure_ascii=False)
    return str(choice) if isinstance(choice, str) else draw(random)


@st.composite
def messages(
    draw: st.DrawFn, kinds: Sequence[tuple[str, str]], text: st.SearchStrategy[str]
) -> Wire:
    """Draw a message that neither calls nor answers."""
    form, role = draw(st.sampled_from(kinds))
    return _message(draw, form, role, text)


def _message(draw: st.DrawFn, form: str, role: str, text: st.SearchStrategy[str]) -> Wire:
    """Draw a message of a role and a form."""
    mute = role == "assistant"
    empty = mute and form in ("none", "reasoning")
    wire: Wire = {"role": role, "content": None if empty else _content(draw, form, text, mute=mute)}
    if form == "reasoning":
        wire["reasoning_content"] = "first this then that"
    elif form == "named":
        wire["name"] = "ada"
    elif form == "metadata":
        wire["metadata"] = {"seen": [1, 2.5, None]}
    return wire


def _content(
    draw: st.DrawFn, form: str, text: st.SearchStrategy[str], *, mute: bool = False
) -> Any:
    """Draw text, or a list of parts for the form `list`; empty only if the message may be mute."""
    if form != "list":
        return draw(text)
    parts = st.sampled_from(_PARTS).map(copy_json) | text.map(
        lambda value: {"type": "text", "text": value}
    )
    return draw(st.lists(parts, min_size=0 if mute else 1, max_size=3))


@st.composite
def exchanges(
    draw: st.DrawFn,
    ids: Sequence[Sequence[str | None]],
    fates: Sequence[str],
    text: st.SearchStrategy[str],
) -> list[Wire]:
    """Draw a complete exchange."""
    kind = draw(st.sampled_from([(fate, found) for fate in fates for found in ids]))
    return [wire for _, wire in _exchange(draw, *kind, text)]


def _exchange(
    draw: st.DrawFn, fate: str, ids: Sequence[str | None], text: st.SearchStrategy[str]
) -> list[tuple[int, Wire]]:
    """Draw a message with calls and its results, each with the number of items it comes late."""
    head: Wire = {"role": "assistant", "content": draw(st.none() | text)}
    if ids[0] == "d":  # some clients leave out empty content
        del head["content"]
    if ids == ("()",):
        head["function_call"] = {"name": "look", "arguments": "{}"}
    else:
        head["tool_calls"] = [_call(call_id) for call_id in ids]
    results = [
        _result(draw, call_id, "list" if fate == "lists" else "plain", text) for call_id in ids
    ]
    if fate == "reversed":
        results.reverse()
    elif fate == "twice":
        results.append(results[-1].copy())
    late = [{"late": 1, "later": 3}.get(fate, 0)] * len(results)
    if fate == "last late":
        late[-1] = 2
    spread = list(zip(late, results, strict=True))
    if fate in ("never", "last never"):
        del spread[0 if fate == "never" else -1 :]
    return spread if fate == "without its call" else [(0, head), *spread]


def _call(call_id: str | None) -> Wire:
    """Return a call; the id decides its kind and arguments."""
    if call_id == "custom":
        return {"id": call_id, "type": "custom", "custom": {"name": "run", "input": "print('é')"}}
    arguments = {
        "b": '{"query": {"é": [1, "two"]}}',
        "c": "not JSON",
        "d": "[1]",
        "mapping": {"query": {"é": [1, "two"]}},  # as chat templates and Ollama have it
        None: "",
    }.get(call_id, "{}")
    name = "find" if call_id == "b" else "look"
    call = {"function": {"name": name, "arguments": arguments}}
    return call if call_id is None else {"id": call_id, "type": "function", **call}


def _result(draw: st.DrawFn, call_id: str | None, form: str, text: st.SearchStrategy[str]) -> Wire:
    """Draw the result of one call."""
    content = _content(draw, form, text)
    if call_id == "()":
        return {"role": "function", "name": "look", "content": content}
    return {
        "role": "tool",
        **({} if call_id is None else {"tool_call_id": call_id}),
        "content": content,
    }


@st.composite
def items(
    draw: st.DrawFn,
    talk: Sequence[tuple[str, str]],
    calls: Sequence[tuple[str, Sequence[str | None]]],
    text: st.SearchStrategy[str],
) -> list[tuple[int, Wire]]:
    """Draw an item of a log: its messages, each with the number of items it comes late."""
    place = draw(st.integers(0, len(talk) + len(calls) - 1))
    if place < len(talk):
        return [(0, _message(draw, *talk[place], text))]
    return _exchange(draw, *calls[place - len(talk)], text)


def laid_out(items: list[list[tuple[int, Wire]]]) -> list[Wire]:
    """Return the messages of all items in order, the late ones behind the items they wait for."""
    places = [
        (number + late, late > 0, number, wire)
        for number, item in enumerate(items)
        for late, wire in item
    ]
    return [wire for *_, wire in sorted(places, key=lambda place: place[:3])]


@st.composite
def valid_histories(
    draw: st.DrawFn, text: st.SearchStrategy[str], min_size: int, max_size: int, *, tools: bool
) -> list[Wire]:
    """Draw a log that every provider accepts."""
    talk = tuple(product(PLAIN, ("user", "assistant")))
    calls = tuple(product(("in place",), distinct_ids(3))) if tools else ()
    found = draw(st.lists(items((*talk, *talk), calls, text), min_size=min_size, max_size=max_size))
    for number, item in enumerate(found):
        for call in item[0][1].get("tool_calls", ()):
            call["id"] += str(number)
        for _, result in item[1:]:
            result["tool_call_id"] += str(number)
    found.insert(draw(st.integers(0, len(found))), [(0, {"role": "user", "content": draw(text)})])
    system: list[Wire] = [{"role": "system", "content": draw(text)}] if draw(st.booleans()) else []
    return system + laid_out(found)
