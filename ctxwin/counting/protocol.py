"""What ctxwin asks of a token counter."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class TokenCounter(Protocol):
    """
    Counts what text, messages and requests cost, in tokens.

    Two methods more are used where a counter has them, and need not be there: `count_result(result,
    call) -> int`, what a tool result adds behind the message with its call; and `count_base(tools,
    system) -> int`, a request without messages that begins with that system message.

    A counter sees wire dicts (OpenAI-style chat messages) and must neither change nor keep them.
    Equal input must give equal counts: ctxwin asks once a message and relies on the answer from
    then on.
    """

    @property
    def name(self) -> str:
        """Identifies the counts: stored counts are reused under the same name; `""` = never store them."""

    @property
    def exact(self) -> bool:
        """Whether plain chat is billed as counted; False for an estimate."""

    @property
    def additive(self) -> bool:
        """Whether `count_request` never exceeds base plus the sum of `count_message`; true where it is missing."""
        return True

    def count_text(self, text: str) -> int:
        """Return the tokens of a bare text."""

    def count_message(self, message: Mapping[str, Any]) -> int:
        """Return an upper bound on what the message adds to a request, overhead included."""

    def count_request(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> int:
        """Return what a whole request costs: messages, tool schemas and the priming of the reply."""
