"""
The packed form of a byte-level BPE vocabulary, and how to make it from the official file.

A `.tiktoken` file holds one line per token, `base64(token) rank`, with ranks 0, 1, 2 ... and no
gap. So neither the ranks nor base64 need to be stored, only the tokens in rank order. They are
stored as a column of lengths (one byte per token), followed by the bodies grouped by length. zlib
packs that to a quarter of the official size.

To rebuild a data file from the official vocabulary:

    python -m ctxwin.counting.text.vocabulary o200k_base.tiktoken o200k_base.vocab
"""

import binascii
import itertools
import sys
import zlib
from collections.abc import Iterable, Sequence


def pack(tokens: Sequence[bytes]) -> bytes:
    """Pack tokens into the form that `unpack` reads: in rank order, each of 1 to 255 bytes."""
    lengths = bytes(len(token) for token in tokens)
    by_length = sorted(range(len(tokens)), key=lengths.__getitem__)
    bodies = b"".join(tokens[rank] for rank in by_length)
    return zlib.compress(len(tokens).to_bytes(4, "big") + lengths + bodies, 9)


def unpack(packed: bytes) -> dict[bytes, int]:
    """Return token -> rank, in rank order, from the bytes that `pack` made."""
    data = zlib.decompress(packed)
    size = int.from_bytes(data[:4], "big")
    lengths = data[4 : 4 + size]
    # For each length, where its next body begins. `sorted` in `pack` is stable, so the bodies of
    # one length are in rank order.
    sizes = [length * lengths.count(length) for length in range(256)]
    starts = list(itertools.accumulate(sizes, initial=4 + size))
    ranks = {}
    for rank, length in enumerate(lengths):
        start = starts[length]
        starts[length] = end = start + length
        ranks[data[start:end]] = rank
    return ranks


def parse(official: bytes) -> list[bytes]:
    """
    Return the tokens of a `.tiktoken` file, in rank order.

    Raises:
        ValueError: the ranks are not 0, 1, 2 ...
    """
    tokens = []
    for rank, line in enumerate(official.splitlines()):
        token, stated = line.split()
        if int(stated) != rank:
            raise ValueError(
                f"line {rank + 1} states rank {int(stated)}: ranks must be dense, it must be {rank}"
            )
        tokens.append(binascii.a2b_base64(token))
    return tokens


def serialise(tokens: Iterable[bytes]) -> bytes:
    """Return the official file, byte for byte: its sha256 proves that packing lost nothing."""
    return b"".join(
        b"%s %d\n" % (binascii.b2a_base64(token, newline=False), rank)
        for rank, token in enumerate(tokens)
    )


def main(source: str, target: str) -> None:
    """Pack the official file `source` into `target`."""
    from pathlib import Path  # noqa: PLC0415 - only contributors run this

    Path(target).write_bytes(pack(parse(Path(source).read_bytes())))


if __name__ == "__main__":
    main(*sys.argv[1:])
