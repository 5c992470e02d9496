"""
Flows, and how they are driven: one body of code for sync and async summarisers.

A flow is a generator that yields `Summarize` whenever it needs a text, and is sent the text. A
strategy that wants a summary is one; a whole prune is one, too. `run_flow` passes on what a
strategy's generator yields. Whoever drives a flow decides how a model is called: `drive` calls a
sync summariser, `adrive` one of either colour. A summariser's failure is thrown into the flow, so
the strategy may answer it.
"""

import inspect
import sys
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from ctxwin.hooks.guard import call_hook
from ctxwin.values.errors import SummarizerError, describe
from ctxwin.values.plan import Summarize

# Enough for a history of a million tokens in chunks of a thousand; beyond it a strategy runs away.
MAX_EFFECTS = 1000

T = TypeVar("T")

Flow: TypeAlias = Generator[Summarize, str, T]
"""Something that needs summaries on its way to a result: yields requests, is sent the texts."""


def run_flow(
    flow: Generator[Any, Any, Any], owner: object, reply: Callable[[Summarize], Flow[str]]
) -> Flow[object]:
    """Pass on what a strategy's generator yields, and pass texts or errors back to it."""
    try:
        effect = call_hook(owner, next, flow)
        for _ in range(MAX_EFFECTS):
            if not isinstance(effect, Summarize):
                raise TypeError(f"a strategy may yield Summarize only, not {type(effect).__name__}")
            try:
                text = yield from reply(effect)
            except SummarizerError as error:
                effect = call_hook(owner, flow.throw, error)
            else:
                effect = call_hook(owner, flow.send, text)
        raise RuntimeError(f"a strategy may yield {MAX_EFFECTS} effects at most")
    except StopIteration as stop:
        return stop.value
    finally:
        call_hook(owner, flow.close)


def call_model(effect: Summarize) -> object:
    """Call the summariser; whatever it raises, a cancellation too, becomes `SummarizerError`."""
    try:
        return effect.summarizer(effect.messages, effect.previous_summary, effect.max_tokens)
    except (KeyboardInterrupt, SystemExit, SummarizerError):
        raise
    except BaseException as error:
        raise SummarizerError(f"the summariser raised {describe(error)}") from error


def refuse_model(effect: Summarize) -> object:
    """Stand in for the summariser if none may be called: a preview is free."""
    raise SummarizerError(f"a preview does not call {effect.summarizer!r}")


def drive(flow: Flow[T], call: Callable[[Summarize], object] = call_model) -> T:
    """Run a flow with sync summarisers."""
    try:
        effect = next(flow)
        while True:
            effect = _resume(flow, _reply(effect, call))
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        flow.close()


async def _here(step: Callable[..., T], *args: Any) -> T:
    return step(*args)


async def adrive(flow: Flow[T], run: Callable[..., Awaitable[Any]] = _here) -> T:
    """
    Run a flow with summarisers of either colour.

    Args:
        flow: the flow; summarisers are awaited between its steps.
        run: runs each step, as `await run(function, *args)`; by default right here.
    """
    reply: str | SummarizerError | None = None
    try:
        while True:
            made = await run(_advance, flow, reply)
            if isinstance(made, _Done):
                result: T = made.result
                return result
            reply = await _areply(made)
    finally:
        flow.close()


@dataclass(frozen=True, slots=True)
class _Done:
    """What a flow ended in."""

    result: Any


def _advance(flow: Flow[T], reply: str | SummarizerError | None) -> Summarize | _Done:
    """Make a step; returns the summary that is needed next, or what the flow ended in."""
    try:
        return next(flow) if reply is None else _resume(flow, reply)
    except StopIteration as stop:
        return _Done(stop.value)


def _resume(flow: Flow[T], reply: str | SummarizerError) -> Summarize:
    """Send a text, or throw the error in its place; returns what is needed next."""
    return flow.throw(reply) if isinstance(reply, SummarizerError) else flow.send(reply)


def _reply(effect: Summarize, call: Callable[[Summarize], object]) -> str | SummarizerError:
    try:
        answer = call(effect)
    except SummarizerError as error:
        return error
    if inspect.isawaitable(answer):
        close = getattr(answer, "close", None)
        if callable(close):  # a coroutine would complain that nobody awaits it
            close()
        return SummarizerError(
            "the summariser is async: await amessages(), aprune_history() or ticket.arun(), "
            "or give a sync one"
        )
    return _text(answer)


async def _areply(effect: Summarize) -> str | SummarizerError:
    try:
        answer = call_model(effect)
        return _text(await answer if inspect.isawaitable(answer) else answer)
    except SummarizerError as error:
        return error
    except Exception as error:  # noqa: BLE001 - the caller's own callable may raise anything
        return SummarizerError(f"the summariser raised {describe(error)}")
    except BaseException as error:
        if _is_cancelled_from_outside(error):
            raise
        return SummarizerError(f"the summariser raised {describe(error)}")


def _is_cancelled_from_outside(error: BaseException) -> bool:
    """
    Return whether an error must pass.

    If the summariser's own work was cancelled, but nobody cancels the task that awaits it, that is
    a failure like any other.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or not isinstance(error, asyncio.CancelledError):
        return True
    task = asyncio.current_task()
    return task is None or bool(task.cancelling())


def _text(answer: object) -> str | SummarizerError:
    if isinstance(answer, str):
        return answer
    return SummarizerError(f"the summariser returned {type(answer).__name__}, not a string")
