"""`SQLStore` on SQLite and on a real PostgreSQL server."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import format_exception
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

pytest.importorskip("sqlalchemy", reason="needs the extra `sql`")
pytest.importorskip("psycopg", reason="needs the extra `sql`")

from sqlalchemy import create_engine, make_url

from ctxwin.sessions.stores import engine as engines
from ctxwin.sessions.stores import schema
from ctxwin.sessions.stores import sql as stores
from ctxwin.sessions.stores.memory import MemoryStore
from ctxwin.sessions.stores.protocol import NOWHERE, Page, Position, SessionStore
from ctxwin.sessions.stores.sql import SQLStore
from ctxwin.values.errors import StaleError, StoreError
from sessions.contracts import OpenedStores
from sessions.servers import PostgreSQL

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=20)
on_one_database = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def run(engine_url: str, *statements: str) -> None:
    """Say something to a database without a store."""
    engine = create_engine(engine_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/chats.db"
    return new_schema(request.getfixturevalue("postgresql"))


def new_schema(server: str) -> str:
    """Return a URL by which a server's database looks empty."""
    name = f"s{uuid4().hex}"
    run(server, f"CREATE SCHEMA {name}")
    return (
        make_url(server)
        .update_query_dict({"options": f"-csearch_path={name}"})
        .render_as_string(False)
    )


@pytest.fixture
def store(url: str) -> Iterator[SQLStore]:
    with closing(SQLStore(url)) as opened:
        yield opened


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "chats.db"


class TestContract(OpenedStores):
    @pytest.fixture(autouse=True)
    def _database(self, url: str) -> None:
        self.url = url

    def open(self) -> SessionStore:
        return SQLStore(self.url)


@on_one_database
@given(sessions=st.lists(ANY_TEXT, min_size=1, max_size=5, unique=True))
@example(
    [
        "",
        "\0",
        "a",
        "a\0",
        "A",
        "\ud800",
        "\udfff",
        "é",
        "e\u0301",
        "%",
        "_",
        "'; DROP TABLE ctxwin_records; --",
    ]
)
@example(["x" * 3_000_000, "x" * 2_999_999, ":key", "%(key)s", "$1", "?"])
def test_a_session_id_is_any_text(store: SQLStore, sessions: list[str]) -> None:
    for number, session in enumerate(sessions):
        store.append(session, [b"%d" % number], NOWHERE)
    assert sorted(store.list()) == sorted(sessions)
    for number, session in enumerate(sessions):
        assert store.read(session).records == ((1, b"%d" % number),)
        assert store.delete(session)
        assert store.read(session) == Page(NOWHERE, 0)
    assert list(store.list()) == []


@on_one_database
@given(records=st.lists(st.binary(), min_size=1, max_size=30))
@example([bytes(range(256)) * 40_000])
def test_bytes_come_back_as_they_were_given(store: SQLStore, records: list[bytes]) -> None:
    session = uuid4().hex
    position = store.append(session, records, NOWHERE)
    assert store.read(session) == Page(position, 0, tuple(enumerate(records, 1)))
    assert store.compact(session, position, records[0], {1: None})
    assert store.read(session) == Page(position, len(records), (), records[0])


class Pair:
    """A store and one in memory, to be asked the same; the lives of their sessions differ."""

    def __init__(self, store: SQLStore) -> None:
        self.store, self.memory = store, MemoryStore()
        self.positions = [(NOWHERE, NOWHERE)]

    def append(self, records: list[bytes], which: int) -> None:
        expected = self.positions[which % len(self.positions)]
        found = [
            outcome(self.store.append, "s", records, expected[0]),
            outcome(self.memory.append, "s", records, expected[1]),
        ]
        if StaleError in found:
            assert found == [StaleError, StaleError]
        else:
            assert found[0].number == found[1].number
            self.positions.append((found[0], found[1]))

    def compact(
        self, which: int, checkpoint: bytes | None, changes: dict[int, bytes | None]
    ) -> None:
        mine, theirs = self.positions[which % len(self.positions)]
        done = self.store.compact("s", mine, checkpoint, changes)
        assert done == self.memory.compact("s", theirs, checkpoint, changes)

    def delete(self) -> None:
        assert self.store.delete("s") == self.memory.delete("s")

    def read(self, *arguments: int) -> None:
        mine, theirs = self.store.read("s", *arguments), self.memory.read("s", *arguments)
        assert (mine.position.number, *parts(mine)) == (theirs.position.number, *parts(theirs))
        assert (mine.position == NOWHERE) == (theirs.position == NOWHERE)


def outcome(call: Any, *arguments: object) -> Any:
    try:
        return call(*arguments)
    except StaleError:
        return StaleError


def parts(page: Page) -> tuple[object, ...]:
    return page.floor, page.records, page.checkpoint


NEWEST_FIRST = st.integers(-3, 0).map(lambda back: back - 1)
BODIES = st.binary(max_size=3)
STEPS = st.one_of(
    st.tuples(st.just("append"), st.lists(BODIES, min_size=1, max_size=4), NEWEST_FIRST),
    st.tuples(st.just("append"), st.lists(BODIES, min_size=1, max_size=4), st.just(-1)),
    st.tuples(
        st.just("compact"),
        NEWEST_FIRST,
        st.none() | BODIES,
        st.dictionaries(st.integers(1, 12), st.none() | BODIES, max_size=4),
    ),
    st.tuples(st.just("delete")),
    st.tuples(st.just("read")),
    st.tuples(st.just("read"), st.integers(0, 12)),
    st.tuples(st.just("read"), st.integers(0, 12), st.integers(0, 5)),
)


@on_one_database
@given(steps=st.lists(STEPS, max_size=15))
def test_it_does_what_the_store_in_memory_does(
    store: SQLStore, steps: list[tuple[Any, ...]]
) -> None:
    store.delete("s")
    pair = Pair(store)
    for name, *arguments in steps:
        getattr(pair, name)(*arguments)
    pair.read()
    pair.read(1)


def test_only_records_are_changed(store: SQLStore) -> None:
    first = store.append("s", [b"1", b"2"], NOWHERE)
    second = store.append("s", [b"3"], first)
    assert store.compact(
        "s", first, b"c", {-1: b"", 0: b"no checkpoint", 1: None, 2: b"two", 4: b"", 2**70: None}
    )
    assert store.read("s", 0) == Page(second, 2, ((2, b"two"), (3, b"3")))
    assert store.read("s") == Page(second, 2, ((3, b"3"),), b"c")


def test_a_successor_is_not_its_predecessor(store: SQLStore) -> None:
    before = store.append("s", [b"1"], NOWHERE)
    store.delete("s")
    after = store.append("s", [b"1"], NOWHERE)
    assert before.life != after.life
    with pytest.raises(StaleError):
        store.append("s", [b"2"], before)
    assert not store.compact("s", before, b"c", {1: None})
    assert store.read("s") == Page(after, 0, ((1, b"1"),))


def test_who_has_not_seen_all_stores_nothing(store: SQLStore) -> None:
    first = store.append("s", [b"1"], NOWHERE)
    second = store.append("s", [b"2"], first)
    for stale in (
        NOWHERE,
        first,
        Position("", 2),
        Position(second.life, 3),
        Position("another", 2),
    ):
        with pytest.raises(StaleError, match="'s' is not at"):
            store.append("s", [b"3"], stale)
    with pytest.raises(StaleError):
        store.append("none", [b"1"], second)
    assert store.read("s") == Page(second, 0, ((1, b"1"), (2, b"2")))
    assert list(store.list()) == ["s"]


def test_a_checkpoint_is_not_replaced_by_an_older_one(store: SQLStore) -> None:
    first = store.append("s", [b"1"], NOWHERE)
    second = store.append("s", [b"2"], first)
    assert store.compact("s", second, b"newer", {1: None})
    assert not store.compact("s", first, b"older", {})
    assert store.read("s") == Page(second, 2, (), b"newer")


def test_numbers_beyond_all_bounds(store: SQLStore) -> None:
    position = store.append("s", [b"1"], NOWHERE)
    assert store.read("s", -(2**70), 2**70).records == ((1, b"1"),)
    assert store.read("s", 2**70) == Page(position, 0)
    assert not store.compact("s", Position(position.life, 2**70), b"c", {})
    with pytest.raises(StoreError):
        store.append("s", [b"2"], Position(position.life, 2**70))


def test_ids_are_listed_page_by_page(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "NAMES", 2)
    for number in range(5):
        store.append(str(number), [b""], NOWHERE)
    listed = store.list()
    assert next(listed) == "0"
    store.delete("3")
    store.append("5", [b""], NOWHERE)
    assert list(listed) == ["1", "2", "4", "5"]


def test_a_reader_sees_one_moment_while_another_compacts(store: SQLStore) -> None:
    position = store.append("s", [b"1"], NOWHERE)
    done = threading.Event()

    def write() -> None:
        nonlocal position
        try:
            for _ in range(100):
                number = position.number
                position = store.append("s", [b"%d" % (number + 1)], position)
                store.compact("s", Position(position.life, number), b"%d" % number, {number: None})
        finally:
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        page = store.read("s")
        assert int(page.checkpoint or b"0") == page.floor
        expected = range(page.floor + 1, page.position.number + 1)
        assert page.records == tuple((number, b"%d" % number) for number in expected)
    writer.join()
    assert store.read("s") == Page(position, 100, ((101, b"101"),), b"100")


def test_an_older_checkpoint_waits_for_a_newer_one_and_then_gives_way(postgresql: str) -> None:
    with closing(SQLStore(new_schema(postgresql))) as store, ThreadPoolExecutor(1) as threads:
        position = store.append("s", [b"1", b"2"], NOWHERE)
        with store._writing() as cursor, store._borrowed() as watch:
            cursor.execute("UPDATE ctxwin_sessions SET floor = 2")
            older = threads.submit(store.compact, "s", Position(position.life, 1), b"older", {})
            while not older.done():
                watch.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
                if watch.fetchall():
                    break
        assert not older.result()
        assert store.read("s") == Page(position, 2)


def test_a_writer_of_a_file_has_its_lock_from_the_beginning(file: Path) -> None:
    with (
        closing(SQLStore(f"sqlite:///{file}")) as store,
        closing(sqlite3.connect(file, timeout=0)) as other,
    ):
        with store._writing(), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.execute("BEGIN IMMEDIATE")


def test_after_a_failure_all_connections_are_fresh(store: SQLStore) -> None:
    with store._borrowed(), store._borrowed():
        pass
    pool = store._engine.pool
    assert pool.checkedin() == 2  # type: ignore[attr-defined]
    with pytest.raises(StoreError, match="nonsense"), store._borrowed() as cursor:
        cursor.execute("nonsense")
    assert pool.checkedin() == 0  # type: ignore[attr-defined]


WRITER = """
import sys
from ctxwin.sessions import StaleError
from ctxwin.sessions.stores.sql import SQLStore

store = SQLStore(sys.argv[1])
for turn in range(10):
    while True:
        try:
            body = f"{sys.argv[2]}-{turn}".encode()
            store.append("shared", [body], store.read("shared").position)
        except StaleError:
            continue
        break
store.close()
"""


def test_processes_make_a_database_and_a_session_at_once(url: str) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, url, str(number)]) for number in range(4)
    ]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    with closing(SQLStore(url)) as store:
        found = [body.decode() for _, body in store.read("shared").records]
    for number in range(4):
        assert [body for body in found if body[0] == str(number)] == [
            f"{number}-{turn}" for turn in range(10)
        ]
    assert len(found) == 40


def test_a_database_is_made_while_another_waits_to_make_it(postgresql: str) -> None:
    url = new_schema(postgresql)
    with closing(SQLStore(url)) as store, store._writing() as cursor:
        cursor.execute("DROP TABLE ctxwin_schema, ctxwin_sessions, ctxwin_records")
        cursor.execute("COMMIT")
        assert not schema.is_current(cursor, store._dialect)
        cursor.execute("BEGIN")
        SQLStore(url).close()
        schema.migrate(cursor, store._dialect)
        assert schema.is_current(cursor, store._dialect)


def test_one_at_a_time_migrates(postgresql: str) -> None:
    try_lock = schema.POSTGRESQL.lock.replace("pg_advisory", "pg_try_advisory")
    with (
        closing(SQLStore(new_schema(postgresql))) as store,
        store._writing() as one,
        store._writing() as other,
    ):
        schema.migrate(one, store._dialect)
        other.execute(try_lock)
        assert other.fetchall() == [(False,)]


def test_a_database_of_any_encoding(postgresql: str) -> None:
    name = f"s{uuid4().hex}"
    run(
        postgresql,
        f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
        " TEMPLATE template0",
    )
    with closing(
        SQLStore(make_url(postgresql).set(database=name).render_as_string(False))
    ) as store:
        position = store.append("s", [b"\xff"], NOWHERE)
        assert store.read("s") == Page(position, 0, ((1, b"\xff"),))
    run(postgresql, f"DROP DATABASE {name}")


FORKER = """
import os, sys
from ctxwin.sessions.stores.protocol import NOWHERE
from ctxwin.sessions.stores.sql import SQLStore

store = SQLStore(sys.argv[1])
position = store.append("s", [b"parent"], NOWHERE)
child = os.fork()
if child == 0:
    store.append("s", [b"child"], position)
    store.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
store.append("s", [b"parent again"], store.read("s").position)
store.close()
"""


def test_a_forked_child_has_connections_of_its_own(url: str) -> None:
    subprocess.run([sys.executable, "-c", FORKER, url], check=True, timeout=60)
    with closing(SQLStore(url)) as store:
        assert [body for _, body in store.read("s").records] == [
            b"parent",
            b"child",
            b"parent again",
        ]


def test_what_a_child_inherited_is_left_as_it_is(store: SQLStore) -> None:
    store.append("s", [b"1"], NOWHERE)
    inherited = store._engine.pool
    stores._disown()
    assert store.read("s").records == ((1, b"1"),)
    assert inherited.checkedin() == 1  # type: ignore[attr-defined]
    inherited.dispose()
    stores._inherited.remove(inherited)


VERSION_1 = {
    "sqlite": ("INTEGER PRIMARY KEY", "BLOB", "WITHOUT ROWID", "x'{}'"),
    "postgresql": ("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "BYTEA", "", "'\\x{}'"),
}


def make_version_1(url: str) -> None:
    """Write a database as the first release did; this text never changes."""
    serial, binary, clustered, literal = VERSION_1[make_url(url).get_backend_name()]
    key = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"  # SHA-256 of "key"
    run(
        url,
        "CREATE TABLE ctxwin_schema (version BIGINT NOT NULL)",
        "INSERT INTO ctxwin_schema VALUES (1)",
        f"CREATE TABLE ctxwin_sessions (id {serial}, key {binary} NOT NULL UNIQUE,"
        f" name {binary} NOT NULL, life TEXT NOT NULL, head BIGINT NOT NULL,"
        " floor BIGINT NOT NULL)",
        f"CREATE TABLE ctxwin_records (session_id BIGINT NOT NULL, number BIGINT NOT NULL,"
        f" body {binary} NOT NULL, PRIMARY KEY (session_id, number)) {clustered}",
        "INSERT INTO ctxwin_sessions (key, name, life, head, floor)"  # noqa: S608 - constants
        f" VALUES ({literal.format(key)}, {literal.format(b'key'.hex())}, 'a life', 3, 2)",
        *(
            f"INSERT INTO ctxwin_records SELECT id, {number}, "  # noqa: S608
            f"{literal.format(body.hex())} FROM ctxwin_sessions"
            for number, body in ((0, b"checkpoint"), (2, b"two"), (3, b"three"))
        ),
    )


LATER = (
    "ALTER TABLE ctxwin_sessions ADD COLUMN title TEXT",
    "UPDATE ctxwin_sessions SET title = 'none yet'",
)


@pytest.mark.parametrize("later", [(), (LATER,)])
def test_a_database_of_version_1_is_brought_forward(
    url: str, later: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_version_1(url)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS[:1], *later))
    for _ in range(2):
        with closing(SQLStore(url)) as store, store._borrowed() as cursor:
            assert schema.stored_version(cursor, store._dialect) == 1 + len(later)
            cursor.execute("SELECT * FROM ctxwin_sessions")
            assert cursor.fetchall()[0][6:] == (("none yet",) if later else ())
            assert list(store.list()) == ["key"]
            page = store.read("key")
            assert page == Page(Position("a life", 3), 2, ((3, b"three"),), b"checkpoint")
            assert store.read("key", 1).records == ((2, b"two"), (3, b"three"))
    with closing(SQLStore(url)) as store:
        assert store.append("key", [b"four"], page.position) == Position("a life", 4)


def test_a_migration_that_fails_leaves_everything_as_it_was(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_version_1(url)
    released = schema.MIGRATIONS
    monkeypatch.setattr(
        schema, "MIGRATIONS", (*released, LATER, ("ALTER TABLE nothing ADD COLUMN x TEXT",))
    )
    with pytest.raises(StoreError, match="nothing"):
        SQLStore(url)
    monkeypatch.setattr(schema, "MIGRATIONS", released)
    with closing(SQLStore(url)) as store:
        assert store.read("key").checkpoint == b"checkpoint"


def test_a_database_of_a_newer_release_is_refused(url: str) -> None:
    make_version_1(url)
    run(url, "UPDATE ctxwin_schema SET version = 1000")
    with pytest.raises(StoreError, match=r"version 1000.*upgrade ctxwin"):
        SQLStore(url)


def test_a_closed_store_takes_no_more_calls(store: SQLStore) -> None:
    position = store.append("s", [b"1"], NOWHERE)
    store.close()
    store.close()
    calls = (
        lambda: store.append("s", [b"2"], position),
        lambda: store.read("s"),
        lambda: store.compact("s", position, b"c", {}),
        lambda: store.delete("s"),
        lambda: next(store.list()),
    )
    for call in calls:
        with pytest.raises(StoreError, match="closed"):
            call()


def test_a_call_under_way_ends_well_when_the_store_is_closed(store: SQLStore) -> None:
    with store._writing() as cursor:
        store.close()
        cursor.execute("INSERT INTO ctxwin_records (session_id, number, body) VALUES (1, 1, '')")
    with pytest.raises(store._errors):  # its connection was closed with the last use of it
        cursor.execute("SELECT 1")
    again = SQLStore(store._engine.url.render_as_string(False))
    with closing(again), again._borrowed() as cursor:
        cursor.execute("SELECT count(*) FROM ctxwin_records")
        assert cursor.fetchall()[0][0] == 1


def test_a_file_is_durable_and_lets_readers_by(file: Path) -> None:
    with closing(SQLStore(f"sqlite:///{file}")) as store, store._borrowed() as cursor:
        assert cursor.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
        assert cursor.execute("PRAGMA synchronous").fetchall() == [(2,)]


def test_a_locked_file_is_read_and_written_to_later(file: Path) -> None:
    with (
        closing(SQLStore(f"sqlite+pysqlite:///{file}", busy_timeout=0)) as store,
        closing(sqlite3.connect(file, isolation_level=None)) as other,
    ):
        position = store.append("s", [b"1"], NOWHERE)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            store.append("s", [b"2"], position)
        assert store.read("s") == Page(position, 0, ((1, b"1"),))
        other.execute("ROLLBACK")
        assert store.append("s", [b"2"], position).number == 2


def test_a_new_database_that_is_locked_is_waited_for(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE others (x)")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked"):
            SQLStore(f"sqlite:///{file}", busy_timeout=0.02)
        timer = threading.Timer(0.05, other.execute, ("ROLLBACK",))
        timer.start()
        with closing(SQLStore(f"sqlite:///{file}")) as store, store._borrowed() as cursor:
            assert cursor.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
        timer.join()


def test_what_is_no_database(tmp_path: Path, file: Path) -> None:
    file.write_bytes(b"anything but a database" * 100)
    with pytest.raises(StoreError, match="not a database"):
        SQLStore(f"sqlite:///{file}")
    with pytest.raises(StoreError, match="unable to open"):
        SQLStore(f"sqlite:///{tmp_path}/missing/chats.db")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of one who has no privileges, whom this process is meanwhile."""
    made = Path(tempfile.mkdtemp())
    privileged = os.geteuid() == 0
    if privileged:
        os.chown(made, 65534, 65534)
        os.seteuid(65534)
    yield made
    if privileged:
        os.seteuid(0)
    shutil.rmtree(made)


@pytest.mark.parametrize("locks_folder", [False, True])
@pytest.mark.parametrize("reopens", [False, True])
def test_what_is_read_only_is_read_and_written_to_later(
    folder: Path, locks_folder: bool, reopens: bool
) -> None:
    file = folder / "chats.db"
    store = SQLStore(f"sqlite:///{file}")
    position = store.append("s", [b"1"], NOWHERE)
    store.close()
    file.chmod(0o444)
    if locks_folder:
        folder.chmod(0o555)
    try:
        store = SQLStore(f"sqlite:///{file}")
        assert store.read("s") == Page(position, 0, ((1, b"1"),))
        with pytest.raises(StoreError, match="readonly"):
            store.append("s", [b"2"], position)
        assert store.read("s") == Page(position, 0, ((1, b"1"),))
    finally:
        folder.chmod(0o755)
        file.chmod(0o644)
    if reopens:
        store.close()
        store = SQLStore(f"sqlite:///{file}")
    with closing(store):
        assert store.append("s", [b"2"], position).number == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if (
        shutil.which("mount") is None
        or subprocess.run(command, check=False, capture_output=True).returncode
    ):
        pytest.skip("a small disk takes the right to mount one")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)  # noqa: S607


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    with closing(SQLStore(f"sqlite:///{small_disk}/chats.db")) as store:
        position = store.append("s", [b"1" * 1000], NOWHERE)
        filler = small_disk / "filler"
        filler.write_bytes(bytes(1_000_000))
        with pytest.raises(StoreError, match=r"full|disk I/O"):  # noqa: PT012 - any may fail
            while True:
                position = store.append("s", [b"%d" % position.number * 5000], position)
        page = store.read("s")
        assert page.position == position
        assert [number for number, _ in page.records] == list(range(1, position.number + 1))
        filler.unlink()
        position = store.append("s", [b"more"], position)
        assert store.read("s", position.number).records == ((position.number, b"more"),)


def test_a_server_that_is_killed_and_restarted() -> None:
    lacks = PostgreSQL.lacks()
    if lacks is not None:
        pytest.skip(lacks)
    with PostgreSQL() as server, closing(SQLStore(server.url)) as store:
        position = store.append("s", [b"1"], NOWHERE)
        server.kill()
        with pytest.raises(StoreError):
            store.append("s", [b"2"], position)
        with pytest.raises(StoreError):
            store.read("s")
        with pytest.raises(StoreError):
            SQLStore(server.url)
        server.start()
        assert store.append("s", [b"2"], position) == Position(position.life, 2)
        with pytest.raises(StoreError), store._writing() as cursor:  # noqa: PT012 - dies midway
            cursor.execute("UPDATE ctxwin_sessions SET head = 3")
            server.restart()
            cursor.execute("SELECT 1")
        assert [body for _, body in store.read("s").records] == [b"1", b"2"]


def test_a_dropped_connection_is_met_with_a_fresh_one(postgresql: str) -> None:
    with closing(SQLStore(postgresql, pool_size=1)) as store:
        with store._borrowed() as cursor:
            process = cursor.connection.info.backend_pid
        run(postgresql, f"SELECT pg_terminate_backend({process}, 5000)")
        assert store.read("none") == Page(NOWHERE, 0)


SECRET = "hunter2"  # noqa: S105 - not one


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://user:{SECRET}@127.0.0.1:port/x",
        f"user:{SECRET}@127.0.0.1",
        f"postgresql+asyncpg://user:{SECRET}@127.0.0.1/x",
        f"mysql://user:{SECRET}@127.0.0.1/x",
        "sqlite://",
        "sqlite:///:memory:",
        "",
    ],
)
def test_a_url_that_is_none_of_ours(url: str) -> None:
    with pytest.raises(ValueError, match=r"database|SQLStore takes") as caught:
        SQLStore(url)
    assert SECRET not in str(caught.value)


def test_memory_by_another_name_is_refused() -> None:
    with pytest.raises(StoreError, match="in memory"):
        SQLStore("sqlite:///file::memory:?uri=true")


def test_no_password_is_told(postgresql: str) -> None:
    known = make_url(postgresql)
    for url in (known.set(password=SECRET, database=SECRET), known.set(password=SECRET, port=1)):
        with pytest.raises(StoreError, match="database failed") as caught:
            SQLStore(url.render_as_string(hide_password=False))
        assert SECRET not in "".join(format_exception(caught.value))


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ImportError, match=r"pip install 'ctxwin\[sql\]'"):
        SQLStore("postgresql://127.0.0.1/x")
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    spec = spec_from_file_location("engine_without", engines.__file__)
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError, match=r"pip install 'ctxwin\[sql\]'"):
        spec.loader.exec_module(module_from_spec(spec))


@pytest.mark.parametrize(
    ("said", "raises"),
    [
        (["database is locked", "database is locked"], False),
        (["attempt to write a readonly database"], False),
        (["disk I/O error"], True),
    ],
)
def test_a_file_that_is_not_put_into_wal_mode_at_once(said: list[str], raises: bool) -> None:
    class Cursor:
        def execute(self, statement: str) -> Any:
            if "journal_mode" in statement and said:
                raise sqlite3.OperationalError(said.pop(0))
            return self

        def fetchall(self) -> list[Any]:
            return [(0, "main", "chats.db")]

    cursor: Any = Cursor()
    with pytest.raises(sqlite3.OperationalError) if raises else nullcontext():
        engines.prepare_file(cursor, 60)
    assert said == []
