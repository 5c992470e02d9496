"""Records that cannot be taken in: each leaves everything as it was before it, and is named."""

import json
import zlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxwin import ContextManager
from ctxwin.sessions import MemoryStore, RecordError, Sessions, journal
from ctxwin.testing import Folding, WordCounter
from ctxwin_plugins.clamp_oversized import ClampOversized
from leaves import SECRET, quotes_too_much, replaced

CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
OPTIONS: dict[str, Any] = {
    "max_tokens": 80,
    "counter": WordCounter(),
    "strategies": [Folding(), ClampOversized(max_message_tokens=14)],
}
KINDS = ["append", "written", "cut", "pin", "unpin", "rewind", "observe", "state"]


def played() -> MemoryStore:
    """A session in which every kind of record stands."""
    store = MemoryStore()
    ctx = Sessions(store).open("a", **OPTIONS)
    ctx.add_message("system", "be kind")
    for number in range(16):
        ctx.add_message("user", f"question {number} of many words")
        ctx.add_message("assistant", "an answer of some more words")
        ctx.messages()
    ctx.observe({"prompt_tokens": ctx.total_tokens + 7})
    ctx.pin(3)
    ctx.unpin(3)
    ctx.append({"role": "assistant", "content": None, "tool_calls": [CALL]})
    ctx.append({"role": "tool", "tool_call_id": "1", "content": "r " * 40})
    ctx.rewind(ctx.add_message("user", "never mind"))
    ctx.messages()
    ctx.pin(ctx.add_message("user", "the last one"))
    return store


def records(store: MemoryStore) -> dict[int, bytes]:
    return store._logs["a"].records


def kind_of(data: bytes) -> str:
    return str(json.loads(data[9:])["kind"])


def sealed(fields: dict[str, Any]) -> bytes:
    text = json.dumps(fields).encode()
    return b"%08x %b" % (zlib.crc32(text), text)


def until(store: MemoryStore, number: int) -> MemoryStore:
    """The same store when it had that many records."""
    earlier = MemoryStore()
    log = records(store)
    ctx = Sessions(store)
    life = ctx.store.read("a").position.life
    earlier._logs["a"] = type(store._logs["a"])(
        type(store._logs["a"].position)(life, number), {n: log[n] for n in range(1, number + 1)}
    )
    return earlier


def change_around(store: MemoryStore, number: int) -> tuple[int, int]:
    """The numbers of the first and the last record of the change that a record is a part of."""
    log = records(store)
    first = last = number
    while first > 1 and kind_of(log[first - 1]) == "written":
        first -= 1
    while kind_of(log[last]) == "written":
        last += 1
    return first, last


def seen(ctx: ContextManager) -> tuple[Any, ...]:
    return ctx.to_dict(), list(ctx), ctx.left_out


@pytest.fixture(scope="module", autouse=True)
def _no_checkpoints() -> Iterator[None]:
    least, journal.MIN_TAIL = journal.MIN_TAIL, 10_000
    yield
    journal.MIN_TAIL = least


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    return played()


def test_every_kind_is_there(store: MemoryStore) -> None:
    """The session of these tests has the eight kinds that tell of a change."""
    assert {kind_of(data) for data in records(store).values()} == set(KINDS)


def taken_in(store: MemoryStore, number: int, data: bytes) -> None:
    """
    Give a session a record that may be broken: it is taken in whole, or not at all.

    An open session that reads it stands where it stood before the change that the record is a part
    of, is still of use, and says which record it was. A session that is opened anew says so too.
    """
    first, last = change_around(store, number)
    earlier, broken = until(store, first - 1), until(store, last)
    opened = Sessions(earlier).open("a", **OPTIONS)
    before, window = seen(opened), list(opened)
    records(broken)[number] = data
    earlier._logs["a"] = broken._logs["a"]
    try:
        opened.refresh()
    except RecordError as error:
        assert error.session == "a"
        assert error.number in range(first, last + 2)
        assert seen(opened) == before
        assert list(opened) == window
        with pytest.raises(RecordError) as again:
            Sessions(broken).open("a", **OPTIONS)
        assert again.value.number == error.number
    else:
        assert seen(Sessions(broken).open("a", **OPTIONS))[1] == seen(opened)[1]


def junk() -> st.SearchStrategy[Any]:
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 99),
        st.just("x"),
        st.just([]),
        st.just({}),
        st.just([999]),
        st.just([[1, "x", 2]]),
        st.just({"role": "villain"}),
        st.just(1.5),
    )


ODD: dict[str, object] = {"text": SECRET, "list": [SECRET], "mapping": {SECRET: 1}, "none": None}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("kind", KINDS)
def test_an_odd_record_is_named_and_hardly_quoted(store: MemoryStore, kind: str, odd: str) -> None:
    """Whatever stands in one of its places, for opening a session and for reading its log."""
    number = next(n for n, record in records(store).items() if kind_of(record) == kind)
    whole = json.loads(records(store)[number][9:])
    if kind == "state":  # its messages are many, and alike
        whole["state"]["log"] = whole["state"]["log"][:2]
    for fields in replaced(whole, ODD[odd]):
        broken = until(store, change_around(store, number)[1])
        records(broken)[number] = sealed(fields)
        sessions = Sessions(broken)
        for ask in (partial(sessions.open, "a", **OPTIONS), partial(sessions.read, "a")):
            try:
                ask()
            except RecordError as error:
                assert not quotes_too_much(str(error)), str(error)


@given(data=st.data(), kind=st.sampled_from(KINDS))
def test_a_record_is_taken_in_whole_or_not_at_all(
    store: MemoryStore, data: st.DataObject, kind: str
) -> None:
    """Any field of any record may be junk, or missing; so may the kind."""
    log = records(store)
    number = data.draw(st.sampled_from([n for n, record in log.items() if kind_of(record) == kind]))
    fields = json.loads(log[number][9:])
    name = data.draw(st.sampled_from(sorted(fields)))
    if data.draw(st.booleans()):
        fields[name] = data.draw(junk())
    else:
        del fields[name]
    taken_in(store, number, sealed(fields))


@given(data=st.data())
def test_a_state_is_taken_in_whole_or_not_at_all(store: MemoryStore, data: st.DataObject) -> None:
    """Also where only something deep inside is wrong."""
    log = records(store)
    number = next(n for n, record in log.items() if kind_of(record) == "state")
    fields = json.loads(log[number][9:])
    at: Any = fields["state"]
    for _ in range(data.draw(st.integers(0, 2))):
        inside = [
            v for v in (at.values() if isinstance(at, dict) else at) if isinstance(v, dict | list)
        ]
        at = data.draw(st.sampled_from(inside)) if inside else at
    keys = sorted(at) if isinstance(at, dict) else list(range(len(at)))
    if keys:
        at[data.draw(st.sampled_from(keys))] = data.draw(junk())
    taken_in(store, number, sealed(fields))


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_record_of_each_kind_is_named(store: MemoryStore, kind: str) -> None:
    """Its bytes are damaged, its fields are gone, or it names what is not there."""
    number = max(n for n, record in records(store).items() if kind_of(record) == kind)
    whole = json.loads(records(store)[number][9:])
    bare = {key: whole[key] for key in ("v", "by", "kind")}
    unknown = {"id": 7777, "gone": [7777], "sources": [7777], "correction": -1, "message": {}}
    wrong = {**whole, **{key: value for key, value in unknown.items() if key in whole}}
    if kind == "state":
        wrong["state"] = {**whole["state"], "schema": 7}
    for data in (b"junk", sealed(bare), sealed({**whole, "v": 9}), sealed(wrong)):
        taken_in(store, number, data)
        broken = until(store, change_around(store, number)[1])
        records(broken)[number] = data
        with pytest.raises(RecordError):
            Sessions(broken).open("a", **OPTIONS)
