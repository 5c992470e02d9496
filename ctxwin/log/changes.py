"""
Everything that can happen to a conversation, as values.

A change says what happens, whole. `Conversation.apply` checks it and then carries it out, or
changes nothing. A plain manager applies a change as it is made; a session stores it first. All
fields hold JSON values (or tuples of them), so that a change can be written down and read back.

| change | what happens |
|---|---|
| Append | the log gains a message |
| Pin | a message is pinned or unpinned |
| Rewind | the log loses its tail |
| Cut | units leave the window, are replaced by written messages, or are edited |
| Learn | a bill has taught what requests really cost |
| SetTools | other tool schemas are sent from now on |
| Forget | what has left the window is released from memory |
| Restore | the whole conversation becomes what a saved state says |
| Refit | the window is the whole log again: what cuts, edits, summaries and bills made is void |
| SetOptions | this process fits the conversation into another budget, or counts it anew |

`SetTools`, `Forget` and `SetOptions` concern one process alone and are never written down.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ctxwin.counting.costs import Costs
from ctxwin.values.budget import Budget
from ctxwin.values.wire import Content, Wire


@dataclass(frozen=True, slots=True)
class Append:
    """
    A message joins the log.

    Attributes:
        id: the message's id, above every id before it.
        message: the message as it is sent.
        pinned: whether it is pinned from the start.
        tokens: its uncorrected cost where that is known; None: to be counted when it is needed.
    """

    id: int
    message: Wire
    pinned: bool = False
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Pin:
    """A message of the log, or a written one, is pinned (or with False unpinned)."""

    id: int
    pinned: bool


@dataclass(frozen=True, slots=True)
class Rewind:
    """The log loses this message and everything behind it."""

    id: int


@dataclass(frozen=True, slots=True)
class Written:
    """
    A message that a strategy wrote, such as a summary.

    Attributes:
        id: its id, above every id before it.
        message: the message as it is sent.
        sources: the ids of the log's messages that it stands for, ascending.
        source_hash: `hash_of` of what it was made from.
        tokens: its uncorrected cost; None: to be counted now.
        pinned: whether it was pinned since.
    """

    id: int
    message: Wire
    sources: tuple[int, ...]
    source_hash: str = ""
    tokens: int | None = None
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Edited:
    """A message of the log is shown with other content; `tokens` as in `Written`."""

    id: int
    content: Content
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """
    What a prune or a commit makes of the window.

    Attributes:
        gone: first ids of the units that leave the window, of the log and written ones.
        written: the messages that enter it, in ascending order of their ids.
        edits: the messages that are shown with other content.
        request_gap: what `count_request` says of the new window, minus the sum of its messages.
        failures: strategy name -> (failures in a row, length of the log until which it rests).
        settled: whether a whole prune ended in it, so that another one would do nothing more.
    """

    gone: tuple[int, ...] = ()
    written: tuple[Written, ...] = ()
    edits: tuple[Edited, ...] = ()
    request_gap: int = 0
    failures: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Learn:
    """
    Requests cost so many tokens more than the count, and an estimate is scaled so (thousandths).

    Negative hidden tokens: they cost less. `Learn(0, 1000)` takes back whatever bills have taught.
    """

    hidden_tokens: int
    scale: int


@dataclass(frozen=True, slots=True)
class SetTools:
    """Other tool schemas are sent with each request."""

    tools: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Forget:
    """
    What has left the window is released from memory.

    Attributes:
        held: ids of messages that stay, for somebody else still holds them.
    """

    held: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class Restore:
    """The conversation becomes what a state says that `to_dict` returned."""

    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refit:
    """
    The window becomes the whole log that is held: the next prune derives it anew.

    What had left comes back, edits are undone, written messages go, and so does what bills taught.
    """


@dataclass(frozen=True, slots=True)
class SetOptions:
    """
    Another budget and other costs hold from now on, right behind a `Refit`.

    Attributes:
        budget: the budget.
        costs: the costs.
        model: the model that the conversation is for now.
        counts: id -> what a message of the log costs by these, as far as that is known.
    """

    budget: Budget
    costs: Costs
    model: str | None = None
    counts: Mapping[int, int | None] = field(default_factory=dict)


Change: TypeAlias = (
    Append | Pin | Rewind | Cut | Learn | SetTools | Forget | Restore | Refit | SetOptions
)
