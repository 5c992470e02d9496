"""
One request, served by sessions of ctxwin and of openai-agents, on one SQLite file or server.

A request opens a session, appends the user's message and gets the messages to send to a model.
openai-agents has no window: its `get_items()` returns the whole history, however long. So it is
also measured with its items counted and cut with tiktoken to the same budget, in the cheapest way
there is.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from agents.memory import SQLiteSession

from bench.corpus import Wire
from ctxwin.counting.openai.chat import PER_MESSAGE, PRIMING
from ctxwin.counting.text.encodings import load_encoding
from ctxwin.sessions import Session, Sessions

MODEL, MAX_TOKENS = "gpt-4o", 4000

Serve: TypeAlias = Callable[[str, Wire], Awaitable[Sequence[Any]]]
"""Opens a session by its name, appends a message, and returns the messages to send to a model."""


@dataclass(frozen=True, slots=True)
class Peer:
    """
    A way to serve a request.

    Attributes:
        name: its name in the table.
        serve: serves one request.
        rest: what to do after each request, not timed.
    """

    name: str
    serve: Serve
    rest: Callable[[], Awaitable[None]]


async def nothing() -> None:
    """Do nothing."""
    return


def ours(sessions: Sessions) -> list[Peer]:
    """Return ctxwin's ways: blocking, awaited, and with the session kept open between requests."""

    async def blocking(name: str, wire: Wire) -> Sequence[Any]:
        with sessions.open(name, MAX_TOKENS, model=MODEL) as ctx:
            ctx.append(wire)
            return ctx.messages()

    async def awaited(name: str, wire: Wire) -> Sequence[Any]:
        async with sessions.aopen(name, MAX_TOKENS, model=MODEL) as ctx:
            await ctx.aadd_message(wire["role"], wire["content"])
            return await ctx.amessages()

    return [Peer("ctxwin", blocking, nothing), Peer("ctxwin, awaited", awaited, nothing)]


def ours_kept(sessions: Sessions) -> Peer:
    """Return ctxwin's way with sessions that stay open: an append detects what others wrote."""
    kept: dict[str, Session] = {}

    async def serve(name: str, wire: Wire) -> Sequence[Any]:
        ctx = kept.get(name) or kept.setdefault(name, sessions.open(name, MAX_TOKENS, model=MODEL))
        ctx.append(wire)
        found: list[Any] = ctx.messages()
        return found

    return Peer("ctxwin, kept open", serve, nothing)


def theirs(label: str, make: Callable[[str], Any]) -> list[Peer]:
    """Return openai-agents' ways: the history, the history cut to the budget, the object kept."""
    last: list[Any] = []

    async def serve(name: str, wire: Wire) -> Sequence[Any]:
        session = make(name)
        last.append(session)
        await session.add_items([wire])
        found: list[Any] = await session.get_items()
        return found

    async def cut(name: str, wire: Wire) -> Sequence[Any]:
        return newest(await serve(name, wire))

    async def rest() -> None:
        while last:
            await _close(last.pop())

    return [Peer(label, serve, rest), Peer(f"{label}, counted and cut", cut, rest)]


def theirs_kept(label: str, make: Callable[[str], Any]) -> Peer:
    """Return openai-agents' way with the objects kept between requests."""
    kept: dict[str, Any] = {}

    async def serve(name: str, wire: Wire) -> Sequence[Any]:
        session = kept.get(name) or kept.setdefault(name, make(name))
        await session.add_items([wire])
        found: list[Any] = await session.get_items()
        return found

    return Peer(f"{label}, kept", serve, nothing)


def newest(items: Sequence[Any]) -> list[Any]:
    """Return the system message and as many of the newest items as fit, each counted once."""
    encode = _encoding().encode_ordinary
    sizes = [
        PER_MESSAGE + len(encode(item["role"])) + len(encode(item["content"])) for item in items
    ]
    room = MAX_TOKENS - PRIMING - sizes[0]
    first = len(items)
    while first > 1 and sizes[first - 1] <= room:
        first -= 1
        room -= sizes[first]
    return [items[0], *items[first:]]


@cache
def _encoding() -> Any:
    return load_encoding("o200k_base")


async def _close(session: Any) -> None:
    """Close the connections of an object; other stores share a pool or a client."""
    if isinstance(session, SQLiteSession):
        await asyncio.to_thread(session.close)


def sqlite_maker(path: Path) -> Callable[[str], Any]:
    """Return a function that makes openai-agents' sessions in a SQLite file."""
    return lambda name: SQLiteSession(name, path)


def sqlite_synchronous(path: Path) -> int:
    """Return `synchronous` of openai-agents' connections: 2, FULL, or 1, which may lose commits."""
    connection = sqlite3.connect(path)
    SQLiteSession._configure_connection(connection)
    found: int = connection.execute("PRAGMA synchronous").fetchone()[0]
    connection.close()
    return found


def sql_maker(url: str) -> tuple[Callable[[str], Any], Callable[[], Awaitable[None]]]:
    """Return functions that make openai-agents' sessions in PostgreSQL and close their engine."""
    from agents.extensions.memory import SQLAlchemySession  # needs sqlalchemy[asyncio]
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url.replace("+psycopg", "+asyncpg"))
    first = [True]

    def make(name: str) -> Any:
        create, first[0] = first[0], False
        return SQLAlchemySession(name, engine=engine, create_tables=create)

    return make, engine.dispose


def redis_maker(url: str) -> tuple[Callable[[str], Any], Callable[[], Awaitable[None]]]:
    """Return functions that make openai-agents' sessions in Redis and close their client."""
    from agents.extensions.memory import RedisSession
    from redis.asyncio import Redis

    client = Redis.from_url(url)
    return lambda name: RedisSession(name, redis_client=client, key_prefix="theirs"), client.aclose


async def fill(make: Callable[[str], Any], chats: Sequence[Sequence[Wire]], sessions: int) -> None:
    """Write openai-agents' sessions; in SQLite one object writes all, not waiting for the disk."""
    session = make(name_of(0))
    await session.get_items()  # makes the tables
    one = isinstance(session, SQLiteSession)
    for number in range(sessions):
        if one:
            session.session_id = name_of(number)
            await asyncio.to_thread(
                lambda: session._get_connection().execute("PRAGMA synchronous = OFF")
            )
        target = session if one else make(name_of(number))
        await target.add_items(list(chats[number % len(chats)]))
    await _close(session)


def name_of(number: int) -> str:
    """Return the id of a session."""
    return f"user-{number}"
