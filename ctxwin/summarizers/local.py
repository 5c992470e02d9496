"""A summariser for a local model, run by transformers in this process."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ctxwin.summarizers.transcript import prompt
from ctxwin.values.errors import SummarizerError
from ctxwin.values.message import Message
from ctxwin.values.wire import Wire

WINDOW = 4096  # tokens, if the model's configuration does not say
SANE = 10**7  # tokens; transformers gives 10 ** 30 for a tokenizer without a limit


class TransformersSummarizer:
    """
    Lets a local model write the summary.

    It is sync and as slow as the model: run it from a ticket, or in a thread.

    Args:
        model: a text-generation pipeline of transformers, or the path or name of a model to load on
            first use.
        options: passed on to `generate`. By default the model does not sample, so that summaries
            are deterministic.

    Raises:
        TypeError: `options` has `max_new_tokens`, which the summariser sets itself.
    """

    def __init__(self, model: Any, **options: Any) -> None:
        if "max_new_tokens" in options:
            raise TypeError("options: max_new_tokens is set by the summariser itself")
        self._pipeline: Any = (
            None if isinstance(model, str) or hasattr(model, "__fspath__") else model
        )
        self._path = model
        self.options = {"do_sample": False, **options}

    def __repr__(self) -> str:
        name = self._path if self._pipeline is None else type(self._pipeline.model).__name__
        return f"TransformersSummarizer({str(name)!r})"

    def __call__(
        self, messages: Sequence[Message], previous_summary: str | None, max_tokens: int
    ) -> str:
        """
        Return the model's summary, of at most `max_tokens` tokens of the model's tokenizer.

        If the messages are too long for the model's window, the oldest are left out, then the
        beginning of the last one. Set `max_source_tokens` of the strategy to avoid that.

        Raises:
            SummarizerError: the window has no room for instructions and reply. What transformers
                raises is passed on.
        """
        if self._pipeline is None:
            from transformers import pipeline  # noqa: PLC0415 - an extra, and slow to import

            self._pipeline = pipeline("text-generation", model=str(self._path))
        tokenizer, model = self._pipeline.tokenizer, self._pipeline.model
        room = _window(tokenizer, model) - max_tokens
        ids = self._ids(messages, previous_summary, max_tokens, room)
        batch = tokenizer.pad({"input_ids": [ids]}, return_tensors="pt").to(model.device)
        output = model.generate(**batch, max_new_tokens=max_tokens, **self.options)
        text: str = tokenizer.decode(output[0][len(ids) :], skip_special_tokens=True)
        return text.strip()

    def _ids(
        self, messages: Sequence[Message], previous: str | None, max_tokens: int, room: int
    ) -> list[int]:
        """Return the prompt's tokens, leaving out the oldest messages if it exceeds `room`."""
        ids = self._rendered(prompt(messages, previous, max_tokens))
        if len(ids) <= room:
            return ids
        if len(self._rendered(prompt((), previous, max_tokens))) >= room:
            raise SummarizerError(
                f"the model's window leaves {max(0, room)} tokens for the prompt, but it needs "
                "more: use a model with a larger window, or ask for a shorter summary"
            )
        low, high = 1, len(messages)
        while low < high:  # a binary search for the fewest messages to leave out
            middle = (low + high) // 2
            if len(self._rendered(prompt(messages[middle:], previous, max_tokens))) <= room:
                high = middle
            else:
                low = middle + 1
        if low < len(messages):
            return self._rendered(prompt(messages[low:], previous, max_tokens))
        return self._newest_part(messages[-1], previous, max_tokens, room)

    def _newest_part(
        self, message: Message, previous: str | None, max_tokens: int, room: int
    ) -> list[int]:
        """Return the prompt's tokens with only the end of a message, which alone is too long."""
        text = message.content if isinstance(message.content, str) else str(message.to_dict())
        while text:
            text = text[len(text) // 4 + 1 :]
            part = Message(message.id, {"role": message.role, "content": text})
            ids = self._rendered(prompt([part], previous, max_tokens))
            if len(ids) <= room:
                return ids
        raise SummarizerError(f"the model's window has no room for a part of message {message.id}")

    def _rendered(self, wires: list[Wire]) -> list[int]:
        """Return the tokens of a prompt, by the model's chat template or else as plain text."""
        tokenizer = self._pipeline.tokenizer
        spelt = _spelt_tokens(tokenizer)
        wires = [{**wire, "content": spelt.sub(r"\g<0> ", wire["content"])} for wire in wires]
        text = "\n\n".join(wire["content"] for wire in wires)
        ids: list[int]
        if not getattr(tokenizer, "chat_template", None):
            ids = tokenizer(f"{text}\n")["input_ids"]
            return ids
        render = partial(tokenizer.apply_chat_template, tokenize=False, add_generation_prompt=True)
        try:
            rendered = render(wires)
        except Exception:  # noqa: BLE001 - each template has its own error for system messages
            rendered = render([{"role": "user", "content": text}])
        # The template has already written the special tokens.
        ids = tokenizer(rendered, add_special_tokens=False)["input_ids"]
        return ids


def _spelt_tokens(tokenizer: Any) -> re.Pattern[str]:
    """
    Return a pattern for the first character of each token with a meaning that a text spells.

    A token that is spelt in a message must not end it: with a space behind its first character it
    is only text. Beside the special tokens these are all added ones, for many models keep `[INST]`
    or `<tool_call>` there alone. Only the first character is matched, so that of two tokens that
    overlap none is missed. A token of white space has no meaning, and one character no inside.
    """
    added: Mapping[str, int] = getattr(tokenizer, "get_added_vocab", dict)()
    tokens = {*getattr(tokenizer, "all_special_tokens", ()), *added}
    rests: dict[str, list[str]] = {}
    for token in sorted(map(str, tokens)):
        if len(token) > 1 and not token.isspace():
            rests.setdefault(token[0], []).append(re.escape(token[1:]))
    spelt = [f"{re.escape(first)}(?={'|'.join(rest)})" for first, rest in rests.items()]
    return re.compile("|".join(spelt) or r"(?!)")


def _window(tokenizer: Any, model: Any) -> int:
    """Return how many tokens the model accepts."""
    limits = (
        getattr(model.config, "max_position_embeddings", None),
        getattr(tokenizer, "model_max_length", None),
    )
    return min(
        (limit for limit in limits if isinstance(limit, int) and 0 < limit < SANE), default=WINDOW
    )
