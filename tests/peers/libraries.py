"""
The libraries that are compared; each gets the same costs through its own extension point.

A message is found again by its position, which is carried as an id or in a side table, and never by
parsing it. So an untouched message is equal to what went in. If a library counts message by
message, the cost of a request beside its messages is subtracted from the budget once.
"""

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import agent_framework as af
from autogen_core import model_context
from langchain_core import messages as langchain_messages
from llama_index.core import memory as llama_memories
from sqlalchemy.ext.asyncio import create_async_engine

from ctxwin import ContextManager
from ctxwin.counting.openai.chat import PRIMING
from peers.histories import (
    FULL_COST,
    Wire,
    agent_message,
    autogen_messages,
    langchain_message,
    llama_messages,
)

Trim: TypeAlias = Callable[[Sequence[Wire], int], list[Wire]]
"""Takes a history and the most that a request may cost; returns the window."""

Costs: TypeAlias = Sequence[int]
"""The costs of a history's messages, by position."""


def ctxwin(*strategies: str) -> Trim:
    """Return the window of a manager with that chain."""

    def trim(history: Sequence[Wire], budget: int) -> list[Wire]:
        manager = ContextManager(budget, counter=FULL_COST, strategies=strategies)
        manager.extend(history)
        return manager.messages()

    return trim


def langchain(**options: Any) -> Trim:
    """Return the window of `trim_messages` with these options and those that all chats need."""

    def trim(history: Sequence[Wire], budget: int) -> list[Wire]:
        costs = _costs(history)
        trimmed = langchain_messages.trim_messages(
            [langchain_message(place, wire) for place, wire in enumerate(history)],
            max_tokens=budget - PRIMING,
            token_counter=lambda messages: sum(costs[int(message.id)] for message in messages),
            strategy="last",
            include_system=True,
            **options,
        )
        return [history[int(message.id or "")] for message in trimmed]

    return trim


def llama_buffer(history: Sequence[Wire], budget: int) -> list[Wire]:
    """
    Return what the buffer keeps.

    It shows a tokenizer only text, so each text here names its message, and so its cost.
    """
    memory = llama_memories.ChatMemoryBuffer.from_defaults(
        chat_history=llama_messages(history, tagged=True),
        token_limit=budget - PRIMING,
        tokenizer_fn=_tag_tokenizer(_costs(history)),
    )
    return _by_place(history, memory.get())


def llama_text(history: Sequence[Wire], budget: int) -> list[Wire]:
    """Return what the buffer keeps if it counts the text of messages, as with a tokenizer."""
    memory = llama_memories.ChatMemoryBuffer.from_defaults(
        chat_history=llama_messages(history), token_limit=budget, tokenizer_fn=str.split
    )
    return _by_place(history, memory.get())


def llama_memory(history: Sequence[Wire], budget: int) -> list[Wire]:
    """
    Return what the buffer's successor keeps.

    Messages get the whole budget, and as few as possible are flushed.
    """

    async def run() -> list[Any]:
        engine = create_async_engine("sqlite+aiosqlite:///:memory:")
        memory = llama_memories.Memory.from_defaults(
            token_limit=budget - PRIMING,
            chat_history_token_ratio=1.0,
            token_flush_size=1,
            tokenizer_fn=_tag_tokenizer(_costs(history)),
            async_engine=engine,
        )
        await memory.aput_messages(llama_messages(history, tagged=True))
        window = list(await memory.aget())
        await engine.dispose()  # otherwise its thread would outlive the loop
        return window

    return _by_place(history, asyncio.run(run()))


def autogen(history: Sequence[Wire], budget: int) -> list[Wire]:
    """Return what the context keeps; it takes results of parallel calls as one message."""
    table = autogen_messages(history)
    originals = {id(message): wires for message, wires in table}
    client: Any = _AutogenClient(originals)
    context = model_context.TokenLimitedChatCompletionContext(
        client, token_limit=budget, initial_messages=[message for message, _ in table]
    )
    return [
        wire for message in asyncio.run(context.get_messages()) for wire in originals[id(message)]
    ]


def agent_framework(strategy: Callable[[int, Any], Any]) -> Trim:
    """Return what a compaction strategy leaves of a history."""

    def trim(history: Sequence[Wire], budget: int) -> list[Wire]:
        made = strategy(budget - PRIMING, _AgentTokenizer(_costs(history)))
        messages = [agent_message(place, wire) for place, wire in enumerate(history)]
        kept = asyncio.run(af.apply_compaction(messages, strategy=made))
        return [history[int(message.message_id or "")] for message in kept]

    return trim


def truncation(budget: int, tokenizer: Any) -> Any:
    """Return the strategy that drops the oldest groups, just down to the budget."""
    return af.TruncationStrategy(max_n=budget, compact_to=budget, tokenizer=tokenizer)


def composed(budget: int, tokenizer: Any) -> Any:
    """Return the strategy that drops all tool calls but the newest, then the oldest groups."""
    strategies = [af.SelectiveToolCallCompactionStrategy(), truncation(budget, tokenizer)]
    return af.TokenBudgetComposedStrategy(
        token_budget=budget, tokenizer=tokenizer, strategies=strategies
    )


class _AutogenClient:
    """The part of a model client that a context uses: the cost of messages."""

    def __init__(self, originals: dict[int, list[Wire]]) -> None:
        self._originals = originals

    def count_tokens(self, messages: Sequence[object], *, tools: Sequence[object] = ()) -> int:
        return FULL_COST.count_request(
            [wire for message in messages for wire in self._originals[id(message)]]
        )


class _AgentTokenizer:
    """Gets each message as JSON, and finds its cost by the id in it."""

    def __init__(self, costs: Costs) -> None:
        self._costs = costs

    def count_tokens(self, text: str) -> int:
        return self._costs[int(json.loads(text)["message_id"])]


def _costs(history: Sequence[Wire]) -> Costs:
    return [FULL_COST.count_message(wire) for wire in history]


def _tag_tokenizer(costs: Costs) -> Callable[[str], list[int]]:
    """Return a tokenizer: a text has as many tokens as the messages cost whose tags it holds."""
    return lambda text: [0] * sum(costs[int(place)] for place in re.findall(r"<(\d+)>", text))


def _by_place(history: Sequence[Wire], messages: Sequence[Any]) -> list[Wire]:
    return [history[message.additional_kwargs["place"]] for message in messages]
