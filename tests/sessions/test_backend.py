"""
The example backend, with several workers and real HTTP: no error, and no message lost.

`CTXWIN_LOAD_SECONDS` has eight workers serve for that long, on each store, and prints figures; by default two of them
answer some hundred requests on a SQLite file.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from ctxwin.counting import counter_for
from ctxwin.sessions import open_store
from ctxwin.testing import assert_valid_window
from sessions.servers import free_port

SECONDS = float(os.environ.get("CTXWIN_LOAD_SECONDS", "0"))
WORKERS = 8 if SECONDS else 2
CLIENTS, SESSIONS, REQUESTS = 8, 5, 25
BUDGET = 200


@contextmanager
def serving(url: str, folder: Path) -> Iterator[int]:
    """Run the backend; yields its port."""
    pytest.importorskip("fastapi", reason="the example needs the extra `dev`")
    pytest.importorskip("uvicorn", reason="the example needs the extra `dev`")
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(Path(__file__).parent), "backend:app"]
    command += ["--port", str(port), "--workers", str(WORKERS), "--log-level", "warning"]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, env={**os.environ, "CTXWIN_STORE": url}, stdout=output, stderr=output)
        try:
            while not answers(port):
                assert process.poll() is None, (folder / "output").read_text()
                time.sleep(0.1)
            yield port
        finally:
            process.terminate()
            process.wait()
    assert "Error" not in (folder / "output").read_text()


def answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port)
    try:
        connection.request("GET", "/openapi.json")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def talk(port: int, name: str, until: float, told: dict[str, list[str]], times: list[float]) -> None:
    """Ask questions, each of the next session; notes what was said and answered."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    number = 0
    while number < REQUESTS or time.monotonic() < until:
        session, text = f"session {(number + int(name[1:])) % SESSIONS}", f"{name} asks {number} about its parcel"
        begun = time.perf_counter()
        connection.request(
            "POST",
            f"/chat/{session.replace(' ', '%20')}",
            json.dumps({"text": text}),
            {"Content-Type": "application/json"},
        )
        response = connection.getresponse()
        answer = response.read().decode()
        times.append(time.perf_counter() - begun)
        assert (response.status, answer.endswith(f"asks {number} about its parcel ") or "You asked: " in answer) == (
            200,
            True,
        )
        told[session] += [text, answer.strip()]
        number += 1
    connection.close()


@pytest.mark.parametrize("engine", ["sqlite", "postgresql", "redis_server"] if SECONDS else ["sqlite"])
def test_workers_answer(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Every question and every answer is in its session once, each client's own in their order."""
    url = f"sqlite:///{tmp_path}/chats.db" if engine == "sqlite" else request.getfixturevalue(engine)
    told: list[dict[str, list[str]]] = [defaultdict(list) for _ in range(CLIENTS)]
    times: list[float] = []
    failures: list[BaseException] = []

    def client(number: int, port: int, until: float) -> None:
        try:
            talk(port, f"c{number}", until, told[number], times)
        except BaseException as error:
            failures.append(error)

    with serving(url, tmp_path) as port:
        until = time.monotonic() + SECONDS
        clients = [threading.Thread(target=client, args=(number, port, until)) for number in range(CLIENTS)]
        for each in clients:
            each.start()
        for each in clients:
            each.join()
    assert failures == []
    times.sort()
    print(
        f"\n{engine}: {len(times)} requests, {WORKERS} workers, {len(times) / (SECONDS or 1):.0f}/s, "
        f"p50 {times[len(times) // 2] * 1000:.1f} ms, p99 {times[len(times) * 99 // 100] * 1000:.1f} ms"
    )
    with open_store(url) as store:
        for session in {session for each in told for session in each}:
            ctx = store.open(session, max_tokens=BUDGET, model="gpt-4o", strategies=["summarize-history"])
            log = [str(message.content) for message in ctx.conversation_history]
            said = [each[session] for each in told]
            assert sorted(log) == sorted(text for own in said for text in own)
            for own in said:
                questions = [text for text in own if not text.startswith("You")]
                assert [text for text in log if text in set(questions)] == questions
            ctx.messages()
            assert_valid_window(ctx.conversation_history, list(ctx), BUDGET, counter_for("gpt-4o"))
