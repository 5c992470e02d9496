"""
The one cost that decides: the counter's figure, validated and corrected by observed usage.

Counters are foreign code. Whatever they raise becomes a `CounterError`, and what they return must
be a count.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from operator import index
from typing import Any, cast

from ctxwin.counting import CallableCounter, ChatCounter, TokenCounter, counter_for
from ctxwin.values.budget import counted_tokens, may_be_hidden
from ctxwin.values.errors import CounterError, describe
from ctxwin.values.message import Message
from ctxwin.values.wire import Wire, copy_json, read_json

# A correction is a whole number of thousandths: costs stay integers, the same on every machine.
THOUSAND = 1000
COUNTER_METHODS = ("count_text", "count_message", "count_request")
BOUNDS = (500, 2000)  # in thousandths: an estimate is at most halved or doubled
UNLEARNT = (0, THOUSAND)  # hidden tokens and scale where no bill has taught anything


class Costs:
    """
    Costs of messages, texts and requests.

    Attributes:
        counter: the token counter.
        hidden_tokens: tokens that every request holds and an exact counter does not see (formats,
            tool preambles); negative where it counts too many. They are no part of the figures
            below: `billed_tokens` adds them to the count of a request, within its bounds.
        scale: the factor that an estimate is multiplied by, in thousandths.
    """

    def __init__(self, counter: TokenCounter, tools: Sequence[Mapping[str, Any]] = ()) -> None:
        self.counter = counter
        self.hidden_tokens = 0
        self.scale = THOUSAND
        # The cost of a request without messages, and the system message that it was counted with.
        self._base: tuple[Message | None, int] | None = None
        # The calls that the last result answers, and their wire copy: results of parallel calls
        # share it.
        self._call: tuple[Message, Wire] | None = None
        # An optional method is used only if it belongs with the required one that it replaces.
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
        Return the cost of a request without messages: tools and priming.

        Args:
            lead: the system message that the request begins with, for counters with `count_base`.
        """
        # Without tools a system message changes nothing, so all requests share one count.
        if self._count_base is None or not self._tools:
            lead = None
        base = self._base
        if base is None or base[0] != lead:
            if lead is None or self._count_base is None:
                tokens = self._ask("count_request", self.counter.count_request, (), self.tools)
            else:
                tokens = self._ask("count_base", self._count_base, self.tools, lead.to_dict())
            base = self._base = lead, tokens
        return self.scaled(base[1])

    def scaled(self, tokens: int) -> int:
        """Return a count multiplied by the scale, rounded up."""
        return tokens if self.scale == THOUSAND else -(-tokens * self.scale // THOUSAND)

    def scaled_by(self, scale: int) -> "Costs":
        """Return the same costs with another scale."""
        costs = copy(self)
        costs.scale = scale
        return costs

    def unlearnt(self) -> "Costs":
        """Return the same costs as the count alone says, without what bills have taught."""
        costs = copy(self)
        costs.learn(*UNLEARNT)
        return costs

    def text(self, text: str) -> int:
        """Return the cost of a bare text."""
        return self.scaled(self._ask("count_text", self.counter.count_text, text))

    def message(self, message: Message, call: Message | None = None) -> int:
        """
        Return the cost of a message before scaling, which is counted once and kept.

        Args:
            message: the message.
            call: for a tool result, the message with its call, for counters with `count_result`.
        """
        try:
            if call is None or self._count_result is None:
                return self._ask("count_message", self.counter.count_message, message.to_dict())
            known = self._call  # read once: another thread may be counting too
            if known is None or known[0] is not call:
                known = self._call = call, call.to_dict()
            return self._ask("count_result", self._count_result, message.to_dict(), known[1])
        except CounterError as error:
            raise CounterError(
                f"message {message.id} cannot be counted: {error}. It stays in the log: "
                f"rewind({message.id}) takes it back"
            ) from error.__cause__

    def request(self, messages: Sequence[Message]) -> int:
        """Return the true cost of a whole request."""
        wires = [message.to_dict() for message in messages]
        tokens = self._ask("count_request", self.counter.count_request, wires, self.tools)
        return self.scaled(tokens)

    @property
    def name(self) -> str:
        """The name under which counts are stored; `""` if they must not be stored."""
        name: str = getattr(self.counter, "name", "")
        return name

    @property
    def additive(self) -> bool:
        """Whether a sum of messages bounds a request, so that a cut needs no count of the whole."""
        return bool(getattr(self.counter, "additive", True))

    @property
    def sums_are_exact(self) -> bool:
        """Whether a request costs exactly base plus messages, so that counting it adds nothing."""
        return getattr(type(self.counter), "count_request", None) is ChatCounter.count_request

    def learnt(
        self, predicted_tokens: int, real_tokens: int, max_tokens: int
    ) -> tuple[int, int] | None:
        """
        Return the hidden tokens and the scale as a billed request teaches them.

        An exact counter misses a constant, so its hidden tokens change; an estimate is wrong in
        proportion, so its scale changes. None for a bill beyond the bounds: it teaches nothing.

        Args:
            predicted_tokens: what the request was expected to cost.
            real_tokens: what was billed.
            max_tokens: the budget.
        """
        if getattr(self.counter, "exact", False):
            counted = counted_tokens(predicted_tokens, self.hidden_tokens, max_tokens)
            hidden = real_tokens - counted
            return (hidden, self.scale) if may_be_hidden(hidden, counted, max_tokens) else None
        if predicted_tokens in (0, real_tokens):
            return self.learnt_figures
        # Each cost is rounded up on its own. Aim half a token low, or the same request would still
        # cost more than its bill.
        scale = (self.scale * (2 * real_tokens - 1) + predicted_tokens) // (2 * predicted_tokens)
        return (self.hidden_tokens, scale) if BOUNDS[0] <= scale <= BOUNDS[1] else None

    @property
    def has_learnt(self) -> bool:
        """Whether bills have taught anything."""
        return self.learnt_figures != UNLEARNT

    @property
    def learnt_figures(self) -> tuple[int, int]:
        """What bills have taught so far: the hidden tokens and the scale."""
        return self.hidden_tokens, self.scale

    def learn(self, hidden_tokens: int, scale: int) -> None:
        """Take over what was learnt: an exact counter has hidden tokens, an estimate a scale."""
        exact = getattr(self.counter, "exact", False)
        self.hidden_tokens, self.scale = (hidden_tokens, THOUSAND) if exact else (0, scale)

    def _ask(self, method: str, count: Callable[..., int], *args: object) -> int:
        try:
            tokens = index(count(*args))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a Rust panic is not an Exception
            raise CounterError(f"{self.counter!r}: {method} failed: {describe(error)}") from error
        if tokens < 0:
            raise CounterError(
                f"{self.counter!r}: {method} returned {tokens}, but a count cannot be negative"
            )
        return tokens


def _companion(counter: TokenCounter, optional: str, required: str) -> Callable[..., int] | None:
    """
    Return the counter's optional method, or None if it has none that can be trusted.

    A subclass that overrides only the required method counts in its own way: the inherited optional
    method would still give the parent's figures. So the class that is nearer in the MRO decides.
    """
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
    Return a counter for what the caller gave: a counter, a callable, or a name.

    A name is a model's or an encoding's; if `counter` is None, the model's name decides.

    Raises:
        TypeError: `counter` is none of these.
    """
    if counter is None or isinstance(counter, str):
        return counter_for(model if counter is None else counter)
    if not isinstance(counter, type):
        if all(callable(getattr(counter, method, None)) for method in COUNTER_METHODS):
            return cast("TokenCounter", counter)
        if callable(counter):
            return CallableCounter(counter)
    raise TypeError(f"counter must be a TokenCounter, a callable or a name, not {counter!r}")
