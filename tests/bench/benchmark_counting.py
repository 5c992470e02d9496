"""
What counting a text costs beside the bare tokenizer, what the memo saves, what hostile texts do.

Figures that are compared are taken in turn in the same run. They are minima, because other load on
the machine only ever adds.

    python tests/bench/benchmark_counting.py [--only overhead memo loop hostile start] [--largest
    10000000]
"""

import argparse
import asyncio
import gzip
import json
import math
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from pydoc_data.topics import topics
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.corpus import data_folder, print_table
from ctxwin.counting import CallableCounter
from ctxwin.counting.text.encodings import load_encoding
from ctxwin.counting.text.text import Texts

ENCODINGS = ("o200k_base", "cl100k_base")
SIZES = {
    20: 4000,
    200: 2000,
    2_000: 300,
    20_000: 40,
    200_000: 4,
}  # bytes -> how many texts of this size
ROUNDS = 9
MANUAL = "\n".join(topics.values()).encode("ascii", "ignore").decode()
EXCERPT = 5000  # characters
TICK = 0.002  # seconds
BLOCKED_GOAL = 0.050  # seconds


def verdict(figure: float, goal: float) -> str:
    """Return whether a figure is at most its goal, as a word."""
    return "reached" if figure <= goal else "MISSED"


def seconds(run: Callable[[], object]) -> float:
    """Return how long a run takes."""
    start = perf_counter()
    run()
    return perf_counter() - start


def prose(size: int, chance: random.Random) -> str:
    """Return a random passage of Python's manual of this size: English, with some code."""
    parts = -(-size // EXCERPT)
    starts = (chance.randrange(len(MANUAL) - EXCERPT) for _ in range(parts))
    return "".join(MANUAL[start : start + EXCERPT] for start in starts)[:size]


def per_call(function: Callable[[str], object], texts: Sequence[str]) -> float:
    """Return the microseconds of a call, on fresh string objects, which have no cached hash."""
    fresh = [f"{text}."[:-1] for text in texts]
    start = perf_counter()
    for text in fresh:
        function(text)
    return (perf_counter() - start) / len(texts) * 1e6


# Short and long texts against the bare tokenizer.


def overhead_row(name: str, size: int, number: int) -> tuple[list[str], float]:
    """Measure one size in each way in turn; return the table's row and the overhead in percent."""
    encoding, chance = load_encoding(name), random.Random(size)
    texts = [prose(size, chance) for _ in range(number)]
    rounds = []
    for _ in range(ROUNDS):
        counter = Texts(encoding)
        bare = per_call(lambda text: len(encoding.encode_ordinary(text)), texts)
        rounds.append((bare, per_call(counter.count, texts), per_call(counter.count, texts)))
    bare, first, again = map(min, zip(*rounds, strict=True))
    percent = (first / bare - 1) * 100
    figures = [
        f"{bare:.2f}",
        f"{first:.2f}",
        f"{again:.2f}",
        f"{percent:+.1f} %",
        f"{bare / again:.0f}",
    ]
    return [name, f"{size:,}", *figures], percent


def overhead(_: int) -> None:
    """Compare `Texts.count` with `len(encode_ordinary)`, for new texts and for remembered ones."""
    print("## A text's count, us a call\n")
    measured = [
        overhead_row(name, size, number) for name in ENCODINGS for size, number in SIZES.items()
    ]
    header = [
        "encoding",
        "bytes",
        "encode_ordinary",
        "first count",
        "again",
        "overhead",
        "again: times cheaper",
    ]
    print_table(header, [row for row, _ in measured])
    worst = max(percent for row, percent in measured if row[1] == "200")
    print(f"Goal: at most 10 % at 200 bytes: {verdict(worst, 10)}.\n")


# How often recorded conversations repeat a text.


def repeats(path: Path) -> dict[int, Counter[bool]]:
    """Return how many texts were seen before or not, by class of sizes (its most characters)."""
    seen: set[str] = set()
    found: dict[int, Counter[bool]] = {size: Counter() for size in (32, 256, 2048, sys.maxsize)}

    def note(text: str) -> int:
        found[next(size for size in found if len(text) <= size)][text in seen] += 1
        seen.add(text)
        return 0

    counter = CallableCounter(note)
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            for message in json.loads(line)["messages"]:
                counter.count_message(message)
    return found


def memo(_: int) -> None:
    """Show the share of texts that an unbounded memo would know if each message is counted once."""
    data = data_folder()
    if data is None:
        return
    print("## Texts of recorded conversations that were counted before\n")
    rows = []
    for path in sorted(data.glob("*/conversations*.jsonl.gz")):
        shares = [f"{tally[True]} of {tally.total()}" for tally in repeats(path).values()]
        rows.append([f"{path.parent.name}/{path.name.partition('.')[0]}", *shares])
    print_table(["conversations", "to 32 characters", "to 256", "to 2,048", "longer"], rows)


# An event loop while another thread counts.


async def _blocked(run: Callable[[], object]) -> tuple[float, float]:
    """Return how long a run in a thread took, and the longest delay of the loop's timer."""
    running = asyncio.create_task(asyncio.to_thread(run))
    start, late = perf_counter(), 0.0
    while not running.done():
        before = perf_counter()
        await asyncio.sleep(TICK)
        late = max(late, perf_counter() - before - TICK)
    await running
    return perf_counter() - start, late


def loop_texts(size: int) -> dict[str, str]:
    """Return texts of this size in bytes, by name."""
    chance = random.Random(size)
    letters = [chr(chance.randrange(0x4E00, 0x9FA5)) for _ in range(1000)]
    document = json.dumps([chance.random() for _ in range(size // 20)], separators=(",", ":"))
    return {
        "prose": prose(size, chance),
        "Chinese, no line ends": "".join(
            chance.choice(letters) if n % 20 else "，" for n in range(size // 3)
        ),
        "numbers, compact JSON": document[:size],
        "one letter": "a" * size,
        "emoji": "👍" * (size // 4),
    }


def loop_row(name: str, kind: str, text: str) -> tuple[list[str], float]:
    """Measure a text in one call and in pieces; return the row and the worst wait of the latter."""
    encoding, counter = load_encoding(name), Texts(load_encoding(name))
    bare = asyncio.run(_blocked(lambda: encoding.encode_ordinary(text)))
    ours = asyncio.run(_blocked(lambda: counter.count(text)))
    figures = [f"{bare[0]:.2f}", f"{bare[1] * 1e3:.0f}", f"{ours[0]:.2f}", f"{ours[1] * 1e3:.0f}"]
    return [name, kind, *figures], ours[1]


def loop(largest: int) -> None:
    """Count a large text in a thread while an event loop ticks."""
    print(
        f"## Counting {largest:,} bytes in a thread: the worst wait of an event loop that ticks "
        "every 2 ms\n"
    )
    texts = loop_texts(largest)
    measured = [loop_row(name, kind, text) for name in ENCODINGS for kind, text in texts.items()]
    header = ["encoding", "text", "encode_ordinary, s", "wait, ms", "Texts.count, s", "wait, ms"]
    print_table(header, [row for row, _ in measured])
    worst = max(late for _, late in measured)
    reached = verdict(worst, BLOCKED_GOAL)
    print(f"Goal: at most {BLOCKED_GOAL * 1e3:.0f} ms with Texts.count: {reached}.\n")


# Hostile texts.


def _random(alphabet: str) -> Callable[[int], str]:
    return lambda size: "".join(random.Random(size).choices(alphabet, k=size))


def _repeated(unit: str) -> Callable[[int], str]:
    return lambda size: unit * (size // len(unit))


HOSTILE: dict[str, Callable[[int], str]] = {
    **{
        ascii(unit): _repeated(unit)
        for unit in ("a", "A", "7", "!", "'", " ", "\n", "\t", "\x00", "\u3000")
    },
    **{
        ascii(unit): _repeated(unit)
        for unit in ("é", "中", "👍", "\u0301", "y\u0301", "\ud800", "\ud83d")
    },
    **{
        ascii(unit): _repeated(unit)
        for unit in ("\r\n", " \n", "\n ", "a ", "aA", "'s", "/\n", "<|endoftext|>")
    },
    "spaces, then a letter": lambda size: " " * (size - 1) + "x",
    "random letters": _random("abcdefghijklmnopqrstuvwxyz"),
    "random ideographs": _random("".join(map(chr, range(0x4E00, 0x4E00 + 3000)))),
    "random hexadecimal": _random("0123456789abcdef"),
    "random white space": _random(" \t\n\r\u3000\x85"),
    "random of all kinds": _random("aA7 \n\t'é中👍\u0301\u200d\ud800!/.\x00\u3000"),
}


def hostile_row(name: str, kind: str, sizes: Sequence[int]) -> list[object]:
    """Measure one kind of text at all sizes; return the table's row."""
    times = []
    for size in sizes:
        text = HOSTILE[kind](size)
        times.append(min(counted_in(name, text) for _ in range(5 if size <= 10**5 else 2)))
    allowed = [size * math.log(size) for size in sizes]
    shares = [time / work for time, work in zip(times, allowed, strict=True)]
    growths = [f"{after / before:.2f}" for before, after in pairwise(shares)]
    return [kind, *(f"{time * 1e3:.1f}" for time in times), *growths]


def counted_in(name: str, text: str) -> float:
    """Return the seconds of a first count."""
    counter = Texts(load_encoding(name))
    return seconds(lambda: counter.count(text))


def hostile(largest: int) -> None:
    """
    Show the time by size and how it grows.

    1.00 is growth as n log n; quadratic growth would be 8 and more.
    """
    sizes = [10**power for power in range(4, round(math.log10(largest)) + 1)]
    print("## Hostile texts by size in characters: ms, and growth as a multiple of n log n\n")
    header = ["text", *(f"{size:,}" for size in sizes), *(f"to {size:,}" for size in sizes[1:])]
    for name in ENCODINGS:
        print(f"### {name}\n")
        print_table(header, [hostile_row(name, kind, sizes) for kind in HOSTILE])


# The first count of a process.

START = """
from time import perf_counter
begin = perf_counter()
from ctxwin.counting import counter_for
imported = perf_counter()
counter_for({name!r}).count_text("Where is my parcel?")
print(imported - begin, perf_counter() - imported)
"""


def start(_: int) -> None:
    """Measure the first count of a fresh process."""
    print("## The first count of a process, the least of seven, ms\n")
    rows: list[list[Any]] = []
    worst = 0.0
    for name in ENCODINGS:
        command = [sys.executable, "-c", START.format(name=name)]
        runs = [
            subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            for _ in range(7)
        ]
        imported, counted = (min(map(float, column)) for column in zip(*runs, strict=True))
        worst = max(worst, counted)
        rows.append([name, f"{imported * 1e3:.0f}", f"{counted * 1e3:.0f}"])
    print_table(["encoding", "import", "first count"], rows)
    print(f"Goal: at most 500 ms: {verdict(worst, 0.5)}.\n")


PARTS: dict[str, Callable[[int], None]] = {
    "overhead": overhead,
    "memo": memo,
    "loop": loop,
    "hostile": hostile,
    "start": start,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What counting a bare text costs.")
    parser.add_argument("--only", choices=list(PARTS), nargs="+", default=list(PARTS))
    parser.add_argument("--largest", type=int, default=10_000_000, help="the longest text")
    arguments = parser.parse_args()
    for name in arguments.only:
        PARTS[name](arguments.largest)


if __name__ == "__main__":
    main()
