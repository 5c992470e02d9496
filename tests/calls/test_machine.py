"""R1 to R7 over any sequence of calls, in managers and sessions, whatever plugins there are."""

import logging
import os
from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from around import Answers, Observes, Routes, Shapes
from ctxwin import (
    Answer,
    Budget,
    BudgetError,
    Call,
    ContextManager,
    RefusedError,
    Request,
    Route,
    hookimpl,
)
from ctxwin.sessions import MemoryStore, Sessions
from ctxwin.testing import WordCounter
from ctxwin.testing.calls import laws
from ctxwin.testing.calls.companions import Junk, Raises
from ctxwin.testing.calls.script import ENDINGS, STATUS, Played, Turn, Witness, _ended

SEQUENCES = int(os.environ.get("CTXWIN_CALL_SEQUENCES", "0"))  # 2000 take some minutes


def route(request: Any) -> Any:
    """Send what asks for a proof to another model, after a call."""
    asked = request.question.content if request.question is not None else ""
    model = yield Call(lambda: "gpt-4o" if "prove" in asked else None)
    return Route(model=model, tags={"arm": "a"})


def answer(request: Request) -> Answer | None:
    """Answer from a cache what was asked in one word."""
    last = request.messages[-1]["content"]
    return Answer("again") if last == "again" else None


def mark(request: Request) -> Request:
    """Mark the first message, set a parameter, and cap the reply."""
    first = {**request.messages[0], "cache_control": {"type": "ephemeral"}}
    messages = (first, *request.messages[1:])
    cap = min(request.max_output_tokens or 40, 40)
    params = {"seed": 1, **request.params}
    return replace(request, messages=messages, params=params, max_output_tokens=cap)


def rewrite(request: Request) -> Request:
    """Do what no plugin may."""
    said = tuple({**wire, "content": "x"} for wire in request.messages)
    return replace(request, messages=said, tokens=0, tags={"user": "eve"})


class Guard(Witness):
    """Admits what is short, and holds it until it ends."""

    name = "guard"

    def __init__(self) -> None:
        super().__init__()
        self.held: set[str] = set()

    @hookimpl
    def ctxwin_admit(self, request: Request) -> None:
        if len(request.messages) > 9:
            raise RefusedError("too long")
        self.held.add(request.id)

    @hookimpl
    def ctxwin_observed(self, observation: Any) -> None:
        self.held.discard(observation.request_id)


HELPFUL: dict[str, Any] = {
    "routes": lambda: Routes(route),
    "answers": lambda: Answers(answer),
    "shapes": lambda: Shapes(mark),
    "guard": Guard,
    "observes": Observes,
    "summarize-history": lambda: "summarize-history",
    "clear-tool-results": lambda: "clear-tool-results",
}
FAULTY: dict[str, Any] = {
    "raises": Raises,
    "junk": Junk,
    "rewrites": lambda: Shapes(rewrite, "rewrites"),
}
BUDGETS = [Budget(40), Budget(80), Budget(200), Budget(120, reserve_output=20)]
WORDS = st.sampled_from(["again", "prove it", "what is new today", "well " * 12])


class CallMachine(RuleBasedStateMachine):
    """A conversation with faulty plugins beside one without them."""

    @initialize(
        helpful=st.lists(st.sampled_from(sorted(HELPFUL)), unique=True),
        faulty=st.lists(st.sampled_from(sorted(FAULTY)), unique=True, min_size=1),
        place=st.integers(0, 9),
        budget=st.sampled_from(BUDGETS[1:]),
        stored=st.booleans(),
    )
    def begin(
        self, helpful: list[str], faulty: list[str], place: int, budget: Budget, stored: bool
    ) -> None:
        self.witnesses = [Witness(), Witness()]
        self.managers: list[Any] = []
        for witness, bad in zip(self.witnesses, (faulty, []), strict=True):
            plugins = [HELPFUL[name]() for name in helpful]
            at = min(place, len(plugins))
            plugins[at:at] = [FAULTY[name]() for name in bad]
            options: Any = {
                "budget": budget,
                "counter": WordCounter(),
                "model": "own",
                "strategies": [*plugins, witness],
                "tags": {"user": "ann"},
            }
            manager = (
                Sessions(MemoryStore()).open("s", **options)
                if stored
                else ContextManager(**options)
            )
            self.managers.append(manager)
            self.guards = [one for one in plugins if isinstance(one, Guard)]
        self.open: list[list[Request]] = []
        self.windows: list[tuple[Any, Any, Any]] = []

    def both(self, does: Any) -> list[Any]:
        """Do something to both conversations: it comes to the same."""
        found = []
        for manager in self.managers:
            try:
                found.append(does(manager))
            except (BudgetError, RefusedError) as error:
                found.append(type(error))
        return found

    @rule(role=st.sampled_from(["user", "user", "assistant", "system"]), words=WORDS)
    def say(self, role: Any, words: str) -> None:
        self.both(lambda ctx: ctx.add_message(role, words))

    @rule(words=WORDS)
    def use_a_tool(self, words: str) -> None:
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        self.both(lambda c: c.append({"role": "assistant", "content": None, "tool_calls": [call]}))
        self.both(lambda c: c.append({"role": "tool", "tool_call_id": "c", "content": words}))

    @rule(
        options=st.fixed_dictionaries(
            {},
            optional={
                "model": st.sampled_from(["gpt-4o", "own"]),
                "budget": st.sampled_from(BUDGETS),
                "fresh": st.booleans(),
                "feature": st.sampled_from(["chat", "search"]),
                "params": st.just({"seed": 2}),
            },
        )
    )
    def ask(self, options: Any) -> None:
        """R1 to R4, R7: a request."""
        self.both(lambda ctx: ctx.add_message("user", "so"))
        self.both(lambda ctx: ctx.messages())
        before = [list(ctx) for ctx in self.managers]
        cuts = self.witnesses[0].cuts
        made = self.both(lambda ctx: ctx.request(**options))
        assert [list(ctx) for ctx in self.managers] == before or made[0] is BudgetError
        assert all(type(one) is type(made[0]) for one in made)
        if not isinstance(made[0], Request):
            assert made[0] == made[1]
            return
        assert replace(made[0], id="") == replace(made[1], id="")
        request: Request = made[0]
        assert request.tags["user"] == "ann"
        for one in made:
            laws.says_the_same([played(one)])
            assert one.tokens <= one.budget.max_tokens
        keeper = self.managers[0]._around().known_place(request)
        place = keeper.conversation
        counted = place.costs.counter.count_request(list(request.origin.messages), request.tools)
        assert place.billed(place.costs.scaled(counted)) <= request.tokens
        own = self.managers[0].last_receipt if keeper is self.managers[0]._keeper else None
        sent = request.origin.messages
        for known_keeper, receipt, known in self.windows:  # of the newest request to each window
            if known_keeper is keeper and receipt is own and self.witnesses[0].cuts == cuts:
                assert sent[: len(known)] == known
        self.windows = [one for one in self.windows if one[0] is not keeper]
        self.windows.append((keeper, own, sent))
        self.open.append(made)

    @precondition(lambda self: self.open)
    @rule(place=st.integers(0, 9), ending=st.sampled_from(ENDINGS))
    def end(self, place: int, ending: Any) -> None:
        """R5: a request ends, in exactly one observation, whatever happened meanwhile."""
        made = self.open.pop(place % len(self.open))
        expected = "cached" if made[0].answer is not None else STATUS[ending]
        for ctx, witness, request in zip(self.managers, self.witnesses, made, strict=True):
            known = len(witness.observations)
            _ended(ctx, request, ending)
            (told,) = witness.observations[known:]
            assert (told.status, told.request_id) == (expected, request.id)
            assert told.tags["user"] == "ann"
        assert not {guarded for guard in self.guards for guarded in guard.held} - {
            request.id for pair in self.open for request in pair
        }

    @rule()
    def bill(self) -> None:
        """Without a request, after the window was sent."""
        self.both(
            lambda ctx: (ctx.messages(), ctx.observe({"prompt_tokens": ctx.total_tokens + 3}))
        )

    @rule(back=st.integers(1, 4))
    def rewind(self, back: int) -> None:
        log = self.managers[0].conversation_history
        if len(log) >= back:
            place = len(log) - back
            self.both(lambda ctx: ctx.rewind(ctx.conversation_history[place]))
            self.windows.clear()

    @rule(number=st.integers(0, 30))
    def pin(self, number: int) -> None:
        log = self.managers[0].conversation_history
        if log:
            place = number % len(log)
            self.both(lambda ctx: ctx.pin(ctx.conversation_history[place]))
            self.windows.clear()

    @rule(does=st.sampled_from(["prune_history", "forget"]))
    def release(self, does: str) -> None:
        self.both(lambda ctx: getattr(ctx, does)())

    @rule(tools=st.sampled_from([[], [{"type": "function", "function": {"name": "f"}}]]))
    def set_tools(self, tools: Any) -> None:
        self.both(lambda ctx: setattr(ctx, "tools", tools))

    @rule(budget=st.sampled_from(BUDGETS))
    def refit(self, budget: Budget) -> None:
        self.both(lambda ctx: ctx.refit(budget=budget))
        self.windows.clear()

    def teardown(self) -> None:
        for ctx in getattr(self, "managers", []):
            log = ctx.conversation_history
            assert [one.id for one in log] == sorted(one.id for one in log)


def played(request: Request) -> Played:
    return Played(Turn(""), None, (), request, None, (), 0)


def test_calls_machine() -> None:
    """A few sequences each time, 2,000 and more by hand."""
    profile = settings()
    examples = SEQUENCES or max(20, profile.max_examples // 4)
    steps = settings(
        profile, max_examples=examples, stateful_step_count=30, report_multiple_bugs=False
    )
    logger = logging.getLogger("ctxwin")
    logger.disabled = True  # every fault is logged, with its traceback
    try:
        run_state_machine_as_test(CallMachine, settings=steps)
    finally:
        logger.disabled = False
