"""Whether what messages cost one by one bounds what a request costs: what can be told of a chat template by probing."""

import re
from collections.abc import Mapping

from ctxwin.counting.template.neutral import OFFERS, spell
from ctxwin.counting.template.preparing import WORD
from ctxwin.counting.template.probing import Probes, Render

# Longer windows than those by which costs were learnt.
CHECKS = (
    "uauauau", "suauauau", "ssuau", "suuaau", "uAtAtAtauau", "suBttAtauBttau", "nuauauAtau", "huauauAtau", "au",
    "uaaaa",
)  # fmt: skip
ADJACENT = ("ssuauau", "uuau", "uAtau", "uBttau")
# The end of a window with a message of each kind, and the same without it.
ENDINGS = {"u": ("u", ""), "a": ("ua", "u"), "t": ("uBtt", "uBt"), "A": ("uAt", "u")}
HISTORIES = ("uAta", "ua")


def learn_numbering(render: Render) -> Mapping[str, int]:
    """
    Return by how many tokens later messages of a kind may be dearer: a template may number rounds,
    calls or results.

    A digit more is one token more at most. Two more are allowed for, which is enough for 999 of
    what is numbered.
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
                near, near_base, far, far_base = (len(text or "") for text in texts)
                more[kind] = max(0, 2 * (far - far_base - near + near_base))
                break
    more["A"] = max(0, more.get("A", 0) - more.get("t", 0))  # its ending holds a result too
    return {kind: tokens for kind, tokens in more.items() if tokens}


def contents_touch(render: Render) -> bool:
    """Return whether there are messages between whose contents nothing stands but white space."""
    for letters in ADJACENT:
        window = [
            {**wire, "content": f"{WORD}{place}x"} for place, wire in enumerate(spell(letters))
        ]
        pieces = re.split(f"{WORD}[0-9]x", render(window, ()) or "")
        if not all(piece.strip() for piece in pieces[1:-1]):
            return True
    return False


def sums_hold(probes: Probes) -> bool:
    """Return whether base and messages bound the cost of longer windows; a template may compare messages, too."""
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
