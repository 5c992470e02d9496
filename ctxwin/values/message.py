"""
Messages: checked when they come in, never changed afterwards.

A `Message` wraps a *wire dict* (`ctxwin.values.wire`) that nobody else holds, and hands out copies:
no caller and no strategy ever holds live state. Beside it stands what only a message can tell:
which calls it makes, which call it answers, and the hash of what a summary was made from.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ctxwin.values.wire import FIELDS, Content, Wire, copy_json, read_stored, read_wire
from ctxwin.values.wire import says_nothing as wire_says_nothing


@dataclass(frozen=True, slots=True)
class Message:
    """
    One message of a log or a window.

    Attributes:
        id: a number that grows with every message and is never reused.
        pinned: never dropped or edited; True from the start for system and developer messages.
        sources: for a written message (a summary), the ids of the messages that it covers,
            ascending; `()` for a message of the log.
        source_hash: for a written message, the `hash_of` the messages it was made from, as the
            window showed them then; `""` for a message of the log.
    """

    id: int
    _wire: Wire
    pinned: bool = False
    sources: tuple[int, ...] = ()
    source_hash: str = ""
    # The keys whose values a copy must copy too. Found on the first copy, then handed on to clones:
    # most messages have none, and windows are copied on every turn.
    _nested: tuple[str, ...] | None = field(default=None, compare=False)

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        content = self._wire.get("content")
        text = content if isinstance(content, str) else str(content)
        shown = repr(text if len(text) <= 40 else text[:37] + "...")
        return f"<Message {self.id} {self.role} {shown}{' pinned' if self.pinned else ''}>"

    @property
    def role(self) -> str:
        """`system`, `developer`, `user`, `assistant`, `tool` or `function`."""
        role: str = self._wire["role"]
        return role

    @property
    def content(self) -> Content:
        """Text, a list of content parts (a copy), or None."""
        content: Content = copy_json(self._wire.get("content"))
        return content

    @property
    def name(self) -> str | None:
        """The participant's or the function's name."""
        name: str | None = self._wire.get("name")
        return name

    @property
    def tool_calls(self) -> tuple[dict[str, Any], ...]:
        """The calls of an assistant message (copies); `()` if it has none."""
        return tuple(copy_json(self._wire.get("tool_calls") or []))

    @property
    def tool_call_id(self) -> str | None:
        """The id of the call that a tool message answers."""
        call: str | None = self._wire.get("tool_call_id")
        return call

    @property
    def extra(self) -> dict[str, Any]:
        """Every other key of the message (a copy)."""
        return {key: copy_json(value) for key, value in self._wire.items() if key not in FIELDS}

    def to_dict(self) -> Wire:
        """Return the message as it is sent, key for key what came in; a fresh object."""
        wire = self._wire.copy()
        if self._nested is None:
            nested = tuple([key for key, value in wire.items() if isinstance(value, dict | list)])
            object.__setattr__(self, "_nested", nested)
        for key in self._nested or ():
            wire[key] = copy_json(wire[key])
        return wire

    def clone(self) -> "Message":
        """Return an equal message that shares nothing with this one."""
        return Message(
            self.id, self.to_dict(), self.pinned, self.sources, self.source_hash, self._nested
        )

    def with_content(self, content: Content) -> "Message":
        """Return the message with other content; raises `MessageError` if that is malformed."""
        wire = read_stored({**self._wire, "content": content})
        return Message(self.id, wire, self.pinned, self.sources, self.source_hash)


def to_dicts(messages: Iterable[Message]) -> list[Wire]:
    """Return messages as they are sent, as fresh objects: the `to_dict()` of each."""
    return [
        one._wire.copy() if one._nested == () else one.to_dict()  # noqa: SLF001 - saves a call
        for one in messages
    ]


def hash_of(messages: Iterable[Message]) -> str:
    """
    Return the hash of a set of messages of one log, as 64 hexadecimal digits.

    It is the sum, modulo 2 ** 256, of one SHA-256 per message, taken over its id and wire dict. A
    written message counts as the messages it was made from. So a summary of summaries has the hash
    of all the log's messages that it covers.
    """
    import hashlib  # noqa: PLC0415 - needed for summaries only
    import json  # noqa: PLC0415 - needed for summaries only

    # A sum, not a hash of hashes: it does not depend on how the messages were grouped.
    total = 0
    for message in messages:
        digest = message.source_hash
        if not message.sources:
            digest = hashlib.sha256(
                json.dumps([message.id, message.to_dict()], sort_keys=True).encode()
            ).hexdigest()
        total += int(digest or "0", 16)
    return f"{total % 2**256:064x}"


def call_keys(message: Message) -> list[str]:
    """
    Return the key of each call of a message; its result has the same `answer_key`.

    The key holds the call's id. It is `""` for a call without an id, whose result is paired by
    position, and `"()"` for a legacy `function_call`.
    """
    wire = message._wire  # noqa: SLF001 - read only; a copy would be made for every message
    calls = wire.get("tool_calls")
    if calls:
        return [f"id:{call['id']}" if call.get("id") else "" for call in calls]
    return ["()"] if wire.get("function_call") else []


def answer_key(message: Message) -> str:
    """Return the key of the call that a result answers, as `call_keys` gives it."""
    if message.role == "function":
        return "()"
    return f"id:{message.tool_call_id}" if message.tool_call_id else ""


def says_nothing(message: Message) -> bool:
    """Return whether a message has neither calls nor content, so that APIs refuse it."""
    return wire_says_nothing(message._wire)  # noqa: SLF001 - read only, as above


def read_message(message: object, *, incomplete: bool = False) -> Wire:
    """
    Copy a caller's message (a `Message`, a mapping or an SDK object) into a wire dict of our own.

    Raises `MessageError`, as `read_wire` does; `incomplete` as there.
    """
    given = message.to_dict() if isinstance(message, Message) else message
    return read_wire(given, incomplete=incomplete)
