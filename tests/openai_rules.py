"""
OpenAI's rules for the messages of a request: what it answers with 400, found without asking it.

They are read from the types of its SDK and from its error texts. Nothing here knows ctxwin, nor how
it finds units and empty messages.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

Wire = Mapping[str, Any]

TYPED = find_spec("openai") is not None  # without the SDK, types are not looked at
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
PARTS = {"user": ("text", "image_url", "input_audio", "file"), "assistant": ("text", "refusal")}


def refusals(messages: Sequence[Wire], *, strict: bool = False) -> list[str]:
    """
    Return why OpenAI would refuse the messages of a request; `[]` if it takes them.

    A call at the end may wait for its results: the caller adds them before sending.

    Args:
        messages: the window.
        strict: False if what other providers add to OpenAI's form (parts of their own, calls
            without ids, arguments as a mapping) shall stand as what OpenAI has in its place.
    """
    read = list(messages) if strict else [_as_openai(wire) for wire in messages]
    return [*_pair_faults(read), *(fault for wire in read for fault in _message_faults(wire))]


def _pair_faults(messages: Sequence[Wire]) -> Iterator[str]:
    """Yield where calls and results do not stand side by side."""
    waiting: list[str] = []
    for place, wire in enumerate(messages):
        if wire["role"] == "tool":
            if wire.get("tool_call_id") in waiting:
                waiting.remove(wire["tool_call_id"])
            else:
                yield f"messages[{place}]: 'tool' must follow a message with 'tool_calls'"
            continue
        if waiting:
            yield f"messages[{place}]: 'tool_calls' must be followed by results for {waiting}"
        waiting = [call["id"] for call in wire.get("tool_calls") or ()]


def _message_faults(wire: Wire) -> Iterator[str]:
    """Yield what is wrong with a message on its own."""
    role, content = wire["role"], wire.get("content")
    if role not in ROLES:
        yield f"{role!r} is no role"
    if content == [] or wire.get("tool_calls") == []:
        yield f"empty array in {wire}: expected an array with minimum length 1"
    texts = [part.get("text") for part in content] if isinstance(content, list) else [content]
    says_more = any(wire.get(key) for key in ("tool_calls", "function_call", "refusal", "audio"))
    if role == "assistant" and not says_more and all(text in ("", None) for text in texts):
        others = [part for part in content or () if isinstance(part, dict) and "text" not in part]
        if not others:
            yield f"empty assistant message {wire}"
    if role not in ("assistant", "function") and content is None:
        yield f"content of {wire}: expected a string, got null"
    if TYPED:
        text = json.dumps(wire, ensure_ascii=False)  # lone surrogates, which no type takes, go
        yield from _type_faults(text.encode("utf-8", "replace").decode())


@cache
def _type_faults(text: str) -> tuple[str, ...]:
    """Return what the types of the SDK say of a message, given as JSON."""
    from openai.types.chat import ChatCompletionMessageParam
    from pydantic import ValidationError

    try:
        _exhaust(_adapter(ChatCompletionMessageParam).validate_python(json.loads(text)))
    except ValidationError as error:
        return (f"{text[:200]}: {error}",)
    return ()


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _exhaust(value: object) -> None:
    """Walk through what was validated: pydantic looks at an iterable's items on the way only."""
    if isinstance(value, Mapping):
        for item in value.values():
            _exhaust(item)
    elif not isinstance(value, str | bytes) and hasattr(value, "__iter__"):
        for item in value:
            _exhaust(item)


def _as_openai(wire: Wire) -> dict[str, Any]:
    """Return a message with what other providers add put as OpenAI has it."""
    plain = dict(wire)
    role, content = plain["role"], plain.get("content")
    if isinstance(content, list):
        known = PARTS.get(role, ("text",))
        plain["content"] = [
            part if part["type"] in known else {"type": "text", "text": part["type"]}
            for part in content
        ]
        hidden = ("thinking", "redacted_thinking", "reasoning")
        if role == "assistant" and all(part["type"] in hidden for part in content):
            plain["content"] = []  # reasoning says nothing to OpenAI
        if role == "function" and content:
            plain["content"] = str(content)
    if plain.get("tool_calls"):
        plain["content"] = plain.get("content") or None  # Mistral has an empty list beside calls
        plain["tool_calls"] = [_call(call) for call in plain["tool_calls"]]
    if role == "tool":
        plain["tool_call_id"] = plain.get("tool_call_id") or ""
    return plain


def _call(call: Wire) -> dict[str, Any]:
    plain: dict[str, Any] = {"type": "function", **call, "id": call.get("id") or ""}
    function = plain.get("function")
    if function and not isinstance(function["arguments"], str):
        plain["function"] = {**function, "arguments": json.dumps(function["arguments"])}
    return plain
