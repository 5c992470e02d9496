"""
The example backend, with several workers and real HTTP: no error, and no message lost.

`CTXWIN_LOAD_SECONDS` has eight workers (or `CTXWIN_LOAD_WORKERS`) serve for that long, on each
store, and prints figures; by default two of them answer two hundred requests on a SQLite file.
"""

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import quote

import pytest

from ctxwin.counting import counter_for
from ctxwin.sessions import open_store
from ctxwin.testing import assert_valid_window
from sessions.servers import free_port

SECONDS = float(os.environ.get("CTXWIN_LOAD_SECONDS", "0"))
WORKERS = int(os.environ.get("CTXWIN_LOAD_WORKERS", "8" if SECONDS else "2"))
CLIENTS, SESSIONS, ROUNDS = 8, 5, 5
ANSWER = "You asked: "


@pytest.fixture(autouse=True)
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The backend's module, in this process."""
    for package in ("fastapi", "uvicorn"):
        pytest.importorskip(package, reason="the example needs the extra `dev`")
    monkeypatch.setenv("CTXWIN_STORE", "memory://")
    from sessions import backend

    monkeypatch.setattr(backend, "store", open_store("memory://"))
    return backend


@contextmanager
def serving(url: str, folder: Path) -> Iterator[int]:
    """Run the backend; yields its port."""
    port, output = free_port(), folder / "output"
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "--app-dir",
        str(Path(__file__).parent),
        "backend:app",
    ]
    command += ["--port", str(port), "--workers", str(WORKERS), "--log-level", "warning"]
    environment = {**os.environ, "CTXWIN_STORE": url}
    with output.open("wb") as written:
        process = subprocess.Popen(
            command, env=environment, stdout=written, stderr=written, start_new_session=True
        )
        try:
            while not answers(port):
                assert process.poll() is None, output.read_text()
                time.sleep(0.1)
            yield port
        finally:
            stop(process)
    assert not output.read_text()


def stop(process: subprocess.Popen[bytes]) -> None:
    """Have a server and its workers end, by force where they do not."""
    process.terminate()
    try:
        process.wait(30)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(port: int) -> bool:
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        try:
            connection.request("GET", "/openapi.json")
            return connection.getresponse().status == 200
        except OSError:
            return False


class Client:
    """
    Somebody who asks, in one session after the other.

    Attributes:
        told: session -> what was said there, question and answer in turn.
        times: how long each answer took, in seconds.
    """

    def __init__(self, port: int, name: str, sessions: list[str]) -> None:
        self.port, self.name, self.sessions = port, name, sessions
        self.told: dict[str, list[str]] = defaultdict(list)
        self.times: list[float] = []

    def run(self, until: float) -> None:
        """Make rounds of the sessions until a time; any worker may take each call."""
        done = 0
        while done < ROUNDS or time.monotonic() < until:
            with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
                for session in self.sessions:
                    self.ask(connection, session)
            done += 1

    def ask(self, connection: HTTPConnection, session: str) -> None:
        text, begun = f"{self.name} asks {len(self.times)} about its parcel", time.perf_counter()
        body, headers = json.dumps({"text": text}), {"Content-Type": "application/json"}
        connection.request("POST", f"/chat/{quote(session)}", body, headers)
        response = connection.getresponse()
        answer = response.read().decode()  # raises, where the stream breaks off
        self.times.append(time.perf_counter() - begun)
        assert response.status == 200, answer
        self.told[session] += [text, answer.strip()]


@pytest.mark.parametrize(
    "engine", ["sqlite", "postgresql", "redis_server"] if SECONDS else ["sqlite"]
)
def test_workers_answer(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path, example: Any
) -> None:
    """Every question and every answer is in its session once, each client's own in their order."""
    url = (
        f"sqlite:///{tmp_path}/chats.db" if engine == "sqlite" else request.getfixturevalue(engine)
    )
    run = token_hex(4)
    sessions = [f"{run} {number}" for number in range(SESSIONS)]
    with serving(url, tmp_path) as port, ThreadPoolExecutor(CLIENTS) as pool:
        turned = [
            sessions[start % SESSIONS :] + sessions[: start % SESSIONS] for start in range(CLIENTS)
        ]
        clients = [Client(port, f"c{number}", turn) for number, turn in enumerate(turned)]
        begun = time.monotonic()
        running = [pool.submit(client.run, begun + SECONDS) for client in clients]
        errors = [error for each in running if (error := each.exception()) is not None]
        took = time.monotonic() - begun
    report(
        engine, sorted(seconds for client in clients for seconds in client.times), took, len(errors)
    )
    assert errors == []
    with open_store(url) as store:
        for session in sessions:
            with store.open(session, **example.OPTIONS) as ctx:
                check(
                    ctx, [client.told[session] for client in clients], example.OPTIONS["max_tokens"]
                )
            store.delete(session)


def report(engine: str, times: list[float], took: float, errors: int) -> None:
    median, worst = (times[len(times) * percent // 100] * 1000 for percent in (50, 99))
    print(
        f"\n{engine}: {WORKERS} workers, {len(times)} requests in {took:.1f} s, {errors} errors, "
        f"{len(times) / took:.0f}/s, p50 {median:.1f} ms, p99 {worst:.1f} ms"
    )


def check(ctx: Any, told: list[list[str]], budget: int) -> None:
    """Judge a session by what its clients were told."""
    history = ctx.conversation_history
    log = [str(message.content) for message in history]
    assert sorted(log) == sorted(text for own in told for text in own)
    for own in told:
        rest = iter(log)
        assert all(text in rest for text in own), "not in the order in which it was said"
    before: set[str] = set()
    for message, text in zip(history, log, strict=True):
        assert message.role == "user" or (
            text.startswith(ANSWER) and text.removeprefix(ANSWER) in before
        )
        before.add(text)
    ctx.messages()
    assert_valid_window(history, list(ctx), budget, counter_for("gpt-4o"))
    assert len(list(ctx)) < len(log), "nothing was ever cut"


@pytest.mark.parametrize(
    ("where", "version", "stored"),
    [
        ("before the first piece", "2.3", ["hi"]),
        ("while the model thinks", "2.3", ["hi", "one two"]),
        ("while a piece is sent", "2.3", ["hi", "one two"]),
        ("while a piece is sent", "2.4", ["hi", "one two"]),
    ],
)
def test_a_client_goes_away(
    where: str, version: str, stored: list[str], example: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was said so far is stored, whether the server sends a message or raises (2.4)."""
    from starlette.requests import ClientDisconnect

    async def scenario() -> list[str]:
        gone = asyncio.Event()

        async def leave() -> None:
            gone.set()
            await asyncio.Event().wait()

        async def model(request: list[dict[str, Any]]) -> AsyncIterator[str]:
            if where == "before the first piece":
                await leave()
            yield "one "
            yield "two "
            await leave()

        async def receive() -> dict[str, Any]:
            if asked:
                return asked.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if where == "while a piece is sent" and message.get("body") == b"two ":
                if version == "2.4":
                    raise OSError
                await leave()

        asked = [{"type": "http.request", "body": b'{"text": "hi"}', "more_body": False}]
        monkeypatch.setattr(example, "model", model)
        with suppress(ClientDisconnect):
            await example.app(post("/chat/s", version), receive, send)
        # An iterator left between two pieces ends when it is collected: a moment later, in a task.
        gc.collect()
        await asyncio.sleep(0)
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
        return [str(message.content) for message in example.store.read("s")]

    assert asyncio.run(scenario()) == stored


def post(path: str, version: str) -> dict[str, Any]:
    """Return the ASGI scope of a request with JSON in it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": version},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
