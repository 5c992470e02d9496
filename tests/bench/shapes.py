"""
Requests of several providers as chat messages and tools, and what these hide from a counter.

Each function takes a request in its provider's shape. It returns the chat messages and tool schemas
that ctxwin counts, and the causes why they do not show everything that is billed.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bench.corpus import Wire


def anthropic(request: Wire) -> tuple[list[Wire], list[Wire], set[str]]:
    """Read a request of the Messages API; blocks other than text, calls and results are kept."""
    system = [{"role": "system", "content": request["system"]}] if request.get("system") else []
    messages = [
        wire for message in request.get("messages", ()) for wire in _anthropic_message(message)
    ]
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
        # Adaptive thinking adds no text.
        "thinking on": '"enabled"' in json.dumps(request.get("thinking")),
        "output schema": bool(
            request.get("output_format") or output.get("format") or output.get("task_budget")
        ),
        "server-side editing": bool(request.get("context_management")),
        "server tools": bool(request.get("mcp_servers") or request.get("container")),
    }
    return system + messages, tools, hidden | {cause for cause, holds in rules.items() if holds}


def converse(request: Wire) -> tuple[list[Wire], list[Wire], set[str]]:
    """Read a request of Bedrock's Converse through the Messages API, whose blocks it renames."""
    if "input" in request:  # a request of CountTokens
        request = request["input"].get("converse", {})
    config = request.get("toolConfig") or {}
    specs = [tool["toolSpec"] for tool in config.get("tools", ()) if "toolSpec" in tool]
    more = request.get("additionalModelRequestFields") or {}
    choice = next(iter(config.get("toolChoice") or {}), "auto")
    native = {
        "system": [
            _converse_block(block)
            for block in request.get("system", ())
            if "cachePoint" not in block
        ],
        "messages": [
            {
                "role": message["role"],
                "content": [
                    _converse_block(block)
                    for block in message["content"]
                    if "cachePoint" not in block
                ],
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
    """Read a generateContent request, in camel or snake case; contents may be one or a list."""
    request = {_camel(key): value for key, value in request.items()}
    contents = request.get("contents", [])
    contents = contents if isinstance(contents, list) else [contents]
    system = request.get("systemInstruction")
    parts = [system] if isinstance(system, str) else (system or {}).get("parts", [])
    messages = [{"role": "system", "content": _gemini_blocks(parts)}] if parts else []
    for content in contents:
        bare = isinstance(content, str) or "text" in content
        messages += _gemini_message({"parts": [content]} if bare else content)
    tools, hidden = [], set()
    declared = request.get("tools") or []
    for tool in declared if isinstance(declared, list) else [declared]:
        declarations = (
            tool.get("functionDeclarations", tool.get("function_declarations")) if tool else None
        )
        hidden |= set() if declarations is not None else {"server tools"}
        tools += [_tool(_declaration(function)) for function in declarations or ()]
    config = {_camel(key): value for key, value in (request.get("generationConfig") or {}).items()}
    mode = ((request.get("toolConfig") or {}).get("functionCallingConfig") or {}).get("mode")
    hidden |= {"output schema"} if any("Schema" in key for key in config) else set()
    hidden |= {"forced tool"} if mode == "ANY" else set()
    return (
        messages,
        tools,
        hidden | ({"server-side editing"} if request.get("cachedContent") else set()),
    )


def chat(request: Wire) -> tuple[list[Wire], list[Wire], set[str]]:
    """Read a chat-completions request, which is what ctxwin counts already."""
    choice, response = (
        request.get("tool_choice"),
        (request.get("response_format") or {}).get("type", "text"),
    )
    rules = {
        "forced tool": choice == "required" or isinstance(choice, dict),
        "thinking on": bool(request.get("reasoning"))
        or request.get("model", "").endswith(":thinking"),
        "output schema": response != "text",
        "another model": bool(request.get("models")),  # a router's list of others to fall back on
        "server tools": bool(request.get("plugins") or request.get("web_search_options")),
    }
    tools = [
        tool for tool in request.get("tools") or () if tool.get("type", "function") == "function"
    ]
    rules["server tools"] |= len(tools) < len(request.get("tools") or ())
    return request["messages"], tools, {cause for cause, holds in rules.items() if holds}


def _tool(function: Wire) -> Wire:
    return {"type": "function", "function": function}


def _anthropic_message(message: Wire) -> Iterator[Wire]:
    """Yield what a message holds beside tool results, then each result as its own message."""
    content = message["content"]
    if isinstance(content, str):
        yield {"role": message["role"], "content": content}
        return
    calls = [block for block in content if block["type"] == "tool_use"]
    results = [block for block in content if block["type"] == "tool_result"]
    others = [block for block in content if block["type"] not in {"tool_use", "tool_result"}]
    for result in results:
        yield {
            "role": "tool",
            "tool_call_id": result["tool_use_id"],
            "content": result.get("content") or "",
        }
    if others or calls:
        wire: Wire = {"role": message["role"], "content": others or None}
        called = [_call(call["id"], call["name"], call["input"]) for call in calls]
        yield wire | ({"tool_calls": called} if calls else {})


def _call(identity: str, name: str, arguments: object, **extra: object) -> Wire:
    text = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
    return {
        "id": identity,
        "type": "function",
        "function": {"name": name, "arguments": text},
        **extra,
    }


def _converse_block(block: Wire) -> Wire:
    known = next((key for key in CONVERSE_BLOCKS if key in block), None)
    return {"type": "document", **block} if known is None else CONVERSE_BLOCKS[known](block[known])


def _converse_result(result: Wire) -> Wire:
    content = [_converse_block(part) for part in result["content"]]
    return {"type": "tool_result", "tool_use_id": result["toolUseId"], "content": content}


CONVERSE_BLOCKS: Mapping[str, Callable[[Any], Wire]] = {
    "text": lambda text: {"type": "text", "text": text},
    "json": lambda value: {"type": "text", "text": json.dumps(value, ensure_ascii=False)},
    "toolUse": lambda use: {
        "type": "tool_use",
        "id": use["toolUseId"],
        "name": use["name"],
        "input": use["input"],
    },
    "toolResult": _converse_result,
    "image": lambda image: {
        "type": "image",
        "source": {"type": "base64", "data": image["source"].get("bytes", "")},
    },
    "reasoningContent": lambda thought: {
        "type": "thinking",
        "thinking": thought.get("reasoningText", {}).get("text"),
    },
}


def _gemini_message(content: Wire) -> Iterator[Wire]:
    found = (
        part if isinstance(part, dict) else {"text": part} for part in content.get("parts", ())
    )
    parts = [{_camel(key): value for key, value in part.items()} for part in found]
    for part in parts:
        if "functionResponse" in part:
            response = part["functionResponse"]
            text = json.dumps(response.get("response"), ensure_ascii=False, separators=(",", ":"))
            yield {
                "role": "tool",
                "tool_call_id": response.get("id") or "",
                "name": response["name"],
                "content": text,
            }
    calls = [part for part in parts if "functionCall" in part]
    blocks = _gemini_blocks(
        [part for part in parts if not {"functionCall", "functionResponse"} & part.keys()]
    )
    wire: Wire = {
        "role": "assistant" if content.get("role") == "model" else "user",
        "content": blocks or None,
    }
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
        return {
            "type": "image_url",
            "image_url": {"url": f"data:{inline['mimeType']};base64,{data}"},
        }
    return {"type": "document" if inline or "fileData" in part else "server", "part": part}


def _declaration(function: Wire) -> Wire:
    keys = ("parametersJsonSchema", "parameters_json_schema", "parameters")
    parameters: Wire = next((function[key] for key in keys if function.get(key)), {})
    return {
        "name": function["name"],
        "description": function.get("description") or "",
        "parameters": parameters,
    }


def _camel(key: str) -> str:
    return re.sub("_(.)", lambda match: match[1].upper(), key)
