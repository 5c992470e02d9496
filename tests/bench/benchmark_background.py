"""
How long `amessages()` takes while a summariser that needs two seconds works in the background.

A conversation goes on turn by turn. Above the budget's soft mark a summary is prepared, made in a
task and committed. For comparison, the same conversation makes its summaries on the request path.

    python tests/bench/benchmark_background.py
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.corpus import print_table
from ctxwin import Budget, ContextManager, Message
from ctxwin_plugins.summarize_history import SummarizeHistory

SECONDS = 2.0  # that the model takes
TURNS, PAUSE = 240, 0.1  # a turn every tenth of a second
GOAL_MS = 50


async def slow(messages: Sequence[Message], previous: str | None, max_tokens: int) -> str:
    """Answer after two seconds."""
    await asyncio.sleep(SECONDS)
    return f"{len(messages)} messages about parcels, as agreed"


async def background(ctx: ContextManager, outcomes: list[bool]) -> None:
    """Make a summary in advance, and apply it."""
    ticket = ctx.prepare()
    if ticket is not None:
        outcomes.append(bool(ctx.commit(await ticket.arun(slow)).actions))


async def chat(ctx: ContextManager, turns: int, *, ahead: bool) -> tuple[list[float], list[bool]]:
    """Return the milliseconds of each call of `amessages()`, and which tickets were applied."""
    task: asyncio.Task[None] | None = None
    times: list[float] = []
    outcomes: list[bool] = []
    for turn in range(turns):
        ctx.add_message(
            "user", f"This is question {turn}: where is my parcel, and when does it arrive in Lyon?"
        )
        start = perf_counter()
        await ctx.amessages()
        times.append(1000 * (perf_counter() - start))
        ctx.add_message(
            "assistant",
            f"Parcel {turn} left Rotterdam this morning and should arrive within three days.",
        )
        if ahead and ctx.should_prepare and (task is None or task.done()):
            task = asyncio.create_task(background(ctx, outcomes))
        await asyncio.sleep(PAUSE if ahead else 0)
    if task is not None:
        await task
    return times, outcomes


def main() -> None:
    """Run both, and print the figures."""
    rows = []
    for name, ahead in (("ahead, in a task", True), ("on the request path", False)):
        strategy = SummarizeHistory(None if ahead else slow)
        ctx = ContextManager(
            budget=Budget(3000, low=0.5, soft=0.7), model="gpt-4o", strategies=[strategy]
        )
        ctx.add_message("system", "You are the support desk of Acme.")
        ctx.messages()  # reads the vocabulary, which happens once per process
        times, outcomes = asyncio.run(chat(ctx, TURNS, ahead=ahead))
        times.sort()
        applied = f"{sum(outcomes)} of {len(outcomes)}" if ahead else "-"
        rows.append([name, f"{times[len(times) // 2]:.2f}", f"{times[-1]:.1f}", applied])
    print_table(["summaries", "median ms", "longest ms", "tickets applied"], rows)
    print(f"goal: no call above {GOAL_MS} ms")


if __name__ == "__main__":
    main()
