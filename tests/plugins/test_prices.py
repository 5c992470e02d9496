"""Prices: exact, or not known; by the step of the one request, in the one currency."""

import builtins
import random
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxwin import Usage
from ctxwin_plugins.spend import Prices, Rates, bill

pytest.importorskip("genai_prices")
PRICES = Prices()
QWEN = Rates(4, 16, currency="CNY")


@pytest.mark.parametrize(
    ("model", "usage", "price"),
    [
        ("gpt-4o", Usage(1_000, 100), "0.0035"),
        ("gpt-4o", Usage(10_000, 500, 8_000), "0.020"),
        ("gpt-5", Usage(10_000, 500, 8_000), "0.0085"),
        ("claude-sonnet-4-5", Usage(10_000, 500, 8_000, 1_000), "0.01665"),
        ("gemini-2.5-pro", Usage(200_000), "0.250"),
        ("gemini-2.5-pro", Usage(200_001), "0.5000025"),  # a step goes by the whole request
        ("gpt-4o-mini-2024-07-18", Usage(1_000, 100), "0.00021"),
        ("gpt-4o", Usage(), "0"),
    ],
)
def test_known_prices(model: str, usage: Usage, price: str) -> None:
    """As the providers' price lists have them, to the last digit."""
    assert PRICES.price(usage, model) == Decimal(price)
    assert PRICES.price(usage, model, at=datetime(2026, 1, 1, tzinfo=UTC)) == Decimal(price)


@pytest.mark.parametrize("model", ["claude", "gpt-3.5", "qwen-max", "ernie-4.0", "", "*", None])
def test_what_is_not_known_is_none(model: str | None) -> None:
    """Never 0, never a guess."""
    usage = Usage(1_000, 100)
    assert PRICES.price(usage, model) is None
    assert PRICES.split(usage, model) is None
    assert PRICES.ceiling(1_000, 100, model) is None
    assert PRICES.price(usage, "gpt-4o", provider="nobody") is None
    assert PRICES.price(usage, "gpt-4o", provider="github-copilot") is None  # sold by the seat


def test_ceilings() -> None:
    """Every token at the highest rate that it may have: a cache write costs more than input."""
    assert PRICES.ceiling(10_000, 500, "claude-sonnet-4-5") == Decimal("0.0450")
    longest = PRICES.ceiling(10_000, 500, "claude-sonnet-4-5", long_writes=True)
    assert longest == Decimal("0.0675")
    spoken = Prices({"m": Rates(1, 2, audio_input=9, audio_output=5)})
    assert spoken.ceiling(10, 10, "m") == Decimal(10 * 9 + 10 * 5) / 1_000_000
    stepped = Prices({"m": Rates(2, 2, above={5: Rates(1, 1)})})
    assert stepped.ceiling(10, 0, "m") == Decimal(10 * 2) / 1_000_000  # it may have five only
    partly = Prices({"m": Rates(2, 2, above={5: Rates(1, None)})})
    assert partly.ceiling(10, 1, "m") is None
    assert partly.ceiling(5, 1, "m") == Decimal("0.000012")


TOKENS = st.integers(0, 300_000)
USAGES = st.builds(
    lambda rest, read, write, hour, output, shares: Usage(
        rest + read + write + hour,
        output,
        read,
        write + hour,
        hour,
        int((rest + read) * shares),
        int(output * shares),
        int(output * shares),
    ),
    *[TOKENS] * 5,
    st.fractions(0, 1),
)
MODELS = ("gpt-4o", "claude-sonnet-4-5", "gemini-2.5-pro", "gpt-4o-audio-preview", "own")
OWN = Prices({"own": Rates("0.3", "1.7", "0.01", above={100_000: Rates("0.7", "3")})})


@given(usage=USAGES, model=st.sampled_from(MODELS))
def test_a_price_is_the_sum_of_its_parts_and_below_its_ceiling(usage: Usage, model: str) -> None:
    """Whatever the usage is."""
    parts, price = OWN.split(usage, model), OWN.price(usage, model)
    assert parts is not None
    assert sum(parts.values()) == price
    ceiling = OWN.ceiling(usage.input_tokens, usage.output_tokens, model, long_writes=True)
    assert price is not None
    assert ceiling is not None
    assert price <= ceiling
    if not usage.cache_write_1h_tokens:
        ceiling = OWN.ceiling(usage.input_tokens, usage.output_tokens, model)
        assert ceiling is not None
        assert price <= ceiling


@given(usage=USAGES, model=st.sampled_from(MODELS[:3]))
def test_prices_are_those_of_the_list(usage: Usage, model: str) -> None:
    """What genai-prices itself makes of the same figures, for models that bill no audio apart."""
    import genai_prices

    names = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    figures = {name: getattr(usage, name) for name in names}
    if model == "claude-sonnet-4-5":
        figures["cache_write_1h_tokens"] = usage.cache_write_1h_tokens
    theirs = genai_prices.calc_price(genai_prices.Usage(**figures), model).total_price
    assert PRICES.price(usage, model) == theirs


def test_own_rates_go_first() -> None:
    """An exact name, then the longest with a star, then the list."""
    prices = Prices({"gpt-4o": Rates(1, 1), "gpt-4o-*": Rates(2, 2), "gpt-*": Rates(3, 3)})
    million = Usage(1_000_000)
    names = ("gpt-4o", "gpt-4o-2024-11-20", "gpt-9", "o3")
    assert [prices.price(million, name) for name in names[:3]] == [1, 2, 3]
    assert prices.price(million, "o3") == PRICES.price(million, "o3")


def test_currencies_are_not_mixed() -> None:
    """In another one a price needs an exchange rate, or is not known."""
    both = Usage(1_000_000, 1_000_000)
    yuan = Prices({"qwen-max": QWEN}, currency="CNY")
    assert yuan.price(both, "qwen-max") == 20
    assert bill([(both, "qwen-max")] * 12, yuan).total == 240
    assert Prices({"qwen-max": QWEN}).price(both, "qwen-max") is None
    dollars = Prices({"qwen-max": QWEN}, rates={"CNY": Decimal("0.14")})
    assert dollars.price(both, "qwen-max") == Decimal("2.80")
    assert yuan.price(both, "gpt-4o") is None


def test_what_a_rate_stands_for() -> None:
    """A rate not given is that of what holds it; without one for output there is no output."""
    usage = Usage(100, 10, 40, 30, 20, 30, 0, 10)
    assert Prices({"m": Rates(1, 2, per=1)}).price(usage, "m") == 100 + 20
    written = Rates(1, 2, cache_write=5, audio_input=7, audio_output=9, per=1)
    parts = Prices({"m": written}).split(usage, "m")
    assert parts is not None
    assert list(parts) == ["input", "cache_read", "cache_write", "output"]
    assert list(map(int, parts.values())) == [30 * 7, 40, 30 * 5, 10 * 9]  # cached audio is cached
    embeds = Prices({"m": Rates(1, None, per=1)})
    assert embeds.price(Usage(5), "m") == 5
    assert embeds.ceiling(5, 0, "m") == 5
    assert embeds.price(Usage(5, 1), "m") is None
    assert embeds.ceiling(5, 1, "m") is None


def test_a_bill_adds_requests_not_tokens() -> None:
    """Two requests below a step are not one above it."""
    assert bill([(Usage(100, 28), "gpt-4o")] * 500, PRICES).total == Decimal("0.265")
    below = bill([(Usage(150_000), "gemini-2.5-pro")] * 2, PRICES).total
    once = PRICES.price(Usage(300_000), "gemini-2.5-pro")
    assert (below, once) == (Decimal("0.375"), Decimal("0.75"))
    given = ((Usage(1_000, 100), "gpt-4o"), (Usage(1_000, 100), "none"), (None, "gpt-4o"))
    records = [SimpleNamespace(usage=usage, model=name) for usage, name in given]
    found = bill(records, PRICES)
    assert (found.total, found.unpriced) == (Decimal("0.0035"), 2)
    assert found.by_model == {"gpt-4o": Decimal("0.0035")}
    users = 10_000 * 10 * 2_000 * 30  # a month of ten chats a day
    for share, price in ((0, 15_000), (25, 26_250), (100, 60_000)):
        output = users * share // 100
        assert PRICES.price(Usage(users - output, output), "gpt-4o") == price


def test_splits_add_up_ten_thousand_times() -> None:
    """To the last digit: whatever is billed, nothing of the price is lost or told twice."""
    draw = random.Random(14)
    for number in range(10_000):
        read, write, hour, rest, output, reasoning = (draw.randrange(100_000) for _ in range(6))
        figures = (rest + read + write + hour, output + reasoning, read, write + hour, hour)
        usage = Usage(*figures, 0, reasoning, 0)
        model = MODELS[number % len(MODELS)]
        parts = OWN.split(usage, model)
        assert parts is not None
        assert sum(parts.values()) == OWN.price(usage, model)


def test_no_float_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Money is exact: nothing is made a float, and every amount is a decimal."""
    path = tmp_path / "prices.toml"
    path.write_text(TOML)

    def refused(*_: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(builtins, "float", refused)
    for prices in (Prices(), Prices.load(path), Prices({"gpt-4o": Rates("2.5", 10)})):
        assert bill([(Usage(100, 28), "gpt-4o")] * 500, prices).total == Decimal("0.265")
        usage = Usage(9_999, 333, 4_000, 1_000)
        for model in ("gpt-4o", "gemini-2.5-pro", "claude-sonnet-4-5", "qwen-max"):
            amounts = [prices.price(usage, model), prices.ceiling(9_999, 333, model)]
            amounts += (prices.split(usage, model) or {}).values()
            assert {type(amount) for amount in amounts} <= {Decimal, type(None)}


OFFLINE = """
import sys

def refuse(event, given):
    if event.startswith("socket.") or event.startswith("urllib."):
        raise AssertionError(event)

sys.addaudithook(refuse)

from datetime import UTC, datetime
from ctxwin import ContextManager, StreamUsage, Usage
from ctxwin_plugins.spend import Meter, Prices, bill

prices, usage = Prices(), Usage.of({"usage": {"prompt_tokens": 100, "completion_tokens": 28}})
read = StreamUsage()
read.add({"model": "gpt-4o", "choices": [], "usage": {"prompt_tokens": 100}})
for model in ("gpt-4o", "claude-sonnet-4-5", "gemini-2.5-pro", "nobody-knows-it"):
    prices.split(usage, model, at=datetime(2026, 1, 1, tzinfo=UTC))
    prices.price(usage, model, provider="openai")
    prices.ceiling(100, 28, model, long_writes=True)
ctx = ContextManager(1000, model="gpt-4o")
ctx.add_message("user", "hi")
request = ctx.request()
ctx.observe({"usage": {"prompt_tokens": 8, "completion_tokens": 1}}, request)
Meter(ctx, prices).read("and now?", 100, check=True)
print(bill([(usage, "gpt-4o")] * 500, prices).total)
"""


def test_no_network_at_any_time() -> None:
    """Prices are those installed: in a process of its own, where opening a socket is an error."""
    command = [sys.executable, "-c", OFFLINE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("0.26500\n", "")


@pytest.mark.parametrize(
    ("given", "error", "reason"),
    [
        ({"input": 0.5}, TypeError, "input must be a Decimal.*not float: floats are not exact"),
        ({"output": True}, TypeError, "output must be a Decimal"),
        ({"cache_read": "-1"}, ValueError, "cache_read must be a number of at least 0"),
        ({"cache_write": "much"}, ValueError, "cache_write must be a number, not 'much'"),
        ({"audio_input": "NaN"}, ValueError, "audio_input must be a number of at least 0"),
        ({"per": 0}, ValueError, "per must be a positive number"),
        ({"per": 1.5}, ValueError, "per must be a positive number"),
        ({"above": {"5": Rates(1, 1)}}, ValueError, "above must name numbers of input tokens"),
        ({"above": {-1: Rates(1, 1)}}, ValueError, "above must name numbers of input tokens"),
        ({"above": {5: (1, 1)}}, TypeError, r"above\[5\] must be Rates, not tuple"),
        ({"above": {5: QWEN}}, ValueError, r"above\[5\] is in CNY, what is below it in USD"),
        ({"above": {5: Rates(1, 1, above={9: Rates(1, 1)})}}, ValueError, "steps of its own"),
    ],
)
def test_rates_are_checked(given: dict[str, Any], error: type[Exception], reason: str) -> None:
    """When they are made, not when the first bill comes."""
    with pytest.raises(error, match=reason):
        Rates(**{"input": 1, "output": 1, **given})


TOML = """
currency = "USD"
[rates]
CNY = 0.14
[models.qwen-max]
input = 4
output = "16.5"
currency = "CNY"
above.200000 = { input = 8.25, output = 32 }
[models."embed-*"]
input = 0.02
"""


def test_prices_are_read_from_toml(tmp_path: Path) -> None:
    """Decimals as they are written."""
    path = tmp_path / "prices.toml"
    path.write_text(TOML)
    prices = Prices.load(path)
    assert prices.price(Usage(0, 1_000_000), "qwen-max") == Decimal("2.310")
    assert prices.price(Usage(1_000_000), "qwen-max") == Decimal("1.155")
    assert prices.price(Usage(1_000_000), "embed-3") == Decimal("0.02")
    assert hash(QWEN) == hash(Rates(4, 16, currency="CNY"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("currency = ", "prices.toml"),
        ("[prices]\nx = 1", "unknown key 'prices'; there are currency, rates, models"),
        ("[models.x]\ninput = 1\nsize = 2", "unknown rate 'size'; there are above"),
        ("[models.x]\noutput = 1", "input"),
        ("[models]\nx = 1", "prices.toml"),
        ("[rates]\nCNY = -1", "must be a number of at least 0"),
        ("[models.x]\ninput = 1\nabove.much = { input = 1 }", "much"),
    ],
)
def test_toml_that_holds_something_else(tmp_path: Path, text: str, reason: str) -> None:
    """The error names the file, and what is wrong."""
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason) as caught:
        Prices.load(path)
    assert "prices.toml" in str(caught.value)
    with pytest.raises(TypeError, match="the rates of 'm' must be Rates, not tuple"):
        Prices({"m": (1, 2)})  # type: ignore[dict-item]
    with pytest.raises(OSError, match="nowhere"):
        Prices.load(tmp_path / "nowhere.toml")


def test_the_order_of_requests_does_not_matter() -> None:
    """Sums of decimals are exact."""
    requests = [(Usage(number * 977, number), MODELS[number % 3]) for number in range(300)]
    shuffled = random.Random(7).sample(requests, len(requests))
    assert bill(requests, PRICES) == bill(shuffled, PRICES)
