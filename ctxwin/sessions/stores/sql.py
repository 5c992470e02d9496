"""`SQLStore`: sessions in a SQLite file or on a PostgreSQL server (`pip install 'ctxwin[sql]'`)."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any
from uuid import uuid4
from weakref import WeakSet

from ctxwin.sessions.stores.engine import (
    Snapshot,
    errors_of,
    make_engine,
    prepare_file,
    read_url,
    secrets_of,
)
from ctxwin.sessions.stores.protocol import NOWHERE, Page, Position, decode_id, encode_id
from ctxwin.sessions.stores.schema import POSTGRESQL, SQLITE, adapt, is_current, migrate
from ctxwin.values.errors import StaleError, StoreError, describe, quoted

LARGEST = 2**63 - 1
NAMES = 200  # ids fetched per query; each may be long

# CREATE and MOVE return a row only if the session is where the caller expects it. The check and
# the change are one statement, so no writer can come between them.
CREATE = """INSERT INTO ctxwin_sessions (key, name, life, head, floor)
    VALUES (:key, :name, :life, :head, 0) ON CONFLICT (key) DO NOTHING RETURNING id"""
MOVE = """UPDATE ctxwin_sessions SET head = :head
    WHERE key = :key AND life = :life AND head = :expected RETURNING id"""
INSERT = "INSERT INTO ctxwin_records (session_id, number, body) VALUES (:id, :number, :body)"
INSERT_AT_ONCE = """WITH moved AS (%s) INSERT INTO ctxwin_records (session_id, number, body)
    SELECT moved.id, :expected + added.place, added.body
    FROM moved CROSS JOIN unnest(CAST(:bodies AS bytea[])) WITH ORDINALITY AS added (body, place)"""
CREATE_AT_ONCE, MOVE_AT_ONCE = INSERT_AT_ONCE % CREATE, INSERT_AT_ONCE % MOVE
# The subquery finds the session by its key. With a join on the id instead, PostgreSQL would sort
# the rest of the log for every page.
READ = """SELECT life, head, floor, number, body FROM ctxwin_sessions LEFT JOIN (
    SELECT number, body FROM ctxwin_records
    WHERE session_id = (SELECT id FROM ctxwin_sessions WHERE key = :key) AND number >= :start
    ORDER BY session_id, number LIMIT :limit) AS found ON 1 = 1
    WHERE key = :key ORDER BY number"""
READ_NEWEST = """SELECT life, head, floor, number, body
    FROM ctxwin_sessions LEFT JOIN ctxwin_records ON session_id = id AND number = 0 WHERE key = :key
    UNION ALL SELECT life, head, floor, number, body FROM ctxwin_sessions JOIN ctxwin_records
    ON session_id = id AND number > floor WHERE key = :key ORDER BY number"""
FIND = "SELECT id, life, head, floor FROM ctxwin_sessions WHERE key = :key"
RAISE_FLOOR = "UPDATE ctxwin_sessions SET floor = :floor WHERE id = :id"
SET_CHECKPOINT = INSERT + " ON CONFLICT (session_id, number) DO UPDATE SET body = excluded.body"
REWRITE = "UPDATE ctxwin_records SET body = :body WHERE session_id = :id AND number = :number"
DROP = "DELETE FROM ctxwin_records WHERE session_id = :id AND number = :number"
DELETE = "DELETE FROM ctxwin_sessions WHERE key = :key RETURNING id"
DELETE_RECORDS = "DELETE FROM ctxwin_records WHERE session_id = :id"
LIST = "SELECT id, name FROM ctxwin_sessions WHERE id > :after ORDER BY id LIMIT :limit"


class SQLStore:
    """
    A `SessionStore` in a SQLite file or on a PostgreSQL server.

    A SQLite file is in WAL mode and synchronised at every append, so once `append` returns, the
    records survive a power failure. A file or folder without write permission can still be read.

    Args:
        url: `sqlite:///chats.db`, or `postgresql+psycopg://user:password@host/database`; plain
            `postgresql` means the same. Missing tables are created, and those of an older release
            are migrated.
        busy_timeout: the number of seconds to wait while others write to a SQLite file.
        engine_options: arguments for `sqlalchemy.create_engine`, such as `pool_size`.

    Raises:
        ValueError: the URL is malformed, names another engine or driver, or a database in memory.
        StoreError: the database cannot be reached, or was written by a newer release.
        ImportError: the driver is not installed.
    """

    def __init__(self, url: str, *, busy_timeout: float = 30.0, **engine_options: Any) -> None:
        parsed = read_url(url)
        self._secrets = secrets_of(parsed)
        self._dialect = SQLITE if parsed.drivername.startswith("sqlite") else POSTGRESQL
        self._engine = make_engine(parsed, busy_timeout, engine_options)
        self._errors = errors_of(self._engine)
        self._closed = False
        _stores.add(self)
        try:
            self._prepare(busy_timeout)
        except BaseException:
            self.close()
            raise

    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        """Add records to the end of a log, if it is at the expected position."""
        name = encode_id(session)
        position = Position(expected.life or uuid4().hex, expected.number + len(records))
        values = {
            "key": _key(name),
            "life": position.life,
            "head": position.number,
            "expected": expected.number,
        }
        if expected == NOWHERE:
            values["name"] = name
        append = self._append_at_once if self._dialect.appends_at_once else self._append_in_steps
        if not append(values, records):
            raise StaleError(f"session {quoted(session)} is not at {expected}")
        return position

    def read(self, session: str, start: int | None = None, limit: int | None = None) -> Page:
        """Return records from a number on, or the checkpoint and what follows."""
        values: dict[str, object] = {"key": _key(encode_id(session))}
        if start is not None:
            limit = LARGEST if limit is None else min(max(limit, 0), LARGEST)
            values |= {"start": min(max(start, 1), LARGEST), "limit": max(limit, 1)}
        with self._borrowed() as cursor:
            cursor.execute(self._say(READ_NEWEST if start is None else READ), values)
            rows = cursor.fetchall()
        if not rows:
            return Page(NOWHERE, 0)
        life, head, floor, _, _ = rows[0]
        records = tuple((number, body) for _, _, _, number, body in rows if number)
        checkpoint = next((body for _, _, _, number, body in rows if number == 0), None)
        return Page(
            Position(life, head),
            floor,
            records[:limit] if start is not None else records,
            checkpoint,
        )

    def compact(
        self,
        session: str,
        position: Position,
        checkpoint: bytes | None,
        changes: Mapping[int, bytes | None],
    ) -> bool:
        """Set a checkpoint, and drop or rewrite records."""
        with self._writing() as cursor:
            cursor.execute(
                self._say(FIND) + self._dialect.for_update, {"key": _key(encode_id(session))}
            )
            found = cursor.fetchall()
            if not found:
                return False
            identity, life, head, floor = found[0]
            if life != position.life or not floor <= position.number <= head:
                return False
            if checkpoint is not None:
                cursor.execute(self._say(RAISE_FLOOR), {"floor": position.number, "id": identity})
                cursor.execute(
                    self._say(SET_CHECKPOINT), {"id": identity, "number": 0, "body": checkpoint}
                )
            rows = [
                {"id": identity, "number": number, "body": body}
                for number, body in changes.items()
                if 0 < number <= head
            ]
            self._run_all(cursor, DROP, [row for row in rows if row["body"] is None])
            self._run_all(cursor, REWRITE, [row for row in rows if row["body"] is not None])
            return True

    def delete(self, session: str) -> bool:
        """Remove a session."""
        # The row of the session goes first: it is the lock that every other writer waits for.
        with self._writing() as cursor:
            cursor.execute(self._say(DELETE), {"key": _key(encode_id(session))})
            found = cursor.fetchall()
            if found:
                cursor.execute(self._say(DELETE_RECORDS), {"id": found[0][0]})
            return bool(found)

    def list(self) -> Iterator[str]:
        """Yield the ids of the sessions, in the order in which they were created."""
        after = 0
        while True:
            with self._borrowed() as cursor:
                cursor.execute(self._say(LIST), {"after": after, "limit": NAMES})
                rows = cursor.fetchall()
            if not rows:
                return
            after = rows[-1][0]
            for _, name in rows:
                yield decode_id(name)

    def close(self) -> None:
        """Close all connections."""
        self._closed = True
        self._engine.dispose()

    def _append_in_steps(self, values: Mapping[str, Any], records: Sequence[bytes]) -> bool:
        with self._writing() as cursor:
            cursor.execute(self._say(CREATE if "name" in values else MOVE), values)
            found = cursor.fetchall()
            if found:
                numbered = enumerate(records, values["expected"] + 1)
                rows = [
                    {"id": found[0][0], "number": number, "body": body} for number, body in numbered
                ]
                self._run_all(cursor, INSERT, rows)
            return bool(found)

    def _append_at_once(self, values: Mapping[str, Any], records: Sequence[bytes]) -> bool:
        with self._borrowed() as cursor:
            statement = self._say(CREATE_AT_ONCE if "name" in values else MOVE_AT_ONCE)
            cursor.execute(statement, {**values, "bodies": [*records]})
            return bool(cursor.rowcount)

    def _run_all(self, cursor: Any, statement: str, rows: Sequence[Mapping[str, object]]) -> None:
        if rows:
            cursor.executemany(self._say(statement), rows)

    def _say(self, statement: str) -> str:
        return adapt(statement, self._dialect.parameter)

    def _prepare(self, busy_timeout: float) -> None:
        with self._borrowed() as cursor:
            if self._dialect is SQLITE:
                prepare_file(cursor, busy_timeout)
            current = is_current(cursor, self._dialect)
        if not current:
            with self._writing() as cursor:
                migrate(cursor, self._dialect)

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        """Lend a cursor in a transaction and commit it at the end; an error rolls it back."""
        with self._borrowed() as cursor:
            cursor.execute(self._dialect.begin)
            yield cursor
            cursor.connection.commit()

    @contextmanager
    def _borrowed(self) -> Iterator[Any]:
        """
        Lend a cursor outside any transaction.

        Raises `StoreError`: anything went wrong in the engine.
        """
        # `close` replaces the pool. Read before the check, this is the pool that `close` empties,
        # so no connection can stay open in its successor.
        pool = self._engine.pool
        if self._closed:
            raise StoreError("the store was closed")
        try:
            connection = pool.connect()
            try:
                yield connection.cursor()
            except BaseException:
                connection.invalidate()  # closed, and so rolled back
                raise
            # Not back into a pool that was replaced meanwhile: by `close`, or by another failure.
            if self._engine.pool is not pool or isinstance(connection.dbapi_connection, Snapshot):
                connection.invalidate()
            connection.close()
        except self._errors as error:
            # The other connections may be dead too, or remember that the file was read-only.
            self._engine.dispose()
            said = str(error)
            text = f"the database failed: {describe(error)}"
            # It is never said as such; but a database may be called the same.
            if any(secret in said for secret in self._secrets):
                for secret in self._secrets:
                    text = text.replace(secret, "***")
                raise StoreError(text) from None
            raise StoreError(text) from error


_stores: "WeakSet[SQLStore]" = WeakSet()
# After a fork the child's pools share sockets with the parent. They are kept here for ever, because
# collecting them would close connections that the parent is using.
_inherited: list[object] = []


def _disown() -> None:
    for store in _stores:
        _inherited.append(store._engine.pool)  # noqa: SLF001 - our own class
        store._engine.dispose(close=False)  # noqa: SLF001


getattr(os, "register_at_fork", dict)(after_in_child=_disown)  # Windows does not fork


def _key(name: bytes) -> bytes:
    return sha256(name).digest()
