"""
The commands: `ctxwin fit | count | strategies`.

Results go to standard output as JSON. Everything for people (table, progress, errors) goes to
standard error. Exit codes: 0, all done; 1, bad input or a conversation that cannot fit (the others
are still written); 2, a wrong command line.
"""

import sys
import warnings
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ctxwin import BudgetError, ContextManager, CtxwinError
from ctxwin.cli import showing
from ctxwin.cli.reading import Conversation, InputError, read_conversations
from ctxwin.counting import TokenCounter, counter_for
from ctxwin.hooks.installed import installed

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Keep a chat history inside a token budget. Offline; nothing is sent anywhere.",
)

Source = Annotated[
    str,
    typer.Argument(
        metavar="CHAT",
        help="A JSON array of messages, JSON Lines of messages, or JSON Lines of conversations "
        '({"messages": [...]}); plain or gzip; "-" reads standard input.',
    ),
]
Model = Annotated[
    str | None,
    typer.Option(help="Count tokens as this model does, e.g. gpt-4o; default: o200k_base."),
]


@app.command()
def fit(
    chat: Source,
    budget: Annotated[int, typer.Option(min=1, help="The most a request may cost, in tokens.")],
    model: Model = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            help="The name of a strategy; repeat the option to chain several, in order. "
            "See: ctxwin strategies"
        ),
    ] = None,
    *,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what happened to each message, and why.")
    ] = False,
) -> None:
    """
    Fit a conversation, or each of several, into a budget.

    The fitted messages are written to standard output as JSON. Several conversations are written
    one a line, with their other keys.

    Example: ctxwin fit chat.jsonl --budget 1000 --explain > fitted.json
    """
    chain = strategy or ["drop-oldest"]
    failures = 0
    totals = [0, 0, 0]
    conversations = read_conversations(chat)
    for conversation in showing.progress(conversations):
        try:
            manager = _manager(conversation, budget, model, chain)
            before = manager.total_tokens
            fitted = manager.messages()
        except BudgetError as error:
            failures += 1
            showing.complain(f"{conversation.name} cannot fit: {error}")
            continue
        except (CtxwinError, ValueError) as error:
            failures += 1
            showing.complain(f"{conversation.name}: {error}")
            continue
        showing.write_fitted(conversation, fitted, one_of_many=len(conversations) > 1)
        totals = [totals[0] + 1, totals[1] + before, totals[2] + manager.total_tokens]
        if explain:
            showing.explain(conversation, manager, before)
    done, before, after = totals
    if len(conversations) == 1 and not failures:
        showing.say(f"{before} -> {after} of {budget} tokens")
    else:
        fits = f"{done} of {len(conversations)} conversations fit {budget} tokens"
        showing.say(f"{fits}: {before} -> {after}")
    if failures:
        raise typer.Exit(1)


@app.command()
def count(chat: Source, model: Model = None) -> None:
    """
    Count the tokens of a conversation, or of each of several.

    One JSON object per conversation is written to standard output.

    Example: ctxwin count chat.jsonl --model gpt-4o
    """
    counter: TokenCounter = counter_for(model)
    failed = False
    for conversation in showing.progress(read_conversations(chat)):
        try:
            tools = conversation.fields.get("tools") or ()
            # The manager checks messages and tools; with nothing asked of it, its budget is unused.
            manager = ContextManager(1, counter=counter, tools=tools)
            messages = manager.extend(conversation.fields["messages"])
            wires = [message.to_dict() for message in messages]
            tokens = counter.count_request(wires, manager.tools)
        except (CtxwinError, TypeError) as error:
            failed = True
            showing.complain(f"{conversation.name}: {error}")
            continue
        figures = {"conversation": conversation.name, "messages": len(messages), "tokens": tokens}
        showing.write_json({**figures, "counter": counter.name, "exact": counter.exact})
    if failed:
        raise typer.Exit(1)


@app.command()
def strategies() -> None:
    """List the installed strategies, and where each comes from."""
    table = Table("name", "from", box=None)
    for name, origin in sorted(installed().items()):
        table.add_row(name, Text(origin))
    Console(soft_wrap=True).print(table)


def main() -> None:
    """Run the command line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.showwarning = showing.warn
            app()
    except InputError as error:
        showing.complain(str(error))
        sys.exit(1)


def _manager(
    conversation: Conversation, budget: int, model: str | None, chain: list[str]
) -> ContextManager:
    tools = conversation.fields.get("tools") or ()
    try:
        manager = ContextManager(budget, model=model, strategies=chain, tools=tools)
    except TypeError as error:
        raise ValueError(f"tools: {error}") from error
    manager.extend(conversation.fields["messages"])
    return manager
