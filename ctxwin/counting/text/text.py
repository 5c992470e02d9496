"""How many tokens any text has."""

import functools
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from ctxwin.counting.memo import Memo
from ctxwin.counting.text.encodings import PATTERNS, load_encoding

if TYPE_CHECKING:
    import tiktoken

MEMO_BYTES = 16 * 2**20
# The most characters to encode in one call. tiktoken releases the GIL while it encodes, but holds
# it while it builds the list of tokens.
PIECE_SIZE = 16_384
# A run without a safe cut is encoded only if it is shorter. tiktoken (0.14) panics on 999,998
# blanks, and takes up to 150 bytes of memory for each character of one piece.
LONGEST_PIECE = 500_000


def upper_bound(text: str) -> int:
    """
    Return the most tokens that a text can have, without counting them: its bytes in UTF-8.

    Every token of a byte-level vocabulary is at least one byte. A lone surrogate counts as three
    bytes, because tiktoken reads it as U+FFFD, which has three.
    """
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


class Texts:
    """
    Counts the tokens of texts, each text once as long as it is remembered.

    Threads may share it. Up to `memo_bytes` of texts stay in memory and may outlive their
    conversations. For texts longer than `piece_size` only digests are kept.

    Args:
        encoding: an encoding, or a function that makes one when the first text is counted.
        piece_size: a text with more characters than this is counted in pieces.
        memo_bytes: the most memory that the counts and their texts take.
    """

    def __init__(
        self,
        encoding: "tiktoken.Encoding | Callable[[], tiktoken.Encoding]",
        *,
        piece_size: int = PIECE_SIZE,
        memo_bytes: int = MEMO_BYTES,
    ) -> None:
        self._given = encoding
        self._piece_size = piece_size
        self._memo = Memo(memo_bytes)

    def count(self, text: str) -> int:
        """
        Return the tokens of the text; the spelling of a special token counts as plain text.

        The count is that of `encode_ordinary`, with one exception: half a million characters or
        more without a safe cut (a run of one letter, say, or of blanks, which make tiktoken panic)
        count one token per byte, the upper bound for every byte-level vocabulary.
        """
        if type(text) is not str:
            text = str.__str__(text)  # what a subclass adds is neither counted nor kept in memory
        if len(text) > self._piece_size:
            return self._count_long(text)
        tokens = self._memo.get(text)
        return self._encode(text, text) if tokens is None else tokens

    @cached_property
    def _encoding(self) -> "tiktoken.Encoding":
        return self._given() if callable(self._given) else self._given

    def _count_long(self, text: str) -> int:
        """Count piece by piece if the safe cuts of the encoding's pattern are known."""
        from ctxwin.counting.text.cuts import pieces  # noqa: PLC0415 - long texts are rare

        if getattr(self._encoding, "_pat_str", None) not in PATTERNS.values():
            return self._count_piece(text)
        return sum(
            self._count_piece(piece) if len(piece) < LONGEST_PIECE else upper_bound(piece)
            for piece in pieces(text, self._piece_size)
        )

    def _count_piece(self, piece: str) -> int:
        """Count a piece of a long text, and remember it by its digest."""
        from hashlib import sha256  # noqa: PLC0415 - long texts are rare

        key = sha256(piece.encode("utf-8", "surrogatepass")).digest()
        tokens = self._memo.get(key)
        return self._encode(key, piece) if tokens is None else tokens

    def _encode(self, key: str | bytes, text: str) -> int:
        """Count a text that is not remembered yet, and remember it."""
        try:
            tokens = len(self._encoding.encode_ordinary(text))
        except BaseException as error:  # a Rust panic is not an Exception
            if type(error).__name__ != "PanicException":
                raise
            tokens = upper_bound(text)
        self._memo.put(key, tokens)
        return tokens


@functools.cache
def texts_of(encoding: str) -> Texts:
    """Return the `Texts` of an embedded encoding, shared by all counters that use it."""
    return Texts(functools.partial(load_encoding, encoding))
