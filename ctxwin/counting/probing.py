"""
What a message adds to a request, learnt from a chat template by probing it with neutral messages.

A window of probes is spelt with one letter a message: `s` system, `u` user, `a` assistant, `A` and `B` assistant with
one call and with two, `t` the result of a call; `n` and `h` are system messages with the switches that reasoning models
heed. `*` stands for the message to be costed. What it adds is told by comparing two windows that end alike.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ctxwin.counting.preparing import WORD, called
from ctxwin.messages import RESULT_ROLES, SYSTEM_ROLES, Wire

Render: TypeAlias = Callable[[Sequence[Wire], Sequence[Wire]], str | None]
"""Renders the request of messages and tools; None where the template refuses them."""

UNASKED = "quaver999"  # the id of a call that is in no window
NEUTRAL: Mapping[str, Wire] = {
    "s": {"role": "system", "content": WORD},
    "n": {"role": "system", "content": "/no_think"},
    "h": {"role": "system", "content": "/think"},
    "u": {"role": "user", "content": f"{WORD} 0"},
    "a": {"role": "assistant", "content": f"{WORD} 0"},
    "t": {"role": "tool", "content": f"{WORD} 0", "tool_call_id": UNASKED},
    "A": called(1),
    "B": called(2),
}
TOOL: Wire = {
    "type": "function",
    "function": {
        "name": "quaver",
        "description": WORD,
        "parameters": {"type": "object", "properties": {"tempo": {"type": "string", "description": WORD}}},
    },
}
OFFERS: Sequence[Sequence[Wire]] = ((), (TOOL,), (TOOL, TOOL))  # the tools that probes offer
# For each kind of message, in the order in which they are learnt: a window with the message, and one to compare it
# with. What else the two differ by is known by then; where that is the kind itself, only contents are compared.
WINDOWS: Mapping[str, Sequence[tuple[str, str]]] = {
    "u": (("u*", "u"), ("uau*", "uau"), ("su*", "su"), ("*", "u"), ("uAt*", "uAtu"), ("uAta*", "uAtau")),
    "a": (
        ("u*u", "u"), ("uau*u", "uau"), ("uAt*u", "uAtu"), ("*u", "u"), ("nu*u", "nu"), ("hu*u", "hu"),
        ("u*", "ua"), ("uAt*", "uAta"), ("uAt*u", "uAtau"), ("nu*", "nua"), ("hu*", "hua"),
    ),
    "s": (("*u", "u"), ("s*u", "su"), ("u*u", "uu"), ("ua*u", "uau")),
    "t": (("uBt*", "uBt"), ("nuBt*", "nuBt"), ("uA*au", "uAtau"), ("uA*", "uAt")),
    "A": (
        ("u*tau", "uau"), ("u*tu", "u"), ("uAt*t", "uAt"), ("nu*tau", "nuau"), ("hu*tau", "huau"), ("nuAt*t", "nuAt"),
        ("u*t", "uAt"),
    ),
}  # fmt: skip
# System messages where each request begins with one, so that none is ever compared with what stands in for it.
SYSTEM_WINDOWS = (("s*u", "su"), ("*u", "su"), ("su*u", "suu"), ("sua*u", "suau"))
BASES = (
    "u",
    "su",
    "us",
    "ua",
    "sua",
    "uau",
    "suau",
    "uAt",
    "suAt",
    "uAta",
    "uAtau",
    "suAtau",
    "uu",
    "nu",
    "hu",
    "uBtt",
    "suBtt",
)
MARK = WORD[::-1]
BESIDE = 4  # characters that a token may share with a content
# Messages that templates treat in another way than the neutral ones: the windows that matter to them are kept.
THOUGHT = f"{WORD} {WORD} {WORD} {WORD}"
THINKING = f"<think>\n{THOUGHT}\n</think>\n\n"
VARIANTS: Mapping[str, Sequence[Wire]] = {
    "u": ({"content": ""}, {"content": f"<tool_response>\n{WORD}\n</tool_response>"}, {"content": f" {WORD}\n"}),
    "a": ({"content": ""}, {"content": THINKING + WORD}, {"reasoning_content": THOUGHT}, {"content": f" {WORD}\n"}),
    "s": ({"content": ""}, {"content": 999 * WORD}, {"content": "/no_think"}, {"content": "/think"}),
    "t": ({"content": ""}, {"content": f'{{"{WORD}": 1}}'}, {"name": "quaver"}),
    "A": ({"content": WORD}, {"content": THINKING}, {"reasoning_content": THOUGHT}, called(2)),
}


@dataclass(frozen=True, slots=True)
class Context:
    """
    A window of probes around a message.

    Attributes:
        before, after: the other messages, without the results of the message's calls.
        answered: whether those stand behind it.
        tools: the tools on offer.
        tokens: what the window costs beside the message and the results beyond the first.
    """

    before: Sequence[Wire]
    after: Sequence[Wire]
    answered: bool
    tools: Sequence[Wire]
    tokens: int


def kind_of(message: Mapping[str, object]) -> str:
    """Return the letter of a message's kind."""
    role = message["role"]
    if role == "assistant":
        return "A" if message.get("tool_calls") else "a"
    return "s" if role in SYSTEM_ROLES else "t" if role in RESULT_ROLES else "u"


def spell(letters: str, *, alike: bool = False) -> list[Wire]:
    """Return the window that is spelt; results answer the calls before them. Contents differ unless `alike`."""
    window: list[Wire] = []
    ids: Iterator[str] = iter(())
    for place, letter in enumerate(letters):
        wire = dict(NEUTRAL[letter])
        if letter in "uat" and not alike:
            wire["content"] = f"{WORD} {place % 10}"
        if letter in "AB":
            wire = called("AB".index(letter) + 1, first=2 * place)
            ids = iter([call["id"] for call in wire["tool_calls"]])
        if letter == "t":
            wire["tool_call_id"] = next(ids, UNASKED)
        window.append(wire)
    return window


class Probes:
    """
    What messages of each kind cost with a template.

    Args:
        render: renders a request.
        count: counts a text.
        system_prompt: whether each request begins with a system message: what stands in for one then never does.

    Attributes:
        tools_repeated: whether messages are the dearer the more tools there are: no figure of theirs is a bound then.
        more: by how much messages of a kind may be dearer than they are in the windows of probes.
    """

    def __init__(self, render: Render, count: Callable[[str], int], *, system_prompt: bool = False) -> None:
        self._render = render
        self._count_text = count
        self.first = "snh" if system_prompt else "snhua"
        self.tools_repeated = False
        self.more: Mapping[str, int] = {}
        self._answers = self._learn_answers()
        self._known: dict[str, int] = {}
        self._contexts: dict[str, list[Context]] = {}
        self._spare: dict[str, list[Context]] = {}
        for kind, pairs in WINDOWS.items():
            self._learn(kind, SYSTEM_WINDOWS if system_prompt and kind == "s" else pairs)

    def cost(self, message: Wire) -> int | None:
        """Return what the message adds at most; None where the template refuses it in all that was tried."""
        kind = kind_of(message)
        for contexts in (self._contexts[kind], self._spare[kind]):
            costs = [cost for context in contexts if (cost := self._in(context, message)) is not None]
            if costs:
                return max(0, *costs) + self.more.get(kind, 0) * len(message.get("tool_calls") or "1")
        return None

    def base(self, tools: Sequence[Wire]) -> int | None:
        """Return what a request costs beside its messages; None where the template refuses all that was tried."""
        bases = [base for base in BASES if base[0] in self.first]
        return max((excess for base in bases if (excess := self.excess(base, tools)) is not None), default=None)

    def excess(self, letters: str, tools: Sequence[Wire], *, alike: bool = False) -> int | None:
        """Return what a window costs beside its messages; None where it is refused."""
        tokens = self._count(spell(letters, alike=alike), tools)
        costs = [self._known[letter] if letter in self._known else self.cost(NEUTRAL[letter]) for letter in letters]
        return None if tokens is None or None in costs else tokens - sum(cost or 0 for cost in costs)

    def _count(self, window: Sequence[Wire], tools: Sequence[Wire]) -> int | None:
        text = self._render(window, tools)
        return None if text is None else self._count_text(text)

    def _around(self, context: Context, message: Wire) -> list[Wire]:
        """Return the window of a context with the message in it."""
        calls = message["tool_calls"] if context.answered else ()
        results = [{**NEUTRAL["t"], "tool_call_id": call.get("id") if self._answers else UNASKED} for call in calls]
        before = context.before
        if self._answers and kind_of(message) == "t":
            before = _calling(before, message.get("tool_call_id"))
        return [*before, message, *results, *context.after]

    def _in(self, context: Context, message: Wire) -> int | None:
        """Return what the message adds in a context; None where it is refused."""
        tokens = self._count(self._around(context, message), context.tools)
        if tokens is None:
            return None
        more_results = len(message["tool_calls"]) - 1 if context.answered else 0
        return tokens - context.tokens - more_results * self._known.get("t", 0)

    def _learn_answers(self) -> bool:
        """Return whether the template finds a result's call by its id, and not only shows that."""
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
        """Learn what a kind of message costs, and in which contexts that is to be looked for."""
        neutral = NEUTRAL[kind]
        found = [context for pair in pairs if kind not in _others(*pair) for context in self._compare(kind, *pair)]
        costs = [self._in(context, neutral) or 0 for context in found]
        self._known[kind] = max(0, *costs) if costs else self._count_text(str(neutral.get("content")))
        found += [context for pair in pairs if kind in _others(*pair) for context in self._compare(kind, *pair)]
        self._contexts[kind] = self._needed(kind, found)
        self._spare[kind] = found
        if not found:
            del self._known[kind]

    def _compare(self, kind: str, letters: str, base: str) -> list[Context]:
        """Return the contexts of one pair of windows: one for each offer of tools that makes the message dearer."""
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
            context = Context(before, after[kind == "A" :], kind == "A", tools, tokens + other_tokens)
            cost = self._in(context, NEUTRAL[kind])
            if cost is not None and cost > max(contexts, default=cost - 1):
                contexts[cost] = context
        found = list(contexts.values())
        if len(found) > 1 and found[-1].tools is OFFERS[-1]:
            self.tools_repeated = True
            return found[:1]
        return found

    def _needed(self, kind: str, found: Sequence[Context]) -> list[Context]:
        """Return contexts of all kinds of neighbours, and those that are the dearest for a variant of a message."""
        marked = {**NEUTRAL[kind], "content": MARK}
        needed = list({self._neighbours(context, marked): context for context in reversed(found)}.values())[::-1]
        for variant in ({}, *VARIANTS[kind]):
            costs = [(self._in(context, {**NEUTRAL[kind], **variant}) or 0, context) for context in found]
            best = max((cost for cost, _ in costs), default=0)
            if all(cost < best for cost, context in costs if context in needed):
                needed += [context for cost, context in costs if cost == best][:1]
        return needed

    def _neighbours(self, context: Context, message: Wire) -> str:
        """Return what stands beside a content, which may be encoded together with its ends."""
        before, _, after = (self._render(self._around(context, message), context.tools) or "").partition(MARK)
        return before[-BESIDE:] + after[:BESIDE]


def _calling(window: Sequence[Wire], call_id: object) -> list[Wire]:
    """Return the window with its last call given another id."""
    place = max(place for place, wire in enumerate(window) if "tool_calls" in wire)
    calls = window[place]["tool_calls"]
    asking = {**window[place], "tool_calls": [*calls[:-1], {**calls[-1], "id": call_id}]}
    return [*window[:place], asking, *window[place + 1 :]]


def _others(letters: str, base: str) -> Counter[str]:
    """Return by how many messages of each kind, the one to be costed apart, a window differs from its base."""
    others = Counter(letters.replace("*", ""))
    others.subtract(base)
    return Counter({letter: number for letter, number in others.items() if number})
