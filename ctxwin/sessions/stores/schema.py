"""
The tables of `SQLStore`, their migrations, and the differences between its two engines.

    ctxwin_schema    version: how many of `MIGRATIONS` were applied
    ctxwin_sessions  id; key: SHA-256 of the name, so that ids may have any length; name: the id
                     of the session in UTF-8, with lone surrogates let through; life; head: the
                     number of the newest record; floor
    ctxwin_records   session_id, number, body; number 0 is the checkpoint. It is not a column of
                     ctxwin_sessions, because SQLite would rewrite it whenever `head` moves

Statements write parameters as `:name`. Every writer first locks the row of the session (in SQLite,
the database), so records stay consistent with it without a foreign key.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ctxwin.values.errors import StoreError

# Never change a migration that was released: add another one. Each runs once, in order; all that
# are pending run in one transaction.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE ctxwin_sessions (
            id {serial} PRIMARY KEY, key {bytes} NOT NULL UNIQUE, name {bytes} NOT NULL,
            life TEXT NOT NULL, head BIGINT NOT NULL, floor BIGINT NOT NULL)""",
        """CREATE TABLE ctxwin_records (
            session_id BIGINT NOT NULL, number BIGINT NOT NULL, body {bytes} NOT NULL,
            PRIMARY KEY (session_id, number)) {clustered}""",
    ),
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """
    How an engine writes what the two write differently.

    Attributes:
        begin: starts a transaction that writes, and never needs to upgrade a lock.
        lock: makes other migrations wait until the transaction ends.
        find_table: selects a row if the table `ctxwin_schema` exists.
        for_update: locks the rows that a SELECT finds.
        parameter: how a parameter is written, as a template for `re.sub`.
        types: the values for the braces in a migration.
        appends_at_once: whether an INSERT can use what an UPDATE returns, so that an append is one
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
    lock="SELECT 1",  # BEGIN IMMEDIATE already holds the only lock there is
    find_table="SELECT 1 FROM sqlite_master WHERE name = 'ctxwin_schema'",
    for_update="",
    parameter=r":\1",
    types={"serial": "INTEGER", "bytes": "BLOB", "clustered": "WITHOUT ROWID"},
    appends_at_once=False,
)
POSTGRESQL = Dialect(
    begin="BEGIN",
    # Any number would do that nothing else is likely to use.
    lock="SELECT pg_advisory_xact_lock(7168115461023295854)",
    # Not to_regclass: its cached answer may be older than the end of the wait for the lock.
    find_table=(
        "SELECT 1 FROM pg_class WHERE relname = 'ctxwin_schema' AND pg_table_is_visible(oid)"
    ),
    for_update=" FOR UPDATE",
    parameter=r"%(\1)s",
    types={"serial": "BIGINT GENERATED ALWAYS AS IDENTITY", "bytes": "BYTEA", "clustered": ""},
    appends_at_once=True,
)


@cache
def adapt(statement: str, parameter: str) -> str:
    """Return a statement with its parameters written as the driver wants them."""
    return re.sub(r":([a-z]+)", parameter, statement)


def stored_version(cursor: Any, dialect: Dialect) -> int:
    """
    Return the version of a database, 0 if it has no tables yet.

    Raises `StoreError`: a newer release wrote it.
    """
    cursor.execute(dialect.find_table)
    if not cursor.fetchall():
        return 0
    cursor.execute("SELECT version FROM ctxwin_schema")
    version: int = cursor.fetchall()[0][0]
    if version > len(MIGRATIONS):
        raise StoreError(
            f"the database has schema version {version}, and this release knows versions up to "
            f"{len(MIGRATIONS)}: upgrade ctxwin"
        )
    return version


def is_current(cursor: Any, dialect: Dialect) -> bool:
    """
    Return whether a database has the newest version.

    Raises `StoreError`: a newer release wrote it.
    """
    return stored_version(cursor, dialect) == len(MIGRATIONS)


def migrate(cursor: Any, dialect: Dialect) -> None:
    """Bring a database to the newest version; the cursor is in a transaction that writes."""
    # The version is read behind the lock: another process may just have done the work.
    cursor.execute(dialect.lock)
    version = stored_version(cursor, dialect)
    if version == 0:
        cursor.execute("CREATE TABLE ctxwin_schema (version BIGINT NOT NULL)")
        cursor.execute("INSERT INTO ctxwin_schema VALUES (0)")
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            cursor.execute(statement.format_map(dialect.types))
    cursor.execute(f"UPDATE ctxwin_schema SET version = {len(MIGRATIONS)}")  # noqa: S608 - our own number
