"""
ctxwin beside `trim_messages` of langchain-core: what a turn costs as the history grows.

A turn appends the assistant's answer and the user's next question, and gets the window. Both count
with the same o200k_base encoding. Both have half the history's tokens (or `--share`) as the budget,
so that both trim. `trim_messages` keeps nothing between calls. It is measured counting every
message each time, and with a memory of counts by message id, the fastest way that its interface
allows. ctxwin cuts once in many turns. Its repetitions are long enough to contain cuts, and its
figure includes them; the median turn, which has no cut, is shown beside it.

    python tests/bench/benchmark_peers.py [--sizes 100 500 2000] [--share 0.5] [--repetitions 7]
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, median
from time import perf_counter
from typing import TypeAlias

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    trim_messages,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.corpus import Wire, plain_chat, print_table
from ctxwin import ContextManager
from ctxwin.counting import counter_for
from ctxwin.counting.openai.chat import PER_MESSAGE, PRIMING
from ctxwin.counting.text.encodings import load_encoding

ENCODING = "o200k_base"
KINDS: dict[str, type[BaseMessage]] = {
    "system": SystemMessage,
    "user": HumanMessage,
    "assistant": AIMessage,
}
# How many times faster ctxwin must be, at the largest size.
GOALS = {"trim_messages, counts remembered": 20, "trim_messages, counting each time": 500}

Counter: TypeAlias = Callable[[list[BaseMessage]], int]
Turn: TypeAlias = Callable[[Sequence[Wire]], Callable[[], int]]
"""Prepares a turn's two messages, not timed; its result is timed and returns the window's size."""


def ours(chat: Sequence[Wire], budget_tokens: int) -> Turn:
    """Return a turn of ctxwin."""
    ctx = ContextManager(budget_tokens, counter=ENCODING)
    ctx.extend(chat)
    ctx.messages()

    def ready(pair: Sequence[Wire]) -> Callable[[], int]:
        def turn() -> int:
            ctx.append(pair[0])
            ctx.append(pair[1])
            return len(ctx.messages())

        return turn

    return ready


def theirs(chat: Sequence[Wire], budget_tokens: int, counter: Counter) -> Turn:
    """Return a turn of langchain-core."""
    history = [_theirs(wire) for wire in chat]
    counter(history)

    def ready(pair: Sequence[Wire]) -> Callable[[], int]:
        messages = [_theirs(wire) for wire in pair]

        def turn() -> int:
            history.extend(messages)
            window = trim_messages(
                history,
                max_tokens=budget_tokens,
                token_counter=counter,
                strategy="last",
                include_system=True,
                start_on="human",
                end_on=("human", "tool"),
            )
            return len(window)

        return turn

    return ready


def plain_counter() -> Counter:
    """Return a counter that encodes every message each time."""
    encode = load_encoding(ENCODING).encode_ordinary

    def count(messages: list[BaseMessage]) -> int:
        return PRIMING + sum(
            PER_MESSAGE + len(encode(str(message.content))) for message in messages
        )

    return count


def remembering_counter() -> Counter:
    """Return a counter that encodes a message once and finds its count again by its id."""
    encode = load_encoding(ENCODING).encode_ordinary
    counts: dict[str | None, int] = {}

    def count(messages: list[BaseMessage]) -> int:
        total = PRIMING
        for message in messages:
            tokens = counts.get(message.id)
            if tokens is None:
                tokens = counts[message.id] = PER_MESSAGE + len(encode(str(message.content)))
            total += tokens
        return total

    return count


def seconds(turn: Turn, pairs: Sequence[Sequence[Wire]]) -> tuple[list[float], int]:
    """Return how long each turn took, and the size of the last window."""
    taken, size = [], 0
    for pair in pairs:
        timed = turn(pair)
        start = perf_counter()
        size = timed()
        taken.append(perf_counter() - start)
    return taken, size


def compare(size: int, share: float, repetitions: int) -> list[tuple[str, list[list[float]], int]]:
    """Return contender, the times of its turns by repetition, and the size of its last window."""
    cycle = max(20, int(size * share * 0.3))  # turns with two cuts, each of 0.3 of the window
    wires = [
        {**wire, "id": str(number)} for number, wire in enumerate(plain_chat(size + 2 * cycle))
    ]
    chat, rest = wires[:size], wires[size:]
    pairs = list(zip(rest[::2], rest[1::2], strict=True))
    counter = counter_for(ENCODING)
    budget_tokens = int(sum(map(counter.count_message, chat)) * share)
    contenders: list[tuple[str, Callable[[], Turn], int]] = [
        ("ctxwin", lambda: ours(chat, budget_tokens), len(pairs)),
        (
            "trim_messages, counts remembered",
            lambda: theirs(chat, budget_tokens, remembering_counter()),
            20,
        ),
        (
            "trim_messages, counting each time",
            lambda: theirs(chat, budget_tokens, plain_counter()),
            2,
        ),
    ]
    runs: dict[str, list[list[float]]] = {name: [] for name, _, _ in contenders}
    windows: dict[str, int] = {}
    for _ in range(repetitions):
        # Contenders alternate, so that a slow moment of the machine hits all of them.
        for name, start, turns in contenders:
            taken, windows[name] = seconds(start(), pairs[:turns])
            runs[name].append(taken)
    return [(name, runs[name], windows[name]) for name in runs]


def report(sizes: Sequence[int], share: float, repetitions: int) -> None:
    """Print the table, and which goals are reached at the largest size."""
    rows: list[list[object]] = []
    ratios: dict[str, float] = {}
    for size in sizes:
        results = compare(size, share, repetitions)
        means = {name: [fmean(run) for run in runs] for name, runs, _ in results}
        least, middle = min(means["ctxwin"]), median(means["ctxwin"])
        for name, runs, window in results:
            ratios[name] = min(means[name]) / least
            figures = [
                median(means[name]),
                min(means[name]),
                median(turn for run in runs for turn in run),
            ]
            shown = [f"{figure * 1e6:,.0f}" for figure in figures]
            rows.append(
                [
                    size,
                    name,
                    window,
                    *shown,
                    f"{median(means[name]) / middle:,.1f}",
                    f"{ratios[name]:,.1f}",
                ]
            )
    header = [
        "messages",
        "contender",
        "window",
        "us a turn, median",
        "min",
        "median turn",
        "ratio, medians",
        "minima",
    ]
    print(f"## A turn beside langchain-core {version('langchain-core')}\n")
    print(f"The budget is {share:.0%} of the history's tokens; {repetitions} repetitions.\n")
    print_table(header, rows)
    for name, goal in GOALS.items():
        verdict = "reached" if ratios[name] >= goal else "MISSED"
        print(
            f"Goal at {sizes[-1]:,} messages: {goal} times {name}; {ratios[name]:,.1f}: {verdict}."
        )


def _theirs(wire: Wire) -> BaseMessage:
    return KINDS[wire["role"]](content=wire["content"], id=wire["id"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="ctxwin beside langchain-core's trim_messages.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 500, 2000])
    parser.add_argument(
        "--share", type=float, default=0.5, help="the budget, as a share of the history's tokens"
    )
    parser.add_argument("--repetitions", type=int, default=7)
    arguments = parser.parse_args()
    report(arguments.sizes, arguments.share, arguments.repetitions)


if __name__ == "__main__":
    main()
