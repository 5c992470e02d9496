"""Which counter belongs to a model's or an encoding's name."""

import functools

from ctxwin.counting.encodings import ALIASES, PATTERNS, load_encoding
from ctxwin.counting.openai import TiktokenCounter

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
    encoding = None if model is None else _encoding_of(model)
    return _counter(encoding or DEFAULT_ENCODING, exact=encoding is not None)


def _encoding_of(name: str) -> str | None:
    name = ALIASES.get(name, name)
    if name in PATTERNS:
        return name
    model = name.rsplit("/", 1)[-1].removeprefix("ft:").lower()
    return next((encoding for prefix, encoding in PREFIXES if model.startswith(prefix)), None)


@functools.cache
def _counter(encoding: str, *, exact: bool) -> TiktokenCounter:
    return TiktokenCounter(functools.partial(load_encoding, encoding), name=encoding, exact=exact)
