"""
Every hook of ctxwin, and nothing else.

Once released, a hook is never renamed: new facts become fields of requests and receipts. Hook
parameters have no defaults. Implementations are plain functions, never async: a strategy that needs
a model returns a generator that yields `Summarize`.
"""

from collections.abc import Generator, Iterable

import pluggy

from ctxwin.values.plan import Plan, PruneRequest, Summarize, Unit
from ctxwin.values.receipt import Receipt

PROJECT = "ctxwin"
HOOKS = ("ctxwin_protect", "ctxwin_prune", "ctxwin_pruned")

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def ctxwin_protect(request: PruneRequest) -> Iterable[Unit] | None:
    """
    Name more units to protect; all plugins are asked, and a unit that any of them names counts.

    It is a wish: if the rest does not fit, protected units are released, oldest first, and the
    receipt names them.
    """


@hookspec
def ctxwin_prune(request: PruneRequest) -> Plan | Generator[Summarize, str, Plan | None] | None:
    """
    Propose how to free `request.excess_tokens`; None means "not my case".

    Strategies are asked one at a time, in the order of the chain. Freeing less is fine: the next
    strategy goes on from there.
    """


@hookspec
def ctxwin_pruned(receipt: Receipt) -> None:
    """Observe what a prune did; if this raises, the exception is logged and nothing changes."""
