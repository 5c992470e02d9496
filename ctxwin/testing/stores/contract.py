"""
The contract of a session store (`ctxwin.sessions.SessionStore`), clause by clause.

    class TestMyStore(StoreContract):
        def store(self):
            return MyStore("...")

`check_store(store)` does the same without pytest. The store may be shared and hold other sessions,
because each clause uses session ids of its own.
"""

from collections.abc import Callable

from ctxwin.sessions.stores.protocol import SessionStore
from ctxwin.testing.stores import checks, handles


class StoreContract:
    """The contract of a session store as tests, one per clause; subclass it and define `store`."""

    def store(self) -> SessionStore:
        """Return the store; called once per test."""
        raise NotImplementedError

    def reopen(self, store: SessionStore) -> SessionStore:
        """Return another handle on the same data, or the same one if there can be no other."""
        return store

    def test_records_come_back(self) -> None:
        """Bytes come back unchanged, numbered 1, 2, 3."""
        checks.records_come_back(self.store())

    def test_large_records_come_back(self) -> None:
        """A record or checkpoint of ten megabytes comes back too."""
        checks.large_records_come_back(self.store())

    def test_a_stale_append_is_refused(self) -> None:
        """A writer that has not read all records cannot add any."""
        checks.a_stale_append_is_refused(self.store())

    def test_sessions_do_not_touch(self) -> None:
        """Sessions stay apart, however similar their ids are."""
        checks.sessions_do_not_touch(self.store())

    def test_reading_by_number(self) -> None:
        """A read from a number returns records from there on, and no more than the limit."""
        checks.reading_by_number(self.store())

    def test_checkpoints(self) -> None:
        """A checkpoint covers all records up to a number, and only moves forward."""
        checks.checkpoints(self.store())

    def test_compacting_changes_what_it_names(self) -> None:
        """Records are dropped and rewritten by number; all others stay as they are."""
        checks.compacting_changes_what_it_names(self.store())

    def test_deleted_sessions_are_gone(self) -> None:
        """So are their records; a new session with the same id has another life."""
        checks.deleted_sessions_are_gone(self.store())

    def test_sessions_are_listed(self) -> None:
        """The id of each session is listed once."""
        checks.sessions_are_listed(self.store())

    def test_other_handles_see_the_same(self) -> None:
        """A handle reads what another one stored, and continues from there."""
        store = self.store()
        handles.other_handles_see_the_same(store, self.reopen(store))

    def test_writers_at_once(self) -> None:
        """Each acknowledged record is there once, in its writer's order."""
        store = self.store()
        handles.writers_at_once(store, self.reopen(store))

    def test_readers_see_whole_steps(self) -> None:
        """A reader never sees half a batch, or dropped records without the checkpoint for them."""
        store = self.store()
        handles.readers_see_whole_steps(store, self.reopen(store))

    def test_any_sequence_of_calls(self) -> None:
        """Any calls, through either handle, do what they do to a store in memory."""
        store = self.store()
        handles.any_sequence_of_calls(store, self.reopen(store))


CLAUSES = tuple(name for name in vars(StoreContract) if name.startswith("test_"))


def check_store(
    store: SessionStore, reopen: Callable[[SessionStore], SessionStore] | None = None
) -> None:
    """
    Test a store against its contract, without pytest.

    Args:
        store: the store.
        reopen: returns another handle on the same data.

    Raises `AssertionError`: a clause is broken; the text says which one, and what was seen.
    """
    contract = StoreContract()
    for name, method in (("store", lambda: store), ("reopen", reopen)):
        if method is not None:
            setattr(contract, name, method)
    for clause in CLAUSES:
        getattr(contract, clause)()
