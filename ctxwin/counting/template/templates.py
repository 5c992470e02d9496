"""Counting for open models, with the model's own chat template and tokenizer."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from os import PathLike
from threading import Lock
from typing import Any

from ctxwin.counting.openai.chat import IMAGES
from ctxwin.counting.openai.media import image_size
from ctxwin.counting.openai.parts import compact, split_media, tokens_of
from ctxwin.counting.template.additivity import contents_touch, learn_numbering, sums_hold
from ctxwin.counting.template.neutral import TOOL, spell
from ctxwin.counting.template.preparing import around, clean, learn_wants, prepare
from ctxwin.counting.template.probing import Probes
from ctxwin.counting.template.rendering import TemplateTokenizer
from ctxwin.values.errors import CounterError, describe
from ctxwin.values.wire import Wire

# Part of a counter's name. Raise it when messages are costed in a new way: stored counts are then
# not reused.
SCHEME = 1
# A text to tell vocabularies apart: scripts, code, digits, spaces, and what tokenizers normalise.
SAMPLE = (
    "The foxes' 2024-05-17 naïve café — 汉字かな 한국어 Привет مرحبا नमस्ते 🙂\n"
    "\tfor (i = 0; i < 100; i++) {\n  \n"
)


class TransformersCounter:
    """
    Counts what `tokenizer.apply_chat_template` makes of messages, tools and generation prompt.

    `count_request` renders and encodes the whole request, with its messages as `prepare` returns
    them: that is the true cost. `count_message` renders and encodes one message between a few
    neutral ones: that is the most that it adds. The constructor probes the template to find out
    what it does.

    A picture counts as the marker that the template puts in its place; one whose bytes are sent,
    and other media, count a rough estimate besides. A special token spelt in a message counts as
    that token, as in transformers. A lone surrogate counts as U+FFFD. Threads may share a counter.

    Args:
        tokenizer: a fast tokenizer of transformers with a chat template, or a `TemplateTokenizer`.
        add_generation_prompt: whether requests end with what starts the model's reply.
        template_variables: further variables for the template, `{"enable_thinking": False}` for
            example. If a template shows the date, set it (`date_string`), or counts may differ by a
            token from day to day.
        system_prompt: whether every request begins with a system message. Many templates put a
            default in the place of a missing one, of up to a thousand tokens. Every request is
            counted with it, unless this says that it is never needed.

    Attributes:
        tokenizer: the tokenizer, as given.
        exact: True: plain chat is billed exactly as counted.
        additive: False if sums of `count_message` may not bound every request: where messages move,
            touch, are numbered, or repeat the tools. This is found out by probing and is no proof:
            a template is a program.
        name: identifies the template, its variables and the vocabulary, by a hash of all three and
            of how a sample is encoded.

    Raises:
        TypeError: the tokenizer is none of these.
        ValueError: it has no chat template.
        CounterError: the template refuses even a request of one user message (after a system
            message if `system_prompt`).
    """

    exact = True

    def __init__(
        self,
        tokenizer: Any,
        *,
        add_generation_prompt: bool = True,
        template_variables: Mapping[str, Any] | None = None,
        system_prompt: bool = False,
    ) -> None:
        _check(tokenizer)
        self.tokenizer = tokenizer
        self._options = {
            **(template_variables or {}),
            "add_generation_prompt": add_generation_prompt,
        }
        self._system_prompt = system_prompt
        self._lock = Lock()
        self._wants = learn_wants(
            lambda messages: self._try(messages, ()) or self._try(messages, (TOOL,))
        )
        added = tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
        # Tokens that match exactly as they are spelt: the text before and after one is encoded
        # apart.
        marks = [
            token.content
            for token in added
            if not (token.lstrip or token.single_word or token.normalized)
        ]
        self._probes = Probes(self._probe, self.count_text, marks, system_prompt=system_prompt)
        if self._learnt_base(()) is None:
            # Nothing was accepted: render the simplest request, so that its error says why.
            self._render(self.prepare(spell("su" if system_prompt else "u")), ())
        self._probes.more = learn_numbering(self._probe)
        fixed = not self._probes.more and not self._probes.tools_repeated
        self.additive = fixed and not contents_touch(self._probe) and sums_hold(self._probes)
        self.name = self._identify()

    def __repr__(self) -> str:
        return f"TransformersCounter({self.name!r}, additive={self.additive})"

    @classmethod
    def from_folder(cls, folder: str | PathLike[str], **options: Any) -> "TransformersCounter":
        """
        Return the counter for a model's folder; it needs only jinja2 and tokenizers.

        Args:
            folder: see `TemplateTokenizer.from_folder`.
            options: as in the constructor.

        Raises:
            FileNotFoundError, ValueError: the folder has no `tokenizer.json`, or no chat template.
        """
        return cls(TemplateTokenizer.from_folder(folder), **options)

    def prepare(self, messages: Sequence[Mapping[str, Any]]) -> list[Wire]:
        """
        Return messages in the form that the template needs, which is also what is counted.

        Give them to `apply_chat_template`. `ctxwin.counting.template.preparing.prepare` says what
        may change. The results are new objects; preparing them again changes nothing.
        """
        return [prepare(message, self._wants) for message in messages]

    def count_text(self, text: str) -> int:
        """Return the tokens of a bare text; a special token spelt in it counts as that token."""
        # A fast tokenizer of transformers changes its settings in each call: two threads at once
        # would disturb each other.
        with self._lock:
            return len(self.tokenizer(clean(text), add_special_tokens=False)["input_ids"])

    def count_message(self, message: Mapping[str, Any]) -> int:
        """
        Return the most that the message adds to a request; a call's results must follow it there.

        Raises:
            CounterError: the template refuses the message.
        """
        message, media_tokens = self._without_media(message)
        wire = prepare(message, self._wants)
        return media_tokens + self._cost(wire)

    def _cost(self, wire: Wire) -> int:
        """Return the most that a prepared message adds to a request."""
        tokens = self._probes.cost(wire)
        if tokens is not None:
            return tokens
        request = around(wire)
        if self._try(self.prepare(request), ()) is not None:
            return self.count_request(request)
        # A role that the template takes, with content that it cannot show: as JSON, so that what
        # was admitted can be counted.
        plain = {"role": wire["role"], "content": "", "tool_call_id": wire.get("tool_call_id")}
        return self.count_request(around(plain)) + self.count_text(compact(wire))

    def count_request(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> int:
        """
        Return what a whole request costs; without messages, what to add to the sum of theirs.

        Raises:
            CounterError: the template refuses the request.
        """
        if messages:
            plain = [self._without_media(message) for message in messages]
            text = self._render(self.prepare([message for message, _ in plain]), tools)
            return self.count_text(text) + sum(tokens for _, tokens in plain)
        base = self._learnt_base(tools)
        if base is None:
            return self.count_request([{"role": "user", "content": ""}], tools)
        return max(0, base)

    def _without_media(self, message: Mapping[str, Any]) -> tuple[Mapping[str, Any], int]:
        """Return a message without the bytes of its media, and what to count of these."""
        if not isinstance(message.get("content"), list):
            return message, 0
        content, found = split_media(message["content"])
        tokens = tokens_of(
            found, self.count_text, lambda part: IMAGES.tokens(image_size(part), low=False)
        )
        return {**message, "content": content}, tokens

    def _render(self, messages: Sequence[Wire], tools: Sequence[Mapping[str, Any]]) -> str:
        """Return the text of a request."""
        try:
            text: str = self.tokenizer.apply_chat_template(
                messages, tools=list(tools) or None, tokenize=False, **self._options
            )
        except Exception as error:  # a template is foreign code and may fail in any way
            raise CounterError(
                f"the chat template refuses the request: {describe(error)}. Send only what it "
                "accepts (not every template accepts system messages, tools, or two messages of a "
                "role in a row), and pass variables that it needs as template_variables"
            ) from error
        return text

    def _try(self, messages: Sequence[Wire], tools: Sequence[Wire]) -> str | None:
        try:
            return self._render(messages, tools)
        except CounterError:
            return None

    def _probe(self, messages: Sequence[Wire], tools: Sequence[Wire]) -> str | None:
        return self._try(self.prepare(messages), tools)

    def _learnt_base(self, tools: Sequence[Mapping[str, Any]]) -> int | None:
        """Return what to add to the messages of any request with these tools."""
        base = self._probes.base([dict(tool) for tool in tools])
        # A template for agents may refuse every request without tools.
        return self._probes.base((TOOL,)) if base is None and not tools else base

    def _identify(self) -> str:
        tokenizer = self.tokenizer
        added = sorted(
            str(token) for token in tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
        )
        sample = tokenizer(SAMPLE, add_special_tokens=False)["input_ids"]
        told = [
            SCHEME,
            tokenizer.chat_template,
            tokenizer.special_tokens_map,
            self._options,
            self._system_prompt,
        ]
        identity = json.dumps(
            [*told, len(tokenizer), added, list(sample)], sort_keys=True, default=str
        )
        digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
        return f"template:{digest[:16]}"


def _check(tokenizer: Any) -> None:
    """Raise an error if the tokenizer cannot render and encode a request."""
    kind = type(tokenizer).__name__
    if not callable(getattr(tokenizer, "apply_chat_template", None)):
        raise TypeError(
            f"{kind} has no apply_chat_template: give a transformers tokenizer or a "
            "TemplateTokenizer"
        )
    if not getattr(tokenizer, "is_fast", False):
        raise TypeError(
            f"{kind} is a slow tokenizer: load the fast one with AutoTokenizer.from_pretrained(...)"
        )
    if not tokenizer.chat_template:
        raise ValueError(f"{kind} has no chat template: set its chat_template to the model's")
