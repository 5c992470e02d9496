"""Finds the counter for a model's or an encoding's name."""

import functools
import inspect
import warnings

from ctxwin.counting.openai.openai import TiktokenCounter
from ctxwin.counting.openai.rules import COMMON, OSS, OTHER, Rules, rules_for
from ctxwin.counting.protocol import TokenCounter
from ctxwin.counting.text.encodings import ALIASES, PATTERNS
from ctxwin.counting.text.text import texts_of

# Prefixes of model names (dates and suffixes follow them). Where one prefix begins another, the
# longer one comes first. Source: tiktoken/model.py (0.14), with two differences: it takes
# `ft:gpt-4.1` for cl100k_base, and it does not know gpt-6, gpt-realtime, gpt-audio, codex-mini and
# computer-use-preview.
PREFIXES = (
    ("gpt-oss", "o200k_base"),
    ("gpt-6", "o200k_base"),
    ("gpt-5", "o200k_base"),
    ("gpt-4.1", "o200k_base"),
    ("gpt-4.5", "o200k_base"),
    ("gpt-4o", "o200k_base"),
    ("chatgpt-4o", "o200k_base"),
    ("o1", "o200k_base"),
    ("o3", "o200k_base"),
    ("o4-mini", "o200k_base"),
    ("gpt-realtime", "o200k_base"),
    ("gpt-audio", "o200k_base"),
    ("codex-mini", "o200k_base"),
    ("computer-use-preview", "o200k_base"),
    ("gpt-4", "cl100k_base"),
    ("gpt-3.5", "cl100k_base"),
    ("gpt-35", "cl100k_base"),  # Azure's spelling
)
DEFAULT_ENCODING = "o200k_base"
NAMES_KEPT = 1024  # names may come from users, so the cache is bounded


@functools.lru_cache(NAMES_KEPT)
def counter_for(model: str | None) -> TokenCounter:
    """
    Return the counter for a model's or an encoding's name.

    Provider prefixes (`openai/`, `azure/`) and the prefix of fine-tunes (`ft:`) are ignored.

    - OpenAI's models are counted with their own vocabulary, `exact=True`. The exception is gpt-oss,
      to which hosts add a text of their own.
    - Claude, Gemini and Mistral are estimated (`ctxwin.counting.estimates`).
    - Any other name gets o200k_base as a stand-in, and a `UserWarning` that says so, once. None
      gets the same stand-in without a warning.

    For Llama, Qwen, DeepSeek and other models whose tokenizer you have, a `TransformersCounter`
    counts exactly.

    Counters hold no state of a conversation and are shared.
    """
    if model is None or _encoding_of(model) is not None:
        return openai_counter(model)
    # Only programs that use such a model wait for this import.
    from ctxwin.counting.estimates.estimates import estimate_for  # noqa: PLC0415

    estimate = estimate_for(model)
    if estimate is not None:
        return estimate
    warnings.warn(
        f"no tokenizer is known for {model!r}: its tokens are estimated with {DEFAULT_ENCODING}; "
        "give a counter, a TransformersCounter for example, or correct the estimate with observe()",
        stacklevel=_outside(),
    )
    return openai_counter(model)


@functools.lru_cache(NAMES_KEPT)
def openai_counter(model: str | None) -> TiktokenCounter:
    """Return the counter for an OpenAI model, or a stand-in with `exact=False` for any other."""
    if model is None:
        return _counter(DEFAULT_ENCODING, COMMON, exact=False)
    encoding = _encoding_of(model)
    if encoding is None:
        return _counter(DEFAULT_ENCODING, OTHER, exact=False)
    rules = rules_for(_bare(model))
    return _counter(encoding, rules, exact=rules is not OSS)


def _outside() -> int:
    """Return how many frames up the caller's own code is, so that a warning points to it."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "ctxwin":
        frame, level = frame.f_back, level + 1
    return level


def _bare(model: str) -> str:
    """Return the model's name without its provider and `ft:`, in lower case."""
    return model.rsplit("/", 1)[-1].removeprefix("ft:").lower()


def _encoding_of(name: str) -> str | None:
    name = ALIASES.get(name, name)
    if name in PATTERNS:
        return name
    return next((encoding for prefix, encoding in PREFIXES if _bare(name).startswith(prefix)), None)


@functools.cache
def _counter(encoding: str, rules: Rules, *, exact: bool) -> TiktokenCounter:
    name = f"{encoding}/{rules.name}" if rules.name else encoding
    return TiktokenCounter(texts_of(encoding), name=name, exact=exact, rules=rules)
