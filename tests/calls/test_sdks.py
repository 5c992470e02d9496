"""Requests by the real SDKs: each ends in one observation that says how, and what was billed."""

import asyncio
import gc
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import pytest

from around import Admits, Answers, Observes, chat
from ctxwin import Answer, ContextManager, Observation, RefusedError, Request, Usage
from sdks import APIS, COLOURS, Caller, caller, done, each
from stub_server import Refusal, Reply, Stub

SOME = 5  # parts: then the first word has come
TINY = 0.05  # seconds; the reply that is waited for never comes
TEXT = "It left on Monday, and it is on its way."
BILLED = Usage(15, 9, cache_read_tokens=4)
WHOLE = Reply(TEXT, BILLED, model="as-dated")
BARE = Reply(TEXT, None, model="as-dated")
CUT_OFF = Reply(TEXT, BILLED, "length", model="as-dated")


def refuses(_: Request) -> None:
    raise RefusedError("enough for today")


@dataclass(frozen=True)
class Case:
    """
    How a request goes.

    Attributes:
        step: what the server does; None where it is not asked.
        status: how the request is to end.
        modes: whether the reply is whole, or comes in parts.
        leave: how the reader leaves a stream; read to its end without.
        plugins: who answers or refuses.
    """

    step: Reply | Refusal | None
    status: str
    modes: tuple[str, ...] = ("plain", "streamed")
    leave: str = ""
    plugins: Callable[[], list[Any]] = list

    @property
    def silent(self) -> bool:
        """Whether the server never answers."""
        return isinstance(self.step, Reply) and self.step.ending == "silent"

    def heard(self, mode: str) -> bool:
        """Whether some of a reply comes."""
        if not isinstance(self.step, Reply):
            return False
        return self.step.ending == "whole" or mode == "streamed"


CASES = {
    "reply": Case(WHOLE, "ok", ("plain",)),
    "reply without usage": Case(BARE, "ok", ("plain",)),
    "reply at the cap": Case(CUT_OFF, "ok"),
    "stream with usage": Case(WHOLE, "ok", ("streamed",)),
    "stream without usage": Case(BARE, "ok", ("streamed",)),
    "closed": Case(WHOLE, "abandoned", ("streamed",), "close"),
    "left": Case(WHOLE, "abandoned", ("streamed",), "with"),
    "dropped": Case(WHOLE, "abandoned", ("streamed",), "drop"),
    "cut": Case(Reply(TEXT, BILLED, model="as-dated", ending="cut"), "unknown"),
    "timeout": Case(Reply(TEXT, ending="silent"), "unknown"),
    "401": Case(Refusal(401), "failed"),
    "429": Case(Refusal(429, 7), "failed"),
    "500": Case(Refusal(500), "failed"),
    "error in the stream": Case(
        Reply(TEXT, BILLED, model="as-dated", ending="error"), "unknown", ("streamed",)
    ),
    "answered": Case(
        None, "cached", ("plain",), plugins=lambda: [Answers(lambda _: Answer("from a cache"))]
    ),
    "refused": Case(None, "refused", ("plain",), plugins=lambda: [Admits(refuses)]),
}
RUNS = [
    pytest.param(name, case, colour, mode, id=f"{name}-{label}-{colour}-{mode}")
    for name in APIS
    for label, case in CASES.items()
    for colour in COLOURS
    for mode in case.modes
]


def arguments(name: str, request: Request, mode: str) -> dict[str, Any]:
    """Return what the method of an SDK is called with; by hand where there is no dialect."""
    stream: dict[str, Any] = {"stream": True} if mode == "streamed" else {}
    if name == "chat":
        return request.arguments(**stream)
    if name == "responses":
        return {"model": request.model, "input": list(request.messages), **stream}
    system, *rest = request.messages
    wires = {"system": system["content"], "messages": rest}
    return {"model": request.model, "max_tokens": 64, **wires, **stream}


async def read(view: Any, leave: str) -> None:
    """Read a view to its end, or some parts of it, and leave."""
    if leave == "with" and hasattr(view, "__aenter__"):
        async with view:
            await read(view, "some")
    elif leave == "with":
        with view:
            await read(view, "some")
    elif leave:
        parts = each(view)
        for _ in range(SOME):
            await anext(parts)
        if leave == "close":
            await done(view.close())
    else:
        await drained(view)


async def served(
    client: Caller, ctx: ContextManager, name: str, case: Case, colour: str, mode: str
) -> Request | None:
    """Ask once as a backend does; returns the request."""

    async def call(method: str, *given: Any) -> Any:
        return await done(getattr(ctx, method if colour == "sync" else f"a{method}")(*given))

    try:
        request: Request = await call("request")
    except RefusedError as error:
        assert error.reason == "enough for today"
        return None
    if request.answer is not None:
        await call("answered", request)
        return request
    try:
        reply = await client.create(**arguments(name, request, mode))
    except Exception as error:
        await call("failed", request, error)
        return request
    if mode == "plain":
        await call("observe", reply, request)
        return request
    view = ctx.streamed(reply, request)
    del reply
    try:
        await read(view, case.leave)
    except Exception as error:
        assert case.status in ("unknown", "failed"), error
    return request


def outcome(
    name: str, case: Case, colour: str, mode: str
) -> tuple[Request | None, Observation, Stub]:
    """Return a request, the one observation that it ended in, and what the server got."""
    observer = Observes()
    ctx = chat(observer, *case.plugins(), model="asked-for")

    async def ask() -> tuple[Request | None, Stub]:
        with Stub(*[case.step] if case.step is not None else []) as stub:
            timeout = TINY if case.silent else 60
            async with caller(stub, name, colour, timeout=timeout) as client:
                request = await served(client, ctx, name, case, colour, mode)
                if case.leave == "drop":
                    gc.collect()
            return request, stub

    request, stub = asyncio.run(ask())
    (told,) = observer.seen
    return request, told, stub


@pytest.mark.parametrize(("name", "case", "colour", "mode"), RUNS)
def test_a_request_ends_in_one_observation(name: str, case: Case, colour: str, mode: str) -> None:
    """With the status, the figures and the reply's own names, whatever has happened to it."""
    request, told, stub = outcome(name, case, colour, mode)
    assert told.status == case.status
    if request is not None:
        assert (told.request_id, told.predicted_tokens) == (request.id, request.tokens)
    if not case.silent:  # a request that is given up at once may not get so far
        assert len(stub.received) == (0 if case.step is None else 1)
    text = told.text or ""
    if not isinstance(case.step, Reply):  # not billed
        assert (told.usage, told.estimated, text) == (None, False, "")
    elif case.status == "ok" and case.step.usage is not None:
        assert (told.usage, told.estimated, text) == (BILLED, False, TEXT)
    else:
        guess = Usage(told.predicted_tokens or 0, len(text.split()))
        assert (told.usage, told.estimated) == (guess, True)
        assert TEXT.startswith(text)
    if not case.silent:
        assert bool(text) == case.heard(mode)
        assert told.model == ("as-dated" if case.heard(mode) else "asked-for")
        assert (told.reply_id or "00000001")[-8:] == "00000001"
        assert (told.reply_id is not None) == case.heard(mode)
    check_reason(name, case, told)


def check_reason(name: str, case: Case, told: Observation) -> None:
    """Check why it ended: in the provider's word, or by the error that the caller got."""
    api, error = APIS[name], type(told.error).__name__
    if case.status == "ok":
        reason = api.length if case is CASES["reply at the cap"] else api.stop
        assert (told.finish_reason, told.truncated, told.error) == (
            reason,
            reason != api.stop,
            None,
        )
    elif case is CASES["error in the stream"] and name == "responses":  # one more event, no error
        assert (told.finish_reason, told.error) == ("failed", None)
    else:
        assert (told.finish_reason, told.truncated) == (None, False)
        assert error in {
            "unknown": (
                *("APIConnectionError", "RemoteProtocolError", "APITimeoutError", "ReadTimeout"),
                *("APIError", "APIStatusError"),
            ),
            "failed": ("AuthenticationError", "RateLimitError", "InternalServerError"),
            "refused": ("RefusedError",),
        }.get(case.status, ("NoneType",))


HELPED = {
    "chat": ("chat.completions.stream", ["until_done", "get_final_completion"]),
    "responses": ("responses.stream", []),
    "messages": ("messages.stream", ["until_done", "get_final_message", "text_stream"]),
}


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize(
    ("name", "way"), [(name, way) for name, (_, ways) in HELPED.items() for way in ("", *ways)]
)
def test_the_helpers_for_streams_are_streams_too(name: str, colour: str, way: str) -> None:
    """Read by the view or by the helper's own methods: the figures are the same."""
    observer = Observes()
    ctx = chat(observer, model="asked-for")
    request = ctx.request()

    async def use(stream: Any) -> None:
        if way:
            used = getattr(stream, way)
            await (done(used()) if callable(used) else drained(used))
        else:
            await drained(stream)

    async def ask() -> None:
        with Stub(WHOLE) as stub:
            async with caller(stub, name, colour) as client:
                given = arguments(name, request, "streamed")
                del given["stream"]
                stream = attrgetter(HELPED[name][0])(client.client)(**given)
                view = ctx.streamed(stream, request)
                if colour == "async":
                    async with view as entered:
                        await use(entered)
                else:
                    with view as entered:
                        await use(entered)

    asyncio.run(ask())
    (told,) = observer.seen
    assert (told.status, told.usage, told.text) == ("ok", BILLED, TEXT)
    assert (told.model, told.finish_reason) == ("as-dated", APIS[name].stop)


async def drained(stream: Any) -> None:
    """Read a stream to its end."""
    async for _ in each(stream):
        pass
