"""
What to count of a message beside its plain text: content parts, and fields of any shape.

Everything that is sent counts. A part or field that is known counts by its rule, an unknown one as
its JSON, which bounds it. Media inside it are not text, whatever API the shape comes from: a data
URL, or a string of bytes beside a media type, is priced by its kind and never tokenised.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias, TypeVar

from ctxwin.counting.openai import media

Piece: TypeAlias = tuple[Literal["text", "image", "tokens"], Any]
"""`text` with a text to tokenise, `image` with a part to price, `tokens` with an estimate."""

Tokens = TypeVar("Tokens", int, float)

# The fields of a message that counters know by name, each by a rule of its own. Ids and the type of
# a call are not billed.
FIELDS = frozenset(
    {
        *("role", "content", "name", "tool_calls", "tool_call_id", "function_call"),
        *("refusal", "reasoning_content", "reasoning"),
    }
)
CALL_FIELDS = frozenset({"id", "type", "index"})
FUNCTION_FIELDS = frozenset({"name", "arguments", "input"})
# Of a part whose text counts: marks for a provider's cache, and what proves where the text is from.
PART_MARKS = frozenset({"type", "cache_control", "signature"})
IMAGE_PARTS = frozenset({"image_url", "input_image", "image"})
IMAGE_FIELDS = PART_MARKS | {*media.IMAGE_SOURCES, "mimeType", "detail"}
FILE_PARTS = frozenset({"file", "input_file", "document"})
FILE_FIELDS = PART_MARKS | {"file", "source", "file_data", "file_id", "file_url", "filename"}
# Of the mapping that a known part holds.
SOURCE_FIELDS = frozenset({"url", "data", "type", "detail", "format", "media_type", *FILE_FIELDS})
LINKED_PARTS = frozenset({"video_url", "audio_url", "input_video", "video", "audio", "media"})
# Where bytes are written as text, and what stands beside them then.
BYTES = frozenset({"data", "blob", "base64", "b64_json", "bytes", "file_data", "audio_data"})
MEDIA_TYPES = (
    *("mime_type", "mimeType", "mimetype", "media_type", "mediaType"),
    *("content_type", "contentType", "type", "format"),
)
MEDIA_FIELDS = frozenset({"audio", "image", "video", "media", "input_audio"})
LONG = 512  # characters of base64 that need no type beside them to be taken for bytes
# Texts that only their provider can read.
SEALED = frozenset(
    {
        *("signature", "thought_signature", "thoughtSignature"),
        *("encrypted_content", "encryptedContent", "redacted_content", "redactedContent"),
    }
)


def read_part(part: object) -> Iterator[Piece]:
    """Yield what to count of a content part of chat completions, Responses or Anthropic."""
    if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
        yield from read_field(part)
        return
    kind = part["type"]
    # {"type": "text", "text": "..."} or {"type": "refusal", "refusal": "..."}; Responses says
    # {"type": "input_text", "text": "..."}.
    key = kind if isinstance(part.get(kind), str) else "text"
    if kind in IMAGE_PARTS:
        yield "image", part
        yield from _rest(part, IMAGE_FIELDS)
    elif kind == "input_audio" and isinstance(part.get(kind), Mapping):
        yield "tokens", media.audio_tokens(part)
        yield from _rest(part, PART_MARKS | {kind})
    elif kind in FILE_PARTS:
        yield from _file(part)
    elif isinstance(part.get(key), str) and kind not in LINKED_PARTS:
        yield "text", part[key]
        yield from _rest(part, PART_MARKS | {key})
    else:
        pieces = list(read_field(part))
        yield from pieces
        if kind in LINKED_PARTS and len(pieces) == 1:  # its bytes are elsewhere
            yield "tokens", media.LINKED_TOKENS


def _file(part: Mapping[str, Any]) -> Iterator[Piece]:
    source = part.get("source")
    if isinstance(source, Mapping) and source.get("type") == "content":  # parts of its own
        yield from read_field(part)
        return
    content = media.file_content(part)
    if isinstance(content, str):
        yield "text", content
    else:
        yield "tokens", content * media.PAGE_TOKENS
    yield from _rest(part, FILE_FIELDS)


def _rest(part: Mapping[str, Any], known: frozenset[str]) -> Iterator[Piece]:
    """Yield what to count of a part, and of the mappings in it, beside its known fields."""
    if len(part) > 2:
        yield from read_fields(part, known)
    for key in known - PART_MARKS:
        if isinstance(part.get(key), Mapping):
            yield from read_fields(part[key], SOURCE_FIELDS)


def read_fields(fields: Mapping[str, Any], known: frozenset[str]) -> Iterator[Piece]:
    """Yield what to count of all fields but the known ones; an empty field says nothing."""
    rest = {key: value for key, value in fields.items() if key not in known and not _empty(value)}
    if rest:
        yield from read_field(rest)


def read_field(value: object) -> Iterator[Piece]:
    """Yield what to count of any JSON value: first its JSON without media, then each medium."""
    rest, found = split_media(value)
    yield "text", compact(rest)
    yield from found


def split_media(value: Any) -> tuple[Any, list[Piece]]:
    """Return a JSON value with `""` in the place of each medium, and what to count of these."""
    found: list[Piece] = []
    return _without_media(value, found), found


def beside(message: Mapping[str, Any]) -> Iterator[Piece]:
    """Yield what to count of a message's fields that no counter knows by name, its calls' too."""
    blocks = message.get("thinking_blocks")
    known = FIELDS | {"thinking_blocks"} if isinstance(blocks, list) else FIELDS
    for block in blocks if isinstance(blocks, list) else ():
        yield from read_part(block)
    yield from read_fields(message, known)
    functions = [message.get("function_call")]
    for call in message.get("tool_calls") or ():
        key = "function" if call.get("function") else "custom"
        yield from read_fields(call, CALL_FIELDS | {key})
        functions.append(call.get(key))
    for function in functions:
        if isinstance(function, Mapping):
            yield from read_fields(function, FUNCTION_FIELDS)


def tokens_of(
    pieces: Iterable[Piece],
    text: Callable[[str], Tokens],
    image: Callable[[Mapping[str, Any]], Tokens],
) -> Tokens | int:
    """
    Return the tokens of pieces.

    Args:
        pieces: what to count.
        text: counts a text.
        image: prices an image, by the part that holds it.
    """
    return sum(
        text(value) if kind == "text" else image(value) if kind == "image" else value
        for kind, value in pieces
    )


def compact(value: object) -> str:
    """Return the value as JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _empty(value: object) -> bool:
    """Return whether a field says nothing: it is null, empty, or a switch that is off."""
    return value is None or value is False or value in ("", [], {})


def _without_media(value: Any, found: list[Piece], within: str = "") -> Any:
    """
    Return a JSON value with an empty text in the place of each medium, and add it to `found`.

    Args:
        value: the value.
        found: what to count of the media.
        within: the field that the value stands in, which may say of what kind its bytes are.
    """
    if isinstance(value, Mapping):
        stated = " ".join([value[key] for key in MEDIA_TYPES if _is_short(value.get(key))])
        if not stated and within in MEDIA_FIELDS:
            stated = within
        return {
            key: _text_or_medium(key, item, stated.lower(), found)
            if isinstance(item, str)
            else _without_media(item, found, key)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_media(item, found, within) for item in value]
    return _text_or_medium("", value, "", found) if isinstance(value, str) else value


def _text_or_medium(key: str, text: str, stated: str, found: list[Piece]) -> str:
    """Return the text, or `""` if it is a medium's bytes, which are added to `found`."""
    if text.startswith("data:") and "," in text:
        stated = text[5 : text.index(",")].lower()
    elif key in SEALED:
        stated = "sealed"
    elif key not in BYTES or not (stated or len(text) > LONG) or not media.is_base64(text):
        return text
    if text:
        found.append(_medium(text, stated))
    return ""


def _medium(stated_bytes: str, stated: str) -> Piece:
    """Return what to count of bytes, given as base64 or a data URL, of a kind that is stated."""
    if "image" in stated:
        return "image", {"source": {"data": stated_bytes}}
    if "audio" in stated or "wav" in stated or "mp3" in stated:
        return "tokens", media.audio_tokens({"input_audio": {"data": stated_bytes}})
    if "video" in stated or "mp4" in stated:
        return "tokens", media.video_tokens(stated_bytes)
    if "pdf" in stated:
        return "tokens", media.file_content({"file_data": stated_bytes}) * media.PAGE_TOKENS
    if "text/" in stated or "application/json" in stated:
        return "text", media.text_of(stated_bytes)
    return "tokens", media.sealed_tokens(stated_bytes)


def _is_short(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 128
