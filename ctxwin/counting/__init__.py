"""
Token counters: what a message costs, offline.

A counter is anything that satisfies `TokenCounter`. `counter_for` finds the right one for a model's
or an encoding's name. `CallableCounter` makes one from a plain `Callable[[str], int]`.
`TiktokenCounter` counts for OpenAI's models, `TransformersCounter` uses a model's own chat template
and tokenizer, and `EstimateCounter` serves models whose tokenizer is not public.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ctxwin.counting.models import counter_for, openai_counter
from ctxwin.counting.openai.chat import CallableCounter, ChatCounter
from ctxwin.counting.openai.openai import TiktokenCounter
from ctxwin.counting.protocol import TokenCounter
from ctxwin.counting.text.text import upper_bound
from ctxwin.values.usage import input_tokens

if TYPE_CHECKING:
    from ctxwin.counting.estimates.estimates import EstimateCounter, estimate_for
    from ctxwin.counting.template.templates import TransformersCounter

__all__ = [
    "CallableCounter",
    "ChatCounter",
    "EstimateCounter",
    "TiktokenCounter",
    "TokenCounter",
    "TransformersCounter",
    "counter_for",
    "estimate_for",
    "input_tokens",
    "openai_counter",
    "upper_bound",
]
# Imported on first use: most programs never need them.
_LATER = {
    "EstimateCounter": "estimates.estimates",
    "estimate_for": "estimates.estimates",
    "TransformersCounter": "template.templates",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
