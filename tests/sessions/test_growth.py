"""Work with a long session grows with its log, and not faster; no clock is used."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxwin.sessions import MemoryStore, Session, Sessions, journal
from ctxwin.sessions.records import merged
from ctxwin.testing import WordCounter
from steps import work_done

CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def pins(ctx: Session) -> None:
    ctx.unpin(ctx.add_message("user", "hi", pinned=True))


def rewinds(ctx: Session) -> None:
    ctx.add_message("user", "hi")
    ctx.rewind(ctx.add_message("assistant", "no"))


def rewinds_to_the_start(ctx: Session) -> None:
    ctx.rewind(ctx.add_message("user", "hi"))


def bills(ctx: Session) -> None:
    ctx.add_message("user", "hi")
    ctx.messages()
    ctx.observe({"prompt_tokens": ctx.total_tokens + ctx.total_tokens % 7})


def cuts(ctx: Session) -> None:
    ctx.add_message("user", "some words of a question")
    ctx.messages()


def calls(ctx: Session) -> None:
    ctx.append({"role": "assistant", "content": None, "tool_calls": [CALL]})
    ctx.append({"role": "tool", "tool_call_id": "1", "content": "r"})


def dead_calls(ctx: Session) -> None:
    ctx.append({"role": "assistant", "content": None, "tool_calls": [CALL]})
    ctx.add_message("system", "s")


TURNS = [pins, rewinds, rewinds_to_the_start, bills, cuts, calls, dead_calls]
ACTS: dict[str, Callable[[Sessions, Session], object]] = {
    "history": lambda sessions, other: other.conversation_history,
    "read": lambda sessions, other: sessions.read("a", limit=10_000),
    "open": lambda sessions, other: opened(sessions, 40),
    "refresh": lambda sessions, other: other.refresh(),
}


def opened(sessions: Sessions, budget: int) -> Session:
    options: dict[str, Any] = {"counter": WordCounter()}
    return sessions.open("a", budget, **options)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("turn", TURNS)
def test_work_grows_with_the_log_and_not_faster(
    monkeypatch: pytest.MonkeyPatch, turn: Callable[[Session], None], act: str
) -> None:
    """Eight times the turns are at most ten times the work, though no checkpoint was written."""
    monkeypatch.setattr(journal, "MIN_TAIL", 1_000_000)
    work = []
    for turns in (10, 80):
        sessions = Sessions(MemoryStore())
        budget = 40 if turn is cuts else 1_000_000
        writer, other = opened(sessions, budget), opened(sessions, budget)
        for _ in range(turns):
            turn(writer)
        if act == "history":
            other.refresh()
        work.append(work_done(lambda s=sessions, o=other: ACTS[act](s, o)))  # type: ignore[misc]
    assert work[1] <= 10 * work[0] + 1_000


RANGES = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 9)))


@given(RANGES.map(lambda pairs: [range(first, first + size) for first, size in pairs]))
def test_merged_ranges_hold_the_same_numbers(ranges: list[range]) -> None:
    """Each once, and in order; so whoever walks over them once knows of any number."""
    found = merged(ranges)
    numbers = [number for one in found for number in one]
    assert numbers == sorted({number for one in ranges for number in one})
    assert all(one.stop < after.start for one, after in pairwise(found))
