"""
The same request served by ctxwin's sessions and by those of openai-agents, on one SQLite file or
server.

A request opens a session, appends the user's message and gets what a model is to be sent.
openai-agents has no window: its `get_items()` returns all of the history, however long; its items
are also shown counted and cut with tiktoken, so that they fit into the same budget, the cheapest
way there is.
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
from ctxwin.counting.chat import PER_MESSAGE, PRIMING
from ctxwin.counting.text.encodings import load_encoding
from ctxwin.sessions import Session, Sessions

MODEL, MAX_TOKENS = "gpt-4o", 4000

Serve: TypeAlias = Callable[[str, Wire], Awaitable[Sequence[Any]]]
"""Opens a session by its name, appends a message, and returns what a model is to be sent."""


@dataclass(frozen=True, slots=True)
class Peer:
    """
    A way to serve a request.

    Attributes:
        name: what it is.
        serve: serves one.
        rest: what is to be done after each, off the clock.
    """

    name: str
    serve: Serve
    rest: Callable[[], Awaitable[None]]


async def nothing() -> None:
    """Rest."""
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
    """Return ctxwin's way with sessions that stay open: an append finds out whether others wrote."""
    kept: dict[str, Session] = {}

    async def serve(name: str, wire: Wire) -> Sequence[Any]:
        ctx = kept.get(name) or kept.setdefault(name, sessions.open(name, MAX_TOKENS, model=MODEL))
        ctx.append(wire)
        found: list[Any] = ctx.messages()
        return found

    return Peer("ctxwin, kept open", serve, nothing)


def theirs(label: str, make: Callable[[str], Any]) -> list[Peer]:
    """Return openai-agents' ways: all of the history, that history cut to the budget, and with the object kept."""
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
    """Let go of the connections of an object; those of the other stores are of a pool, or a client, that is shared."""
    if isinstance(session, SQLiteSession):
        await asyncio.to_thread(session.close)


def sqlite_maker(path: Path) -> Callable[[str], Any]:
    """Return what makes openai-agents' sessions in a SQLite file."""
    return lambda name: SQLiteSession(name, path)


def sqlite_synchronous(path: Path) -> int:
    """Return the `synchronous` of openai-agents' connections: 2 is FULL, 1 is NORMAL, which may lose commits."""
    connection = sqlite3.connect(path)
    SQLiteSession._configure_connection(connection)
    found: int = connection.execute("PRAGMA synchronous").fetchone()[0]
    connection.close()
    return found


def sql_maker(url: str) -> tuple[Callable[[str], Any], Callable[[], Awaitable[None]]]:
    """Return what makes openai-agents' sessions in PostgreSQL by asyncpg, and what closes their engine."""
    from agents.extensions.memory import SQLAlchemySession  # needs sqlalchemy[asyncio]
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url.replace("+psycopg", "+asyncpg"))
    first = [True]

    def make(name: str) -> Any:
        create, first[0] = first[0], False
        return SQLAlchemySession(name, engine=engine, create_tables=create)

    return make, engine.dispose


def redis_maker(url: str) -> tuple[Callable[[str], Any], Callable[[], Awaitable[None]]]:
    """Return what makes openai-agents' sessions in Redis, and what closes their client."""
    from agents.extensions.memory import RedisSession
    from redis.asyncio import Redis

    client = Redis.from_url(url)
    return lambda name: RedisSession(name, redis_client=client, key_prefix="theirs"), client.aclose


async def fill(make: Callable[[str], Any], chats: Sequence[Sequence[Wire]], sessions: int) -> None:
    """Write openai-agents' sessions; SQLite's by one object that goes from session to session, without waiting."""
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
