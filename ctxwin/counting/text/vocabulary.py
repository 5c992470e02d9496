"""
The packed form of a byte-level BPE vocabulary, and how to make it from the official file.

A `.tiktoken` file holds one line a token, `base64(token) rank`, with ranks 0, 1, 2 ... and no gap.
Rank and base64 are therefore redundant: what is left are the tokens, in rank order. They are stored
as a column of lengths (one byte a token) followed by the bodies grouped by length, which zlib packs
to a quarter of the official size.

To rebuild a data file from the official vocabulary:

    python -m ctxwin.counting.vocabulary o200k_base.tiktoken o200k_base.vocab
"""

import binascii
import itertools
import sys
import zlib
from collections.abc import Iterable, Sequence


def pack(tokens: Sequence[bytes]) -> bytes:
    """Pack tokens, in rank order and each of 1 to 255 bytes, into the form that `unpack` reads."""
    lengths = bytes(len(token) for token in tokens)
    by_length = sorted(range(len(tokens)), key=lengths.__getitem__)
    bodies = b"".join(tokens[rank] for rank in by_length)
    return zlib.compress(len(tokens).to_bytes(4, "big") + lengths + bodies, 9)


def unpack(packed: bytes) -> dict[bytes, int]:
    """Return token -> rank, in rank order, from the bytes that `pack` made."""
    data = zlib.decompress(packed)
    size = int.from_bytes(data[:4], "big")
    lengths = data[4 : 4 + size]
    # Where the next body of each length begins: `sorted` in `pack` is stable, so bodies of a length
    # keep rank order.
    sizes = [length * lengths.count(length) for length in range(256)]
    starts = list(itertools.accumulate(sizes, initial=4 + size))
    ranks = {}
    for rank, length in enumerate(lengths):
        start = starts[length]
        starts[length] = end = start + length
        ranks[data[start:end]] = rank
    return ranks


def parse(official: bytes) -> list[bytes]:
    """Read a `.tiktoken` file: its tokens in rank order. Raises `ValueError` where ranks are not 0, 1, 2 ..."""
    tokens = []
    for rank, line in enumerate(official.splitlines()):
        token, stated = line.split()
        if int(stated) != rank:
            raise ValueError(f"line {rank + 1} states rank {int(stated)}: ranks must be dense")
        tokens.append(binascii.a2b_base64(token))
    return tokens


def serialise(tokens: Iterable[bytes]) -> bytes:
    """Write tokens back as the official file, byte for byte: its sha256 proves that nothing was lost."""
    return b"".join(
        b"%s %d\n" % (binascii.b2a_base64(token, newline=False), rank)
        for rank, token in enumerate(tokens)
    )


def main(source: str, target: str) -> None:
    """Pack the official file `source` into `target`."""
    from pathlib import Path

    Path(target).write_bytes(pack(parse(Path(source).read_bytes())))


if __name__ == "__main__":
    main(*sys.argv[1:])
