"""
`Prices`: what a request costs, exactly, or None where that is not known.

Rates of models come from `genai-prices` (the extra `prices`), and from whoever has better or other
ones. They become `Rates`, and one arithmetic prices all: tokens times rate, with steps that go by
the input of one request. There is no term for time in it; providers bill tokens.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from ctxwin import Usage

RATES = (
    *("input", "output", "cache_read", "cache_write", "cache_write_1h"),
    *("audio_input", "audio_output"),
)
# What genai-prices calls each rate: dollars for a million tokens.
GENAI = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "audio_input": "input_audio_mtok",
    "audio_output": "output_audio_mtok",
}
Amount = Decimal | int | str


@dataclass(frozen=True, slots=True)
class Rates:
    """
    What a model's tokens cost.

    Args:
        input: the rate of input tokens that no other rate covers.
        output: the rate of output tokens; None where that is not known.
        cache_read: the rate of input read from a cache; None: the input's.
        cache_write: the rate of input written to a cache; None: the input's.
        cache_write_1h: the rate of input written for an hour; None: `cache_write`'s.
        audio_input: the rate of input that is audio; None: the input's.
        audio_output: the rate of output that is audio; None: the output's.
        currency: what the rates are in.
        per: how many tokens a rate is for.
        above: other rates for requests with more input tokens than the key, all of theirs; in the
            same currency.

    Raises:
        TypeError: a rate is a float (it is not exact), or no number; or `above` holds no rates.
        ValueError: a rate is negative, `per` is not positive, or a step cannot be.
    """

    input: Amount
    output: Amount | None
    cache_read: Amount | None = None
    cache_write: Amount | None = None
    cache_write_1h: Amount | None = None
    audio_input: Amount | None = None
    audio_output: Amount | None = None
    currency: str = field(default="USD", kw_only=True)
    per: int = field(default=1_000_000, kw_only=True)
    above: "Mapping[int, Rates]" = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        for name in RATES:
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, money(given, name))
        if type(self.per) is not int or self.per < 1:
            raise ValueError(f"per must be a positive number of tokens, not {self.per!r}")
        for start, step in self.above.items():
            self._check_step(start, step)
        object.__setattr__(self, "above", dict(sorted(self.above.items())))

    def _check_step(self, start: object, step: object) -> None:
        if type(start) is not int or start < 0:
            raise ValueError(f"above must name numbers of input tokens, not {start!r}")
        if not isinstance(step, Rates):
            raise TypeError(f"above[{start}] must be Rates, not {type(step).__name__}")
        if step.currency != self.currency:  # one that was left out is USD
            raise ValueError(
                f"above[{start}] is in {step.currency}, what is below it in {self.currency}: "
                "give both the same currency"
            )
        if step.above:
            raise ValueError(f"above[{start}] has steps of its own: put all in one `above`")

    def __hash__(self) -> int:
        return hash((self.input, self.output, self.currency))

    def at(self, input_tokens: int) -> "Rates":
        """Return the rates of a request with so many input tokens."""
        steps = [rates for start, rates in self.above.items() if start < input_tokens]
        return steps[-1] if steps else self

    def up_to(self, input_tokens: int) -> "Iterator[Rates]":
        """Yield the rates of every request with at most so many input tokens."""
        yield replace(self, above={})
        yield from (rates for start, rates in self.above.items() if start < input_tokens)


def money(value: object, name: str) -> Decimal:
    """
    Return an amount of money as it is meant.

    Raises:
        TypeError: it is a float, or no number.
        ValueError: it is negative, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise TypeError(
            f"{name} must be a Decimal, an int or a str such as '2.50', "
            f"not {type(value).__name__}: floats are not exact"
        )
    try:
        exact = Decimal(value)
    except ArithmeticError:
        raise ValueError(f"{name} must be a number, not {value!r}") from None
    if not exact.is_finite() or exact < 0:
        raise ValueError(f"{name} must be a number of at least 0, not {value!r}")
    return exact


class Prices:
    """
    Prices requests by model.

        prices = Prices({"my-model": Rates("0.50", "1.50")})
        prices.price(Usage(1_000, 100), "gpt-4o")  # Decimal("0.0035")

    Args:
        custom: rates by model, which go before those of genai-prices. A key that ends in `*` covers
            every model that begins so; an exact key goes first, then the longest.
        currency: what all prices are in.
        rates: currency -> what one unit of it is worth in `currency`. Without an entry, a price in
            that currency is None.
    """

    def __init__(
        self,
        custom: Mapping[str, Rates] | None = None,
        *,
        currency: str = "USD",
        rates: Mapping[str, Amount] | None = None,
    ) -> None:
        self.currency = currency
        self._custom = dict(custom or {})
        for name, listed in self._custom.items():
            if not isinstance(listed, Rates):
                raise TypeError(f"the rates of {name!r} must be Rates, not {type(listed).__name__}")
        given = {name: money(rate, f"rates[{name!r}]") for name, rate in (rates or {}).items()}
        self._exchange = {**given, currency: Decimal(1)}

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """
        Read prices from a TOML file.

            currency = "USD"

            [rates]
            CNY = "0.14"

            [models.qwen-max]
            input = 4
            output = 16
            currency = "CNY"
            above.200000 = { input = 8, output = 32 }

        Steps are in the currency of what is below them.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no TOML, or holds what it should not; the text says where.
        """
        with Path(path).open("rb") as file:
            text = file.read()
        try:
            found = tomllib.loads(text.decode(), parse_float=Decimal)
            unknown = sorted(found.keys() - {"currency", "rates", "models"})
            if unknown:
                names = "currency, rates, models"
                raise ValueError(f"unknown key {unknown[0]!r}; there are {names}")
            models = {name: _rates(table) for name, table in found.get("models", {}).items()}
            given = {key: found[key] for key in ("currency", "rates") if key in found}
            return cls(models, **given)
        except (TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error

    def price(
        self,
        usage: Usage,
        model: str | None,
        *,
        at: datetime | None = None,
        provider: str | None = None,
    ) -> Decimal | None:
        """
        Return the exact price of one request; None where it is not known, never a guess.

        Args:
            usage: what was billed.
            model: the model that replied; None where that is not known.
            at: when, for rates that change; None: now.
            provider: the host, for a model that several sell, as genai-prices calls it.
        """
        parts = self.split(usage, model, at=at, provider=provider)
        return None if parts is None else sum(parts.values(), Decimal(0))

    def split(
        self,
        usage: Usage,
        model: str | None,
        *,
        at: datetime | None = None,
        provider: str | None = None,
    ) -> dict[str, Decimal] | None:
        """
        Return what the price consists of; the arguments are those of `price`.

        Returns:
            Prices under `input` (what no cache had), `cache_read`, `cache_write` and `output`;
            they add up to the price. None where it is not known.
        """
        found = self._found(model, at, provider)
        if found is None:
            return None
        rates = found.at(usage.input_tokens)
        if rates.output is None and usage.output_tokens:
            return None
        exchange = self._exchange.get(rates.currency)
        if exchange is None:
            return None
        sums = _sums(usage, rates)
        return {name: amount * exchange / rates.per for name, amount in sums.items()}

    def ceiling(
        self,
        tokens: int,
        output_tokens: int,
        model: str | None,
        *,
        long_writes: bool = False,
        at: datetime | None = None,
        provider: str | None = None,
    ) -> Decimal | None:
        """
        Return the most that a request may cost; None where that is not known.

        Args:
            tokens: the most input tokens that it may have.
            output_tokens: the most output tokens that it may have.
            model: the model that it goes to.
            long_writes: whether it may write to a cache for an hour.
            at: when, as for `price`.
            provider: the host, as for `price`.
        """
        found = self._found(model, at, provider)
        if found is None:
            return None
        ceilings = [
            self._ceiling(rates, tokens, output_tokens, long_writes=long_writes)
            for rates in found.up_to(tokens)
        ]
        known = [ceiling for ceiling in ceilings if ceiling is not None]
        return max(known) if len(known) == len(ceilings) else None

    def _ceiling(
        self, rates: Rates, tokens: int, output_tokens: int, *, long_writes: bool
    ) -> Decimal | None:
        exchange = self._exchange.get(rates.currency)
        if exchange is None or (rates.output is None and output_tokens):
            return None
        names = ["input", "cache_read", "cache_write", "audio_input"]
        highest = max(_rate(rates, name) for name in [*names, *["cache_write_1h"] * long_writes])
        output = max(_rate(rates, "output"), _rate(rates, "audio_output"))
        return (tokens * highest + output_tokens * output) * exchange / rates.per

    def _found(self, model: str | None, at: datetime | None, provider: str | None) -> Rates | None:
        """Return the rates of a model, the caller's own first."""
        if model is None:
            return None
        if model in self._custom:
            return self._custom[model]
        stars = [key for key in self._custom if key.endswith("*") and model.startswith(key[:-1])]
        if stars:
            return self._custom[max(stars, key=len)]
        return _listed(model, at, provider)


@dataclass(frozen=True, slots=True)
class Bill:
    """
    What several requests cost.

    Attributes:
        total: the sum of all that have a price.
        unpriced: how many have none.
        by_model: model -> the sum of its requests that have a price.
    """

    total: Decimal
    unpriced: int
    by_model: Mapping[str, Decimal]


def bill(requests: Iterable[Any], prices: Prices) -> Bill:
    """
    Add up what requests cost, one by one: rates may have steps that go by one request's input.

    Args:
        requests: pairs of a `Usage` and a model, or records with `usage` and `model`, such as
            observations; where either is None, there is no price.
        prices: what prices them.
    """
    by_model: dict[str, Decimal] = {}
    unpriced = 0
    for request in requests:
        usage, model = request if isinstance(request, tuple) else (request.usage, request.model)
        price = None if usage is None else prices.price(usage, model)
        if price is None:
            unpriced += 1
        else:
            by_model[model] = by_model.get(model, Decimal(0)) + price
    return Bill(sum(by_model.values(), Decimal(0)), unpriced, by_model)


def _rate(rates: Rates, name: str) -> Decimal:
    """Return a rate, or the one that stands for it."""
    instead = {"cache_write_1h": "cache_write", "audio_output": "output"}
    while (found := getattr(rates, name)) is None and name not in ("input", "output"):
        name = instead.get(name, "input")
    return found or Decimal(0)  # no output, no rate of it


def _sums(usage: Usage, rates: Rates) -> dict[str, Decimal]:
    """Return tokens times rate for each part of a price."""
    uncached = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
    audio = min(usage.audio_input_tokens, uncached)  # cached audio is billed as cached
    written = usage.cache_write_tokens - usage.cache_write_1h_tokens
    spoken = usage.audio_output_tokens

    def times(tokens: int, name: str) -> Decimal:
        return tokens * _rate(rates, name)

    return {
        "input": times(uncached - audio, "input") + times(audio, "audio_input"),
        "cache_read": times(usage.cache_read_tokens, "cache_read"),
        "cache_write": times(written, "cache_write")
        + times(usage.cache_write_1h_tokens, "cache_write_1h"),
        "output": times(usage.output_tokens - spoken, "output") + times(spoken, "audio_output"),
    }


def _rates(table: Mapping[str, Any]) -> Rates:
    """Return the rates of a table of TOML."""
    known = {field.name for field in fields(Rates)}
    unknown = sorted(table.keys() - known)
    if unknown:
        raise ValueError(f"unknown rate {unknown[0]!r}; there are {', '.join(sorted(known))}")
    inherited = {name: table[name] for name in ("currency", "per") if name in table}
    steps = table.get("above", {})
    above = {int(start): _rates({**inherited, **rates}) for start, rates in steps.items()}
    return Rates(**{"output": None, **table, "above": above})


def _listed(model: str, at: datetime | None, provider: str | None) -> Rates | None:
    """Return the rates that genai-prices lists for a model; None where it knows none."""
    # Slow to import: 0.2 to 0.7 s.
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415

    try:
        _, info = get_snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return None
    listed = info.get_prices(at or datetime.now(UTC))
    found = {name: getattr(listed, key, None) for name, key in GENAI.items()}
    if found["input"] is None:
        return None
    starts = {tier.start for rate in found.values() for tier in getattr(rate, "tiers", ())}
    above = {start: Rates(**_level(found, start + 1)) for start in starts}
    return Rates(**_level(found, 0), above=above)


def _level(found: Mapping[str, Any], input_tokens: int) -> dict[str, Any]:
    """Return the rates that hold for so many input tokens."""
    level = {}
    for name, rate in found.items():
        tiers = [tier for tier in getattr(rate, "tiers", ()) if tier.start < input_tokens]
        base = getattr(rate, "base", rate)
        level[name] = max(tiers, key=lambda tier: tier.start).price if tiers else base
    return level
