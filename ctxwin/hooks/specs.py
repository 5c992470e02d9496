"""
Every hook of ctxwin, and nothing else.

A hook, once released, is never renamed; requests and receipts grow by fields. Hook parameters have
no defaults, and implementations are plain functions: a strategy that needs a model returns a
generator that yields `Summarize`.
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
    Name further units to spare; all plugins are asked, and the union counts.

    Soft: where the rest cannot fit, spared units are released, oldest first, and named in the
    receipt.
    """


@hookspec
def ctxwin_prune(request: PruneRequest) -> Plan | Generator[Summarize, str, Plan | None] | None:
    """
    Propose how to free `request.excess_tokens`; strategies are asked one at a time, in the chain's
    order.

    None means "not my case". Freeing less is fine: the next strategy of the chain goes on from
    there.
    """


@hookspec
def ctxwin_pruned(receipt: Receipt) -> None:
    """Observe what a prune did; an exception is logged and changes nothing."""
