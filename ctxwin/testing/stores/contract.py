"""
The contract of a store of sessions (`ctxwin.sessions.SessionStore`), clause by clause.

    class TestMyStore(StoreContract):
        def store(self):
            return MyStore("...")

`check_store(store)` does the same without pytest. The store may be shared and hold other sessions:
each clause is looked at by ids of its own.
"""

from collections.abc import Callable

from ctxwin.sessions.stores.protocol import SessionStore
from ctxwin.testing.stores import checks as checks
from ctxwin.testing.stores import handles as handles


class StoreContract:
    """A store of sessions is proved against its contract: a class of tests, one a clause."""

    def store(self) -> SessionStore:
        """Return the store; called once a test."""
        raise NotImplementedError

    def reopen(self, store: SessionStore) -> SessionStore:
        """Return another handle on the same data; the same one where there can be no other."""
        return store

    def test_records_come_back(self) -> None:
        """Bytes are stored as they were given, and numbered 1, 2, 3."""
        checks.records_come_back(self.store())

    def test_large_records_come_back(self) -> None:
        """Ten megabytes are a record too."""
        checks.large_records_come_back(self.store())

    def test_a_stale_append_is_refused(self) -> None:
        """Whoever has not seen all records stores none."""
        checks.a_stale_append_is_refused(self.store())

    def test_sessions_do_not_touch(self) -> None:
        """Whatever their ids look like."""
        checks.sessions_do_not_touch(self.store())

    def test_reading_by_number(self) -> None:
        """From a number on, at most so many."""
        checks.reading_by_number(self.store())

    def test_checkpoints(self) -> None:
        """A checkpoint stands for all records up to a number, and goes forward only."""
        checks.checkpoints(self.store())

    def test_compacting_changes_what_it_names(self) -> None:
        """Records are dropped and rewritten by number, and by nothing else."""
        checks.compacting_changes_what_it_names(self.store())

    def test_deleted_sessions_are_gone(self) -> None:
        """With all they held; a new one of the same id is another."""
        checks.deleted_sessions_are_gone(self.store())

    def test_sessions_are_listed(self) -> None:
        """Each once, by its id."""
        checks.sessions_are_listed(self.store())

    def test_other_handles_see_the_same(self) -> None:
        """What one has stored, another reads and goes on from."""
        store = self.store()
        handles.other_handles_see_the_same(store, self.reopen(store))

    def test_writers_at_once(self) -> None:
        """What was acknowledged is there once, in each writer's order."""
        store = self.store()
        handles.writers_at_once(store, self.reopen(store))

    def test_readers_see_whole_steps(self) -> None:
        """No half of a batch, and no dropped record without the checkpoint that stands for it."""
        store = self.store()
        handles.readers_see_whole_steps(store, self.reopen(store))

    def test_any_sequence_of_calls(self) -> None:
        """Whatever is called by whichever handle, it is what a store in memory does."""
        store = self.store()
        handles.any_sequence_of_calls(store, self.reopen(store))


CLAUSES = tuple(name for name in vars(StoreContract) if name.startswith("test_"))


def check_store(
    store: SessionStore, reopen: Callable[[SessionStore], SessionStore] | None = None
) -> None:
    """
    Prove a store against its contract; no pytest needed.

    Args:
        store: the store.
        reopen: returns another handle on the same data.

    Raises `AssertionError`: a clause is broken; the text says which, and what was seen.
    """
    contract = StoreContract()
    for name, method in (("store", lambda: store), ("reopen", reopen)):
        if method is not None:
            setattr(contract, name, method)
    for clause in CLAUSES:
        getattr(contract, clause)()
