"""Reads request bodies of OpenAI's two APIs as messages and tools."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Body = Mapping[str, Any]


def read_body(body: Body) -> tuple[list[dict[str, Any]], list[Mapping[str, Any]], object]:
    """
    Return the messages, the tools (with a format among them) and the tool choice of a body.

    Args:
        body: of chat completions, with `messages`; or of Responses, with `input` and perhaps
            `instructions`.

    Returns:
        Chat messages; tool schemas as they are; the choice, which is None, a string, or the mapping
        that names a function.
    """
    tools = [*(body.get("tools") or ()), *(body.get("functions") or ())]
    stated = body.get("response_format") or (body.get("text") or {}).get("format")
    if stated and stated.get("type") == "json_schema":
        tools.append(stated)
    choice = body.get("tool_choice") or body.get("function_call")
    if isinstance(choice, Mapping):
        choice = choice.get("function") or choice.get("custom") or choice
    if "messages" in body:
        return [dict(message) for message in body["messages"]], tools, choice
    instructions = body.get("instructions")
    given = [{"role": "system", "content": instructions}] if instructions else []
    return [*given, *_from_items(body.get("input") or ())], tools, choice


def _from_items(items: str | Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the items of Responses as chat messages; adjacent calls make one message."""
    calls: list[dict[str, Any]] = []
    for item in [{"role": "user", "content": items}] if isinstance(items, str) else items:
        if item.get("type") == "function_call":
            function = {"name": item["name"], "arguments": item["arguments"]}
            calls.append({"id": item["call_id"], "type": "function", "function": function})
            continue
        if calls:
            yield {"role": "assistant", "content": None, "tool_calls": calls}
            calls = []
        if item.get("type") == "function_call_output":
            yield {"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]}
        elif "role" in item:
            yield {"role": item["role"], "content": item.get("content")}
        else:  # reasoning and server-side tools: nothing says how they are billed, so as JSON
            yield {"role": "assistant", "content": [dict(item)]}
    if calls:
        yield {"role": "assistant", "content": None, "tool_calls": calls}
