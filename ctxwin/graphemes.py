"""Where text may be cut: between graphemes (what a reader takes for one character), never inside."""

import functools
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
        if _is_simple(text[here]) and _is_simple(text[here - 1]):
            return here
    return 0


def _is_simple(character: str) -> bool:
    """Return whether it combines with no neighbour of its kind: printable ASCII, CJK ideographs."""
    return " " <= character <= "~" or "\u4e00" <= character <= "\u9fff"
