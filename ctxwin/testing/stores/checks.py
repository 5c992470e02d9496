"""
The clauses of a store's contract, one function each; `AssertionError` if one is broken.

Each uses sessions of its own, so the store may be shared.
"""

from contextlib import suppress
from uuid import uuid4

from ctxwin.sessions.stores.protocol import NOWHERE, Page, Position, SessionStore
from ctxwin.values.errors import StaleError

LOOKALIKES = (
    (
        "a",
        "A",
        "a ",
        " a",
        "a\0",
        "a\n",
        "a%",
        "a_",
        "a*",
        "a?",
        "[a]",
        "{a}",
        "{a}:head",
        "a:b",
        "a/b",
        "a\\b",
        "a'b",
    ),
    (
        "\u00e9",
        "e\u0301",
        "\u212b",
        "\u00c5",
        "\ufb01",
        "fi",
        "\u0131",
        "I",
        "\u00df",
        "ss",
        "SS",
        "\uff41",
    ),
    (
        "\ud800",
        "\ud83d\ude00",
        "\U0001f600",
        "\udc00",
        "\x00",
        "",
        "'; DROP TABLE ctxwin_sessions; --",
        "x" * 5000,
    ),
    ("x" * 5001, "\u65e5\u672c\u8a9e", "42", "042", "4.2e1", "None", "null", "../a", "\ufeffa"),
)
"""Ids that an engine may confuse with each other, or take for something else."""


def records_come_back(store: SessionStore) -> None:
    """Bytes come back unchanged, numbered 1, 2, 3."""
    session = fresh()
    bodies = [
        b"",
        b"\0",
        b"one",
        bytes(range(256)),
        b"\xff" * 70_000,
        b"'\"\\%s :x {}",
        "\u65e5".encode(),
    ]
    position = NOWHERE
    for batch in (bodies[:1], bodies[1:3], bodies[3:]):
        position = store.append(session, batch, position)
    must(position.number == len(bodies), "append returns the new position", position)
    same(
        store.read(session),
        Page(position, 0, tuple(enumerate(bodies, 1))),
        "records come back as they were given",
    )


def large_records_come_back(store: SessionStore) -> None:
    """A record or checkpoint of ten megabytes comes back too."""
    session, body = fresh(), bytes(range(250)) * 40_000
    position = store.append(session, [body], NOWHERE)
    must(store.read(session).records == ((1, body),), "a record may be large", len(body))
    must(store.compact(session, position, body, {}), "a checkpoint may be large", len(body))
    must(store.read(session).checkpoint == body, "a checkpoint may be large", len(body))


def a_stale_append_is_refused(store: SessionStore) -> None:
    """An append is accepted at the expected position only; a refused one stores nothing."""
    session = fresh()
    here = store.append(session, [b"1", b"2", b"3"], NOWHERE)
    before = store.read(session)
    wrong = [
        NOWHERE,
        Position(here.life, 0),
        Position(here.life, 2),
        Position(here.life, 4),
        Position(fresh(), 3),
    ]
    for expected in wrong:
        refused = False
        with suppress(StaleError):
            store.append(session, [b"x", b"y"], expected)
            refused = True
        must(
            not refused,
            f"an append is refused unless it expects {here}, where the log is",
            f"one that expected {expected} was not refused",
        )
        same(store.read(session), before, "a refused append stores nothing")
    nowhere = fresh()
    with suppress(StaleError):
        store.append(nowhere, [b"x"], here)
        must(
            condition=False,
            clause="only an append that expects NOWHERE creates a session",
            seen=f"one that expected {here} was not refused",
        )
    same(store.read(nowhere), Page(NOWHERE, 0), "a refused append creates no session")


def sessions_do_not_touch(store: SessionStore) -> None:
    """Ids that look alike are different sessions."""
    tag = fresh()
    for lookalikes in LOOKALIKES:
        ids = [f"{name}{tag}" if name else tag for name in lookalikes] + [
            f"{tag}{name}" for name in lookalikes if name
        ]
        positions = {}
        for session in ids:
            same(store.read(session), Page(NOWHERE, 0), f"{session!r} is no other session's id")
            positions[session] = store.append(session, [repr(session).encode()], NOWHERE)
        for session in ids[::2]:
            store.compact(session, positions[session], repr(session).encode(), {})
        for session in ids[1::4]:
            store.delete(session)
        for at, session in enumerate(ids):
            body = repr(session).encode()
            left = (
                Page(positions[session], 1, (), body)
                if at % 2 == 0
                else Page(positions[session], 0, ((1, body),))
            )
            same(
                store.read(session),
                Page(NOWHERE, 0) if at % 4 == 1 else left,
                f"session {session!r} holds its own records",
            )


def reading_by_number(store: SessionStore) -> None:
    """A read from a number returns records from there on, and no more than the limit."""
    session = fresh()
    here = store.append(session, [b"%d" % number for number in range(1, 8)], NOWHERE)
    store.compact(session, here, b"checkpoint", {2: None, 3: None})
    left = tuple((number, b"%d" % number) for number in (1, 4, 5, 6, 7))
    for start in range(9):
        for limit in (None, 1, 2, 3, 100):
            found = tuple(item for item in left if item[0] >= start)[:limit]
            same(
                store.read(session, start, limit),
                Page(here, 7, found),
                f"read(start={start}, limit={limit})",
            )
    same(store.read(fresh(), 1, 5), Page(NOWHERE, 0), "a session that does not exist is empty")


def checkpoints(store: SessionStore) -> None:
    """A checkpoint covers all records up to a number, and only moves forward."""
    session = fresh()
    first = store.append(session, [b"1", b"2"], NOWHERE)
    here = store.append(session, [b"3", b"4"], first)
    tail = ((3, b"3"), (4, b"4"))
    done = store.compact(session, first, b"of two", {})
    must(done, "a checkpoint may have a past position", first)
    same(store.read(session), Page(here, 2, tail, b"of two"), "a checkpoint and what follows it")
    later = Position(here.life, 3)
    clause = "a later checkpoint replaces an earlier one"
    must(store.compact(session, later, b"of three", {}), clause, later)
    after = Page(here, 3, tail[1:], b"of three")
    same(store.read(session), after, clause)
    for position, why in (
        (first, "at an earlier position"),
        (Position(here.life, 5), "at a position that was not reached"),
        (Position(fresh(), 4), "of another life"),
        (NOWHERE, "at NOWHERE"),
    ):
        done = store.compact(session, position, b"x", {4: None})
        must(not done, f"a checkpoint {why} is refused", position)
        same(store.read(session), after, f"a refused checkpoint {why} changes nothing")
    done = store.compact(fresh(), here, b"x", {})
    must(not done, "a checkpoint of a session that does not exist is refused", here)
    done = store.compact(session, here, None, {4: b"four"})
    must(done, "records may be changed without a new checkpoint", here)
    expected = Page(here, 3, ((4, b"four"),), b"of three")
    same(store.read(session), expected, "without a new checkpoint, the old one stays")


def compacting_changes_what_it_names(store: SessionStore) -> None:
    """Records are dropped and rewritten by number; all others stay as they are."""
    session, other = fresh(), fresh()
    bodies = [b"%d" % number for number in range(1, 1301)]
    here = store.append(session, bodies, NOWHERE)
    there = store.append(other, bodies, NOWHERE)
    changes = {number: None if number % 3 else b"rewritten" for number in range(100, 1200)}
    # Numbers that do not exist are ignored.
    done = store.compact(session, here, b"checkpoint", {**changes, 5000: None, 5001: b"x"})
    must(done, "compact takes many changes at once", here)
    left = [(number, changes.get(number, body)) for number, body in enumerate(bodies, 1)]
    expected = tuple((number, body) for number, body in left if body is not None)
    same(
        store.read(session, 1),
        Page(here, 1300, expected),
        "compact changes the records it was given, and no others",
    )
    store.compact(session, here, b"again", {100: b"x"})
    same(store.read(session, 1), Page(here, 1300, expected), "a dropped record stays away")
    same(
        store.read(other, 1),
        Page(there, 0, tuple(enumerate(bodies, 1))),
        "compact leaves other sessions alone",
    )
    must(store.compact(session, here, None, {1300: None}), "the newest record may be dropped", here)
    clause = "the number of a dropped record is not used again"
    same(store.read(session, 1300), Page(here, 1300), clause)
    after = Position(here.life, 1301)
    must(store.append(session, [b"next"], here) == after, clause, here)
    same(store.read(session, 1300), Page(after, 1300, ((1301, b"next"),)), clause)


def deleted_sessions_are_gone(store: SessionStore) -> None:
    """So are their records; a new session with the same id has another life."""
    session = fresh()
    here = store.append(session, [b"1", b"2"], NOWHERE)
    store.compact(session, here, b"checkpoint", {})
    must(store.delete(session) is True, "delete returns True if there was a session", session)
    must(store.delete(session) is False, "delete returns False if there was none", session)
    same(store.read(session), Page(NOWHERE, 0), "a deleted session is gone")
    anew = store.append(session, [b"new", b"newer"], NOWHERE)
    must(anew.life not in (here.life, ""), "each creation gives another life", anew)
    same(
        store.read(session),
        Page(anew, 0, ((1, b"new"), (2, b"newer"))),
        "nothing of a deleted session comes back",
    )
    with suppress(StaleError):
        store.append(session, [b"late"], here)
        must(
            condition=False,
            clause="an append by a writer from before the deletion is refused",
            seen="it was stored",
        )
    done = store.compact(session, here, b"x", {1: None})
    must(not done, "a checkpoint by a writer from before the deletion is refused", here)
    left = Page(anew, 0, ((1, b"new"), (2, b"newer")))
    same(store.read(session, 1), left, "a refused checkpoint changes nothing")


def sessions_are_listed(store: SessionStore) -> None:
    """The id of each session is listed once."""
    tag = fresh()
    names = [f"{name}{tag}" for name in (*LOOKALIKES[0], *LOOKALIKES[1], *LOOKALIKES[2])]
    for session in names:
        store.append(session, [b"1"], NOWHERE)
    store.delete(names[0])
    listed = sorted(session for session in store.list() if session.endswith(tag))
    must(listed == sorted(names[1:]), "list yields the id of each session once", listed)


def fresh() -> str:
    """Return an id that no session has."""
    return uuid4().hex


def must(condition: bool, clause: str, seen: object) -> None:  # noqa: FBT001 - reads as an assertion
    """Raise `AssertionError` if a clause does not hold."""
    if not condition:
        text = repr(seen)
        raise AssertionError(f"the store breaks its contract: {clause}; seen: {text[:1000]}")


def same(seen: Page, expected: Page, clause: str) -> None:
    """Raise `AssertionError` if a page is not what a clause says."""
    must(seen == expected, f"{clause}; expected: {repr(expected)[:1000]}", seen)
