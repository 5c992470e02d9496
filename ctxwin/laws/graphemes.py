"""
Where text may be cut: between graphemes, never inside one.

A grapheme is what a reader takes for one character, however many code points it has: an accented
letter, a flag, a family emoji. `regex` finds their ends, but only by reading forward from a known
boundary; so the functions look back from the cut for the nearest safe place to start. That keeps
the cost independent of the length of ordinary text.
"""

import functools
import unicodedata
from collections.abc import Callable


@functools.cache
def _next_boundary() -> Callable[..., object]:
    import regex  # noqa: PLC0415 - costs 20 ms, and only edits need it

    return regex.compile(r"\X").match


def is_boundary(text: str, position: int) -> bool:
    """Return whether a cut at `position` (0 to `len(text)`) leaves every grapheme whole."""
    return floor_boundary(text, position) == position


def floor_boundary(text: str, position: int) -> int:
    """Return the last boundary at or before `position`."""
    if position <= 0 or position >= len(text):
        return max(0, min(position, len(text)))
    # In a run of flags, only counting from its start tells where one flag ends.
    if _is_flag_half(text[position]):
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
    """Return a boundary at or before `position` that the two characters around it prove."""
    for here in range(position, 0, -1):
        if text[here - 1] == "\n" or (_is_simple(text[here]) and _is_simple(text[here - 1])):
            return here
    return 0


# Three letters combine with a neighbour although they are letters: Thai and Lao AM, and Malayalam
# dot reph.
_COMBINING_LETTERS = "\u0e33\u0eb3\u0d4e"


def _is_simple(character: str) -> bool:
    """
    Return whether a character never forms a grapheme with another such character.

    True for letters, digits and symbols of most scripts. False is always safe: it only means that
    the search goes further back.
    """
    if " " <= character <= "~":
        return True
    # Beyond the common scripts only pictures are certain. The gap between the two ranges holds the
    # skin tones, which join the picture before them.
    if character >= "\U00011000" or character in _COMBINING_LETTERS or _is_jamo(character):
        return (
            "\U0001f300" <= character <= "\U0001f3fa" or "\U0001f400" <= character <= "\U0001faff"
        )
    return unicodedata.category(character) in ("Lu", "Ll", "Lo", "Nd", "So", "Cs")


def _is_jamo(character: str) -> bool:
    """Return whether a character is a part of a Hangul syllable, not a whole syllable."""
    return (
        "\u1100" <= character <= "\u11ff"
        or "\ua960" <= character <= "\ua97f"
        or "\ud7b0" <= character <= "\ud7ff"
    )


def _is_flag_half(character: str) -> bool:
    """Return whether a character is a regional indicator; two of them make a flag."""
    return "\U0001f1e6" <= character <= "\U0001f1ff"
