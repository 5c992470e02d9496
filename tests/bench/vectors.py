"""
Recorded requests of several providers as chat messages, beside the input tokens that were billed.

Each request is turned from its provider's shape (Anthropic Messages, Bedrock Converse, Gemini, chat completions) into
the chat messages and tool schemas that ctxwin counts. What a counter of messages and tools cannot see, because it is
text that only the provider knows or a parameter beside the messages, is named in `Row.hidden`, by the rules below.
"""

import base64
import gzip
import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.corpus import Wire

FILES = (
    "anthropic_usage_vectors/vectors",
    "anthropic_usage_vectors/count_tokens",
    "anthropic_usage_vectors/bedrock_claude_invoke",
    "anthropic_usage_vectors/bedrock_converse",
    "gemini_usage_vectors/vectors",
    "openai_usage_vectors/vectors_openai_compatible_providers",
)
# Parameters beside messages and tools: the provider adds text for them, of a size the family's constants bound.
PARAMETERS = {"forced tool", "thinking on"}
# Blocks whose text is only at the provider, or is not billed as it stands.
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
    """One recorded request: `tokens` is what was billed, `hidden` names what messages and tools do not show."""

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
        """Whether messages and tools show all that was billed."""
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
        messages, tools, hidden = gemini(request.get("generateContentRequest", request))
    elif endpoint in {"bedrock.converse", "bedrock.count_tokens"}:
        messages, tools, hidden = converse(_bedrock_body(request))
    elif endpoint.startswith(("anthropic", "bedrock.anthropic")):
        messages, tools, hidden = anthropic(request)
    else:
        messages, tools, hidden = chat(request)
    tokens = billed(record["usage"])
    hidden |= {OPAQUE_BLOCKS.get(kind, "server tools") for kind in _kinds(messages) - KNOWN_BLOCKS}
    hidden |= {"remote images"} if _remote_image(messages) else set()
    hidden |= set() if tokens and messages else {"no usage"}
    model = record["model"].replace("%3A", ":")
    return Row(record["id"], record["source"], record["provider"], model, tokens, messages, tools, frozenset(hidden))


def billed(usage: Wire) -> int:
    """Return the input tokens of a usage, cached ones included; 0 where it states none."""
    for name in ("promptTokenCount", "prompt_tokens", "totalTokens" if "totalBillableCharacters" in usage else "-"):
        if isinstance(usage.get(name), int):
            return int(usage[name])
    parts = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "inputTokens")
    return sum(int(usage.get(part) or 0) for part in (*parts, "cacheReadInputTokens", "cacheWriteInputTokens"))


def anthropic(request: Wire) -> tuple[list[Wire], list[Wire], set[str]]:
    """Read a request of the Messages API; blocks other than text, calls and results stay as they are."""
    system = [{"role": "system", "content": request["system"]}] if request.get("system") else []
    messages = [wire for message in request.get("messages", ()) for wire in _anthropic_message(message)]
    tools, hidden = [], set()
    for tool in request.get("tools", ()):
        if tool.get("type", "custom") != "custom":
            hidden.add("server tools")
        elif tool.get("defer_loading") or tool.get("allowed_callers"):
            hidden.add("deferred tools")
        else:
            function = {"name": tool["name"], "description": tool.get("description", "")}
            tools.append(_tool(function | {"parameters": tool["input_schema"]}))
    output = request.get("output_config") or {}
    rules = {
        "forced tool": (request.get("tool_choice") or {}).get("type") in {"any", "tool"},
        "thinking on": '"enabled"' in json.dumps(request.get("thinking")),  # an adaptive one adds no text
        "output schema": bool(request.get("output_format") or output.get("format") or output.get("task_budget")),
        "server-side editing": bool(request.get("context_management")),
        "server tools": bool(request.get("mcp_servers") or request.get("container")),
    }
    return system + messages, tools, hidden | {cause for cause, holds in rules.items() if holds}


def converse(request: Wire) -> tuple[list[Wire], list[Wire], set[str]]:
    """Read a request of Bedrock's Converse by way of the Messages API, whose blocks it renames."""
    config = request.get("toolConfig") or {}
    specs = [tool["toolSpec"] for tool in config.get("tools", ()) if "toolSpec" in tool]
    more = request.get("additionalModelRequestFields") or {}
    choice = next(iter(config.get("toolChoice") or {}), "auto")
    native = {
        "system": [_converse_block(block) for block in request.get("system", ()) if "cachePoint" not in block],
        "messages": [
            {
                "role": message["role"],
                "content": [_converse_block(block) for block in message["content"] if "cachePoint" not in block],
            }
            for message in request.get("messages", ())
        ],
        "tools": [spec | {"input_schema": spec["inputSchema"]["json"]} for spec in specs],
        "tool_choice": {"type": choice},
        "thinking": more.get("thinking") or more.get("reasoning_config"),
        "output_format": request.get("outputConfig"),
    }
    messages, tools, hidden = anthropic(native)
    hidden |= {"server tools"} if len(specs) < len(config.get("tools", ())) else set()
    hidden |= {"guardrail"} if request.get("guardrailConfig") else set()
    return messages, tools, hidden


def gemini(request: Wire) -> tuple[list[Wire], list[Wire], set[str]]:
    """Read a generateContent request, in camel or snake case, its contents a list, one content or a text."""
    request = {_camel(key): value for key, value in request.items()}
    contents = request.get("contents", [])
    contents = contents if isinstance(contents, list) else [contents]
    system = request.get("systemInstruction")
    parts = [system] if isinstance(system, str) else (system or {}).get("parts", [])
    messages = [{"role": "system", "content": _gemini_blocks(parts)}] if parts else []
    for content in contents:
        content = {"parts": [content]} if isinstance(content, str) or "text" in content else content  # noqa: PLW2901
        messages += _gemini_message(content)
    tools, hidden = [], set()
    declared = request.get("tools") or []
    for tool in declared if isinstance(declared, list) else [declared]:
        declarations = tool.get("functionDeclarations", tool.get("function_declarations")) if tool else None
        hidden |= set() if declarations is not None else {"server tools"}
        tools += [_tool(_declaration(function)) for function in declarations or ()]
    config = {_camel(key): value for key, value in (request.get("generationConfig") or {}).items()}
    mode = ((request.get("toolConfig") or {}).get("functionCallingConfig") or {}).get("mode")
    hidden |= {"output schema"} if any("Schema" in key for key in config) else set()
    hidden |= {"forced tool"} if mode == "ANY" else set()
    return messages, tools, hidden | ({"server-side editing"} if request.get("cachedContent") else set())


def chat(request: Wire) -> tuple[list[Wire], list[Wire], set[str]]:
    """Read a chat-completions request, which is what ctxwin counts already."""
    choice, response = request.get("tool_choice"), (request.get("response_format") or {}).get("type", "text")
    rules = {
        "forced tool": choice == "required" or isinstance(choice, dict),
        "thinking on": bool(request.get("reasoning")) or request.get("model", "").endswith(":thinking"),
        "output schema": response != "text",
        "another model": bool(request.get("models")),  # a router's list of others to fall back on
        "server tools": bool(request.get("plugins") or request.get("web_search_options")),
    }
    tools = [tool for tool in request.get("tools") or () if tool.get("type", "function") == "function"]
    rules["server tools"] |= len(tools) < len(request.get("tools") or ())
    return request["messages"], tools, {cause for cause, holds in rules.items() if holds}


def _tool(function: Wire) -> Wire:
    return {"type": "function", "function": function}


def _anthropic_message(message: Wire) -> Iterator[Wire]:
    """Yield the tool results of a message as messages of their own, and before them what else it holds."""
    content = message["content"]
    if isinstance(content, str):
        yield {"role": message["role"], "content": content}
        return
    calls = [block for block in content if block["type"] == "tool_use"]
    results = [block for block in content if block["type"] == "tool_result"]
    others = [block for block in content if block["type"] not in {"tool_use", "tool_result"}]
    for result in results:
        yield {"role": "tool", "tool_call_id": result["tool_use_id"], "content": result.get("content") or ""}
    if others or calls:
        wire: Wire = {"role": message["role"], "content": others or None}
        called = [_call(call["id"], call["name"], call["input"]) for call in calls]
        yield wire | ({"tool_calls": called} if calls else {})


def _call(identity: str, name: str, arguments: object, **extra: object) -> Wire:
    text = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": text}, **extra}


def _converse_block(block: Wire) -> Wire:
    known = next((key for key in CONVERSE_BLOCKS if key in block), None)
    return {"type": "document", **block} if known is None else CONVERSE_BLOCKS[known](block[known])


def _converse_result(result: Wire) -> Wire:
    content = [_converse_block(part) for part in result["content"]]
    return {"type": "tool_result", "tool_use_id": result["toolUseId"], "content": content}


CONVERSE_BLOCKS: Mapping[str, Callable[[Any], Wire]] = {
    "text": lambda text: {"type": "text", "text": text},
    "json": lambda value: {"type": "text", "text": json.dumps(value, ensure_ascii=False)},
    "toolUse": lambda use: {"type": "tool_use", "id": use["toolUseId"], "name": use["name"], "input": use["input"]},
    "toolResult": _converse_result,
    "image": lambda image: {"type": "image", "source": {"type": "base64", "data": image["source"].get("bytes", "")}},
    "reasoningContent": lambda thought: {"type": "thinking", "thinking": thought.get("reasoningText", {}).get("text")},
}


def _bedrock_body(request: Wire) -> Wire:
    return request["input"].get("converse", {}) if "input" in request else request


def _gemini_message(content: Wire) -> Iterator[Wire]:
    found = (part if isinstance(part, dict) else {"text": part} for part in content.get("parts", ()))
    parts = [{_camel(key): value for key, value in part.items()} for part in found]
    for part in parts:
        if "functionResponse" in part:
            response = part["functionResponse"]
            text = json.dumps(response.get("response"), ensure_ascii=False, separators=(",", ":"))
            yield {"role": "tool", "tool_call_id": response.get("id") or "", "name": response["name"], "content": text}
    calls = [part for part in parts if "functionCall" in part]
    blocks = _gemini_blocks([part for part in parts if not {"functionCall", "functionResponse"} & part.keys()])
    wire: Wire = {"role": "assistant" if content.get("role") == "model" else "user", "content": blocks or None}
    if calls:
        wire["tool_calls"] = [_gemini_call(part) for part in calls]
    if blocks or calls:
        yield wire


def _gemini_call(part: Wire) -> Wire:
    function = part["functionCall"]
    google = {"thought_signature": part["thoughtSignature"]} if part.get("thoughtSignature") else {}
    extra = {"extra_content": {"google": google}} if google else {}
    return _call(function.get("id") or "", function["name"], function.get("args") or {}, **extra)


def _gemini_blocks(parts: list[Any]) -> list[Wire]:
    return [_gemini_block(part if isinstance(part, dict) else {"text": part}) for part in parts]


def _gemini_block(part: Wire) -> Wire:
    if part.get("thought"):
        return {"type": "thinking", "thinking": part.get("text", "")}
    if "text" in part:
        return {"type": "text", "text": part["text"] or ""}
    inline = part.get("inlineData") or {}
    if inline.get("mimeType", "").startswith("image/"):
        data = inline["data"].replace("-", "+").replace("_", "/")
        return {"type": "image_url", "image_url": {"url": f"data:{inline['mimeType']};base64,{data}"}}
    return {"type": "document" if inline or "fileData" in part else "server", "part": part}


def _declaration(function: Wire) -> Wire:
    keys = ("parametersJsonSchema", "parameters_json_schema", "parameters")
    parameters: Wire = next((function[key] for key in keys if function.get(key)), {})
    return {"name": function["name"], "description": function.get("description") or "", "parameters": parameters}


def _camel(key: str) -> str:
    return re.sub("_(.)", lambda match: match[1].upper(), key)


def _kinds(value: object) -> set[str]:
    """Return the types of all content blocks, nested ones included."""
    contents = [wire.get("content") for wire in value if isinstance(wire, Mapping)] if isinstance(value, list) else []
    blocks = [block for content in contents if isinstance(content, list) for block in content]
    nested = _kinds(blocks) if blocks else set()
    return {block.get("type", "server") for block in blocks} | nested


def _remote_image(messages: list[Wire]) -> bool:
    """Whether an image is only linked; and put the header of its size where a recorded image was left out."""
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
                    source[key] = stated = data if key == "data" else f"data:image/png;base64,{data}"
                remote |= stated.startswith("http") or "<omitted" in stated
    return remote


def _blocks(content: object) -> Iterator[Wire]:
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict):
            yield block
            yield from _blocks(block.get("content"))


def png_header(width: int, height: int) -> bytes:
    """Return the first bytes of a PNG of this size."""
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + b"\x08\x02\x00\x00\x00"
