"""What is read of the real SDKs' replies and streams, against a server that speaks their forms."""

import asyncio
from typing import Any

import pytest

from ctxwin import StreamUsage, Usage
from sdks import APIS, COLOURS, caller, each
from stub_server import Reply, Stub

TEXT = "It left on Monday — you'll have it soon."
BILLED = Usage(1_000, 50, 600, 100, 40, reasoning_tokens=20)
NAMED = "as-dated-2026-01-01"
REPLIES = {
    "whole": Reply(TEXT, BILLED, model=NAMED),
    "cut off": Reply(TEXT, BILLED, "length", model=NAMED),
    "without usage": Reply(TEXT, None, model=NAMED),
    "says nothing": Reply("", Usage(7), model=NAMED),
}
ID = "00000001"  # what the ids of the stub's first reply end in


def stated(name: str, usage: Usage | None) -> Usage | None:
    """Return what of a usage the provider has a field for."""
    if usage is None:
        return None
    read, write, hour = (
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
    )
    if name == "messages":
        return Usage(usage.input_tokens, usage.output_tokens, read, write, hour)
    reasoning = usage.reasoning_tokens
    return Usage(usage.input_tokens, usage.output_tokens, read, write, reasoning_tokens=reasoning)


def facts(read: StreamUsage) -> tuple[Any, ...]:
    """Return all that was read, the last figures of the id for the whole of it."""
    ends = str(read.reply_id)[-len(ID) :]
    return read.usage, read.model, ends, read.finish_reason, read.text


def said(name: str, reply: Reply) -> tuple[Any, ...]:
    """Return what is to be read of a reply."""
    finish = APIS[name].stop if reply.finish == "stop" else APIS[name].length
    return stated(name, reply.usage), NAMED, ID, finish, reply.text


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("name", APIS)
def test_a_reply_is_read_as_it_was_sent(name: str, colour: str, reply: Reply) -> None:
    """A whole reply is a stream of one part; one without usage is refused by `Usage.of`."""

    async def ask() -> Any:
        with Stub(reply) as stub:
            async with caller(stub, name, colour) as client:
                return await client.ask()

    answer, read = asyncio.run(ask()), StreamUsage()
    read.add(answer)
    assert facts(read) == said(name, reply)
    if reply.usage is None:
        with pytest.raises(ValueError, match="does not state the input tokens"):
            Usage.of(answer)
    else:
        assert Usage.of(answer) == stated(name, reply.usage)
        assert Usage.of(answer.usage) == Usage.of(answer)
        assert Usage.of(answer.model_dump()) == Usage.of(answer)


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("name", APIS)
def test_a_stream_is_read_as_it_was_sent(name: str, colour: str, reply: Reply) -> None:
    """Figures, model, id, why it ended and the text; as objects and as mappings."""

    async def ask() -> list[Any]:
        with Stub(reply) as stub:
            async with caller(stub, name, colour) as client:
                stream = await client.ask(stream=True, **client.api.states)
                return [part async for part in each(stream)]

    parts, read, dumped = asyncio.run(ask()), StreamUsage(), StreamUsage()
    for part in parts:
        read.add(part)
        dumped.add(part.model_dump())
    assert facts(read) == facts(dumped)
    assert facts(read) == said(name, reply)
    assert len(parts) > 2


@pytest.mark.parametrize("colour", COLOURS)
def test_a_stream_states_its_usage_only_where_it_is_asked_to(colour: str) -> None:
    """Chat completions do so: without the option no chunk has any."""

    async def ask() -> list[Any]:
        with Stub(REPLIES["whole"]) as stub:
            async with caller(stub, "chat", colour) as client:
                return [part async for part in each(await client.ask(stream=True))]

    read = StreamUsage()
    for part in asyncio.run(ask()):
        read.add(part)
    assert facts(read) == (None, *said("chat", REPLIES["whole"])[1:])
