"""What ctxwin asks of a token counter."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class TokenCounter(Protocol):
    """
    Counts what text, messages and requests cost, in tokens.

    A counter may have two more methods, which ctxwin uses if they exist. `count_result(result,
    call) -> int` is what a tool result adds after the message with its call. `count_base(tools,
    system) -> int` is the cost of a request without messages, given the system message that it
    begins with.

    A counter sees wire dicts (OpenAI-style chat messages) and must neither change nor keep them.
    Equal input must give equal counts: ctxwin asks once per message and relies on the answer from
    then on.
    """

    @property
    def name(self) -> str:
        """Identifies the counts: a stored count is reused under the same name; `""`: not stored."""

    @property
    def exact(self) -> bool:
        """Whether plain chat is billed exactly as counted; False for an estimate."""

    @property
    def additive(self) -> bool:
        """
        Whether `count_request` never exceeds the base plus the sum of `count_message`.

        A counter without this attribute is taken to be additive.
        """
        return True

    def count_text(self, text: str) -> int:
        """Return the tokens of a bare text."""

    def count_message(self, message: Mapping[str, Any]) -> int:
        """Return an upper bound on what the message adds to a request, overhead included."""

    def count_request(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> int:
        """Return the cost of a whole request: messages, tool schemas and the reply's priming."""
