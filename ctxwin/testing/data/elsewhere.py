"""Other conversations that a strategy served before, or serves while a model answers."""

from functools import cache

from ctxwin.hooks.specs import hookimpl
from ctxwin.testing.data.cases import Case
from ctxwin.testing.data.fakes import WordCounter
from ctxwin.values.budget import Budget
from ctxwin.values.plan import PruneRequest
from ctxwin.values.wire import Wire


@cache
def elsewhere() -> tuple[list[PruneRequest], ...]:
    """Return the requests of a conversation of tiny messages, and those of one with long ones."""
    return _requests(_about_nothing(1, 20)), _requests(_about_nothing(120, 600))


class _Listener:
    def __init__(self) -> None:
        self.requests: list[PruneRequest] = []

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> None:
        self.requests.append(request)


def _requests(case: Case) -> list[PruneRequest]:
    listener = _Listener()
    case.play(case.manager([listener]))
    return listener.requests


def _about_nothing(words: int, max_tokens: int) -> Case:
    """Return a conversation about nothing; each message has this many words."""
    text = "word " * words
    call = {"id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    history: list[Wire] = [
        {"role": "system", "content": text},
        *({"role": role, "content": text} for role in ("user", "assistant", "user")),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": text},
        *({"role": role, "content": text} for role in ("assistant", "user", "assistant", "user")),
    ]
    return Case(tuple(history), Budget(max_tokens), WordCounter(), ask_every=4)
