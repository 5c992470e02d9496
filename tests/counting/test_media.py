"""Sizes of images from their bytes, their prices by family, and estimates of audio and files."""

import base64
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxwin.counting import counter_for
from ctxwin.counting.openai import media
from ctxwin.counting.openai.rules import COMMON, Patches, Rules, Tiles, rules_for

sides = st.integers(1, 16_383)


def png(width: int, height: int) -> bytes:
    """Return the beginning of a PNG file, header checksum included."""
    header = b"IHDR" + struct.pack(">II", width, height) + b"\x08\x02\0\0\0"
    return media.PNG + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0"


def jpeg(width: int, height: int) -> bytes:
    """Return a JPEG with an application segment and a table before its frame."""
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes(9)
    return (
        b"\xff\xd8\xff\xe0"
        + struct.pack(">H", 16)
        + bytes(14)
        + b"\xff\xc4"
        + struct.pack(">H", 5)
        + bytes(3)
        + frame
    )


def webp_lossy(width: int, height: int) -> bytes:
    return b"RIFF\0\0\0\0WEBPVP8 " + bytes(10) + struct.pack("<HH", width, height)


def webp_lossless(width: int, height: int) -> bytes:
    packed = struct.pack("<I", (width - 1) | (height - 1) << 14)
    return b"RIFF\0\0\0\0WEBPVP8L" + bytes(4) + b"\x2f" + packed + bytes(9)


def webp_extended(width: int, height: int) -> bytes:
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + sizes


FORMATS = (png, gif, jpeg, webp_lossy, webp_lossless, webp_extended)


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize("make", FORMATS)
@given(width=sides, height=sides)
def test_size_is_read_from_the_bytes(make: Any, width: int, height: int) -> None:
    """For each format, in each shape that APIs accept."""
    url = data_url(make(width, height))
    bare = url.partition(",")[2]
    for part in (
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "image_url", "image_url": url},
        {"type": "input_image", "image_url": url, "detail": "high"},
        {"type": "image", "source": {"type": "base64", "data": bare}},
    ):
        assert media.image_size(part) == (width, height)


@given(st.sampled_from(FORMATS), st.integers(0, 40), st.binary(max_size=40))
def test_broken_images_have_no_size(make: Any, keep: int, rest: bytes) -> None:
    """A file that is cut off, or has junk after it, gives a size or None, never an error."""
    for data in (make(300, 200)[:keep] + rest, rest, b"\xff\xd8" + rest, b"RIFF" + rest):
        size = media.size_of(data)
        assert size is None or min(size) > 0
    assert media.size_of(b"RIFF\0\0\0\0WEBPodd " + bytes(14)) is None
    assert media.size_of(gif(0, 9)) is None
    assert media.size_of(jpeg(640, 0)) is None  # the height is stated behind the first scan


@pytest.mark.parametrize(
    "url", ["https://example.org/a.png", "data:image/png;base64,éééé", "data:image/png", "", None]
)
def test_images_out_of_reach(url: object) -> None:
    """Nothing is downloaded: the size behind a URL, or without base64, is not known."""
    assert media.image_size({"type": "image_url", "image_url": {"url": url}}) is None


@pytest.mark.parametrize(
    ("rule", "size", "low", "tokens"),
    [
        # Recorded requests.
        (Tiles(85, 170), (640, 480), False, 425),
        (Tiles(85, 170), (3008, 2000), False, 1105),
        (Tiles(85, 170), (1, 1), False, 255),
        (Tiles(2833, 5667), (640, 480), False, 14167),
        (Tiles(2833, 5667), (1, 1), True, 2833),
        (Patches(1720), (640, 480), False, 516),
        (Patches(1200), (640, 480), False, 360),
        (Patches(1500), (640, 480), False, 450),
        # Examples of OpenAI's guide, without a multiplier: 1024 x 1024, and 1800 x 2400 shrunk to
        # 33 x 44 patches.
        (Patches(1000), (1024, 1024), False, 1024),
        (Patches(1000), (1800, 2400), False, 1452),
        (Patches(1000), (1024, 1024), True, 256),
        # Unknown sizes cost the most that an image can cost.
        (Tiles(85, 170), None, False, 85 + 8 * 170),
        (Tiles(85, 170), None, True, 85),
        (Patches(1620), None, False, 2489),
        (Patches(1000), None, True, 256),
    ],
)
def test_prices(
    rule: Tiles | Patches, size: tuple[int, int] | None, low: bool, tokens: int
) -> None:
    """The published rules, where recorded requests agree with them."""
    assert rule.tokens(size, low=low) == tokens


@given(
    st.sampled_from([COMMON, *map(rules_for, ["gpt-4o-mini", "gpt-4.1-nano", "gpt-5-mini", "o3"])]),
    sides,
    sides,
)
def test_the_price_of_an_unknown_size_is_the_most(rules: Rules, width: int, height: int) -> None:
    """No image costs more, none costs nothing, and low detail never costs more than high."""
    most = rules.images.tokens(None, low=False)
    high = rules.images.tokens((width, height), low=False)
    assert 0 < rules.images.tokens((width, height), low=True) <= high <= most


def test_images_of_a_message() -> None:
    """They cost the family's price for the detail asked for, in the shape of either API."""
    url = data_url(jpeg(640, 480))
    for part, tokens in (
        ({"type": "image_url", "image_url": {"url": url}}, 425),
        ({"type": "image_url", "image_url": {"url": url, "detail": "low"}}, 85),
        ({"type": "input_image", "image_url": url, "detail": "low"}, 85),
        ({"type": "image_url", "image_url": "https://example.org/a.png"}, 1445),
    ):
        assert (
            counter_for("gpt-4o").count_message({"role": "user", "content": [part]}) == 4 + tokens
        )
    image = {"type": "image_url", "image_url": {"url": url}}
    assert counter_for("gpt-5-nano").count_message({"role": "user", "content": [image]}) == 4 + 450


def test_audio_is_estimated_by_its_length() -> None:
    """Ten tokens per second and a frame; the header of a WAV file states its bytes per second."""

    def tokens(data: bytes) -> int:
        part = {
            "type": "input_audio",
            "input_audio": {"data": base64.b64encode(data).decode(), "format": "wav"},
        }
        return counter_for("gpt-4o").count_message({"role": "user", "content": [part]}) - 4

    wav = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    assert tokens(wav.ljust(6444, b"\0")) == 4 + 3
    assert tokens(b"ID3".ljust(80_000, b"\0")) in (4 + 100, 4 + 101)
    assert media.audio_tokens({"type": "input_audio"}) == 4


def test_files_are_estimated_by_their_pages() -> None:
    """A text file counts as its text, a PDF by its pages, a file that is not there as one page."""
    pdf = b"%PDF-1.4 <</Type /Pages /Count 2>> <</Type /Page>> <</Type/Page /Parent 1>>"
    for part, tokens in (
        (
            {"type": "file", "file": {"file_data": data_url(pdf, "application/pdf")}},
            2 * media.PAGE_TOKENS,
        ),
        (
            {"type": "input_file", "file_data": data_url(b"no page", "application/pdf")},
            media.PAGE_TOKENS,
        ),
        ({"type": "input_file", "file_url": "https://example.org/a.pdf"}, media.PAGE_TOKENS),
        ({"type": "file", "file": {"file_id": "file-1"}}, media.PAGE_TOKENS),
        ({"type": "file", "file": {"file_data": data_url(b"hello world", "text/plain")}}, 2),
        ({"type": "file", "file": {"file_data": "data:text/plain;charset=utf-8,hello%20world"}}, 2),
    ):
        assert (
            counter_for("gpt-4o").count_message({"role": "user", "content": [part]}) == 4 + tokens
        )
