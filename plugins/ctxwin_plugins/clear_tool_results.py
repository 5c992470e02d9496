"""
`clear-tool-results`: blank old tool outputs.

They make up most of an agent's history, and are the part that is least likely to be read again.
"""

import json
from collections.abc import Collection, Iterator

from ctxwin import Message, Plan, PruneRequest, Unit, hookimpl
from ctxwin.laws import is_json_document

# Tokens that a result costs beside its content (delimiters, its name). Clearing cannot free them.
OVERHEAD_TOKENS = 16


class ClearToolResults:
    """
    Blank tool outputs, oldest first, until enough is free.

    Args:
        keep_last: how many of the newest results stay as they are.
        min_freed_tokens: clear nothing unless this frees at least so much: an edit of an old
            message invalidates the provider's prompt cache from there on.
        exclude_tools: names of tools whose results are never cleared.

    Raises:
        TypeError: `exclude_tools` is a bare string.
        ValueError: a number is negative.
    """

    def __init__(
        self, keep_last: int = 3, min_freed_tokens: int = 100, exclude_tools: Collection[str] = ()
    ) -> None:
        if isinstance(exclude_tools, str):
            raise TypeError(
                f"exclude_tools must be a collection of names, [{exclude_tools!r}], "
                f"not {exclude_tools!r}"
            )
        if keep_last < 0 or min_freed_tokens < 0:
            raise ValueError(f"must not be negative: {keep_last=}, {min_freed_tokens=}")
        self.keep_last = keep_last
        self.min_freed_tokens = min_freed_tokens
        self.exclude_tools = frozenset(exclude_tools)

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
        """Replace the oldest results by placeholders."""
        editable = {message.id for message in request.editable}
        results = [result for unit in request.units for result in _results(unit)]
        plan, freed = Plan(), 0
        for message, tokens, tool in results[: max(0, len(results) - self.keep_last)]:
            placeholder = _placeholder(message, tokens)
            saved = tokens - request.count(placeholder) - OVERHEAD_TOKENS
            if message.id in editable and tool not in self.exclude_tools and saved > 0:
                plan += Plan.edit(message, placeholder, reason="old tool output")
                freed += saved
            if freed >= request.excess_tokens:
                break
        return plan if freed >= max(1, self.min_freed_tokens) else None


def _results(unit: Unit) -> Iterator[tuple[Message, int, str | None]]:
    """Yield each result of a tool exchange with its cost and the name of the tool."""
    calls = {
        call.get("id"): call.get("function") or call["custom"]
        for call in unit.messages[0].tool_calls
    }
    for message, tokens in zip(unit.messages[1:], unit.message_tokens[1:], strict=True):
        called = calls.get(message.tool_call_id)
        yield message, tokens, called["name"] if called else message.name


def _placeholder(message: Message, tokens: int) -> str:
    """Return the placeholder for an output: JSON if that was JSON, so that it can be parsed."""
    note = f"tool output cleared, {tokens} tokens"
    content = message.content
    texts = [content] if isinstance(content, str) else [part.get("text") for part in content or ()]
    return json.dumps({"note": note}) if any(map(is_json_document, texts)) else f"[{note}]"
