"""What makes an edit of content a good one: whole graphemes, JSON stays JSON, reasoning whole or not at all."""

import json
from collections.abc import Iterator
from typing import Any

from ctxwin.graphemes import is_boundary
from ctxwin.messages import Content

REASONING_TYPES = frozenset({"reasoning", "redacted_thinking", "thinking"})


def edit_faults(old: Content, new: Content) -> Iterator[str]:
    """Yield what is wrong with an edit of content from `old` to `new`."""
    for old_text, new_text in zip(_texts(old), _texts(new), strict=False):
        if _is_json_document(old_text) and not _is_json(new_text):
            yield "the old text was JSON, the new text is not"
        if not _ends_on_graphemes(old_text, new_text):
            yield "a part of the old text ends inside a grapheme"
    old_blocks = _reasoning(old)
    if any(block not in old_blocks for block in _reasoning(new)):
        yield "reasoning blocks are kept whole or dropped whole"


def _texts(content: Content) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content or () if part["type"] == "text"]


def _reasoning(content: Content) -> list[dict[str, Any]]:
    parts = content if isinstance(content, list) else ()
    return [part for part in parts if part["type"] in REASONING_TYPES or "signature" in part]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _is_json_document(text: str) -> bool:
    """Return whether the text is a JSON object or array; a bare number or word is text."""
    return text.lstrip()[:1] in ("{", "[") and _is_json(text)


def _ends_on_graphemes(old: str, new: str) -> bool:
    """Return whether what `new` keeps of `old` at either end was cut between graphemes."""
    head = _common_prefix(old, new)
    tail = _common_prefix(old[::-1], new[::-1])
    return is_boundary(old, head) and is_boundary(old, len(old) - tail)


def _common_prefix(left: str, right: str) -> int:
    size = min(len(left), len(right))
    low, high = 0, size
    while low < high:  # bisect: comparing slices is quicker than comparing characters
        middle = (low + high + 1) // 2
        if left[:middle] == right[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
