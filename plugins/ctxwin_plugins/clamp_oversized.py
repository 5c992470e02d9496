"""`clamp-oversized`: keep head and tail of a message that is too long on its own (a pasted log, a tool's dump)."""

import json
from collections.abc import Callable
from itertools import islice
from typing import Any

from ctxwin import Message, Plan, PruneRequest, hookimpl
from ctxwin.laws import ceil_boundary, floor_boundary, is_json_document

LONGEST_NUMBER = 1000
ATTEMPTS = 24  # each attempt keeps less by a twentieth at least, mostly the second fits


class ClampOversized:
    """
    Shorten messages above a limit, the longest first, until enough is free.

    Head and tail are kept, cut between graphemes, with a marker in between; a JSON document stays
    JSON, its long strings, lists and mappings shortened. The current question is clamped only if
    asked for here *and* allowed by the manager (`allow_question_edit`).

    Args:
        max_message_tokens: the limit; None for a quarter of the budget.
        head_share: how much of what is kept is head, 0 to 1.
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
        """Edit what is above the limit."""
        limit = self.max_message_tokens or max(1, request.max_tokens // 4)
        editable = {message.id for message in request.editable} - self._spared(request)
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

    def _spared(self, request: PruneRequest) -> set[int]:
        """Return the id of the current question, unless it may be clamped."""
        users = [unit for unit in request.units if unit.role == "user" and not unit.written]
        return set() if self.clamp_question or not users else {users[-1].messages[0].id}

    def _clamp(
        self, message: Message, tokens: int, limit: int, count: Callable[[str], int]
    ) -> str | list[dict[str, Any]] | None:
        """Return the content cut down by what the message costs too much; None where that cannot be done."""
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
        """Return the text shorter by the excess, or None."""
        tokens = count(text)
        allowed = tokens - excess_tokens
        if allowed < 1:
            return None
        shorten = self._shortener(text)
        keep = len(text) * allowed // tokens
        for _ in range(ATTEMPTS):
            try:
                shorter = shorten(keep)
            except RecursionError:  # JSON as deep as Python can just read
                return None
            needed = count(shorter)
            if needed <= allowed:
                return shorter
            keep = min(keep * allowed // needed, keep * 19 // 20)
        return None

    def _shortener(self, text: str) -> Callable[[int], str]:
        """Return a function that shortens the text to about so many characters."""
        if not is_json_document(text):
            return lambda keep: self._cut(text, keep)
        value = json.loads(text, parse_int=_number)
        return lambda keep: _dumps(self._shorten_json(value, keep))

    def _shorten_json(self, value: Any, keep: int) -> Any:
        """Return a JSON value of about so many characters: long strings cut, long lists and mappings thinned."""
        if len(_dumps(value)) <= keep:
            return value
        if isinstance(value, str):
            return self._cut(value, max(0, keep - 2))
        if isinstance(value, list):
            kept = _fair_share(len(value), keep)
            head = round(len(kept) * self.head_share)
            shown = [*value[:head], *value[len(value) - (len(kept) - head) :]]
            items = [
                self._shorten_json(item, share) for item, share in zip(shown, kept, strict=True)
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
                key: self._shorten_json(item, share)
                for (key, item), share in zip(pairs, kept, strict=True)
            }
            left_out = len(value) - len(kept)
            return shown_pairs | ({"": f"[{left_out} keys left out]"} if left_out else {})
        return value

    def _cut(self, text: str, keep: int) -> str:
        """Return head and tail of a text, about so many characters, and a marker in between."""
        head = floor_boundary(text, round(keep * self.head_share))
        tail = ceil_boundary(text, len(text) - max(0, keep - head)) if keep > head else len(text)
        if tail <= head:
            return text
        return f"{text[:head]}[... {tail - head} characters left out ...]{text[tail:]}"


def _number(digits: str) -> int | str:
    """Read an integer; one of thousands of digits, which Python refuses to read, as a string."""
    return int(digits) if len(digits) < LONGEST_NUMBER else digits


def _fair_share(size: int, keep: int, least: int = 8) -> list[int]:
    """Return how many characters each of the items to keep may take: as many items as get a least share each."""
    count = min(size, max(1, keep // (2 * least)))
    return [max(least, keep // count)] * count


def _dumps(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate: as an escape it has an encoding
        return json.dumps(value, separators=(",", ":"))
    return text
