"""The clauses that need several handles on a store, several threads, or calls in any order."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ctxwin.sessions.stores.memory import MemoryStore
from ctxwin.sessions.stores.protocol import NOWHERE, Page, Position, SessionStore
from ctxwin.testing.stores.checks import fresh, must, same
from ctxwin.values.errors import StaleError

MAX_EXAMPLES = 30  # each makes up to twenty calls, and a database takes milliseconds for one
# Without the phase `explain` of Hypothesis: it takes many times longer, and has nothing to explain.
PHASES = (Phase.generate, Phase.shrink)


def other_handles_see_the_same(store: SessionStore, other: SessionStore) -> None:
    """A handle reads what another one stored, and continues from there."""
    session = fresh()
    here = store.append(session, [b"1"], NOWHERE)
    same(other.read(session), Page(here, 0, ((1, b"1"),)), "another handle sees the same")
    here = other.append(session, [b"2"], here)
    done = store.compact(session, here, b"checkpoint", {})
    must(done, "another handle continues from there", here)
    here = store.append(session, [b"3"], here)
    expected = Page(here, 2, ((3, b"3"),), b"checkpoint")
    same(other.read(session), expected, "another handle sees the same")
    same(store.read(session), expected, "another handle sees the same")


def writers_at_once(store: SessionStore, other: SessionStore) -> None:
    """Each acknowledged record is there once, in its writer's order."""
    session, each, writers = fresh(), 15, 4
    others = each * (writers - 1)
    with ThreadPoolExecutor(writers) as pool:
        handles = [store, other] * (writers // 2)
        written = list(
            pool.map(
                lambda at: _write(handles[at], session, b"%d" % at, each, others), range(writers)
            )
        )
    bodies = [body for _, body in store.read(session, 1).records]
    must(
        sorted(bodies) == sorted(body for own in written for body in own),
        "each acknowledged record is there once",
        bodies,
    )
    for own in written:
        must(
            [body for body in bodies if body in own] == own,
            "the records of a writer keep their order",
            bodies,
        )


def _write(store: SessionStore, session: str, name: bytes, number: int, others: int) -> list[bytes]:
    """Append records one by one, each again until it is stored."""
    # A refusal means that another writer was quicker, so there are no more refusals than records of
    # others. This also ends the test of a store that refuses everything.
    bodies = [name + b" %d" % at for at in range(number)]
    refusals = 0
    for body in bodies:
        while not _appended(store, session, body):
            refusals += 1
            must(
                refusals <= others,
                "an append is refused only if another writer was quicker",
                f"{refusals} refusals",
            )
    return bodies


def _appended(store: SessionStore, session: str, body: bytes) -> bool:
    """Append a record to the end of the log; return False if another writer was quicker."""
    # A read from far beyond the end returns the position and no records.
    here = store.read(session, 2**40).position
    try:
        there = store.append(session, [body], here)
    except StaleError:
        return False
    must(there.number == here.number + 1, f"an append at {here} gets the next number", there)
    return True


def readers_see_whole_steps(store: SessionStore, other: SessionStore) -> None:
    """A reader never sees half a batch, or dropped records without the checkpoint for them."""
    session, batch = fresh(), 5
    position = store.append(session, [b"%d" % at for at in range(batch)], NOWHERE)

    def write() -> None:
        here = position
        for _ in range(20):
            here = store.append(session, [b"%d" % at for at in range(batch)], here)
            store.compact(
                session, here, b"%d" % here.number, dict.fromkeys(range(1, here.number + 1))
            )

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not writing.done():
            page = other.read(session)
            numbers = [number for number, _ in page.records]
            # Each checkpoint holds the number up to which it was made.
            told = page.checkpoint == (b"%d" % page.floor if page.floor else None)
            whole = numbers == list(range(page.floor + 1, page.position.number + 1))
            must(
                told and whole and page.position.number % batch == 0,
                "a reader sees whole steps",
                page,
            )
        writing.result()


def any_sequence_of_calls(store: SessionStore, other: SessionStore) -> None:
    """Any calls, through either handle, leave what a store in memory would hold."""
    examples = min(
        MAX_EXAMPLES, settings.get_profile(settings.get_current_profile_name()).max_examples
    )

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.lists(
            st.tuples(st.booleans(), st.sampled_from([0, 0, 0, 1]), _calls()),
            min_size=8,
            max_size=20,
        )
    )
    def run(calls: list[tuple[bool, int, tuple[Any, ...]]]) -> None:
        model, sessions, tried = MemoryStore(), (fresh(), fresh()), []
        for swapped, which, (method, *arguments) in calls:
            tried.append((method, *arguments))
            caller, witness = (other, store) if swapped else (store, other)
            outcomes = [
                _outcome(each, sessions[which], method, *arguments) for each in (caller, model)
            ]
            seen = [
                [_plain(each.read(session)) for session in sessions] for each in (witness, model)
            ]
            must(
                outcomes[0] == outcomes[1] and seen[0] == seen[1],
                "any sequence of calls does what it does to a store in memory",
                tried,
            )
        for session in sessions:
            store.delete(session)

    run()


def _calls() -> st.SearchStrategy[tuple[Any, ...]]:
    """Generate calls."""
    # Numbers count back from the end of the log, or few calls would meet a record.
    bodies, back = st.lists(st.binary(max_size=5), min_size=1, max_size=4), st.integers(-1, 6)
    changes = st.dictionaries(back, st.none() | st.binary(max_size=5), max_size=4)
    return st.one_of(
        # Appends twice: they make what the other calls remove.
        st.tuples(st.just("append"), st.just(0), bodies),
        st.tuples(st.just("append"), st.sampled_from([0, 0, -1, 1]), bodies),
        st.tuples(st.just("compact"), back, st.none() | st.binary(max_size=5), changes),
        st.tuples(st.just("compact"), st.just(0), st.binary(max_size=5), changes),
        st.tuples(st.just("read"), back, st.none() | st.integers(1, 5)),
        st.tuples(st.just("delete")),
    )


def _outcome(store: SessionStore, session: str, method: str, *arguments: Any) -> object:
    """Call a method at a position that may be wrong; return something that can be compared."""
    here = store.read(session, 2**40).position
    try:
        if method == "append":
            off, records = arguments
            return store.append(session, records, _back(here, -off)).number
        if method == "compact":
            back, checkpoint, changes = arguments
            numbered = {_back(here, each).number: body for each, body in changes.items()}
            return store.compact(session, _back(here, back), checkpoint, numbered)
        if method == "read":
            back, limit = arguments
            return _plain(store.read(session, _back(here, back).number, limit))
        return store.delete(session)
    except StaleError:
        return "stale"


def _back(here: Position, number: int) -> Position:
    return Position(here.life, max(0, here.number - number))


def _plain(page: Page) -> tuple[object, ...]:
    """Return a page without the life, which is random."""
    return page.position.number, page.floor, page.records, page.checkpoint
