"""Encryption at rest: only who has a key reads, and whatever cannot be read is named."""

import importlib
import sys
import time
from base64 import b64encode
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from ctxwin.sessions import (
    NOWHERE,
    MemoryStore,
    Position,
    RecordError,
    Sessions,
    SessionStore,
    StoreError,
    journal,
    open_store,
)
from ctxwin.sessions.stores.encrypted import EncryptedStore
from ctxwin.testing import StoreContract, WordCounter

KEY, NEW_KEY, OTHER_KEY = (Fernet.generate_key() for _ in range(3))
OPTIONS: dict[str, Any] = {"max_tokens": 60, "counter": WordCounter()}


class TestEncryptedStore(StoreContract):
    """It is a store like any other; other handles have the keys in another order."""

    def store(self) -> SessionStore:
        self.plain = MemoryStore()
        return EncryptedStore(self.plain, [NEW_KEY, KEY])

    def reopen(self, store: SessionStore) -> SessionStore:
        return EncryptedStore(self.plain, [KEY, NEW_KEY])


@pytest.fixture
def plain() -> MemoryStore:
    return MemoryStore()


def everything(store: MemoryStore, session: str) -> bytes:
    log = store._logs[session]
    return b"".join([*log.records.values(), log.checkpoint or b""])


def fill(sessions: Sessions, monkeypatch: pytest.MonkeyPatch, session: str = "a") -> None:
    monkeypatch.setattr(journal, "MIN_TAIL", 4)
    with sessions.open(session, **OPTIONS) as ctx:
        for number in range(6):
            ctx.add_message("user", f"my secret {number}")


def test_nothing_said_is_readable(plain: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in records nor in checkpoints; by the key all of it is."""
    sessions = Sessions(EncryptedStore(plain, [KEY.decode()]))
    fill(sessions, monkeypatch)
    assert plain._logs["a"].checkpoint is not None
    assert b"secret" not in everything(plain, "a")
    assert [message.content for message in sessions.read("a")] == [
        f"my secret {number}" for number in range(6)
    ]
    assert list(sessions.list()) == ["a"]
    assert sessions.delete("a")


@pytest.mark.parametrize("reading", ["checkpoint", "record"])
def test_the_wrong_key_is_an_error_that_names_it(
    plain: MemoryStore, monkeypatch: pytest.MonkeyPatch, reading: str
) -> None:
    """And the session is as it was."""
    fill(Sessions(EncryptedStore(plain, [KEY])), monkeypatch)
    if reading == "record":
        plain._logs["a"].checkpoint, plain._logs["a"].floor = None, 0
    before = everything(plain, "a")
    with pytest.raises(RecordError, match="by none of the keys") as caught:
        Sessions(EncryptedStore(plain, [OTHER_KEY])).open("a", **OPTIONS)
    assert (caught.value.session, caught.value.number) == (
        "a",
        None if reading == "checkpoint" else 1,
    )
    assert everything(plain, "a") == before


def test_what_was_moved_is_found_out(plain: MemoryStore) -> None:
    """To another number, to another session, from a record to a checkpoint."""
    store = EncryptedStore(plain, [KEY])
    for session in ("a", "b"):
        store.append(session, [b"one", b"two"], NOWHERE)
    logs = plain._logs
    logs["a"].records[2] = logs["a"].records[1]
    with pytest.raises(
        RecordError,
        match="record 2 of session 'a' cannot be read: it was written for another place",
    ):
        store.read("a")
    logs["b"].records[1] = logs["a"].records[1]
    with pytest.raises(RecordError, match="record 1 of session 'b'"):
        store.read("b", 1)
    logs["b"].checkpoint = logs["a"].records[1]
    logs["b"].floor = 2
    with pytest.raises(RecordError, match="the checkpoint of session 'b'"):
        store.read("b")


def moved(plain: MemoryStore, dead: Any) -> EncryptedStore:
    """A session that was deleted, and a successor into which all that it held has been moved."""
    store = EncryptedStore(plain, [KEY])
    store.delete("a")
    store.append("a", [b"new"] * 3, NOWHERE)
    log = plain._logs["a"]
    log.records.update(dead.records)
    log.checkpoint, log.floor = dead.checkpoint, dead.floor
    return store


def test_what_was_moved_into_a_successor_is_found_out(plain: MemoryStore) -> None:
    """The first records too, which were written before the session's life was known."""
    store = EncryptedStore(plain, [KEY])
    first = store.append("a", [b"one"], NOWHERE)
    here = store.append("a", [b"two", b"three"], first)
    store.compact("a", here, b"checkpoint", {2: b"another two"})
    moved(plain, plain._logs["a"])
    for number in (1, 2, 3):
        with pytest.raises(RecordError, match=rf"record {number} .* another place"):
            store.read("a", number, 1)
    with pytest.raises(RecordError, match=r"the checkpoint .* another place"):
        store.read("a")


def test_what_an_earlier_release_wrote_is_read_and_bound_by_rotating(plain: MemoryStore) -> None:
    """Until then it can still be moved into a successor."""
    cipher, store = Fernet(KEY), EncryptedStore(plain, [KEY])
    name = b64encode(b"a").decode()
    records = [
        cipher.encrypt(f'["{name}", {number}, false]\n{{"n": {number}}}'.encode())
        for number in (1, 2, 3)
    ]
    here = plain.append("a", records, NOWHERE)
    plain.compact("a", here, cipher.encrypt(f'["{name}", 3, true]\ncheckpoint'.encode()), {})
    assert store.read("a").checkpoint == b"checkpoint"
    told = tuple((number, b'{"n": %d}' % number) for number in (1, 2, 3))
    assert store.read("a", 1).records == told
    dead = plain._logs["a"]
    assert moved(plain, dead).read("a", 1).records == told
    store.rotate("a")
    dead = plain._logs["a"]
    assert store.read("a", 1).records == told
    moved(plain, dead)
    for start in (None, 1):
        with pytest.raises(RecordError, match="another place"):
            store.read("a", start)


def test_a_new_session_can_be_read_where_binding_it_has_failed(
    plain: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stored, so nothing has failed for the caller."""
    store = EncryptedStore(plain, [KEY])

    def fail(*_: Any) -> bool:
        raise StoreError("gone")

    monkeypatch.setattr(plain, "compact", fail)
    assert store.append("a", [b"one"], NOWHERE).number == 1
    assert store.read("a").records == ((1, b"one"),)


def test_a_checkpoint_put_back_is_found_out(plain: MemoryStore) -> None:
    """An earlier checkpoint in the place of a later one would hide what came between."""
    store = EncryptedStore(plain, [KEY])
    first = store.append("a", [b"one"], NOWHERE)
    store.compact("a", first, b"of one", {})
    earlier = plain._logs["a"].checkpoint
    store.compact("a", store.append("a", [b"two"], first), b"of two", {})
    assert store.read("a").checkpoint == b"of two"
    plain._logs["a"].checkpoint = earlier
    with pytest.raises(
        RecordError,
        match="the checkpoint of session 'a' cannot be read: it was written for another",
    ):
        store.read("a")


@given(st.binary(max_size=40), st.data())
def test_what_is_corrupt_is_an_error(body: bytes, data: st.DataObject) -> None:
    """A cut record cannot be read; with any byte changed, nothing else is read than was written."""
    plain = MemoryStore()
    store = EncryptedStore(plain, [KEY])
    store.append("a", [b"before", body, b"after"], NOWHERE)
    records = plain._logs["a"].records
    whole = records[2]
    at = data.draw(st.integers(0, len(whole) - 1))
    records[2] = whole[:at]
    with pytest.raises(RecordError, match="record 2 of session 'a'"):
        store.read("a")
    records[2] = whole[:at] + data.draw(st.binary(min_size=1, max_size=1)) + whole[at + 1 :]
    try:
        seen = store.read("a", 2, 1).records
    except RecordError as error:
        assert (error.session, error.number) == ("a", 2)
    else:  # base64 has bytes that mean the same
        assert seen == ((2, body),)


def test_an_expired_record_is_named(plain: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not taken for a wrong key, and not skipped."""
    store = EncryptedStore(plain, [KEY], ttl=60)
    store.append("a", [b"one"], NOWHERE)
    assert store.read("a").records == ((1, b"one"),)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    with pytest.raises(RecordError, match="older than 60 seconds"):
        store.read("a")


def test_rotating_renews_nothing(plain: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was to expire expires when it would have; what has expired cannot be rotated."""
    now = time.time()
    store = EncryptedStore(plain, [KEY], ttl=60)
    store.compact("a", store.append("a", [b"one"], NOWHERE), b"checkpoint", {})
    both = EncryptedStore(plain, [NEW_KEY, KEY], ttl=60)
    monkeypatch.setattr(time, "time", lambda: now + 50)
    both.rotate("a")
    assert both.read("a", 1).records == ((1, b"one"),)
    monkeypatch.setattr(time, "time", lambda: now + 70)
    for start, named in ((None, "the checkpoint"), (1, "record 1")):
        with pytest.raises(RecordError, match=f"{named} .* older than 60 seconds"):
            both.read("a", start)
    with pytest.raises(RecordError, match="older than 60 seconds"):
        both.rotate("a")


def test_keys_are_rotated(plain: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the old key reads nothing and the new one everything; an unknown session is an error."""
    fill(Sessions(EncryptedStore(plain, [KEY])), monkeypatch)
    monkeypatch.setattr("ctxwin.sessions.stores.encrypted.AT_ONCE", 2)
    both = EncryptedStore(plain, [NEW_KEY, KEY])
    assert len(Sessions(both).read("a")) == 6
    both.rotate("a")
    both.rotate("nowhere")
    only = EncryptedStore(plain, [NEW_KEY])
    assert only.read("a").checkpoint is not None
    assert [message.content for message in Sessions(only).read("a")] == [
        f"my secret {number}" for number in range(6)
    ]
    with pytest.raises(RecordError):
        EncryptedStore(plain, [KEY]).read("a", 1)


def test_keys_are_rotated_while_others_write(
    plain: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint that is written meanwhile is not overwritten by an older one."""
    old = Sessions(EncryptedStore(plain, [KEY]))
    fill(old, monkeypatch)
    both = EncryptedStore(plain, [NEW_KEY, KEY])
    compact = plain.compact

    def late(*args: Any) -> bool:
        monkeypatch.setattr(plain, "compact", compact)
        fill(old, monkeypatch)
        return compact(*args)

    monkeypatch.setattr(plain, "compact", late)
    both.rotate("a")
    assert plain._logs["a"].floor > 6
    assert len(Sessions(EncryptedStore(plain, [NEW_KEY])).read("a")) == 12


def test_a_page_that_was_refused_is_rotated_again(
    plain: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No record keeps the old key where another writes a checkpoint while a page is rewritten."""
    EncryptedStore(plain, [KEY]).append("a", [b"%d" % number for number in range(1, 7)], NOWHERE)
    monkeypatch.setattr("ctxwin.sessions.stores.encrypted.AT_ONCE", 2)
    both = EncryptedStore(plain, [NEW_KEY, KEY])
    compact = plain.compact
    done: list[bool] = []

    def late(session: str, position: Position, *rest: Any) -> bool:
        if len(done) == 1:  # the second page
            monkeypatch.setattr(plain, "compact", compact)
            later = both.append("a", [b"7"], position)
            assert both.compact("a", later, b"checkpoint", {3: None})
        done.append(compact(session, position, *rest))
        return done[-1]

    monkeypatch.setattr(plain, "compact", late)
    both.rotate("a")
    assert done == [True, False]
    only = EncryptedStore(plain, [NEW_KEY])
    assert only.read("a", 1).records == tuple(
        (number, b"%d" % number) for number in (1, 2, 4, 5, 6, 7)
    )
    assert only.read("a").checkpoint == b"checkpoint"


@pytest.mark.parametrize("keys", [[], "abc", [b"short"], ["ä" * 44]])
def test_keys_that_are_none(plain: MemoryStore, keys: Any) -> None:
    """One clear error."""
    with pytest.raises(ValueError, match="Fernet key"):
        EncryptedStore(plain, keys)


def test_a_time_to_live_is_positive(plain: MemoryStore) -> None:
    """Zero would let nothing be read."""
    with pytest.raises(ValueError, match="ttl"):
        EncryptedStore(plain, [KEY], ttl=0)


def test_a_url_with_keys() -> None:
    """`open_store` wraps the store."""
    sessions = open_store("memory://", keys=[KEY])
    assert isinstance(sessions.store, EncryptedStore)
    with sessions, sessions.open("a", **OPTIONS) as ctx:
        ctx.add_message("user", "one")
    with pytest.raises(StoreError, match="closed"):
        sessions.read("a")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lacks it is told what to install."""
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    monkeypatch.delitem(sys.modules, "ctxwin.sessions.stores.encrypted")
    with pytest.raises(ImportError, match=r"pip install 'ctxwin\[encryption\]'"):
        importlib.import_module("ctxwin.sessions.stores.encrypted")
