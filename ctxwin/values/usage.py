"""How many input tokens a request had, according to the usage that a provider reports."""

from collections.abc import Mapping
from typing import Any

from ctxwin.values.errors import quoted

# The fields in which APIs report the input of a request.
INPUT_FIELDS = (
    "prompt_tokens",  # chat completions
    "input_tokens",  # Responses, Anthropic
    "prompt_token_count",  # Gemini
    "promptTokenCount",  # Gemini
    "inputTokens",  # Bedrock
)
# Anthropic and Bedrock report cached input in separate fields; the others include it in the input.
CACHE_FIELDS = {
    "input_tokens": ("cache_read_input_tokens", "cache_creation_input_tokens"),
    "inputTokens": ("cacheReadInputTokens", "cacheWriteInputTokens"),
}


def input_tokens(usage: object) -> int:
    """
    Return how many input tokens a request had; cached ones are included, and counted once.

    Args:
        usage: the usage that came with the reply: a mapping or an SDK object, as OpenAI (chat
            completions and Responses), Anthropic, Gemini or Bedrock give it.

    Raises:
        ValueError: it does not say how many. A total is no substitute: it includes the output.
    """
    fields = _fields(usage)
    stated = {
        name: tokens for name in INPUT_FIELDS if type(tokens := fields(name)) is int and tokens >= 0
    }
    # An SDK object may have several of the fields; a 0 beside a real figure is a default value.
    name = max(stated, key=lambda name: stated[name] > 0, default=None)
    if name is not None:
        cached = [fields(cache) for cache in CACHE_FIELDS.get(name, ())]
        return stated[name] + sum(extra for extra in cached if type(extra) is int)
    known = ", ".join(INPUT_FIELDS)
    raise ValueError(
        f"usage does not state the input tokens; it needs one of {known}: {quoted(usage)}"
    )


def _fields(usage: object) -> Any:
    if isinstance(usage, Mapping):
        return usage.get
    return lambda name: getattr(usage, name, None)
