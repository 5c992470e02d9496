"""Counters and summarisers without vocabulary or model, and plugins that protect and summarise."""

import copy
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from ctxwin.counting import TokenCounter
from ctxwin.counting.openai.chat import ChatCounter
from ctxwin.hooks.specs import hookimpl
from ctxwin.values.message import Message
from ctxwin.values.plan import Plan, PruneRequest, Unit

WORTH_TOKENS = 20  # more than two words cost with any counter of this module


class WordCounter(ChatCounter):
    """
    Counts words, with the standard chat overhead, so that a person can check the figures.

    Args:
        exact: whether it claims to be exact. From `observe`, an exact counter learns an offset and
            an estimate learns a factor.
    """

    name = "words"

    def __init__(self, *, exact: bool = False) -> None:
        self.exact = exact

    def __repr__(self) -> str:
        return f"WordCounter(exact={self.exact})" if self.exact else "WordCounter()"

    def count_text(self, text: str) -> int:
        """Return the number of words."""
        return len(text.split())


class OddCounter(ChatCounter):
    """
    Counts in a way that is allowed, but unlike any tokenizer.

    Args:
        kind: `characters`; `free-some`: some texts cost nothing; `superlinear`; `constant`; or
            `merging`: a request costs less than the sum of its messages, and the counter says that
            it is not `additive`.

    Raises:
        ValueError: there is no such kind.
    """

    KINDS = ("characters", "free-some", "superlinear", "constant", "merging")

    _COUNT: Mapping[str, Callable[[str], int]] = {
        "characters": len,
        "free-some": lambda text: 0 if text.startswith(("o", "{")) else len(text.split()),
        "superlinear": lambda text: len(text) ** 2 // 16,
        "constant": lambda _: 1,
        "merging": lambda text: len(text.split()),
    }

    def __init__(self, kind: str) -> None:
        if kind not in self.KINDS:
            raise ValueError(f"kind must be one of {', '.join(self.KINDS)}, not {kind!r}")
        self.kind = kind
        self.name = f"odd-{kind}"
        self.additive = kind != "merging"

    def __repr__(self) -> str:
        return f"OddCounter({self.kind!r})"

    def count_text(self, text: str) -> int:
        """Return the cost of a text, by the kind."""
        return self._COUNT[self.kind](text)

    def count_request(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> int:
        """Return the cost of a request: the sum, or with `merging` one token less per message."""
        return super().count_request(messages, tools) - (
            len(messages) if self.kind == "merging" else 0
        )


class Priced(ChatCounter):
    """A counter for the judge, which asks for whole windows only; `cost` returns their cost."""

    def __init__(self, cost: Callable[[Sequence[Mapping[str, Any]]], int]) -> None:
        self._cost = cost

    def count_request(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),  # noqa: ARG002 - part of the protocol
    ) -> int:
        """Return the cost of a window."""
        return self._cost(messages)


def recording(counter: TokenCounter) -> tuple[TokenCounter, Counter[str]]:
    """
    Return a copy of a counter that records what it is asked.

    The second value has, for the `repr` of each message, how often it was counted on its own.
    """
    recorder: Any = copy.copy(counter)
    kind: Any = type(counter)
    asked: Counter[str] = Counter()
    # Not empty while a request is counted: what the counter then asks itself about single messages
    # was not asked by ctxwin.
    whole: list[bool] = []

    def count_message(message: Mapping[str, Any]) -> int:
        if not whole:
            asked[repr(message)] += 1
        return int(kind.count_message(recorder, message))

    def count_request(*arguments: Any) -> int:
        whole.append(True)
        try:
            return int(kind.count_request(recorder, *arguments))
        finally:
            whole.pop()

    recorder.count_message, recorder.count_request = count_message, count_request
    return recorder, asked


class ScriptedSummarizer:
    """
    Answers with given texts, one per call, and repeats the last one.

    Args:
        texts: the answers. Without any, it answers with the number of messages it was given.

    Attributes:
        calls: the arguments of each call, `(messages, previous_summary, max_tokens)`.
    """

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.calls: list[tuple[tuple[Message, ...], str | None, int]] = []

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.texts))})"

    def __call__(
        self, messages: Sequence[Message], previous_summary: str | None, max_tokens: int
    ) -> str:
        """Answer as scripted."""
        self.calls.append((tuple(messages), previous_summary, max_tokens))
        if not self.texts:
            return f"{len(messages)} messages"
        return self.texts[min(len(self.calls), len(self.texts)) - 1]


class FailingSummarizer(ScriptedSummarizer):
    """
    Raises an error, after some answers or at once.

    Args:
        texts: the answers before it fails; without any, it fails from the first call on.
        error: what it raises.
    """

    def __init__(self, *texts: str, error: BaseException | None = None) -> None:
        super().__init__(*texts)
        self.error = error or TimeoutError("the model is away")

    def __call__(
        self, messages: Sequence[Message], previous_summary: str | None, max_tokens: int
    ) -> str:
        """Answer as scripted, then raise."""
        text = super().__call__(messages, previous_summary, max_tokens)
        if len(self.calls) > len(self.texts):
            raise self.error
        return text


class SlowSummarizer(ScriptedSummarizer):
    """
    Sleeps before it answers.

    Args:
        texts: the answers, as for `ScriptedSummarizer`.
        seconds: the time that it sleeps.
    """

    def __init__(self, *texts: str, seconds: float = 1.0) -> None:
        super().__init__(*texts)
        self.seconds = seconds

    def __call__(
        self, messages: Sequence[Message], previous_summary: str | None, max_tokens: int
    ) -> str:
        """Sleep, then answer as scripted."""
        time.sleep(self.seconds)
        return super().__call__(messages, previous_summary, max_tokens)


class Protecting:
    """
    A plugin that asks to protect the units of some messages.

    Args:
        ids: the ids of the messages.
    """

    name = "testing-protecting"

    def __init__(self, ids: Collection[int]) -> None:
        self.ids = frozenset(ids)

    def __repr__(self) -> str:
        return f"Protecting({sorted(self.ids)})"

    @hookimpl
    def ctxwin_protect(self, request: PruneRequest) -> Iterable[Unit]:
        """Return the units that hold one of the messages."""
        return [unit for unit in request.units if self.ids.intersection(unit.ids)]


class Folding:
    """A strategy that replaces pairs of old units by two words, so that others see summaries."""

    name = "testing-folding"

    def __repr__(self) -> str:
        return "Folding()"

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
        """Replace the two oldest units, and the next two, if that saves enough."""
        units = [unit for unit in request.droppable if not unit.written]
        pairs = [pair for pair in (units[:2], units[2:4]) if len(pair) == 2]
        plan = Plan()
        for pair in pairs:
            if sum(unit.tokens for unit in pair) >= WORTH_TOKENS:
                plan += Plan.replace(pair, "as agreed", reason="summarised in two words")
        return plan if plan.steps else None
