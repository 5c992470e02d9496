"""A summariser for a model of one's own, run by transformers in this process."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from ctxwin.summarizers.transcript import prompt
from ctxwin.values.errors import SummarizerError
from ctxwin.values.message import Message
from ctxwin.values.wire import Wire

WINDOW = 4096  # tokens, of a model whose configuration does not say
SANE = 10**7  # transformers says 10 ** 30 where a tokenizer knows no limit


class TransformersSummarizer:
    """
    Has a local model write the summary; sync, and as slow as the model: run it by a ticket, or in a
    thread.

    Args:
        model: a text-generation pipeline of transformers, or the path or name of a model to load
            when it is first needed.
        options: passed on to `generate`; unless they say otherwise it does not sample, so that it
            is deterministic.

    Raises:
        TypeError: an option is one that it sets itself.
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
        Return the model's summary, of at most `max_tokens` tokens of its own.

        What is too long for the model's window loses its oldest messages, then the beginning of
        what is left: `max_source_tokens` of the strategy keeps that from happening.

        Raises:
            SummarizerError: the window has no room for instructions and reply. What transformers
                raises passes.
        """
        if self._pipeline is None:
            from transformers import pipeline

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
        """Return the prompt's tokens, without the oldest messages where it is too long for the model's window."""
        ids = self._rendered(prompt(messages, previous, max_tokens))
        if len(ids) <= room:
            return ids
        if len(self._rendered(prompt((), previous, max_tokens))) >= room:
            raise SummarizerError(
                f"the model's window leaves {max(0, room)} tokens for the prompt, it needs more"
            )
        low, high = 1, len(messages)
        while low < high:  # the fewest messages to leave out
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
        """Return the prompt's tokens with only the end of a message that is too long on its own."""
        text = message.content if isinstance(message.content, str) else str(message.to_dict())
        while text:
            text = text[len(text) // 4 + 1 :]
            part = Message(message.id, {"role": message.role, "content": text})
            ids = self._rendered(prompt([part], previous, max_tokens))
            if len(ids) <= room:
                return ids
        raise SummarizerError(f"the model's window has no room for a part of message {message.id}")

    def _rendered(self, wires: list[Wire]) -> list[int]:
        """Return the tokens of a prompt: by the model's chat template, or as plain text where it has none."""
        tokenizer = self._pipeline.tokenizer
        for special in getattr(
            tokenizer, "all_special_tokens", ()
        ):  # spelt in a message they are text, not an end
            wires = [
                {**wire, "content": wire["content"].replace(special, " ".join(special))}
                for wire in wires
            ]
        text = "\n\n".join(wire["content"] for wire in wires)
        ids: list[int]
        if not getattr(tokenizer, "chat_template", None):
            ids = tokenizer(f"{text}\n")["input_ids"]
            return ids
        render = partial(tokenizer.apply_chat_template, tokenize=False, add_generation_prompt=True)
        try:
            rendered = render(wires)
        except Exception:
            rendered = render([{"role": "user", "content": text}])
        ids = tokenizer(rendered, add_special_tokens=False)[
            "input_ids"
        ]  # the template has written those
        return ids


def _window(tokenizer: Any, model: Any) -> int:
    """Return how many tokens the model takes."""
    limits = (
        getattr(model.config, "max_position_embeddings", None),
        getattr(tokenizer, "model_max_length", None),
    )
    return min(
        (limit for limit in limits if isinstance(limit, int) and 0 < limit < SANE), default=WINDOW
    )
