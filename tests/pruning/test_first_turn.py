"""A window that was cut begins with a user message, and a cut that a counter refuses is smaller."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ctxwin import Budget, BudgetError, ContextManager, Plan, PruneRequest, Unit, hookimpl
from ctxwin.testing import Protecting, WordCounter

FIRST = "it stood before the first user message"


def manager(max_tokens: int, *strategies: object, **options: Any) -> ContextManager:
    """Return a manager that counts three tokens a request, four a message, and its words."""
    options = {"counter": WordCounter(), "strategies": strategies or ["drop-oldest"], **options}
    return ContextManager(budget=Budget(max_tokens, low=1.0), **options)


def say(ctx: ContextManager, *said: str) -> None:
    """Append messages: `u` and words of the user, `a` of the assistant, `s` of the system."""
    roles = {"u": "user", "a": "assistant", "s": "system"}
    ctx.extend({"role": roles[text[0]], "content": text} for text in said)


def left(ctx: ContextManager) -> list[Any]:
    return [wire["content"] for wire in ctx.messages()]


def out(ctx: ContextManager) -> list[int]:
    return [message.id for message in ctx.left_out]


def done(ctx: ContextManager) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return what the last cut did: kind, reason, ids."""
    assert ctx.last_receipt is not None
    actions = ctx.last_receipt.actions
    return [(action.kind, action.reason, action.message_ids) for action in actions]


def call(ctx: ContextManager, call_id: str) -> None:
    function = {"name": "f", "arguments": "{}"}
    calls = [{"id": call_id, "type": "function", "function": function}]
    ctx.add_message("assistant", None, tool_calls=calls)


class Writes:
    """Replaces the units of these ids by a text, in a role."""

    def __init__(self, role: str, *ids: int, text: str = "told") -> None:
        self.name = f"writes-{role}"
        self.role = role
        self.ids = ids
        self.text = text

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan:
        units = [unit for unit in request.units if unit.first in self.ids]
        return Plan.replace(units, self.text, role=self.role, reason="told")


class Drops:
    """Drops the units of these ids."""

    def __init__(self, *ids: int) -> None:
        self.ids = ids

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan:
        return Plan.drop([unit for unit in request.units if unit.first in self.ids], "told to")


def test_what_stands_before_the_first_user_message_leaves_with_the_cut() -> None:
    """Behind the system messages, and the receipt says why."""
    ctx = manager(32)
    say(ctx, "s", "u 1", "a 1", "u 2", "a 2", "u 3")
    assert left(ctx) == ["s", "u 2", "a 2", "u 3"]
    assert done(ctx) == [("drop", "oldest first", (2,)), ("drop", FIRST, (3,))]


def test_a_log_that_begins_with_the_model_is_untouched_until_it_is_cut() -> None:
    """A greeting stays as long as everything does, a prune that does nothing included."""
    ctx = manager(20)
    say(ctx, "a hello", "u 1")
    ctx.prune_history()
    assert left(ctx) == ["a hello", "u 1"]
    say(ctx, "a 1", "u 2")
    assert left(ctx) == ["u 2"]
    ctx = manager(21, Drops(2, 3))
    say(ctx, "a hello", "u 1", "a 1", "u 2")
    assert left(ctx) == ["u 2"]
    assert done(ctx)[-1] == ("drop", FIRST, (1,))


def test_without_a_user_message_there_is_no_first_turn() -> None:
    """An agent whose task is in the system prompt keeps what fits."""
    ctx = manager(21)
    say(ctx, "s", "a 1", "a 2", "a 3")
    assert left(ctx) == ["s", "a 2", "a 3"]


def test_a_pinned_answer_keeps_its_question() -> None:
    """Others leave in its place; plugins that protect a unit have the same effect."""
    for protects in (True, False):
        ctx = manager(28, *([Protecting([2])] if protects else []), "drop-oldest")
        say(ctx, "u 1", "a 1", "u 2", "a 2", "u 3")
        if not protects:
            ctx.pin(2)
        assert left(ctx) == ["u 1", "a 1", "a 2", "u 3"]
        assert done(ctx) == [("drop", "oldest first", (3,))]


def test_only_the_first_turn_that_must_stay_keeps_its_question() -> None:
    """A pin on a user message is a beginning, and so is a summary."""
    ctx = manager(17)
    say(ctx, "u 1", "a 1", "u 2", "a 2", "u 3")
    ctx.pin(1)
    ctx.pin(4)
    with pytest.raises(BudgetError):
        left(ctx)
    ctx = manager(22)
    say(ctx, "u 1", "a 1", "u 2", "a 2", "u 3")
    ctx.pin(1)
    ctx.pin(4)
    assert left(ctx) == ["u 1", "a 2", "u 3"]
    ctx = manager(27, Writes("user", 1, 2, 3))
    say(ctx, "u 1", "a 1", "u 2 2 2 2", "a 2", "u 3")
    assert left(ctx) == ["told", "a 2", "u 3"]
    ctx.pin(4)
    say(ctx, "a 3", "u 4")
    assert left(ctx) == ["told", "a 2", "a 3", "u 4"]


def test_a_pin_whose_question_does_not_fit_stands_first() -> None:
    """The receipt says so."""
    ctx = manager(15)
    say(ctx, "u 1 1 1 1 1 1", "a 1", "u 2")
    ctx.pin(2)
    assert left(ctx) == ["a 1", "u 2"]
    release = ("release", "protected, but the rest does not fit", (1,))
    keep = ("keep", "it must stay, and the user message of its turn does not fit", (2,))
    assert done(ctx) == [release, keep]
    ctx.unpin(2)
    say(ctx, "a 2", "u 3")
    assert left(ctx) == ["u 3"]


def test_a_question_comes_back_where_others_have_made_room() -> None:
    """It was dropped for a protected unit that had to leave after all."""
    ctx = manager(22, Protecting([1]), "drop-oldest")
    say(ctx, "u " + "1 " * 20, "u 2", "a 2", "u 3")
    ctx.pin(3)
    assert left(ctx) == ["u 2", "a 2", "u 3"]
    back = "the turn of message 3, which must stay, begins with it"
    assert done(ctx)[-2:] == [
        ("release", "protected, but the rest does not fit", (1,)),
        ("bring-back", back, (2,)),
    ]


def test_a_question_that_a_summary_tells_of_does_not_come_back() -> None:
    """Though the summary is a system message, and does not begin the window."""
    folds = Writes("system", 6, text="all")
    ctx = manager(34, Writes("user", 1, 2, 3, text="told in some words"), folds)
    say(ctx, "u 1", "a 1", "u 2 2 2 2 2", "a 2", "u 3 3 3")
    assert left(ctx) == ["told in some words", "a 2", "u 3 3 3"]
    ctx.pin(4)
    say(ctx, "a 3", "u 4")
    assert left(ctx) == ["all", "a 2", "u 3 3 3", "a 3", "u 4"]


def test_a_summary_of_the_model_may_not_begin_a_window() -> None:
    """Its plan is rejected, and the next strategy is asked."""
    ctx = manager(26, Writes("assistant", 1, 2))
    say(ctx, "u 1 1 1", "a 1", "u 2", "a 2", "u 3")
    assert left(ctx) == ["u 2", "a 2", "u 3"]
    assert ctx.last_receipt is not None
    (rejection,) = ctx.last_receipt.rejected
    assert (rejection.strategy, rejection.law) == ("writes-assistant", "L17")
    assert "its role must be user, not assistant" in rejection.reason


@pytest.mark.parametrize(
    ("role", "ids", "window"),
    [
        ("assistant", (2, 3), ["u 1 1 1", "told", "a 2", "u 3"]),  # behind a user message
        ("user", (1, 2), ["told", "u 2", "a 2", "u 3"]),
        ("system", (1, 2), ["told", "u 2", "a 2", "u 3"]),  # a system message like others
        ("system", (1,), ["told", "u 2", "a 2", "u 3"]),  # behind which an answer cannot stand
    ],
)
def test_summaries_that_may_stand_where_they_do(
    role: str, ids: tuple[int, ...], window: list[str]
) -> None:
    """A summary begins a window as a user message, or stands before its beginning."""
    ctx = manager(29, Writes(role, *ids))
    say(ctx, "u 1 1 1", "a 1", "u 2", "a 2", "u 3")
    assert left(ctx) == window
    ctx = manager(15, Writes("assistant", 1, 2))
    say(ctx, "a 1 1 1", "a 2", "a 3")
    assert left(ctx) == ["told", "a 3"]  # the log has no user message


def test_a_summary_that_loses_its_user_message_leaves() -> None:
    """It was behind one when it was written."""
    ctx = manager(24, Writes("assistant", 2, 3))
    say(ctx, "u 1 1 1", "a 1", "u 2", "u 3")
    assert left(ctx) == ["u 1 1 1", "told", "u 3"]
    say(ctx, "u 4")
    assert left(ctx) == ["u 3", "u 4"]


def test_an_open_exchange_leaves_with_its_turn() -> None:
    """A late result does not put it before the first user message; its pin would."""
    for pinned in (False, True):
        ctx = manager(26)
        say(ctx, "u 1")
        call(ctx, "late")
        say(ctx, "u 2", "a 2", "u 3", "a 3", "u 4")
        if pinned:
            ctx.pin(2)
        assert left(ctx) == ["u 3", "a 3", "u 4"]
        reason = "1 of its calls lack a result" + (", and its turn has left" * (not pinned))
        assert ("leave-out", reason, (2,)) in done(ctx)
        ctx = ContextManager.from_dict(
            json.loads(json.dumps(ctx.to_dict())), budget=Budget(60), counter=WordCounter()
        )
        assert out(ctx) == [2]
        ctx.add_message("tool", "r", tool_call_id="late")
        assert out(ctx) == []
        assert left(ctx)[0] == (None if pinned else "u 3")
        ctx.rewind(8)
        assert out(ctx) == [2]
        assert all(message.id != 2 for message in ctx.forget())
        ctx.add_message("tool", "again", tool_call_id="late")
        assert left(ctx)[0] == (None if pinned else "u 3")


def test_a_late_result_that_is_pinned_brings_its_exchange_back() -> None:
    """It stands before the first user message: that of its turn has left."""
    ctx = manager(31)
    say(ctx, "u 1")
    call(ctx, "late")
    say(ctx, "u 2", "a 2", "u 3")
    ctx.prune_history()
    say(ctx, "a 3", "u 4")
    assert left(ctx)[0] == "u 3"
    ctx.append({"role": "tool", "tool_call_id": "late", "content": "r"}, pinned=True)
    assert left(ctx) == [None, "r", "u 4"]


def test_a_call_that_is_pending_again_comes_back() -> None:
    """A rewind makes it the newest unit."""
    ctx = manager(25)
    say(ctx, "u 1")
    call(ctx, "late")
    say(ctx, "u 2", "a 2", "u 3")
    assert left(ctx) == ["u 2", "a 2", "u 3"]
    ctx.rewind(3)
    assert left(ctx) == ["u 1", None]
    ctx.add_message("tool", "r", tool_call_id="late")
    assert left(ctx) == ["u 1", None, "r"]


def test_a_commit_is_a_cut() -> None:
    """What its summary leaves before the first user message goes with it."""
    from ctxwin import Summarize
    from ctxwin.testing import ScriptedSummarizer

    class Folds:
        @hookimpl
        def ctxwin_prune(self, request: PruneRequest) -> Any:
            units: list[Unit] = list(request.units[:1])
            text = yield Summarize(len, units[0].messages, max_tokens=9)  # type: ignore[arg-type]
            return Plan.replace(units, text, role="system", reason="folded")

    ctx = ContextManager(
        budget=Budget(60, low=0.2, soft=0.1), counter=WordCounter(), strategies=[Folds()]
    )
    say(ctx, "u 1 1 1 1 1 1", "a 1", "u 2")
    ticket = ctx.prepare()
    assert ticket is not None
    receipt = ctx.commit(ticket.run(ScriptedSummarizer("told")))
    assert [action.kind for action in receipt.actions] == ["replace", "drop"]
    assert left(ctx) == ["told", "u 2"]


class Strict(WordCounter):
    """Refuses a request whose roles do not alternate, as some chat templates do."""

    additive = False

    def __init__(self) -> None:
        super().__init__()
        self.refused = 0

    def count_request(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> int:
        roles = [wire["role"] for wire in messages]
        if any(role != ("user", "assistant")[place % 2] for place, role in enumerate(roles)):
            self.refused += 1
            raise ValueError("roles must alternate")
        return super().count_request(messages, tools)


def test_a_cut_that_the_counter_refuses_is_made_smaller() -> None:
    """Whole turns leave from the head until it is taken, each step twice as many."""
    counter = Strict()
    ctx = manager(60, Drops(8), counter=counter)
    for number in range(5):
        say(ctx, f"u {number}", f"a {number}")
    say(ctx, "u 5")
    assert left(ctx) == ["u 4", "a 4", "u 5"]
    assert counter.refused == 2  # with the turns 1 to 4, and 2 to 4
    refused = [ids for _, reason, ids in done(ctx) if reason.startswith("the counter refuses")]
    assert refused == [(3,), (4,), (5,), (6,), (7,)]


def test_a_conversation_that_the_counter_never_takes_goes_by_the_sum() -> None:
    """Nothing leaves in vain; and what was not cut is sent as it is."""
    ctx = manager(40, counter=Strict())
    log = ["u 1", "u 2", "a 2", "u 3", "u 4"]
    say(ctx, *log)
    ctx.prune_history()
    assert left(ctx) == log
    ctx = manager(27, counter=Strict())
    say(ctx, "u 0", "a 0", *log[1:])
    ctx.pin(5)
    assert left(ctx) == log[1:]
    ctx = manager(9, counter=Strict())
    say(ctx, *log)
    ctx.pin(4)
    with pytest.raises(BudgetError):
        ctx.messages()
