"""Connections for `SQLStore`: which URLs it takes, and how a SQLite file is opened."""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import unquote

from ctxwin.sessions.stores.protocol import is_text
from ctxwin.values.errors import StoreError

try:
    from sqlalchemy import URL, Engine, create_engine, event, make_url
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError
except ImportError as error:
    raise ImportError("SQLStore needs SQLAlchemy: pip install 'ctxwin[sql]'") from error

DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "sqlite+pysqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


def read_url(url: str) -> URL:
    """
    Return a URL with its driver.

    Raises `ValueError`: it is not one of ours. The text never shows any of the password.
    """
    parsed = _parsed(url)
    if parsed is None:
        raise ValueError(
            "this is not a database URL: write dialect://user:password@host/database, and in a "
            "password %40 for @, %2F for /, %3F for ?"
        )
    if parsed.drivername not in DRIVERS:
        raise ValueError(f"SQLStore takes {', '.join(DRIVERS)}, not {parsed.drivername}")
    if parsed.drivername.startswith("sqlite") and parsed.database in {None, "", ":memory:"}:
        raise ValueError(
            "a database in memory cannot be shared: use sqlite:///chats.db, or memory:// to try out"
        )
    return parsed.set(drivername=DRIVERS[parsed.drivername])


def _parsed(url: str) -> URL | None:
    """Return a URL in its parts; None where it has none, or where a password ends is not clear."""
    # With a second @ the rest of a password would be taken for the host, which errors name.
    unclear = url.count("@") > 1 and not url.startswith("sqlite")
    if unclear or not is_text(unquote(url)):
        return None
    with suppress(ArgumentError, ValueError):
        return make_url(url)
    return None


def secrets_of(url: URL) -> list[str]:
    """Return the passwords of a URL; any word of an error might be one of three characters."""
    given = [str(value) for key, value in url.query.items() if "password" in key]
    return [secret for secret in (url.password or "", *given) if len(secret) > 3]


def make_engine(url: URL, busy_timeout: float, options: dict[str, Any]) -> Engine:
    """
    Return an engine whose connections start no transaction by themselves.

    Raises:
        ImportError: the driver is not installed.
    """
    sqlite = url.drivername.startswith("sqlite")
    given: dict[str, object] = {"timeout": busy_timeout} if sqlite else {"client_encoding": "utf8"}
    arguments = {**given, **options.get("connect_args", {})}
    # After a server restart the pool must replace dead connections; a file does not restart.
    options = {
        "pool_pre_ping": not sqlite,
        **options,
        "connect_args": arguments,
        "isolation_level": "AUTOCOMMIT",
    }
    try:
        engine = create_engine(url, **options)
    except ImportError as error:
        raise ImportError("SQLStore needs psycopg 3: pip install 'ctxwin[sql]'") from error
    if sqlite:
        event.listen(engine, "do_connect", _open_file)
    return engine


def errors_of(engine: Engine) -> tuple[type[Exception], ...]:
    """Return the errors that an engine and its driver raise."""
    # SQLite's driver raises OverflowError for an integer above 64 bits.
    return engine.dialect.loaded_dbapi.Error, SQLAlchemyError, OverflowError


class Snapshot(sqlite3.Connection):
    """A connection to an immutable file; it would not see later changes, so it is used once."""


def _open_file(
    _dialect: object, _record: object, args: list[Any], options: dict[str, Any]
) -> sqlite3.Connection:
    path = Path(args[0])
    if _is_frozen(path):
        uri = f"{path.absolute().as_uri()}?immutable=1"
        return sqlite3.connect(uri, **{**options, "uri": True, "factory": Snapshot})  # type: ignore[no-any-return]
    connection: sqlite3.Connection = sqlite3.connect(*args, **options)
    connection.execute("PRAGMA synchronous = FULL").close()
    return connection


def _is_frozen(path: Path) -> bool:
    """
    Return whether nobody is writing to a file and this process cannot write to it either.

    SQLite shares memory with writers through files beside the database. Here they could not be
    created, or would be read-only as well.
    """
    if not path.is_file() or Path(f"{path}-wal").exists():
        return False
    effective = os.access in os.supports_effective_ids
    return not all(
        os.access(place, os.W_OK, effective_ids=effective) for place in (path, path.parent)
    )


def prepare_file(cursor: sqlite3.Cursor, busy_timeout: float) -> None:
    """
    Put a SQLite file into WAL mode, if it can be written to.

    Raises `StoreError`: it is not a file, so nothing in it would last.
    """
    if not cursor.execute("PRAGMA database_list").fetchall()[0][2]:
        raise StoreError("the URL names a database in memory, which cannot be shared")
    deadline = monotonic() + busy_timeout
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL").fetchall()
        except sqlite3.OperationalError as error:
            if "locked" in str(error) and monotonic() < deadline:
                sleep(0.01)  # the busy timeout does not cover a change of mode
                continue
            if "readonly" not in str(error):
                raise
        return
