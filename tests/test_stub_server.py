"""The real SDKs take the stub server for a provider: what refusals and broken replies are."""

import asyncio
from typing import Any

import pytest

from sdks import APIS, COLOURS, QUESTION, caller, each
from stub_server import Refusal, Reply, Stub

TINY = 0.05  # seconds; the reply that is waited for never comes


def asked(name: str, colour: str, step: Reply | Refusal, **more: Any) -> list[Any]:
    """Return what a call came to: the parts of its stream, and the error where there is one."""
    timeout = TINY if isinstance(step, Reply) and step.ending == "silent" else 60

    async def ask() -> list[Any]:
        came: list[Any] = []
        with Stub(step) as stub:
            async with caller(stub, name, colour, timeout=timeout) as client:
                try:
                    reply = await client.ask(**more)
                    if "stream" not in more:
                        return [reply]
                    async for part in each(reply):
                        came.append(part)
                except Exception as error:
                    came.append(error)
        return came

    return asyncio.run(ask())


@pytest.mark.parametrize("stream", [{}, {"stream": True}], ids=["plain", "streamed"])
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("name", APIS)
def test_refusals_are_the_errors_of_the_sdk(name: str, colour: str, stream: Any) -> None:
    """By their status, with the headers that a retry goes by."""
    sdk = pytest.importorskip(APIS[name].module)
    kinds = {
        401: sdk.AuthenticationError,
        429: sdk.RateLimitError,
        500: sdk.InternalServerError,
        418: sdk.APIStatusError,
    }
    for status, kind in kinds.items():
        (error,) = asked(name, colour, Refusal(status, 7), **stream)
        assert type(error) is kind
        assert error.status_code == status
        assert error.response.headers["retry-after"] == "7"
        assert f"stub says {status}" in str(error)


@pytest.mark.parametrize("ending", ["cut", "silent", "error"])
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("name", APIS)
def test_a_reply_may_not_come(name: str, colour: str, ending: Any) -> None:
    """The connection breaks in its middle, nothing comes in time, or the server gives up."""
    sdk = pytest.importorskip(APIS[name].module)
    kinds = {
        "cut": ("APIConnectionError", "RemoteProtocolError"),
        "silent": (sdk.APITimeoutError.__name__,),
        "error": (sdk.InternalServerError.__name__,),
    }
    (error,) = asked(name, colour, Reply(ending=ending))
    assert type(error).__name__ in kinds[ending]


@pytest.mark.parametrize("ending", ["cut", "silent", "error"])
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("name", APIS)
def test_a_stream_may_break(name: str, colour: str, ending: Any) -> None:
    """
    After some of it has come; each SDK tells it in its own way.

    OpenAI's wraps what the transport raises, and takes an error in Responses for one more event;
    Anthropic's hands on the transport's, and an error has the status of the stream: 200.
    """
    *came, last = asked(name, colour, Reply(ending=ending), stream=True)
    kinds = {
        "cut": {"APIConnectionError", "RemoteProtocolError"},
        "silent": {"APITimeoutError", "ReadTimeout"},
        "error": {"APIError", "ResponseFailedEvent", "APIStatusError"},
    }
    assert type(last).__name__ in kinds[ending]
    assert getattr(last, "status_code", 200) == 200
    assert came or ending == "silent"  # the tiny timeout may pass before anything comes


def test_requests_are_recorded_in_order_and_ids_are_unique() -> None:
    """The script goes on, and what it does not have is refused."""

    async def ask() -> tuple[list[Any], Stub]:
        answers = []
        with Stub(Reply("One")) as stub:
            stub.then(Reply("Two", finish="length"))
            async with caller(stub, "chat", "async") as client:
                for _ in range(2):
                    answers.append(await client.ask(model="m"))
                with pytest.raises(Exception, match="418"):
                    await client.ask(model="n")
        return answers, stub

    answers, stub = asyncio.run(ask())
    assert [answer.choices[0].message.content for answer in answers] == ["One", "Two"]
    assert len({answer.id for answer in answers}) == 2
    bodies = [received.body for received in stub.received]
    assert [body["model"] for body in bodies] == ["m", "m", "n"]
    assert bodies[0]["messages"] == [{"role": "user", "content": QUESTION}]
    assert {received.path for received in stub.received} == {"/v1/chat/completions"}
