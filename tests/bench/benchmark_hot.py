"""
The hot paths, for pytest-benchmark: to see a change of speed between two versions.

    pytest tests/bench/benchmark_hot.py --benchmark-save=before
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import Any

import pytest

from bench.corpus import ConstantCounter, Wire, plain_chat, tool_chat
from ctxwin import Budget, ContextManager

Benchmark = Any
BUDGET = Budget(2000, low=0.5)  # windows of 100 to 200 messages of 10 tokens


def _manager(chat: Sequence[Wire]) -> ContextManager:
    ctx = ContextManager(budget=BUDGET, counter=ConstantCounter())
    ctx.extend(chat)
    return ctx


def _settled(chat: Sequence[Wire]) -> ContextManager:
    ctx = _manager(chat)
    ctx.messages()
    return ctx


def _append_and_messages(ctx: ContextManager, chat: Iterator[Wire]) -> None:
    for message in islice(chat, 4):
        ctx.append(message)
        ctx.messages()


@pytest.mark.parametrize("make", [plain_chat, tool_chat])
def test_append_and_messages(benchmark: Benchmark, make: Callable[[int], list[Wire]]) -> None:
    """Four messages, a window after each, cuts included."""
    chat = make(1 + 4000)
    benchmark(_append_and_messages, _settled(chat), cycle(chat[1:]))


def test_cut(benchmark: Benchmark) -> None:
    """A cut from 10,000 messages to a hundred, counting included."""
    chat = plain_chat(10_000)
    benchmark.pedantic(ContextManager.messages, setup=lambda: ((_manager(chat),), {}), rounds=10)


def test_save_and_restore(benchmark: Benchmark) -> None:
    """The state of 1,000 messages, there and back."""
    ctx = _settled(plain_chat(1000))
    benchmark(
        lambda: ContextManager.from_dict(ctx.to_dict(), budget=BUDGET, counter=ConstantCounter())
    )
