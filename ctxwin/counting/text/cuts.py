r"""
Where a text may be cut in two without changing its count.

An encoding's pattern first splits a text into pieces, and tokens never cross pieces. The patterns
of o200k_base and cl100k_base look ahead but never behind, so what stands right of a cut is split as
before wherever a piece began there. A cut is therefore exact if a piece ends at it and also ends at
it where the text does. That holds between

- A: what is not white space, and white space other than CR and LF. Such white space only ever
  begins a piece or stands in a piece of white space, and no look-ahead is tried behind anything but
  white space.
- B: CR or LF, and what is neither of them nor "/" (which o200k_base keeps with line ends behind
  punctuation), where the white space from there on holds no CR or LF. A run of white space is one
  piece up to its last CR or LF, which may belong to the punctuation before it; the same piece ends
  a text that ends there (`\s*[\r\n]`, `\s++$`).
- C: a letter, and an ASCII digit or punctuation other than the apostrophe of a contraction; or a
  digit, and punctuation. A piece with a letter or a digit in it ends with the run of them or with
  the contraction behind it.

Nowhere else: before any space 23 cuts in 100 change the count, behind any line end 11 in 100.
"""

import re
from collections.abc import Iterator

# Unicode's White_Space without CR and LF, for which `\s` of the patterns stands; Python's own `\s`
# has U+001C to U+001F too.
BLANK = "\t\x0b\x0c \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
SPACE = rf"{BLANK}\r\n"
LETTER = (
    "a-zA-Z\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fef\uac00-\ud7a3"  # ASCII, kana, ideographs, Hangul
)
PUNCTUATION = r"!-&(-/:-@\[-`{-~\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f"  # ASCII, and what ends Chinese clauses
# Each ends with a look-ahead that wants a character: where a search ends too early, a cut is missed
# but none is wrong.
SAFE_CUT = re.compile(
    rf"[^{SPACE}](?=[{BLANK}])"
    rf"|[\r\n](?=[{BLANK}]++[^{SPACE}]|[^{SPACE}/])"
    rf"|[{LETTER}](?=[0-9{PUNCTUATION}])|[0-9](?=[{PUNCTUATION}])"
)
WINDOW = 100_000  # characters searched at a time: a search keeps other threads waiting, this one for some ms


def pieces(text: str, size: int) -> Iterator[str]:
    """
    Yield the text in pieces that end at the first safe cut from so many characters on; together
    they are the text.

    A piece is longer than `size` by as much as no cut is safe: in prose by a word, in a run of one
    letter by all of it. The pieces of a text that grows at its end stay the same, up to its last
    one. Linear in the text.
    """
    start = 0
    while start < len(text):
        end = _next_cut(text, start + size)
        yield text[start:end]
        start = end


def _next_cut(text: str, position: int) -> int:
    """Return the first safe cut from a position on, or the end of the text."""
    position -= 1  # the character before the cut
    while position < len(text):
        found = SAFE_CUT.search(text, position, position + WINDOW)
        if found:
            return found.end()
        position += WINDOW - 1  # the last one may yet stand before a cut
    return len(text)
