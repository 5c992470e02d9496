"""The contract of a store on real engines, with as many handles as it asks for, all closed."""

from collections.abc import Iterator

import pytest

from ctxwin.sessions import SessionStore
from ctxwin.testing import StoreContract


class OpenedStores(StoreContract):
    """Each store is opened by `open`, and closed when its test is over."""

    def open(self) -> SessionStore:
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _opened(self) -> Iterator[None]:
        self.opened: list[SessionStore] = []
        yield
        for store in self.opened:
            store.close()

    def store(self) -> SessionStore:
        self.opened.append(self.open())
        return self.opened[-1]

    def reopen(self, store: SessionStore) -> SessionStore:
        return self.store()
