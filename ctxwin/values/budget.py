"""The token budget: how much a window may cost, and how far down a cut goes."""

from dataclasses import dataclass
from operator import index

# What bills have taught is held to bounds: an agent run's total, or one odd bill, must neither take
# the budget away nor make requests look free.
MOST_HIDDEN = 2  # at most the budget divided by this
LEAST_HIDDEN = 64  # at least minus this many tokens, or
LEAST_SHARE = 10  # minus the count divided by this, whichever is lower


@dataclass(frozen=True, slots=True, init=False)
class Budget:
    """
    A token budget with a high and a low mark.

    When the window costs more than `max_tokens` (the high mark), one cut takes it down to the
    target (the low mark). Until the next cut the window only grows at its end, so a provider's
    prompt cache keeps hitting.

    Attributes:
        window: how many tokens the model takes, input and output together.
        reserve_output: how many of them are kept free for the reply.
        low: how far down a cut goes, in (0, 1]. The messages that must be kept take a part of the
            budget; of the rest, a cut leaves this share filled. 1.0 cuts to just fit, which
            rewrites the prefix on every turn.
        soft: the share of `max_tokens` above which a summary should be prepared early, in (0, 1];
            None for never.

    Raises:
        ValueError: a figure is out of range.
        TypeError: a token count is not an integer.
    """

    window: int
    reserve_output: int
    low: float
    soft: float | None

    def __init__(
        self, window: int, *, reserve_output: int = 0, low: float = 0.7, soft: float | None = None
    ) -> None:
        for name, value in (("window", window), ("reserve_output", reserve_output)):
            if index(value) < 0:
                raise ValueError(f"{name} must not be negative, it is {value}")
        if window - reserve_output <= 0:
            raise ValueError(
                f"reserve_output ({reserve_output}) must be below window ({window}): "
                "no token is left for the input"
            )
        if not 0 < low <= 1:
            raise ValueError(f"low must be above 0 and at most 1, it is {low}")
        if soft is not None and not 0 < soft <= 1:
            raise ValueError(f"soft must be above 0 and at most 1, it is {soft}")
        object.__setattr__(self, "window", index(window))
        object.__setattr__(self, "reserve_output", index(reserve_output))
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "soft", soft)

    @property
    def max_tokens(self) -> int:
        """The input budget, in tokens: what a request may cost."""
        return self.window - self.reserve_output

    def target_tokens(self, floor_tokens: int) -> int:
        """
        Return the most tokens that a cut leaves in the window.

        Args:
            floor_tokens: the cost of what must be kept, tools and priming included. If that alone
                is over the budget, the target is the budget: then only shortening can help.
        """
        free = self.max_tokens - floor_tokens
        return min(self.max_tokens, floor_tokens + int(self.low * free))


def billed_tokens(counted: int, hidden_tokens: int, max_tokens: int) -> int:
    """
    Return what a request costs, given its count and what bills have taught.

    The bounds hold at each use: after a cut the count is smaller, and a conversation may move to a
    smaller budget. A request that counts more never costs less.

    Args:
        counted: what the counter says of the request, in tokens.
        hidden_tokens: what bills were above the count, or below it if negative.
        max_tokens: the budget.
    """
    least = max(LEAST_HIDDEN, counted // LEAST_SHARE)
    return max(0, counted + min(max(hidden_tokens, -least), max_tokens // MOST_HIDDEN))


def counted_tokens(billed: int, hidden_tokens: int, max_tokens: int) -> int:
    """Return the count of a request that `billed_tokens` says costs so much: its inverse."""
    # A tenth of the count is a ninth of what is left of it.
    least = max(LEAST_HIDDEN, billed // (LEAST_SHARE - 1))
    return billed - min(max(hidden_tokens, -least), max_tokens // MOST_HIDDEN)


def may_be_hidden(hidden_tokens: int, counted: int, max_tokens: int) -> bool:
    """Return whether the bill of a request may teach so much: whether it is within the bounds."""
    least = max(LEAST_HIDDEN, counted // LEAST_SHARE)
    return -least <= hidden_tokens <= max_tokens // MOST_HIDDEN
