"""
Counting for OpenAI's models: what the API bills, message by message.

Tool exchanges are the hard part. The API renders a call and its results together, and the results
of parallel calls even as one JSON list. Even so each message is counted once and on its own: the
message with the calls pays for all frames of its exchange, and a result pays for its text, in the
form that its call requires.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ctxwin.counting.openai import media
from ctxwin.counting.openai.bodies import read_body
from ctxwin.counting.openai.chat import PER_MESSAGE, ROLE, ChatCounter, payload_of, tools_called
from ctxwin.counting.openai.parts import compact, read_part
from ctxwin.counting.openai.rules import COMMON, Rules
from ctxwin.counting.openai.tools import is_format, render_format, render_tools
from ctxwin.counting.text.text import Texts
from ctxwin.values.wire import RESULT_ROLES

if TYPE_CHECKING:
    import tiktoken

TAIL = 64  # characters of a system message: only its end can merge with what follows it
PARALLEL = "multi_tool_use.parallel"
# Tokens beside the texts; fitted like the figures of `rules.py`, but the same for every family.
PER_PARALLEL = 9  # what parallel calls cost beyond the frames of one call; results share a frame
PER_FORMAT = 2
LEGACY_CALL = 3


class TiktokenCounter(ChatCounter):
    """
    Counts with a `tiktoken.Encoding` and the rules of a family of OpenAI's models.

    Plain chat is counted exactly as it is billed. Tools, formats and exchanges come close
    (`tests/bench/billed.py` prints how close). Images cost the family's price for their size, which
    is read from their bytes. Audio and files are estimated.

    Args:
        encoding: an encoding, a function that makes one when the first text is counted, or `Texts`
            to share.
        name: the name under which counts are stored.
        exact: False if encoding and rules only stand in for the model's own.
        rules: what the family adds to the text.
    """

    def __init__(
        self,
        encoding: "tiktoken.Encoding | Callable[[], tiktoken.Encoding] | Texts",
        *,
        name: str,
        exact: bool = True,
        rules: Rules = COMMON,
    ) -> None:
        self._texts = encoding if isinstance(encoding, Texts) else Texts(encoding)
        self.name = name
        self.exact = exact
        self.rules = rules

    def __repr__(self) -> str:
        return f"TiktokenCounter({self.name!r}, exact={self.exact})"

    def count_text(self, text: str) -> int:
        """
        Return the tokens of the text; the spelling of a special token counts as plain text.

        The tokenizer is slow on half a million characters without a safe cut (of one kind, or of
        kana and kanji), or fails. They count one token per byte, the upper bound for every
        byte-level vocabulary.
        """
        return self._texts.count(text)

    def count_message(self, message: Mapping[str, Any]) -> int:
        """
        Return the tokens that the message adds to a request.

        A message with calls also pays for the frames of their results. For a tool result this is
        the most that it can cost; `count_result` is more precise, since it sees whether the call
        was one of several.
        """
        content, role = message.get("content"), message["role"]
        if len(message) == 2 and isinstance(content, str) and role not in RESULT_ROLES:
            # A short cut: most messages are plain text.
            return self.rules.per_message + ROLE + self._texts.count(content)
        tokens = self.rules.per_message + ROLE + self._fields(message)
        name = message.get("name") or ""
        if role == "tool":
            return max(tokens, self._listed(message))
        if role == "function":
            return tokens - ROLE + self.count_text(name)  # the name is sent in place of the role
        if name:
            # A name that equals the role costs one token less.
            tokens += self.rules.per_name + self.count_text(name) - (name == role)
        legacy = message.get("function_call")
        if legacy:
            tokens += (
                LEGACY_CALL + self.count_text(legacy["name"]) + self.count_text(payload_of(legacy))
            )
        calls = tools_called(message)
        if not calls:
            return tokens
        # Text and calls are rendered as two messages.
        return tokens + self._exchange(calls) + PER_MESSAGE * bool(content)

    def count_result(self, result: Mapping[str, Any], call: Mapping[str, Any]) -> int:
        """Return the tokens that a result adds after the message with its call."""
        if result["role"] != "tool":
            return self.count_message(result)
        if len(call.get("tool_calls") or ()) > 1:
            return self._listed(result)
        return self.rules.per_message + ROLE + self._fields(result)

    def count_base(
        self, tools: Sequence[Mapping[str, Any]], system: Mapping[str, Any] | None = None
    ) -> int:
        """
        Return the tokens of a request without messages.

        Args:
            tools: tool schemas, and a `response_format` of the type `json_schema` if the request
                has one.
            system: the system message that the request begins with, if any: tools and format share
                its frame.
        """
        functions = [tool for tool in tools if not is_format(tool)]
        tokens = self.rules.priming if functions else self.rules.priming - self.rules.bare_discount
        if functions:
            text, correction = render_tools(functions)
            tokens += self.count_text(text) + correction + self.rules.tools
        for tool in filter(is_format, tools):
            text, name = render_format(tool, ascii_only=self.rules.ascii_results)
            tokens += self.count_text(text) + self.count_text(name) + PER_FORMAT
        return tokens + self._frame(system) * any(
            self.rules.joins_system or is_format(tool) for tool in tools
        )

    def _frame(self, system: Mapping[str, Any] | None) -> int:
        """
        Return the tokens of what holds tools and formats.

        Without a system message they stand in a message of their own. Otherwise they join the
        system message after an empty line, which may merge with the end of its text: hence the
        difference of two counts.
        """
        if system is None:
            return PER_MESSAGE
        content = system.get("content")
        ending = content[-TAIL:] if isinstance(content, str) else ""
        return min(PER_MESSAGE, self.count_text(f"{ending}\n\n") - self.count_text(ending))

    def count_body(self, body: Mapping[str, Any]) -> int:
        """
        Return the tokens of a request body, as it is sent to chat completions or to Responses.

        It reads `messages`, or `instructions` and `input`; `tools` or `functions`; `tool_choice`;
        `response_format` or `text.format`. What the server keeps or adds (a previous response, a
        stored prompt, its own tools) is not counted.

        Raises:
            KeyError: a message lacks its role, or a call its name.
        """
        messages, tools, choice = read_body(body)
        counter = self
        # Responses shows tools in a shorter form, and never in the system message.
        if "messages" not in body:
            counter = copy(self)
            counter.rules = replace(
                self.rules, tools=self.rules.responses_tools, joins_system=False
            )
        return counter.count_request(messages, tools) + self._choice(
            choice, legacy="functions" in body
        )

    def _choice(self, choice: object, *, legacy: bool) -> int:
        """Return what a tool choice adds that forces one tool, or forbids all."""
        fixed = self.rules.named_choice
        if fixed is None or choice is None:
            return 0
        if isinstance(choice, Mapping):
            name = choice.get("name")
            frame = LEGACY_CALL if legacy else fixed
            return frame + self.count_text(f"functions.{name}") if name else 0
        return int(choice == "none")

    def _exchange(self, calls: Sequence[Mapping[str, Any]]) -> int:
        """
        Return the tokens of calls, with all frames of their exchange.

        Not with the frames that each message has anyway.
        """
        if len(calls) == 1:
            name, payload = calls[0]["name"], _json_or_text(payload_of(calls[0]))
            shown = payload if isinstance(payload, str) else compact(payload)
            return self.rules.exchange + sum(
                map(self.count_text, (f"functions.{name}", shown, name))
            )
        # The model writes parallel calls as one call of a tool that takes a list.
        uses = [
            {
                "recipient_name": f"functions.{call['name']}",
                "parameters": _json_or_text(payload_of(call)),
            }
            for call in calls
        ]
        shown = compact({"tool_uses": uses})
        return (
            self.rules.exchange + PER_PARALLEL + self.count_text(PARALLEL) + self.count_text(shown)
        )

    def _listed(self, result: Mapping[str, Any]) -> int:
        """Return the tokens of a result of parallel calls, which are sent as one JSON list."""
        content = result.get("content")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or ()
        texts, others = [], []
        for part in parts:
            first, *rest = read_part(part)
            text = first[1] if first == ("text", part.get("text")) else None
            texts += [] if text is None else [text]
            others += [first, *rest] if text is None else rest
        text = "".join(texts)
        listed = json.dumps(_json_or_text(text), ensure_ascii=self.rules.ascii_results)
        # In the list each item has a space before it and a comma after it. No token reaches from
        # one item into the next, so each can be counted on its own.
        beside = self._fields({**result, "content": None})
        return self.count_text(f" {listed},") + self._pieces(others) + beside

    def _image(self, part: Mapping[str, Any]) -> int:
        return self.rules.images.tokens(media.image_size(part), low=media.is_low(part))


def _json_or_text(text: str) -> Any:
    """
    Return the JSON object or list in the text, else the text itself.

    JSON with a key twice, or too deep to be written again, is returned as text too.
    """
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        value = json.loads(text, object_pairs_hook=_unique)
        compact([[[[value]]]])  # what is counted nests it this deep: fail here, not there
    except (ValueError, RecursionError):
        return text
    return value


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs as a mapping; raises `ValueError` if a key occurs twice."""
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError("a key occurs twice")
    return mapping
