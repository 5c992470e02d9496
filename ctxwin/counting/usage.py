"""How many input tokens a provider says a request had."""

from collections.abc import Mapping
from typing import Any

# The names under which APIs report the input of a request: chat completions, Responses and Anthropic, Gemini.
INPUT_FIELDS = ("prompt_tokens", "input_tokens", "prompt_token_count", "promptTokenCount")
# Anthropic reports cached input beside `input_tokens`; the others report it as a part of the input.
CACHE_FIELDS = ("cache_read_input_tokens", "cache_creation_input_tokens")


def input_tokens(usage: object) -> int:
    """
    Return the input tokens of a request, cached ones included, each counted once.

    Args:
        usage: the usage that came with the reply: a mapping or an SDK object, as OpenAI (chat completions and
            Responses), Anthropic or Gemini give it.

    Raises:
        ValueError: it states no input tokens; totals are no substitute, since they hold the output too.
    """
    fields = _fields(usage)
    stated = {name: tokens for name in INPUT_FIELDS if type(tokens := fields(name)) is int and tokens >= 0}
    for name, tokens in sorted(stated.items(), key=lambda item: not item[1]):  # a nought beside a figure is a default
        cached = [fields(name) for name in CACHE_FIELDS] if name == "input_tokens" else []
        return tokens + sum(extra for extra in cached if type(extra) is int)
    raise ValueError(f"usage states none of {', '.join(INPUT_FIELDS)}: {usage!r}")


def _fields(usage: object) -> Any:
    if isinstance(usage, Mapping):
        return usage.get
    return lambda name: getattr(usage, name, None)
