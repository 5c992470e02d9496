"""
Summaries of more than a model takes at once, and what a summary must be.

A source larger than `max_source_tokens` is folded: the first chunk is summarised, then that summary
together with the next chunk, and so on. No request is larger, the summary in it included, and
nothing is clipped. A summary that is blank or too long is an error like any other.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from ctxwin.pruning.driving import MAX_EFFECTS, Flow
from ctxwin.values.errors import SummarizerError
from ctxwin.values.message import Message
from ctxwin.values.plan import Summarize
from ctxwin.values.wire import told

# What a message of text costs beside its text, if the message cannot tell.
OVERHEAD_TOKENS = 8

Chunk: TypeAlias = tuple[Message, ...]

Count: TypeAlias = Callable[[str], int]


def in_one_piece(effect: Summarize, count: Count) -> Flow[str]:
    """Answer with one summary of everything."""
    return bounded((yield effect), effect.max_tokens, count)


def in_chunks(effect: Summarize, tokens: Mapping[int, int], count: Count) -> Flow[str]:
    """Answer chunk by chunk, if that is asked for; `tokens` says what messages cost, by id."""
    check = partial(bounded, max_tokens=effect.max_tokens, count=count)
    return (yield from fold(effect, chunks_of(effect, tokens, count), check))


def bounded(text: str, max_tokens: int, count: Count) -> str:
    """Return the text; raises `SummarizerError` if it is blank or longer than was asked for."""
    tokens = count(said(text))
    if tokens > max_tokens:
        raise SummarizerError(f"the summary is {tokens} tokens long, {max_tokens} were asked for")
    return text


def said(text: str) -> str:
    """Return the text; raises `SummarizerError` if it is blank."""
    if not text.strip():
        raise SummarizerError("the summariser returned a blank text")
    return text


def fold(effect: Summarize, chunks: Sequence[Chunk], check: Callable[[str], str]) -> Flow[str]:
    """Have the chunks summarised one after the other, each with the summary of those before it."""
    text = effect.previous_summary
    for messages in chunks:
        text = check((yield replace(effect, messages=messages, previous_summary=text)))
    return text or ""


def chunks_of(effect: Summarize, tokens: Mapping[int, int], count: Count) -> tuple[Chunk, ...]:
    """
    Return what to summarise, in pieces of at most `max_source_tokens`.

    That includes the summary that goes with each piece. What is hidden goes to no summariser:
    thoughts, signatures, media, and whatever else stands beside the content (`wire.told`).

    Args:
        effect: what a strategy asks for.
        tokens: what messages cost, by id; one that is not there costs what its text does.
        count: returns the tokens of a text.

    Raises:
        SummarizerError: not even a part of one message fits beside a summary, or there would be too
            many chunks.
    """
    limit = effect.max_source_tokens
    messages = tuple([_told(message) for message in effect.messages])
    if limit is None:
        return (messages,)
    costs = [
        _cost(message, tokens, count, whole=message is given)
        for message, given in zip(messages, effect.messages, strict=True)
    ]
    previous = count(effect.previous_summary) if effect.previous_summary else 0
    if sum(costs) + previous <= limit:
        return (messages,)
    room = limit - max(previous, effect.max_tokens)
    if sum(costs) > room * MAX_EFFECTS:
        raise SummarizerError(
            f"{sum(costs)} tokens in chunks of {max(0, room)} would be more than {MAX_EFFECTS}"
        )
    chunks: list[list[Message]] = []
    free = 0
    for message, cost in zip(messages, costs, strict=True):
        alone = [(message, cost)]
        for piece, piece_cost in _pieces(message, cost, room, count) if cost > room else alone:
            if not chunks or piece_cost > free:
                chunks.append([])
                free = room
            chunks[-1].append(piece)
            free -= piece_cost
    return tuple(map(tuple, chunks))


def _pieces(message: Message, cost: int, room: int, count: Count) -> Iterator[tuple[Message, int]]:
    """Yield a message that is larger than the room in parts, cut between graphemes."""
    from ctxwin.laws import ceil_boundary, floor_boundary  # noqa: PLC0415 - rarely needed

    text = _text_of(message)
    overhead = max(0, cost - count(text)) if text == message.content else OVERHEAD_TOKENS
    keys = ("role", "name", "tool_call_id")
    kept = {key: value for key, value in message.to_dict().items() if key in keys}
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
    """Return a message's text; if it is more than text, all of it as JSON."""
    content = message.content
    if isinstance(content, str) and not message.tool_calls and not message.extra:
        return content
    return json.dumps(message.to_dict(), ensure_ascii=False)


def _told(message: Message) -> Message:
    """Return what a summariser is told of a message: the message itself if that is all of it."""
    wire = message.to_dict()
    plain = told(wire)
    if plain == wire:
        return message
    if isinstance(plain.get("content"), list):  # what has no text is named, and priced as a name
        plain["content"] = [
            part if "text" in part else {"type": "text", "text": f"[{part['type']}]"}
            for part in plain["content"]
        ]
    return replace(message, _wire=plain, _nested=None)


def _cost(message: Message, tokens: Mapping[int, int], count: Count, *, whole: bool) -> int:
    """Return what a message costs; at most that, if the window does not hold it like this."""
    if message.id not in tokens:
        return count(_text_of(message))
    if whole:
        return tokens[message.id]
    # A counter may find one JSON text cheaper than the texts in it, and each call has a frame.
    apart = sum(map(count, _texts_in(message.to_dict())))
    frames = 1 + 2 * len(message.tool_calls)
    return max(count(_text_of(message)), apart) + frames * OVERHEAD_TOKENS


def _texts_in(value: object) -> Iterator[str]:
    """Yield every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(item)
