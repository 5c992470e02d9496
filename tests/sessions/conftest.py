"""Real servers for tests of sessions, started when first needed or given by the environment."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from sessions.servers import PostgreSQL, Redis, Server


def _url(kind: type[PostgreSQL] | type[Redis], variable: str) -> Iterator[str]:
    """Yield a server's address; tests that need one are skipped where there is none."""
    given = os.environ.get(variable)
    with ExitStack() as stack:
        if given is None:
            lacks = kind.lacks()
            if lacks is not None:
                pytest.skip(f"{lacks}; or set {variable}")
            server: Server = stack.enter_context(kind())
            given = server.url
        yield given


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A PostgreSQL server's URL."""
    yield from _url(PostgreSQL, "CTXWIN_POSTGRESQL")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """A Redis server's URL."""
    yield from _url(Redis, "CTXWIN_REDIS")
