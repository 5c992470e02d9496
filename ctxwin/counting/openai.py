"""Counting for OpenAI's models."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ctxwin.counting.chat import ChatCounter
from ctxwin.counting.text import Texts

if TYPE_CHECKING:
    import tiktoken


class TiktokenCounter(ChatCounter):
    """
    Counts with a `tiktoken.Encoding`, exactly for plain chat of the models that use it.

    Args:
        encoding: an encoding, or a function that makes one when the first text is counted.
        name: the encoding's name, under which counts are stored.
        exact: False where the encoding is only a stand-in for the model's own.
    """

    def __init__(
        self, encoding: "tiktoken.Encoding | Callable[[], tiktoken.Encoding]", *, name: str, exact: bool = True
    ) -> None:
        self._texts = Texts(encoding)
        self.name = name
        self.exact = exact

    def __repr__(self) -> str:
        return f"TiktokenCounter({self.name!r}, exact={self.exact})"

    def count_text(self, text: str) -> int:
        """
        Return the tokens of the text; special-token spellings count as the plain text they are.

        A run of white space that makes tiktoken panic is answered with the upper bound that holds for every
        byte-level vocabulary: one token a byte.
        """
        return self._texts.count(text)
