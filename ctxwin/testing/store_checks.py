"""
What a store of sessions must do: one function a clause of its contract, with `AssertionError` where it is broken.

Each looks at sessions of its own, so that the store may be shared.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctxwin.errors import StaleError
from ctxwin.sessions.memory import MemoryStore
from ctxwin.sessions.protocol import NOWHERE, Page, Position, SessionStore

MAX_EXAMPLES = 30  # each is up to twenty calls, which a database takes milliseconds for
LOOKALIKES = (
    ("a", "A", "a ", " a", "a\0", "a\n", "a%", "a_", "a*", "a?", "[a]", "{a}", "{a}:head", "a:b", "a/b", "a\\b", "a'b"),
    ("\u00e9", "e\u0301", "\u212b", "\u00c5", "\ufb01", "fi", "\u0131", "I", "\u00df", "ss", "SS", "\uff41"),
    ("\ud800", "\ud83d\ude00", "\U0001f600", "\udc00", "\x00", "", "'; DROP TABLE ctxwin_sessions; --", "x" * 5000),
    ("x" * 5001, "\u65e5\u672c\u8a9e", "42", "042", "4.2e1", "None", "null", "../a", "\ufeffa"),
)
"""Ids that an engine may take for one another, or for something else than an id."""


def records_come_back(store: SessionStore) -> None:
    """Bytes come back as they were given, numbered 1, 2, 3."""
    session = _fresh()
    bodies = [b"", b"\0", b"one", bytes(range(256)), b"\xff" * 70_000, b"'\"\\%s :x {}", "\u65e5".encode()]
    position = NOWHERE
    for batch in (bodies[:1], bodies[1:3], bodies[3:]):
        position = store.append(session, batch, position)
    _must(position.number == len(bodies), "append returns the new position", position)
    _is(store.read(session), Page(position, 0, tuple(enumerate(bodies, 1))), "records come back as they were given")


def large_records_come_back(store: SessionStore) -> None:
    """So do ten megabytes."""
    session, body = _fresh(), bytes(range(250)) * 40_000
    position = store.append(session, [body], NOWHERE)
    _must(store.read(session).records == ((1, body),), "a record may be large", len(body))
    _must(store.compact(session, position, body, {}), "a checkpoint may be large", len(body))
    _must(store.read(session).checkpoint == body, "a checkpoint may be large", len(body))


def a_stale_append_is_refused(store: SessionStore) -> None:
    """An append is taken at the expected position only, and leaves nothing behind elsewhere."""
    session = _fresh()
    here = store.append(session, [b"1", b"2", b"3"], NOWHERE)
    before = store.read(session)
    wrong = [NOWHERE, Position(here.life, 0), Position(here.life, 2), Position(here.life, 4), Position(_fresh(), 3)]
    for expected in wrong:
        refused = False
        with suppress(StaleError):
            store.append(session, [b"x", b"y"], expected)
            refused = True
        _must(not refused, f"an append is refused where the log is at {here}", f"one that expected {expected} was not")
        _is(store.read(session), before, "a refused append stores nothing")
    nowhere = _fresh()
    with suppress(StaleError):
        store.append(nowhere, [b"x"], here)
        _must(
            condition=False, clause="a session that is not there is at NOWHERE", seen=f"an append that expected {here}"
        )
    _is(store.read(nowhere), Page(NOWHERE, 0), "a refused append creates no session")


def sessions_do_not_touch(store: SessionStore) -> None:
    """Ids that look alike are different sessions."""
    tag = _fresh()
    for lookalikes in LOOKALIKES:
        ids = [f"{name}{tag}" if name else tag for name in lookalikes] + [f"{tag}{name}" for name in lookalikes if name]
        positions = {}
        for session in ids:
            _is(store.read(session), Page(NOWHERE, 0), f"{session!r} is no other session")
            positions[session] = store.append(session, [repr(session).encode()], NOWHERE)
        for session in ids[::2]:
            store.compact(session, positions[session], repr(session).encode(), {})
        for session in ids[1::4]:
            store.delete(session)
        for at, session in enumerate(ids):
            body = repr(session).encode()
            left = Page(positions[session], 1, (), body) if at % 2 == 0 else Page(positions[session], 0, ((1, body),))
            _is(store.read(session), Page(NOWHERE, 0) if at % 4 == 1 else left, f"{session!r} holds what is its own")


def reading_by_number(store: SessionStore) -> None:
    """From a number on, at most so many."""
    session = _fresh()
    here = store.append(session, [b"%d" % number for number in range(1, 8)], NOWHERE)
    store.compact(session, here, b"checkpoint", {2: None, 3: None})
    left = tuple((number, b"%d" % number) for number in (1, 4, 5, 6, 7))
    for start in range(9):
        for limit in (None, 1, 2, 3, 100):
            found = tuple(item for item in left if item[0] >= start)[:limit]
            _is(store.read(session, start, limit), Page(here, 7, found), f"read(start={start}, limit={limit})")
    _is(store.read(_fresh(), 1, 5), Page(NOWHERE, 0), "a session that is not there has no records")


def checkpoints(store: SessionStore) -> None:
    """A checkpoint stands for all records up to a number, and goes forward only."""
    session = _fresh()
    first = store.append(session, [b"1", b"2"], NOWHERE)
    here = store.append(session, [b"3", b"4"], first)
    tail = ((3, b"3"), (4, b"4"))
    _must(store.compact(session, first, b"of two", {}), "a checkpoint may be of a past position", first)
    _is(store.read(session), Page(here, 2, tail, b"of two"), "a checkpoint and what follows it")
    later = Position(here.life, 3)
    _must(store.compact(session, later, b"of three", {}), "a later checkpoint takes the place of an earlier", later)
    after = Page(here, 3, tail[1:], b"of three")
    _is(store.read(session), after, "a later checkpoint takes the place of an earlier")
    for position, why in (
        (first, "of an earlier position"),
        (Position(here.life, 5), "of a position that was not reached"),
        (Position(_fresh(), 4), "of another life"),
        (NOWHERE, "of nowhere"),
    ):
        _must(not store.compact(session, position, b"x", {4: None}), f"no checkpoint {why}", position)
        _is(store.read(session), after, f"a refused checkpoint {why} changes nothing")
    _must(not store.compact(_fresh(), here, b"x", {}), "no checkpoint where there is no session", here)
    _must(store.compact(session, here, None, {4: b"four"}), "records may be changed without a checkpoint", here)
    _is(store.read(session), Page(here, 3, ((4, b"four"),), b"of three"), "without one, the checkpoint stays")


def compacting_changes_what_it_names(store: SessionStore) -> None:
    """Records are dropped and rewritten by number, and by nothing else."""
    session, other = _fresh(), _fresh()
    bodies = [b"%d" % number for number in range(1, 1301)]
    here = store.append(session, bodies, NOWHERE)
    there = store.append(other, bodies, NOWHERE)
    changes = {number: None if number % 3 else b"rewritten" for number in range(100, 1200)}
    _must(store.compact(session, here, b"checkpoint", {**changes, 5000: None, 5001: b"x"}), "compact", here)
    left = [(number, changes.get(number, body)) for number, body in enumerate(bodies, 1)]
    expected = tuple((number, body) for number, body in left if body is not None)
    _is(store.read(session, 1), Page(here, 1300, expected), "compact changes what it names, and nothing else")
    store.compact(session, here, b"again", {100: b"x"})
    _is(store.read(session, 1), Page(here, 1300, expected), "what was dropped does not come back")
    _is(store.read(other, 1), Page(there, 0, tuple(enumerate(bodies, 1))), "compact leaves other sessions alone")


def deleted_sessions_are_gone(store: SessionStore) -> None:
    """With all they held; a new session of the same id has another life."""
    session = _fresh()
    here = store.append(session, [b"1", b"2"], NOWHERE)
    store.compact(session, here, b"checkpoint", {})
    _must(store.delete(session) is True, "delete says that there was a session", session)
    _must(store.delete(session) is False, "delete says that there was none", session)
    _is(store.read(session), Page(NOWHERE, 0), "a deleted session is gone")
    anew = store.append(session, [b"new", b"newer"], NOWHERE)
    _must(anew.life not in (here.life, ""), "each creation draws another life", anew)
    _is(store.read(session), Page(anew, 0, ((1, b"new"), (2, b"newer"))), "nothing of a deleted session comes back")
    with suppress(StaleError):
        store.append(session, [b"late"], here)
        _must(condition=False, clause="a writer from before the deletion is refused", seen="its append was stored")
    _must(not store.compact(session, here, b"x", {1: None}), "so is its checkpoint", here)
    _is(store.read(session, 1), Page(anew, 0, ((1, b"new"), (2, b"newer"))), "and changes nothing")


def sessions_are_listed(store: SessionStore) -> None:
    """Each once, by its id."""
    tag = _fresh()
    names = [f"{name}{tag}" for name in (*LOOKALIKES[0], *LOOKALIKES[1], *LOOKALIKES[2])]
    for session in names:
        store.append(session, [b"1"], NOWHERE)
    store.delete(names[0])
    listed = sorted(session for session in store.list() if session.endswith(tag))
    _must(listed == sorted(names[1:]), "list yields the id of each session once", listed)


def other_handles_see_the_same(store: SessionStore, other: SessionStore) -> None:
    """What one has stored, another reads and goes on from."""
    session = _fresh()
    here = store.append(session, [b"1"], NOWHERE)
    _is(other.read(session), Page(here, 0, ((1, b"1"),)), "another handle sees the same")
    here = other.append(session, [b"2"], here)
    _must(store.compact(session, here, b"checkpoint", {}), "another handle goes on from there", here)
    here = store.append(session, [b"3"], here)
    expected = Page(here, 2, ((3, b"3"),), b"checkpoint")
    _is(other.read(session), expected, "another handle sees the same")
    _is(store.read(session), expected, "another handle sees the same")


def writers_at_once(store: SessionStore, other: SessionStore) -> None:
    """What was acknowledged is there once, in each writer's order."""
    session, each, writers = _fresh(), 15, 4
    with ThreadPoolExecutor(writers) as pool:
        handles = [store, other] * (writers // 2)
        written = list(pool.map(lambda at: _write(handles[at], session, b"%d" % at, each), range(writers)))
    bodies = [body for _, body in store.read(session, 1).records]
    _must(
        sorted(bodies) == sorted(body for own in written for body in own), "what was acknowledged is there once", bodies
    )
    for own in written:
        _must([body for body in bodies if body in own] == own, "each writer's records are in its order", bodies)


def _write(store: SessionStore, session: str, name: bytes, number: int) -> list[bytes]:
    """Append records one by one, each as often as others are quicker."""
    bodies = [name + b" %d" % at for at in range(number)]
    for body in bodies:
        while True:
            here = store.read(session, 2**40).position
            with suppress(StaleError):
                there = store.append(session, [body], here)
                _must(there.number == here.number + 1, f"who appends at {here} is next", there)
                break
    return bodies


def readers_see_whole_steps(store: SessionStore, other: SessionStore) -> None:
    """No half of a batch, and no dropped record without the checkpoint that stands for it."""
    session, batch = _fresh(), 5
    position = store.append(session, [b"%d" % at for at in range(batch)], NOWHERE)

    def write() -> None:
        here = position
        for _ in range(20):
            here = store.append(session, [b"%d" % at for at in range(batch)], here)
            store.compact(session, here, b"%d" % here.number, dict.fromkeys(range(1, here.number + 1)))

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not writing.done():
            page = other.read(session)
            numbers = [number for number, _ in page.records]
            told = page.checkpoint in (b"%d" % page.floor, None)
            whole = numbers == list(range(page.floor + 1, page.position.number + 1))
            _must(told and whole and page.position.number % batch == 0, "a reader sees whole steps", page)
        writing.result()


def any_sequence_of_calls(store: SessionStore) -> None:
    """Whatever is called, it is what a store in memory does."""
    body = st.binary(max_size=5)
    number = st.integers(0, 12)
    changes = st.dictionaries(number, st.none() | body, max_size=4)
    call = (
        st.tuples(st.just("append"), st.integers(-1, 1), st.lists(body, min_size=1, max_size=4))
        | st.tuples(st.just("compact"), number, st.none() | body, changes)
        | st.tuples(st.just("delete"))
        | st.tuples(st.just("read"), number, st.none() | st.integers(1, 5))
    )
    examples = min(MAX_EXAMPLES, settings.get_profile(settings.get_current_profile_name()).max_examples)

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.integers(0, 1), call), max_size=20))
    def run(calls: list[tuple[int, tuple[Any, ...]]]) -> None:
        model, sessions, tried = MemoryStore(), (_fresh(), _fresh()), []
        for which, (method, *arguments) in calls:
            tried.append((method, *arguments))
            outcomes = [_outcome(each, sessions[which], method, *arguments) for each in (store, model)]
            seen = [[_plain(each.read(session)) for session in sessions] for each in (store, model)]
            _must([outcomes[0], seen[0]] == [outcomes[1], seen[1]], "whatever is called, it does what it must", tried)
        for session in sessions:
            store.delete(session)

    run()


def _outcome(store: SessionStore, session: str, method: str, *arguments: Any) -> object:
    """Call a method with positions that are right, or wrong by so much; returns what can be compared."""
    here = store.read(session, 2**40).position
    try:
        if method == "append":
            off, records = arguments
            return store.append(session, records, Position(here.life, max(0, here.number + off))).number
        if method == "compact":
            number, checkpoint, changes = arguments
            return store.compact(session, Position(here.life, number), checkpoint, changes)
        if method == "delete":
            return store.delete(session)
        return _plain(store.read(session, *arguments))
    except StaleError:
        return "stale"


def _plain(page: Page) -> tuple[object, ...]:
    """Return a page without the life, which each store draws for itself."""
    return page.position.number, page.floor, page.records, page.checkpoint


def _fresh() -> str:
    """Return an id that no session has."""
    return uuid4().hex


def _must(condition: bool, clause: str, seen: object) -> None:  # noqa: FBT001 - reads as an assertion
    if not condition:
        text = repr(seen)
        raise AssertionError(f"the store breaks its contract: {clause}; seen: {text[:1000]}")


def _is(seen: Page, expected: Page, clause: str) -> None:
    _must(seen == expected, f"{clause}, here {repr(expected)[:1000]}", seen)
