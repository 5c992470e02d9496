"""
What makes an edit of content a good one.

Graphemes stay whole, JSON stays JSON, and a reasoning block is kept whole or dropped whole. The
functions compare the old content with the new: nobody tells them where a strategy cut.
"""

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator

from ctxwin.laws.graphemes import ceil_boundary, floor_boundary, is_boundary
from ctxwin.values.wire import REASONING_TYPES, Content

FEW = 16  # texts that have changed: so many are all compared with each new one


def edit_faults(old: Content, new: Content) -> Iterator[str]:
    """Yield what is wrong with an edit of content from `old` to `new`."""
    old_texts, new_texts = _changed(_texts(old), _texts(new))
    if len(old_texts) == len(new_texts):
        pairs = zip(old_texts, new_texts, strict=True)
        broken = any(is_json_document(text) and not _is_json(new_text) for text, new_text in pairs)
    else:  # texts came or went, so any of the new ones may come from any of the old ones
        broken = any(map(is_json_document, old_texts)) and not all(map(_is_json, new_texts))
    if broken:
        yield "the old text was JSON, the new text is not: it must stay JSON"
    origin_of = _origins(old_texts)
    for new_text in new_texts:
        if not _ends_on_graphemes(origin_of(new_text), new_text):
            yield (
                "a kept part of the old text ends inside a grapheme of the old or the new text: "
                "cut with floor_boundary() and ceil_boundary()"
            )
    if not set(_reasoning(new)) <= set(_reasoning(old)):
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
    common = Counter(old) & Counter(new)
    return _without(old, common), _without(new, common)


def _without(texts: list[str], common: Counter[str]) -> list[str]:
    left, rest = Counter(common), []
    for text in texts:
        if left[text]:
            left[text] -= 1
        else:
            rest.append(text)
    return rest


def _origins(texts: list[str]) -> Callable[[str], str]:
    """
    Return what finds the text that a new one was made of: the one of which most is left.

    A plan does not say which text became which. Of many texts only those are looked at that stand
    beside the new one in alphabetical order, read forwards and backwards: one of them has the
    longest head in common with it, and one the longest tail.
    """
    forwards, backwards = sorted(texts), sorted(text[::-1] for text in texts)

    def origin(new: str) -> str:
        near = {*_beside(forwards, new), *(text[::-1] for text in _beside(backwards, new[::-1]))}
        found = texts if len(texts) <= FEW else sorted(near)
        return max(found, key=lambda text: sum(_kept(text, new)), default="")

    return origin


def _beside(texts: list[str], text: str) -> list[str]:
    place = bisect_left(texts, text)
    return texts[max(0, place - 1) : place + 1]


def _reasoning(content: Content) -> list[str]:
    parts = content if isinstance(content, list) else ()
    reasoning = [p for p in parts if p["type"] in REASONING_TYPES or "signature" in p]
    return [json.dumps(part, sort_keys=True) for part in reasoning]


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
