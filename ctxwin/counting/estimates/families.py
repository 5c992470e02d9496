"""
What requests cost with models whose tokenizer is not public: coefficients for each family.

The figures are fitted to recorded requests and the input tokens that were billed for them, by least
absolute relative error, and rounded to three digits. `tests/bench/fit_estimates.py` prints them,
together with their errors on sources that the fit has not seen. The requests are short English
chats, agents with tools, Markdown and JSON.

No request is in Chinese, Japanese or Korean, so for these languages the choice of the embedded
vocabulary decides. Claude's families scale cl100k_base. For Chinese chats it has 3 to 7 % more
tokens than Claude 2's vocabulary, the last that was public; o200k_base has a third fewer.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType

# Part of a counter's name: counts that were stored under other coefficients are not reused.
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """
    The coefficients of a family of models, in tokens.

    A request costs the sum of all coefficients, each times the number of things that it prices.

    Attributes:
        name: the name under which the counts are stored.
        encoding: the embedded vocabulary; `text` and `word` scale its tokens.
        base: the price of a request, once.
        turn: of a message of the user or the assistant.
        text: of a token of text, arguments of calls and tool results included.
        call: of a tool call and the frame of its result.
        tools: of the hidden prompt that comes with any tool, once.
        tool: of a declared tool.
        word: of a token in a tool's name and description, and in its schema's names, descriptions
            and choices.
        node: of an object in a tool's schema, the schema itself included.
        signature: of a character of a thought signature on a call.
        image: of an image whose size is not known, and the most that any image costs.
        pixels: the pixels per token, if images are counted by size; 0 if every image costs the
            same.
        hidden: what thinking adds to `base` when it is on. Messages do not show whether it is, so
            only a bound includes it.
        forced: what a forced choice of a tool adds to `tools`; only a bound includes it.
        pads: quantile -> the share to add to every coefficient so that this share of requests costs
            no more.
    """

    name: str
    encoding: str = "o200k_base"
    base: float = 0
    turn: float = 0
    text: float = 0
    call: float = 0
    tools: float = 0
    tool: float = 0
    word: float = 0
    node: float = 0
    signature: float = 0
    image: int = 0
    pixels: int = 0
    hidden: float = 0
    forced: float = 0
    pads: Mapping[float, float] = field(default_factory=lambda: MappingProxyType({}))

    def bound(self, quantile: float) -> "Family":
        """
        Return the family with its coefficients raised, so that this share of requests fits.

        Raises:
            ValueError: no pad was fitted for the quantile.
        """
        if quantile not in self.pads:
            known = ", ".join(map(str, self.pads)) or "none"
            raise ValueError(
                f"{self.name} has no bound for the quantile {quantile}: it has {known}"
            )
        worst = replace(self, base=self.base + self.hidden, tools=self.tools + self.forced)
        padded = {name: getattr(worst, name) * (1 + self.pads[quantile]) for name in RATES}
        return replace(worst, name=f"{self.name}:p{quantile * 100:g}", **padded)


# What a pad raises. Not the price of images, which is a published rule.
RATES = tuple(
    rate.name
    for rate in fields(Family)
    if rate.type is float and rate.name not in {"hidden", "forced"}
)

# Claude up to 4.6 has one vocabulary, and its generations differ only in the prompt that comes with
# tools. Images follow Anthropic's rule, width times height in pixels divided by 750 and at most
# 1,600; recorded ones agree.
_CLAUDE = Family(
    name="claude",
    encoding="cl100k_base",
    base=4.57,
    turn=2.0,
    text=1.13,
    call=55,
    tool=45.5,
    word=0.746,
    node=19.8,
    image=1600,
    pixels=750,
    hidden=28,
    pads=MappingProxyType({0.9: 0.12, 0.95: 0.12}),
)
_GEMINI = Family(
    name="gemini",
    turn=0.924,
    text=1.01,
    call=18.5,
    word=1.15,
    node=13.9,
    pads=MappingProxyType({0.9: 0.125, 0.95: 0.242}),
)
FAMILIES = (
    replace(_CLAUDE, name="claude-3", tools=234, forced=91.5),
    replace(_CLAUDE, name="claude-3-opus", tools=488, forced=57),
    replace(_CLAUDE, name="claude-4", tools=275),
    replace(_CLAUDE, name="claude-4.5", tools=459, forced=58.5),
    # The vocabulary since Opus 4.7 splits more finely. Twelve rows of one source tell by how much.
    # A coefficient that they do not tell is that of claude-4.5 times the same factor.
    replace(
        _CLAUDE,
        name="claude-4.7",
        base=5.45,
        turn=2.54,
        text=1.41,
        call=68.8,
        tools=213,
        tool=56.9,
        word=0.932,
        node=24.8,
        image=4784,
        forced=58.5,
    ),
    Family(
        name="gemini-2.0",
        text=1.01,
        word=1.17,
        image=1290,
        pads=MappingProxyType({0.9: 0.143, 0.95: 0.397}),
    ),
    replace(_GEMINI, name="gemini-2.5", image=258),
    # 1,120 is Google's documented figure for an image; no recorded request has one.
    replace(_GEMINI, name="gemini-3", signature=0.14, image=1120, forced=38),
    # There are two sources only: the estimate holds on unseen rows, but no third source was there
    # to test the bound on.
    Family(
        name="mistral",
        turn=2.12,
        text=1.12,
        node=30.7,
        image=3025,
        pixels=640,
        pads=MappingProxyType({0.9: 0.647, 0.95: 0.647}),
    ),
)
_NAMED = {family.name: family for family in FAMILIES}
# Patterns to search for in a model's name (in lower case), in this order. A model that is newer
# than the figures gets those of the newest generation.
NAMES = (
    ("claude-3-opus", _NAMED["claude-3-opus"]),
    (r"claude-(v?2|instant|3[-.]5|3-haiku|3-sonnet|haiku-3)", _NAMED["claude-3"]),
    (r"claude-(3[-.]7|4-(opus|sonnet)|(opus|sonnet)-4($|:|[-.@][012]))", _NAMED["claude-4"]),
    (r"claude-(opus|sonnet|haiku)-4[-.][56]", _NAMED["claude-4.5"]),
    ("claude", _NAMED["claude-4.7"]),
    (r"gemini-(1|2[-.]0)", _NAMED["gemini-2.0"]),
    (r"gemini-(live-)?2[-.]5", _NAMED["gemini-2.5"]),
    ("gemini", _NAMED["gemini-3"]),
    (r"(magi|mi)stral-(large|medium|small)", _NAMED["mistral"]),
)


def family_of(model: str) -> Family | None:
    """Return the family of a model, given its name or the family's; None if there is none."""
    name = model.lower()
    return _NAMED.get(name) or next(
        (family for pattern, family in NAMES if re.search(pattern, name)), None
    )
