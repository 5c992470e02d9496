"""
Summaries over HTTP, with the real `openai` client, sync and async, also when the server is killed.

The server is a FastAPI application in a process of its own, on a port that the system chose.
"""

import asyncio
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ctxwin import Budget, ContextManager
from ctxwin.summarizers import OpenAISummarizer
from ctxwin.testing import WordCounter
from ctxwin_plugins.summarize_history import SummarizeHistory

openai = pytest.importorskip("openai", reason="the openai client is not installed")
pytest.importorskip("fastapi", reason="fastapi is not installed: there is no server to ask")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: there is no server to ask")

pytestmark = pytest.mark.filterwarnings("ignore")  # of libraries that are not ours

SERVER = """
import asyncio, socket, sys
import uvicorn
from fastapi import FastAPI, Request

app = FastAPI()

@app.get("/ready")
def ready():
    return {}

@app.post("/v1/chat/completions")
async def complete(request: Request):
    body = await request.json()
    if body["model"] == "hangs":
        await asyncio.sleep(60)
    asked = body["messages"][1]["content"]
    text = f"So far: {asked.count(chr(10))} lines." if body["model"] == "tiny" else None
    refusal = None if text else "I would rather not"
    message = {"role": "assistant", "content": text, "refusal": refusal}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    reply = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"]}
    return reply | {"choices": [choice]}

listening = socket.socket(fileno=int(sys.argv[1]))
uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listening])
"""


class Server:
    """The process of the server, and its address."""

    def __init__(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        listening.set_inheritable(True)
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        command = [sys.executable, "-c", SERVER, str(listening.fileno())]
        self.process = subprocess.Popen(command, pass_fds=[listening.fileno()])
        listening.close()
        ready = f"{self.url}/ready"
        # The request waits in the backlog until the server is up.
        with urllib.request.urlopen(ready, timeout=60) as answer:  # noqa: S310
            assert answer.status == 200

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def options(self) -> dict[str, Any]:
        return {"base_url": f"{self.url}/v1", "api_key": "none", "max_retries": 0, "timeout": 20}


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def conversation(summarizer: Any) -> ContextManager:
    """Return a conversation above its budget."""
    chain = [SummarizeHistory(summarizer, max_summary_tokens=60)]
    ctx = ContextManager(
        budget=Budget(200, low=0.6, soft=0.5), counter=WordCounter(), strategies=chain
    )
    for number in range(12):
        ctx.add_message(
            "user", f"question {number} about the invoice of last month and the one before"
        )
        ctx.add_message(
            "assistant", f"answer {number} about the invoice of last month and the one before"
        )
    return ctx


def summaries(ctx: ContextManager) -> list[Any]:
    return [message.content for message in ctx if message.sources]


def nothing_is_lost(ctx: ContextManager) -> None:
    """The log is complete, and the window is valid by whatever strategy is left."""
    assert len(ctx.conversation_history) == 24
    assert 0 < len(ctx.messages()) < 24
    assert ctx.total_tokens <= 200


def test_a_sync_client(server: Server) -> None:
    """On the request path, and before it."""
    with openai.OpenAI(**server.options()) as client:
        summarizer = OpenAISummarizer(client, "tiny", temperature=0)
        ctx = conversation(summarizer)
        ctx.messages()
        assert [str(text)[:7] for text in summaries(ctx)] == ["So far:"]
        nothing_is_lost(ctx)
        ctx = conversation(summarizer)
        ticket = ctx.prepare()
        assert ticket is not None
        assert ctx.commit(ticket.run(summarizer)).actions
        assert len(summaries(ctx)) == 1


def test_an_async_client(server: Server) -> None:
    """The same, awaited."""

    async def go() -> None:
        async with openai.AsyncOpenAI(**server.options()) as client:
            summarizer = OpenAISummarizer(client, "tiny")
            ctx = conversation(summarizer)
            await ctx.amessages()
            assert len(summaries(ctx)) == 1
            nothing_is_lost(ctx)
            ctx = conversation(summarizer)
            ticket = ctx.prepare()
            assert ticket is not None
            assert ctx.commit(await ticket.arun(summarizer)).actions

    asyncio.run(go())


def test_a_refusal(server: Server) -> None:
    """A refusal is not taken for a summary."""
    with openai.OpenAI(**server.options()) as client:
        ctx = conversation(OpenAISummarizer(client, "refuses"))
        nothing_is_lost(ctx)
        assert ctx.last_receipt is not None
        assert "I would rather not" in ctx.last_receipt.rejected[0].reason
        assert not summaries(ctx)


def test_a_time_out(server: Server) -> None:
    """A time-out is a failure like any other."""
    with openai.OpenAI(**server.options() | {"timeout": 0.3}) as client:
        ctx = conversation(OpenAISummarizer(client, "hangs"))
        nothing_is_lost(ctx)
        assert ctx.last_receipt is not None
        assert "APITimeoutError" in ctx.last_receipt.rejected[0].reason


def test_the_server_is_killed_while_it_answers() -> None:
    """Nothing is lost in a thread, in a task or by a ticket, and another server can continue."""

    async def go() -> None:
        with serving() as dying:
            sync, awaited = openai.OpenAI(**dying.options()), openai.AsyncOpenAI(**dying.options())
            one, two, three = (
                conversation(OpenAISummarizer(client, "hangs"))
                for client in (sync, awaited, awaited)
            )
            ticket = three.prepare()
            assert ticket is not None
            states = [ctx.to_dict() for ctx in (one, two, three)]
            waiting: list[asyncio.Future[Any]] = [
                asyncio.ensure_future(asyncio.to_thread(one.messages)),
                asyncio.ensure_future(two.amessages()),
                asyncio.ensure_future(ticket.arun(OpenAISummarizer(awaited, "hangs"))),
            ]
            await asyncio.sleep(1.0)
            assert not any(task.done() for task in waiting)
            assert [ctx.to_dict() for ctx in (one, two, three)] == states
            dying.kill()
            _, _, finished = await asyncio.wait_for(asyncio.gather(*waiting), 60)
        for ctx in (one, two):
            assert ctx.last_receipt is not None
            assert "APIConnectionError" in ctx.last_receipt.rejected[0].reason
            nothing_is_lost(ctx)
        assert "APIConnectionError" in finished.error
        assert three.commit(finished).actions == ()
        assert {**three.to_dict(), "failures": {}} == states[2]
        with serving() as next_one, openai.OpenAI(**next_one.options()) as client:
            ticket = three.prepare()
            assert ticket is not None
            assert three.commit(ticket.run(OpenAISummarizer(client, "tiny"))).actions
        nothing_is_lost(three)

    asyncio.run(go())
