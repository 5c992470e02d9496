"""
What makes an edit of content a good one.

Graphemes stay whole, JSON stays JSON, and a reasoning block is kept whole or dropped whole. The
functions compare the old content with the new: nobody tells them where a strategy cut.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ctxwin.laws.graphemes import ceil_boundary, floor_boundary, is_boundary
from ctxwin.values.wire import REASONING_TYPES, Content


def edit_faults(old: Content, new: Content) -> Iterator[str]:
    """Yield what is wrong with an edit of content from `old` to `new`."""
    old_texts, new_texts = _changed(_texts(old), _texts(new))
    if len(old_texts) == len(new_texts):
        pairs = list(zip(old_texts, new_texts, strict=True))
    else:  # texts came or went, so any of the new ones may come from any of the old ones
        pairs = [(text, new_text) for text in old_texts for new_text in new_texts]
    if any(is_json_document(text) and not _is_json(new_text) for text, new_text in pairs):
        yield "the old text was JSON, the new text is not: it must stay JSON"
    for new_text in new_texts:
        # A plan does not say which text became which: take the one of which most is left.
        origin = max(old_texts, key=lambda text: sum(_kept(text, new_text)), default="")
        if not _ends_on_graphemes(origin, new_text):
            yield (
                "a kept part of the old text ends inside a grapheme of the old or the new text: "
                "cut with floor_boundary() and ceil_boundary()"
            )
    old_blocks = _reasoning(old)
    if any(block not in old_blocks for block in _reasoning(new)):
        yield "a reasoning block was changed: keep it whole or drop it whole"


def is_json_document(text: object) -> bool:
    """Return whether a text is a JSON object or array; a bare number or string is just text."""
    return isinstance(text, str) and text.lstrip()[:1] in ("{", "[") and _is_json(text)


def _texts(content: Content) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content or () if part["type"] == "text"]


def _changed(old: list[str], new: list[str]) -> tuple[list[str], list[str]]:
    """Return the texts of each side without those that both sides have."""
    old, new = list(old), list(new)
    for text in (Counter(old) & Counter(new)).elements():
        old.remove(text)
        new.remove(text)
    return old, new


def _reasoning(content: Content) -> list[dict[str, Any]]:
    parts = content if isinstance(content, list) else ()
    return [part for part in parts if part["type"] in REASONING_TYPES or "signature" in part]


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_int=str)  # `int` would refuse a number of 5,000 digits
    except (ValueError, RecursionError):
        return False
    return True


def _kept(old: str, new: str) -> tuple[int, int]:
    """Return how many characters of `old` are kept by `new`, at the head and at the tail."""
    return _common_prefix(old, new), _common_prefix(old[::-1], new[::-1])


def _ends_on_graphemes(old: str, new: str) -> bool:
    """
    Return whether `new` keeps only whole graphemes of `old`.

    The old text must be cut between graphemes, and nothing new may merge with what is left of it.
    """
    head, tail = _kept(old, new)
    # Two different graphemes may share a character: two emoji often have the same last one. Such a
    # character is not a kept part of the old text.
    if head and head < min(ceil_boundary(old, 1), ceil_boundary(new, 1)):
        head = 0
    if tail and tail < min(len(text) - floor_boundary(text, len(text) - 1) for text in (old, new)):
        tail = 0
    ends = [(old, head), (old, len(old) - tail), (new, head), (new, len(new) - tail)]
    return all(is_boundary(text, position) for text, position in ends)


def _common_prefix(left: str, right: str) -> int:
    size = min(len(left), len(right))
    low, high = 0, size
    while low < high:  # bisect: comparing slices is quicker than comparing character by character
        middle = (low + high + 1) // 2
        if left[:middle] == right[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
