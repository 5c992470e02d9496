"""
The commands: `ctxwin fit | count | strategies`.

Results go to standard output as JSON, one line per conversation. Everything for people (table,
progress, errors) goes to standard error. Exit codes: 0, all done; 1, bad input or a conversation
that cannot fit (the others are still written); 2, a wrong command line.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points, version
from inspect import cleandoc
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from ctxwin import Budget, BudgetError, ContextManager, CtxwinError, MessageError
from ctxwin.cli import showing
from ctxwin.cli.reading import Conversation, InputError, read_conversations
from ctxwin.counting import TokenCounter, counter_for
from ctxwin.hooks.installed import installed, load
from ctxwin.values.errors import describe

COMMANDS = "ctxwin.commands"  # entry points: the name of a command -> a function or a typer app

app = typer.Typer(
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


@dataclass(frozen=True)
class Fitted:
    """A conversation that fits: its window, and what it cost before and costs now, in tokens."""

    manager: ContextManager
    messages: list[Any]
    before_tokens: int
    after_tokens: int


@app.callback(invoke_without_command=True)
def ctxwin(
    context: typer.Context,
    *,
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.")
    ] = False,
) -> None:
    """Keep a chat history inside a token budget. Offline; nothing is sent anywhere."""
    if show_version:
        typer.echo(f"ctxwin {version('ctxwin')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


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
    low: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="How deep to cut: down to this share of what the budget leaves beyond the "
            "messages that must be kept; 1 cuts to just fit.",
        ),
    ] = 0.7,
    *,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what happened to each message, and why.")
    ] = False,
) -> None:
    """
    Fit a conversation, or each of several, into a budget.

    The fitted messages are written to standard output as JSON. Several conversations are written
    one a line, with their other keys; of one that cannot fit, "messages" is null, and "error" says
    why.

    Example: ctxwin fit chat.jsonl --budget 1000 --explain > fitted.json
    """
    new = _checked(budget, low, model, strategy or ["drop-oldest"])
    conversations = _read(chat)
    done: list[Fitted] = []
    for conversation in showing.progress(conversations):
        try:
            fitted = _fit(conversation, new)
            showing.write_fitted(conversation, fitted.messages, one_of_many=len(conversations) > 1)
        except (CtxwinError, InputError, RecursionError) as error:
            cannot = " cannot fit" if isinstance(error, BudgetError) else ""
            showing.complain(f"{conversation.name}{cannot}: {showing.why(error)}")
            showing.write_failed({} if conversation.bare else conversation.fields, error)
            continue
        done.append(fitted)
        if explain:
            showing.explain(conversation, fitted.manager, fitted.before_tokens)
    before, after = (
        sum(fitted.before_tokens for fitted in done),
        sum(fitted.after_tokens for fitted in done),
    )
    if len(conversations) > 1:
        fits = f"{len(done)} of {len(conversations)} conversations fit {budget} tokens"
        showing.say(f"{fits}: {before} -> {after}")
    elif done:
        showing.say(f"{before} -> {after} of {budget} tokens")
    if len(done) < len(conversations):
        raise typer.Exit(1)


@app.command()
def count(chat: Source, model: Model = None) -> None:
    """
    Count the tokens of a conversation, or of each of several.

    One JSON object per conversation is written to standard output.

    Example: ctxwin count chat.jsonl --model gpt-4o
    """
    found = []
    for figures in counted(chat, model):
        showing.write_json(figures)
        found.append(figures["tokens"])
    known = [tokens for tokens in found if tokens is not None]
    if len(found) > 1:
        showing.say(f"{len(known)} of {len(found)} conversations counted: {sum(known)} tokens")
    if len(known) < len(found):
        raise typer.Exit(1)


def counted(chat: str, model: str | None) -> Iterator[dict[str, Any]]:
    """
    Yield the figures of each conversation of the input, as `ctxwin count` writes them.

    What is wrong with one is shown, and stands under "error"; its "tokens" are then None. Where the
    input cannot be read at all, the process ends.

    Args:
        chat: a file, or "-" for standard input.
        model: whose tokens to count; None for o200k_base.
    """
    counter: TokenCounter = counter_for(model)
    for conversation in showing.progress(_read(chat)):
        named = {"conversation": conversation.name}
        try:
            # The manager checks messages and tools; with nothing asked of it, its budget is unused.
            manager = ContextManager(1, counter=counter)
            _fill(manager, conversation)
            wires = [message.to_dict() for message in manager.conversation_history]
            tokens = counter.count_request(wires, manager.tools)
        except (CtxwinError, InputError, RecursionError) as error:
            showing.complain(f"{conversation.name}: {showing.why(error)}")
            failed = showing.failure(error)
            yield {**named, "tokens": None, "messages": None, "error": failed}
            continue
        figures = {**named, "messages": len(conversation.messages), "tokens": tokens}
        yield {**figures, "counter": counter.name, "exact": counter.exact}


@app.command()
def strategies() -> None:
    """List the installed strategies: what each does, and where it comes from."""
    table = Table("name", "what it does", Column("from", overflow="fold"), box=None)
    for name, origin in sorted(installed().items()):
        table.add_row(*map(showing.cell, (name, _purpose(name), origin)))
    showing.console().print(table)


def main() -> None:
    """Run the command line."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = showing.warn
        try:
            _add_installed()
            # Not as typer would do it: its own errors show arguments as they are, such as the
            # names of files.
            code = app(standalone_mode=False)
        except typer.Abort:
            code = 130
        except Exception as error:
            if not hasattr(error, "format_message"):  # of click, in whichever package it comes
                raise
            showing.complain(f"{error.format_message()} (see: ctxwin --help)")
            code = 2
    sys.exit(code)


@cache
def _add_installed() -> None:
    """Add the commands of plugins; one that cannot be had is shown, and the others work."""
    known = {"fit", "count", "strategies"}
    for entry in sorted(entry_points(group=COMMANDS), key=lambda entry: entry.name):
        try:
            if entry.name in known:
                raise LookupError("there is one of that name")
            found = _checked_command(entry.load())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code may raise anything
            showing.complain(f"the command {entry.name!r} cannot be used: {describe(error)}")
            continue
        known.add(entry.name)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=entry.name)
        else:
            app.command(entry.name)(found)


def _checked_command(found: Any) -> Any:
    """Return a command if typer can take it; what it cannot would break every other one later."""
    if not callable(found):
        raise TypeError("it is neither a function nor an app of typer")
    made = found
    if not isinstance(found, typer.Typer):
        made = typer.Typer()
        made.command()(found)
    typer.main.get_command(made)
    return found


def _checked(
    budget: int, low: float, model: str | None, chain: list[str]
) -> Callable[[], ContextManager]:
    """Return a function that makes managers; or end the process, if options are wrong."""

    def new() -> ContextManager:
        return ContextManager(
            budget=Budget(budget, low=low), counter=counter_for(model), strategies=chain
        )

    try:
        new()
    except (CtxwinError, ValueError) as error:
        showing.complain(str(error))
        raise typer.Exit(2) from error
    return new


def _read(source: str) -> list[Conversation]:
    """Return the conversations of the input; or end the process, if it cannot be read."""
    try:
        return read_conversations(source)
    except InputError as error:
        showing.complain(str(error))
        raise typer.Exit(1) from error


def _fit(conversation: Conversation, new: Callable[[], ContextManager]) -> Fitted:
    manager = new()
    extra = _fill(manager, conversation)
    before = manager.total_tokens
    return Fitted(manager, manager.messages()[extra:], before, manager.total_tokens)


def _fill(manager: ContextManager, conversation: Conversation) -> int:
    """
    Give a manager the tools and messages of a conversation.

    Returns:
        How many of the window's first messages are none of the conversation's: 1 where a system
        prompt stands beside the messages, as in the body of a request to Anthropic. It is counted
        as a system message.

    Raises:
        InputError: something of it is malformed; the text says which message.
    """
    messages = conversation.messages
    try:
        manager.tools = conversation.fields.get("tools") or ()
    except TypeError as error:
        raise InputError(f"tools: {error}") from error
    system = conversation.fields.get("system")
    beside = [("system", {"role": "system", "content": system})] if system else []
    for place, message in [*beside, *messages]:
        try:
            manager.append(message)
        except MessageError as error:
            raise InputError(f"{place}: {error}") from error
    return len(beside)


def _purpose(name: str) -> str:
    """Return what an installed strategy does: the first line of its docstring."""
    try:
        strategy = load(name)
    except (CtxwinError, ValueError) as error:
        return str(error)
    return cleandoc(strategy.__doc__ or "").partition("\n")[0]
