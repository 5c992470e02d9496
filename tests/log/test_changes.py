"""Every change, in every state: it is carried out whole, or raises and changes nothing."""

import copy
import json
from collections.abc import Callable
from typing import Any

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from ctxwin import ContextManager, CounterError, MessageError, StateError
from ctxwin.laws.laws import protected_by_law
from ctxwin.log.changes import (
    Append,
    Change,
    Cut,
    Edited,
    Forget,
    Learn,
    Pin,
    Restore,
    Rewind,
    SetTools,
    Written,
)
from ctxwin.pruning.draft import Snapshot
from ctxwin.testing import HistoryMachine
from ctxwin.testing.strategies import messages
from ctxwin_plugins.summarize_history import SummarizeHistory

CONTENTS = st.sampled_from(["short", "", None, "word " * 30, [{"type": "text", "text": "x"}], 7])
TOKENS = st.one_of(st.none(), st.integers(0, 40))
JUNK: Any = st.sampled_from([None, 7, -1, "x", [], {}, [[]], {"role": "villain"}, True])


def subset(data: st.DataObject, ids: list[int]) -> tuple[int, ...]:
    """A few ids that are there, each once; now and then also one twice, or one that is not."""
    few = st.lists(st.sampled_from(ids), max_size=3, unique=True) if ids else st.just([])
    stray = st.sampled_from([[], [], [], [], [10**6], ids[:1] * 2])
    return tuple(data.draw(few) + data.draw(stray))


def draw_cut(data: st.DataObject, ctx: ContextManager) -> Cut:
    log = [m.id for m in ctx.conversation_history]
    snapshot = Snapshot.of(ctx._keeper.conversation)
    may_go = [u.first for u in snapshot.units if not protected_by_law(u, snapshot.context)]
    state = ctx.to_dict()
    message = st.sampled_from(
        [{"role": "user", "content": "a summary"}, {"role": "tool", "content": "x"}]
    )
    written = st.builds(
        Written,
        st.sampled_from([state["next_id"], state["next_id"] + 1, *log[-1:]]),
        message,
        st.lists(st.sampled_from(log or [1]), max_size=3).map(lambda ids: tuple(sorted(set(ids)))),
        tokens=TOKENS,
    )
    edited = st.builds(Edited, st.sampled_from([*log, 10**6]), CONTENTS, TOKENS)
    return Cut(
        gone=subset(data, may_go),
        written=tuple(data.draw(st.just([]) | st.lists(written, max_size=2))),
        edits=tuple(data.draw(st.just([]) | st.lists(edited, max_size=2))),
        request_gap=data.draw(st.sampled_from([0, 0, 0, 1, -1])),
        failures=data.draw(st.sampled_from([{}, {"x": (1, 0)}, {"x": (3, 9)}])),
        settled=data.draw(st.booleans()),
    )


def draw_state(data: st.DataObject, ctx: ContextManager) -> Any:
    """The present state, perhaps with junk somewhere in it."""
    state = json.loads(json.dumps(ctx.to_dict()))
    at: Any = state
    if data.draw(st.booleans()):
        return state
    for _ in range(data.draw(st.integers(0, 2))):
        values = at.values() if isinstance(at, dict) else at
        inside = [value for value in values if isinstance(value, dict | list) and value]
        at = data.draw(st.sampled_from(inside)) if inside else at
    keys: list[Any] = sorted(at) if isinstance(at, dict) else list(range(len(at)))
    at[data.draw(st.sampled_from(keys))] = data.draw(JUNK)
    return state


def draw_change(data: st.DataObject, ctx: ContextManager) -> Change:
    """Any change, made for a conversation that is more or less like this one."""
    ids = st.sampled_from([m.id for m in (*ctx.conversation_history, *ctx)] + [0, 10**6])
    next_id = ctx.to_dict()["next_id"]
    kind = data.draw(
        st.sampled_from([Append, Pin, Rewind, Cut, Cut, Learn, SetTools, Restore, Forget])
    )
    made: dict[Any, Callable[[], Change]] = {
        Append: lambda: Append(
            data.draw(st.sampled_from([next_id, next_id + 3, max(1, next_id - 1)])),
            data.draw(messages()),
            data.draw(st.booleans()),
            data.draw(TOKENS),
        ),
        Pin: lambda: Pin(data.draw(ids), data.draw(st.booleans())),
        Rewind: lambda: Rewind(data.draw(ids)),
        Cut: lambda: draw_cut(data, ctx),
        Learn: lambda: Learn(data.draw(st.integers(-3, 30)), data.draw(st.integers(400, 2100))),
        SetTools: lambda: SetTools(
            data.draw(st.sampled_from([[], [{"type": "function"}], [object()], ["x"]]))
        ),
        Restore: lambda: Restore(draw_state(data, ctx)),
        Forget: Forget,
    }
    return made[kind]()


class ChangesMachine(HistoryMachine):
    """Any change is tried on a copy of the manager, between all that callers do."""

    def strategies(self) -> list[object]:
        return ["clear-tool-results", SummarizeHistory(keep_last_turns=1, max_summary_tokens=30)]

    @rule(data=st.data())
    def try_any_change(self, data: st.DataObject) -> None:
        # Not the counter that records what it was asked: sums of that never count as exact.
        options = {**self.options, "counter": self.counter}
        trial = ContextManager.from_dict(json.loads(json.dumps(self.ctx.to_dict())), **options)
        list(trial)  # counted, so that nothing of `to_dict` waits for a count
        change, conversation = draw_change(data, trial), trial._keeper.conversation
        given, before, window = copy.deepcopy(change), trial.to_dict(), list(trial)
        version = conversation.version
        try:
            conversation.apply(change)
        except (MessageError, StateError, CounterError, TypeError) as error:
            event(f"{type(change).__name__} raised {type(error).__name__}")
            assert trial.to_dict() == before
            assert (list(trial), conversation.version) == (window, version)
            return
        event(f"{type(change).__name__} was carried out")
        assert change == given
        list(trial)
        total = sum(unit.tokens for unit in conversation.window.units)
        gap = conversation.request_gap
        counted = conversation.window.base_tokens + total + gap
        assert trial.total_tokens == conversation.billed(counted)
        places = [unit.place for unit in conversation.window.units]
        assert places == sorted(set(places))
        state = trial.to_dict()
        again = ContextManager.from_dict(json.loads(json.dumps(state)), **options)
        again.tools = trial.tools
        assert list(again) == list(trial)


def test_every_change_is_carried_out_whole_or_not_at_all() -> None:
    """By a machine that calls everything else as well."""
    profile = settings()
    steps = settings(profile, stateful_step_count=30, report_multiple_bugs=False)
    run_state_machine_as_test(ChangesMachine, settings=steps)
