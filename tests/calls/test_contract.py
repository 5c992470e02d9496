"""The contract of plugins around the call: helpful ones keep it, faulty ones are found."""

from dataclasses import replace
from typing import Any

import pytest

import ctxwin.calls.asking
import ctxwin.calls.requests
import ctxwin.calls.shaping
from around import Admits, Answers, Routes, Shapes
from ctxwin import (
    Answer,
    Budget,
    Call,
    Observation,
    RefusedError,
    Request,
    Route,
    RouteRequest,
    hookimpl,
)
from ctxwin.calls import endings
from ctxwin.calls.endings import Endings
from ctxwin.calls.forks import Forks
from ctxwin.calls.requests import Around
from ctxwin.log.conversation import Conversation
from ctxwin.log.keeper import InMemory
from ctxwin.testing import CallContract, Script, Turn, check_plugin
from ctxwin.testing.calls import laws
from ctxwin.testing.calls.companions import Raises
from ctxwin.testing.calls.contract import EVERY_ENDING
from ctxwin.testing.calls.script import ENDINGS
from ctxwin.values import request


class Router:
    """Sends what asks for a proof to another model."""

    @hookimpl
    def ctxwin_route(self, request: RouteRequest) -> Any:
        question = request.question
        model = yield Call(
            lambda: "gpt-4o" if question and "prove" in str(question.content) else None
        )
        return Route(model=model, tags={"complexity": "complex" if model else "simple"})


class Everything:
    """Has every hook."""

    @hookimpl
    def ctxwin_route(self, request: RouteRequest) -> Route | None:
        return Route(max_output_tokens=20, tags={"arm": "a"})

    @hookimpl
    def ctxwin_answer(self, request: Request) -> Answer | None:
        return Answer("again") if request.messages[-1]["content"] == "what" else None

    @hookimpl
    def ctxwin_shape(self, request: Request) -> Request:
        marked = {**request.messages[0], "cache_control": {"type": "ephemeral"}}
        return replace(request, messages=(marked, *request.messages[1:]))

    @hookimpl
    def ctxwin_admit(self, request: Request) -> None:
        if len(request.messages) > 12:
            raise RefusedError("too long")

    @hookimpl
    def ctxwin_observed(self, observation: Observation) -> None:
        """Say nothing."""


class TestRouter(CallContract):
    def plugin(self) -> object:
        return Router()


class TestEverything(CallContract):
    def plugin(self) -> object:
        return Everything()


def test_a_contract_needs_a_plugin() -> None:
    with pytest.raises(NotImplementedError, match="must define plugin"):
        CallContract().test_r1_fits()


class NeedsUsage:
    """Does not expect an ending without usage."""

    @hookimpl
    def ctxwin_observed(self, observation: Observation) -> None:
        assert observation.usage is not None
        observation.usage.input_tokens + observation.usage.output_tokens


class Fails:
    """Expects that every call succeeds."""

    @hookimpl
    def ctxwin_observed(self, observation: Observation) -> None:
        raise RuntimeError(observation.status)


FAULTY: dict[str, tuple[Any, str]] = {
    "shape drops a message": (lambda: Shapes(lambda r: replace(r, messages=r.messages[1:])), "R4"),
    "shape says something": (
        lambda: Shapes(
            lambda r: replace(r, messages=(*r.messages, {"role": "user", "content": "x"}))
        ),
        "may not change the messages",
    ),
    "shape raises the cap": (lambda: Shapes(lambda r: replace(r, max_output_tokens=10**6)), "R4"),
    "shape fails": (lambda: Shapes(lambda r: r.messages[99]), "R4"),
    "route returns junk": (lambda: Routes(lambda _: "gpt-4o"), "R4"),
    "route is async": (lambda: Routes(lambda _: _coroutine()), "R4"),
    "answer returns text": (lambda: Answers(lambda _: "yes"), "R4"),
    "expects usage": (NeedsUsage, "R4"),
    "observed fails": (Fails, "R4"),
}


async def _coroutine() -> None:
    """Never awaited."""


@pytest.mark.parametrize("fault", FAULTY)
def test_faulty_plugins_are_found(fault: str) -> None:
    """By the script with every ending at the latest; the text says what it did."""
    make, says = FAULTY[fault]
    with pytest.raises(AssertionError, match=says):
        check_plugin(make)


class Counts:
    """Gives each request a parameter of its own: it depends on what was before."""

    made = 0

    @hookimpl
    def ctxwin_shape(self, request: Request) -> Request:
        type(self).made += 1
        return replace(request, params={**request.params, "number": self.made})


def test_a_plugin_that_depends_on_its_past_is_found() -> None:
    """Two of it do not do the same."""
    with pytest.raises(AssertionError, match="R4"):
        check_plugin(Counts)


def play(*plugins: object, turns: Any = EVERY_ENDING.turns, **options: Any) -> Any:
    return Script(turns).play(plugins, **options)


LONG = [
    Turn(f"question {number} w w w w w w", options=options)
    for number in range(8)
    for options in ({}, {"model": "gpt-4o", "budget": Budget(90)})
]


def send_cheaply(original: Any) -> Any:
    """Say that the window costs less than it does."""

    def send(self: Conversation, request_id: str = "") -> Any:
        units = original(self, request_id)
        self.sent_tokens = (self.sent_tokens or 0) - 1
        return units

    return send


def test_r1_has_a_mutant(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that says too little."""
    laws.fits(play())
    monkeypatch.setattr(Conversation, "send", send_cheaply(Conversation.send))
    with pytest.raises(AssertionError, match="R1"):
        laws.fits(play())


def test_r1_has_another_mutant(monkeypatch: pytest.MonkeyPatch) -> None:
    """A routed request that is not fitted into its own budget."""
    laws.fits(play(turns=LONG))
    monkeypatch.setattr(
        Around,
        "place",
        lambda self, model, budget: (InMemory(self.keeper.conversation), self.pruned),
    )
    with pytest.raises(AssertionError, match="R1"):
        laws.fits(play(turns=LONG))


def test_r2_has_a_mutant(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a plugin makes of a request is taken as it is."""
    plugin = Shapes(lambda r: replace(r, messages=r.messages[1:]))
    laws.says_the_same(play(plugin))
    monkeypatch.setattr(
        ctxwin.calls.asking, "shaped", lambda before, after, _: replace(after, _origin=before)
    )
    with pytest.raises(AssertionError, match="R2"):
        laws.says_the_same(play(plugin))


def test_r3_has_a_mutant(monkeypatch: pytest.MonkeyPatch) -> None:
    """A routed request that is fitted by the conversation's own window."""
    laws.grows(play(turns=LONG))

    def place(self: Around, model: Any, budget: Budget) -> Any:
        self.keeper.conversation.budget = budget
        return InMemory(self.keeper.conversation), self.pruned

    monkeypatch.setattr(Around, "place", place)
    with pytest.raises(AssertionError, match="R3"):
        laws.grows(play(turns=LONG))


def test_r3_has_another_mutant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forks that are made anew for each request do not keep what they cut."""
    turns = [Turn(f"question {number}", options={"model": "gpt-4o"}) for number in range(4)]
    laws.grows(play(turns=turns))

    def get(self: Forks, keeper: Any, model: Any, budget: Any, *, other: bool) -> Any:
        with keeper.lock:
            copy = InMemory(keeper.conversation.under(budget, keeper.conversation.costs))
        copy.conversation.window.units[1:-1] = []
        return copy

    monkeypatch.setattr(Forks, "get", get)
    with pytest.raises(AssertionError, match="R3"):
        laws.grows(play(turns=turns))


def test_r4_has_a_mutant(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook's failure that reaches the caller, or keeps the next plugin from being asked."""
    laws.same(play(Router()), play(Raises(), Router()), "R4")
    original = ctxwin.calls.asking._ask

    def ask(owner: Any, name: str, hook: Any, request: Any, kind: type) -> Any:
        said = yield from original(owner, name, hook, request, kind)
        return Route(model="gpt-4o") if said is None and kind is Route else said

    monkeypatch.setattr(ctxwin.calls.asking, "_ask", ask)
    with pytest.raises(AssertionError, match="R4"):
        laws.same(play(Router()), play(Raises(), Router()), "R4")


def test_r5_has_a_mutant(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second ending that is told."""
    laws.ends_once(play())
    monkeypatch.setattr(Endings, "claim", lambda *_: True)
    with pytest.raises(AssertionError, match="R5"):
        laws.ends_once(play())


def test_r5_has_another_mutant(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal that nobody hears of."""

    def refuse(request: Request) -> None:
        raise RefusedError("no")

    laws.ends_once(play(Admits(refuse)))
    original = Around.tell
    monkeypatch.setattr(
        Around, "tell", lambda self, o: None if o.status == "refused" else original(self, o)
    )
    with pytest.raises(AssertionError, match="R5"):
        laws.ends_once(play(Admits(refuse)))


def test_r6_has_a_mutant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plugins that are asked in the chain's order whatever their hooks, so that it matters."""
    plugins = [
        Routes(lambda _: Route(max_output_tokens=9)),
        Shapes(lambda r: replace(r, params={"a": 1})),
    ]
    laws.same(play(*plugins), play(*plugins[::-1]), "R6")
    original = ctxwin.calls.requests._Fitting

    def fitting(around: Around, asked: Any) -> Any:
        names = [strategy.name for strategy in around.chain.strategies]
        first = names.index("shapes") < names.index("routes")
        return original(around, asked._replace(max_output_tokens=None) if first else asked)

    monkeypatch.setattr(ctxwin.calls.requests, "_Fitting", fitting)
    with pytest.raises(AssertionError, match="R6"):
        laws.same(play(*plugins), play(*plugins[::-1]), "R6")


def test_r7_has_a_mutant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tags of a request that stay for the next conversation's."""
    kept: dict[str, str] = {}
    original = request.checked_tags

    def leaky(tags: Any) -> Any:
        if not kept:
            kept.update(original(tags))
        return {**original(tags), **kept}

    for user in ("ann", "bob"):
        laws.tags_are_own(Script(EVERY_ENDING.turns, user).play([]), user)
    monkeypatch.setattr(endings, "checked_tags", leaky)
    Script(EVERY_ENDING.turns, "ann").play([])
    with pytest.raises(AssertionError, match="R7"):
        laws.tags_are_own(Script(EVERY_ENDING.turns, "bob").play([]), "bob")


def test_every_ending_is_in_the_first_script() -> None:
    """So that no draw decides whether one is tried."""
    assert {turn.ending for turn in EVERY_ENDING.turns} == set(ENDINGS)
