"""What examples get for the package `openai` when they are tested: no network, no key."""

from types import SimpleNamespace
from typing import Any

from ctxwin.counting import openai_counter


class _Message(SimpleNamespace):
    """The message of a reply, an SDK object as far as ctxwin can tell."""

    def model_dump(self, **_: Any) -> dict[str, Any]:
        """Return its fields."""
        return dict(vars(self))


class OpenAI:
    """A client whose model always says the same, and bills what ctxwin counts."""

    def __init__(self) -> None:
        self.chat = SimpleNamespace(completions=SimpleNamespace(create=self._create))

    def _create(self, *, model: str, messages: list[dict[str, Any]], **_: Any) -> SimpleNamespace:
        tokens = openai_counter(model).count_request(messages)
        message = _Message(role="assistant", content="It is on its way.", refusal=None)
        choice = SimpleNamespace(message=message, finish_reason="stop")
        return SimpleNamespace(choices=[choice], usage={"prompt_tokens": tokens})
