"""
The tables of `SQLStore`, and how a database of an older version becomes one of this.

Record 0 of a session is its checkpoint: apart from the row that every append changes, or each would write it again.

`MIGRATIONS[n]` leads from version n to version n + 1; a new database goes through all of them. Never change one that
was released: add another.
"""

from typing import TYPE_CHECKING

from ctxwin.errors import StoreError

if TYPE_CHECKING:
    from sqlalchemy import Connection

TYPES = {
    "sqlite": {"bytes": "BLOB", "id": "INTEGER PRIMARY KEY"},
    "postgresql": {"bytes": "BYTEA", "id": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"},
}
"""What a dialect calls bytes and a number that it gives to each row; the dialects that `SQLStore` speaks."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE ctxwin_sessions (
            id {id},
            key {bytes} NOT NULL UNIQUE,
            name {bytes} NOT NULL,
            life TEXT NOT NULL,
            head BIGINT NOT NULL,
            floor BIGINT NOT NULL
        )
        """,
        """
        CREATE TABLE ctxwin_records (
            session_id BIGINT NOT NULL,
            number BIGINT NOT NULL,
            body {bytes} NOT NULL,
            PRIMARY KEY (session_id, number)
        )
        """,
    ),
)


def version_of(connection: "Connection") -> int:
    """Return the version of a database's tables; 0 where there are none."""
    from sqlalchemy import inspect  # noqa: PLC0415 - an extra

    if not inspect(connection).has_table("ctxwin_schema"):
        return 0
    found: int = connection.exec_driver_sql("SELECT version FROM ctxwin_schema").scalar_one()
    return found


def migrate(connection: "Connection") -> None:
    """
    Bring a database forward to this release's version, within the connection's transaction.

    Raises `StoreError`: its tables are of a later version.
    """
    dialect = connection.dialect.name
    if dialect == "postgresql":  # two workers may open a new database at once; SQLite has locked it by now
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7261902)")
    version = version_of(connection)
    check(version)
    if version == 0:
        connection.exec_driver_sql("CREATE TABLE ctxwin_schema (version BIGINT NOT NULL)")
        connection.exec_driver_sql("INSERT INTO ctxwin_schema VALUES (0)")
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.exec_driver_sql(statement.format(**TYPES[dialect]))
        connection.exec_driver_sql("UPDATE ctxwin_schema SET version = version + 1")


def check(version: int) -> bool:
    """Return whether tables are of this release's version; raises `StoreError` where they are of a later one."""
    if version > len(MIGRATIONS):
        raise StoreError(
            f"the database's tables are of version {version}, this release knows them up to {len(MIGRATIONS)}: "
            "install a newer ctxwin"
        )
    return version == len(MIGRATIONS)
