"""`ctxwin cost`: what a conversation would cost, sent once, with each of several models."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from ctxwin import Usage
from ctxwin.cli import Source, counted, print_table, write_json
from ctxwin_plugins.spend.prices import Prices


def cost(
    chat: Source,
    model: Annotated[list[str], typer.Option(help="A model; repeat the option for several.")],
    output: Annotated[int, typer.Option(min=0, help="How long the reply may be, in tokens.")] = 300,
    cached: Annotated[
        float, typer.Option(min=0, max=1, help="Which share of the input a cache has.")
    ] = 0.0,
    prices: Annotated[
        Path | None, typer.Option(help="A TOML file of rates that go before those installed.")
    ] = None,
) -> None:
    """
    Say what a conversation, or each of several, would cost with each model.

    One JSON object per conversation and model is written to standard output, its price null where
    the model has none.

    Example: ctxwin cost chat.jsonl --model gpt-4o --model gpt-4o-mini --cached 0.9
    """
    listed = _prices(prices)
    rows: list[tuple[str, ...]] = []
    failed = False
    for name in model:
        for figures in counted(chat, name):
            failed |= figures["tokens"] is None
            price = None
            if figures["tokens"] is not None:
                read = int(figures["tokens"] * Decimal(str(cached)))
                price = listed.price(Usage(figures["tokens"], output, read), name)
                failed |= price is None
            said = None if price is None else f"{price.normalize():f}"
            write_json({**figures, "model": name, "price": said, "currency": listed.currency})
            rows.append(tuple(map(str, (figures["conversation"], name, figures["tokens"], said))))
    print_table(("conversation", "model", "tokens", f"price, {listed.currency}"), rows)
    if failed:
        raise typer.Exit(1)


def _prices(path: Path | None) -> Prices:
    if path is None:
        return Prices()
    try:
        return Prices.load(path)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"cannot read prices: {error}") from error
