"""
What stands around a call costs: requests, eight plugins, routing at length.

    python tests/bench/benchmark_calls.py

Medians of rounds that alternate, in microseconds of one thread; ratios are what counts.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

from ctxwin import (
    Answer,
    Budget,
    ContextManager,
    Observation,
    Request,
    Route,
    RouteRequest,
    hookimpl,
)

ROUNDS, TIMES = 15, 400
REPLY = {"id": "r", "model": "gpt-4o", "usage": {"prompt_tokens": 200, "completion_tokens": 9}}


class Plugin:
    """One of a class may stand in a chain several times."""

    def __init__(self, name: str) -> None:
        self.name = name


class Routes(Plugin):
    @hookimpl
    def ctxwin_route(self, request: RouteRequest) -> Route | None:
        return Route(tags={"complexity": "simple"}) if request.tokens else None


class Answers(Plugin):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.known: dict[str, str] = {}

    @hookimpl
    def ctxwin_answer(self, request: Request) -> Answer | None:
        text = self.known.get(str(request.messages[-1]["content"]))
        return None if text is None else Answer(text)


class Shapes(Plugin):
    @hookimpl
    def ctxwin_shape(self, request: Request) -> Request:
        *head, last = request.messages
        return replace(request, messages=(*head, {**last, "cache_control": {"type": "ephemeral"}}))


class Caps(Plugin):
    @hookimpl
    def ctxwin_shape(self, request: Request) -> Request:
        return replace(request, max_output_tokens=300)


class Admits(Plugin):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.held: set[str] = set()

    @hookimpl
    def ctxwin_admit(self, request: Request) -> None:
        self.held.add(request.id)

    @hookimpl
    def ctxwin_observed(self, observation: Observation) -> None:
        self.held.discard(observation.request_id or "")


class Observes(Plugin):
    tokens = 0

    @hookimpl
    def ctxwin_observed(self, observation: Observation) -> None:
        if observation.usage is not None:
            self.tokens += observation.usage.input_tokens


def eight() -> list[Any]:
    """Return eight plugins; all five hooks are among theirs."""
    return [
        *(Routes("router"), Routes("experiment"), Answers("cache"), Shapes("marks"), Caps("cap")),
        *(Admits("guard"), Observes("ledger"), Observes("metrics")),
    ]


def chat(*plugins: Any, messages: int = 20, **options: Any) -> ContextManager:
    ctx = ContextManager(10**6, model="gpt-4o", strategies=[*plugins], **options)
    for number in range(messages // 2):
        ctx.add_message("user", f"What is new about parcel {number}?")
        ctx.add_message("assistant", f"Parcel {number} is on its way.")
    ctx.messages()
    return ctx


def compare(does: dict[str, Callable[[], Any]], times: int = TIMES) -> dict[str, float]:
    """Return microseconds of CPU for each: the median of rounds in which they take turns."""
    found: dict[str, list[float]] = {name: [] for name in does}
    for _ in range(ROUNDS):
        for name, call in does.items():
            begun = time.perf_counter()
            for _ in range(times):
                call()
            found[name].append((time.perf_counter() - begun) / times * 1e6)
    return {name: median(each) for name, each in found.items()}


def turn(ctx: ContextManager) -> None:
    ctx.observe(REPLY, ctx.request())


def print_all(title: str, found: dict[str, float]) -> None:
    print(f"\n{title}")
    for name, microseconds in found.items():
        print(f"  {name:44} {microseconds:9.1f} us")


def hot() -> None:
    plain, full = chat(), chat(*eight())
    found = compare({"messages()": plain.messages, "request(), no plugins": plain.request})
    print_all("20 messages", found)
    print(f"  ratio {found['request(), no plugins'] / found['messages()']:.2f} (at most 2)")
    print_all(
        "eight plugins (under 300 us)", compare({"request() + observe()": lambda: turn(full)})
    )


def twins() -> None:
    plain, full = chat(), chat(*eight())

    async def request(ctx: ContextManager) -> None:
        await ctx.arequest()

    async def whole(ctx: ContextManager) -> None:
        await ctx.aobserve(REPLY, await ctx.arequest())

    with asyncio.Runner() as runner:
        does: dict[str, Callable[[], Any]] = {
            "request()": plain.request,
            "arequest()": lambda: runner.run(request(plain)),
            "request() + observe(), eight plugins": lambda: turn(full),
            "arequest() + aobserve(), eight plugins": lambda: runner.run(whole(full)),
        }
        print_all("async twins, a run of the loop each (at most 500 us more)", compare(does, 100))


def opening() -> None:
    plugins = eight()
    options: Any = {"model": "gpt-4o"}
    found = compare(
        {
            "opening by name": lambda: ContextManager(4000, **options),
            "opening with eight objects": lambda: ContextManager(
                4000, strategies=plugins, **options
            ),
        }
    )
    print_all("opening (under 50 us)", found)


def routing(messages: int = 2000) -> None:
    """Requests that alternate between two models, a turn before each."""
    ctx = chat(messages=messages)
    times: dict[str, list[float]] = {"gpt-4o": [], "gpt-3.5-turbo": []}
    for number in range(60):
        ctx.add_message("user", f"And now, {number}?")
        model = "gpt-4o" if number % 2 else "gpt-3.5-turbo"
        begun = time.perf_counter()
        ctx.request(model=model)
        times[model].append((time.perf_counter() - begun) * 1e6)
        ctx.add_message("assistant", "The same.")
    print(f"\n{messages} messages, two models in turn")
    print(f"  first request to the other model {times['gpt-3.5-turbo'][0]:19.1f} us")
    own, other = (median(each[1:]) for each in times.values())
    print(f"  later requests: own {own:.1f} us, other {other:.1f} us")
    print(f"  ratio {other / own:.2f} (at most 2)")
    small = ContextManager(10**6, model="gpt-4o")
    small.extend(ctx.conversation_history)
    begun = time.perf_counter()
    small.request(budget=Budget(2000))
    print(f"  first request to a smaller budget {(time.perf_counter() - begun) * 1e6:18.1f} us")


if __name__ == "__main__":
    hot()
    twins()
    opening()
    routing()
