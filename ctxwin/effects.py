"""
How a strategy's `Summarize` is answered: chunks, bounds, and either colour of summariser.

A flow is a strategy's generator. `run_flow` takes what it yields outwards and what a model says back in; who drives
the steps decides how a model is called: `drive` with a sync summariser, `adrive` with either colour. A summary that
is blank or too long is an error like any other, thrown into the flow.

A source that is larger than `max_source_tokens` is folded: a chunk, then the summary of it with the next chunk. No
chunk, the summary before it included, costs more; nothing is clipped.
"""

import inspect
import json
import sys
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias, TypeVar

from ctxwin.errors import SummarizerError, describe
from ctxwin.guard import call_hook
from ctxwin.messages import Message, Wire
from ctxwin.plan import Summarize

MAX_EFFECTS = 1000  # a history of a million tokens in chunks of a thousand; beyond that a strategy runs away
OVERHEAD_TOKENS = 8  # what a message of text costs beside the text, where that cannot be read off the message

T = TypeVar("T")
Steps: TypeAlias = Generator[Summarize, str, T]
Chunk: TypeAlias = tuple[Message, ...]
Count: TypeAlias = Callable[[str], int]


def run_flow(flow: Generator[Any, Any, Any], owner: object, answer: Callable[[Summarize], Steps[str]]) -> Steps[object]:
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


def in_one_piece(effect: Summarize, count: Count) -> Steps[str]:
    """Answer an effect as it is."""
    return bounded((yield effect), effect.max_tokens, count)


def in_chunks(effect: Summarize, tokens: Mapping[int, int], count: Count) -> Steps[str]:
    """Answer an effect chunk by chunk, where it says so; `tokens` are what messages cost, by id."""
    check = partial(bounded, max_tokens=effect.max_tokens, count=count)
    return (yield from fold(effect, chunks_of(effect, tokens, count), check))


def bounded(text: str, max_tokens: int, count: Count) -> str:
    """Return a summary that says something in no more tokens than were asked for; else `SummarizerError`."""
    tokens = count(said(text))
    if tokens > max_tokens:
        raise SummarizerError(f"the summary is {tokens} tokens long, {max_tokens} were asked for")
    return text


def said(text: str) -> str:
    """Return a summary that says something; else `SummarizerError`."""
    if not text.strip():
        raise SummarizerError("the summariser returned a blank text")
    return text


def fold(effect: Summarize, chunks: Sequence[Chunk], check: Callable[[str], str]) -> Steps[str]:
    """Have the chunks summarised one after the other, each with the summary of those before it."""
    text = effect.previous_summary
    for messages in chunks:
        text = check((yield replace(effect, messages=messages, previous_summary=text)))
    return text or ""


def chunks_of(effect: Summarize, tokens: Mapping[int, int], count: Count) -> tuple[Chunk, ...]:
    """
    Return what to summarise in pieces of at most `max_source_tokens`, the summary before each included.

    Args:
        effect: what a strategy asks for.
        tokens: what messages cost, by id; one that is not there costs what its text does.
        count: returns the tokens of a text.

    Raises:
        SummarizerError: not even a part of one message fits beside a summary, or there would be too many chunks.
    """
    limit = effect.max_source_tokens
    if limit is None:
        return (effect.messages,)
    costs = [tokens[message.id] if message.id in tokens else count(_text_of(message)) for message in effect.messages]
    previous = count(effect.previous_summary) if effect.previous_summary else 0
    if sum(costs) + previous <= limit:
        return (effect.messages,)
    room = limit - max(previous, effect.max_tokens)
    if sum(costs) > room * MAX_EFFECTS:
        raise SummarizerError(f"{sum(costs)} tokens in chunks of {max(0, room)} would be more than {MAX_EFFECTS}")
    chunks: list[list[Message]] = []
    free = 0
    for message, cost in zip(effect.messages, costs, strict=True):
        for piece, piece_cost in _pieces(message, cost, room, count) if cost > room else [(message, cost)]:
            if not chunks or piece_cost > free:
                chunks.append([])
                free = room
            chunks[-1].append(piece)
            free -= piece_cost
    return tuple(map(tuple, chunks))


def _pieces(message: Message, cost: int, room: int, count: Count) -> Iterator[tuple[Message, int]]:
    """Yield a message that is larger than the room in parts, cut between graphemes."""
    from ctxwin.graphemes import ceil_boundary, floor_boundary  # noqa: PLC0415 - rarely needed, and slow to import

    text = _text_of(message)
    overhead = max(0, cost - count(text)) if text == message.content else OVERHEAD_TOKENS
    kept = {key: value for key, value in message.to_dict().items() if key in ("role", "name", "tool_call_id")}
    waiting = [text]
    while waiting:
        part = waiting.pop()
        part_cost = count(part) + overhead
        if part_cost <= room:
            yield Message(message.id, {**kept, "content": part}), part_cost
            continue
        middle = floor_boundary(part, len(part) // 2) or ceil_boundary(part, len(part) // 2)
        if middle in (0, len(part)):
            raise SummarizerError(f"message {message.id} cannot be cut into parts of {room} tokens")
        waiting += [part[middle:], part[:middle]]


def _text_of(message: Message) -> str:
    """Return a message as text: its own, or where there is more to it all of it as JSON, media left out."""
    content = message.content
    if isinstance(content, str) and not message.tool_calls and not message.extra:
        return content
    return json.dumps(without_media(message.to_dict()), ensure_ascii=False)


def without_media(wire: Wire) -> Wire:
    """Return a wire dict in which images, audio and files are named and not told: what a reader of text can use."""
    parts = wire.get("content")
    if not isinstance(parts, list):
        return wire
    return {**wire, "content": [part if "text" in part else {"type": part["type"]} for part in parts]}


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
    except Exception as error:  # noqa: BLE001 - the caller's own callable may raise anything
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
