"""Passwords with awkward characters: no part of one in an error, its causes, or a log."""

import logging
from collections.abc import Iterator
from traceback import format_exception
from urllib.parse import quote

import pytest

pytest.importorskip("sqlalchemy", reason="needs the extra `sql`")
pytest.importorskip("psycopg", reason="needs the extra `sql`")
pytest.importorskip("redis", reason="needs the extra `redis`")

from ctxwin.sessions import open_store

HALVES = ("zq7xv", "wk3jh")
PORT = "48613"  # what is taken for a port
AWKWARD = [
    *("@", "/", "?", "#", ":", "%", "%zz", "%40", "&", "=", "+", " ", "[", "]", "[::1]", "'", '"'),
    *(
        "\\",
        "\n",
        "\x00",
        "%00",
        "\ud800",
        "ä",
        "@@",
        "/@",
        "@/",
        ":@",
        "@:",
        "@[",
        "]@",
        "?@",
        "#@",
    ),
    *(
        "@127.0.0.1/",
        "@127.0.0.1:1/x?y=",
        "//",
        "://",
        ";",
        "$",
        "|",
        "<>",
        "{}",
        "\t",
        "\x7f",
        "٤",
    ),
]
PASSWORDS = [
    *(between.join(HALVES) for between in AWKWARD),
    f"{PORT}/{HALVES[1]}",
    f"{PORT}#{HALVES[0]}",
]
PLACES = {
    "postgresql": "postgresql://me:{}@127.0.0.1:1/x",
    "postgresql with its driver": "postgresql+psycopg://me:{}@127.0.0.1:1/x",
    "postgresql by option": "postgresql://me@127.0.0.1:1/x?password={}",
    "redis": "redis://me:{}@127.0.0.1:1/0",
    "redis without a user": "redis://:{}@127.0.0.1:1/0",
    "redis by option": "redis://127.0.0.1:1/0?password={}",
    "unix": "unix://me:{}@/nowhere/redis.sock",
    "memory": "memory://me:{}@here",
    "another scheme": "mysql://me:{}@127.0.0.1/x",
    "another scheme by option": "mysql://127.0.0.1/x?password={}",
    "no scheme": "me:{}@127.0.0.1/x",
    "another driver": "postgresql+asyncpg://me:{}@127.0.0.1/x",
}


def told(error: BaseException | None) -> Iterator[str]:
    """All that an error and its causes say, to a log and to whoever prints them."""
    if error is not None:
        yield from (*format_exception(error), str(error), repr(error))
        yield from told(error.__cause__)
        yield from told(None if error.__suppress_context__ else error.__context__)


def errors(url: str) -> Iterator[BaseException]:
    """What goes wrong where a URL is opened and used."""
    try:
        with open_store(url) as store:
            store.read("a")
    except Exception as error:
        yield error


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_no_part_of_a_password_is_told(
    place: str, escaped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Be it written as it is, or escaped as it should be."""
    caplog.set_level(logging.DEBUG)
    for password in PASSWORDS:
        written = quote(password, safe="", errors="surrogatepass") if escaped else password
        for error in errors(PLACES[place].format(written)):
            said = "\n".join((*told(error), caplog.text))
            assert not any(part in said for part in (*HALVES, PORT)), (place, password, said)


def test_an_unescaped_sign_is_refused_and_the_escape_named() -> None:
    """Where a password ends, and what follows, cannot be told."""
    for url in ("postgresql://me:a@b@127.0.0.1/x", "redis://me:12/b@127.0.0.1", "redis://:1#b@h"):
        with pytest.raises(ValueError, match="%40"):
            open_store(url)
