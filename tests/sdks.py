"""The real SDKs of providers, each called in its own way against the stub."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from inspect import isawaitable
from operator import attrgetter
from typing import Any, NamedTuple

import pytest

from stub_server import Stub

QUESTION = "Where is my parcel?"
COLOURS = ("sync", "async")
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used; making one a client is slow


class Api(NamedTuple):
    """
    One method of an SDK that asks a model.

    Attributes:
        module: the SDK, and what pip installs.
        client: the class of its client; the async one has `Async` before it.
        create: where the method stands.
        arguments: what it needs beside the model.
        states: what it needs besides for a stream to state its usage.
        stop, length: what it calls an end by itself, and one at the cap.
    """

    module: str
    client: str
    create: str
    arguments: Mapping[str, Any]
    states: Mapping[str, Any]
    stop: str
    length: str


ASKED = [{"role": "user", "content": QUESTION}]
APIS = {
    "chat": Api(
        module="openai",
        client="OpenAI",
        create="chat.completions.create",
        arguments={"messages": ASKED},
        states={"stream_options": {"include_usage": True}},
        stop="stop",
        length="length",
    ),
    "responses": Api(
        module="openai",
        client="OpenAI",
        create="responses.create",
        arguments={"input": QUESTION},
        states={},
        stop="completed",
        length="max_output_tokens",
    ),
    "messages": Api(
        module="anthropic",
        client="Anthropic",
        create="messages.create",
        arguments={"messages": ASKED, "max_tokens": 64},
        states={},
        stop="end_turn",
        length="max_tokens",
    ),
}


class Caller:
    """A client of one colour, and the method that asks a model; awaited in either colour."""

    def __init__(self, api: Api, client: Any) -> None:
        self.api = api
        self.client = client

    async def create(self, **arguments: Any) -> Any:
        """Ask with these arguments alone."""
        return await done(attrgetter(self.api.create)(self.client)(**arguments))

    async def ask(self, **more: Any) -> Any:
        """Ask the question."""
        return await self.create(**{"model": "asked-for", **self.api.arguments, **more})


@asynccontextmanager
async def caller(stub: Stub, name: str, colour: str, **options: Any) -> AsyncIterator[Caller]:
    """
    Open a client of an SDK, which asks the stub and never twice; skips where it is not installed.

    Args:
        stub: whom it asks.
        name: a key of `APIS`.
        colour: `sync` or `async`.
        options: more options of the client.
    """
    api = APIS[name]
    sdk = pytest.importorskip(api.module, reason=f"{api.module} comes with the extra `dev`")
    before = "" if colour == "sync" else "Async"
    http = getattr(sdk, f"Default{before}HttpxClient")(verify=PLAIN, trust_env=False)
    url = stub.openai_url if api.module == "openai" else stub.url
    made = getattr(sdk, f"{before}{api.client}")
    client = made(base_url=url, api_key="none", max_retries=0, http_client=http, **options)
    try:
        yield Caller(api, client)
    finally:
        await done(client.close())


async def done(value: Any) -> Any:
    """Return a value of either colour."""
    return await value if isawaitable(value) else value


async def each(stream: Any) -> AsyncIterator[Any]:
    """Yield the parts of a stream of either colour."""
    if hasattr(stream, "__aiter__"):
        async for part in stream:
            yield part
    else:
        for part in stream:
            yield part
