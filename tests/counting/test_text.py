"""Counting a bare text: exact in pieces, remembered, bounded, whatever the text."""

import enum
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counting.troublemakers import texts
from ctxwin.counting.text import text as module
from ctxwin.counting.text.encodings import O200K_PATTERN, PATTERNS, load_encoding
from ctxwin.counting.text.text import Texts, upper_bound

CHARACTERS = [
    "a",
    "A",
    "7",
    " ",
    "\n",
    "\t",
    "\u3000",
    "é",
    "中",
    "👍",
    "\u0301",
    "!",
    "\x00",
    "\ud800",
    "<|endoftext|>",
]
PROSE = "Nobody here changed permissions yesterday, although 3 colleagues reported timeouts.\n" * 40


class Spy:
    """An encoding with one token per character that records the texts it is given."""

    def __init__(self, pattern: str | None = O200K_PATTERN) -> None:
        self._pat_str = pattern
        self.given: list[str] = []

    def encode_ordinary(self, text: str) -> list[int]:
        self.given.append(text)
        return [0] * len(text)


def texts_of(encoding: object, **options: int) -> Texts:
    return Texts(cast("Any", encoding), **options)


def true_count(name: str, text: str) -> int:
    return len(load_encoding(name).encode_ordinary(text))


@given(texts(), st.integers(1, 12))
def test_the_count_is_that_of_the_encoding(text: str, piece_size: int) -> None:
    """In pieces too, and when it is remembered."""
    for name in PATTERNS:
        counter = Texts(load_encoding(name), piece_size=piece_size)
        assert counter.count(text) == true_count(name, text)
        assert counter.count(text) == true_count(name, text)


@given(texts())
def test_no_text_exceeds_its_upper_bound(text: str) -> None:
    """Lone surrogates included, which tiktoken replaces."""
    for name in PATTERNS:
        assert true_count(name, text) <= upper_bound(text)


def test_upper_bound_is_the_bytes() -> None:
    """Characters of one to four bytes, and three bytes for a lone surrogate."""
    assert [
        upper_bound(text) for text in ("", "ab", "é", "中", "👍", "\ud800", "\ud83d\udc4d")
    ] == [0, 2, 2, 3, 4, 3, 6]


@given(texts(), st.integers(1, 12), st.integers(1, 30))
def test_a_piece_too_long_to_encode_counts_its_bytes(
    text: str, piece_size: int, longest: int
) -> None:
    """Then the count lies between the true one and the upper bound."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LONGEST_PIECE", longest)
        for name in PATTERNS:
            count = Texts(load_encoding(name), piece_size=piece_size).count(text)
            assert true_count(name, text) <= count <= upper_bound(text)


@pytest.mark.parametrize("character", CHARACTERS)
def test_a_hundred_thousand_of_any_character(character: str) -> None:
    """They count exactly, because a run of this length is still encoded."""
    text = character * (100_000 // len(character))
    for name in PATTERNS:
        assert Texts(load_encoding(name)).count(text) == true_count(name, text)


@pytest.mark.parametrize("character", CHARACTERS)
def test_a_million_of_any_character(character: str) -> None:
    """No call gets more than the piece size plus the longest piece, and no error is raised."""
    spy = Spy()
    text = "word " + character * (1_000_000 // len(character))
    assert 0 < texts_of(spy).count(text) <= upper_bound(text)
    assert sum(map(len, spy.given)) <= len(text)
    assert max(map(len, spy.given), default=0) < module.LONGEST_PIECE


def test_a_million_spaces_count_a_token_a_byte() -> None:
    """They make tiktoken panic; the text around them is counted as usual."""
    counter = Texts(load_encoding("o200k_base"))
    assert counter.count(" " * 1_000_000) == 1_000_000
    assert counter.count(PROSE * 10 + " " * 1_000_000) >= 1_000_000
    half = " " * (module.LONGEST_PIECE - 2)
    assert counter.count(half + "x") == true_count("o200k_base", half + "x") < 4000


def test_long_texts_are_encoded_a_piece_at_a_time() -> None:
    """No call gets more than the piece size and a word, and all calls together get the text."""
    spy = Spy()
    text = " ".join(map(str, range(5000)))
    assert texts_of(spy, piece_size=100).count(text) == len(text)
    assert "".join(spy.given) == text
    assert max(map(len, spy.given)) < 100 + len(" 5000")


def test_a_text_is_counted_once() -> None:
    """Whether it is long or short."""
    spy = Spy()
    counter = texts_of(spy)
    for text in ("short", PROSE * 20):
        counter.count(text)
        calls = len(spy.given)
        assert counter.count("".join(text)) == len(text)
        assert len(spy.given) == calls


def test_a_text_that_grows_is_counted_at_its_end() -> None:
    """Only the last pieces of a long text are encoded again."""
    spy = Spy()
    counter = texts_of(spy, piece_size=1000)
    text = "".join(f"{number} " for number in range(20_000))
    counter.count(text)
    spy.given.clear()
    assert counter.count(text + "and so on") == len(text) + 9
    assert len(spy.given) == 1


def test_long_texts_are_not_kept() -> None:
    """Only digests of their pieces are."""
    counter = texts_of(Spy())
    counter.count(PROSE * 100)
    assert counter._memo._held < 20_000


def test_long_texts_are_told_apart() -> None:
    """Lone surrogates too: the digest must not be that of a text with replacements."""
    counter = Texts(load_encoding("o200k_base"), piece_size=10)
    for text in (
        "?" * 20,
        "\ud800" * 20,
        "\ud83d" * 20,
        "\ufffd" * 20,
        "\ud83d\udc4d" * 10,
        "👍" * 20,
    ):
        assert counter.count(text) == true_count("o200k_base", text)


def test_nothing_is_remembered_where_there_is_no_room() -> None:
    """Each text is counted each time."""
    spy = Spy()
    counter = texts_of(spy, memo_bytes=0)
    assert [counter.count("abc"), counter.count("abc")] == [3, 3]
    assert spy.given == ["abc", "abc"]


@pytest.mark.parametrize("pattern", [r"\s+|\S+", None])
def test_patterns_that_are_not_known_are_not_cut(pattern: str | None) -> None:
    """Nobody has checked where the pieces of such a pattern end."""
    spy = Spy(pattern)
    assert texts_of(spy, piece_size=10).count("one two three four") == 18
    assert spy.given == ["one two three four"]


def test_the_encoding_is_made_when_the_first_text_is_counted() -> None:
    """Not before."""
    made: list[Spy] = []

    def make() -> Spy:
        made.append(Spy())
        return made[-1]

    counter = texts_of(make)
    assert not made
    assert [counter.count("ab"), counter.count("abc"), counter.count("ab")] == [2, 3, 2]
    assert len(made) == 1


class Colour(enum.StrEnum):
    RED = "red"


class Odd(str):
    """A text that equals any other."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("other")


def test_subclasses_of_str_count_as_their_characters() -> None:
    """Whatever they claim to equal, and they are not kept."""
    counter = texts_of(Spy())
    assert counter.count("other") == 5
    assert [counter.count(Odd("abc")), counter.count(Colour.RED)] == [3, 3]
    assert {type(key) for key in counter._memo._young} == {str}


class PanicException(BaseException):
    """As a Rust extension raises it."""


@pytest.mark.parametrize("piece_size", [1, 100])
@pytest.mark.parametrize(
    "error", [PanicException(), KeyboardInterrupt(), SystemExit(), ValueError(), GeneratorExit()]
)
def test_only_a_panic_is_answered_with_the_upper_bound(
    error: BaseException, piece_size: int
) -> None:
    """Everything else passes through."""

    def fail(text: str) -> list[int]:
        raise error

    counter = texts_of(SimpleNamespace(encode_ordinary=fail), piece_size=piece_size)
    count: Callable[[str], int] = counter.count
    if isinstance(error, PanicException):
        assert count("中 x") == 5
        return
    with pytest.raises(type(error)):
        count("中 x")
