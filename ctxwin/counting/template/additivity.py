"""
Whether the costs of single messages add up to a bound on the request, found out by probing.

Three things can break the bound: messages that are numbered, contents that touch and so may share a
token, and messages that a template compares or moves in longer windows.
"""

import re
from collections.abc import Mapping

from ctxwin.counting.template.neutral import OFFERS, spell
from ctxwin.counting.template.preparing import WORD
from ctxwin.counting.template.probing import Probes, Render

# Windows that are longer than those from which costs were learnt.
CHECKS = (
    "uauauau", "suauauau", "ssuau", "suuaau", "uAtAtAtauau", "suBttAtauBttau", "nuauauAtau",
    "huauauAtau", "au", "uaaaa",
)  # fmt: skip
ADJACENT = ("ssuauau", "uuau", "uAtau", "uBttau")
# For each kind of message, the end of a window with such a message and without it.
ENDINGS = {"u": ("u", ""), "a": ("ua", "u"), "t": ("uBtt", "uBt"), "A": ("uAt", "u")}
HISTORIES = ("uAta", "ua")


def learn_numbering(render: Render) -> Mapping[str, int]:
    """
    Return, by kind, how many tokens more later messages may cost, if a template numbers them.

    A template may number rounds, calls or results. Each further digit adds at most one token. The
    return value allows for two further digits, which is enough to count to 999.
    """
    more: dict[str, int] = {}
    for kind, endings in ENDINGS.items():
        for history in HISTORIES:
            texts = [
                render(spell(history * rounds + ending), ())
                for rounds in (1, 11)
                for ending in endings
            ]
            if None not in texts:
                # In round 11 the number has one more digit than in round 1.
                near, near_base, far, far_base = (len(text or "") for text in texts)
                more[kind] = max(0, 2 * (far - far_base - near + near_base))
                break
    more["A"] = max(0, more.get("A", 0) - more.get("t", 0))  # its ending holds a result too
    return {kind: tokens for kind, tokens in more.items() if tokens}


def contents_touch(render: Render) -> bool:
    """Return whether the contents of two adjacent messages have only white space between them."""
    for letters in ADJACENT:
        window = [
            {**wire, "content": f"{WORD}{place}x"} for place, wire in enumerate(spell(letters))
        ]
        pieces = re.split(f"{WORD}[0-9]x", render(window, ()) or "")
        if not all(piece.strip() for piece in pieces[1:-1]):
            return True
    return False


def sums_hold(probes: Probes) -> bool:
    """
    Return whether base and messages bound the cost of longer windows.

    Each window is tried with different contents and with equal ones, since a template may compare
    messages.
    """
    for tools in OFFERS[:2]:
        base = probes.base(tools)
        for letters in CHECKS:
            excesses = [
                probes.excess(probes.allowed(letters), tools, alike=alike)
                for alike in (False, True)
            ]
            if any(excess is not None and excess > (base or 0) for excess in excesses):
                return False
    return True
