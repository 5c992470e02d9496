"""The size of an image, from the first bytes of its file: what providers without a flat price count by."""

import binascii
from collections.abc import Iterator, Mapping
from typing import Any

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"
GIF = (b"GIF87a", b"GIF89a")
# Markers that begin a frame, which states the size: SOF0 to SOF15 without the tables DHT, JPG and DAC between them.
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
HEADER = 65_536  # characters of base64 that are read; a JPEG's size stands behind its colour profile and thumbnail


def image_size(part: Mapping[str, Any]) -> tuple[int, int] | None:
    """
    Return width and height, in pixels, of the image in a content part, or None where its bytes are not at hand.

    Args:
        part: an `image_url` part with a data URL, or Anthropic's `image` block with a base64 source.
    """
    source = part.get("image_url") or part.get("source")
    stated = (source.get("url") or source.get("data")) if isinstance(source, Mapping) else source
    if not isinstance(stated, str) or stated.startswith("http"):
        return None
    encoded = stated.partition("base64,")[2] if stated.startswith("data:") else stated
    try:
        return size_of(binascii.a2b_base64(encoded[:HEADER][: len(encoded) // 4 * 4]))
    except ValueError:  # not base64
        return None


def size_of(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a PNG, GIF, JPEG or WebP, given its first bytes; None for any other."""
    if data.startswith(PNG) and len(data) >= 24:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data.startswith(GIF) and len(data) >= 10:
        return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    if data.startswith(JPEG):
        return next(_jpeg_sizes(data), None)
    return _webp_size(data) if data[8:12] == b"WEBP" and len(data) >= 30 else None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height by the first chunk: extended, lossless or lossy, each with packing of its own."""
    match data[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
        case b"VP8L":
            packed = int.from_bytes(data[21:25], "little")
            return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
        case b"VP8 ":
            return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
        case _:
            return None


def _jpeg_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield width and height of each frame; segments follow one another, each with its length."""
    start = 2
    while start + 9 <= len(data) and data[start] == 0xFF:
        if data[start + 1] in JPEG_FRAMES:
            yield int.from_bytes(data[start + 7 : start + 9], "big"), int.from_bytes(data[start + 5 : start + 7], "big")
        start += 2 + int.from_bytes(data[start + 2 : start + 4], "big")
