"""
What the command line writes: JSON to standard output, and text for people to standard error.

Both may go to a terminal, and what they quote is foreign: no control character of a conversation,
of a file's name or of a plugin gets there as it is.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from ctxwin import BudgetError, ContextManager, Message
from ctxwin.cli.reading import TOO_DEEP, Conversation

SHOWN_CHARACTERS = 80
LONG_INPUT = 20  # the number of conversations from which a progress bar is worth showing

# What a terminal may act on: C0, DEL and C1, which begin its commands, and what turns the direction
# of the text around it. Lone surrogates cannot be written at all.
UNSEEN = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
BEYOND_ASCII = re.compile("[\x7f-\x9f]")  # those of the controls that JSON need not escape


def console(**where: Any) -> Console:
    """Return a console that shows texts as they are."""
    return Console(highlight=False, soft_wrap=True, markup=False, emoji=False, **where)


err = console(stderr=True)


def visible(text: str) -> str:
    r"""Return a text with escapes, such as `\x1b`, for what would act on a terminal."""
    return UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def progress(conversations: Sequence[Conversation]) -> Iterator[Conversation]:
    """Yield the conversations, with a progress bar for long input on a terminal."""
    if len(conversations) < LONG_INPUT or not err.is_terminal:
        yield from conversations
    else:
        yield from track(conversations, description="conversations", console=err, transient=True)


def write_fitted(
    conversation: Conversation, fitted: list[dict[str, Any]], *, one_of_many: bool
) -> None:
    """Write a fitted conversation in the form it came in: one line if there are several."""
    value = fitted if conversation.bare else {**conversation.fields, "messages": fitted}
    write_json(value, indent=None if one_of_many else 1)


def write_failed(fields: dict[str, Any], error: Exception) -> None:
    """Write the line of a conversation that failed: its fields, and what went wrong."""
    failed = failure(error)
    try:
        write_json({**fields, "messages": None, "error": failed})
    except RecursionError:  # its own fields are what cannot be written
        write_json({"messages": None, "error": failed})


def failure(error: Exception) -> dict[str, Any]:
    """Return what went wrong, as JSON."""
    found: dict[str, Any] = {"type": type(error).__name__, "message": why(error)}
    if isinstance(error, BudgetError):
        found["required_tokens"] = error.required_tokens
        found["budget_tokens"] = error.budget_tokens
    return found


def why(error: Exception) -> str:
    """Return what went wrong, as text."""
    return TOO_DEEP if isinstance(error, RecursionError) else str(error)


def write_json(value: object, indent: int | None = None) -> None:
    """
    Write a value to standard output.

    Raises `RecursionError`: it is nested too deeply; nothing was written.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    # Outside of strings JSON has no such character, and within them each may be escaped.
    text = BEYOND_ASCII.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    try:
        line = text.encode()
    except UnicodeEncodeError:  # UTF-8 cannot hold a lone surrogate, but JSON can escape it
        line = json.dumps(value, indent=indent).encode()
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def warn(message: Warning | str, *_: object, **__: object) -> None:
    """Show a warning in one line, in place of `warnings.showwarning`."""
    err.print(visible(f"warning: {message}"), style="yellow")


def complain(text: str) -> None:
    """Show an error in one line."""
    err.print(visible(f"error: {text}"), style="red")


def say(text: str) -> None:
    """Show a line of information."""
    err.print(visible(text))


def explain(conversation: Conversation, manager: ContextManager, before: int) -> None:
    """
    Show a table of what happened to each message, and below it the plans that were rejected.

    Args:
        conversation: the conversation.
        manager: the manager that fitted it.
        before: the tokens it cost before.
    """
    err.print(_table(conversation, manager, before))
    receipt = manager.last_receipt
    for rejection in receipt.rejected if receipt else ():
        say(f"{rejection.strategy}: not applied ({rejection.law}): {rejection.reason}")


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Show a table to a person."""
    table = Table(*header, box=None)
    for row in rows:
        table.add_row(*map(cell, row))
    err.print(table)


def _table(conversation: Conversation, manager: ContextManager, before: int) -> Table:
    tokens = f"{before} -> {manager.total_tokens} of {manager.max_tokens} tokens"
    title = cell(f"{shortened(conversation.name)}: {tokens}")
    table = Table(title=title, title_justify="left", box=None, expand=True)
    table.add_column("", no_wrap=True, min_width=9)
    table.add_column("role", no_wrap=True, min_width=9)
    table.add_column("message", no_wrap=True, ratio=3)
    table.add_column("why", ratio=2)
    reasons = _reasons(manager)
    window = {message.id for message in manager}
    for message in manager.conversation_history:
        kind, reason = reasons.get(message.id, ("keep", "pinned" if message.pinned else ""))
        style = "" if message.id in window else "dim"
        excerpt = shortened(_excerpt(message))
        table.add_row(kind, message.role, cell(excerpt), cell(reason), style=style)
    return table


def cell(text: str) -> Text:
    """Return a text for a table, in which square brackets are no markup."""
    return Text(visible(text))


def shortened(text: str) -> str:
    """Return the beginning of a text, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 3] + "..."


def _reasons(manager: ContextManager) -> dict[int, tuple[str, str]]:
    """Return message id -> what was done with it, and why."""
    why = "its tool exchange is incomplete, or it says nothing"
    left_out = {message.id: ("leave-out", why) for message in manager.left_out}
    receipt = manager.last_receipt
    done = {
        message_id: (action.kind, f"{action.strategy}: {action.reason}")
        for action in (receipt.actions if receipt else ())
        for message_id in action.message_ids
    }
    return left_out | done


def _excerpt(message: Message) -> str:
    """Return what a message says, its calls first."""
    names = [(call.get("function") or call["custom"])["name"] for call in message.tool_calls]
    calls = f"calls {', '.join(names)} " if names else ""
    return f"{calls}{_text(message)}"


def _text(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    return json.dumps(message.content, ensure_ascii=False) if message.content else ""
