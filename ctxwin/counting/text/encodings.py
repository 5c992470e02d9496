"""
The embedded encodings: private `tiktoken.Encoding` objects that need no network and no cache.

tiktoken itself downloads its vocabularies. Here they come with the package (`data/*.vocab`, see
`vocabulary.py`), and tiktoken's registry and environment variables are not touched. The patterns
and special tokens are those of `tiktoken_ext/openai_public.py` (MIT, its licence is beside the
data).
"""

import functools
from typing import TYPE_CHECKING

from ctxwin.counting.text.vocabulary import unpack

if TYPE_CHECKING:
    import tiktoken

CL100K_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
# A word of o200k_base: upper-case letters, then lower-case ones, then an English contraction.
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K_PATTERN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]*[{_LOWER}]+{_CONTRACTION}"
    rf"|[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]+[{_LOWER}]*{_CONTRACTION}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = {"cl100k_base": CL100K_PATTERN, "o200k_base": O200K_PATTERN}
SPECIAL_TOKENS = {
    "cl100k_base": {
        "<|endoftext|>": 100257,
        "<|fim_prefix|>": 100258,
        "<|fim_middle|>": 100259,
        "<|fim_suffix|>": 100260,
        "<|endofprompt|>": 100276,
    },
    "o200k_base": {"<|endoftext|>": 199999, "<|endofprompt|>": 200018},
}
# o200k_harmony only adds special tokens to o200k_base. Ranks and pattern are the same, so ordinary
# text counts the same.
ALIASES = {"o200k_harmony": "o200k_base"}


def read_vocabulary(name: str) -> dict[bytes, int]:
    """Return the embedded vocabulary: token -> rank, in rank order."""
    from importlib import resources  # noqa: PLC0415 - not needed before the first count

    return unpack(resources.files(__package__).joinpath(f"data/{name}.vocab").read_bytes())


@functools.cache
def load_encoding(name: str) -> "tiktoken.Encoding":
    """Build the encoding, once per process; o200k_base takes about a quarter of a second."""
    import tiktoken  # noqa: PLC0415 - not needed before the first count

    return tiktoken.Encoding(
        name,
        pat_str=PATTERNS[name],
        mergeable_ranks=read_vocabulary(name),
        special_tokens=SPECIAL_TOKENS[name],
    )
