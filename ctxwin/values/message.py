"""
Messages: validated when they come in, frozen ever after.

A message comes in as an OpenAI-style mapping (or an SDK object) and is copied into a plain *wire
dict* by `read_message`, the only door. `Message` wraps a wire dict of its own and hands out copies,
so that no caller and no strategy ever holds live state.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ctxwin.values.wire import FIELDS, Content, Wire, copy_json, read_wire


@dataclass(frozen=True, slots=True)
class Message:
    """
    One message of a log or a window.

    Attributes:
        id: a number that grows with every message and is never reused.
        pinned: never dropped or edited; true from the start for system and developer messages.
        sources: ids of the messages that a written message (a summary) covers, ascending; `()` for
            a message of the log.
        source_hash: `hash_of` what a written message was made from, as the window showed it then;
            else `""`.
    """

    id: int
    _wire: Wire
    pinned: bool = False
    sources: tuple[int, ...] = ()
    source_hash: str = ""
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
        """The calls of an assistant message (copies), `()` where there are none."""
        return tuple(copy_json(self._wire.get("tool_calls") or []))

    @property
    def tool_call_id(self) -> str | None:
        """Which call a tool message answers."""
        call: str | None = self._wire.get("tool_call_id")
        return call

    @property
    def extra(self) -> dict[str, Any]:
        """Every other key of the message (a copy)."""
        return {key: copy_json(value) for key, value in self._wire.items() if key not in FIELDS}

    def to_dict(self) -> Wire:
        """Return the message as it is sent, equal key for key to what came in; a fresh object."""
        wire = self._wire.copy()
        if (
            self._nested is None
        ):  # which values a copy must go into: found once, handed on to clones
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
        """Return the message with other content; raises `MessageError` where that is malformed."""
        wire = read_message({**self._wire, "content": content})
        return Message(self.id, wire, self.pinned, self.sources, self.source_hash)


def to_dicts(messages: Iterable[Message]) -> list[Wire]:
    """Return messages as they are sent, fresh objects: `to_dict` of each, without a call for plain ones."""
    return [
        message._wire.copy() if message._nested == () else message.to_dict() for message in messages
    ]


def hash_of(messages: Iterable[Message]) -> str:
    """
    Return what identifies a set of messages of one log: 64 hexadecimal digits.

    The sum, modulo 2 ** 256, of the SHA-256 of each message's id and wire dict; a written message
    counts as what it was made from. So the hash of a summary of summaries is that of all the log's
    messages that it covers.
    """
    import hashlib
    import json

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
    Return what each call of a message waits for.

    An id, `""` for a call without one (its result is paired by position), `"()"` for a legacy
    `function_call`.
    """
    wire = message._wire
    calls = wire.get("tool_calls")
    if calls:
        return [f"id:{call['id']}" if call.get("id") else "" for call in calls]
    return ["()"] if wire.get("function_call") else []


def answer_key(message: Message) -> str:
    """Return what a result answers, in the terms of `call_keys`."""
    if message.role == "function":
        return "()"
    return f"id:{message.tool_call_id}" if message.tool_call_id else ""


def read_message(message: object) -> Wire:
    """
    Copy a caller's message into a wire dict of our own: a `Message` as it is sent, anything else by
    `read_wire`.

    Raises `MessageError`: it is malformed; the text names the field.
    """
    return message.to_dict() if isinstance(message, Message) else read_wire(message)
