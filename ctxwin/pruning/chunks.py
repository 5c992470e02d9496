"""Chunks."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from ctxwin.pruning.driving import MAX_EFFECTS, Steps
from ctxwin.values.errors import SummarizerError
from ctxwin.values.message import Message
from ctxwin.values.plan import Summarize
from ctxwin.values.wire import without_media

OVERHEAD_TOKENS = (
    8  # what a message of text costs beside the text, where that cannot be read off the message
)

Chunk: TypeAlias = tuple[Message, ...]

Count: TypeAlias = Callable[[str], int]


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
    Return what to summarise in pieces of at most `max_source_tokens`, the summary before each
    included.

    Args:
        effect: what a strategy asks for.
        tokens: what messages cost, by id; one that is not there costs what its text does.
        count: returns the tokens of a text.

    Raises:
        SummarizerError: not even a part of one message fits beside a summary, or there would be too
            many chunks.
    """
    limit = effect.max_source_tokens
    if limit is None:
        return (effect.messages,)
    costs = [
        tokens[message.id] if message.id in tokens else count(_text_of(message))
        for message in effect.messages
    ]
    previous = count(effect.previous_summary) if effect.previous_summary else 0
    if sum(costs) + previous <= limit:
        return (effect.messages,)
    room = limit - max(previous, effect.max_tokens)
    if sum(costs) > room * MAX_EFFECTS:
        raise SummarizerError(
            f"{sum(costs)} tokens in chunks of {max(0, room)} would be more than {MAX_EFFECTS}"
        )
    chunks: list[list[Message]] = []
    free = 0
    for message, cost in zip(effect.messages, costs, strict=True):
        for piece, piece_cost in (
            _pieces(message, cost, room, count) if cost > room else [(message, cost)]
        ):
            if not chunks or piece_cost > free:
                chunks.append([])
                free = room
            chunks[-1].append(piece)
            free -= piece_cost
    return tuple(map(tuple, chunks))


def _pieces(message: Message, cost: int, room: int, count: Count) -> Iterator[tuple[Message, int]]:
    """Yield a message that is larger than the room in parts, cut between graphemes."""
    from ctxwin.laws.graphemes import ceil_boundary, floor_boundary

    text = _text_of(message)
    overhead = max(0, cost - count(text)) if text == message.content else OVERHEAD_TOKENS
    kept = {
        key: value
        for key, value in message.to_dict().items()
        if key in ("role", "name", "tool_call_id")
    }
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
