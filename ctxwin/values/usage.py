"""How many input tokens a provider says a request had."""

from collections.abc import Mapping
from typing import Any

# Under which APIs report the input of a request: chat completions, Responses and Anthropic, Gemini,
# Bedrock.
INPUT_FIELDS = (
    "prompt_tokens",
    "input_tokens",
    "prompt_token_count",
    "promptTokenCount",
    "inputTokens",
)
# Anthropic and Bedrock report cached input beside theirs; the others report it as a part of the
# input.
CACHE_FIELDS = {
    "input_tokens": ("cache_read_input_tokens", "cache_creation_input_tokens"),
    "inputTokens": ("cacheReadInputTokens", "cacheWriteInputTokens"),
}


def input_tokens(usage: object) -> int:
    """
    Return the input tokens of a request, cached ones included, each counted once.

    Args:
        usage: the usage that came with the reply: a mapping or an SDK object, as OpenAI (chat
            completions and Responses), Anthropic, Gemini or Bedrock give it.

    Raises:
        ValueError: it states no input tokens; totals are no substitute, since they hold the output
            too.
    """
    fields = _fields(usage)
    stated = {
        name: tokens for name in INPUT_FIELDS if type(tokens := fields(name)) is int and tokens >= 0
    }
    name = max(
        stated, key=lambda name: stated[name] > 0, default=None
    )  # a nought beside a figure is a default
    if name is not None:
        cached = [fields(cache) for cache in CACHE_FIELDS.get(name, ())]
        return stated[name] + sum(extra for extra in cached if type(extra) is int)
    raise ValueError(f"usage states none of {', '.join(INPUT_FIELDS)}: {usage!r}")


def _fields(usage: object) -> Any:
    if isinstance(usage, Mapping):
        return usage.get
    return lambda name: getattr(usage, name, None)
