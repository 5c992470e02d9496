"""
`clamp-oversized`: shorten a message that alone is too long, and keep its head and tail.

Typical ones are a pasted log and the dump of a tool.
"""

import json
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from ctxwin import Message, Plan, PruneRequest, hookimpl
from ctxwin.laws import ceil_boundary, floor_boundary, is_json_document

LONGEST_NUMBER = 1000  # digits
ATTEMPTS = 24  # each keeps at least a twentieth less than the one before; mostly the second fits


class ClampOversized:
    """
    Shorten messages above a limit, the longest first, until enough is free.

    It keeps head and tail, cut between graphemes, and puts a marker in between. A JSON document
    stays JSON: its long strings, lists and mappings are shortened. The current question is clamped
    only if `clamp_question` is set here *and* the manager allows it (`allow_question_edit`).

    Args:
        max_message_tokens: the limit; None for a quarter of the budget.
        head_share: the share of the head in what is kept, 0 to 1.
        clamp_question: whether the current question may be clamped.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        max_message_tokens: int | None = None,
        head_share: float = 0.5,
        *,
        clamp_question: bool = False,
    ) -> None:
        if max_message_tokens is not None and max_message_tokens < 1:
            raise ValueError(f"max_message_tokens must be at least 1, it is {max_message_tokens}")
        if not 0 <= head_share <= 1:
            raise ValueError(f"head_share must be within 0 and 1, it is {head_share}")
        self.max_message_tokens = max_message_tokens
        self.head_share = head_share
        self.clamp_question = clamp_question

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
        """Shorten the messages above the limit."""
        limit = self.max_message_tokens or max(1, request.max_tokens // 4)
        editable = {message.id for message in request.editable} - self._protected(request)
        costs = [
            (tokens, message)
            for unit in request.units
            for message, tokens in zip(unit.messages, unit.message_tokens, strict=True)
            if message.id in editable and tokens > limit
        ]
        plan, freed = Plan(), 0
        for tokens, message in sorted(costs, key=lambda pair: -pair[0]):
            if freed >= request.excess_tokens:
                break
            content = self._clamp(message, tokens, limit, request.count)
            if content is not None:
                plan += Plan.edit(message, content, reason=f"above {limit} tokens")
                freed += tokens - limit
        return plan if plan.steps else None

    def _protected(self, request: PruneRequest) -> set[int]:
        """Return the id of the current question, or nothing if it may be clamped."""
        users = [unit for unit in request.units if unit.role == "user" and not unit.written]
        return set() if self.clamp_question or not users else {users[-1].messages[0].id}

    def _clamp(
        self, message: Message, tokens: int, limit: int, count: Callable[[str], int]
    ) -> str | list[dict[str, Any]] | None:
        """Return the content, shorter by what the message costs above the limit, or None."""
        content = message.content
        if isinstance(content, str):
            return self._clamp_text(content, tokens - limit, count)
        parts = [part for part in content or () if part["type"] == "text"]
        longest = max(parts, key=lambda part: len(part["text"]), default=None)
        if longest is None:
            return None
        text = self._clamp_text(longest["text"], tokens - limit, count)
        if text is None:
            return None
        return [{**part, "text": text} if part is longest else part for part in content or ()]

    def _clamp_text(self, text: str, excess_tokens: int, count: Callable[[str], int]) -> str | None:
        """Return the text, shorter by the excess; None if that is not possible."""
        tokens = count(text)
        allowed = tokens - excess_tokens
        if allowed < 1:
            return None
        try:
            return self._attempts(text, len(text) * allowed // tokens, allowed, count)
        except RecursionError:  # the JSON is nested as deep as Python can read, but not write
            return None

    def _attempts(
        self, text: str, keep: int, allowed: int, count: Callable[[str], int]
    ) -> str | None:
        """Return the text, shortened until it is cheap enough; None if it never is."""
        shorten = self._shortener(text)
        for _ in range(ATTEMPTS):
            shorter = shorten(keep)
            needed = count(shorter)
            if needed <= allowed:
                return shorter
            # In proportion first; the second figure guarantees progress.
            keep = min(keep * allowed // needed, keep * 19 // 20)
        return None

    def _shortener(self, text: str) -> Callable[[int], str]:
        """Return a function that shortens the text to about so many characters."""
        if not is_json_document(text):
            return lambda keep: self._cut(text, keep)
        value = json.loads(text, parse_int=_number)
        lengths = _measure(value)
        return lambda keep: _dumps(self._shorten_json(value, keep, lengths))

    def _shorten_json(self, value: Any, keep: int, lengths: Mapping[int, int]) -> Any:
        """
        Return the JSON value, shortened to about `keep` characters.

        Long strings are cut, long lists and mappings lose items. `lengths` is what `_measure` says.
        """
        if lengths[id(value)] <= keep:
            return value
        if isinstance(value, str):
            return self._cut(value, max(0, keep - 2))
        if isinstance(value, list):
            kept = _fair_share(len(value), keep)
            head = round(len(kept) * self.head_share)
            shown = [*value[:head], *value[len(value) - (len(kept) - head) :]]
            items = [
                self._shorten_json(item, share, lengths)
                for item, share in zip(shown, kept, strict=True)
            ]
            left_out = len(value) - len(kept)
            return [
                *items[:head],
                *([f"[{left_out} items left out]"] if left_out else []),
                *items[head:],
            ]
        if isinstance(value, dict):
            kept = _fair_share(len(value), keep)
            pairs = islice(value.items(), len(kept))
            shown_pairs = {
                key: self._shorten_json(item, share, lengths)
                for (key, item), share in zip(pairs, kept, strict=True)
            }
            left_out = len(value) - len(kept)
            return shown_pairs | ({"": f"[{left_out} keys left out]"} if left_out else {})
        return value

    def _cut(self, text: str, keep: int) -> str:
        """Return head and tail of a text, about `keep` characters, with a marker in between."""
        head = floor_boundary(text, round(keep * self.head_share))
        tail = ceil_boundary(text, len(text) - max(0, keep - head)) if keep > head else len(text)
        if tail <= head:
            return text
        return f"{text[:head]}[... {tail - head} characters left out ...]{text[tail:]}"


def _measure(value: Any) -> dict[int, int]:
    """
    Return how long a JSON value, and each value in it, is when it is written: by `id`.

    Measured once: writing each part to see how long it is would write the innermost ones once for
    every level above them, and again for every attempt.
    """
    lengths: dict[int, int] = {}

    def measured(value: Any) -> int:
        if isinstance(value, dict):
            length = 1 + max(
                1, sum(len(_dumps(key)) + 2 + measured(item) for key, item in value.items())
            )
        elif isinstance(value, list):
            length = 1 + max(1, sum(1 + measured(item) for item in value))
        else:
            length = len(_dumps(value))
        lengths[id(value)] = length
        return length

    _dumps(value)
    measured(value)
    return lengths


def _number(digits: str) -> int | str:
    """Return an integer, or its digits as a string: Python refuses to read thousands of them."""
    return int(digits) if len(digits) < LONGEST_NUMBER else digits


def _fair_share(size: int, keep: int, least: int = 8) -> list[int]:
    """
    Return how many characters each item that is kept may take.

    Args:
        size: how many items there are.
        keep: how many characters all of them may take.
        least: the least share of an item: so many items are kept that each gets it.
    """
    count = min(size, max(1, keep // (2 * least)))
    return [max(least, keep // max(1, count))] * count


def _dumps(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate can be encoded only as an escape
        return json.dumps(value, separators=(",", ":"))
    return text
