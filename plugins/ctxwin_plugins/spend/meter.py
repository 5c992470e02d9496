"""
`Meter`: what a request would cost, in tokens and money, while someone is still typing.

It asks the manager for a preview and prices for a range, and changes neither. What it costs in the
end depends on what the provider's cache has and on how long the reply gets; the range holds both.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from threading import Lock
from typing import Any

from ctxwin import ContextManager, Preview, Usage
from ctxwin_plugins.spend.prices import Prices


@dataclass(frozen=True, slots=True)
class Reading:
    """
    What a meter shows.

    Attributes:
        tokens: what the draft costs.
        total_tokens: what the window costs with the draft.
        remaining_tokens: the budget minus `total_tokens`; may be negative.
        share: `total_tokens` as a share of the budget; may be above 1.
        level: the highest level that the share has reached; None below the lowest.
        prunes: whether sending the draft would cut the window.
        fits: whether it would fit then; None where that was not asked for (`check=True`).
        price_low: the least that the request costs, before any reply: the window comes from a cache
            and nothing is written to one. Where it would be cut, the draft alone.
        price_high: the most that it may cost with its reply, `Prices.ceiling`.
    """

    tokens: int
    total_tokens: int
    remaining_tokens: int
    share: float
    level: float | None
    prunes: bool
    fits: bool | None
    price_low: Decimal | None
    price_high: Decimal | None


class Meter:
    """
    Reads what the next request of a conversation would cost.

        meter = Meter(ctx, Prices(), on_level=lambda level, reading: warn(level))
        meter.read("Where is my par", max_output_tokens=300).price_high

    Prices are of the manager's own model and as exact as its counter. They are None where the model
    has none, and `price_high` also where nothing limits the reply.

    Args:
        ctx: the conversation; a session too.
        prices: what prices it.
        levels: shares of the budget to watch, in any order.
        on_level: called with a level and the reading, once each time that level is crossed upwards:
            as a draft or a conversation grows, and again after it had shrunk or was cut.
        long_writes: whether requests may write to a cache for an hour, which costs more.

    Raises:
        ValueError: a level is not above 0.
    """

    def __init__(
        self,
        ctx: ContextManager,
        prices: Prices,
        *,
        levels: Sequence[float] = (0.5, 0.8, 1.0),
        on_level: Callable[[float, Reading], object] | None = None,
        long_writes: bool = False,
    ) -> None:
        if not all(level > 0 for level in levels):
            raise ValueError(f"levels must be above 0, they are {tuple(levels)}")
        self._ctx, self._prices = ctx, prices
        self._levels = sorted(set(levels))
        self._on_level = on_level
        self._long_writes = long_writes
        self._lock = Lock()
        self._reached = 0  # how many levels the last reading had reached
        self._cut = self._last_cut()[0]

    def read(
        self,
        draft: str | list[dict[str, Any]],
        max_output_tokens: int | None = None,
        *,
        check: bool = False,
    ) -> Reading:
        """
        Return what sending a draft would mean now.

        Args:
            draft: its text or parts.
            max_output_tokens: the cap on the reply; by default `budget.reserve_output`, if that is
                not 0.
            check: whether to find out if a draft that cuts the window fits, as `preview` does.

        Raises:
            MessageError: the draft is malformed.
            CounterError: it cannot be counted.
        """
        preview = self._ctx.preview(draft, check=check)
        share = self._share(preview.total_tokens)
        reached = bisect_right(self._levels, share)
        low, high = self._range(preview, max_output_tokens)
        reading = Reading(
            tokens=preview.tokens,
            total_tokens=preview.total_tokens,
            remaining_tokens=preview.remaining_tokens,
            share=share,
            level=self._levels[reached - 1] if reached else None,
            prunes=preview.prunes,
            fits=preview.fits,
            price_low=low,
            price_high=high,
        )
        crossed = self._crossed(reached)
        if self._on_level is not None:
            for level in crossed:
                self._on_level(level, reading)
        return reading

    def _share(self, tokens: int) -> float:
        return tokens / self._ctx.max_tokens

    def _crossed(self, reached: int) -> list[float]:
        """Return the levels that this reading has crossed upwards, lowest first."""
        with self._lock:
            cut, after_tokens = self._last_cut()
            if cut is not self._cut:  # the window may have grown again since, unread
                self._cut = cut
                self._reached = min(
                    self._reached, bisect_right(self._levels, self._share(after_tokens))
                )
            before, self._reached = self._reached, reached
        return self._levels[before:reached]

    def _last_cut(self) -> tuple[object, int]:
        """Return what tells the last cut from another one, and what it left of the window."""
        receipt = self._ctx.last_receipt
        return (None, 0) if receipt is None else (receipt.actions, receipt.after_tokens)

    def _range(self, preview: Preview, cap: int | None) -> tuple[Decimal | None, Decimal | None]:
        """Return the least and the most that a request may cost."""
        model = self._ctx.model
        if preview.prunes:
            least = Usage(preview.tokens)
        else:
            cached = max(0, preview.total_tokens - preview.tokens)
            least = Usage(preview.total_tokens, cache_read_tokens=cached)
        low = self._prices.price(least, model)
        cap = cap or self._ctx.budget.reserve_output
        if not cap:
            return low, None
        most = min(preview.total_tokens, self._ctx.max_tokens)  # a cut goes below the budget
        return low, self._prices.ceiling(most, cap, model, long_writes=self._long_writes)
