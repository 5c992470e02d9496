"""`SQLStore`: sessions in a SQLite file or a PostgreSQL database, through SQLAlchemy (`pip install 'ctxwin[sql]'`)."""

import os
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, TypeVar
from uuid import uuid4

from ctxwin.errors import StaleError, StoreError
from ctxwin.sessions import schema
from ctxwin.sessions.protocol import NOWHERE, Page, Position

try:
    from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
    from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
except ImportError as error:
    raise ImportError("this store needs SQLAlchemy: pip install 'ctxwin[sql]'") from error

T = TypeVar("T")

ALL = 2**62  # records
AT_ONCE = 500  # ids of sessions

_SESSION = """
SELECT s.life, s.head, s.floor, CAST(NULL AS BIGINT) AS number, c.body FROM ctxwin_sessions s
LEFT JOIN ctxwin_records c ON c.session_id = s.id AND c.number = {checkpoint} WHERE s.key = :key
"""
_RECORDS = """
SELECT NULL, NULL, NULL, number, body FROM (
    SELECT r.number, r.body FROM ctxwin_records r JOIN ctxwin_sessions s ON s.id = r.session_id
    WHERE s.key = :key AND r.number >= {start} ORDER BY r.number LIMIT :limit
) AS found
"""
# One statement, so that what it sees is of one moment.
READ = text(f"{_SESSION.format(checkpoint='-1')} UNION ALL {_RECORDS.format(start=':start')}")
OPEN = text(f"{_SESSION.format(checkpoint='0')} UNION ALL {_RECORDS.format(start='s.floor + 1')}")
CREATE = text(
    "INSERT INTO ctxwin_sessions (key, name, life, head, floor) VALUES (:key, :name, :life, :count, 0) RETURNING id"
)
ADVANCE = text(
    "UPDATE ctxwin_sessions SET head = head + :count WHERE key = :key AND life = :life AND head = :number RETURNING id"
)
INSERT = text("INSERT INTO ctxwin_records (session_id, number, body) VALUES (:id, :number, :body)")
_REACHED = "WHERE key = :key AND life = :life AND head >= :number AND floor <= :number RETURNING id"
RAISE = text(f"UPDATE ctxwin_sessions SET floor = :number {_REACHED}")  # noqa: S608 - constants
TOUCH = text(f"UPDATE ctxwin_sessions SET floor = floor {_REACHED}")  # noqa: S608 - constants
CHECKPOINT = text(
    "INSERT INTO ctxwin_records (session_id, number, body) VALUES (:id, 0, :body) "
    "ON CONFLICT (session_id, number) DO UPDATE SET body = excluded.body"
)
DROP = text("DELETE FROM ctxwin_records WHERE session_id = :id AND number = :number")
REWRITE = text("UPDATE ctxwin_records SET body = :body WHERE session_id = :id AND number = :number")
DELETE = text("DELETE FROM ctxwin_sessions WHERE key = :key RETURNING id")
DELETE_RECORDS = text("DELETE FROM ctxwin_records WHERE session_id = :id")
LIST = text("SELECT id, name FROM ctxwin_sessions WHERE id > :after ORDER BY id LIMIT :limit")


class SQLStore:
    """
    A `SessionStore` in a database.

    Args:
        url: `sqlite:///chats.db`, `postgresql+psycopg://user:password@host/database`, or any other of SQLAlchemy for
            these two; `postgresql://` means psycopg 3.
        busy_timeout: for how many seconds to wait for other writers of a SQLite file.
        options: further arguments of SQLAlchemy's `create_engine`.

    Raises:
        ValueError: the URL is none, or names another database.
        StoreError: the database cannot be opened, or its tables are of a later version.
    """

    def __init__(self, url: str, *, busy_timeout: float = 30.0, **options: Any) -> None:
        self._closed = False
        self._engine = _engine(url, busy_timeout, options)
        self._writing = self._engine.execution_options(ctxwin_writes=True)
        self._reading = self._engine  # SQLite's statements are transactions of their own, unless one was begun
        if self._engine.dialect.name != "sqlite":
            self._reading = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        os.register_at_fork(after_in_child=partial(_forget_connections, weakref.ref(self._engine)))
        try:
            if not self._run(self._reading, lambda connection: schema.check(schema.version_of(connection))):
                self._run(self._writing, schema.migrate)
        except StoreError:
            self.close()
            raise

    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        """Add records to the end of a log, if it stands where it is expected to."""
        key, count = _key(session), len(records)
        life = expected.life or uuid4().hex

        def write(connection: Connection) -> Position:
            if expected == NOWHERE:
                given = {"key": key, "name": _name(session), "life": life, "count": count}
                row = connection.execute(CREATE, given).scalar()
            else:
                given = {"key": key, "life": life, "number": expected.number, "count": count}
                row = connection.execute(ADVANCE, given).scalar()
            if row is None:
                raise StaleError(f"session {session!r} is not at {expected}")
            numbered = enumerate(records, expected.number + 1)
            connection.execute(INSERT, [{"id": row, "number": number, "body": body} for number, body in numbered])
            return Position(life, expected.number + count)

        try:
            return self._run(self._writing, write)
        except IntegrityError as error:  # there is one already
            raise StaleError(f"session {session!r} is not at {expected}") from error

    def read(self, session: str, start: int | None = None, limit: int | None = None) -> Page:
        """Return records from a number on, or the checkpoint and what follows."""
        given: dict[str, object] = {"key": _key(session), "limit": ALL if limit is None or start is None else limit}
        if start is not None:
            given["start"] = max(1, start)
        statement = OPEN if start is None else READ
        rows = self._run(self._reading, lambda connection: connection.execute(statement, given).all())
        head = next((row for row in rows if row[0] is not None), None)
        if head is None:
            return Page(NOWHERE, 0)
        records = sorted((row[3], bytes(row[4])) for row in rows if row[0] is None)
        checkpoint = None if head[4] is None else bytes(head[4])
        return Page(Position(head[0], head[1]), head[2], tuple(records), checkpoint)

    def compact(
        self, session: str, position: Position, checkpoint: bytes | None, changes: Mapping[int, bytes | None]
    ) -> bool:
        """Set a checkpoint, and drop or rewrite records."""
        given = {"key": _key(session), "life": position.life, "number": position.number}

        def write(connection: Connection) -> bool:
            row = connection.execute(TOUCH if checkpoint is None else RAISE, given).scalar()
            if row is None:
                return False
            set_to = [] if checkpoint is None else [{"id": row, "body": checkpoint}]
            own = {number: body for number, body in changes.items() if number > 0}
            dropped = [{"id": row, "number": number} for number, body in own.items() if body is None]
            rewritten = [
                {"id": row, "number": number, "body": body} for number, body in own.items() if body is not None
            ]
            for statement, values in ((CHECKPOINT, set_to), (DROP, dropped), (REWRITE, rewritten)):
                if values:
                    connection.execute(statement, values)
            return True

        return self._run(self._writing, write)

    def delete(self, session: str) -> bool:
        """Remove a session."""

        def write(connection: Connection) -> bool:
            row = connection.execute(DELETE, {"key": _key(session)}).scalar()
            connection.execute(DELETE_RECORDS, {"id": row})
            return row is not None

        return self._run(self._writing, write)

    def list(self) -> Iterator[str]:
        """Yield the ids of the sessions."""
        after = 0
        while rows := self._run(self._reading, partial(_list, after=after)):
            yield from (bytes(name).decode("utf-8", "surrogatepass") for _, name in rows)
            after = rows[-1][0]

    def close(self) -> None:
        """Let go of connections and files."""
        self._closed = True
        self._engine.dispose()

    def _run(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        """
        Run a transaction; once more where its connection had been dropped.

        That is safe for an append too: where the first one got through, the second finds the log elsewhere.
        """
        if self._closed:
            raise StoreError("the store was closed")
        try:
            try:
                return _once(engine, work)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                return _once(engine, work)
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise StoreError(f"the database failed: {type(cause).__name__}: {str(cause).strip()}") from error


def _once(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        return work(connection)


def _list(connection: Connection, after: int) -> Sequence[Any]:
    return connection.execute(LIST, {"after": after, "limit": AT_ONCE}).all()


def _name(session: str) -> bytes:
    return session.encode("utf-8", "surrogatepass")


def _key(session: str) -> bytes:
    return sha256(_name(session)).digest()


def _engine(url: str, busy_timeout: float, options: dict[str, Any]) -> Engine:
    try:
        parsed = make_url(url)
    except SQLAlchemyError as error:
        raise ValueError("this is no URL of a database, such as sqlite:///chats.db") from error
    dialect = parsed.get_backend_name()
    if dialect not in schema.TYPES:
        raise ValueError(f"a session store can be in {' or '.join(schema.TYPES)}, not in {dialect}")
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if dialect == "postgresql":
        return create_engine(parsed, hide_parameters=True, **options)
    if parsed.database in (None, "", ":memory:"):
        raise ValueError("a SQLite database in memory is not shared between threads: memory:// is the store for that")
    engine = create_engine(parsed, hide_parameters=True, connect_args={"timeout": busy_timeout}, **options)
    event.listen(engine, "connect", partial(_set_up_sqlite, busy_timeout=busy_timeout))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _: object, *, busy_timeout: float) -> None:
    """Have transactions begun by us; write ahead, so that readers go on, and to the disk, so that nothing is lost."""
    connection.isolation_level = None
    deadline = time.monotonic() + busy_timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
            break
        except connection.OperationalError as error:  # SQLite waits for no lock here
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    connection.execute("PRAGMA synchronous = FULL").close()


def _begin_sqlite(connection: Connection) -> None:
    """Take the lock for writing first: a lock that is upgraded later may find that others were quicker, and fail."""
    if connection.get_execution_options().get("ctxwin_writes"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _forget_connections(known: Callable[[], Engine | None]) -> None:
    """Have a forked child open connections of its own: its parent's cannot be shared, nor closed."""
    inherited = known()
    if inherited is not None:
        inherited.dispose(close=False)
