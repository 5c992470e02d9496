"""
The histories that every library gets, equal on each run, and their form in each library's types.

Histories come from `ctxwin.testing.strategies`; budgets are 10 to 110 % of the cost of a history.
Every history ends where a request is sent, with a user message or with tool results. Histories that
end with an answer are not used: what a library then does with it is not a question of validity, and
some drop it on purpose.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import agent_framework as af
from autogen_core import FunctionCall
from autogen_core import models as autogen
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from langchain_core import messages as langchain
from llama_index.core.base.llms import types as llama

from bench.corpus import WORDS as VOCABULARY
from ctxwin.counting import TokenCounter
from ctxwin.counting.openai.chat import ChatCounter
from ctxwin.testing import WordCounter
from ctxwin.testing.judge.windows import count_request
from ctxwin.testing.strategies import histories

Wire: TypeAlias = dict[str, Any]

SEED = 20
GIANT = 0.03  # the share of texts that are too long on their own
FULL_COST = WordCounter()


class TextCost(ChatCounter):
    """Counts only the words of contents, as `ChatMemoryBuffer` shows them: None is a word to it."""

    def count_text(self, text: str) -> int:
        """Return how many words the text has."""
        return len(text.split())

    def count_message(self, message: Any) -> int:
        """Return how many words the content has."""
        return self.count_text(str(message["content"]))

    def count_request(self, messages: Any, tools: Any = ()) -> int:
        """Return how many words all contents have."""
        return sum(map(self.count_message, messages))


@dataclass(frozen=True)
class Case:
    """
    A history, and the budget as a share of its cost.

    Attributes:
        history: the messages, oldest first.
        percent: the budget, as a percentage of the cost of all of them.
    """

    history: list[Wire]
    percent: int

    def budget(self, counter: TokenCounter) -> int:
        """Return the budget in tokens."""
        return max(1, count_request(counter, self.history) * self.percent // 100)

    def without_system(self) -> "Case":
        """Return the case without system messages, for libraries that keep these elsewhere."""
        return Case([wire for wire in self.history if wire["role"] != "system"], self.percent)


def draw_cases(count: int) -> list[Case]:
    """Return this number of cases, no two alike; every run draws the same."""
    found: dict[str, list[Wire]] = {}
    number = SEED
    while len(found) < count:
        history = _draw(number)
        found.setdefault(json.dumps(history), history)
        number += 1
    # Not Hypothesis: it prefers the ends of a range, and budgets should be spread evenly.
    chance = random.Random(SEED)
    return [Case(history, chance.randint(10, 110)) for history in found.values()]


def langchain_message(place: int, wire: Wire) -> langchain.BaseMessage:
    """Return the message; its id is its position."""
    content, uid = wire["content"] or "", str(place)
    if wire["role"] == "tool":
        return langchain.ToolMessage(content=content, tool_call_id=wire["tool_call_id"], id=uid)
    if wire["role"] == "assistant":
        calls = [
            {"id": call, "name": name, "args": json.loads(args)}
            for call, name, args in _calls(wire)
        ]
        return langchain.AIMessage(content=content, tool_calls=calls, id=uid)
    kind = langchain.HumanMessage if wire["role"] == "user" else langchain.SystemMessage
    return kind(content=content, id=uid)


def llama_messages(history: Sequence[Wire], *, tagged: bool = False) -> list[Any]:
    """Return the messages with their positions; if `tagged`, the position replaces the text too."""
    made = []
    for place, wire in enumerate(history):
        text = f"<{place}>" if tagged else wire["content"]
        blocks: list[Any] = [] if text is None else [llama.TextBlock(text=text)]
        blocks += [
            llama.ToolCallBlock(tool_call_id=call, tool_name=name, tool_kwargs=args)
            for call, name, args in _calls(wire)
        ]
        kwargs = {
            "place": place,
            **({"tool_call_id": wire["tool_call_id"]} if wire["role"] == "tool" else {}),
        }
        made.append(llama.ChatMessage(role=wire["role"], blocks=blocks, additional_kwargs=kwargs))
    return made


def autogen_messages(history: Sequence[Wire]) -> list[tuple[Any, list[Wire]]]:
    """Return each message with its originals: the results of parallel calls become one message."""
    made: list[tuple[Any, list[Wire]]] = []
    for wire in history:
        if wire["role"] != "tool":
            made.append((_autogen_message(wire), [wire]))
            continue
        result = autogen.FunctionExecutionResult(
            content=wire["content"], name="look", call_id=wire["tool_call_id"]
        )
        if isinstance(made[-1][0], autogen.FunctionExecutionResultMessage):
            made[-1][0].content.append(result)
            made[-1][1].append(wire)
        else:
            made.append((autogen.FunctionExecutionResultMessage(content=[result]), [wire]))
    return made


def agent_message(place: int, wire: Wire) -> Any:
    """Return the message; its id is its position."""
    contents = [] if wire["content"] is None else [af.Content.from_text(wire["content"])]
    if wire["role"] == "tool":
        contents = [af.Content.from_function_result(wire["tool_call_id"], result=wire["content"])]
    contents += [
        af.Content.from_function_call(call, name, arguments=args)
        for call, name, args in _calls(wire)
    ]
    return af.Message(wire["role"], contents, message_id=str(place))


def _autogen_message(wire: Wire) -> Any:
    content, source = wire["content"], wire["role"]
    if calls := [
        FunctionCall(id=call, name=name, arguments=args) for call, name, args in _calls(wire)
    ]:
        return autogen.AssistantMessage(content=calls, thought=content, source=source)
    if wire["role"] == "system":
        return autogen.SystemMessage(content=content)
    kind = autogen.UserMessage if wire["role"] == "user" else autogen.AssistantMessage
    return kind(content=content, source=source)


def _calls(wire: Wire) -> list[tuple[str, str, str]]:
    """Return id, name and arguments of each call of a message."""
    calls = wire.get("tool_calls", ())
    return [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls]


def _draw(number: int) -> list[Wire]:
    """
    Draw one history, with this number as the seed.

    If many were drawn with one seed, most would be variations of others. The first that Hypothesis
    draws is the simplest possible, so the second is used.
    """
    drawn: list[list[Wire]] = []

    @seed(number)
    @settings(
        max_examples=2,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(histories(valid=True, texts=TEXTS, min_size=6, max_size=16))
    def collect(history: list[Wire]) -> None:
        drawn.append(history)

    collect()
    last = max(place for place, wire in enumerate(drawn[-1]) if wire["role"] in ("user", "tool"))
    return drawn[-1][: last + 1]


def _text(number: int) -> str:
    """Return plain words, mostly a sentence of them, sometimes far too many."""
    chance = random.Random(number)
    size = chance.randint(150, 250) if chance.random() < GIANT else chance.randint(1, 25)
    return " ".join(chance.choices(VOCABULARY, k=size))


TEXTS = st.integers(0, 2**20).map(_text)
