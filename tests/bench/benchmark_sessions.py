"""
What sessions cost: a request beside openai-agents' sessions, long logs, and memory.

`load`: many sessions of 40 messages in one store; requests (open, append, messages) on random
sessions, those of ctxwin and of openai-agents in turn. Sessions have 20 to 60 messages, so that all
distances from a checkpoint occur; those above the budget have been cut. Everything is on disk when
a request ends: SQLite with `synchronous` FULL, PostgreSQL with its defaults, Redis with
`appendfsync always`. Only the ratios matter.

`growth`: opening, appending and reading a page at 100 and at 10,000 messages.

`memory`: what an open session holds, with a window of 20 short messages, for logs of 20 and of 200.

    python tests/bench/benchmark_sessions.py [load] [growth] [memory] [profile] [--sessions 10000]
    [--requests 1500]
"""

import argparse
import asyncio
import cProfile
import gc
import multiprocessing
import pstats
import random
import resource
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from sqlalchemy import event

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.corpus import Wire, plain_chat, print_table
from bench.sessions_peers import (
    MAX_TOKENS,
    MODEL,
    Peer,
    fill,
    name_of,
    ours,
    ours_kept,
    redis_maker,
    sql_maker,
    sqlite_maker,
    sqlite_synchronous,
    theirs,
    theirs_kept,
)
from ctxwin.sessions import NOWHERE, MemoryStore, Position, Sessions, SessionStore, open_store
from sessions.servers import PostgreSQL, Redis

LENGTHS = tuple(range(20, 61, 2))  # 40 on average
SMALL, LARGE = 100, 10_000  # messages
PAIRS, TURNS, PAGE = 4, 60, 50
KEPT = 100  # sessions that stay open
SHORT_TOKENS = 430  # 20 to 24 short messages
PARTS = ("load", "growth", "memory", "profile")


def written(chat: Sequence[Wire], max_tokens: int = MAX_TOKENS) -> tuple[MemoryStore, int]:
    """
    Return a store with one session, and the length of its window.

    The session has the name "" and is written turn by turn, as an application does.
    """
    store = MemoryStore()
    with Sessions(store).open("", max_tokens, model=MODEL) as ctx:
        for wire in chat:
            ctx.append(wire)
            shown = len(ctx.messages())
    return store, shown


def copy(source: MemoryStore, store: SessionStore, name: str) -> None:
    """Store the session of another store under a name: the same records, the same checkpoint."""
    opened, log = source.read(""), source.read("", 1)
    bodies, kept = dict(log.records), set(dict(log.records))
    dropped = [number for number in range(1, log.position.number + 1) if number not in kept]
    filler = log.records[0][1]
    records = [bodies.get(number, filler) for number in range(1, log.position.number + 1)]
    position = NOWHERE
    for start in range(0, len(records), 1000):
        position = store.append(name, records[start : start + 1000], position)
    if opened.checkpoint is not None:
        told = Position(position.life, opened.floor)
        # In portions, as a session writes while it grows.
        for start in range(0, max(1, len(dropped)), 1000):
            store.compact(
                name, told, opened.checkpoint, dict.fromkeys(dropped[start : start + 1000])
            )


@contextmanager
def without_sync(sessions: Sessions) -> Iterator[None]:
    """Fill a SQLite file without waiting for the disk."""
    engine = getattr(sessions.store, "_engine", None)
    if engine is None or engine.dialect.name != "sqlite":
        yield
        return

    def unsafe(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous = OFF").close()

    engine.dispose()
    event.listen(engine, "connect", unsafe)
    yield
    event.remove(engine, "connect", unsafe)
    engine.dispose()


@asynccontextmanager
async def places(
    folder: Path, wanted: Sequence[str]
) -> AsyncIterator[dict[str, tuple[str, str, Any]]]:
    """Yield store -> ctxwin's URL, the name of openai-agents' session there, and what makes one."""
    found: dict[str, tuple[str, str, Any]] = {}
    closers = []
    with ExitStack() as servers:
        if "sqlite" in wanted:
            found["SQLite"] = (
                f"sqlite:///{folder}/ours.db",
                "SQLiteSession",
                sqlite_maker(folder / "theirs.db"),
            )
        if "postgresql" in wanted:
            postgresql = servers.enter_context(PostgreSQL())
            make, close = sql_maker(postgresql.url)
            closers.append(close)
            found["PostgreSQL"] = (postgresql.url, "SQLAlchemySession", make)
        if "redis" in wanted:
            redis = servers.enter_context(Redis())
            make, close = redis_maker(redis.url)
            closers.append(close)
            found["Redis"] = (redis.url, "RedisSession", make)
        yield found
        for close in closers:
            await close()


async def load(options: argparse.Namespace) -> None:
    """Serve requests from all peers in turn, and print percentiles and ratios."""
    print(
        f"## load: {options.sessions} sessions of 40 messages on average, "
        f"{options.requests} requests each\n"
    )
    chats = [plain_chat(length, seed=length) for length in LENGTHS]
    sources = [written(chat)[0] for chat in chats]
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as folder:
        async with places(Path(folder), options.stores) as found:
            for store, (url, label, make) in found.items():
                with open_store(url) as sessions:
                    with without_sync(sessions):
                        for number in range(options.sessions):
                            copy(sources[number % len(sources)], sessions.store, name_of(number))
                    await fill(make, chats, options.sessions)
                    peers = [
                        *ours(sessions),
                        *theirs(label, make),
                        ours_kept(sessions),
                        theirs_kept(label, make),
                    ]
                    times = await serve(peers, options.sessions, options.requests)
                    rows += table(store, times, label)
            if "SQLite" in found:
                mode = sqlite_synchronous(Path(folder) / "theirs.db")
                print(f"openai-agents' synchronous: {mode}; ctxwin's: 2, FULL\n")
    header = [
        "store",
        "request",
        "p50 ms",
        "p99 ms",
        "p50 theirs / it",
        "p99 theirs / it",
        "p50 theirs cut / it",
    ]
    print_table(header, rows)


async def serve(peers: Sequence[Peer], sessions: int, requests: int) -> dict[str, list[float]]:
    """
    Return how long requests took, in seconds.

    Each peer serves one in turn, on a random session of its own.
    """
    chance = random.Random(6)
    times: dict[str, list[float]] = {peer.name: [] for peer in peers}
    few = min(KEPT, sessions // 2)  # sessions for the peers that keep them open: opened untimed
    for number in range(-few, requests):
        wire = plain_chat(2, seed=1000 + number)[1]
        for peer in chance.sample(peers, len(peers)):
            drawn = chance.randrange(few, sessions)
            if "kept" in peer.name:
                drawn = number % few if number < 0 else chance.randrange(few)
            name = name_of(drawn)
            start = perf_counter()
            window = await peer.serve(name, wire)
            spent = perf_counter() - start
            if window[-1] != wire:
                raise AssertionError(f"{peer.name} lost the newest message")
            if number >= 0:
                times[peer.name].append(spent)
            await peer.rest()
    return times


def table(store: str, times: dict[str, list[float]], label: str) -> list[list[object]]:
    """Return rows of percentiles, each beside openai-agents' of the same kind."""
    rows: list[list[object]] = []
    for name, found in times.items():
        peer = times[f"{label}, kept" if "kept" in name else label]
        ratios = [f"{at(peer, share) / at(found, share):.2f}" for share in (0.5, 0.99)]
        cut = f"{at(times[f'{label}, counted and cut'], 0.5) / at(found, 0.5):.2f}"
        rows.append(
            [
                store,
                name,
                f"{1000 * at(found, 0.5):.2f}",
                f"{1000 * at(found, 0.99):.2f}",
                *ratios,
                cut,
            ]
        )
    return rows


def at(times: Sequence[float], share: float) -> float:
    """Return a quantile."""
    return sorted(times)[int(share * (len(times) - 1))]


async def growth(options: argparse.Namespace) -> None:
    """Print what opening, appending and reading cost in short and in long sessions, in turn."""
    print(f"## growth: {SMALL} and {LARGE} messages, {PAIRS * TURNS} turns each, medians in ms\n")
    # Sessions of several lengths, because the cost of an opening depends on how far back the latest
    # cut and checkpoint are.
    sources = {
        f"{size}-{pair}": written(plain_chat(size + 13 * pair, seed=pair))[0]
        for size in (SMALL, LARGE)
        for pair in range(PAIRS)
    }
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as folder:
        async with places(Path(folder), options.stores) as found:
            for store, (url, _, _) in found.items():
                with open_store(url) as sessions:
                    for name, source in sources.items():
                        copy(source, sessions.store, name)
                    rows += grown(store, sessions)
    print_table(["store", "what", f"{SMALL} messages", f"{LARGE} messages", "ratio"], rows)


def grown(store: str, sessions: Sessions) -> list[list[object]]:
    """Measure one store."""
    times: dict[tuple[str, int], list[float]] = {}
    numbers = count()
    for _ in range(TURNS):
        for pair in range(PAIRS):
            for size in random.Random(next(numbers)).sample((SMALL, LARGE), 2):
                for what, spent in turn(sessions, f"{size}-{pair}", size, next(numbers)):
                    times.setdefault((what, size), []).append(1000 * spent)
    rows: list[list[object]] = []
    for what in dict.fromkeys(what for what, _ in times):
        small, large = (median(times[what, size]) for size in (SMALL, LARGE))
        rows.append([store, what, f"{small:.2f}", f"{large:.2f}", f"{large / small:.2f}"])
    return rows


def turn(sessions: Sessions, name: str, size: int, seed: int) -> Iterator[tuple[str, float]]:
    """Yield what was done and how long it took."""
    wire = plain_chat(2, seed=seed)[1]
    start = perf_counter()
    with sessions.open(name, MAX_TOKENS, model=MODEL) as ctx:
        yield "open", perf_counter() - start
        start = perf_counter()
        ctx.append(wire)
        yield "append", perf_counter() - start
        start = perf_counter()
        ctx.messages()
        yield "messages", perf_counter() - start
    for what, first in ((f"read the first {PAGE}", 1), (f"read {PAGE} from the middle", size // 2)):
        start = perf_counter()
        page = sessions.read(name, first, PAGE)
        yield what, perf_counter() - start
        if len(page) != PAGE:
            raise AssertionError(f"{len(page)} messages")


def memory(options: argparse.Namespace) -> None:
    """Print the memory of an open session, in a new process for each length of log."""
    print("## memory: sessions open in one process, on one SQLite file\n")
    rows = []
    context = multiprocessing.get_context("spawn")
    for length, sessions in (
        (20, options.live),
        (20, options.live // 10),
        (200, options.live // 10),
    ):
        with context.Pool(1) as pool, tempfile.TemporaryDirectory() as folder:
            rows.append(pool.apply(held, (folder, length, sessions)))
    header = [
        "log",
        "window",
        "sessions",
        "bytes a session",
        "of them as JSON",
        "GB in all",
        "open + messages ms",
    ]
    print_table(header, rows)


def held(folder: str, length: int, sessions: int) -> list[object]:
    """Open sessions, keep them, and return what that took."""
    log, window, source = short_log(length)
    url = f"sqlite:///{folder}/live.db"
    with open_store(url) as store, without_sync(store):
        for number in range(sessions):
            copy(source, store.store, name_of(number))
    with open_store(url) as store:
        # The first ones load what each process loads once.
        kept = [opened(store, number) for number in range(100)]
        gc.collect()
        before, start = resident(), perf_counter()
        kept += [opened(store, number) for number in range(100, sessions)]
        spent = perf_counter() - start
        gc.collect()
        bytes_each = (resident() - before) / (sessions - 100)
        shown = kept[-1].messages()
        if len(shown) != window:
            raise AssertionError(f"{len(shown)} in the window, not {window}")
        text = sum(len(str(wire)) for wire in shown)
        whole = bytes_each * sessions / 1e9
        each = 1000 * spent / (sessions - 100)
        return [
            log,
            window,
            sessions,
            f"{bytes_each:,.0f}",
            f"{text:,}",
            f"{whole:.2f}",
            f"{each:.2f}",
        ]


def opened(sessions: Sessions, number: int) -> Any:
    """Return an open session that has been asked for its window."""
    ctx = sessions.open(name_of(number), SHORT_TOKENS, model=MODEL)
    ctx.messages()
    return ctx


def short_log(length: int) -> tuple[int, int, MemoryStore]:
    """Return a log of at least this length, whose window has 20 short messages."""
    for size in range(length, length + 30):
        source, shown = written(short_chat(size), SHORT_TOKENS)
        if shown == 20:
            return size, shown, source
    raise AssertionError("no window of 20")


def short_chat(size: int) -> list[Wire]:
    """Return messages of about a dozen tokens."""
    roles = ("user", "assistant")
    return [
        {"role": roles[i % 2], "content": f"Where is my parcel {i:05d}, and when does it come?"}
        for i in range(size)
    ]


def resident() -> int:
    """Return the bytes that this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def profile(options: argparse.Namespace) -> None:
    """Print where the time of ctxwin's request goes, on SQLite."""
    print("## profile: open, append and messages on SQLite\n")
    sources = [written(plain_chat(length, seed=length))[0] for length in LENGTHS]
    with (
        tempfile.TemporaryDirectory() as folder,
        open_store(f"sqlite:///{folder}/ours.db") as sessions,
    ):
        for number in range(500):
            copy(sources[number % len(sources)], sessions.store, name_of(number))
        serve_one = ours(sessions)[0].serve

        async def requests() -> None:
            for number in range(500):
                await serve_one(name_of(number), plain_chat(2, seed=number)[1])

        asyncio.run(requests())
        profiler = cProfile.Profile()
        profiler.runcall(asyncio.run, requests())
        for order in ("cumulative", "tottime"):
            pstats.Stats(profiler).sort_stats(order).print_stats(45)


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help="of " + ", ".join(PARTS))
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=1500)
    parser.add_argument("--live", type=int, default=100_000, help="sessions open at once")
    parser.add_argument("--stores", nargs="*", default=["sqlite", "postgresql", "redis"])
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that servers are stopped
    parts = options.parts or PARTS[:3]
    if "load" in parts:
        asyncio.run(load(options))
    if "growth" in parts:
        asyncio.run(growth(options))
    if "memory" in parts:
        memory(options)
    if "profile" in parts:
        profile(options)


if __name__ == "__main__":
    main()
