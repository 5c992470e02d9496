"""Each law of kind W as a pure function: changes that keep it, and changes that break it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from ctxwin import Message, Plan, Unit
from ctxwin.laws import laws
from ctxwin.laws.edits import edit_faults
from ctxwin.laws.laws import Context, Outcome, check_plan
from ctxwin.values.plan import make_unit
from steps import work_done

CALLS = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


def unit(
    id_: int, content: Any = "text", *, role: str = "user", cost: int = 10, **more: Any
) -> Unit:
    sources = more.pop("sources", ())
    pinned = more.pop("pinned", False)
    return make_unit(
        [Message(id_, {"role": role, "content": content, **more}, pinned, sources)], [cost]
    )


def exchange(id_: int, *answers: str) -> Unit:
    head = Message(id_, {"role": "assistant", "content": None, "tool_calls": CALLS})
    results = [
        Message(id_ + n, {"role": "tool", "tool_call_id": answer, "content": "r"})
        for n, answer in enumerate(answers, 1)
    ]
    return make_unit([head, *results], [10] * (1 + len(results)))


A, B, C = unit(1, pinned=True), unit(2), unit(3)
CONTEXT = Context(base_tokens=3, max_tokens=100, question=3, newest=(3,))


def change(
    after: list[Unit], plan: Plan | None = None, before: tuple[Unit, ...] = (A, B, C), **more: Any
) -> Outcome:
    context = Context(
        **{"base_tokens": 3, "max_tokens": 100, "question": 3, "newest": (3,), **more}
    )
    return Outcome(before, tuple(after), plan or Plan(), context)


def edited(old: Unit, content: Any, cost: int = 5) -> Unit:
    return make_unit([old.messages[0].with_content(content)], [cost])


def edit(old: Unit, content: Any) -> Plan:
    return Plan.edit(old.messages[0], content)


LAWFUL = change([A, C], Plan.drop([B]))


def test_a_lawful_plan_breaks_nothing() -> None:
    """A plan may drop what is neither pinned, nor the question, nor the newest unit."""
    assert list(check_plan(LAWFUL)) == []
    assert list(laws.budget(LAWFUL)) == []


SUMMARY = unit(9, "short", sources=(2,), cost=4)

BROKEN: dict[str, tuple[Any, Outcome]] = {
    "over budget": (laws.budget, change([A, B, C], max_tokens=32)),
    "result alone": (laws.tool_units, change([unit(4, role="tool", tool_call_id="a")])),
    "half an exchange": (laws.tool_units, change([exchange(4), C])),
    "foreign result": (laws.tool_units, change([exchange(4, "b"), C])),
    "one result too many": (laws.tool_units, change([exchange(4, "a", "a"), C])),
    "a text inside": (
        laws.tool_units,
        change([make_unit([*exchange(4).messages, B.messages[0]], [1, 1]), C]),
    ),
    "pin lost": (laws.pins, change([B, C])),
    "pin changed": (laws.pins, change([edited(A, "other"), B, C])),
    "protected lost": (laws.pins, change([A, C], protected=frozenset({2}))),
    "question lost": (laws.current_question, change([A, B])),
    "question changed": (laws.current_question, change([A, B, edited(C, "other")])),
    "newest changed": (laws.current_question, change([A, edited(B, "o"), C], newest=(2,))),
    "order changed": (laws.order, change([B, A, C])),
    "foreign unit": (laws.order, change([A, B, unit(7)])),
    "summary misplaced": (laws.order, change([A, C, SUMMARY])),
    "silent edit": (laws.silent_edits, change([A, edited(B, "other"), C])),
    "another edit than declared": (
        laws.silent_edits,
        change([A, edited(B, "other"), C], edit(B, "declared")),
    ),
    "more than content": (
        laws.silent_edits,
        change([A, unit(2, "x", name="ada"), C], edit(B, "x")),
    ),
    "written edited": (
        laws.silent_edits,
        change([edited(SUMMARY, "s")], edit(SUMMARY, "s"), before=(SUMMARY,)),
    ),
    "one unit more expensive": (laws.progress, change([A, edited(C, "w", 25)], Plan.drop([B]))),
    "frees nothing": (laws.progress, change([A, B, C])),
    "unexplained": (laws.explained, change([A, C])),
    "blank summary": (
        laws.summaries_shrink,
        change([A, unit(9, " ", sources=(2,), cost=4), C], Plan.replace([B], " ")),
    ),
    "summary grows": (
        laws.summaries_shrink,
        change([A, unit(9, "long", sources=(2,), cost=10), C], Plan.replace([B], "long")),
    ),
    "sources forgotten": (
        laws.summaries_shrink,
        change([A, unit(9, "s", sources=(1,), cost=4), C], Plan.replace([B], "s")),
    ),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_law_says_so(name: str) -> None:
    """The function of the law yields a reason that names the messages."""
    law, broken = BROKEN[name]
    reasons = list(law(broken))
    assert reasons
    assert all(
        any(character.isdigit() for character in reason) or "blank" in reason or "order" in reason
        for reason in reasons
    )


KEPT: dict[str, tuple[Any, Outcome]] = {
    "pending at the end": (laws.tool_units, change([C, exchange(4)])),
    "complete": (laws.tool_units, change([exchange(4, "a"), C])),
    "question edited where allowed": (
        laws.current_question,
        change([A, B, edited(C, "o")], edit(C, "o"), allow_question_edit=True),
    ),
    "result of the newest edited": (
        laws.current_question,
        change(
            [
                make_unit(
                    [exchange(4, "a").messages[0], exchange(4, "a").messages[1].with_content("s")],
                    [1, 1],
                )
            ],
            before=(exchange(4, "a"),),
            newest=(4, 5),
            question=None,
        ),
    ),
    "summary in place": (laws.order, change([A, SUMMARY, C])),
    "summary shrinks": (laws.summaries_shrink, change([A, SUMMARY, C], Plan.replace([B], "short"))),
    "an older summary stays": (laws.summaries_shrink, change([SUMMARY], before=(SUMMARY, C))),
    "declared edit": (laws.silent_edits, change([A, edited(B, "other"), C], edit(B, "other"))),
}


@pytest.mark.parametrize("name", sorted(KEPT))
def test_a_kept_law_is_silent(name: str) -> None:
    """The function of the law yields nothing for a change that is allowed."""
    law, kept = KEPT[name]
    assert list(law(kept)) == []


JSON_PART = {"type": "text", "text": '{"n": 1}'}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
THINKING = {"type": "thinking", "thinking": "hm", "signature": "s"}
TEXT = {"type": "text", "text": "long text"}


@pytest.mark.parametrize(
    ("old", "new", "lawful"),
    [
        ("plain", "other", True),
        ('{"a": 1}', "no JSON", False),
        ('{"a": 1}', '{"a": 2}', True),
        ('{"a": 1}', "[]", True),
        ("[1, 2", "was no JSON", True),
        ("7", "a number is no document", True),
        ("[" * 100_000, "too deep to be parsed", True),
        ("👨‍👩‍👧 family", "👨‍ cut inside", False),
        # Two different emoji with the same last character:
        ("Thanks a lot \u2764\ufe0f", "cleared \u2702\ufe0f", True),
        ("\u2764\ufe0f ok", "\u2764", False),
        # Two different emoji with the same first character:
        ("\u2764\ufe0f yes", "\u2764\u20e3 no", True),
        ("family 👨‍👩‍👧", "[...]\u200d👧", False),
        ("family 👨‍👩‍👧 at home", "family 👨‍👩‍👧[...]", True),
        ("e\u0301tude", "e[...]", False),
        ("line\r\nline", "[...]\nline", False),
        ([TEXT, THINKING], [{**TEXT, "text": "short"}, THINKING], True),
        ([TEXT, THINKING], [TEXT], True),
        ([TEXT, THINKING], "short", True),
        ([TEXT, THINKING], [TEXT, {**THINKING, "thinking": ""}], False),
        ([TEXT, {**TEXT, "signature": "s"}], [TEXT, {**TEXT, "signature": "t"}], False),
        ([{"type": "text", "text": '{"a": 1}'}], [TEXT], False),
        (None, "something", True),
        ('{"n":' + "9" * 5000 + "}", "cut", False),
        ("abce and more", "abce\u0301[cut]", False),
        ([TEXT, {"type": "text", "text": "👨‍👩‍👧👨‍👩‍👧"}], [{"type": "text", "text": "👨"}], False),
        ([TEXT, {"type": "text", "text": '{"n":1}'}], [{"type": "text", "text": "no JSON"}], False),
        ([TEXT, TEXT], [TEXT], True),
        ([JSON_PART, IMAGE], [JSON_PART, {"type": "text", "text": "[image]"}], True),
        ([JSON_PART, TEXT], [TEXT], True),
        ([JSON_PART, JSON_PART], [JSON_PART, {"type": "text", "text": "cut"}], False),
    ],
)
def test_edits(old: Any, new: Any, lawful: bool) -> None:
    """Graphemes stay whole, JSON stays JSON, and reasoning is kept whole or dropped whole."""
    assert (list(edit_faults(old, new)) == []) is lawful


def parts(texts: list[str]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text} for text in texts]


EDITS: dict[str, Callable[[int], tuple[Any, Any]]] = {
    "all are cut": lambda size: (
        parts([f"{n:09} long text" for n in range(size)]),
        parts([f"{n:09}" for n in range(size)]),
    ),
    "all are cut, and one is gone": lambda size: (
        parts([f"{n:09} long text" for n in range(size)]),
        parts([f"{n:09}" for n in range(1, size)]),
    ),
    "JSON, and one is gone": lambda size: (
        parts([f'{{"a": {n}, "b": 1}}' for n in range(size)]),
        parts([f'{{"a": {n}}}' for n in range(1, size)]),
    ),
    "nothing changes": lambda size: (
        parts([f"{n}" for n in range(size)]),
        parts([f"{n}" for n in range(size)]),
    ),
    "all go": lambda size: (parts([f"{n}" for n in range(size)]), []),
    "reasoning": lambda size: (
        [{**THINKING, "signature": f"{n}"} for n in range(size)],
        [{**THINKING, "signature": f"{n}"} for n in reversed(range(size))],
    ),
    "long texts": lambda size: ("word " * 40 * size, "word " * 20 * size + "[...]"),
    "marks": lambda size: ("a" + "\u0301" * 20 * size, "a[...]"),
}


def judged(old: Any, new: Any) -> list[str]:
    return list(edit_faults(old, new))


@pytest.mark.parametrize("kind", EDITS)
def test_judging_an_edit_grows_with_it_and_not_faster(kind: str) -> None:
    """Eight times the parts are at most eleven times the work; no clock is used."""
    work = [work_done(partial(judged, *EDITS[kind](size))) for size in (20, 160)]
    assert work[1] <= 11 * work[0] + 1_000


def test_the_text_that_was_cut_is_found_among_many() -> None:
    """By what is left of it at either end."""
    old = [f"{n:04} family 👨‍👩‍👧 at home {n:04}" for n in range(200)]
    cuts = {"0007 family [...]": True, "0007 family 👨‍": False, "👧 at home 0007": False}
    new = [f"{n:04} fam" for n in range(8, 200)]
    for cut, lawful in cuts.items():
        assert (judged(parts(old), parts([cut, *new])) == []) is lawful


def test_editable_is_what_the_laws_leave_room_for() -> None:
    """
    What is pinned, protected, written or the question is not editable.

    Of the newest unit, only results are.
    """
    fresh = exchange(4, "a")
    context = Context(
        base_tokens=3, max_tokens=100, question=3, newest=(4, 5), protected=frozenset({8})
    )
    units = (A, B, C, fresh, unit(8), SUMMARY)
    assert [message.id for message in laws.editable(units, context)] == [2, 5]


def test_what_must_stay_is_named() -> None:
    """The reason says whether it is the current question or the newest unit."""
    question = next(laws.current_question(change([A, B], Plan.drop([C]))))
    assert question == "message 3 is the current question and must stay"
    newest = next(laws.current_question(change([A, B], Plan.drop([C]), question=2)))
    assert newest == "message 3 is of the newest unit and must stay"


@pytest.mark.parametrize(("cost", "lawful"), [(9, True), (10, False), (11, False)])
def test_summaries_shrink_to_the_token(cost: int, lawful: bool) -> None:
    """A summary must cost less than what it replaces; the same cost is already too much."""
    written = unit(9, "short", sources=(2,), cost=cost)
    found = list(laws.summaries_shrink(change([A, written, C], Plan.replace([B], "short"))))
    assert (not found) == lawful


def test_laws_are_numbered_in_order() -> None:
    """There are 17. Those of kind W have a function, whose docstring starts with their id."""
    assert [law.id for law in laws.LAWS] == [f"L{number}" for number in range(1, 18)]
    assert {law.id for law in laws.LAWS if law.check} == {
        law.id for law in laws.LAWS if law.kind == "W"
    }
    for law in laws.LAWS:
        if law.check is not None:
            assert (law.check.__doc__ or "").strip().startswith(f"{law.id}: ")
    assert set(laws.PLAN_LAWS) == {law.id for law in laws.LAWS if law.kind == "W"} - {"L1"}


REPLY, PINNED_REPLY = unit(4, role="assistant"), unit(4, role="assistant", pinned=True)
ASKED, LAST = unit(3), unit(5)


@pytest.mark.parametrize(
    ("before", "after", "options", "fault"),
    [
        ((ASKED, REPLY, LAST), [ASKED, LAST], {}, ""),
        ((ASKED, REPLY, LAST), [REPLY, LAST], {}, "messages 4 stand before"),
        ((ASKED, REPLY, LAST), [ASKED, REPLY, LAST], {}, ""),
        ((REPLY, LAST), [REPLY, LAST], {}, ""),  # never cut
        ((REPLY, LAST), [REPLY, LAST], {"cut_before": True}, "messages 4 stand before"),
        ((REPLY, LAST), [REPLY, LAST], {"cut_before": True, "question": None}, ""),
        ((ASKED, REPLY), [REPLY], {}, ""),  # without a user message, nothing stands before it
        ((ASKED, PINNED_REPLY, LAST), [PINNED_REPLY, LAST], {}, "message 3 would fit"),
        ((ASKED, PINNED_REPLY, LAST), [PINNED_REPLY, LAST], {"max_tokens": 30}, ""),
        ((ASKED, REPLY, LAST), [REPLY, LAST], {"protected": frozenset({4})}, "message 3 would"),
        ((unit(2, role="system"), ASKED, REPLY, LAST), [unit(2, role="system"), LAST], {}, ""),
    ],
)
def test_the_first_turn(
    before: tuple[Unit, ...], after: list[Unit], options: dict[str, Any], fault: str
) -> None:
    """L17: only what must stay, and whose user message does not fit, stands before the first."""
    outcome = change(after, None, before, **{"question": 5, "newest": (5,), **options})
    found = "; ".join(laws.first_turn(outcome))
    assert fault in found
    assert bool(found) == bool(fault)
