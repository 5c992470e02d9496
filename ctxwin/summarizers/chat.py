"""A summariser for any server with the OpenAI chat completions API, hosted or your own."""

import inspect
from collections.abc import Awaitable, Generator, Sequence
from typing import Any

from ctxwin.summarizers.transcript import prompt
from ctxwin.values.errors import SummarizerError, quoted
from ctxwin.values.message import Message


class OpenAISummarizer:
    """
    Lets a chat model write the summary.

    Args:
        client: an OpenAI-compatible client: `OpenAI()`, `AsyncOpenAI()`, or anything with
            `chat.completions.create`. With an async client this is an async summariser.
        model: the model's name.
        limit: the name of the parameter that bounds the reply. Reasoning models spend that bound on
            hidden thoughts: for them pass None, and set a bound in `options` if you want one.
        options: sent with each request (`temperature=0`, `timeout=30`).

    Raises:
        TypeError: the client has no `chat.completions.create`, or `options` has a parameter that
            the summariser sets itself.
    """

    def __init__(
        self, client: Any, model: str, *, limit: str | None = "max_tokens", **options: Any
    ) -> None:
        completions = getattr(getattr(client, "chat", None), "completions", None)
        if not callable(getattr(completions, "create", None)):
            raise TypeError(
                f"{type(client).__name__} has no chat.completions.create: give an "
                "OpenAI-compatible client"
            )
        taken = {"model", "messages", limit} & options.keys()
        if taken:
            raise TypeError(
                f"options: {', '.join(sorted(map(str, taken)))} is set by the summariser itself"
            )
        self.client = client
        self.model = model
        self.limit = limit
        self.options = options

    def __repr__(self) -> str:
        return f"OpenAISummarizer({type(self.client).__name__}, {self.model!r})"

    def __call__(
        self, messages: Sequence[Message], previous_summary: str | None, max_tokens: int
    ) -> str | Awaitable[str]:
        """
        Return the model's summary; an awaitable of it if the client is async.

        Raises:
            SummarizerError: the model refused, said nothing, or was cut off. What the client raises
                is passed on.
        """
        bound = {} if self.limit is None else {self.limit: max_tokens}
        wires = prompt(messages, previous_summary, max_tokens)
        reply = self.client.chat.completions.create(
            model=self.model, messages=wires, **bound, **self.options
        )
        return _Awaited(reply) if inspect.isawaitable(reply) else _text_of(reply)


class _Awaited:
    """
    The text of a chat completion that is still on its way.

    A coroutine that is never awaited must be closed, so closing this closes the client's own.
    """

    def __init__(self, reply: Awaitable[Any]) -> None:
        self._reply = reply

    def __await__(self) -> Generator[Any, Any, str]:
        return _text_of((yield from self._reply.__await__()))

    def close(self) -> None:
        close = getattr(self._reply, "close", None)
        if callable(close):
            close()


def _text_of(reply: Any) -> str:
    """Return the text of a chat completion."""
    if not reply.choices:
        raise SummarizerError("the model's reply has no choices")
    choice = reply.choices[0]
    refusal = getattr(choice.message, "refusal", None)
    if refusal or choice.finish_reason == "content_filter":
        raise SummarizerError(
            f"the model refused: {quoted(refusal) if refusal else 'content filter'}"
        )
    if choice.finish_reason == "length":
        raise SummarizerError("the model's summary was cut off: it wrote more than its limit")
    text = choice.message.content
    if not isinstance(text, str) or not text.strip():
        raise SummarizerError("the model said nothing")
    return text.strip()
