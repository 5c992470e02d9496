"""
How a strategy's `Summarize` is answered: chunks, bounds, and either colour of summariser.

A flow is a strategy's generator. `run_flow` takes what it yields outwards and what a model says
back in; who drives the steps decides how a model is called: `drive` with a sync summariser,
`adrive` with either colour. A summary that is blank or too long is an error like any other, thrown
into the flow.

A source that is larger than `max_source_tokens` is folded: a chunk, then the summary of it with the
next chunk. No chunk, the summary before it included, costs more; nothing is clipped.
"""

import inspect
import sys
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from ctxwin.hooks.guard import call_hook
from ctxwin.values.errors import SummarizerError, describe
from ctxwin.values.plan import Summarize

MAX_EFFECTS = (
    1000  # a history of a million tokens in chunks of a thousand; beyond that a strategy runs away
)

T = TypeVar("T")

Steps: TypeAlias = Generator[Summarize, str, T]


def run_flow(
    flow: Generator[Any, Any, Any], owner: object, answer: Callable[[Summarize], Steps[str]]
) -> Steps[object]:
    """Carry effects from a strategy's generator outwards, and answers or errors back in."""
    try:
        effect = call_hook(owner, next, flow)
        for _ in range(MAX_EFFECTS):
            if not isinstance(effect, Summarize):
                raise TypeError(f"a strategy may yield Summarize only, not {type(effect).__name__}")
            try:
                text = yield from answer(effect)
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
    """Call the summariser; what it raises becomes a `SummarizerError`, a cancellation of its own too."""
    try:
        return effect.summarizer(effect.messages, effect.previous_summary, effect.max_tokens)
    except (KeyboardInterrupt, SystemExit, SummarizerError):
        raise
    except BaseException as error:
        raise SummarizerError(f"the summariser raised {describe(error)}") from error


def refuse_model(effect: Summarize) -> object:
    """Answer for a summariser where none may be called: a preview is free."""
    raise SummarizerError(f"a preview does not call {effect.summarizer!r}")


def drive(steps: Steps[T], call: Callable[[Summarize], object] = call_model) -> T:
    """Run steps with sync summarisers."""
    try:
        effect = next(steps)
        while True:
            effect = _resume(steps, _answer(effect, call))
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()


async def adrive(steps: Steps[T], run: Callable[..., Awaitable[Any]] | None = None) -> T:
    """
    Run steps with summarisers of either colour.

    Args:
        steps: the steps; summarisers are awaited between them.
        run: runs each step, where that is not to happen here: `await run(function, *args)`.
    """
    answer: str | SummarizerError | None = None
    try:
        while True:
            made = _advance(steps, answer) if run is None else await run(_advance, steps, answer)
            if isinstance(made, _Done):
                result: T = made.result
                return result
            answer = await _aanswer(made)
    finally:
        steps.close()


@dataclass(frozen=True, slots=True)
class _Done:
    """What steps ended in."""

    result: Any


def _advance(steps: Steps[T], answer: str | SummarizerError | None) -> Summarize | _Done:
    """Make a step; returns the effect that it asks for, or what the steps ended in."""
    try:
        return next(steps) if answer is None else _resume(steps, answer)
    except StopIteration as stop:
        return _Done(stop.value)


def _resume(steps: Steps[T], answer: str | SummarizerError) -> Summarize:
    """Hand an answer back, or throw the error that came in its place; returns the next effect."""
    return steps.throw(answer) if isinstance(answer, SummarizerError) else steps.send(answer)


def _answer(effect: Summarize, call: Callable[[Summarize], object]) -> str | SummarizerError:
    try:
        answer = call(effect)
    except SummarizerError as error:
        return error
    if inspect.isawaitable(answer):
        close = getattr(answer, "close", None)
        if callable(close):  # a coroutine would complain that nobody awaits it
            close()
        return SummarizerError(
            "the summariser is async: await amessages(), aprune_history() or ticket.arun(), or give a sync one"
        )
    return _text(answer)


async def _aanswer(effect: Summarize) -> str | SummarizerError:
    try:
        answer = call_model(effect)
        return _text(await answer if inspect.isawaitable(answer) else answer)
    except SummarizerError as error:
        return error
    except Exception as error:
        return SummarizerError(f"the summariser raised {describe(error)}")
    except BaseException as error:
        if _is_cancelled_from_outside(error):
            raise
        return SummarizerError(f"the summariser raised {describe(error)}")


def _is_cancelled_from_outside(error: BaseException) -> bool:
    """Return whether an error must pass: all but a cancellation of what was awaited, while nobody cancels its task."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or not isinstance(error, asyncio.CancelledError):
        return True
    task = asyncio.current_task()
    return task is None or bool(task.cancelling())


def _text(answer: object) -> str | SummarizerError:
    if isinstance(answer, str):
        return answer
    return SummarizerError(f"the summariser returned {type(answer).__name__}, not a string")
