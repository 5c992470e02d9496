"""Where text may be cut: between graphemes (what a reader takes for one character), never inside."""

import functools
import unicodedata
from collections.abc import Callable


@functools.cache
def _next_boundary() -> Callable[..., object]:
    import regex

    return regex.compile(r"\X").match


def is_boundary(text: str, position: int) -> bool:
    """Return whether a cut at `position` (0 to `len(text)`) leaves every grapheme whole."""
    return floor_boundary(text, position) == position


def floor_boundary(text: str, position: int) -> int:
    """Return the last boundary at or before `position`."""
    if position <= 0 or position >= len(text):
        return max(0, min(position, len(text)))
    if _is_flag_half(text[position]):  # in a run of flags only their number tells where one ends
        halves = next(
            (n for n in range(position) if not _is_flag_half(text[position - 1 - n])), position
        )
        if halves:
            return position - halves % 2
    here = _safe_start(text, position)
    match = _next_boundary()
    while here < position:
        end: int = match(text, here).end()  # type: ignore[attr-defined]
        if end > position:
            return here
        here = end
    return here


def ceil_boundary(text: str, position: int) -> int:
    """Return the first boundary at or after `position`."""
    low = floor_boundary(text, position)
    if low >= position or position >= len(text):
        return low
    end: int = _next_boundary()(text, low).end()  # type: ignore[attr-defined]
    return end


def _safe_start(text: str, position: int) -> int:
    """Return a boundary at or before `position` that needs no look further back."""
    for here in range(position, 0, -1):
        if text[here - 1] == "\n" or (_is_simple(text[here]) and _is_simple(text[here - 1])):
            return here
    return 0


# Letters that combine with a neighbour all the same: Thai and Lao AM, Malayalam dot reph.
_COMBINING_LETTERS = "\u0e33\u0eb3\u0d4e"


def _is_simple(character: str) -> bool:
    """Return whether it combines with no neighbour of its kind: letters, digits, symbols of most scripts."""
    if " " <= character <= "~":
        return True
    if character >= "\U00011000" or character in _COMBINING_LETTERS or _is_jamo(character):
        return (
            "\U0001f300" <= character <= "\U0001f3fa" or "\U0001f400" <= character <= "\U0001faff"
        )
    return unicodedata.category(character) in ("Lu", "Ll", "Lo", "Nd", "So", "Cs")


def _is_jamo(character: str) -> bool:
    """Return whether it is a part of a Hangul syllable, not a whole one."""
    return (
        "\u1100" <= character <= "\u11ff"
        or "\ua960" <= character <= "\ua97f"
        or "\ud7b0" <= character <= "\ud7ff"
    )


def _is_flag_half(character: str) -> bool:
    """Return whether it is a regional indicator: two of them make a flag."""
    return "\U0001f1e6" <= character <= "\U0001f1ff"
