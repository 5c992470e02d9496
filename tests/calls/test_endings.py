"""How requests end: once, with what was billed or an estimate, and what it teaches."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from around import Observes, chat, logged, reply
from ctxwin import Budget, ContextManager, CounterError, Usage
from ctxwin.calls import endings
from ctxwin.counting import CallableCounter
from ctxwin.testing import WordCounter


class Exact(CallableCounter):
    """A word is a token, exactly."""

    exact = True
    name = "exact"

    def __init__(self) -> None:
        super().__init__(lambda text: len(text.split()))


@pytest.mark.parametrize(
    ("given", "usage", "rest"),
    [
        (reply(), Usage(20, 2), ("reply-1", "m-2026", "stop", False, "nothing much")),
        (
            {
                "type": "message",
                "id": "msg_1",
                "model": "claude",
                "stop_reason": "max_tokens",
                "content": [{"type": "text", "text": "so"}, {"type": "tool_use", "name": "f"}],
                "usage": {"input_tokens": 20, "cache_read_input_tokens": 5, "output_tokens": 3},
            },
            Usage(25, 3, cache_read_tokens=5),
            ("msg_1", "claude", "max_tokens", True, "so"),
        ),
        (
            {
                "object": "response",
                "id": "resp_1",
                "model": "m",
                "status": "incomplete",
                "incomplete_details": {"reason": "max_output_tokens"},
                "output": [{"type": "message", "content": [{"type": "output_text", "text": "so"}]}],
                "usage": {"input_tokens": 20, "output_tokens": 3},
            },
            Usage(20, 3),
            ("resp_1", "m", "max_output_tokens", True, "so"),
        ),
        (
            {
                "output": {"message": {"content": [{"text": "so"}]}},
                "stopReason": "end_turn",
                "usage": {"inputTokens": 20, "outputTokens": 3, "totalTokens": 23},
            },
            Usage(20, 3),
            (None, "m", "end_turn", False, "so"),
        ),
        (
            {
                "candidates": [
                    {"content": {"parts": [{"text": "so"}]}, "finishReason": "MAX_TOKENS"}
                ],
                "modelVersion": "gemini",
                "responseId": "g1",
                "usageMetadata": {"promptTokenCount": 20, "candidatesTokenCount": 3},
            },
            Usage(20, 3),
            ("g1", "gemini", "MAX_TOKENS", True, "so"),
        ),
        (
            {"prompt_tokens": 20, "completion_tokens": 3},
            Usage(20, 3),
            (None, "m", None, False, None),
        ),
        (Usage(20, 3), Usage(20, 3), (None, "m", None, False, None)),
    ],
    ids=["chat", "anthropic", "responses", "bedrock", "gemini", "usage", "Usage"],
)
def test_a_reply_says_how_its_request_ended(given: Any, usage: Usage, rest: Any) -> None:
    """Whatever provider it is of, or its usage alone."""
    observer = Observes()
    ctx = chat(observer, tags={"user": "ann"})
    request = ctx.request()
    ctx.observe(given, request, feature="support")
    told = observer.last
    assert (told.status, told.usage, told.estimated) == ("ok", usage, False)
    found = (told.reply_id, told.model, told.finish_reason, told.truncated, told.text)
    assert found == rest
    assert (told.request, told.request_id) == (request, request.id)
    assert told.predicted_tokens == request.tokens
    assert told.tags == {"user": "ann", "feature": "support"}
    assert told.error is None


def test_usage_that_is_not_stated_is_estimated() -> None:
    """From what was predicted and what was said; estimates teach nothing."""
    observer = Observes()
    ctx = chat(observer)
    for given in (reply(usage=None), reply(usage={"prompt_tokens": -1}), object(), None):
        request = ctx.request()
        total = ctx.total_tokens
        ctx.observe(given, request)
        said = 2 if isinstance(given, dict) else 0
        assert observer.last.usage == Usage(request.tokens, said)
        assert observer.last.estimated
        assert ctx.total_tokens == total


def test_what_cannot_be_counted_is_no_estimate() -> None:
    """Usage is None then."""

    class Fails(WordCounter):
        def count_text(self, text: str) -> int:
            raise OSError("away")

    observer = Observes()
    ctx = ContextManager(100, counter=WordCounter(), strategies=[observer])
    ctx.add_message("user", "hi")
    request = ctx.request()
    ctx._keeper.conversation.costs.counter = Fails()
    ctx.observe(reply(usage=None), request)
    assert observer.last.usage is None
    assert not observer.last.estimated
    with pytest.raises(CounterError):
        ctx._keeper.conversation.costs.text("x")


def test_without_a_request_observers_are_told_all_the_same() -> None:
    """And no input stated is an error, as ever."""
    observer = Observes()
    ctx = chat(observer, tags={"user": "ann"}, counter=Exact())
    ctx.messages()
    ctx.observe(reply(), feature="support")
    told = observer.last
    assert (told.request, told.request_id, told.predicted_tokens) == (None, None, None)
    assert (told.usage, told.model) == (Usage(20, 2), "m-2026")
    assert told.tags == {"user": "ann", "feature": "support"}
    assert ctx.total_tokens == 20
    with pytest.raises(ValueError, match="does not state the input tokens"):
        ctx.observe({"total_tokens": 3})
    assert len(observer.seen) == 1


def test_a_second_ending_is_ignored_and_logged(caplog: Any) -> None:
    """Whichever way it ends."""
    observer = Observes()
    ctx = chat(observer)
    request = ctx.request()
    ctx.observe(reply(), request)
    for again in (
        lambda: ctx.observe(reply(), request),
        lambda: ctx.failed(request),
        lambda: list(ctx.streamed(iter(()), request)),
    ):
        with logged(caplog, "has ended already"):
            again()
    assert len(observer.seen) == 1


def test_a_manager_remembers_the_last_thousand_endings() -> None:
    """No more: a conversation may make any number of requests."""
    remembered, request = endings.Endings(), chat().request()
    from dataclasses import replace

    for number in range(endings.REMEMBERED + 1):
        assert remembered.claim(replace(request, id=str(number)))
    assert not remembered.has(replace(request, id="0"))
    assert remembered.has(replace(request, id="1"))
    assert len(remembered._ended) == endings.REMEMBERED


def test_another_manager_may_end_a_request() -> None:
    """A worker that took it over: observers are told, and nothing is learnt there."""
    observer = Observes()
    ctx, other = chat(observer, counter=Exact()), chat(observer, counter=Exact())
    other.messages()
    total = other.total_tokens
    request = ctx.request(model="gpt-4o")
    other.observe(reply(), request)
    assert observer.last.request_id == request.id
    assert other.total_tokens == total
    other.observe(reply(), chat(counter=Exact()).request())
    assert other.total_tokens == total


class HTTPError(Exception):
    def __init__(self, **fields: Any) -> None:
        super().__init__("no")
        self.__dict__.update(fields)


class Response:
    status_code = 429


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (HTTPError(status_code=500), "failed"),
        (HTTPError(response=Response()), "failed"),
        (HTTPError(response=None), "unknown"),
        (TimeoutError(), "unknown"),
        (None, "unknown"),
    ],
)
def test_an_error_says_whether_a_request_may_be_billed(error: Any, status: str) -> None:
    """An HTTP answer that said no is not billed; a broken connection may be."""
    observer = Observes()
    ctx = chat(observer)
    request = ctx.request()
    ctx.failed(request, error, feature="x")
    told = observer.last
    assert (told.status, told.error) == (status, error)
    assert told.usage == (None if status == "failed" else Usage(request.tokens, 0))
    assert told.tags["feature"] == "x"


def test_the_newest_request_of_a_window_teaches() -> None:
    """No older one, none since a cut, none twice."""
    ctx = chat(counter=Exact())
    old = ctx.request()
    ctx.add_message("assistant", "well well")
    new = ctx.request()
    total = ctx.total_tokens
    ctx.observe(reply(tokens=99), old)
    assert ctx.total_tokens == total
    ctx.observe(reply(tokens=total + 9), new)
    assert ctx.total_tokens == total + 9
    request = ctx.request()
    ctx.messages()  # this is the newest window now, and no request's
    ctx.observe(reply(tokens=500), request)
    assert ctx.total_tokens == total + 9
    request = ctx.request()
    ctx.extend({"role": "user", "content": "w " * 30} for _ in range(40))
    ctx.prune_history()
    total = ctx.total_tokens
    ctx.observe(reply(tokens=500), request)
    assert ctx.total_tokens == total


def test_an_append_between_fit_and_bill_hurts_nothing() -> None:
    """The bill is compared with what was predicted then."""
    ctx = chat(counter=Exact())
    request = ctx.request()
    before = ctx.total_tokens
    ctx.add_message("user", "one two three")
    added = ctx.total_tokens - before
    ctx.observe(reply(tokens=request.tokens + 5), request)
    assert ctx.total_tokens == before + added + 5


def test_a_routed_request_teaches_its_own_window() -> None:
    """The conversation's stays as it was."""
    ctx = chat(counter=Exact())
    small = Budget(500)
    request = ctx.request(budget=small)
    ctx.observe(reply(tokens=request.tokens + 7), request)
    assert ctx.request(budget=small).tokens == request.tokens + 7
    assert ctx.request().tokens == request.tokens


def test_several_requests_may_be_under_way() -> None:
    """From threads and tasks: each ends once, with its own tags."""
    observer = Observes()
    ctx = chat(observer)

    def turn(number: int) -> None:
        request = ctx.request(user=f"u{number}")
        ctx.observe(reply(text="w " * number), request)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(turn, range(1, 40)))
    told = {one.tags["user"]: one for one in observer.seen}
    assert len(observer.seen) == len(told) == 39
    for number in range(1, 40):
        assert told[f"u{number}"].text == "w " * number

    async def aturn(number: int) -> None:
        request = await ctx.arequest(user=f"t{number}")
        await asyncio.sleep(0)
        await ctx.aobserve(reply(text="w " * number), request)

    async def main() -> None:
        await asyncio.gather(*map(aturn, range(1, 40)))

    asyncio.run(main())
    told = {one.tags["user"]: one for one in observer.seen[39:]}
    assert all(told[f"t{number}"].text == "w " * number for number in range(1, 40))


def test_a_request_ends_once_however_many_end_it_at_once() -> None:
    """Threads that race: one of them is told of."""
    observer = Observes()
    ctx = chat(observer)
    request, barrier = ctx.request(), threading.Barrier(8)

    def end(_: int) -> None:
        barrier.wait()
        ctx.failed(request)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(end, range(8)))
    assert len(observer.seen) == 1
