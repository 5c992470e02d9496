"""
What is no chat-completions message though it looks like one: what it is, and what to give instead.

A block of another API, taken for text, would part a call from its result; the object of a framework
would be taken without its content. So they are refused, by a text that helps. Patterns, not lists:
the names of blocks differ from API to API by a hyphen or a capital letter.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Given: TypeAlias = Mapping[str, Any]

# tool_use, toolUse, tool-call, functionCall, server_tool_use, mcp_tool_use, web_search_call, ...
_CALL = re.compile(r"(tool|function)[-_ ]?(use|call)|_call$", re.IGNORECASE)
# tool_result, toolResult, functionResponse, function_call_output, web_search_tool_result, ...
_RESULT = re.compile(
    r"(tool|function)[-_ ]?(result|response|return|output)|_call_output$", re.IGNORECASE
)
LONGEST_NAME = 60  # of a type or key that is looked at, and quoted

# Parts of Responses, and what they are called here.
_RENAMED = {
    "input_text": "text",
    "output_text": "text",
    "input_image": "image_url",
    "input_file": "file",
}

_USE_CALLS = (
    "a call stands in tool_calls of an assistant message, as "
    '{"id": ..., "type": "function", "function": {"name": ..., "arguments": ...}}'
)
_USE_RESULT = (
    "the result of a call is a message of its own, "
    '{"role": "tool", "tool_call_id": ..., "content": ...}'
)
_USE_PLAIN = 'give {"role": ..., "content": ...}'
_USE_TEXT = 'give its text as {"role": ..., "content": ...}'
_USE_REPLY = 'append {"role": "assistant", "content": its text}, with its calls in tool_calls'
_USE_PARTS = 'append {"role": author["role"], "content": "".join(content["parts"])}'
_USE_VALUE = (
    'append {"role": ..., "content": turn["value"]}, "human" being "user", "gpt" "assistant"'
)
_GATHER = "put the chunks of the stream together, and append that"

# Of whose objects nothing is taken, and what makes a mapping of one; "": nothing ready-made does.
_FRAMEWORKS = {
    "agent_framework": "",
    "agents": "",
    "autogen_agentchat": "",
    "autogen_core": "",
    "haystack": "its to_openai_dict_format() gives a mapping to append",
    "langchain_core": "langchain_core.messages.convert_to_openai_messages() gives what to append",
    "llama_index": "llama_index.llms.openai.utils.to_openai_message_dict() gives what to append",
    "pydantic_ai": "",
    "semantic_kernel": "its to_dict() gives a mapping to append",
}

_ROLES_OF_OTHERS = {"human": "user"} | dict.fromkeys(
    ("agent", "ai", "bot", "gpt", "model"), "assistant"
)

_LANGCHAIN = frozenset({"human", "ai", "system", "tool", "function", "chat", "AIMessageChunk"})


def _choices_hold(key: str) -> Callable[[Given], bool]:
    def holds(given: Given) -> bool:
        choices = given.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        return isinstance(first, Mapping) and key in first

    return holds


def _has(*keys: str) -> Callable[[Given], bool]:
    return lambda given: all(key in given for key in keys)


def _type_in(names: frozenset[str]) -> Callable[[Given], bool]:
    def holds(given: Given) -> bool:
        kind = given.get("type")  # anything may stand there
        return isinstance(kind, str) and kind in names

    return holds


# From top to bottom: the first that fits names it.
_WHOLE: tuple[tuple[Callable[[Given], bool], str, str], ...] = (
    (_choices_hold("delta"), "a chunk of a stream", _GATHER),
    (_has("delta"), "a choice of a chunk", _GATHER),
    (_has("choices"), "a whole reply", "append its message, reply.choices[0].message"),
    (_has("message", "children"), "a node of a ChatGPT export", _USE_PARTS),
    (_has("message"), "a reply, or a choice of one", "append its `message`"),
    (_has("author", "content"), "a message of a ChatGPT export", _USE_PARTS),
    (_has("mapping"), "a whole ChatGPT export", f"of the message of each node, {_USE_PARTS}"),
    (_has("messages"), "a whole conversation", "extend() takes the list under `messages`"),
    (_has("conversations"), "a row of ShareGPT", f"of each of its turns, {_USE_VALUE}"),
    (_has("from", "value"), "a turn of ShareGPT", _USE_VALUE),
    (_has("candidates"), "a whole Gemini reply", _USE_REPLY),
    (_has("stop_reason", "content"), "a whole Anthropic reply", _USE_REPLY),
    (_has("output"), "a reply or a result of another API", _USE_REPLY),
    (_has("parts"), "a message in parts, as Gemini and UI libraries have it", _USE_TEXT),
    (_has("blocks"), "a LlamaIndex message", _FRAMEWORKS["llama_index"]),
    (_has("additional_kwargs"), "a LangChain message", _FRAMEWORKS["langchain_core"]),
    (_has("lc"), "a LangChain message", _FRAMEWORKS["langchain_core"]),
    (_type_in(_LANGCHAIN), "a LangChain message", _FRAMEWORKS["langchain_core"]),
    (_has("type"), "an item or a block of another API", _USE_TEXT),
)


def whole_said(given: Given) -> str | None:
    """Return what a mapping is that is no message, and what to do instead; None if nobody knows."""
    if "role" not in given:
        kind = given.get("type")
        found = _block_said(kind[:LONGEST_NAME]) if isinstance(kind, str) else None
        if found is not None:  # an item of Responses, or a block without its message
            return found
    return next((f"{what}: {advice}" for fits, what, advice in _WHOLE if fits(given)), None)


def object_said(message: object) -> str | None:
    """Return what an object of a framework or another API is, and what to do instead."""
    modules = (kind.__module__.partition(".")[0] for kind in type(message).__mro__)
    for module in modules:
        if module in _FRAMEWORKS:
            what = f"an object of {module} ({type(message).__name__})"
            return f"{what}: {_FRAMEWORKS[module] or _USE_PLAIN}"
    return None


def other_said(message: object) -> str:
    """Return what helps with something that is neither a mapping nor an SDK's object."""
    if isinstance(message, str):
        return '; add_message("user", text) adds a text'
    if isinstance(message, list | tuple):
        return "; extend() takes several messages"
    return f"; {_USE_PLAIN}"


def role_said(role: object) -> str:
    """Return what the role of another API or data set is called here, for the end of an error."""
    known = _ROLES_OF_OTHERS.get(role.lower()) if isinstance(role, str) else None
    return f": here it is {known!r}" if known else ""


def part_said(part: Given) -> str | None:
    """Return what a content part is that is a block of another API, and what to use instead."""
    kind = part.get("type")
    if isinstance(kind, str):
        return _block_said(kind[:LONGEST_NAME])
    return next(filter(None, (_block_said(key[:LONGEST_NAME]) for key in part)), None)


def _block_said(name: str) -> str | None:
    """Return what a block of that type or key is, if it is another API's."""
    if _RESULT.search(name):
        return f"a {name!r} block of another API: here {_USE_RESULT}"
    if _CALL.search(name):
        return f"a {name!r} block of another API: here {_USE_CALLS}"
    if name in _RENAMED:
        return f"a {name!r} part of the Responses API: here its type is {_RENAMED[name]!r}"
    return None


def call_said(call: Given) -> str:
    """Return what helps with a call that has neither `function` nor `custom`."""
    return f": {_USE_CALLS}" if {"name", "toolName", "tool_name"} & call.keys() else ""
