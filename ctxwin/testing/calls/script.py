"""
Scripts: what callers do around their calls, turn by turn, and a record of what came of it.

A script plays on any manager, sync or async. The model is a stand-in that says how often it was
asked; its replies have the form of chat completions, and usage that is just what was predicted.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from hypothesis import strategies as st

from ctxwin import (
    Budget,
    BudgetError,
    ContextManager,
    Observation,
    Receipt,
    RefusedError,
    Request,
    hookimpl,
)
from ctxwin.testing.data.fakes import WordCounter

Ending: TypeAlias = Literal[
    "reply", "no-usage", "error", "timeout", "stream", "left", "dropped", "broken", "twice"
]
"""How a turn's call ends: a reply, one without usage, an HTTP error, none; a stream that is read to
its end, left early, dropped, or breaks; or a reply that is observed twice."""

ENDINGS: tuple[Ending, ...] = (
    *("reply", "no-usage", "error", "timeout"),
    *("stream", "left", "dropped", "broken", "twice"),
)
# What an observer is told of each; `cached` and `refused` apart, which plugins decide.
STATUS: Mapping[Ending, str] = {
    "reply": "ok",
    "no-usage": "ok",
    "twice": "ok",
    "stream": "ok",
    "error": "failed",
    "timeout": "unknown",
    "broken": "unknown",
    "left": "abandoned",
    "dropped": "abandoned",
}


@dataclass(frozen=True, slots=True)
class Turn:
    """
    A question, the request that it leads to, and how the call ends.

    Attributes:
        question: what the user says.
        ending: how the call ends.
        options: what is given to `request()`: a model, a budget, `fresh`, tags.
    """

    question: str
    ending: Ending = "reply"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Played:
    """
    What came of a turn.

    Attributes:
        turn: the turn.
        before, after: the conversation's own window before the request and when it was there; None
            where it did not fit.
        request: the request; None where it was refused or did not fit.
        error: why there is none.
        observations: what observers were told.
        cuts: how many cuts observers were told of.
    """

    turn: Turn
    before: Sequence[Any] | None
    after: Sequence[Any]
    request: Request | None
    error: Exception | None
    observations: tuple[Observation, ...]
    cuts: int


class Witness:
    """A plugin that remembers what observers are told."""

    name = "witness"

    def __init__(self) -> None:
        self.observations: list[Observation] = []
        self.cuts = 0

    @hookimpl
    def ctxwin_observed(self, observation: Observation) -> None:
        """Remember it."""
        self.observations.append(observation)

    @hookimpl
    def ctxwin_pruned(self, receipt: Receipt) -> None:
        """Count the cut."""
        self.cuts += bool(receipt.actions)


class HTTPError(Exception):
    """As a client raises for an HTTP answer that says no."""

    status_code = 500


@dataclass(frozen=True, slots=True)
class Script:
    """
    Turns, one after the other.

        script = Script([Turn("hello"), Turn("and now?", "timeout")])
        played = script.play([MyPlugin()])

    Attributes:
        turns: the turns.
        user: the tag `user` of the conversation.
    """

    turns: Sequence[Turn]
    user: str = "ann"

    def play(self, plugins: Sequence[object], **options: Any) -> list[Played]:
        """
        Play the turns on a new manager with these plugins.

        Args:
            plugins: strategies and plugins, in order.
            options: of the `ContextManager`; by default it counts words, up to 200 of them.
        """
        ctx, witness = self._begun(plugins, options)
        return [_played(ctx, witness, turn) for turn in self.turns]

    async def aplay(self, plugins: Sequence[object], **options: Any) -> list[Played]:
        """Do what `play` does, awaiting every method."""
        ctx, witness = self._begun(plugins, options)
        return [await _aplayed(ctx, witness, turn) for turn in self.turns]

    def _begun(
        self, plugins: Sequence[object], options: Mapping[str, Any]
    ) -> tuple[ContextManager, Witness]:
        witness = Witness()
        given = {"budget": Budget(200), "counter": WordCounter(), "model": "own", **options}
        ctx = ContextManager(strategies=[*plugins, witness], tags={"user": self.user}, **given)
        ctx.add_message("system", "be brief")
        return ctx, witness


def scripts(*, users: Sequence[str] = ("ann",)) -> st.SearchStrategy[Script]:
    """Generate scripts, for Hypothesis."""
    options = st.fixed_dictionaries(
        {},
        optional={
            "model": st.sampled_from(["gpt-4o", "own"]),
            "budget": st.sampled_from([Budget(60), Budget(200), Budget(120, reserve_output=20)]),
            "max_output_tokens": st.integers(1, 50),
            "fresh": st.booleans(),
            "params": st.just({"seed": 1}),
            "feature": st.sampled_from(["chat", "search"]),
        },
    )
    words = st.lists(st.sampled_from(["what", "is", "new", "why", "prove"]), min_size=1)
    question = words.map(" ".join)
    turns = st.lists(
        st.builds(Turn, question, st.sampled_from(ENDINGS), options), min_size=1, max_size=5
    )
    return st.builds(Script, turns, st.sampled_from(users))


def _played(ctx: ContextManager, witness: Witness, turn: Turn) -> Played:
    known, cuts = len(witness.observations), witness.cuts
    before = _asked(ctx, turn)
    request, error = None, None
    try:
        request = ctx.request(**turn.options)
    except (BudgetError, RefusedError) as raised:
        error = raised
    after = _window(ctx)
    if request is not None:
        _ended(ctx, request, turn.ending)
    told = tuple(witness.observations[known:])
    return Played(turn, before, after, request, error, told, witness.cuts - cuts)


async def _aplayed(ctx: ContextManager, witness: Witness, turn: Turn) -> Played:
    known, cuts = len(witness.observations), witness.cuts
    before = _asked(ctx, turn)
    request, error = None, None
    try:
        request = await ctx.arequest(**turn.options)
    except (BudgetError, RefusedError) as raised:
        error = raised
    after = _window(ctx)
    if request is not None:
        await _aended(ctx, request, turn.ending)
    told = tuple(witness.observations[known:])
    return Played(turn, before, after, request, error, told, witness.cuts - cuts)


def _asked(ctx: ContextManager, turn: Turn) -> Sequence[Any] | None:
    """Ask the question; returns the window then, None where it does not fit."""
    ctx.add_message("user", turn.question)
    with suppress(BudgetError):
        ctx.messages()
        return _window(ctx)
    return None


def _window(ctx: ContextManager) -> Sequence[Any]:
    """Return the window as it is: nothing is sent, and nothing is cut."""
    return [message.to_dict() for message in ctx]


def _ended(ctx: ContextManager, request: Request, ending: Ending) -> None:
    """End a request, and go on as a caller would."""
    if request.answer is not None:
        ctx.answered(request)
    elif ending in ("error", "timeout"):
        ctx.failed(request, HTTPError() if ending == "error" else TimeoutError())
    elif ending in ("reply", "no-usage", "twice"):
        for _ in range(1 + (ending == "twice")):
            ctx.observe(_reply(request, usage=ending != "no-usage"), request)
        ctx.add_message("assistant", _text(request))
    else:
        view = ctx.streamed(_chunks(request, ending), request)
        with suppress(ConnectionError):
            for _ in view:
                if ending in ("left", "dropped"):
                    break
        if ending == "left":
            view.close()
        ctx.add_message("assistant", _text(request))


async def _aended(ctx: ContextManager, request: Request, ending: Ending) -> None:
    if request.answer is not None:
        await ctx.aanswered(request)
    elif ending in ("error", "timeout"):
        await ctx.afailed(request, HTTPError() if ending == "error" else TimeoutError())
    elif ending in ("reply", "no-usage", "twice"):
        for _ in range(1 + (ending == "twice")):
            await ctx.aobserve(_reply(request, usage=ending != "no-usage"), request)
        ctx.add_message("assistant", _text(request))
    else:
        view = ctx.streamed(_achunks(request, ending), request)
        with suppress(ConnectionError):
            async for _ in view:
                if ending in ("left", "dropped"):
                    break
        if ending == "left":
            await view.aclose()
        ctx.add_message("assistant", _text(request))


def _text(request: Request) -> str:
    return f"reply to {len(request.messages)}"


def _reply(request: Request, *, usage: bool) -> dict[str, Any]:
    """Return a reply of chat completions."""
    stated = {"prompt_tokens": request.tokens, "completion_tokens": 3} if usage else None
    message = {"role": "assistant", "content": _text(request)}
    choice = {"message": message, "finish_reason": "stop"}
    return {"id": request.id, "model": request.model, "choices": [choice], "usage": stated}


def _chunks(request: Request, ending: Ending) -> Iterator[dict[str, Any]]:
    """Yield a reply in chunks."""
    for word in _text(request).split():
        yield {"id": request.id, "choices": [{"delta": {"content": word}}]}
    if ending == "broken":
        raise ConnectionError("cut")
    yield {"choices": [], "usage": {"prompt_tokens": request.tokens, "completion_tokens": 3}}


async def _achunks(request: Request, ending: Ending) -> AsyncIterator[dict[str, Any]]:
    for chunk in _chunks(request, ending):
        yield chunk
