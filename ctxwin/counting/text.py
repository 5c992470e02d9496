"""How many tokens a text has, whatever the text."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tiktoken

# tiktoken 0.14 panics on a white-space run of 999,998 characters and more (fancy-regex's backtrack limit).
LONGEST_SPACE_RUN = 900_000


class Texts:
    """
    Counts the tokens of texts.

    Args:
        encoding: an encoding, or a function that makes one when the first text is counted.
    """

    def __init__(self, encoding: "tiktoken.Encoding | Callable[[], tiktoken.Encoding]") -> None:
        self._encoding = encoding
        self._encode: Callable[[str], list[int]] | None = None

    def count(self, text: str) -> int:
        """
        Return the tokens of the text; special-token spellings count as the plain text they are.

        A run of white space that makes tiktoken panic is answered with the upper bound that holds for every
        byte-level vocabulary: one token a byte.
        """
        if len(text) >= LONGEST_SPACE_RUN and max(_space_runs(text), default=0) >= LONGEST_SPACE_RUN:
            return len(text.encode("utf-8", "surrogatepass"))
        if self._encode is None:
            encoding = self._encoding() if callable(self._encoding) else self._encoding
            self._encode = encoding.encode_ordinary
        return len(self._encode(text))


def _space_runs(text: str) -> Iterator[int]:
    """Yield the length of every run of white space, in characters; linear in the text."""
    start = None
    for position, character in enumerate(text):
        if not character.isspace():
            if start is not None:
                yield position - start
            start = None
        elif start is None:
            start = position
    if start is not None:
        yield len(text) - start
