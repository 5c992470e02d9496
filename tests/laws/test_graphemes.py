"""Cuts fall between graphemes."""

import regex
from hypothesis import given
from hypothesis import strategies as st

from ctxwin.laws.graphemes import ceil_boundary, floor_boundary, is_boundary

PIECES = st.sampled_from(
    [
        "a",
        " ",
        "é",
        "e\u0301",
        "👨‍👩‍👧",
        "🇨🇭",
        "中",
        "\r\n",
        "\n",
        "\u0301",
        "\u200d",
        "각",
        "\ud800",
        "क्षि",
    ]
)
TEXTS = st.lists(PIECES, max_size=12).map("".join)


@given(TEXTS, st.integers(-2, 40))
def test_boundaries_agree_with_a_full_scan(text: str, position: int) -> None:
    """Reading from the nearest safe place finds what reading from the start finds."""
    bounds = [0, *(match.end() for match in regex.finditer(r"\X", text))]
    inside = min(max(position, 0), len(text))
    assert floor_boundary(text, position) == max(bound for bound in bounds if bound <= inside)
    assert ceil_boundary(text, position) == min(bound for bound in bounds if bound >= inside)
    assert is_boundary(text, inside) == (inside in bounds)


def test_a_million_characters_are_quick() -> None:
    """Plain text is read only near the cut; a million combining marks are one grapheme."""
    assert floor_boundary("中" * 1_000_000, 500_000) == 500_000
    assert floor_boundary("e" + "\u0301" * 1_000_000, 500_000) == 0
    assert ceil_boundary("e" + "\u0301" * 1_000_000, 500_000) == 1_000_001
