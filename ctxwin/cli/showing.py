"""What the command line writes: JSON to standard output, and text for people to standard error."""

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from ctxwin import ContextManager, Message
from ctxwin.cli.reading import Conversation

SHOWN_CHARACTERS = 80
LONG_INPUT = 20  # the number of conversations from which a progress bar is worth showing

err = Console(stderr=True, highlight=False, soft_wrap=True)


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


def write_json(value: object, indent: int | None = None) -> None:
    """Write a value to standard output."""
    try:
        line = json.dumps(value, ensure_ascii=False, indent=indent).encode()
    except UnicodeEncodeError:  # UTF-8 cannot hold a lone surrogate, but JSON can escape it
        line = json.dumps(value, indent=indent).encode()
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def warn(message: Warning | str, *_: object, **__: object) -> None:
    """Show a warning in one line, in place of `warnings.showwarning`."""
    err.print(f"warning: {message}", style="yellow", markup=False)


def complain(text: str) -> None:
    """Show an error."""
    err.print(f"error: {text}", style="red", markup=False)


def say(text: str) -> None:
    """Show a line of information."""
    err.print(text)


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
        why = f"not applied ({rejection.law}): {rejection.reason}"
        err.print(f"{rejection.strategy}: {why}", markup=False)


def _table(conversation: Conversation, manager: ContextManager, before: int) -> Table:
    tokens = f"{before} -> {manager.total_tokens} of {manager.max_tokens} tokens"
    # Text, not str: square brackets in a name or message are no markup of rich.
    title = Text(f"{conversation.name}: {tokens}")
    table = Table(title=title, title_justify="left", box=None, expand=True)
    table.add_column("", no_wrap=True, min_width=9)
    table.add_column("role", no_wrap=True, min_width=9)
    table.add_column("message", no_wrap=True, ratio=3)
    table.add_column("why", ratio=2)
    reasons = _reasons(manager)
    window = {message.id for message in manager}
    for message in manager.conversation_history:
        kind, why = reasons.get(message.id, ("keep", "pinned" if message.pinned else ""))
        style = "" if message.id in window else "dim"
        table.add_row(kind, message.role, Text(_excerpt(message)), Text(why), style=style)
    return table


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
    """Return the beginning of a message in one line, its calls first."""
    names = [(call.get("function") or call["custom"])["name"] for call in message.tool_calls]
    calls = f"calls {', '.join(names)} " if names else ""
    line = " ".join(f"{calls}{_text(message)}".split())
    shown = line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 3] + "..."
    return shown.encode("utf-8", "replace").decode()


def _text(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    return json.dumps(message.content, ensure_ascii=False) if message.content else ""
