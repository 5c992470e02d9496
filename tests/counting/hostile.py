"""Messages that try to get past the door and then cannot be counted; each by its number."""

import enum
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

BLOB = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
)


class Colour(enum.IntEnum):
    """A subclass of int."""

    RED = 1


class Kind(enum.StrEnum):
    """A subclass of str."""

    USER = "user"
    TEXT = "text"


class Half(float):
    """A subclass of float that lies about itself."""

    def __repr__(self) -> str:
        return "half"


class Sly(str):
    """A text that lies about what it holds."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        raise RuntimeError("not to be encoded")

    def __len__(self) -> int:
        return 0

    def __getitem__(self, _: object) -> str:
        raise RuntimeError("not to be cut")


TEXTS: Sequence[str] = (
    *("", " ", "\n", "hello", "您好", "🙂‍🙂", "<|endoftext|>", "<|im_start|>", "</s>"),
    *("\ud800", "\udfff\ud800", "data:text/plain,\ud800", "data:text/plain;base64,\ud800"),
    *("data:", "data:,", "data:;base64,", "data:text/plain,%ff%zz%", "data:image/png;base64,!!"),
    *(f"data:image/png;base64,{BLOB}", f"data:video/mp4;base64,{BLOB}", "data:audio/wav,x"),
    *("data:application/pdf;base64,JVBERi0xLjc=", "data:image/svg+xml,<svg/>", "data:x" * 9),
    *(BLOB, BLOB + "=", "====", "A", "a b", "é" * 9, "https://example.org/a.png", "file:///x"),
    *("[" * 500, "{}", "[]", '{"a":1,"a":2}', "[1e999]", "[NaN]", "9" * 5000, f"[{'9' * 5000}]"),
    *('{"\\ud800": 1}', '"', "\\", "\x00", "\x1b]0;x\x07", "\u2028", "a" * 300, "=" * 300),
    *("UklGRgAAAABXQVZFZm10IBAAAAABAAEA/////w==", "R0lGODlhAAAAAA==", "/9j/wP////////8="),
)
KEYS: Sequence[str] = (
    *("text", "type", "data", "url", "image_url", "source", "blob", "base64", "mime_type", "file"),
    *("media_type", "mimeType", "format", "signature", "input_audio", "detail", "refusal", "name"),
    *("arguments", "input", "thinking", "content", "resource", "video_url", "audio_url", "audio"),
    *("file_data", "file_id", "google", "thought_signature", "extra_content", "thinking_blocks"),
    *("reasoning", "reasoning_content", "reasoning_details", "cache_control", "index", "\ud800"),
    *("function", "custom", "id", "parameters", "tool_use_id", "title", "encrypted_content", ""),
)
KINDS: Sequence[str] = (
    *("text", "image_url", "input_image", "image", "input_audio", "file", "input_file", "document"),
    *("refusal", "thinking", "redacted_thinking", "video_url", "audio_url", "audio", "resource"),
    *("media", "video", "input_text", "output_text", "zzz", "", "\ud800", "computer_screenshot"),
    *("tool_use", "tool_result", "reasoning", "citation", "search_result", "container_upload"),
)
NUMBERS: Sequence[Any] = (
    *(0, 1, -1, 2**31, 10**20, 10**4000, 10**5000, -(10**6000), True, False, None),
    *(0.0, -0.0, 1e308, 5e-324, math.nan, math.inf, -math.inf, Half(0.5), Half("nan")),
    *(Colour.RED, 1 + 0j, b"x", object(), {1}, range(3)),
)


def hostile(number: int) -> Any:
    """Return the message of that number; most are admitted."""
    draw = random.Random(number)
    role = draw.choice(("system", "developer", "user", "user", "assistant", "assistant", "tool"))
    wire: dict[Any, Any] = {"role": role, "content": _content(draw)}
    if role == "tool":
        wire["tool_call_id"] = draw.choice(("a", "b", "\ud800", ""))
    if role == "assistant" and draw.random() < 0.6:
        wire["tool_calls"] = [_call(draw) for _ in range(draw.randint(0, 3))]
    if role == "assistant" and draw.random() < 0.1:
        wire["function_call"] = _function(draw, "arguments")
    if draw.random() < 0.2:
        wire["name"] = draw.choice(TEXTS)
    for _ in range(draw.choice((0, 0, 1, 1, 3))):
        wire[draw.choice(KEYS)] = _value(draw, 0)
    wire.pop("role" if draw.random() < 0.01 else "nothing", None)
    if draw.random() < 0.03:
        wire["role"] = draw.choice((Kind.USER, Sly("user"), "function", "villain", None))
    return wire


def call_for(number: int) -> Any:
    """Return a message with calls, for a result to answer."""
    draw = random.Random(-1 - number)
    calls = [
        {"id": name, "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for name in ("a", "b")[: draw.randint(1, 2)]
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _content(draw: random.Random) -> Any:
    choice = draw.random()
    if choice < 0.25:
        return draw.choice(TEXTS)
    if choice < 0.3:
        return draw.choice((None, [], Sly("sly"), Kind.TEXT, *NUMBERS))
    return [_part(draw) for _ in range(draw.randint(1, 3))]


def _part(draw: random.Random) -> Any:
    kind = draw.choice(KINDS)
    part: dict[Any, Any] = {"type": kind}
    if kind == "text" or draw.random() < 0.2:
        part["text"] = draw.choice(TEXTS)
    if draw.random() < 0.7:
        part[kind] = _value(draw, 0)
    for _ in range(draw.choice((0, 1, 2))):
        part[draw.choice(KEYS)] = _value(draw, 0)
    if draw.random() < 0.02:
        part["deep"] = _deep(draw.choice((10, 60, 63, 64, 65, 70, 900)), draw)
    return part


def _call(draw: random.Random) -> Any:
    call: dict[Any, Any] = {"id": draw.choice(("a", "b", None, "\ud800")), "type": "function"}
    if draw.random() < 0.8:
        call["function"] = _function(draw, "arguments")
    else:
        call["custom"] = _function(draw, "input")
    if draw.random() < 0.3:
        call[draw.choice(KEYS[:-6])] = _value(draw, 0)
    return call


def _function(draw: random.Random, payload: str) -> Any:
    function: dict[Any, Any] = {"name": draw.choice(TEXTS), payload: draw.choice(TEXTS)}
    if draw.random() < 0.2:
        function[payload] = _value(draw, 0)
    if draw.random() < 0.2:
        function[draw.choice(KEYS)] = _value(draw, 0)
    return function


def _value(draw: random.Random, depth: int) -> Any:
    choice = draw.random()
    if depth > 4 or choice < 0.55:
        return draw.choice(TEXTS)
    if choice < 0.65:
        number = draw.choice(NUMBERS)
        return number if draw.random() < 0.5 else 7
    if choice < 0.9:
        keys = [draw.choice(KEYS) for _ in range(draw.randint(0, 3))]
        return {key: _value(draw, depth + 1) for key in keys}
    return [_value(draw, depth + 1) for _ in range(draw.randint(0, 3))]


def _deep(levels: int, draw: random.Random) -> Any:
    value: Any = draw.choice(TEXTS)
    wrap: Callable[[Any], Any] = draw.choice((lambda one: [one], lambda one: {"content": one}))
    for _ in range(levels):
        value = wrap(value)
    return value
