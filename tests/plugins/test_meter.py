"""The meter: its range holds the real price, and each level is told once on the way up."""

from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxwin import Budget, BudgetError, ContextManager, Usage
from ctxwin.sessions import MemoryStore, Sessions
from ctxwin.testing import WordCounter
from ctxwin_plugins.spend import Meter, Prices, Rates, Reading
from steps import lines_run
from threads import in_threads

pytest.importorskip("genai_prices", reason="needs the extra `prices`")
RATES = {
    "plain": Rates("2.5", "10"),
    "cached": Rates(3, 15, "0.3", "3.75", 6),
    "stepped": Rates(1, 8, "0.1", above={20: Rates(2, 12, "0.2", "2.5")}),
}
PRICES = Prices(RATES)


def words(number: int) -> str:
    return " ".join(["word"] * number)


def meter_of(
    max_tokens: int = 100, *, model: str | None = "plain", prices: Prices = PRICES, **options: Any
) -> tuple[ContextManager, Meter]:
    """Return a manager, whose counter counts words, and a meter of it."""
    ctx = ContextManager(max_tokens, model=model, counter=WordCounter())
    return ctx, Meter(ctx, prices, **options)


SAID = st.tuples(
    st.sampled_from(["system", "user", "assistant"]), st.integers(0, 12), st.booleans()
)


@dataclass
class Served:
    """What a provider's cache had and got, in thousandths, and how long the reply became."""

    read: int
    write: int
    hour: int
    output: int

    def bill(self, tokens: int, cached: int, cap: int) -> Usage:
        """Return a bill: a cache can have all but the draft, which is new."""
        read = cached * self.read // 1_000
        write = (tokens - read) * self.write // 1_000
        return Usage(tokens, cap * self.output // 1_000, read, write, write * self.hour // 1_000)


SHARE = st.integers(0, 1_000)


@given(
    said=st.lists(SAID, max_size=12),
    draft=st.integers(0, 20),
    budget=st.integers(10, 80),
    cap=st.integers(1, 50),
    model=st.sampled_from(list(RATES)),
    served=st.builds(Served, SHARE, SHARE, SHARE, SHARE),
    chain=st.sampled_from([["drop-oldest"], ["clamp-oversized"], ["summarize-history"]]),
    long_writes=st.booleans(),
)
def test_the_real_price_lies_in_the_range(
    said: list[tuple[Any, int, bool]],
    draft: int,
    budget: int,
    cap: int,
    model: str,
    served: Served,
    chain: list[str],
    long_writes: bool,
) -> None:
    """Whatever the cache had and however long the reply got; the figures are the request's."""
    ctx = ContextManager(budget, model=model, counter=WordCounter(), strategies=chain)
    for role, length, pinned in said:
        ctx.add_message(role, words(length), pinned=pinned)
    meter = Meter(ctx, PRICES, long_writes=long_writes)
    reading = meter.read(words(draft), cap)
    checked = meter.read(words(draft), cap, check=True)
    assert reading == replace(checked, fits=None)
    assert reading.remaining_tokens == budget - reading.total_tokens
    ctx.add_message("user", words(draft))
    try:
        request = ctx.request(max_output_tokens=cap)
    except BudgetError:
        assert not checked.fits
        return
    assert checked.fits
    assert reading.prunes or reading.total_tokens == request.tokens
    bill = served.bill(request.tokens, request.tokens - reading.tokens, cap)
    if not long_writes:
        bill = replace(bill, cache_write_1h_tokens=0)
    price = PRICES.price(bill, model)
    assert price is not None
    assert reading.price_low is not None
    assert reading.price_high is not None
    assert reading.price_low <= price <= reading.price_high


def test_a_reading_has_all_figures() -> None:
    """Tokens of the draft and of the window, the share, the level, and the range of the price."""
    ctx, meter = meter_of(40, model="cached")
    ctx.add_message("user", words(10))
    reading = meter.read(words(5), 100, check=True)
    total, tokens = ctx.preview(words(5)).total_tokens, ctx.preview(words(5)).tokens
    low = Decimal("0.3") * (total - tokens) + 3 * tokens
    assert reading == Reading(
        tokens=tokens,
        total_tokens=total,
        remaining_tokens=40 - total,
        share=total / 40,
        level=0.5,
        prunes=False,
        fits=True,
        price_low=low / 1_000_000,
        price_high=(total * Decimal("3.75") + 100 * 15) / 1_000_000,
    )
    cut = meter.read(words(35), 100)
    assert (cut.prunes, cut.level, cut.fits) == (True, 1.0, None)
    assert cut.price_low == Decimal(3 * cut.tokens) / 1_000_000  # the draft alone
    assert cut.price_high == (40 * Decimal("3.75") + 100 * 15) / 1_000_000  # a cut fits the budget


def test_what_is_not_known_is_none() -> None:
    """No model, a model without a price, no cap on the reply."""
    for model in (None, "nobody-knows-it"):
        reading = meter_of(model=model)[1].read("hi", 100)
        assert (reading.price_low, reading.price_high) == (None, None)
    reading = meter_of()[1].read("hi")
    assert reading.price_low
    assert reading.price_high is None
    ctx = ContextManager(budget=Budget(100, reserve_output=30), model="plain", counter=len)
    meter = Meter(ctx, PRICES)
    assert meter.read("hi") == meter.read("hi", 30)
    assert meter.read("hi", 60) != meter.read("hi")


def test_each_level_is_told_once_on_the_way_up() -> None:
    """Not on a second reading; again after the draft had shrunk."""
    told: list[tuple[float, Reading]] = []
    ctx, meter = meter_of(100, levels=(0.8, 0.5, 0.8), on_level=lambda *both: told.append(both))
    ctx.add_message("user", words(30))
    assert meter.read("").level is None
    assert told == []
    first = meter.read(words(20))
    assert told == [(0.5, first)]
    assert meter.read(words(21)).level == 0.5
    last = meter.read(words(200))
    assert meter.read(words(201)).level == 0.8
    assert told == [(0.5, first), (0.8, last)]
    meter.read("")
    meter.read(words(200))
    assert [level for level, _ in told] == [0.5, 0.8, 0.5, 0.8]


@pytest.mark.parametrize("read_between", [True, False])
def test_each_level_is_told_again_after_a_cut_and_a_new_climb(read_between: bool) -> None:
    """Also where nobody read the meter in between."""
    told: list[float] = []
    ctx = ContextManager(budget=Budget(100, low=0.5), model="plain", counter=WordCounter())
    meter = Meter(ctx, PRICES, on_level=lambda level, _: told.append(level))
    while ctx.total_tokens < 85:
        ctx.add_message("user", words(10))
    meter.read("")
    assert told == [0.5, 0.8]
    ctx.add_message("user", words(30))
    ctx.messages()
    if read_between:
        assert meter.read("").level == 0.5
    while ctx.total_tokens < 85:
        ctx.add_message("user", words(5))
    ctx.forget()  # the receipt is another one then, of the same cut
    meter.read("")
    assert told == [0.5, 0.8, 0.8]
    ctx.forget()
    meter.read("")
    assert told == [0.5, 0.8, 0.8]


def test_levels_are_told_once_to_threads() -> None:
    """However many read at once."""
    told: list[float] = []
    ctx, meter = meter_of(100, on_level=lambda level, _: told.append(level))
    ctx.add_message("user", words(85))
    in_threads(lambda _: meter.read(words(20)), "abcdefgh")
    assert sorted(told) == [0.5, 0.8, 1.0]


def test_a_session_has_a_meter_too() -> None:
    """It is a manager."""
    with Sessions(MemoryStore()).open("s", 100, model="plain", counter=WordCounter()) as session:
        session.add_message("user", words(60))
        assert Meter(session, PRICES).read("hi", 10).level == 0.5


def test_a_long_conversation_is_read_as_fast_as_a_short_one() -> None:
    """A reading runs as many lines at 2,000 messages as at 20, also where the draft would cut."""
    ran = []
    for length in (20, 2_000):
        ctx = ContextManager(10**6, model="plain", counter=WordCounter())
        for _ in range(length):
            ctx.add_message("user", words(3))
        small = ContextManager(ctx.total_tokens, model="plain", counter=WordCounter())
        small.extend(ctx.messages())
        meter = Meter(small, PRICES)
        assert meter.read(words(9), 100).prunes
        ran.append(lines_run(partial(meter.read, words(9), 100)))
    assert ran[0] == ran[1]


@pytest.mark.parametrize("level", [0, -0.5, float("nan")])
def test_levels_are_above_0(level: float) -> None:
    """The error names them."""
    with pytest.raises(ValueError, match="levels must be above 0"):
        meter_of(levels=(level, 1.0))
