"""Counts with an embedded vocabulary, scaled and framed as a family of models is billed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ctxwin.counting.estimates.families import VERSION, Family, family_of
from ctxwin.counting.openai.chat import TEXT_FIELDS
from ctxwin.counting.openai.media import image_size
from ctxwin.counting.openai.parts import (
    Piece,
    beside,
    compact,
    read_field,
    read_fields,
    read_part,
    tokens_of,
)
from ctxwin.counting.openai.tools import definition_of
from ctxwin.counting.text.text import texts_of

TEXTS = (*TEXT_FIELDS, "name")
NO_TURN = ("system", "developer", "tool")  # their frames are part of the base, or of the call
CALL_BLOCK = frozenset({"type", "id", "name", "input", "arguments", "cache_control", "caller"})
RESULT_BLOCK = frozenset({"type", "tool_use_id", "content", "is_error", "cache_control"})
CLAUSES = ("enum", "examples", "const", "default")  # clauses of a schema: the model sees the values
NAMED = ("properties", "$defs", "definitions")  # mappings from a name to a schema


class EstimateCounter:
    """
    Estimates what messages and requests cost with a family of models, or bounds it.

    Without a quantile it aims at the middle: half of all requests cost more. With `quantile=0.95`
    it gives a count that 95 % of requests do not exceed, whatever tool choice is set and whether or
    not thinking is on.

    For Claude up to 4.6 and for Gemini this was measured on code bases that the fit had not seen:
    English prose, Markdown, JSON and a little code. Claude from 4.7 on (twelve requests of one code
    base) and Mistral's bound could not be measured so, for lack of another source.

    An estimate and a bound are both inexact (`exact` is False), and `ContextManager.observe`
    corrects them by what was billed: a repeated word or letter can cost twice as much. Audio and
    files are roughly priced by length and pages. Server-side tools and output schemas, which only
    the provider sees, are not counted.

    Messages are chat messages. Content blocks of the Messages API inside them (`tool_use`,
    `tool_result`, `image`, `thinking`) are counted for what they are, blocks of unknown shape as
    their JSON.

    Args:
        family: the coefficients, see `ctxwin.counting.estimates.families`.
        quantile: the share of requests that must cost no more than counted; None for the estimate.

    Raises:
        ValueError: the family has no bound for the quantile.
    """

    exact = False
    additive = True

    def __init__(self, family: Family, *, quantile: float | None = None) -> None:
        self.family = family if quantile is None else family.bound(quantile)
        self.name = f"estimate:{self.family.name}:{VERSION}"
        self._texts = texts_of(family.encoding)

    def __repr__(self) -> str:
        return f"EstimateCounter({self.family.name!r})"

    def count_text(self, text: str) -> int:
        """Return the tokens of a bare text, as the family counts them."""
        return round(self._text(text))

    def count_message(self, message: Mapping[str, Any]) -> int:
        """Return the tokens that the message adds to a request."""
        tokens = 0.0 if message["role"] in NO_TURN else self.family.turn
        tokens += sum(self._content(message.get(key)) for key in TEXTS)
        tokens += self._pieces(beside(self._unsigned(message)))
        return round(tokens + sum(map(self._call, _calls(message))))

    def count_request(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> int:
        """Return the tokens of a whole request: base, tools and the sum of the messages."""
        family = self.family
        tokens = family.base + (family.tools if tools else 0)
        tokens += sum(family.tool + self._tool(tool) for tool in tools)
        return round(tokens) + sum(map(self.count_message, messages))

    def _text(self, text: str) -> float:
        return self.family.text * self._texts.count(text)

    def _content(self, value: object) -> float:
        """Return the tokens of a text, a list of content parts, or any other value."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Sequence):
            return sum(map(self._part, value))
        return 0 if value is None else self._pieces(read_field(value))

    def _part(self, part: object) -> float:
        """Return the tokens of one content part; Anthropic sends calls and results as parts too."""
        if isinstance(part, Mapping) and part.get("type") == "tool_use":
            return self._call(part) + self._pieces(read_fields(part, CALL_BLOCK))
        if isinstance(part, Mapping) and part.get("type") == "tool_result":
            rest = self._pieces(read_fields(part, RESULT_BLOCK))
            return self._content(part.get("content")) + rest
        return self._pieces(read_part(part))

    def _unsigned(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a message without the signatures of its calls, which have a price of their own."""
        calls = message.get("tool_calls")
        if not calls or not any(map(_signature, calls)):
            return message
        return {**message, "tool_calls": [_unsigned(call) for call in calls]}

    def _pieces(self, pieces: Iterable[Piece]) -> float:
        """Return the tokens of what was read of parts and fields."""
        return tokens_of(pieces, self._text, self._image)

    def _image(self, part: Mapping[str, Any]) -> float:
        """Return the tokens of an image: by its size if known, else the most it can cost."""
        most, pixels = self.family.image, self.family.pixels
        size = image_size(part) if pixels else None
        return most if size is None else min(most, size[0] * size[1] / pixels)

    def _call(self, call: Mapping[str, Any]) -> float:
        """Return the tokens of a call: a function, a custom tool, or a `tool_use` block."""
        function = definition_of(call)
        payload = function.get("arguments", function.get("input", ""))
        text = payload if isinstance(payload, str) else compact(payload)
        signature = self.family.signature and len(_signature(call))
        return (
            self.family.call
            + self._text(f"{function.get('name') or ''}{text}")
            + self.family.signature * signature
        )

    def _tool(self, tool: Mapping[str, Any]) -> float:
        """Return the tokens of a declared tool: its words, and the objects of its schema."""
        function = definition_of(tool)
        schema = function.get("parameters") or function.get("input_schema") or {}
        name, told = function.get("name"), function.get("description")
        words = [
            name if isinstance(name, str) else compact(tool),
            told if isinstance(told, str) else "",
        ]
        objects = _read(schema, words)
        return self.family.word * sum(map(self._texts.count, words)) + self.family.node * objects


def estimate_for(model: str, *, quantile: float | None = None) -> EstimateCounter | None:
    """
    Return the estimate for a model's name, or None if its family has no coefficients.

    Prefixes and suffixes of providers are ignored: `anthropic/claude-sonnet-4.5`,
    `us.anthropic.claude-...-v1:0`. A model that is newer than the coefficients counts as the newest
    generation of its family. For requests with tools an older generation may cost more.

    Raises:
        ValueError: the family has no bound for the quantile.
    """
    family = family_of(model)
    return None if family is None else EstimateCounter(family, quantile=quantile)


def _calls(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from message.get("tool_calls") or ()
    if message.get("function_call"):
        yield message["function_call"]


def _signature(call: Mapping[str, Any]) -> str:
    """Return the thought signature that Gemini wants back, from its place in chat completions."""
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, Mapping) else None
    return str(google.get("thought_signature") or "") if isinstance(google, Mapping) else ""


def _unsigned(call: Mapping[str, Any]) -> Mapping[str, Any]:
    if not _signature(call):
        return call
    extra = call["extra_content"]
    google = {key: one for key, one in extra["google"].items() if key != "thought_signature"}
    others = {key: one for key, one in extra.items() if key != "google"}
    return {**call, "extra_content": {**others, **({"google": google} if google else {})}}


def _read(schema: object, words: list[str]) -> int:
    """
    Add the texts that a model reads in a JSON schema to `words`; return its number of objects.

    One walk collects both figures that a schema is priced by.
    """
    if isinstance(schema, list | tuple):
        return sum(_read(each, words) for each in schema)
    if not isinstance(schema, Mapping):
        return 0
    objects = 1
    for key, value in schema.items():
        if key in NAMED and isinstance(value, Mapping):
            words += value
            objects += _read([*value.values()], words)
        elif key in CLAUSES:
            words.append(compact(value))
        elif key == "description" and isinstance(value, str):
            words.append(value)
        else:
            objects += _read(value, words)
    return objects
