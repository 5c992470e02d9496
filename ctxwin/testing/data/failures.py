"""How summarisers fail, and words that show that a text was made from their errors."""

from ctxwin.values.errors import SummarizerError
from ctxwin.values.plan import Summarize

TOO_LONG = 2000  # words
AWAY = "model-5f0e9a7c31d2"  # a text that has this in it quotes the error


class ModelAwayError(TimeoutError):
    """The error of a failing summariser."""


def _raise(_: Summarize) -> str:
    raise ModelAwayError(f"no answer from {AWAY}")


def _blank(_: Summarize) -> str:
    return " \n"


def _too_long(effect: Summarize) -> str:
    return "word " * min(effect.max_tokens + 1, TOO_LONG)


class Faltering:
    """Answers once, then fails."""

    def __init__(self) -> None:
        self.answered = False

    def __call__(self, effect: Summarize) -> str:
        """Answer, or raise."""
        if self.answered:
            return _raise(effect)
        self.answered = True
        return "s"


FAILURES = (_raise, _blank, _too_long)

# A text made from a summariser's error has one of these in it; no other text has, not by chance.
TELLTALES = (
    SummarizerError.__name__,
    ModelAwayError.__name__,
    "the summariser raised",
    *(AWAY[at : at + 6] for at in range(6, len(AWAY) - 5)),
)
