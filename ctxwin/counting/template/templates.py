"""Counting for open models: by the chat template and the tokenizer that the model itself is fed with."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from os import PathLike
from threading import Lock
from typing import Any

from ctxwin.counting.template.additivity import contents_touch, learn_numbering, sums_hold
from ctxwin.counting.template.neutral import TOOL, spell
from ctxwin.counting.template.preparing import around, clean, learn_wants, prepare
from ctxwin.counting.template.probing import Probes
from ctxwin.counting.template.rendering import TemplateTokenizer
from ctxwin.values.errors import CounterError, describe
from ctxwin.values.wire import Wire

SCHEME = 1  # raised whenever messages come to be costed in another way: stored counts are then counted anew
# Encoded to tell vocabularies apart: scripts, code, digits, spaces, and what tokenizers normalise.
SAMPLE = "The foxes' 2024-05-17 naïve café — 汉字かな 한국어 Привет مرحبا नमस्ते 🙂\n\tfor (i = 0; i < 100; i++) {\n  \n"


class TransformersCounter:
    """
    Counts what `tokenizer.apply_chat_template` makes of a request: messages, tools and generation
    prompt.

    `count_request` renders and encodes the request: it is the truth, of what `prepare` makes of the
    messages.
    `count_message` renders and encodes the message alone, between a few neutral ones: what it adds
    at most. What a
    template does was found out by probing it, when the counter was made. Text only: a picture
    counts as the marker that the template puts in its place. Special tokens spelt in a message are
    matched as such, as transformers does; a lone surrogate counts as U+FFFD. It may be shared
    between threads.

    Args:
        tokenizer: a fast tokenizer of transformers with a chat template, or a `TemplateTokenizer`.
        add_generation_prompt: whether requests end with what starts the model's reply.
        template_variables: what else the template is given, `{"enable_thinking": False}` say. A
            template that shows the date should be given one (`date_string`), or its counts may
            differ by a token from day to day.
        system_prompt: whether each request begins with a system message. Many templates put a
            default one in its place, of up to a thousand tokens, which is counted with every
            request unless it is known never to be needed.

    Attributes:
        tokenizer: as given.
        exact: True, plain chat is billed as counted.
        additive: False where sums of `count_message` are not known to bound every request: messages
            that move, touch, are numbered, or repeat the tools. It is told by probing, not proved:
                a template is a program.
        name: identifies template, its variables and vocabulary, by a hash of both and of how a
            sample is encoded.

    Raises:
        TypeError: the tokenizer is none of these.
        ValueError: it has no chat template.
        CounterError: that refuses even a request of one user message (behind a system message if
            `system_prompt`).
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
        marks = [
            token.content
            for token in added
            if not (token.lstrip or token.single_word or token.normalized)
        ]
        self._probes = Probes(self._probe, self.count_text, marks, system_prompt=system_prompt)
        if self._learnt_base(()) is None:
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
        Count by a model's folder, with jinja2 and tokenizers alone; options as in the constructor.

        Raises:
            FileNotFoundError, ValueError: the folder has no `tokenizer.json`, or no chat template.
        """
        return cls(TemplateTokenizer.from_folder(folder), **options)

    def prepare(self, messages: Sequence[Mapping[str, Any]]) -> list[Wire]:
        """
        Return messages as the template wants them: what to give to `apply_chat_template`, and what
        is counted.

        See `ctxwin.counting.preparing.prepare` for what may change. Fresh objects; preparing twice
        changes nothing.
        """
        return [prepare(message, self._wants) for message in messages]

    def count_text(self, text: str) -> int:
        """Return the tokens of a bare text; special tokens spelt in it are matched as such."""
        with self._lock:  # a fast tokenizer is set up for each call, and must not be set up by two threads at once
            return len(self.tokenizer(clean(text), add_special_tokens=False)["input_ids"])

    def count_message(self, message: Mapping[str, Any]) -> int:
        """
        Return what the message adds to a request at most; of a call it is assumed that its results
        follow.

        Raises:
            CounterError: the template refuses the message.
        """
        wire = prepare(message, self._wants)
        tokens = self._probes.cost(wire)
        return self.count_request(around(wire)) if tokens is None else tokens

    def count_request(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> int:
        """
        Return what a whole request costs; without messages, what is to be added to the sum of
        theirs.

        Raises:
            CounterError: the template refuses the request.
        """
        if messages:
            return self.count_text(self._render(self.prepare(messages), tools))
        base = self._learnt_base(tools)
        if base is None:
            return self.count_request([{"role": "user", "content": ""}], tools)
        return max(0, base)

    def _render(self, messages: Sequence[Wire], tools: Sequence[Mapping[str, Any]]) -> str:
        """Return the text of a request; the template may fail in any way, it is foreign code."""
        try:
            text: str = self.tokenizer.apply_chat_template(
                messages, tools=list(tools) or None, tokenize=False, **self._options
            )
        except Exception as error:
            raise CounterError(
                f"the chat template refuses the request: {describe(error)}. Send only what it takes (not every one "
                "takes system messages, tools, or two messages of a role in a row) and give as template_variables "
                "what it lacks"
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
        """Return what is to be added to the messages of any request with these tools."""
        base = self._probes.base([dict(tool) for tool in tools])
        return (
            self._probes.base((TOOL,)) if base is None and not tools else base
        )  # a template for agents only

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
        return (
            f"template:{hashlib.sha256(identity.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
        )


def _check(tokenizer: Any) -> None:
    """Raise where the object cannot count as the model is fed."""
    kind = type(tokenizer).__name__
    if not callable(getattr(tokenizer, "apply_chat_template", None)):
        raise TypeError(
            f"{kind} applies no chat template: give a transformers tokenizer or a TemplateTokenizer"
        )
    if not getattr(tokenizer, "is_fast", False):
        raise TypeError(
            f"{kind} is a slow tokenizer: load the fast one, AutoTokenizer.from_pretrained(...) has it"
        )
    if not tokenizer.chat_template:
        raise ValueError(f"{kind} has no chat template: set its chat_template to that of the model")
