"""What can be read of a conversation: the window, its figures, the log. Nothing here changes anything."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from threading import RLock

from ctxwin.hooks.chain import Chain
from ctxwin.log.conversation import Conversation
from ctxwin.pruning.prune import can_fit
from ctxwin.values.errors import CounterError, MessageError
from ctxwin.values.message import Message, read_message
from ctxwin.values.receipt import Preview, Receipt
from ctxwin.values.wire import RESULT_ROLES, Content


def id_of(message: Message | int) -> int:
    """Return the id of a message named by itself or by its id; raises `MessageError` for anything else."""
    if isinstance(message, Message):
        return message.id
    if type(message) is not int:
        raise MessageError(f"name a message by itself or by its id, not by {message!r}")
    return message


class Meters:
    """The reading half of a `ContextManager`; everything that comes out is a copy."""

    def __init__(self, state: Conversation, chain: Chain) -> None:
        self._state = state
        self._chain = chain
        self._lock = RLock()
        self._gate: AbstractContextManager[object] = self._lock  # held to change something

    def __repr__(self) -> str:
        with self._lock:
            try:
                figures = f"{self.total_tokens}/{self.max_tokens} tokens, {len(self)} messages"
            except CounterError:
                figures = f"?/{self.max_tokens} tokens"
            return f"<ContextManager {figures}, {self._chain}>"

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        """Return the number of messages in the window."""
        with self._lock:
            self._state.window.settle()
            return sum(len(unit.messages) for unit in self._state.window.units)

    def __iter__(self) -> Iterator[Message]:
        """Iterate over the messages of the window as it is, oldest first."""
        with self._lock:
            self._state.window.settle()
            units = tuple(self._state.window.units)
        return iter([message.clone() for unit in units for message in unit.messages])

    @property
    def max_tokens(self) -> int:
        """The input budget, in tokens."""
        return self._state.budget.max_tokens

    @property
    def total_tokens(self) -> int:
        """The cost of the present window, tools and priming included."""
        with self._lock:
            return self._state.total_tokens

    @property
    def remaining_tokens(self) -> int:
        """The budget minus the cost of the present window; may be negative before a prune."""
        return self.max_tokens - self.total_tokens

    @property
    def should_prepare(self) -> bool:
        """Whether the window costs more than the budget's soft mark: time to `prepare` a summary ahead."""
        soft = self._state.budget.soft
        return soft is not None and self.total_tokens > soft * self.max_tokens

    @property
    def conversation_history(self) -> tuple[Message, ...]:
        """The whole log held in memory, oldest first, what left the window included."""
        with self._lock:
            return tuple(entry.message.clone() for entry in self._state.history.entries.values())

    @property
    def last_receipt(self) -> Receipt | None:
        """What the last prune did; None before the first."""
        return self._state.last_receipt

    @property
    def left_out(self) -> tuple[Message, ...]:
        """Messages that no window may hold: open tool exchanges, and results without their call."""
        with self._lock:
            return tuple(message.clone() for message in self._state.history.left_out())

    def preview(self, content: Content, role: str = "user") -> Preview:
        """
        Return what sending a draft would mean; changes nothing.

        Raises `MessageError`: the draft is malformed, or of a role that only answers a call.
        """
        wire = read_message({"role": role, "content": content})
        if role in RESULT_ROLES:
            raise MessageError(f"role: a draft cannot be a result, this one's role is {role!r}")
        with self._lock:
            tokens, total, snapshot = self._state.try_out(wire)
        over = total > self.max_tokens
        fits = not over or can_fit(self._state, self._chain, snapshot, owner=self)
        return Preview(tokens, total, self.max_tokens - total, over, fits)
