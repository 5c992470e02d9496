"""
The one cost that decides everything: what the counter says, validated and corrected by observed
usage.

Counters are foreign code. Whatever they raise becomes a `CounterError`, and what they return must
be a count.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from operator import index
from typing import Any, cast

from ctxwin.counting import CallableCounter, ChatCounter, TokenCounter, counter_for
from ctxwin.values.errors import CounterError, describe
from ctxwin.values.message import Message
from ctxwin.values.wire import Wire, copy_json, read_json

UNIT = 1000  # a correction is a whole number of thousandths, so that costs stay integers on every machine
COUNTER_METHODS = ("count_text", "count_message", "count_request")
BOUNDS = (500, 2000)  # an estimate is corrected by half to double, never further


class Costs:
    """
    Costs of messages, texts and requests.

    Attributes:
        counter: the token counter.
        offset: tokens that every request holds beyond what the exact counter sees (formats, tool
            preambles).
        correction: thousandths by which an estimate is multiplied.
    """

    def __init__(self, counter: TokenCounter, tools: Sequence[Mapping[str, Any]] = ()) -> None:
        self.counter = counter
        self.offset = 0
        self.correction = UNIT
        self._base: tuple[Message | None, int] | None = None  # and the message that leads it
        self._call: tuple[Message, Wire] | None = (
            None  # the call that a result was last asked for, and its copy
        )
        # Optional methods are of use only where they go with what they stand in for.
        self._count_base = _companion(counter, "count_base", "count_request")
        self._count_result = _companion(counter, "count_result", "count_message")
        self._tools: list[Any] = []
        self.tools = tools

    @property
    def tools(self) -> list[Any]:
        """The tool schemas sent with each request (copies)."""
        tools: list[Any] = copy_json(self._tools)
        return tools

    @tools.setter
    def tools(self, tools: Sequence[Mapping[str, Any]]) -> None:
        schemas = [] if isinstance(tools, str | Mapping) else list(tools)
        if bool(tools) > bool(schemas) or not all(isinstance(tool, Mapping) for tool in schemas):
            raise TypeError("tools must be a sequence of mappings, the schemas as they are sent")
        self._tools = [
            read_json(tool, f"tools[{position}]") for position, tool in enumerate(schemas)
        ]
        self._base = None

    def base_tokens(self, lead: Message | None = None) -> int:
        """
        Return the cost of a request without messages: tools, priming and the observed offset.

        Args:
            lead: the system message that the request begins with; counters that care get to see it.
        """
        if self._count_base is None or not self._tools:
            lead = None
        base = self._base
        if base is None or base[0] != lead:
            if lead is None or self._count_base is None:
                tokens = self._ask("count_request", self.counter.count_request, (), self.tools)
            else:
                tokens = self._ask("count_base", self._count_base, self.tools, lead.to_dict())
            base = self._base = lead, tokens
        return self.corrected(base[1]) + self.offset

    def corrected(self, tokens: int) -> int:
        """Return a count with the correction of an estimate, rounded up."""
        return tokens if self.correction == UNIT else -(-tokens * self.correction // UNIT)

    def corrected_by(self, correction: int) -> "Costs":
        """Return the same costs with another correction."""
        costs = copy(self)
        costs.correction = correction
        return costs

    def text(self, text: str) -> int:
        """Return the cost of a bare text."""
        return self.corrected(self._ask("count_text", self.counter.count_text, text))

    def message(self, message: Message, call: Message | None = None) -> int:
        """
        Return the uncorrected cost of a message: what is counted once and kept.

        Args:
            message: the message.
            call: of a tool result, the message with its call; counters that care get to see it.
        """
        if call is None or self._count_result is None:
            return self._ask("count_message", self.counter.count_message, message.to_dict())
        known = self._call  # one thread may count ahead while another counts
        if known is None or known[0] is not call:
            known = self._call = call, call.to_dict()
        return self._ask("count_result", self._count_result, message.to_dict(), known[1])

    def request(self, messages: Sequence[Message]) -> int:
        """Return the true cost of a whole request."""
        wires = [message.to_dict() for message in messages]
        return (
            self.corrected(
                self._ask("count_request", self.counter.count_request, wires, self.tools)
            )
            + self.offset
        )

    @property
    def name(self) -> str:
        """The name under which counts are stored; `""` for never."""
        name: str = getattr(self.counter, "name", "")
        return name

    @property
    def additive(self) -> bool:
        """Whether sums bound the cost of a request, so that none need be counted whole after a cut."""
        return bool(getattr(self.counter, "additive", True))

    @property
    def sums_are_exact(self) -> bool:
        """Whether a request is known to cost just base plus messages, so that asking again can tell nothing new."""
        return getattr(type(self.counter), "count_request", None) is ChatCounter.count_request

    def learnt(self, predicted_tokens: int, real_tokens: int) -> tuple[int, int]:
        """Return the offset and the correction that a request teaches which cost another figure than predicted."""
        if getattr(self.counter, "exact", False):
            return max(0, self.offset + real_tokens - predicted_tokens), self.correction
        if not predicted_tokens:
            return self.offset, self.correction
        wanted = round(self.correction * real_tokens / predicted_tokens)
        return self.offset, min(max(wanted, BOUNDS[0]), BOUNDS[1])

    def restore(self, offset: int, correction: int) -> None:
        """Take over what was learnt before: an exact counter has an offset, an estimate a correction, never both."""
        exact = getattr(self.counter, "exact", False)
        self.offset, self.correction = (offset, UNIT) if exact else (0, correction)

    def _ask(self, method: str, count: Callable[..., int], *args: object) -> int:
        try:
            tokens = index(count(*args))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a Rust panic is no Exception
            raise CounterError(f"{self.counter!r}: {method} failed: {describe(error)}") from error
        if tokens < 0:
            raise CounterError(
                f"{self.counter!r}: {method} returned {tokens}, a count is not negative"
            )
        return tokens


def _companion(counter: TokenCounter, optional: str, required: str) -> Callable[..., int] | None:
    """Return the optional method, unless the counter has none or has overridden only what it stands in for."""
    for kind in type(counter).__mro__:
        if optional in vars(kind):
            method: Callable[..., int] = getattr(counter, optional)
            return method
        if required in vars(kind):
            break
    return None


def as_counter(
    counter: TokenCounter | Callable[[str], int] | str | None, model: str | None
) -> TokenCounter:
    """
    Make a counter of what a caller may give: a counter, a callable, or a model's or an encoding's
    name.

    Raises:
        TypeError: it is none of these.
    """
    if counter is None or isinstance(counter, str):
        return counter_for(model if counter is None else counter)
    if not isinstance(counter, type):
        if all(callable(getattr(counter, method, None)) for method in COUNTER_METHODS):
            return cast("TokenCounter", counter)
        if callable(counter):
            return CallableCounter(counter)
    raise TypeError(f"counter must be a TokenCounter, a callable or a name, not {counter!r}")
