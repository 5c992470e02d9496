"""
Workers share a session, are killed and lose their server: acknowledged messages stand, in order.

`CTXWIN_CRASHES` says how often to kill one, `CTXWIN_WORKER_MESSAGES` how many messages many of them
write; by default few, since each store goes through it.
"""

import os
import random
import shutil
import signal
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from ctxwin import Budget
from ctxwin.sessions import Session, Sessions, StoreError, open_store
from ctxwin.testing import WordCounter, assert_valid_window
from sessions.servers import PostgreSQL, Redis, Server

CRASHES = int(os.environ.get("CTXWIN_CRASHES", "8"))
MESSAGES = int(os.environ.get("CTXWIN_WORKER_MESSAGES", "160"))
BUDGET = Budget(100, low=0.5, soft=0.6)
OPTIONS: dict[str, Any] = {
    "budget": BUDGET,
    "counter": WordCounter(),
    "strategies": ["summarize-history"],
}


@pytest.fixture(params=["sqlite", "postgresql", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/chats.db"
    given: str = request.getfixturevalue(
        "postgresql" if request.param == "postgresql" else "redis_server"
    )
    return given


def message(name: str, number: int) -> dict[str, Any]:
    """Message by message a chat with a tool exchange now and then, each with a text of its own."""
    text = f"{name} {number} says that parcel {number} is on its way to Lyon"
    kind = number % 6
    if kind == 3:
        call = {
            "id": f"{name}-{number}",
            "type": "function",
            "function": {"name": "look", "arguments": "{}"},
        }
        return {"role": "assistant", "content": text, "tool_calls": [call]}
    if kind == 4:
        return {"role": "tool", "content": text, "tool_call_id": f"{name}-{number - 1}"}
    return {"role": "assistant" if kind % 2 else "user", "content": text}


def forked(work: Callable[[], None]) -> int:
    """Run work in a child process and return its id; status 0 means the work was done."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return child


def check(
    sessions: Sessions,
    session: str,
    expected: dict[str, int],
    at_least: dict[str, int] | None = None,
) -> None:
    """Check that each writer's messages are there once, in order, and the window is valid."""
    with sessions.open(session, **OPTIONS) as ctx:
        texts = [str(found.content) for found in ctx.conversation_history]
        for name, number in expected.items():
            own = [text for text in texts if text.startswith(f"{name} ")]
            assert own == [message(name, at)["content"] for at in range(len(own))]
            assert (at_least or expected)[name] <= len(own) <= number
        ctx.messages()
        assert_valid_window(ctx.conversation_history, list(ctx), BUDGET, WordCounter())
        assert sum(1 for _ in ctx.conversation_history) == len(texts)


def write_until_killed(url: str, session: str, begin: int, acknowledged: int) -> None:
    with open_store(url) as sessions, sessions.open(session, **OPTIONS) as ctx:
        for number in range(begin, 100_000):
            ctx.append(message("worker", number))
            os.write(acknowledged, b"%d\n" % number)
            if number % 2:
                ctx.messages()


def test_a_worker_is_killed_at_any_moment(url: str) -> None:
    """What it has acknowledged is there; at most the message that it was at is there besides."""
    session, chance, stored = f"crash {uuid4().hex}", random.Random(7), 0
    for _ in range(CRASHES):
        reading, writing = os.pipe()
        child = forked(partial(write_until_killed, url, session, stored, writing))
        os.close(writing)
        with os.fdopen(reading, "rb") as acknowledged:
            first = acknowledged.readline()  # it has begun
            time.sleep(chance.random() * 0.03)
            os.kill(child, signal.SIGKILL)
            last = (first + acknowledged.read()).split()[-1:]
        os.waitpid(child, 0)
        assert last, "the worker ended before it was killed"
        with open_store(url) as sessions:
            check(sessions, session, {"worker": int(last[0]) + 2}, {"worker": int(last[0]) + 1})
            stored = sum(1 for _ in pages(sessions, session))
    with open_store(url) as sessions:
        sessions.delete(session)


def pages(sessions: Sessions, session: str) -> Iterator[Any]:
    start = 0
    while page := sessions.read(session, start):
        yield from page
        start = page[-1].id + 1


def write(url: str, session: str, name: str, number: int, summarise: bool) -> None:
    with open_store(url) as sessions, sessions.open(session, **OPTIONS) as ctx:
        for at in range(number):
            ctx.append(message(name, at))
            if summarise:
                prepare(ctx)
            ctx.messages()


def prepare(ctx: Session) -> None:
    ticket = ctx.prepare() if ctx.should_prepare else None
    if ticket is not None:
        ctx.commit(ticket.run(lambda messages, *_: f"{len(messages)} messages about parcels"))


@pytest.mark.parametrize("summarise", [False, True], ids=["", "summaries"])
@pytest.mark.parametrize("workers", [2, 8])
def test_workers_write_to_one_session_at_once(url: str, workers: int, summarise: bool) -> None:
    """All they say is there once, in each one's own order, while they prune."""
    session, each = f"shared {uuid4().hex}", MESSAGES // workers
    names = [f"worker-{number}" for number in range(workers)]
    children = [forked(partial(write, url, session, name, each, summarise)) for name in names]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * workers
    with open_store(url) as sessions:
        check(sessions, session, dict.fromkeys(names, each))
        sessions.delete(session)


@pytest.mark.parametrize("kind", [PostgreSQL, Redis])
def test_the_server_is_killed_in_the_middle(kind: type[PostgreSQL] | type[Redis]) -> None:
    """A typed error each time, and whoever tries the same message again has it stored once."""
    reason = kind.lacks()
    if reason:
        pytest.skip(reason)
    errors, done = 0, threading.Event()

    def trouble(server: Server) -> None:
        while not done.wait(0.15):
            server.restart()

    with kind() as server, open_store(server.url) as sessions, sessions.open("a", **OPTIONS) as ctx:
        thread = threading.Thread(target=trouble, args=(server,))
        thread.start()
        number = 0
        while errors < 5 or number < 50:
            try:
                ctx.append(message("worker", number))
            except StoreError:
                errors += 1
                time.sleep(0.02)
                continue
            number += 1
            with suppress(StoreError):
                ctx.messages()
        done.set()
        thread.join()
        check(
            sessions, "a", {"worker": number + 1}, {"worker": number}
        )  # the last one may have failed and be there


def test_a_dropped_connection_is_replaced(url: str) -> None:
    """Nobody is told of it."""
    if url.startswith("sqlite"):
        pytest.skip("a file has no connection that others can drop")
    with open_store(url) as sessions, sessions.open(f"dropped {uuid4().hex}", **OPTIONS) as ctx:
        for number in range(4):
            drop_connections(sessions)
            ctx.append(message("worker", number))
            drop_connections(sessions)
            assert len(ctx.conversation_history) == number + 1


def drop_connections(sessions: Sessions) -> None:
    """Have the server close every connection of the store."""
    store: Any = sessions.store
    if hasattr(store, "_client"):
        store._client.connection_pool.disconnect = lambda *_: None
        with suppress(Exception):
            store._client.client_kill_filter(_type="normal", skipme=False)
        return
    from sqlalchemy import create_engine

    killer = create_engine(store._engine.url)
    with killer.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
    killer.dispose()


def fill(ctx: Session) -> int:
    """Append until there is no room; returns how many messages were stored."""
    for number in range(10_000):
        try:
            ctx.append(message("worker", number))
        except StoreError as error:
            assert "full" in str(error) or "I/O" in str(error)
            return number
    raise AssertionError("the disk was not full")


def test_a_small_disk_fills_up(tmp_path: Path) -> None:
    """A typed error; all that was acknowledged is there, and once there is room it goes on."""
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(tmp_path)]
    mounted = shutil.which("mount") and subprocess.run(command, check=False, capture_output=True)
    if not mounted or mounted.returncode:
        pytest.skip("mounting a small file system takes root")
    try:
        (tmp_path / "ballast").write_bytes(b"x" * 1_500_000)
        with (
            open_store(f"sqlite:///{tmp_path}/chats.db") as sessions,
            sessions.open("a", **OPTIONS) as ctx,
        ):
            stored = fill(ctx)
            assert len(ctx.conversation_history) == stored > 0
            (tmp_path / "ballast").unlink()
            for number in range(stored, stored + 20):
                ctx.append(message("worker", number))
                ctx.messages()
            check(sessions, "a", {"worker": stored + 20})
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)  # noqa: S607 - as above
