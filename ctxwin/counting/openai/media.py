"""
Media in messages: reads the size of images, estimates audio and files.

The size of an image is read from its bytes. Nothing is downloaded: of a file behind a URL or an id
only the kind is known.
"""

import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

# A token for each 100 ms; source: OpenAI's guide to audio, and two recorded requests.
AUDIO_PER_SECOND = 10
AUDIO_FRAME = 4
COMPRESSED_PER_SECOND = 8_000  # bytes: 64 kbit/s, speech is seldom recorded below that
# An estimate. A page is sent as its text and as a picture; recorded pages cost 220 tokens (one line
# of text) to 960 (a full page).
PAGE_TOKENS = 1_000
# Estimates, declared as such: no provider whose bills were recorded says what these cost.
LINKED_TOKENS = 1_000  # audio or video behind a URL
VIDEO_PER_SECOND = 300  # pictures and sound, as Gemini's documentation has it
VIDEO_BYTES_PER_SECOND = 125_000  # 1 Mbit/s
SEALED_BYTES = 16  # for each token: what only its provider can read, and bytes of unknown kind
PDF_PAGE = re.compile(rb"/Type\s*/Page(?!s)")
BASE64 = re.compile(r"[A-Za-z0-9+/_\r\n-]*+={0,2}\s*")
PNG = b"\x89PNG\r\n\x1a\n"
# Markers that begin a frame, which states the size: SOF0 to SOF15, without DHT, JPG and DAC, which
# have numbers in the same range.
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Characters of base64 to read. That many, because a JPEG states its size only after its colour
# profile and thumbnail.
HEADER = 1 << 18

# Where a part has its image: in chat completions and Responses, Anthropic, MCP, and elsewhere.
IMAGE_SOURCES = ("image_url", "source", "data", "image", "url")

Part = Mapping[str, Any]


def image_size(part: Part) -> tuple[int, int] | None:
    """
    Return width and height of a content part's image in pixels; None if its bytes are not there.

    Args:
        part: an `image_url` part of chat completions or an `input_image` of Responses with a data
            URL, or an `image` block of Anthropic with a base64 source.
    """
    source = next((part[key] for key in IMAGE_SOURCES if part.get(key)), None)
    stated = (source.get("url") or source.get("data")) if isinstance(source, Mapping) else source
    return size_of(_decoded(stated, HEADER))


def is_low(part: Part) -> bool:
    """Return whether the part asks for low detail."""
    image = part.get("image_url")
    return (image if isinstance(image, Mapping) else part).get("detail") == "low"


def size_of(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a PNG, GIF, JPEG or WebP by its first bytes, else None."""
    if data.startswith(PNG) and len(data) >= 24:
        return _positive(int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"))
    if data.startswith((b"GIF87a", b"GIF89a")) and len(data) >= 10:
        return _positive(int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little"))
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP" and len(data) >= 30:
        return _positive(*_webp_size(data))
    return next(_jpeg_sizes(data), None) if data.startswith(b"\xff\xd8") else None


def audio_tokens(part: Part) -> int:
    """
    Return the tokens of an `input_audio` part, by its length in seconds.

    A WAV header states its bytes per second; compressed audio is taken to have 64 kbit/s.
    """
    given = part.get("input_audio")
    stated = given.get("data") if isinstance(given, Mapping) else None
    head = _decoded(stated, HEADER)
    rate = (
        int.from_bytes(head[28:32], "little")
        if head.startswith(b"RIFF") and head[8:12] == b"WAVE"
        else 0
    )
    size = len(stated) * 3 // 4 if isinstance(stated, str) else 0
    return AUDIO_FRAME - (-size * AUDIO_PER_SECOND // (rate or COMPRESSED_PER_SECOND))


def video_tokens(stated: str) -> int:
    """Return the tokens of a video, given as base64 or a data URL, by its length in seconds."""
    return -(-_size(stated) * VIDEO_PER_SECOND // VIDEO_BYTES_PER_SECOND) or 1


def sealed_tokens(stated: str) -> int:
    """Return the tokens of bytes that nobody here can read."""
    return -(-_size(stated) // SEALED_BYTES) or 1


def is_base64(text: str) -> bool:
    """Return whether a text can be base64, in one line or many."""
    return BASE64.fullmatch(text) is not None


def text_of(stated: str) -> str:
    """Return the text that a data URL or base64 holds."""
    header, comma, payload = stated.partition(",")
    if stated.startswith("data:") and not header.endswith(";base64"):
        # Lone surrogates pass: what is sent must be countable.
        data = unquote_to_bytes((payload if comma else header).encode("utf-8", "surrogatepass"))
    else:
        data = _decoded(stated)
    return data.decode("utf-8", "replace")


def file_content(part: Part) -> str | int:
    """Return the text of a `file`, `input_file` or `document` part, or its number of pages."""
    source = part.get("source")
    if isinstance(source, Mapping):
        data = source.get("data")
        return data if source.get("type") == "text" and isinstance(data, str) else _pages(data)
    given = part.get("file")
    stated = (given if isinstance(given, Mapping) else part).get("file_data")
    if isinstance(stated, str) and stated.startswith("data:text/"):
        return text_of(stated)
    return _pages(stated)


def _size(stated: str) -> int:
    """Return how many bytes base64 stands for."""
    return len(stated) * 3 // 4


def _pages(stated: object) -> int:
    return max(1, len(PDF_PAGE.findall(_decoded(stated))))


def _decoded(stated: object, most: int | None = None) -> bytes:
    """Return the bytes of a data URL or of base64 (of its first `most` characters), or `b""`."""
    if not isinstance(stated, str) or stated.startswith("http"):
        return b""
    encoded = stated.partition("base64,")[2] if stated.startswith("data:") else stated
    encoded = encoded if most is None else encoded[:most]
    try:
        return binascii.a2b_base64(encoded[: len(encoded) // 4 * 4])
    except ValueError:
        return b""


def _positive(width: int, height: int) -> tuple[int, int] | None:
    return (width, height) if width and height else None


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return the size that a WebP states: lossy, lossless or extended."""
    if data[12:16] == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if data[12:16] == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    if data[12:16] != b"VP8 ":
        return 0, 0
    width, height = int.from_bytes(data[26:28], "little"), int.from_bytes(data[28:30], "little")
    return width & 0x3FFF, height & 0x3FFF  # the upper two bits are a scale


def _jpeg_sizes(data: bytes) -> Iterator[tuple[int, int] | None]:
    """
    Yield each frame's width and height, or None if the frame leaves them to a later segment.

    A JPEG is a row of segments, each with a marker and its own length.
    """
    start = 2
    while start + 9 <= len(data) and data[start] == 0xFF:
        if data[start + 1] in JPEG_FRAMES:
            width, height = data[start + 7 : start + 9], data[start + 5 : start + 7]
            yield _positive(int.from_bytes(width, "big"), int.from_bytes(height, "big"))
        start += 2 + int.from_bytes(data[start + 2 : start + 4], "big")
