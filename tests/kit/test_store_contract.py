"""The contract finds the faults of a store, clause by clause; real stores are tested elsewhere."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Event
from unicodedata import normalize

import pytest
from hypothesis import settings

from ctxwin.sessions import NOWHERE, MemoryStore, Page, Position, SessionStore, StaleError
from ctxwin.testing import StoreContract, check_store
from ctxwin.testing.stores.contract import CLAUSES


class TestMemoryStore(StoreContract):
    def store(self) -> SessionStore:
        return MemoryStore()


class TestRenamedStore(StoreContract):
    """One store for all tests, and other handles on it."""

    shared = MemoryStore()

    def store(self) -> SessionStore:
        return self.shared

    def reopen(self, store: SessionStore) -> SessionStore:
        return Delegating(store)


class Delegating:
    """Passes every call on; each sabotaged store overrides one method."""

    def __init__(self, store: SessionStore | None = None) -> None:
        self.inner = store or MemoryStore()
        self.was_read = Event()
        self.waits = 0

    def between(self) -> None:
        """Wait between two steps, so that another thread can read what is there."""
        self.waits += 1
        if self.waits < 20:  # the readers may have finished
            self.was_read.clear()
            self.was_read.wait(0.1)

    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        return self.inner.append(session, records, expected)

    def read(self, session: str, start: int | None = None, limit: int | None = None) -> Page:
        page = self.inner.read(session, start, limit)
        self.was_read.set()
        return page

    def compact(
        self,
        session: str,
        position: Position,
        checkpoint: bytes | None,
        changes: Mapping[int, bytes | None],
    ) -> bool:
        return self.inner.compact(session, position, checkpoint, changes)

    def delete(self, session: str) -> bool:
        return self.inner.delete(session)

    def list(self) -> Iterator[str]:
        return self.inner.list()

    def close(self) -> None:
        self.inner.close()


class LosesAnAppend(Delegating):
    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        if expected.number >= 3:
            return Position(expected.life, expected.number + len(records))
        return super().append(session, records, expected)


class StoresTwice(Delegating):
    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        return super().append(session, [*records, records[-1]], expected)


class Reverses(Delegating):
    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        return super().append(session, records[::-1], expected)


class StoresHalfABatch(Delegating):
    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        position = expected
        for record in records:
            position = super().append(session, [record], position)
            self.between()
        return position


class Strips(Delegating):
    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        return super().append(session, [record.rstrip(b"\0\xff") for record in records], expected)


class ShortensLargeOnes(Delegating):
    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        return super().append(session, [record[: 2**23] for record in records], expected)


class AppendsAnywhere(Delegating):
    """Adds a stale writer's records at the end."""

    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        return super().append(session, records, self.read(session).position)


class Overwrites(Delegating):
    """Replaces records of others by those of a stale writer."""

    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        try:
            return super().append(session, records, expected)
        except StaleError:
            here = self.read(session).position
            numbered = dict(enumerate(records, expected.number + 1))
            self.compact(session, here, None, numbered)
            raise


class IgnoresLives(Delegating):
    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        here = self.read(session).position
        return super().append(
            session, records, here if here.number == expected.number else expected
        )


class CreatesAnywhere(Delegating):
    """Creates a missing session, whatever position was expected."""

    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        there = self.read(session).position != NOWHERE
        return super().append(session, records, expected if there else NOWHERE)


class RenamesSessions(Delegating):
    """Confuses ids."""

    def __init__(self, rename: Callable[[str], str]) -> None:
        super().__init__()
        self.rename = rename

    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        return super().append(self.rename(session), records, expected)

    def read(self, session: str, start: int | None = None, limit: int | None = None) -> Page:
        return super().read(self.rename(session), start, limit)


class IgnoresLimits(Delegating):
    def read(self, session: str, start: int | None = None, limit: int | None = None) -> Page:
        return super().read(session, start)


class BeginsTooLate(Delegating):
    def read(self, session: str, start: int | None = None, limit: int | None = None) -> Page:
        return super().read(session, start if start is None else start + 1, limit)


class ForgetsFloors(Delegating):
    def read(self, session: str, start: int | None = None, limit: int | None = None) -> Page:
        page = super().read(session, start, limit)
        return Page(page.position, 0, page.records, page.checkpoint)


class ForgetsCheckpoints(Delegating):
    def compact(
        self,
        session: str,
        position: Position,
        checkpoint: bytes | None,
        changes: Mapping[int, bytes | None],
    ) -> bool:
        return super().compact(session, position, None, changes)


class GoesBack(MemoryStore):
    """Replaces a later checkpoint by an earlier one."""

    def compact(
        self,
        session: str,
        position: Position,
        checkpoint: bytes | None,
        changes: Mapping[int, bytes | None],
    ) -> bool:
        log = self._logs.get(session)
        if log is not None and log.position.life == position.life:
            log.floor = min(log.floor, position.number)
        return super().compact(session, position, checkpoint, changes)


class DropsTooMuch(Delegating):
    def compact(
        self,
        session: str,
        position: Position,
        checkpoint: bytes | None,
        changes: Mapping[int, bytes | None],
    ) -> bool:
        dropped = dict.fromkeys(range(max(changes, default=0)), None)
        return super().compact(session, position, checkpoint, {**dropped, **changes})


class BringsBack(MemoryStore):
    """Rewrites records that were dropped."""

    def compact(
        self,
        session: str,
        position: Position,
        checkpoint: bytes | None,
        changes: Mapping[int, bytes | None],
    ) -> bool:
        done = super().compact(session, position, checkpoint, changes)
        if done:
            self._logs[session].records.update(
                {number: body for number, body in changes.items() if body is not None}
            )
        return done


class ReusesNumbers(MemoryStore):
    """Numbers the next record after the newest one that still exists."""

    def compact(
        self,
        session: str,
        position: Position,
        checkpoint: bytes | None,
        changes: Mapping[int, bytes | None],
    ) -> bool:
        done = super().compact(session, position, checkpoint, changes)
        if done:
            log = self._logs[session]
            log.position = Position(log.position.life, max(log.records, default=0))
        return done


class SetsCheckpointsLast(Delegating):
    """Drops records and moves the floor in one step, and sets the checkpoint in the next."""

    inner: MemoryStore

    def compact(
        self,
        session: str,
        position: Position,
        checkpoint: bytes | None,
        changes: Mapping[int, bytes | None],
    ) -> bool:
        done = super().compact(session, position, checkpoint, changes)
        log = self.inner._logs[session]
        log.checkpoint, kept = None, log.checkpoint
        self.between()
        log.checkpoint = kept
        return done


class AlwaysRefuses(Delegating):
    """Accepts the first records of a session and no others, whatever is expected."""

    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        if expected != NOWHERE:
            raise StaleError(session)
        return super().append(session, records, expected)


class DropsFirst(Delegating):
    """Drops records in one step, and sets the checkpoint in the next."""

    def compact(
        self,
        session: str,
        position: Position,
        checkpoint: bytes | None,
        changes: Mapping[int, bytes | None],
    ) -> bool:
        super().compact(session, position, None, changes)
        self.between()
        return super().compact(session, position, checkpoint, {})


class KeepsRecords(MemoryStore):
    """Gives a new session what the deleted one had."""

    def delete(self, session: str) -> bool:
        log = self._logs.get(session)
        deleted = super().delete(session)
        if log is not None:
            self.left = {session: log.checkpoint}
        return deleted

    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        position = super().append(session, records, expected)
        left = getattr(self, "left", {}).pop(session, None)
        if left is not None:
            self._logs[session].checkpoint = left
        return position


class LivesOn(MemoryStore):
    """Gives every session the same life."""

    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        position = super().append(session, records, expected)
        log = self._logs[session]
        log.position = Position("same", position.number)
        return log.position


class DeletesQuietly(Delegating):
    def delete(self, session: str) -> bool:
        super().delete(session)
        return True


class ListsTwice(Delegating):
    def list(self) -> Iterator[str]:
        yield from super().list()
        yield from super().list()


class ListsFolded(Delegating):
    def list(self) -> Iterator[str]:
        return iter({session.strip() for session in super().list()})


class SeesItsOwn(Delegating):
    """Reads from a copy made when the handle was opened."""

    def __init__(self, store: SessionStore | None = None) -> None:
        super().__init__(store)
        self.pages: dict[str, Page] = {}

    def read(self, session: str, start: int | None = None, limit: int | None = None) -> Page:
        if start is None and session in self.pages:
            return self.pages[session]
        page = super().read(session, start, limit)
        if start is None and page.position != NOWHERE:
            self.pages[session] = page
        return page


class ChecksThenStores(Delegating):
    """Checks the position, then writes, whatever another writer did in between."""

    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        if self.read(session).position != expected:
            raise StaleError(session)
        self.between()
        return super().append(session, records, self.read(session).position)


SABOTAGE: list[tuple[str, Callable[[], SessionStore]]] = [
    ("records_come_back", LosesAnAppend),
    ("records_come_back", StoresTwice),
    ("records_come_back", Reverses),
    ("records_come_back", Strips),
    ("large_records_come_back", ShortensLargeOnes),
    ("a_stale_append_is_refused", AppendsAnywhere),
    ("a_stale_append_is_refused", Overwrites),
    ("a_stale_append_is_refused", IgnoresLives),
    ("a_stale_append_is_refused", CreatesAnywhere),
    ("sessions_do_not_touch", lambda: RenamesSessions(str.casefold)),
    ("sessions_do_not_touch", lambda: RenamesSessions(str.strip)),
    ("sessions_do_not_touch", lambda: RenamesSessions(lambda session: normalize("NFC", session))),
    ("sessions_do_not_touch", lambda: RenamesSessions(lambda session: session[:5000])),
    ("sessions_do_not_touch", lambda: RenamesSessions(lambda session: session.split("\0")[0])),
    (
        "sessions_do_not_touch",
        lambda: RenamesSessions(lambda session: session.encode(errors="replace").decode()),
    ),
    ("reading_by_number", IgnoresLimits),
    ("reading_by_number", BeginsTooLate),
    ("checkpoints", ForgetsFloors),
    ("checkpoints", ForgetsCheckpoints),
    ("checkpoints", GoesBack),
    ("compacting_changes_what_it_names", DropsTooMuch),
    ("compacting_changes_what_it_names", BringsBack),
    ("compacting_changes_what_it_names", ReusesNumbers),
    ("deleted_sessions_are_gone", KeepsRecords),
    ("deleted_sessions_are_gone", LivesOn),
    ("deleted_sessions_are_gone", IgnoresLives),
    ("deleted_sessions_are_gone", DeletesQuietly),
    ("sessions_are_listed", ListsTwice),
    ("sessions_are_listed", ListsFolded),
    ("other_handles_see_the_same", SeesItsOwn),
    ("writers_at_once", ChecksThenStores),
    ("writers_at_once", AlwaysRefuses),
    ("readers_see_whole_steps", StoresHalfABatch),
    ("readers_see_whole_steps", DropsFirst),
    ("readers_see_whole_steps", SetsCheckpointsLast),
    ("any_sequence_of_calls", LosesAnAppend),
    ("any_sequence_of_calls", ReusesNumbers),
]


@pytest.fixture
def derandomized() -> Iterator[None]:
    """Search in the same way each time, so that a sabotage is found always or never."""
    before = settings.get_current_profile_name()
    settings.load_profile("ci")
    yield
    settings.load_profile(before)


@pytest.mark.usefixtures("derandomized")
@pytest.mark.parametrize(("clause", "sabotaged"), SABOTAGE, ids=range(len(SABOTAGE)))
def test_a_sabotaged_store_is_caught_by_its_clause(
    clause: str, sabotaged: Callable[[], SessionStore]
) -> None:
    """Each clause finds what it is meant to find, and says what it saw."""
    store = sabotaged()
    contract = StoreContract()
    contract.store = lambda: store  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="breaks its contract"):
        getattr(contract, f"test_{clause}")()


def test_every_clause_is_sabotaged() -> None:
    """Every clause has caught something."""
    assert {f"test_{clause}" for clause, _ in SABOTAGE} == set(CLAUSES)


def test_without_pytest() -> None:
    """`check_store` checks all clauses, and raises at the first one that is broken."""
    check_store(MemoryStore(), reopen=Delegating)
    with pytest.raises(AssertionError, match="no other session's id"):
        check_store(RenamesSessions(str.casefold))


def test_a_contract_needs_a_store() -> None:
    """Without `store`, a contract says so."""
    with pytest.raises(NotImplementedError):
        StoreContract().test_checkpoints()
