"""SQLStore: SQLite and PostgreSQL keep the contract, and what goes wrong there is a typed error."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from sqlalchemy import event

from ctxwin.sessions import NOWHERE, Page, Position, SessionStore, StoreError, schema
from ctxwin.sessions import sql as module
from ctxwin.sessions.sql import SQLStore
from ctxwin.testing import StoreContract
from sessions.servers import PostgreSQL

VERSION_1 = """
CREATE TABLE ctxwin_schema (version BIGINT NOT NULL);
INSERT INTO ctxwin_schema VALUES (1);
CREATE TABLE ctxwin_sessions (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, name BLOB NOT NULL, life TEXT NOT NULL,
    head BIGINT NOT NULL, floor BIGINT NOT NULL);
CREATE TABLE ctxwin_records (session_id BIGINT NOT NULL, number BIGINT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (session_id, number));
INSERT INTO ctxwin_sessions VALUES
    (7, x'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb', x'61', 'abc', 3, 2);
INSERT INTO ctxwin_records VALUES (7, 0, x'63'), (7, 1, x'31'), (7, 3, x'33');
"""
"""A database as version 1 leaves it, with session "a": never to be changed."""


class TestSQLite(StoreContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> Iterator[None]:
        self.url = f"sqlite:///{tmp_path}/chats.db"
        self.opened: list[SessionStore] = []
        yield
        for store in self.opened:
            store.close()

    def store(self) -> SessionStore:
        self.opened.append(SQLStore(self.url))
        return self.opened[-1]

    def reopen(self, store: SessionStore) -> SessionStore:
        return self.store()


class TestPostgreSQL(TestSQLite):
    @pytest.fixture(autouse=True)
    def server(self, postgresql: str, folder: None) -> None:
        self.url = postgresql.replace("postgresql+psycopg", "postgresql")


@pytest.fixture(autouse=True)
def _close_stores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close what a test has opened: a connection that is left to the garbage collector is an error."""
    made: list[SQLStore] = []
    make = SQLStore.__init__

    def remember(self: SQLStore, *args: Any, **options: Any) -> None:
        made.append(self)
        make(self, *args, **options)

    monkeypatch.setattr(SQLStore, "__init__", remember)
    yield
    for store in made:
        if hasattr(store, "_engine"):
            store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chats.db"


def opened(path: Path) -> SQLStore:
    return SQLStore(f"sqlite:///{path}")


def test_what_is_stored_is_on_disk(path: Path) -> None:
    """Write-ahead log, synchronised at every commit."""
    store = opened(path)
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_a_database_of_version_1_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And brought forward by whatever migrations there are, its sessions untouched."""
    with sqlite3.connect(path) as connection:
        connection.executescript(VERSION_1)
    expected = Page(Position("abc", 3), 2, ((3, b"3"),), b"c")
    assert opened(path).read("a") == expected
    added = ("ALTER TABLE ctxwin_sessions ADD COLUMN owner {bytes}", "CREATE INDEX owners ON ctxwin_sessions (owner)")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, added))
    assert opened(path).read("a") == expected
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version FROM ctxwin_schema").fetchall() == [(len(schema.MIGRATIONS),)]
        assert "owner" in [row[1] for row in connection.execute("PRAGMA table_info(ctxwin_sessions)")]
    store = opened(path)
    assert store.append("a", [b"4"], Position("abc", 3)) == Position("abc", 4)


def test_a_new_database_is_of_version_1(path: Path) -> None:
    """So that what is read above is what is written here."""
    store = opened(path)
    store.append("a", [b"1"], NOWHERE)
    with sqlite3.connect(path) as connection, sqlite3.connect(":memory:") as old:
        old.executescript(VERSION_1)
        columns = [
            [
                [row[1:4] for row in each.execute(f"PRAGMA table_info({table})")]
                for table in ("ctxwin_sessions", "ctxwin_records")
            ]
            for each in (connection, old)
        ]
    assert len(schema.MIGRATIONS) == 1
    assert columns[0] == columns[1]


def test_a_database_of_a_later_version_is_refused(path: Path) -> None:
    """Nothing in it is touched."""
    opened(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE ctxwin_schema SET version = 99")
    with pytest.raises(StoreError, match="of version 99, this release knows them up to 1"):
        opened(path)


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next try begins where this one did."""
    opened(path).append("a", [b"1"], NOWHERE)
    added = ("CREATE TABLE half (x BIGINT)", "this is no SQL")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, added))
    with pytest.raises(StoreError, match="syntax error"):
        opened(path)
    monkeypatch.undo()
    assert opened(path).read("a").records == ((1, b"1"),)


OPEN = "import sys; from ctxwin.sessions.sql import SQLStore; SQLStore(sys.argv[1]).close()"


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_many_open_a_new_database_at_once(path: Path, engine: str, request: pytest.FixtureRequest) -> None:
    """One of them makes the tables."""
    url = f"sqlite:///{path}"
    if engine == "postgresql":
        url = request.getfixturevalue("postgresql")
        store = SQLStore(url)
        with store._writing.begin() as connection:
            for table in ("schema", "sessions", "records"):
                connection.exec_driver_sql(f"DROP TABLE ctxwin_{table}")
    workers = [subprocess.Popen([sys.executable, "-c", OPEN, url]) for _ in range(4)]
    assert [worker.wait() for worker in workers] == [0] * 4
    assert SQLStore(url).append("new", [b"1"], NOWHERE).number == 1


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("chats.db", "no URL of a database"),
        ("mysql://me:secret@host/db", "not in mysql"),
        ("sqlite://", "not shared between threads"),
        ("sqlite:///:memory:", "not shared between threads"),
    ],
)
def test_urls_that_are_none(url: str, reason: str) -> None:
    """One clear error, and no password in it."""
    with pytest.raises(ValueError, match=reason) as caught:
        SQLStore(url)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_there_is_a_typed_error() -> None:
    """Its password is not told."""
    with pytest.raises(StoreError, match="the database failed: OperationalError") as caught:
        SQLStore("postgresql://me:secret@127.0.0.1:9/db")
    assert "secret" not in str(caught.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """SQLite cannot make one."""
    with pytest.raises(StoreError, match="unable to open"):
        SQLStore(f"sqlite:///{tmp_path}/nowhere/chats.db")


def test_a_file_that_is_no_database(path: Path) -> None:
    """It is left alone."""
    path.write_bytes(b"my precious text " * 100)
    with pytest.raises(StoreError, match="not a database"):
        opened(path)
    assert path.read_bytes() == b"my precious text " * 100


def test_a_read_only_database_can_be_read(path: Path) -> None:
    """And writing is a typed error."""
    writer = opened(path)
    here = writer.append("a", [b"1"], NOWHERE)
    reader = SQLStore(f"sqlite:///file:{path}?mode=ro&uri=true")
    assert reader.read("a").records == ((1, b"1"),)
    for write in (lambda: reader.append("a", [b"2"], here), lambda: reader.delete("a")):
        with pytest.raises(StoreError, match="readonly"):
            write()
    assert writer.append("a", [b"2"], here).number == 2


def test_a_full_disk_is_a_typed_error(path: Path) -> None:
    """Nothing is lost by it, and once there is room all goes on."""
    store = opened(path)
    here = store.append("a", [b"1"], NOWHERE)
    with store._engine.connect() as connection:  # SQLite's own limit: the same error as of a file system
        connection.exec_driver_sql("PRAGMA max_page_count = 20")
        store._engine.dispose()
    limited = SQLStore(f"sqlite:///{path}")
    event.listen(limited._engine, "connect", lambda found, _: found.execute("PRAGMA max_page_count = 20").close())
    limited._engine.dispose()
    with pytest.raises(StoreError, match="full"):
        limited.append("a", [b"x" * 1_000_000], here)
    assert store.read("a").position == here
    assert store.append("a", [b"2"], here).number == 2


def test_a_database_that_is_locked_for_long_is_a_typed_error(path: Path) -> None:
    """After the time to wait for it."""
    store = SQLStore(f"sqlite:///{path}", busy_timeout=0.01)
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            store.append("a", [b"1"], NOWHERE)
        assert store.read("a") == Page(NOWHERE, 0)
        other.execute("ROLLBACK")
    assert store.append("a", [b"1"], NOWHERE).number == 1


def test_a_new_database_that_is_locked_is_waited_for(path: Path) -> None:
    """Until it is let go, or for so long as was said."""
    with sqlite3.connect(path, isolation_level=None, check_same_thread=False) as other:
        other.execute("CREATE TABLE others (x)")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked"):
            SQLStore(f"sqlite:///{path}", busy_timeout=0.02)
        timer = Timer(0.05, other.execute, ("ROLLBACK",))
        timer.start()
        assert opened(path).append("a", [b"1"], NOWHERE).number == 1
        timer.join()


def test_a_closed_store_takes_no_calls(path: Path) -> None:
    """Closing it again is no error."""
    store = opened(path)
    store.close()
    store.close()
    for call in (lambda: store.read("a"), lambda: list(store.list())):
        with pytest.raises(StoreError, match="closed"):
            call()


def test_many_sessions_are_listed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, and no lock is held between two."""
    monkeypatch.setattr(module, "AT_ONCE", 2)
    store = opened(path)
    for session in "abcde":
        store.append(session, [b"1"], NOWHERE)
    listing = store.list()
    assert next(listing) == "a"
    store.append("f", [b"1"], NOWHERE)
    assert list(listing) == ["b", "c", "d", "e", "f"]


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_forked_child_has_connections_of_its_own(path: Path, engine: str, request: pytest.FixtureRequest) -> None:
    """Parent and child go on side by side."""
    store = SQLStore(f"sqlite:///{path}" if engine == "sqlite" else request.getfixturevalue("postgresql"))
    store.append(f"parent {path}", [b"1"], NOWHERE)
    child = os.fork()
    if child == 0:
        status = 1
        with suppress(BaseException):
            status = 0 if store.append(f"child {path}", [b"1"], NOWHERE).number == 1 else 2
        os._exit(status)
    assert store.read(f"parent {path}").position.number == 1
    assert os.waitpid(child, 0)[1] == 0
    assert store.read(f"child {path}").position.number == 1


def test_a_server_that_was_killed_is_met_again() -> None:
    """Nothing is lost; the connections that broke are replaced, at most one call fails."""
    reason = PostgreSQL.lacks()
    if reason:
        pytest.skip(reason)
    with PostgreSQL() as server:
        store = SQLStore(server.url)
        here = store.append("a", [b"1"], NOWHERE)
        server.kill()
        with pytest.raises(StoreError, match="failed"):
            store.append("a", [b"2"], here)
        with pytest.raises(StoreError, match="failed"):
            store.read("a")
        server.start()
        assert store.read("a").records == ((1, b"1"),)
        server.restart()
        here = store.append("a", [b"2"], here)  # over a connection that broke meanwhile
        assert store.read("a", 1).records == ((1, b"1"), (2, b"2"))


def test_threads_share_a_store(path: Path) -> None:
    """More of them than it keeps connections."""
    store = opened(path)
    with ThreadPoolExecutor(20) as pool:
        written = list(pool.map(lambda number: store.append(str(number), [b"1"], NOWHERE).number, range(40)))
    assert (written, len(set(store.list()))) == ([1] * 40, 40)


def test_a_lock_that_is_not_waited_for_is_tried_again() -> None:
    """Where SQLite would rather fail than wait, so that two who open a new file at once do not hinder each other."""

    class Locked:
        OperationalError = sqlite3.OperationalError

        def __init__(self) -> None:
            self.isolation_level: str | None = ""
            self.said: list[str] = []

        def execute(self, statement: str) -> "Locked":
            self.said.append(statement)
            if len(self.said) < 3:
                raise sqlite3.OperationalError("database is locked")
            return self

        def close(self) -> None:
            """Nothing to let go of."""

    connection = Locked()
    module._set_up_sqlite(connection, None, busy_timeout=60)
    assert connection.said == ["PRAGMA journal_mode = WAL"] * 3 + ["PRAGMA synchronous = FULL"]


def test_a_child_forgets_the_connections_of_its_parent(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lets go of them without closing them; where the store is gone, there is nothing to forget."""
    forgetting: list[Any] = []
    monkeypatch.setattr(os, "register_at_fork", lambda **given: forgetting.append(given["after_in_child"]))
    store = opened(path)
    before = store._engine.pool
    forgetting[0]()
    assert store._engine.pool is not before
    assert store.append("a", [b"1"], NOWHERE).number == 1
    module._forget_connections(lambda: None)
