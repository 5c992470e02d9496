"""
What a pruning policy does to the bill when providers sell cached input for less.

A conversation is replayed turn by turn: before each assistant message a request is made with
`ctx.messages()`, then the message is appended. The messages that a request shares with the one
before it, from the start on, are a cache hit if they are long enough. Prices are in units of one
uncached input token; output is not priced.

    python tests/bench/bill.py [--scenario synthetic|aider] [--budget 32000 ...]
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from operator import eq
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.corpus import Wire, aider_messages, data_folder, print_table, sized_chat, word_count
from ctxwin import Budget, BudgetError, ContextManager, TokenCounter
from ctxwin.counting import CallableCounter, counter_for

MIN_PREFIX = 1024  # the shortest prefix that is cached: OpenAI, and most models of Anthropic
MARKS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
SYNTHETIC_BUDGET = 16_000
# What the joined aider history is cut to, and what its longest messages (pasted logs) are shortened
# to beforehand.
CLAMPS = {8_000: 2_000, 16_000: 4_000, 32_000: 8_000, 64_000: 8_000}
GOALS = {("synthetic", SYNTHETIC_BUDGET): 0.25, ("aider", 32_000): 0.30}  # low=0.7, first rule


@dataclass(frozen=True)
class Rule:
    """A published price list: what a token written to the cache and one read from it cost."""

    write: float
    read: float

    def __str__(self) -> str:
        return f"write {self.write:g}, read {self.read:g}"


RULES = (Rule(1.25, 0.1), Rule(1.0, 0.1), Rule(1.0, 0.5))


@dataclass
class Bill:
    """
    What the requests of one policy add up to.

    Attributes:
        requests: how many were made.
        skipped: how many could not be made, since what must be kept did not fit.
        tokens: input tokens of all requests.
        hits: those of them that were read from the cache.
        cuts: how often the window was cut.
    """

    requests: int = 0
    skipped: int = 0
    tokens: int = 0
    hits: int = 0
    cuts: int = 0

    def price(self, rule: Rule) -> float:
        """Return the price under a rule."""
        return rule.read * self.hits + rule.write * (self.tokens - self.hits)


class RememberingCounter:
    """A counter that remembers the costs of plain messages, for all policies together."""

    def __init__(self, counter: TokenCounter) -> None:
        self.name = counter.name
        self.exact = counter.exact
        self.additive = counter.additive
        self.count_text = counter.count_text
        self._counter = counter
        self._costs: dict[tuple[str, str], int] = {}

    def count_message(self, message: Mapping[str, Any]) -> int:
        """Return the cost of a message of role and text."""
        key = message["role"], message["content"]
        if key not in self._costs:
            self._costs[key] = self._counter.count_message(message)
        return self._costs[key]

    def count_request(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> int:
        """Return the cost of a request."""
        return self._counter.count_request((), tools) + sum(map(self.count_message, messages))


def uncut_windows(chat: Sequence[Wire], bill: Bill) -> Iterator[list[Wire]]:
    """Yield the input of every request if nothing is ever pruned."""
    for position, message in enumerate(chat):
        if message["role"] == "assistant" and position:
            yield list(chat[:position])


def windows(
    chat: Sequence[Wire], bill: Bill, *, budget: Budget, counter: TokenCounter
) -> Iterator[list[Wire]]:
    """Yield the input of every request that fits the budget, and note cuts and what did not fit."""
    ctx = ContextManager(budget=budget, counter=counter)
    for position, message in enumerate(chat):
        if message["role"] == "assistant" and position:
            receipt = ctx.last_receipt
            try:
                window = ctx.messages()
            except BudgetError:
                bill.skipped += 1
            else:
                bill.cuts += ctx.last_receipt is not receipt
                yield window
        ctx.append(message)


def charge(bill: Bill, requests: Iterable[list[Wire]], counter: TokenCounter) -> Bill:
    """Add up requests, each against the one before it."""
    before: list[Wire] = []
    for window in requests:
        costs = list(map(counter.count_message, window))
        shared = sum(1 for _ in takewhile(bool, map(eq, before, window)))
        prefix = sum(costs[:shared])
        bill.requests += 1
        bill.tokens += sum(costs)
        bill.hits += prefix if prefix >= MIN_PREFIX else 0
        before = window
    return bill


def bills(chat: Sequence[Wire], budget_tokens: int, counter: TokenCounter) -> dict[str, Bill]:
    """Return policy -> its bill."""
    result = {"no pruning": Bill()}
    charge(result["no pruning"], uncut_windows(chat, result["no pruning"]), counter)
    for low in MARKS:
        policy = "prune to fit (low=1.0)" if low == 1 else f"low={low}"
        bill = result[policy] = Bill()
        charge(
            bill,
            windows(chat, bill, budget=Budget(budget_tokens, low=low), counter=counter),
            counter,
        )
    return result


def clamp(message: Wire, max_tokens: int, counter: TokenCounter) -> Wire:
    """Return a message that costs no more than a limit: head and tail of its text."""
    shorter, keep = message, len(message["content"])
    while (tokens := counter.count_message(shorter)) > max_tokens:
        keep = min(keep * max_tokens // tokens, keep * 99 // 100)
        shorter = {**message, "content": _head_and_tail(message["content"], keep)}
    return shorter


def report(title: str, result: Mapping[str, Bill], goal: float | None) -> None:
    """Print the table of a scenario, and whether its goal is reached."""
    fit = result["prune to fit (low=1.0)"]
    print(f"## {title}\n\n{fit.requests} requests, minimum cached prefix {MIN_PREFIX} tokens.\n")
    header = [
        "policy",
        *[f"price, {rule}" for rule in RULES],
        "cache hits",
        "cuts",
        "average window",
        "did not fit",
    ]
    rows = [
        [
            policy,
            *[f"{bill.price(rule) / fit.price(rule):.3f}" for rule in RULES],
            f"{bill.hits / bill.tokens:.1%}",
            bill.cuts,
            f"{bill.tokens / bill.requests:,.0f}",
            bill.skipped,
        ]
        for policy, bill in result.items()
    ]
    print_table(header, rows)
    print(f"Prune to fit costs {fit.price(RULES[0]):,.0f} units under the first rule.")
    if goal is not None:
        share = result["low=0.7"].price(RULES[0]) / fit.price(RULES[0])
        verdict = "reached" if share <= goal else "MISSED"
        print(f"Goal: low=0.7 costs at most {goal:.2f} of it; {share:.3f}: {verdict}.")
    print()


def synthetic() -> None:
    """Report on a made conversation: 300 turns of 150 + 350 tokens, 2,000 of system message."""
    counter = RememberingCounter(CallableCounter(word_count))
    chat = sized_chat(300, system=2000, user=150, assistant=350)
    title = f"Synthetic: 300 turns of 150 + 350 tokens, system 2,000, budget {SYNTHETIC_BUDGET:,}"
    report(title, bills(chat, SYNTHETIC_BUDGET, counter), GOALS["synthetic", SYNTHETIC_BUDGET])


def aider(budgets: Iterable[int]) -> None:
    """Report on a real history, for each of the budgets."""
    data = data_folder()
    if data is None:
        return
    counter = RememberingCounter(counter_for("gpt-4o"))
    for budget_tokens in budgets:
        limit = CLAMPS.get(budget_tokens, budget_tokens // 4)
        chat = list(map(partial(clamp, max_tokens=limit, counter=counter), aider_messages(data)))
        title = (
            f"Aider history: {len(chat):,} messages clamped at {limit:,} tokens, "
            f"budget {budget_tokens:,}"
        )
        report(title, bills(chat, budget_tokens, counter), GOALS.get(("aider", budget_tokens)))


def _head_and_tail(text: str, keep: int) -> str:
    head = keep // 2
    return f"{text[:head]} [...] {text[len(text) - (keep - head) :]}"


def main() -> None:
    """Replay, price, print."""
    parser = argparse.ArgumentParser(description="What a pruning policy does to the bill.")
    parser.add_argument("--scenario", choices=["synthetic", "aider", "all"], default="all")
    parser.add_argument(
        "--budget", type=int, nargs="+", default=list(CLAMPS), help="budgets for the aider history"
    )
    arguments = parser.parse_args()
    start = perf_counter()
    if arguments.scenario != "aider":
        synthetic()
    if arguments.scenario != "synthetic":
        aider(arguments.budget)
    print(f"{perf_counter() - start:.0f} seconds")


if __name__ == "__main__":
    main()
