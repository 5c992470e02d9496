"""
The command line: `ctxwin fit | count | strategies`.

Results go to standard output as JSON, everything for the human (table, progress, errors) to
standard error. Exit codes: 0 all done, 1 bad input or a conversation that cannot fit (the rest is
still written), 2 a wrong command.
"""

import gzip
import json
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

try:
    import typer
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table
    from rich.text import Text
except ImportError as error:  # pragma: no cover - the tests have the extra
    sys.exit(f"the command line needs an extra: pip install 'ctxwin[cli]' ({error})")

from ctxwin import BudgetError, ContextManager, CtxwinError, Message
from ctxwin.counting import TokenCounter, counter_for
from ctxwin.hooks.installed import installed

GZIP_MAGIC = b"\x1f\x8b"
SHOWN_CHARACTERS = 80
LONG_INPUT = 20  # conversations from which a progress bar is worth its line

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Keep a chat history inside a token budget. Offline; nothing is sent anywhere.",
)
err = Console(stderr=True, highlight=False, soft_wrap=True)

Source = Annotated[
    str,
    typer.Argument(
        metavar="CHAT",
        help="A JSON array of messages, JSON Lines of messages, or JSON Lines of conversations "
        '({"messages": [...]}); plain or gzip; "-" reads standard input.',
    ),
]
Model = Annotated[
    str | None, typer.Option(help="Whose tokens to count, e.g. gpt-4o; default: o200k_base.")
]


class InputError(Exception):
    """The input cannot be read; the text says where and why."""


@dataclass
class Conversation:
    """One conversation of the input: its name in messages to the human, and its JSON object."""

    name: str
    fields: dict[str, Any]
    bare: bool  # a list of messages, not an object with a key "messages"


@app.command()
def fit(
    chat: Source,
    budget: Annotated[int, typer.Option(min=1, help="The most a request may cost, in tokens.")],
    model: Model = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            help="A strategy by name; give several to chain them, left to right. See: ctxwin strategies"
        ),
    ] = None,
    *,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show message by message what was kept, and why.")
    ] = False,
) -> None:
    """
    Fit a conversation, or each of many, into a budget.

    The fitted messages are written to standard output as JSON; several conversations one a line,
    other keys kept.

    Example: ctxwin fit chat.jsonl --budget 1000 --strategy clear-tool-results --explain >
    fitted.json
    """
    chain = strategy or ["drop-oldest"]
    failures = 0
    totals = [0, 0, 0]
    conversations = _read(chat)
    for conversation in _progress(conversations):
        try:
            manager = _manager(conversation, budget, model, chain)
            before = manager.total_tokens
            fitted = manager.messages()
        except BudgetError as error:
            failures += 1
            _complain(f"{conversation.name} cannot fit: {error}")
            continue
        except (CtxwinError, ValueError) as error:
            failures += 1
            _complain(f"{conversation.name}: {error}")
            continue
        _write(conversation, fitted, one_of_many=len(conversations) > 1)
        totals = [totals[0] + 1, totals[1] + before, totals[2] + manager.total_tokens]
        if explain:
            _explain(conversation, manager, before)
    summary = f"{totals[0]} of {len(conversations)} conversations fit {budget} tokens: {totals[1]} -> {totals[2]}"
    err.print(
        summary
        if len(conversations) != 1 or failures
        else f"{totals[1]} -> {totals[2]} of {budget} tokens"
    )
    if failures:
        raise typer.Exit(1)


@app.command()
def count(chat: Source, model: Model = None) -> None:
    """
    Count the tokens of a conversation, or of each of many.

    One JSON object a conversation is written to standard output.

    Example: ctxwin count chat.jsonl --model gpt-4o
    """
    counter: TokenCounter = counter_for(model)
    failed = False
    for conversation in _progress(_read(chat)):
        try:
            manager = ContextManager(
                1, counter=counter, tools=conversation.fields.get("tools") or ()
            )
            messages = manager.extend(conversation.fields["messages"])
            tokens = counter.count_request(
                [message.to_dict() for message in messages], manager.tools
            )
        except (CtxwinError, TypeError) as error:
            failed = True
            _complain(f"{conversation.name}: {error}")
            continue
        figures = {"conversation": conversation.name, "messages": len(messages), "tokens": tokens}
        _print_json({**figures, "counter": counter.name, "exact": counter.exact})
    if failed:
        raise typer.Exit(1)


@app.command()
def strategies() -> None:
    """List the strategies that are installed, and where they come from."""
    table = Table("name", "from", box=None)
    for name, origin in sorted(installed().items()):
        table.add_row(name, Text(origin))
    Console(soft_wrap=True).print(table)


def main() -> None:
    """Run the command line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.showwarning = _warn
            app()
    except InputError as error:
        _complain(str(error))
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


def _read(source: str) -> list[Conversation]:
    """Read the input, whatever its form."""
    try:
        raw = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        data = gzip.decompress(raw) if raw.startswith(GZIP_MAGIC) else raw
        text = data.decode("utf-8-sig")
    except (OSError, EOFError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        raise InputError(f"cannot read {source}: {error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{source} is not UTF-8: {error}") from error
    items = list(_parse(text, source))
    if not items:
        raise InputError(f"{source} holds no messages")
    name = "standard input" if source == "-" else Path(source).name
    if all("messages" in item for item in items):
        return [_conversation(item, f"{name}, conversation {n}") for n, item in enumerate(items, 1)]
    mixed = next((n for n, item in enumerate(items, 1) if "messages" in item), None)
    if mixed is not None:
        raise InputError(f"{source}: item {mixed} is a conversation among messages")
    return [Conversation(name, {"messages": items}, bare=True)]


def _parse(text: str, source: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON document, or of JSON Lines."""
    try:
        document = json.loads(text)
        items = document if isinstance(document, list) else [document]
    except ValueError:
        items = list(_parse_lines(text, source))
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict):
            raise InputError(f"{source}: item {number} is {type(item).__name__}, not an object")
        yield item


def _parse_lines(text: str, source: str) -> Iterator[object]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise InputError(f"{source}, line {number}: not JSON: {error}") from error


def _conversation(fields: dict[str, Any], name: str) -> Conversation:
    if not isinstance(fields["messages"], list):
        raise InputError(
            f"{name}: messages must be a list, not {type(fields['messages']).__name__}"
        )
    label = fields.get("id")
    return Conversation(f"{name} ({label})" if label is not None else name, fields, bare=False)


def _progress(conversations: list[Conversation]) -> Iterator[Conversation]:
    """Iterate, with a progress bar for long input on a terminal."""
    if len(conversations) < LONG_INPUT or not err.is_terminal:
        yield from conversations
    else:
        yield from track(conversations, description="conversations", console=err, transient=True)


def _write(conversation: Conversation, fitted: list[dict[str, Any]], *, one_of_many: bool) -> None:
    if conversation.bare:
        _print_json(fitted, indent=None if one_of_many else 1)
    else:
        _print_json({**conversation.fields, "messages": fitted}, indent=None if one_of_many else 1)


def _print_json(value: object, indent: int | None = None) -> None:
    try:
        line = json.dumps(value, ensure_ascii=False, indent=indent).encode()
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8, but JSON can escape it
        line = json.dumps(value, indent=indent).encode()
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    err.print(f"warning: {message}", style="yellow", markup=False)


def _complain(text: str) -> None:
    err.print(f"error: {text}", style="red", markup=False)


def _explain(conversation: Conversation, manager: ContextManager, before: int) -> None:
    """Show what became of each message."""
    title = (
        f"{conversation.name}: {before} -> {manager.total_tokens} of {manager.max_tokens} tokens"
    )
    table = Table(title=Text(title), title_justify="left", box=None, expand=True)
    table.add_column("", no_wrap=True, min_width=9)
    table.add_column("role", no_wrap=True, min_width=9)
    table.add_column("message", no_wrap=True, ratio=3)
    table.add_column("why", ratio=2)
    reasons = _reasons(manager)
    window = {message.id for message in manager}
    for message in manager.conversation_history:
        kind, why = reasons.get(message.id, ("keep", "pinned" if message.pinned else ""))
        mark = "" if message.id in window else "dim"
        table.add_row(kind, message.role, Text(_excerpt(message)), Text(why), style=mark)
    err.print(table)
    receipt = manager.last_receipt
    for rejection in receipt.rejected if receipt else ():
        err.print(
            f"{rejection.strategy}: not applied ({rejection.law}): {rejection.reason}", markup=False
        )


def _reasons(manager: ContextManager) -> dict[int, tuple[str, str]]:
    """Return message id -> what was done with it, and why."""
    left_out = {
        message.id: ("leave-out", "its tool exchange is incomplete") for message in manager.left_out
    }
    receipt = manager.last_receipt
    done = {
        message_id: (action.kind, f"{action.strategy}: {action.reason}")
        for action in (receipt.actions if receipt else ())
        for message_id in action.message_ids
    }
    return left_out | done


def _excerpt(message: Message) -> str:
    calls = ", ".join(
        (call.get("function") or call["custom"])["name"] for call in message.tool_calls
    )
    content = message.content
    text = (
        content
        if isinstance(content, str)
        else json.dumps(content, ensure_ascii=False)
        if content
        else ""
    )
    line = " ".join(f"{f'calls {calls} ' if calls else ''}{text}".split())
    shown = line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 3] + "..."
    return shown.encode("utf-8", "replace").decode()
