"""The memo: bounded in bytes, forgets the oldest first, is never wrong and never blocks."""

import sys
import threading
import tracemalloc
from sys import getsizeof

from hypothesis import given
from hypothesis import strategies as st

from ctxwin.counting.memo import ENTRY_BYTES, TABLE_BYTES, Memo

KEYS = st.one_of(
    st.text(max_size=40),
    st.binary(max_size=40),
    st.builds(str.__mul__, st.text(), st.integers(0, 300)),
)
STEPS = st.lists(st.tuples(st.booleans(), KEYS, st.integers(0, 1000)), max_size=60)


def held_bytes(memo: Memo) -> int:
    """Return the bytes of keys, counts and tables: each object once, 32 bytes for a count."""
    objects = {id(key): key for table in (memo._young, memo._old) for key in table}
    counts = 32 * (len(memo._young) + len(memo._old))
    return sum(map(getsizeof, (memo._young, memo._old, *objects.values()))) + counts


@given(STEPS, st.integers(0, 2000) | st.integers(0, 20_000))
def test_never_above_its_bound_and_never_wrong(
    steps: list[tuple[bool, str | bytes, int]], max_bytes: int
) -> None:
    """In any order of puts and gets, a key has the count that was put, or none."""
    memo = Memo(max_bytes)
    truth: dict[str | bytes, int] = {}
    empty = held_bytes(memo)
    for is_put, key, tokens in steps:
        if is_put and truth.setdefault(key, tokens) == tokens:
            memo.put(key, tokens)
        assert memo.get(key) in {truth.get(key), None}
        assert held_bytes(memo) <= max(max_bytes, empty)
        assert sum(key.__sizeof__() + ENTRY_BYTES for key in memo._young) <= memo._held


@given(st.lists(st.integers(0, 400), min_size=1, max_size=400))
def test_an_entry_outlives_half_the_size_of_new_ones(sizes: list[int]) -> None:
    """An entry that is asked for in between stays even longer."""
    room = sum(getsizeof("") + size + ENTRY_BYTES + 8 for size in sizes) + 2 * ENTRY_BYTES
    memo = Memo(2 * (room + TABLE_BYTES))
    memo.put("first", 7)
    for turn in range(3):
        for number, size in enumerate(sizes):
            memo.put(f"{turn} {number:4} {'x' * max(0, size - 7)}"[:size], 1)
        assert memo.get("first") == 7


def test_what_is_not_asked_for_is_forgotten() -> None:
    """It is gone after new entries have filled the whole memo."""
    memo = Memo(10_000)
    memo.put("first", 7)
    for number in range(100):
        memo.put(str(number), number)
    assert memo.get("first") is None
    assert memo.get("99") == 99


def test_what_would_fill_it_alone_is_not_kept() -> None:
    """Nor does it displace another entry."""
    memo = Memo(10_000)
    memo.put("first", 7)
    memo.put("x" * 5000, 1)
    assert memo.get("x" * 5000) is None
    assert memo.get("first") == 7


def test_the_bound_holds_for_the_allocator_too() -> None:
    """Measured by tracemalloc, with short texts, where tables and counts weigh most."""
    tracemalloc.start()
    try:
        memo, most = Memo(1_000_000), 0
        for number in range(20_000):
            memo.put(f"text {number}", 1000 + number)
            most = max(most, tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert 500_000 < most <= 1_000_000


def test_an_entry_that_comes_while_another_is_added_is_left_out() -> None:
    """Nothing waits: neither a thread nor a signal handler that interrupts `put`."""
    memo = Memo(10_000)
    memo.put("first", 7)
    with memo._lock:
        memo.put("second", 8)
        assert memo.get("first") == 7
        assert memo.get("second") is None
    memo.put("second", 8)
    assert memo.get("second") == 8


def test_threads() -> None:
    """After a race the size is what was added, and every answer was right."""
    memo = Memo(20_000)
    wrong: list[object] = []

    def work(seed: int) -> None:
        for number in range(4000):
            key = (number * seed) % 300
            if memo.get(f"{key:5}") not in {None, key}:
                wrong.append(key)
            memo.put(f"{key:5}", key)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 7, 11, 13)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong
    assert held_bytes(memo) <= 20_000
    assert len(memo._young) * (getsizeof("12345") + ENTRY_BYTES) <= memo._held <= memo._room
