"""Which counter belongs to a model's or an encoding's name."""

import functools

from ctxwin.counting.encodings import ALIASES, PATTERNS, load_encoding
from ctxwin.counting.openai import TiktokenCounter
from ctxwin.counting.rules import COMMON, OTHER, Rules, rules_for

# Prefixes of model names, longest first where one begins another. Source: tiktoken/model.py (0.14), but for
# `ft:gpt-4.1`, which it takes for cl100k_base; dates and suffixes follow the prefix.
PREFIXES = (
    ("gpt-oss", "o200k_base"),
    ("gpt-5", "o200k_base"),
    ("gpt-4.1", "o200k_base"),
    ("gpt-4.5", "o200k_base"),
    ("gpt-4o", "o200k_base"),
    ("chatgpt-4o", "o200k_base"),
    ("o1", "o200k_base"),
    ("o3", "o200k_base"),
    ("o4-mini", "o200k_base"),
    ("gpt-4", "cl100k_base"),
    ("gpt-3.5", "cl100k_base"),
    ("gpt-35", "cl100k_base"),  # Azure's spelling
)
DEFAULT_ENCODING = "o200k_base"


def counter_for(model: str | None) -> TiktokenCounter:
    """
    Return the counter for a model's or an encoding's name.

    Provider prefixes (`openai/`, `azure/`) and fine-tunes (`ft:`) are seen through. A name that is not known, and
    `None`, give o200k_base with `exact=False`. Counters hold no state of a conversation and are shared.
    """
    if model is None:
        return _counter(DEFAULT_ENCODING, COMMON, exact=False)
    encoding = _encoding_of(model)
    if encoding is None:
        return _counter(DEFAULT_ENCODING, OTHER, exact=False)
    return _counter(encoding, rules_for(_bare(model)), exact=True)


def _bare(model: str) -> str:
    """Return the model's name without provider and fine-tune, in lower case."""
    return model.rsplit("/", 1)[-1].removeprefix("ft:").lower()


def _encoding_of(name: str) -> str | None:
    name = ALIASES.get(name, name)
    if name in PATTERNS:
        return name
    return next((encoding for prefix, encoding in PREFIXES if _bare(name).startswith(prefix)), None)


@functools.cache
def _counter(encoding: str, rules: Rules, *, exact: bool) -> TiktokenCounter:
    name = f"{encoding}/{rules.name}" if rules.name else encoding
    return TiktokenCounter(functools.partial(load_encoding, encoding), name=name, exact=exact, rules=rules)
