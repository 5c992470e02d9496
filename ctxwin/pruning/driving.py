"""
Flows, and how they are driven: one body of code for both colours, sync and async.

A flow is a generator that yields an effect whenever it needs something from outside, and is sent
what came of it. A strategy that wants a summary is one (it yields `Summarize`), and so is a hook
that needs something slow (it yields `Call`); a whole prune is one, and a whole request. `run_flow`
passes on what a plugin's generator yields. Whoever drives a flow decides how functions are called:
`drive` calls sync ones, `adrive` awaits those of either colour. A failure is thrown into the flow,
so that a plugin may answer it.

A request has steps of its own, too, which may wait for a store or a database: `Step` says how each
is done in either colour.
"""

import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, TypeVar

from ctxwin.hooks.guard import call_hook
from ctxwin.values.errors import SummarizerError, describe
from ctxwin.values.plan import Summarize
from ctxwin.values.request import Call

# Enough for a history of a million tokens in chunks of a thousand; beyond it a strategy runs away.
MAX_EFFECTS = 1000

T = TypeVar("T")


class Step(NamedTuple):
    """A part of a flow that may wait: how it is done in sync code, and in async code."""

    here: Callable[[], Any]
    there: Callable[[], Coroutine[Any, Any, Any]]


Effect: TypeAlias = Summarize | Call | Step

Flow: TypeAlias = Generator[Any, Any, T]
"""Something that yields an `Effect` on its way to a result, and is sent what came of it."""


@dataclass(frozen=True, slots=True)
class Failed:
    """What came of an effect if it raised: the error is thrown into the flow."""

    error: Exception


def run_flow(
    flow: Generator[Any, Any, Any],
    owner: object,
    reply: Callable[[Any], Flow[Any]],
    kind: type = Summarize,
    limit: int = MAX_EFFECTS,
) -> Flow[object]:
    """
    Pass on what a plugin's generator yields, and pass results or errors back to it.

    Args:
        flow: the generator.
        owner: must not be changed while the generator runs.
        reply: a flow that ends in what came of an effect, or raises.
        kind: what it may yield.
        limit: how many effects it may yield.
    """
    try:
        effect = call_hook(owner, next, flow)
        for _ in range(limit):
            if not isinstance(effect, kind):
                name = kind.__name__
                raise TypeError(f"it may yield {name} only, not {type(effect).__name__}")
            try:
                result = yield from reply(effect)
            except Exception as error:  # noqa: BLE001 - the plugin may know what to do
                effect = call_hook(owner, flow.throw, error)
            else:
                effect = call_hook(owner, flow.send, result)
        raise RuntimeError(f"it may yield {limit} effects at most")
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
    """Run a flow with sync functions; `call` calls a summariser."""
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
    Run a flow with functions of either colour.

    Args:
        flow: the flow; what its effects need is awaited between its steps.
        run: runs each step, as `await run(function, *args)`; by default right here.
    """
    reply: Any = None
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


def _advance(flow: Flow[T], reply: Any) -> Effect | _Done:
    """Make a step; returns what is needed next, or what the flow ended in."""
    try:
        return _resume(flow, reply)
    except StopIteration as stop:
        return _Done(stop.value)


def _resume(flow: Flow[T], reply: Any) -> Effect:
    """Send what came of an effect, or throw the error in its place; returns what is next."""
    effect: Effect
    effect = flow.throw(reply.error) if isinstance(reply, Failed) else flow.send(reply)
    return effect


def _reply(effect: Effect, call: Callable[[Summarize], object]) -> Any:
    """Return what comes of an effect in sync code."""
    try:
        if isinstance(effect, Step):
            return effect.here()
        if isinstance(effect, Call):
            return _refuse_awaitable(_called(effect), TypeError(ASYNC_FUNCTION))
        return _text(_refuse_awaitable(call(effect), SummarizerError(ASYNC_SUMMARISER)))
    except Exception as error:  # noqa: BLE001 - it is thrown into the flow
        return Failed(error)


def _called(effect: Call) -> object:
    """Call the function; a `BaseException` of it alone, such as a Rust panic, becomes an error."""
    try:
        return effect.function(*effect.args)
    except (Exception, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise RuntimeError(describe(error)) from error


ASYNC_SUMMARISER = (
    "the summariser is async: await amessages(), aprune_history() or ticket.arun(), "
    "or give a sync one"
)
ASYNC_FUNCTION = (
    "the function is async: give a sync one, or in `route`, `answer` and `shape` await arequest()"
)


def _refuse_awaitable(answer: object, error: Exception) -> object:
    """Return an answer; raises the error if somebody would have to await it."""
    if not inspect.isawaitable(answer):
        return answer
    close = getattr(answer, "close", None)
    if callable(close):  # a coroutine would complain that nobody awaits it
        close()
    raise error


async def _areply(effect: Effect) -> Any:
    """Return what comes of an effect in async code."""
    try:
        if isinstance(effect, Step):
            return await effect.there()
        if isinstance(effect, Call):
            answer = _called(effect)
            return await answer if inspect.isawaitable(answer) else answer
        answer = call_model(effect)
        return _text(await answer if inspect.isawaitable(answer) else answer)
    except SummarizerError as error:
        return Failed(error)
    except Exception as error:  # noqa: BLE001 - the caller's own callable may raise anything
        return Failed(_as_summarizer_error(effect, error))
    except BaseException as error:
        if _is_cancelled_from_outside(error):
            raise
        return Failed(_as_summarizer_error(effect, error))


def _as_summarizer_error(effect: Effect, error: BaseException) -> Exception:
    """Return what is thrown into a flow for an error: a summariser's has a type of its own."""
    if isinstance(effect, Summarize):
        return SummarizerError(f"the summariser raised {describe(error)}")
    return error if isinstance(error, Exception) else RuntimeError(describe(error))


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


def _text(answer: object) -> str:
    if isinstance(answer, str):
        return answer
    raise SummarizerError(f"the summariser returned {type(answer).__name__}, not a string")
