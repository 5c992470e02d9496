"""
What a message adds to a request, learnt by probing a chat template with neutral messages.

The kinds of messages are learnt one after another: each by comparing windows with and without it,
where all other differences have a known cost. Later a message is costed by rendering it in the
windows that were found to matter, and the most expensive one counts.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from ctxwin.counting.template.neutral import (
    BASES,
    NEUTRAL,
    OFFERS,
    SYSTEM_WINDOWS,
    UNASKED,
    VARIANTS,
    WINDOWS,
    kind_of,
    spell,
)
from ctxwin.counting.template.preparing import WORD
from ctxwin.values.wire import Wire

Render: TypeAlias = Callable[[Sequence[Wire], Sequence[Wire]], str | None]
"""Renders a request of messages and tools; None if the template refuses it."""

MARK = WORD[::-1]
LONG_HEAD = 200  # characters from which on a head is worth counting apart: a default system message
BESIDE = 4  # characters beside a content that may share a token with it


@dataclass(frozen=True, slots=True)
class Context:
    """
    A window of probes around a message.

    Attributes:
        before, after: the other messages, without the results of the message's calls.
        answered: whether these results follow the message.
        tools: the tools on offer.
        tokens: the cost of all in the window but the message and its results after the first.
        head: the beginning of the window's text, up to a special token, which is the same for every
            message; `""` if it is short.
        head_tokens: the cost of the head.
    """

    before: Sequence[Wire]
    after: Sequence[Wire]
    answered: bool
    tools: Sequence[Wire]
    tokens: int
    head: str = ""
    head_tokens: int = 0


class Probes:
    """
    What messages of each kind cost with a template.

    Args:
        render: renders a request.
        count: counts a text.
        marks: special tokens: a text may be cut there and its parts counted one by one.
        system_prompt: whether each request begins with a system message, so that the template's
            default never appears.

    Attributes:
        tools_repeated: whether messages cost more the more tools there are: then no cost of a
            message is a bound.
        more: how many tokens more than in the probes a message of each kind may cost.
    """

    def __init__(
        self,
        render: Render,
        count: Callable[[str], int],
        marks: Sequence[str] = (),
        *,
        system_prompt: bool = False,
    ) -> None:
        self._render = render
        self._count_text = count
        self._marks = marks
        self._system_prompt = system_prompt
        self.tools_repeated = False
        self.more: Mapping[str, int] = {}
        self._answers = self._learn_answers()
        self._known: dict[str, int] = {}
        self._contexts: dict[str, list[Context]] = {}
        self._spare: dict[str, list[Context]] = {}
        for kind, pairs in WINDOWS.items():
            self._learn(kind, SYSTEM_WINDOWS if system_prompt and kind == "s" else pairs)

    def cost(self, message: Wire) -> int | None:
        """Return what the message adds at most; None if the template refuses it in every probe."""
        kind = kind_of(message)
        for contexts in (self._contexts[kind], self._spare[kind]):
            costs = [
                cost for context in contexts if (cost := self._in(context, message)) is not None
            ]
            if costs:
                return max(0, *costs) + self.more.get(kind, 0) * len(
                    message.get("tool_calls") or "1"
                )
        return None

    def base(self, tools: Sequence[Wire]) -> int | None:
        """Return what a request costs beside its messages; None if every probe is refused."""
        bases = {self.allowed(base) for base in BASES}
        return max(
            (excess for base in bases if (excess := self.excess(base, tools)) is not None),
            default=None,
        )

    def allowed(self, letters: str) -> str:
        """Return a window, with a system message before it if each request begins with one."""
        return f"s{letters}" if self._system_prompt and letters[0] not in "snh" else letters

    def excess(self, letters: str, tools: Sequence[Wire], *, alike: bool = False) -> int | None:
        """Return what a window costs beside its messages; None if it is refused."""
        tokens = self._count(spell(letters, alike=alike), tools)
        costs = [
            self._known[letter] if letter in self._known else self.cost(NEUTRAL[letter])
            for letter in letters
        ]
        return (
            None if tokens is None or None in costs else tokens - sum(cost or 0 for cost in costs)
        )

    def _count(self, window: Sequence[Wire], tools: Sequence[Wire]) -> int | None:
        text = self._render(window, tools)
        return None if text is None else self._count_text(text)

    def _around(self, context: Context, message: Wire) -> list[Wire]:
        """Return the window of a context with the message in it."""
        calls = message["tool_calls"] if context.answered else ()
        results = [
            {**NEUTRAL["t"], "tool_call_id": call.get("id") if self._answers else UNASKED}
            for call in calls
        ]
        before = context.before
        if self._answers and kind_of(message) == "t":
            before = _calling(before, message.get("tool_call_id"))
        return [*before, message, *results, *context.after]

    def _in(self, context: Context, message: Wire) -> int | None:
        """Return what the message adds in a context; None if the template refuses it there."""
        text = self._render(self._around(context, message), context.tools)
        if text is None:
            return None
        if context.head and text.startswith(context.head):
            tokens = context.head_tokens + self._count_text(text[len(context.head) :])
        else:
            tokens = self._count_text(text)
        more_results = len(message["tool_calls"]) - 1 if context.answered else 0
        return tokens - context.tokens - more_results * self._known.get("t", 0)

    def _learn_answers(self) -> bool:
        """Return whether the template looks up a result's call by its id, not only shows the id."""
        user, call, result = spell("uAt")
        for tools in OFFERS[:2]:
            known, unknown = (
                self._render([user, call, {**result, "tool_call_id": call_id}], tools)
                for call_id in (result["tool_call_id"], UNASKED)
            )
            if known is not None:
                return unknown is None or unknown.replace(UNASKED, result["tool_call_id"]) != known
        return False

    def _learn(self, kind: str, pairs: Sequence[tuple[str, str]]) -> None:
        """Learn what a kind of message costs, and in which contexts to look for its cost."""
        neutral = NEUTRAL[kind]
        # First the pairs that do not involve the kind itself: they give its cost.
        found = [
            context
            for pair in pairs
            if kind not in _others(*pair)
            for context in self._compare(kind, *pair)
        ]
        costs = [self._in(context, neutral) or 0 for context in found]
        self._known[kind] = (
            max(0, *costs) if costs else self._count_text(str(neutral.get("content")))
        )
        # Then the others, which need that cost.
        found += [
            context
            for pair in pairs
            if kind in _others(*pair)
            for context in self._compare(kind, *pair)
        ]
        self._contexts[kind] = [
            self._beheaded(kind, context) for context in self._needed(kind, found)
        ]
        self._spare[kind] = found
        if not found:
            del self._known[kind]

    def _compare(self, kind: str, letters: str, base: str) -> list[Context]:
        """
        Return the contexts of one pair of windows.

        There is one for each offer of tools that makes the message more expensive than the offers
        before it.
        """
        others = _others(letters, base)
        if not all(letter in self._known for letter in others):
            return []
        other_tokens = sum(number * self._known[letter] for letter, number in others.items())
        window = spell(letters.replace("*", kind))
        before, after = window[: letters.index("*")], window[letters.index("*") + 1 :]
        contexts: dict[int, Context] = {}
        for tools in OFFERS:
            tokens = self._count(spell(base), tools)
            if tokens is None:
                continue
            # `A` is always followed by its result, which `_around` adds anew for each message.
            context = Context(
                before, after[kind == "A" :], kind == "A", tools, tokens + other_tokens
            )
            cost = self._in(context, NEUTRAL[kind])
            if cost is not None and cost > max(contexts, default=cost - 1):
                contexts[cost] = context
        found = list(contexts.values())
        if len(found) > 1 and found[-1].tools is OFFERS[-1]:
            # Two tools cost more than one: the message repeats them, and so there is no bound.
            self.tools_repeated = True
            return found[:1]
        return found

    def _needed(self, kind: str, found: Sequence[Context]) -> list[Context]:
        """
        Return the contexts that are enough to cost a message of this kind.

        These are one for each text that can stand beside its content, and for each variant of the
        message one in which it costs most.
        """
        marked = {**NEUTRAL[kind], "content": MARK}
        needed = list(
            {self._neighbours(context, marked): context for context in reversed(found)}.values()
        )[::-1]
        for variant in ({}, *VARIANTS[kind]):
            costs = [
                (self._in(context, {**NEUTRAL[kind], **variant}) or 0, context) for context in found
            ]
            best = max((cost for cost, _ in costs), default=0)
            if all(cost < best for cost, context in costs if context in needed):
                needed += [context for cost, context in costs if cost == best][:1]
        return needed

    def _beheaded(self, kind: str, context: Context) -> Context:
        """
        Return the context with its head counted once and for all.

        Only if the head is long, and if counting it apart gives the same sum for every variant.
        """
        messages = [{**NEUTRAL[kind], **variant} for variant in ({}, *VARIANTS[kind])]
        texts = [
            text
            for wire in messages
            if (text := self._render(self._around(context, wire), context.tools))
        ]
        # What the first and the last text in sorted order begin with, all texts begin with.
        head = _common(min(texts), max(texts))
        head = head[: max([0, *(head.rfind(mark) for mark in self._marks)])]
        tokens = self._count_text(head)
        if len(head) < LONG_HEAD or any(
            self._count_text(t) != tokens + self._count_text(t[len(head) :]) for t in texts
        ):
            return context
        return replace(context, head=head, head_tokens=tokens)

    def _neighbours(self, context: Context, message: Wire) -> str:
        """Return the text on both sides of a content, which may share tokens with its ends."""
        before, _, after = (
            self._render(self._around(context, message), context.tools) or ""
        ).partition(MARK)
        return before[-BESIDE:] + after[:BESIDE]


def _common(first: str, second: str) -> str:
    """Return the common beginning of both texts."""
    differing = (
        place for place, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]
    )
    return first[: next(differing, min(len(first), len(second)))]


def _calling(window: Sequence[Wire], call_id: object) -> list[Wire]:
    """Return the window with its last call given another id."""
    place = max(place for place, wire in enumerate(window) if "tool_calls" in wire)
    calls = window[place]["tool_calls"]
    asking = {**window[place], "tool_calls": [*calls[:-1], {**calls[-1], "id": call_id}]}
    return [*window[:place], asking, *window[place + 1 :]]


def _others(letters: str, base: str) -> Counter[str]:
    """Return how many messages of each kind a window has more than its base, apart from `*`."""
    others = Counter(letters.replace("*", ""))
    others.subtract(base)
    return Counter({letter: number for letter, number in others.items() if number})
