"""`clamp-oversized`."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxwin import BudgetError, ContextManager
from ctxwin.laws.graphemes import is_boundary
from ctxwin_plugins.clamp_oversized import ClampOversized, _measure
from steps import work_done

PIECES = [
    "word ",
    "é",
    "e\u0301",
    "👨‍👩‍👧",
    "🇨🇭",
    "中文",
    "\r\n",
    "\n",
    "\ud800",
    "x" * 30,
    "क्षि",
    "각",
]
TEXTS = st.lists(st.sampled_from(PIECES), min_size=30, max_size=80).map("".join)


def clamped(content: Any, budget: int = 200, **options: Any) -> tuple[Any, ContextManager]:
    manager = ContextManager(budget, counter=len, strategies=[ClampOversized(**options)])
    manager.add_message("assistant", content)
    manager.add_message("user", "and?")
    window = manager.messages()
    return (window[0]["content"] if len(window) > 1 else None), manager


@given(TEXTS, st.floats(0, 1))
def test_head_and_tail_are_kept_between_graphemes(text: str, head_share: float) -> None:
    """A marker says how much is left out, no grapheme is split, and the limit holds."""
    content, manager = clamped(text, head_share=head_share, max_message_tokens=80)
    if content == text:
        return
    assert content is not None
    assert manager.last_receipt is not None
    assert [action.kind for action in manager.last_receipt.actions] == ["edit"]
    head, rest = content.split("[... ", 1)
    count, tail = rest.split(" characters left out ...]", 1)
    assert text.startswith(head)
    assert text.endswith(tail)
    assert len(head) + int(count) + len(tail) == len(text)
    assert is_boundary(text, len(head))
    assert is_boundary(text, len(text) - len(tail))
    assert len(content) + 4 <= 80


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=60) | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=12) | st.dictionaries(st.text(max_size=8), inner, max_size=12)
    ),
    max_leaves=60,
).filter(lambda value: isinstance(value, list | dict) and len(json.dumps(value)) > 150)


@given(VALUES)
def test_json_stays_json(value: Any) -> None:
    """Long strings, lists and mappings are thinned out, and the result still parses."""
    text = json.dumps(value, ensure_ascii=False)
    content, manager = clamped(text, max_message_tokens=90)
    if content is not None and content != text:
        assert type(json.loads(content)) is type(value)
        assert len(content) + 4 <= 90
    assert manager.last_receipt is None or not manager.last_receipt.rejected


def test_structure_is_kept() -> None:
    """What is short stays unchanged."""
    rows = [{"id": number, "text": "x" * 50} for number in range(100)]
    content, _ = clamped(json.dumps({"status": "ok", "rows": rows}), budget=800)
    parsed = json.loads(content)
    assert parsed["status"] == "ok"
    assert parsed["rows"][0]["id"] == 0
    assert parsed["rows"][-1]["id"] == 99
    assert "items left out" in json.dumps(parsed["rows"])


def test_longest_part_of_a_list_is_clamped() -> None:
    """Other parts stay, pictures included."""
    image = {"type": "image_url", "image_url": {"url": "x", "detail": "low"}}
    parts = [{"type": "text", "text": "short"}, image, {"type": "text", "text": "long " * 80}]
    content, _ = clamped(parts, budget=400, max_message_tokens=200)
    assert content[:2] == parts[:2]
    assert "left out" in content[2]["text"]
    assert clamped([image], budget=60)[0] is None
    assert clamped([{"type": "text", "text": "x" * 50}, image], budget=60)[0] is None


def test_the_current_question_is_never_clamped_unless_asked_to() -> None:
    """Both the strategy and the manager must allow it."""
    for asked in (False, True):
        for allowed in (False, True):
            manager = ContextManager(
                300,
                counter=len,
                strategies=[ClampOversized(clamp_question=asked)],
                allow_question_edit=allowed,
            )
            manager.add_message("user", "x" * 900)
            if asked and allowed:
                assert "left out" in manager.messages()[0]["content"]
            else:
                with pytest.raises(BudgetError):
                    manager.messages()


def test_longest_first_and_no_more_than_needed() -> None:
    """The other long message stays as it is."""
    manager = ContextManager(1000, counter=len, strategies=["clamp-oversized"])
    manager.add_message("assistant", "a" * 350)
    manager.add_message("assistant", "b" * 700)
    manager.add_message("user", "and?")
    window = manager.messages()
    assert window[0]["content"] == "a" * 350
    assert "left out" in window[1]["content"]


def test_a_counter_that_nothing_satisfies() -> None:
    """If no cut is short enough by the counter, the message is left to the next strategy."""
    manager = ContextManager(
        200, counter=lambda text: 300 if len(text) > 10 else 1, strategies=["clamp-oversized"]
    )
    manager.add_message("assistant", "x" * 500)
    manager.add_message("user", "and?")
    assert len(manager.messages()) == 1


@pytest.mark.parametrize(
    "bad", [{"max_message_tokens": 0}, {"head_share": 1.1}, {"head_share": -0.1}]
)
def test_bad_arguments_are_refused(bad: dict[str, Any]) -> None:
    """The constructor refuses them."""
    with pytest.raises(ValueError, match=r"\d"):
        ClampOversized(**bad)


def test_odd_json() -> None:
    """Huge numbers and escapes without an encoding become JSON that can be sent."""
    digits = '{"n":' + "9" * 5000 + "}"
    assert json.loads(clamped(digits, budget=2000)[0])
    escaped = '{"log":"\\ud83d' + "word " * 400 + '"}'
    content, _ = clamped(escaped, budget=900)
    assert json.loads(content)
    assert content.encode()


def test_flags_and_marks_take_linear_time() -> None:
    """A hundred thousand flags are cut between two of them."""
    content, _ = clamped("🇨🇭" * 20_000, budget=20_000)
    head = content.split("[", 1)[0]
    assert len(head) % 2 == 0


def test_what_cannot_be_shortened_stays() -> None:
    """A number has no middle to leave out."""
    value = 123456
    assert ClampOversized()._shorten_json(value, 2, _measure(value)) == value


def test_json_that_is_too_deep_is_left_alone() -> None:
    """Python can read it but cannot write it again."""
    for depth in range(100, 1100, 50):
        manager = ContextManager(600, counter=len, strategies=[ClampOversized(50)])
        manager.add_message("assistant", "[" * depth + "1" + "]" * depth)
        manager.add_message("user", "go on")
        manager.messages()
        assert manager.last_receipt is None or not manager.last_receipt.rejected


def test_a_number_is_not_cut() -> None:
    """However long it is: the rest of it would be another number."""
    number = "1234567890" * 9
    manager = ContextManager(150, counter=len, strategies=[ClampOversized(60)])
    manager.add_message("assistant", f'{{"n": {number}, "text": "{"word " * 20}"}}')
    manager.add_message("user", "go on")
    shown = str(manager.messages()[0]["content"])
    assert number in shown or "word" not in shown


def test_a_text_that_only_its_escapes_make_long() -> None:
    """It is within its limit, so nothing can be cut from it: the message is dropped."""
    content = json.dumps({"log": "\n" * 100})
    manager = ContextManager(180, counter=len, strategies=[ClampOversized(150)])
    manager.add_message("assistant", content)
    manager.add_message("user", "go on")
    assert all(
        wire["content"] in (content, "go on") or json.loads(wire["content"])
        for wire in manager.messages()
    )


GROWING: dict[str, Callable[[int], Any]] = {
    "wide lists": lambda size: tree(size, list),
    "wide mappings": lambda size: tree(size, lambda parts: dict(zip("ab", parts, strict=True))),
    "deep list": lambda size: nest(size // 10, "x" * size, lambda value: [value]),
    "deep mapping": lambda size: nest(size // 10, "x" * size, lambda value: {"": value}),
    "rows": lambda size: [{"id": row, "text": "x" * 50} for row in range(size // 60)],
    "texts": lambda size: ["x" * 100] * (size // 100),
    "one text": lambda size: {"text": "word " * (size // 5)},
    "marks": lambda size: {"text": "a\u0301" * (size // 2)},
    "keys": lambda size: {f"{row:0100}": row for row in range(size // 100)},
    "numbers": lambda size: list(range(size // 5)),
    "a surrogate": lambda size: ["\ud800" + "ä" * (size // 2)],
    "text": lambda size: "word " * (size // 5),
}


def tree(size: int, join: Callable[[list[Any]], Any]) -> Any:
    """Two branches at each level, and leaves of a few characters."""
    return join([tree(size // 2, join) for _ in range(2)]) if size > 30 else "leaf value"


def nest(depth: int, value: Any, within: Callable[[Any], Any]) -> Any:
    return nest(depth - 1, within(value), within) if depth else value


@pytest.mark.parametrize("share", [2, 40])
@pytest.mark.parametrize("kind", GROWING)
def test_work_grows_with_the_text_and_not_faster(kind: str, share: int) -> None:
    """Eight times the JSON is at most eleven times the work, however it is nested."""
    work = []
    for size in (400, 3_200):
        value = GROWING[kind](size)
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        allowed = len(text) // share
        clamp = partial(ClampOversized()._clamp_text, text, len(text) - allowed, len)
        work.append(work_done(clamp))
    assert work[1] <= 11 * work[0] + 500


@pytest.mark.parametrize("content", ["{}", "[]", ""])
def test_what_holds_nothing_cannot_be_shortened(content: str) -> None:
    """It is left as it is, and the error is the manager's own."""
    clamp = ClampOversized(1, clamp_question=True)
    ctx = ContextManager(8, counter=len, strategies=[clamp], allow_question_edit=True)
    ctx.add_message("user", [{"type": "text", "text": content}])
    ctx.add_message("assistant", "an answer")
    with pytest.raises(BudgetError):
        ctx.messages()
