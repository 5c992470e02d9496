"""
The tables of `SQLStore`, how they came to be, and what its two engines say differently.

    ctxwin_schema    version: how many of `MIGRATIONS` were applied
    ctxwin_sessions  id, key (SHA-256 of the name, for ids of any length), name (the session's id in
    UTF-8, lone
                     surrogates passed), life, head (the number of the newest record), floor
    ctxwin_records   session_id, number, body; number 0 is the checkpoint, which is apart from the
    session because
                     SQLite would rewrite it with every move of `head`

Statements name their parameters `:name`. Every writer locks the row of the session first (in
SQLite: the database), so records need no foreign key to be consistent with it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ctxwin.values.errors import StoreError

# Never change one that was released: append another. Each is run once, in order, all in one
# transaction.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE ctxwin_sessions (
            id {serial} PRIMARY KEY, key {bytes} NOT NULL UNIQUE, name {bytes} NOT NULL, life TEXT NOT NULL,
            head BIGINT NOT NULL, floor BIGINT NOT NULL)""",
        """CREATE TABLE ctxwin_records (
            session_id BIGINT NOT NULL, number BIGINT NOT NULL, body {bytes} NOT NULL,
            PRIMARY KEY (session_id, number)) {clustered}""",
    ),
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """
    What an engine says in its own way.

    Attributes:
        begin: begins a transaction that writes, without ever having to upgrade a lock.
        lock: makes other migrations wait until the transaction ends.
        find_table: selects a row where the table `ctxwin_schema` is there.
        for_update: locks the rows that a SELECT finds.
        parameter: how a parameter is marked, as a template of `re.sub`.
        types: what stands in the braces of a migration.
        appends_at_once: an INSERT can take what an UPDATE returns, so that to append is one
            statement.
    """

    begin: str
    lock: str
    find_table: str
    for_update: str
    parameter: str
    types: Mapping[str, str]
    appends_at_once: bool


SQLITE = Dialect(
    begin="BEGIN IMMEDIATE",
    lock="SELECT 1",  # BEGIN IMMEDIATE has the only lock there is
    find_table="SELECT 1 FROM sqlite_master WHERE name = 'ctxwin_schema'",
    for_update="",
    parameter=r":\1",
    types={"serial": "INTEGER", "bytes": "BLOB", "clustered": "WITHOUT ROWID"},
    appends_at_once=False,
)
POSTGRESQL = Dialect(
    begin="BEGIN",
    lock="SELECT pg_advisory_xact_lock(7168115461023295854)",  # any number that nothing else is likely to use
    # Not to_regclass: what it has cached may be from before the lock was waited for.
    find_table="SELECT 1 FROM pg_class WHERE relname = 'ctxwin_schema' AND pg_table_is_visible(oid)",
    for_update=" FOR UPDATE",
    parameter=r"%(\1)s",
    types={"serial": "BIGINT GENERATED ALWAYS AS IDENTITY", "bytes": "BYTEA", "clustered": ""},
    appends_at_once=True,
)


@cache
def adapt(statement: str, parameter: str) -> str:
    """Return a statement with its parameters marked as the driver wants them."""
    return re.sub(r":([a-z]+)", parameter, statement)


def stored_version(cursor: Any, dialect: Dialect) -> int:
    """Return the version of a database, 0 where it has no tables. Raises `StoreError`: a newer release wrote it."""
    cursor.execute(dialect.find_table)
    if not cursor.fetchall():
        return 0
    cursor.execute("SELECT version FROM ctxwin_schema")
    version: int = cursor.fetchall()[0][0]
    if version > len(MIGRATIONS):
        raise StoreError(
            f"the database is of schema version {version}, this release knows {len(MIGRATIONS)}: upgrade ctxwin"
        )
    return version


def is_current(cursor: Any, dialect: Dialect) -> bool:
    """Return whether a database is of the newest version. Raises `StoreError`: a newer release wrote it."""
    return stored_version(cursor, dialect) == len(MIGRATIONS)


def migrate(cursor: Any, dialect: Dialect) -> None:
    """Bring a database to the newest version; the cursor is in a transaction that writes."""
    cursor.execute(dialect.lock)
    version = stored_version(cursor, dialect)
    if version == 0:
        cursor.execute("CREATE TABLE ctxwin_schema (version BIGINT NOT NULL)")
        cursor.execute("INSERT INTO ctxwin_schema VALUES (0)")
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            cursor.execute(statement.format_map(dialect.types))
    cursor.execute(f"UPDATE ctxwin_schema SET version = {len(MIGRATIONS)}")
