"""
What ctxwin itself costs: counting once, a flat cost per turn, linear cuts, and the import.

Figures are minima of several runs, because other load on the machine only ever adds. Goals are for
one core of a laptop or server of the 2020s; ratios hold anywhere.

    python tests/bench/benchmark_core.py [--only counting flat cut building importing] [--largest
    1000000]
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.corpus import (
    ConstantCounter,
    Wire,
    aider_messages,
    data_folder,
    plain_chat,
    print_table,
    tool_chat,
)
from ctxwin import Budget, BudgetError, ContextManager
from ctxwin.counting.text.encodings import load_encoding

PER_MESSAGE = 10  # tokens, for figures that are measured with a constant counter
WINDOW = 100  # messages
ALTERNATIONS = 7
SAMPLES = 300  # turns that are timed for the flat cost
CYCLE = 4  # a question, a call, a result and an answer


def verdict(figure: float, goal: float) -> str:
    """Return whether a figure is at most its goal, as a word."""
    return "reached" if figure <= goal else "MISSED"


def seconds(run: Callable[[], object]) -> float:
    """Return how long a run takes."""
    start = perf_counter()
    run()
    return perf_counter() - start


# Counting once.


def answer_all(chat: Sequence[Wire]) -> int:
    """Append each message and ask for the window; return how many windows could not fit."""
    ctx = ContextManager(8000, model="gpt-4o")
    failed = 0
    for message in chat:
        ctx.append(message)
        try:
            ctx.messages()
        except BudgetError:
            failed += 1
    return failed


def counting(_: int) -> None:
    """Compare a whole conversation with the bare counting of its texts."""
    data = data_folder()
    if data is None:
        return
    chat = aider_messages(data)
    encode = load_encoding("o200k_base").encode_ordinary
    failed = answer_all(chat[:10])
    bare, whole = [], []
    for _ in range(ALTERNATIONS):
        bare.append(seconds(lambda: [len(encode(message["content"])) for message in chat]))
        start = perf_counter()
        failed = answer_all(chat)
        whole.append(perf_counter() - start)
    ratio = min(whole) / min(bare)
    print("## Counting once: the aider history, a window after each message, budget 8,000\n")
    header = ["messages", "did not fit", "bare encoding, ms", "ctxwin, ms", "ratio"]
    print_table(
        header,
        [[len(chat), failed, f"{min(bare) * 1e3:.1f}", f"{min(whole) * 1e3:.1f}", f"{ratio:.3f}"]],
    )
    print(f"Goal: ratio at most 1.3: {verdict(ratio, 1.3)}.\n")


# A flat cost per turn.


def settled(chat: Sequence[Wire]) -> ContextManager:
    """Return a manager whose window is cut to 100 messages and has room for 100 more."""
    budget = Budget(2 * WINDOW * PER_MESSAGE, low=0.5)
    ctx = ContextManager(budget=budget, counter=ConstantCounter(PER_MESSAGE))
    ctx.extend(chat)
    ctx.messages()
    return ctx


def cycle_seconds(ctx: ContextManager, following: Sequence[Wire]) -> float:
    """Cut the window to 100 messages, not timed; return the seconds per message of a cycle."""
    ctx.prune_history()
    start = perf_counter()
    for message in following:
        ctx.append(message)
        ctx.messages()
    return (perf_counter() - start) / CYCLE


def flat(_: int) -> None:
    """Compare a turn after a short log with one after a long log; samples alternate."""
    rows, notes = [], []
    for name, make, goal in (("plain text", plain_chat, 100), ("tool calls", tool_chat, 200)):
        chat = make(1 + 100_000 + SAMPLES * CYCLE)
        following = [chat[first : first + CYCLE] for first in range(1 + 100_000, len(chat), CYCLE)]
        managers = [settled(chat[: 1 + size]) for size in (1000, 100_000)]
        samples = [[cycle_seconds(ctx, messages) for ctx in managers] for messages in following]
        figures = [min(column) * 1e6 for column in zip(*samples, strict=True)]
        ratio = figures[1] / figures[0]
        rows.append([name, *[f"{figure:.1f}" for figure in figures], f"{ratio:.2f}"])
        goals = f"{verdict(figures[1], goal)}, {verdict(ratio, 1.3)}"
        notes.append(f"Goal, {name}: at most {goal} us, ratio at most 1.3: {goals}.")
    print(f"## Flat: append and messages(), a window of {WINDOW} messages, us\n")
    print_table(["messages", "log of 1,000", "log of 100,000", "ratio"], rows)
    print("\n".join(notes), end="\n\n")


# A cut.


def cut_seconds(chat: Sequence[Wire]) -> tuple[float, int, int]:
    """Return how long a cut takes, how often it asks the counter, how many messages it leaves."""
    counter = ConstantCounter(PER_MESSAGE)
    ctx = ContextManager(WINDOW * PER_MESSAGE, counter=counter)
    ctx.extend(chat)
    _ = ctx.total_tokens  # counts everything
    asked = counter.asked
    start = perf_counter()
    window = ctx.messages()
    return perf_counter() - start, counter.asked - asked, len(window)


def cut(largest: int) -> None:
    """Cut ever longer logs down to a hundred messages."""
    rows = []
    sample = plain_chat(1000)
    for size in (size for size in (10_000, 100_000, 1_000_000) if size <= largest):
        chat = [*sample, *(sample[1 + number % 998] for number in range(size - len(sample)))]
        taken, asked, left = min(cut_seconds(chat) for _ in range(3 if size < 1_000_000 else 1))
        rows.append([f"{size:,}", left, f"{taken:.3f}", f"{taken / size * 1e6:.2f}", asked])
    print(f"## One cut down to at most {WINDOW} messages\n")
    print_table(
        ["messages", "left", "seconds", "us a message", "messages counted by the cut"], rows
    )


# Building and importing.


def building(_: int) -> None:
    """Measure the cost of a further manager, after the first one."""
    ContextManager(8000, model="gpt-4o")
    taken = min(seconds(lambda: ContextManager(8000, model="gpt-4o")) for _ in range(2000)) * 1e6
    print("## Building a manager, after the first\n")
    print_table(["us"], [[f"{taken:.1f}"]])
    print(f"Goal: at most 100 us: {verdict(taken, 100)}.\n")


def importing(_: int) -> None:
    """
    Measure the import in a fresh interpreter, minus an empty one.

    Byte code is cached, as after an installation.
    """
    with TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)

        def interpreter_seconds(code: str) -> float:
            return seconds(
                lambda: subprocess.run([sys.executable, "-c", code], check=True, env=environment)
            )

        interpreter_seconds("import ctxwin")  # fills the cache
        runs = [
            (interpreter_seconds("pass"), interpreter_seconds("import ctxwin")) for _ in range(10)
        ]
    empty, full = [min(column) * 1e3 for column in zip(*runs, strict=True)]
    print("## Importing ctxwin, the least of ten, ms\n")
    print_table(
        ["empty interpreter", "with the import", "difference"],
        [[f"{empty:.1f}", f"{full:.1f}", f"{full - empty:.1f}"]],
    )
    print(f"Goal: at most 60 ms: {verdict(full - empty, 60)}.\n")


PARTS: dict[str, Callable[[int], None]] = {
    "importing": importing,
    "building": building,
    "flat": flat,
    "counting": counting,
    "cut": cut,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What ctxwin itself costs.")
    parser.add_argument("--only", choices=list(PARTS), nargs="+", default=list(PARTS))
    parser.add_argument("--largest", type=int, default=1_000_000, help="the longest log to cut")
    arguments = parser.parse_args()
    for name in arguments.only:
        PARTS[name](arguments.largest)


if __name__ == "__main__":
    main()
