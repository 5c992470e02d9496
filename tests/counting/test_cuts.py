"""Cutting a text changes none of its tokens, and takes linear time."""

import itertools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counting.troublemakers import texts
from ctxwin.counting.text import cuts
from ctxwin.counting.text.cuts import SAFE_CUT, pieces
from ctxwin.counting.text.encodings import PATTERNS, load_encoding

# One character of each kind that the patterns or the rules distinguish.
KINDS = "aS中\u03011'./ \t\n\r\u3000\x1c"


def tokens(name: str, *texts: str) -> list[int]:
    return [token for text in texts for token in load_encoding(name).encode_ordinary(text)]


@pytest.mark.parametrize("name", PATTERNS)
def test_every_safe_cut_is_exact(name: str) -> None:
    """Every text of four characters has the same tokens, wherever it may be cut."""
    cut = 0
    for characters in itertools.product(KINDS, repeat=4):
        text = "".join(characters)
        parts = list(pieces(text, 1))
        if len(parts) > 1:
            assert tokens(name, *parts) == tokens(name, text), (text, parts)
            cut += 1
    assert cut > 10_000


@given(texts(), st.integers(1, 12))
def test_pieces_have_the_tokens_of_the_text(text: str, size: int) -> None:
    """Together they are the text, none is empty, and all but the last have the size asked for."""
    parts = list(pieces(text, size))
    assert "".join(parts) == text
    assert all(len(part) >= size for part in parts[:-1])
    assert "" not in parts
    for name in PATTERNS:
        assert tokens(name, *parts) == tokens(name, text)


@given(texts(), texts(), st.integers(1, 12))
def test_a_growing_text_keeps_its_pieces(text: str, more: str, size: int) -> None:
    """Appending changes only the last piece."""
    before, after = list(pieces(text, size)), list(pieces(text + more, size))
    kept = before[:-1]
    assert after[: len(kept)] == kept


@given(texts(), st.integers(1, 12), st.integers(2, 9))
def test_the_window_of_a_search_makes_no_cut(text: str, size: int, window: int) -> None:
    """A search that ends early may miss a cut but finds no wrong one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuts, "WINDOW", window)
        parts = list(pieces(text, size))
    ends = {
        found.end()
        for found in map(SAFE_CUT.search, itertools.repeat(text), range(len(text)))
        if found
    }
    assert "".join(parts) == text
    assert set(itertools.accumulate(map(len, parts[:-1]))) <= ends


def test_no_cut_is_missed_at_the_seam_of_two_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pair of characters across the edge of a window is seen in the next window."""
    monkeypatch.setattr(cuts, "WINDOW", 4)
    for length in range(1, 12):
        assert list(pieces("a" * length + " b", 1)) == ["a" * length, " b"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("one two", ["one", " two"]),
        ("\x1c ", ["\x1c", " "]),
        ("a\x1c", ["a\x1c"]),
        ("line\nline", ["line\n", "line"]),
        ("x;\n  y", ["x", ";\n", "  y"]),
        ("  \n", ["  \n"]),
        ("\n//\n", ["\n//\n"]),
        ("\n \n", ["\n \n"]),
        ("it's", ["it's"]),
        ('{"a1":23}', ['{"a', "1", '":23', "}"]),
        ("好，好", ["好", "，好"]),
        ("\ud83d\udc4d", ["\ud83d\udc4d"]),
        ("", []),
    ],
)
def test_where_texts_are_cut(text: str, parts: list[str]) -> None:
    """The rules by example."""
    assert list(pieces(text, 1)) == parts


class Spy:
    """A pattern that records how many characters it was given to search."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern, self.searched = pattern, 0

    def search(self, text: str, start: int, end: int) -> Any:
        found = self.pattern.search(text, start, end)
        self.searched += (found.end() if found else min(end, len(text))) - start
        return found


@pytest.mark.parametrize(
    "text", ["a", " ", "\n", "\n ", "a ", "1,", "中", "👍", "\u0301", "'", "/\n"]
)
def test_no_character_is_searched_twice(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Apart from the few at the edges."""
    spy = Spy(SAFE_CUT)
    monkeypatch.setattr(cuts, "SAFE_CUT", spy)
    for size in (1000, 100_000):
        spy.searched = 0
        repeated = text * (1_000_000 // len(text))
        assert sum(map(len, pieces(repeated, size))) == len(repeated)
        assert spy.searched <= len(repeated) // 100 + len(repeated)
