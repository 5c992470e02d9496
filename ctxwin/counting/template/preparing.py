"""
What form of OpenAI-style messages a chat template needs, and how messages get that form.

Templates disagree. Some expect a call's arguments as a mapping, others as the JSON text that APIs
send. Some fail on missing content, on a list of parts, or on an id that does not have nine
characters. `learn_wants` finds out by rendering; `prepare` changes a message only where the
template needs it.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Literal, TypeAlias

from ctxwin.values.wire import Wire

Render: TypeAlias = Callable[[Sequence[Wire]], str | None]
"""Renders messages; None if the template refuses them."""

Parts: TypeAlias = Literal["as given", "text", "parts"]

WORD = "semibreve"  # stands for a text; occurs in no template
SHORT_ID = 9  # characters of a call's id, letters or digits: Mistral's templates insist on it
LONG_ID = "call_quaver"
ARGUMENTS = {"tempo": "vivace"}


@dataclass(frozen=True, slots=True)
class Wants:
    """
    What to change in messages for a template.

    Attributes:
        mappings: give a call's arguments as a mapping, not as JSON text.
        empty_content: give a message with calls the content `""` if it has none.
        short_ids: give calls ids of nine letters and digits.
        no_developer: write the role `developer` as `system`, because the template does not show it.
        parts: by role, whether content must be a text (a list of text parts is joined) or a list of
            parts.
    """

    mappings: bool = False
    empty_content: bool = False
    short_ids: bool = False
    no_developer: bool = False
    parts: Mapping[str, Parts] = field(default_factory=dict)


def prepare(message: Mapping[str, Any], wants: Wants) -> Wire:
    """
    Return a message in the form that the template needs.

    The result is a new object; preparing it again changes nothing.

    - Keys whose value is null are left out. A missing `content` becomes `""`, but in a message with
      calls only if wanted.
    - Lone surrogates, which no tokenizer accepts, become U+FFFD.
    - The role `developer` becomes `system` if the template does not show it.
    - Content becomes a text (text parts joined by newlines; a list with other parts stays as it is)
      or a list of one text part.
    - Arguments of calls become a mapping; a text that is not a JSON object becomes `{"arguments":
      text}`.
    - Ids of calls become nine characters: an id of nine letters and digits stays, any other becomes
      the head of its SHA-256.
    """
    wire: Wire = {key: _clean(value) for key, value in message.items() if value is not None}
    if wire["role"] == "developer" and wants.no_developer:
        wire["role"] = "system"
    if "content" not in wire and (wants.empty_content or not wire.get("tool_calls")):
        wire["content"] = ""
    if "content" in wire and wire["role"] in wants.parts:
        wire["content"] = _content(wire["content"], wants.parts[wire["role"]])
    if wire.get("tool_calls"):
        wire["tool_calls"] = [_call(call, wants) for call in wire["tool_calls"]]
    if wire["role"] == "tool" and wants.short_ids:
        wire["tool_call_id"] = _short(wire.get("tool_call_id"))
    return wire


def learn_wants(render: Render) -> Wants:
    """Return the smallest change with which the template shows messages as they are meant."""
    # `min` returns the first of equally good candidates, and `product` starts with no change.
    candidates = [
        Wants(short_ids=short_ids, empty_content=empty_content, mappings=mappings)
        for short_ids, empty_content, mappings in product((False, True), repeat=3)
    ]
    wants = min(candidates, key=lambda wants: _faults(render, wants))
    wants = replace(wants, parts=_learn_parts(render, wants))
    shown = {role for role in ("developer", "system") if _shows(render, wants, role, WORD)}
    return replace(wants, no_developer=shown == {"system"})


def clean(text: str) -> str:
    """Return a text with lone surrogates replaced by U+FFFD, and pairs joined to one character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def called(count: int = 1, *, first: int = 0) -> Wire:
    """
    Return an assistant message with calls, for probing.

    Args:
        count: how many calls.
        first: the number in the first call's id; the ids have nine characters and count up.
    """
    function = {"name": "quaver", "arguments": json.dumps(ARGUMENTS)}
    calls = [
        {"id": f"quaver{first + i:03}", "type": "function", "function": function}
        for i in range(count)
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _faults(render: Render, wants: Wants) -> int:
    """Return how badly the template shows a call and its result, from 0 (well) to 2 (refused)."""
    call = called()
    call["tool_calls"][0]["id"] = LONG_ID
    window = [
        {"role": "user", "content": "?"},
        call,
        {"role": "tool", "tool_call_id": LONG_ID, "content": WORD},
    ]
    text = render([prepare(message, wants) for message in window])
    if text is None:
        return 2
    # Signs of the wrong form: JSON inside JSON, a mapping or a missing content as Python prints it.
    return any(sign in text for sign in ('\\"tempo', "{'tempo", "None"))


def _shows(render: Render, wants: Wants, role: str, content: object) -> bool:
    """Return whether the template shows a content of a role, and shows it as text, not as JSON."""
    text = render(
        [prepare(message, wants) for message in around({"role": role, "content": content})]
    )
    spelt = (f"'text': '{WORD}", f'"text": "{WORD}', f'"text":"{WORD}')
    return text is not None and WORD in text and not any(spelling in text for spelling in spelt)


def around(message: Wire) -> list[Wire]:
    """Return the smallest window in which a template accepts a message of this role."""
    user = {"role": "user", "content": "?"}
    if message["role"] == "tool":
        return [user, called(), {**message, "tool_call_id": "quaver000"}]
    return {"user": [message], "assistant": [user, message, user]}.get(
        message["role"], [message, user]
    )


def _learn_parts(render: Render, wants: Wants) -> dict[str, Parts]:
    """Return, for each role of which the template shows only one form of content, that form."""
    learnt: dict[str, Parts] = {}
    for role in ("system", "developer", "user", "assistant", "tool"):
        text, parts = (
            _shows(render, wants, role, content)
            for content in (WORD, [{"type": "text", "text": WORD}])
        )
        if text != parts:
            learnt[role] = "text" if text else "parts"
    return learnt


def _content(content: Any, wanted: Parts) -> Any:
    """Return content in the form wanted; a list that holds other parts than texts stays."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if wanted == "parts" else content
    if wanted == "parts" or any(part.get("type") != "text" for part in content):
        return content
    return "\n".join(part["text"] for part in content)


def _call(call: Mapping[str, Any], wants: Wants) -> Wire:
    wire = dict(call)
    if wants.short_ids:
        wire["id"] = _short(wire.get("id"))
    function = wire.get("function")
    if isinstance(function, Mapping):
        given = function.get("arguments")
        if wants.mappings and isinstance(given, str):
            wire["function"] = {**function, "arguments": _parse(given)}
        elif not wants.mappings and isinstance(given, Mapping):
            wire["function"] = {**function, "arguments": json.dumps(given, ensure_ascii=False)}
    return wire


def _parse(arguments: str) -> Wire:
    """Return the arguments of a call as a mapping."""
    try:
        parsed = _clean(json.loads(arguments)) if arguments.strip() else {}
    except (ValueError, RecursionError):
        parsed = None
    return parsed if isinstance(parsed, dict) else {"arguments": arguments}


def _short(call_id: object) -> str:
    """Return an id of nine letters and digits, the same one for the same id."""
    if (
        isinstance(call_id, str)
        and len(call_id) == SHORT_ID
        and call_id.isascii()
        and call_id.isalnum()
    ):
        return call_id
    return hashlib.sha256(str(call_id).encode()).hexdigest()[:SHORT_ID]


def _clean(value: Any) -> Any:
    """Return a copy of a JSON value with its texts cleaned."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, Sequence) else value
