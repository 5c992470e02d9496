"""Plugins around the call, for tests: each does one thing, or one thing wrongly."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ctxwin import Answer, ContextManager, Observation, Request, Route, RouteRequest, hookimpl
from ctxwin.testing import WordCounter


class Named:
    """A plugin of a name of its own, so that several of a class may stand in one chain."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name or type(self).__name__.lower()


class Routes(Named):
    def __init__(self, does: Callable[[RouteRequest], Any], name: str | None = None) -> None:
        super().__init__(name)
        self.does = does

    @hookimpl
    def ctxwin_route(self, request: RouteRequest) -> Route | None:
        return self.does(request)  # type: ignore[no-any-return]


class Answers(Named):
    def __init__(self, does: Callable[[Request], Any], name: str | None = None) -> None:
        super().__init__(name)
        self.does = does

    @hookimpl
    def ctxwin_answer(self, request: Request) -> Answer | None:
        return self.does(request)  # type: ignore[no-any-return]


class Shapes(Named):
    def __init__(self, does: Callable[[Request], Any], name: str | None = None) -> None:
        super().__init__(name)
        self.does = does

    @hookimpl
    def ctxwin_shape(self, request: Request) -> Request | None:
        return self.does(request)  # type: ignore[no-any-return]


class Admits(Named):
    """Holds what it admits until it hears how that ended."""

    def __init__(
        self, does: Callable[[Request], Any] = lambda _: None, name: str | None = None
    ) -> None:
        super().__init__(name)
        self.does = does
        self.held: set[str] = set()

    @hookimpl
    def ctxwin_admit(self, request: Request) -> None:
        self.does(request)
        self.held.add(request.id)

    @hookimpl
    def ctxwin_observed(self, observation: Observation) -> None:
        self.held.discard(observation.request_id or "")


class Observes(Named):
    """Remembers every observation."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self.seen: list[Observation] = []

    @hookimpl
    def ctxwin_observed(self, observation: Observation) -> None:
        self.seen.append(observation)

    @property
    def last(self) -> Observation:
        return self.seen[-1]


def chat(*plugins: object, tokens: int | None = 1000, **options: Any) -> ContextManager:
    """Return a manager with a system message and a question, counted in words."""
    ctx = ContextManager(
        tokens, strategies=list(plugins), **{"counter": WordCounter(), "model": "m", **options}
    )
    ctx.add_message("system", "be brief")
    ctx.add_message("user", "what is new")
    return ctx


def reply(text: str = "nothing much", tokens: int = 20, **more: Any) -> dict[str, Any]:
    """Return a reply of chat completions."""
    return {
        "id": "reply-1",
        "model": "m-2026",
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": tokens, "completion_tokens": 2},
        **more,
    }


@contextmanager
def logged(caplog: Any, *said: str) -> Iterator[None]:
    """Have the block log exactly these, each in part."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, "ctxwin"):
        yield
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == len(said), messages
    for message, part in zip(messages, said, strict=True):
        assert part in message
