"""
What each family of OpenAI's models adds to the text: frames of messages and tools, images.

OpenAI documents none of this completely. The figures were fitted to recorded requests and the
`prompt_tokens` that were billed for them (768 chat completions of public test suites, 2023 to
2026). Plain chat follows the OpenAI cookbook's "How to count tokens with tiktoken". A figure from
another source says so.
"""

from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import Protocol

Size = tuple[int, int]


class ImageRule(Protocol):
    """How a family prices images."""

    def tokens(self, size: Size | None, *, low: bool) -> int:
        """
        Return the tokens of an image.

        Args:
            size: width and height in pixels; None if unknown, for the most that an image can cost.
            low: whether low detail was asked for.
        """


@dataclass(frozen=True, slots=True)
class Tiles:
    """
    A base price, and a price for each tile of 512 x 512 pixels.

    The image is first shrunk to fit 2,048 x 2,048 pixels, then to a short side of 768.

    Source: OpenAI's guide to images and vision; the recorded requests agree.
    """

    base: int
    tile: int

    def tokens(self, size: Size | None, *, low: bool) -> int:
        """Return the price; a low-detail image costs only the base."""
        if low:
            return self.base
        width, height = size or (2048, 768)  # the largest that shrinking leaves
        scale = min(1.0, 2048 / max(width, height), 768 / min(width, height))
        return self.base + self.tile * ceil(width * scale / 512) * ceil(height * scale / 512)


@dataclass(frozen=True, slots=True)
class Patches:
    """
    A price in thousandths of a token for each patch of 32 x 32 pixels, at most 1,536 patches.

    Source: OpenAI's guide to images and vision. The multipliers of gpt-5-mini and gpt-5-nano were
    measured and are lower than the guide's.
    """

    thousandths: int
    most: int = 1536

    def tokens(self, size: Size | None, *, low: bool) -> int:
        """Return the price; a low-detail image is shrunk to 512 x 512 pixels."""
        width, height = size or ((512, 512) if low else (1024, 1536))
        if low:
            scale = min(1.0, 512 / max(width, height))
            width, height = ceil(width * scale), ceil(height * scale)
        patches = ceil(width / 32) * ceil(height / 32)
        if patches > self.most:
            # Shrunk to the area of `most` patches, then a little more, so that whole patches fill
            # one side: OpenAI's guide prescribes both steps.
            scale = sqrt(32 * 32 * self.most / (width * height))
            wide, high = width * scale / 32, height * scale / 32
            scale = min(max(1, int(wide)) / wide, max(1, int(high)) / high)
            patches = min(self.most, ceil(wide * scale) * ceil(high * scale))
        return ceil(patches * self.thousandths / 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """
    What a family of models adds to the text, in tokens.

    Attributes:
        name: distinguishes the family's counts from others with the same encoding; `""` for the
            common rules.
        images: how images are priced.
        per_message: the frame of a message, without the one token of its role.
        per_name: what a name costs beyond its text.
        priming: the frame of the reply.
        bare_discount: how much less a request without tools costs: reasoning models prime their
            reply with 2 tokens.
        exchange: the frames of a call and its results, without the text and the messages' own
            frames.
        tools: what declared tools cost beyond their text.
        responses_tools: the same in a request to Responses, where they never join the system
            message.
        joins_system: whether declared tools stand in the system message and share its frame.
        named_choice: what forcing one tool adds beyond its name; None if not even the name counts.
        ascii_results: whether results of parallel calls are escaped to ASCII.
    """

    name: str = ""
    images: ImageRule = Tiles(85, 170)
    per_message: int = 3
    per_name: int = 1
    priming: int = 3
    bare_discount: int = 0
    exchange: int = 4
    tools: int = -1
    responses_tools: int = -3
    joins_system: bool = True
    named_choice: int | None = 6
    ascii_results: bool = False


COMMON = Rules()
MINI = Rules(name="mini", images=Tiles(2833, 5667), ascii_results=True)
O3 = Rules(name="o3", images=Tiles(75, 150), bare_discount=1)
# From gpt-5 on, tools have a preamble of their own, outside the system message.
GPT5 = Rules(
    name="gpt-5",
    images=Tiles(70, 140),
    bare_discount=1,
    exchange=10,
    tools=84,
    responses_tools=2,
    joins_system=False,
    named_choice=None,
)
# The open-weight models: hosts put a system message of their own before the request.
OSS = Rules(name="gpt-oss", priming=67)
# A margin for models whose frames are not known, fitted on the four recorded requests of kimi-k2.
OTHER = Rules(name="other", exchange=26, tools=8)
# Prefixes of model names. Where one begins another, the longer comes first. Any other name follows
# the common rules.
RULES: tuple[tuple[str, Rules], ...] = (
    ("gpt-3.5-turbo-0301", Rules(name="0301", per_message=4, per_name=-1)),  # source: the cookbook
    ("gpt-4o-mini", MINI),
    ("gpt-4o-audio", Rules(name="audio", bare_discount=1)),
    ("gpt-4.1-mini", replace(MINI, name="4.1-mini", images=Patches(1620))),
    ("gpt-4.1-nano", replace(MINI, name="4.1-nano", images=Patches(2460))),
    ("gpt-5-mini", replace(GPT5, name="gpt-5-mini", images=Patches(1200))),
    ("gpt-5-nano", replace(GPT5, name="gpt-5-nano", images=Patches(1500))),
    ("gpt-oss", OSS),
    ("o4-mini", replace(O3, name="o4-mini", images=Patches(1720))),
    ("o1-mini", replace(O3, name="o1-mini", bare_discount=0)),
    ("o1", O3),
    ("o3", O3),
    ("gpt-5", GPT5),
    ("gpt-6", GPT5),
)


def rules_for(model: str) -> Rules:
    """
    Return the rules of one of OpenAI's models.

    Args:
        model: its bare name: without provider or `ft:`, in lower case.
    """
    return next((rules for prefix, rules in RULES if model.startswith(prefix)), COMMON)
