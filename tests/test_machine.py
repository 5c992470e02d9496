"""
All laws together, over any sequence of calls.

The model is a plain list of what was appended. Windows are judged by `checker`, which shares no code with the laws.
"""

import json
from typing import Any

import pytest
from hypothesis import assume, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from checker import SYSTEM, Logged, judge, kept_units
from ctxwin import Budget, BudgetError, ContextManager, Message
from ctxwin.counting import CallableCounter
from ctxwin.hookspecs import hookimpl
from ctxwin.plan import Plan, PruneRequest, Summarize
from generators import Wire, budgets, counters, messages, results
from hostile import BEHAVIOURS, MANAGERS, Hostile, HostileProtector

EDITORS = [("drop-oldest",), ("clear-tool-results",), ("clamp-oversized", "clear-tool-results")]


class Summarizer:
    """A generator strategy whose model answers now and then, and fails otherwise."""

    name = "summarizer"

    def __init__(self) -> None:
        self.calls = 0

    def _answer(self, messages: object, previous: str | None, max_tokens: int) -> str:
        self.calls += 1
        if self.calls % 3 == 0:
            raise TimeoutError("the model is away")
        return "" if self.calls % 5 == 0 else "s"

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Any:
        units = [unit for unit in request.droppable if unit.tokens][:4]
        if not units:
            return None
        return self._flow(units, request.previous_summary)

    def _flow(self, units: list[Any], previous: str | None) -> Any:
        text = yield Summarize(self._answer, units[0].messages, previous, max_tokens=10)
        return Plan.replace(units, text, reason="older turns")


class Words(CallableCounter):
    """A named counter that counts how often it is asked about a message."""

    name = "words"

    def __init__(self, count_text: Any, *, exact: bool, additive: bool) -> None:
        super().__init__(count_text)
        self.exact = exact
        self.additive = additive
        self.asked: list[Any] = []

    def count_message(self, message: Any) -> int:
        self.asked.append(message.get("uid"))
        return super().count_message(message)

    def count_request(self, messages: Any, tools: Any = ()) -> int:
        return CallableCounter(self._count_text).count_request(messages, tools)


class ManagerMachine(RuleBasedStateMachine):
    """Appends, cuts, pins, plans, saves, loads, and lets strategies misbehave."""

    @initialize(
        budget=budgets(),
        low=st.floats(0.05, 1),
        count=counters(),
        chain=st.sampled_from(EDITORS),
        summarize=st.booleans(),
        exact=st.booleans(),
        additive=st.booleans(),
    )
    def start(
        self, budget: int, low: float, count: Any, chain: tuple[str, ...], summarize: bool, exact: bool, additive: bool
    ) -> None:
        self.counter = Words(count, exact=exact, additive=additive)
        self.options: dict[str, Any] = {"budget": Budget(budget, low=low), "counter": self.counter}
        extra = [Summarizer()] if summarize else []
        self.options["strategies"] = [*extra, *chain]
        self.edits = len(chain) > 1 or chain != ("drop-oldest",)
        self.ctx = ContextManager(**self.options)
        MANAGERS[:] = [self.ctx]
        self.log: list[Logged] = []
        self.forgotten: list[Logged] = []
        self.ids: dict[int, int] = {}
        self.uid = 0
        self.window: list[Wire] | None = None
        self.hostile = summarize
        self.corrected = False

    # What the caller does.

    def _log(self, wire: Wire, message: Message, *, pinned: bool) -> None:
        self.log.append(Logged(wire, pinned or wire["role"] in SYSTEM))
        self.ids[wire["uid"]] = message.id

    def _wire(self, wire: Wire) -> Wire:
        self.uid += 1
        return {**wire, "uid": self.uid}

    @rule(wire=st.one_of(messages(), results()), pinned=st.integers(0, 9))
    def append(self, wire: Wire, pinned: int) -> None:
        wire = self._wire(wire)
        given = json.dumps(wire)
        message = self.ctx.append(wire, pinned=pinned == 0)
        assert json.dumps(wire) == given, "L9: the input was mutated"
        assert message.to_dict() == wire
        self._log(wire, message, pinned=pinned == 0)

    @rule(wires=st.lists(st.one_of(messages(), messages(), results()), max_size=6), spoil=st.booleans())
    def extend(self, wires: list[Wire], spoil: bool) -> None:
        wires = [self._wire(wire) for wire in wires]
        if spoil:
            before = self.ctx.to_dict()
            with pytest.raises(ValueError, match="role"):
                self.ctx.extend([*wires, {"role": "villain", "content": ""}])
            assert self.ctx.to_dict() == before
            return
        for wire, message in zip(wires, self.ctx.extend(wires), strict=True):
            self._log(wire, message, pinned=False)

    @rule(pick=st.integers(0, 10**6), pinned=st.booleans())
    def pin_or_unpin(self, pick: int, pinned: bool) -> None:
        assume(self.log)
        logged = self.log[pick % len(self.log)]
        (self.ctx.pin if pinned else self.ctx.unpin)(self.ids[logged.uid])
        logged.pinned = pinned
        self.window = None

    @rule(back=st.integers(1, 4))
    def rewind(self, back: int) -> None:
        assume(self.log)
        back = min(back, len(self.log))
        cut = self.ctx.rewind(self.ids[self.log[-back].uid])
        assert [message.to_dict() for message in cut] == [logged.wire for logged in self.log[-back:]]
        del self.log[-back:]
        self.window = None

    @rule()
    def forget(self) -> None:
        before = [message.to_dict() for message in self.ctx]
        gone = {message.id for message in self.ctx.forget()}
        assert [message.to_dict() for message in self.ctx] == before
        self.forgotten += [logged for logged in self.log if self.ids[logged.uid] in gone]
        self.log = [logged for logged in self.log if self.ids[logged.uid] not in gone]

    @rule()
    def prune(self) -> None:
        expected: Any = None
        try:
            if not self.hostile:
                expected = self.ctx.plan()
            receipt = self.ctx.prune_history()
        except BudgetError as error:
            self._check_budget_error(error)
            return
        assert expected in (None, receipt)
        gone = {id_ for action in receipt.actions if action.kind != "edit" for id_ in action.message_ids}
        assert {message.id for message in receipt.evicted} <= gone, "L14: gone without a word"
        assert all(action.reason and action.strategy for action in receipt.actions)
        again = self.ctx.prune_history()
        assert not [action for action in again.actions if action.kind != "leave-out"], "L10: nothing was new"
        self.window = None

    @rule()
    def messages(self) -> None:
        receipt = self.ctx.last_receipt
        try:
            window = self.ctx.messages()
        except BudgetError as error:
            self._check_budget_error(error)
            return
        self._check_window(window)
        assert self.ctx.messages() == window, "L10: asking twice changed something"
        if receipt is self.ctx.last_receipt and self.window is not None:
            self._check_extends(self.window, window)
        elif receipt is not self.ctx.last_receipt:
            event("cut")
        self.window = window
        for wire in self.ctx.messages():
            wire.clear()
        assert self.ctx.messages() == window, "L9: a returned window was live"

    @rule(text=st.text(max_size=40), role=st.sampled_from(["user", "user", "assistant", "system"]))
    def preview(self, text: str, role: str) -> None:
        before = self.ctx.to_dict()
        preview = self.ctx.preview(text, role)
        assert self.ctx.to_dict() == before
        trial = self._restored()
        MANAGERS.append(trial)
        trial.append({"role": role, "content": text})
        assert preview.total_tokens == trial.total_tokens
        assert preview.remaining_tokens == trial.remaining_tokens
        assert preview.prunes == (trial.total_tokens > trial.max_tokens)
        try:
            trial.messages()
        except BudgetError:
            assert not preview.fits
        else:
            assert preview.fits
        finally:
            MANAGERS.pop()

    @rule()
    def save_and_load(self) -> None:
        state = json.loads(json.dumps(self.ctx.to_dict()))
        asked = len(self.counter.asked)
        self.ctx = self._restored()
        MANAGERS[:] = [self.ctx]
        assert self.ctx.to_dict() == state
        assert len(self.counter.asked) == asked, "L12: counted again after loading"

    @rule(factor=st.floats(0.2, 3))
    def observe(self, factor: float) -> None:
        window = [message.to_dict() for message in self.ctx]
        self.ctx.observe({"prompt_tokens": int(self.ctx.total_tokens * factor)})
        assert [message.to_dict() for message in self.ctx] == window
        self.corrected = True
        self.window = None

    # What strategies do.

    @rule(name=st.sampled_from(sorted(BEHAVIOURS)))
    def register_hostile(self, name: str) -> None:
        strategy = Hostile(f"{name}-{self.uid}", BEHAVIOURS[name])
        self.uid += 1
        first = self.ctx._chain.strategies[0].name
        self.ctx.register(strategy, before=first)
        self.options["strategies"] = [strategy, *self.options["strategies"]]
        self.hostile = self.edits = True

    @rule()
    def register_hostile_protector(self) -> None:
        known = [strategy.name for strategy in self.ctx._chain.strategies]
        if "hostile-protector" in known:
            with pytest.raises(ValueError, match="hostile-protector"):
                self.ctx.register(HostileProtector())
            assert [strategy.name for strategy in self.ctx._chain.strategies] == known
            return
        self.ctx.register(HostileProtector())
        self.options["strategies"] = [HostileProtector(), *self.options["strategies"]]

    # What must hold.

    @invariant()
    def nothing_is_lost(self) -> None:
        if hasattr(self, "ctx"):
            history = [message.to_dict() for message in self.ctx.conversation_history]
            assert history == [logged.wire for logged in self.log], "L13"

    @invariant()
    def counted_once(self) -> None:
        if hasattr(self, "ctx"):
            asked = [uid for uid in self.counter.asked if uid is not None]
            assert self.edits or len(asked) == len(set(asked)), "L12"

    @invariant()
    def figures_agree(self) -> None:
        if hasattr(self, "ctx") and not self.corrected:
            assert self.ctx.remaining_tokens == self.ctx.max_tokens - self.ctx.total_tokens
            assert len(self.ctx) == len(list(self.ctx))

    def _restored(self) -> ContextManager:
        return ContextManager.from_dict(json.loads(json.dumps(self.ctx.to_dict())), **self.options)

    def _cost(self, window: Any) -> int:
        """The cost of a window, corrected as the manager was taught."""
        costs = self.ctx._state.costs
        plain = CallableCounter(self.counter._count_text)
        return costs.corrected(plain.count_request(window)) + costs.offset

    def _check_window(self, window: list[Wire]) -> None:
        faults = judge(self.log, window, max_tokens=self.ctx.max_tokens, cost=self._cost, may_edit=self.edits)
        assert not faults, faults

    def _check_budget_error(self, error: BudgetError) -> None:
        event("BudgetError")
        kept = [self.log[position].wire for unit in kept_units(self.log) for position in unit.positions]
        assert self._cost(kept) > self.ctx.max_tokens or self.edits, "L1: a dishonest BudgetError"
        assert error.required_tokens > error.budget_tokens == self.ctx.max_tokens

    def _check_extends(self, before: list[Wire], after: list[Wire]) -> None:
        """L11, a pending tail and late results apart."""
        kept = {wire["uid"] for wire in after if "uid" in wire}
        steady = [wire for wire in before if "uid" not in wire or wire["uid"] in kept]
        places = [after.index(wire) for wire in steady]
        assert places == sorted(places)
        complete = not any(wire.get("tool_calls") or wire.get("function_call") for wire in [*before, *after])
        if complete:
            assert after[: len(before)] == before, "L11"


def test_manager_machine() -> None:
    """Any sequence of calls keeps the laws."""
    profile = settings.default
    assert profile is not None
    steps = settings(
        profile, max_examples=max(60, profile.max_examples // 2), stateful_step_count=40, report_multiple_bugs=False
    )
    run_state_machine_as_test(ManagerMachine, settings=steps)
