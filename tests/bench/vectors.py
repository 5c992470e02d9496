"""
Recorded requests of several providers as chat messages, beside the input tokens that were billed.

Each request is turned from its provider's shape into the chat messages and tools that ctxwin
counts. `Row.hidden` names what these do not show, because only the provider knows the text, or
because it is a parameter beside the messages; the rules are here and in `bench.shapes`.
"""

import base64
import gzip
import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import shapes
from bench.corpus import Wire

FILES = (
    "anthropic_usage_vectors/vectors",
    "anthropic_usage_vectors/count_tokens",
    "anthropic_usage_vectors/bedrock_claude_invoke",
    "anthropic_usage_vectors/bedrock_converse",
    "gemini_usage_vectors/vectors",
    "openai_usage_vectors/vectors_openai_compatible_providers",
)
# Parameters beside messages and tools, for which the provider adds text; the family's constants
# bound its size.
PARAMETERS = {"forced tool", "thinking on"}
# Blocks whose text only the provider has, or which are not billed as the text that they show.
OPAQUE_BLOCKS = {
    "document": "documents",
    "container_upload": "documents",
    "file": "documents",
    "video_url": "documents",
    "input_audio": "documents",
    "tool_reference": "deferred tools",
    "tool_addition": "deferred tools",
    "thinking": "past thinking",
    "redacted_thinking": "past thinking",
    "compaction": "server-side editing",
}
KNOWN_BLOCKS = {"text", "image", "image_url", "tool_use", "tool_result"}


@dataclass(frozen=True, slots=True)
class Row:
    """
    One recorded request.

    `tokens` is what was billed; `hidden` names what messages and tools do not show.
    """

    id: str
    source: str
    provider: str
    model: str
    tokens: int
    messages: list[Wire]
    tools: list[Wire]
    hidden: frozenset[str]

    @property
    def visible(self) -> bool:
        """Whether messages and tools show everything that was billed."""
        return not self.hidden

    @property
    def countable(self) -> bool:
        """Whether they show all but the parameters, whose cost is bounded."""
        return self.hidden <= PARAMETERS


def rows(data: Path) -> Iterator[Row]:
    """Yield every recorded request, file by file."""
    for name in FILES:
        with gzip.open(data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            yield from map(row, map(json.loads, lines))


def row(record: Wire) -> Row:
    """Turn one record into chat messages, tools and what they hide."""
    request, endpoint = record["request"], record["endpoint"]
    if endpoint.startswith("gemini"):
        messages, tools, hidden = shapes.gemini(request.get("generateContentRequest", request))
    elif endpoint in {"bedrock.converse", "bedrock.count_tokens"}:
        messages, tools, hidden = shapes.converse(request)
    elif endpoint.startswith(("anthropic", "bedrock.anthropic")):
        messages, tools, hidden = shapes.anthropic(request)
    else:
        messages, tools, hidden = shapes.chat(request)
    tokens = billed(record["usage"])
    hidden |= {OPAQUE_BLOCKS.get(kind, "server tools") for kind in _kinds(messages) - KNOWN_BLOCKS}
    hidden |= {"remote images"} if _remote_image(messages) else set()
    hidden |= set() if tokens and messages else {"no usage"}
    model = record["model"].replace("%3A", ":")
    return Row(
        record["id"],
        record["source"],
        record["provider"],
        model,
        tokens,
        messages,
        tools,
        frozenset(hidden),
    )


def billed(usage: Wire) -> int:
    """Return the input tokens of a usage, cached ones included; 0 if it does not state any."""
    for name in (
        "promptTokenCount",
        "prompt_tokens",
        "totalTokens" if "totalBillableCharacters" in usage else "-",
    ):
        if isinstance(usage.get(name), int):
            return int(usage[name])
    parts = (
        "input_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "inputTokens",
    )
    return sum(
        int(usage.get(part) or 0)
        for part in (*parts, "cacheReadInputTokens", "cacheWriteInputTokens")
    )


def _kinds(value: object) -> set[str]:
    """Return the types of all content blocks, nested ones included."""
    contents = (
        [wire.get("content") for wire in value if isinstance(wire, Mapping)]
        if isinstance(value, list)
        else []
    )
    blocks = [block for content in contents if isinstance(content, list) for block in content]
    nested = _kinds(blocks) if blocks else set()
    return {block.get("type", "server") for block in blocks} | nested


def _remote_image(messages: list[Wire]) -> bool:
    """
    Return whether an image is only linked.

    An image that was left out of the recording gets a header with its size.
    """
    remote = False
    for wire in messages:
        for block in _blocks(wire.get("content")):
            source = block.get("source") or block.get("image_url")
            if block.get("type") in {"image", "image_url"} and isinstance(source, dict):
                key = "data" if "data" in source else "url"
                stated = source.get(key, "http")
                left_out = re.search(r"dims=\('\w+', (\d+), (\d+)\)", stated)
                if left_out:
                    data = base64.b64encode(png_header(int(left_out[1]), int(left_out[2]))).decode()
                    source[key] = stated = (
                        data if key == "data" else f"data:image/png;base64,{data}"
                    )
                remote |= stated.startswith("http") or "<omitted" in stated
    return remote


def _blocks(content: object) -> Iterator[Wire]:
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict):
            yield block
            yield from _blocks(block.get("content"))


def png_header(width: int, height: int) -> bytes:
    """Return the first bytes of a PNG of this size."""
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I4sII", 13, b"IHDR", width, height)
        + b"\x08\x02\x00\x00\x00"
    )
