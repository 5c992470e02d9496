"""
The chat overhead around the text of a message, shared by all counters of the chat format.

Plain chat costs `3 + sum(3 + role + content + [name + 1])`, where a role is one token. Source: the
OpenAI cookbook's "How to count tokens with tiktoken". The figures for calls and results are round
ones, for a callable whose model is not known; what OpenAI bills for them is in `openai.py`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import index
from typing import Any

from ctxwin.counting.openai import media
from ctxwin.counting.openai.parts import Piece, beside, compact, read_field, read_part, tokens_of
from ctxwin.counting.openai.rules import Tiles
from ctxwin.values.wire import SYSTEM_ROLES

PRIMING = 3  # every reply starts with <|start|>assistant<|message|>, which the request pays for
ROLE = 1  # a role is one token in every encoding
PER_MESSAGE = 3 + ROLE
PER_NAME = 1
PER_CALL = 3
PER_PARALLEL_CALL = 8  # measured: 14 to 16 for two calls
PER_RESULT = 2
IMAGES = Tiles(85, 170)
# The text fields that providers read back: beside the content a refusal, and the reasoning of open
# models.
TEXT_FIELDS = ("content", "refusal", "reasoning_content", "reasoning")


class ChatCounter:
    """
    Counts messages and requests of the OpenAI chat format.

    A subclass defines `count_text`, and usually `name` and `exact`.
    """

    name: str = ""
    exact: bool = False
    additive: bool = True

    def count_text(self, text: str) -> int:
        """Return the tokens of a bare text."""
        raise NotImplementedError

    def count_message(self, message: Mapping[str, Any]) -> int:
        """Return the tokens that the message adds to a request, its overhead included."""
        content = message.get("content")
        if len(message) == 2 and isinstance(content, str) and message["role"] != "tool":
            return PER_MESSAGE + self.count_text(content)  # a short cut: most messages are plain
        tokens = PER_MESSAGE + self._fields(message)
        if message.get("name"):
            tokens += PER_NAME + self.count_text(message["name"])
        if message["role"] == "tool":
            tokens += PER_RESULT
        calls = message.get("tool_calls") or ()
        if len(calls) > 1:
            tokens += PER_PARALLEL_CALL * len(calls)
        return tokens + sum(self._call(function) for function in called(message))

    def count_result(
        self,
        result: Mapping[str, Any],
        call: Mapping[str, Any],  # noqa: ARG002 - subclasses need it
    ) -> int:
        """Return the tokens that a result adds after the message with its call."""
        return self.count_message(result)

    def count_base(
        self,
        tools: Sequence[Mapping[str, Any]],
        system: Mapping[str, Any] | None = None,  # noqa: ARG002 - subclasses need it
    ) -> int:
        """
        Return the tokens of a request without messages: priming and the tool schemas.

        Args:
            tools: the schemas, counted as compact JSON.
            system: the system message that the request begins with, if any. Subclasses use it where
                the tools stand in the same frame.
        """
        return PRIMING + sum(self.count_text(compact(tool)) for tool in tools)

    def count_request(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> int:
        """Return the tokens of a whole request: its base, and what each message adds."""
        system = messages[0] if messages and messages[0]["role"] in SYSTEM_ROLES else None
        tokens = self.count_base(tools, system)
        call: Mapping[str, Any] = {}  # the last message with calls: the results below answer it
        for message in messages:
            if message["role"] == "tool":
                tokens += self.count_result(message, call)
                continue
            tokens += self.count_message(message)
            call = message if message.get("tool_calls") else call
        return tokens

    def _fields(self, message: Mapping[str, Any]) -> int:
        """Return the tokens of all that stands in a message beside name, calls and ids."""
        tokens = sum(self._field(message.get(key)) for key in TEXT_FIELDS)
        return tokens + self._pieces(beside(message))

    def _field(self, value: object) -> int:
        """Return the tokens of a string, a list of content parts, or any other value."""
        if isinstance(value, str):
            return self.count_text(value)
        if isinstance(value, Sequence):
            return sum(self._pieces(read_part(part)) for part in value)
        return 0 if value is None else self._pieces(read_field(value))

    def _pieces(self, pieces: Iterable[Piece]) -> int:
        """Return the tokens of what was read of parts and fields."""
        return tokens_of(pieces, self.count_text, self._image)

    def _image(self, part: Mapping[str, Any]) -> int:
        """Return the tokens of an image."""
        return IMAGES.tokens(media.image_size(part), low=media.is_low(part))

    def _call(self, function: Mapping[str, Any]) -> int:
        """Return the tokens of one call."""
        return PER_CALL + self.count_text(function["name"]) + self.count_text(payload_of(function))


class CallableCounter(ChatCounter):
    """
    Wraps a `Callable[[str], int]` and adds the standard chat overhead.

    It has no name, so its counts are not stored with a state. It is not `exact`, because nothing is
    known about the callable.
    """

    def __init__(self, count_text: Callable[[str], int]) -> None:
        self._count_text = count_text

    def __repr__(self) -> str:
        return f"CallableCounter({self._count_text!r})"

    def count_text(self, text: str) -> int:
        """Return what the callable says."""
        return index(self._count_text(text))


def called(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield each function or custom tool that a message calls, a legacy `function_call` last."""
    yield from tools_called(message)
    if message.get("function_call"):
        yield message["function_call"]


def tools_called(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the function or custom tool of each of a message's `tool_calls`."""
    return [call.get("function") or call["custom"] for call in message.get("tool_calls") or ()]


def payload_of(function: Mapping[str, Any]) -> str:
    """
    Return the text that a call passes: the arguments of a function, the input of a tool.

    Arguments that are no text count as their JSON.
    """
    given = (function.get("arguments"), function.get("input"))
    text = next((payload for payload in given if isinstance(payload, str)), None)
    if text is not None:
        return text
    other = next((payload for payload in given if payload is not None), None)
    return "" if other is None else compact(other)
