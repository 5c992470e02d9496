"""
Neutral messages, and windows of them, with which a chat template is probed.

A window is written with one letter per message: `s` system, `u` user, `a` assistant, `A` and `B`
assistant with one call and with two, `t` the result of a call. `n` and `h` are system messages with
the switches for reasoning, `/no_think` and `/think`. `*` stands for the message whose cost is
wanted; comparing two windows with the same end shows what it adds.
"""

from collections.abc import Iterator, Mapping, Sequence

from ctxwin.counting.template.preparing import WORD, called
from ctxwin.values.wire import RESULT_ROLES, SYSTEM_ROLES, Wire

UNASKED = "quaver999"  # an id that no call in any window has
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
        "parameters": {
            "type": "object",
            "properties": {"tempo": {"type": "string", "description": WORD}},
        },
    },
}
OFFERS: Sequence[Sequence[Wire]] = ((), (TOOL,), (TOOL, TOOL))  # the tools that probes offer
# For each kind of message, in the order of learning: pairs of a window with the message and one to
# compare it with. The two may differ by other messages too, if the costs of these are known by
# then. A pair may differ by a message of the same kind: then it shows only how contents differ.
WINDOWS: Mapping[str, Sequence[tuple[str, str]]] = {
    "u": (
        ("u*", "u"), ("uau*", "uau"), ("su*", "su"), ("*", "u"), ("uAt*", "uAtu"),
        ("uAta*", "uAtau"),
    ),
    "a": (
        ("u*u", "u"), ("uau*u", "uau"), ("uAt*u", "uAtu"), ("*u", "u"), ("nu*u", "nu"),
        ("hu*u", "hu"), ("u*", "ua"), ("uAt*", "uAta"), ("uAt*u", "uAtau"), ("nu*", "nua"),
        ("hu*", "hua"),
    ),
    "s": (("*u", "u"), ("s*u", "su"), ("u*u", "uu"), ("ua*u", "uau")),
    "t": (("uBt*", "uBt"), ("nuBt*", "nuBt"), ("uA*au", "uAtau"), ("uA*", "uAt")),
    "A": (
        ("u*tau", "uau"), ("u*tu", "u"), ("uAt*t", "uAt"), ("nu*tau", "nuau"),
        ("hu*tau", "huau"), ("nuAt*t", "nuAt"), ("u*t", "uAt"),
    ),
}  # fmt: skip
# The pairs for system messages if every request begins with one: no window may lack it, or it would
# be compared with the default that the template puts in its place.
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
# Changes that make a neutral message one that some templates treat specially. A window that matters
# to one of these variants is kept for costing.
THOUGHT = f"{WORD} {WORD} {WORD} {WORD}"
THINKING = f"<think>\n{THOUGHT}\n</think>\n\n"
VARIANTS: Mapping[str, Sequence[Wire]] = {
    "u": (
        {"content": ""},
        {"content": f"<tool_response>\n{WORD}\n</tool_response>"},
        {"content": f" {WORD}\n"},
    ),
    "a": (
        {"content": ""},
        {"content": THINKING + WORD},
        {"reasoning_content": THOUGHT},
        {"content": f" {WORD}\n"},
    ),
    "s": (
        {"content": ""},
        {"content": 999 * WORD},
        {"content": "/no_think"},
        {"content": "/think"},
    ),
    "t": ({"content": ""}, {"content": f'{{"{WORD}": 1}}'}, {"name": "quaver"}),
    "A": ({"content": WORD}, {"content": THINKING}, {"reasoning_content": THOUGHT}, called(2)),
}


def kind_of(message: Mapping[str, object]) -> str:
    """Return the letter of a message's kind."""
    role = message["role"]
    if role == "assistant":
        return "A" if message.get("tool_calls") else "a"
    return "s" if role in SYSTEM_ROLES else "t" if role in RESULT_ROLES else "u"


def spell(letters: str, *, alike: bool = False) -> list[Wire]:
    """
    Return the window that the letters spell; results answer the calls before them.

    Args:
        letters: one for each message.
        alike: whether messages of a kind have the same content.
    """
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
