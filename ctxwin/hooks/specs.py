"""
Every hook of ctxwin, and nothing else.

Once released, a hook is never renamed: new facts become fields of requests and receipts. Hook
parameters have no defaults. Implementations are plain functions, never async: a strategy that needs
a model returns a generator that yields `Summarize`, and a hook around the call that needs something
slow is a generator that yields `Call`.

The hooks around the caller's call are asked in this order, whatever the order of the chain:

    route -> (the window is fitted) -> answer -> shape -> admit -> YOUR CALL -> observed

Within one hook the chain's order counts. One plugin object serves every conversation of its chain,
from several threads, so it keeps nothing of a single conversation; tags and ids tell them apart.
"""

from collections.abc import Generator, Iterable

import pluggy

from ctxwin.values.plan import Plan, PruneRequest, Summarize, Unit
from ctxwin.values.receipt import Receipt
from ctxwin.values.request import Answer, Call, Observation, Request, Route, RouteRequest

PROJECT = "ctxwin"
PRUNING = ("ctxwin_protect", "ctxwin_prune", "ctxwin_pruned")
CALLING = ("ctxwin_route", "ctxwin_answer", "ctxwin_shape", "ctxwin_admit", "ctxwin_observed")
HOOKS = (*PRUNING, *CALLING)

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


@hookspec
def ctxwin_route(request: RouteRequest) -> Route | Generator[Call, object, Route | None] | None:
    """
    Say where a request goes, before it is fitted; None means "not my case".

    All plugins are asked, and see the same. For each field the first one that sets it wins; what
    the caller of `request()` gave beats all, tags included. If this raises, it is logged, and taken
    as None. Under `arequest()` it runs on the event loop: yield a `Call` for what is slow.
    """


@hookspec
def ctxwin_answer(request: Request) -> Answer | Generator[Call, object, Answer | None] | None:
    """
    Answer in the model's place; None means "I cannot".

    Plugins are asked until one answers, with what would really be sent. After an answer nothing is
    shaped, admitted or sent. Not asked with `fresh=True`. If this raises, it is logged, and taken
    as None. Under `arequest()` it runs on the event loop: yield a `Call` for what is slow.
    """


@hookspec
def ctxwin_shape(request: Request) -> Request | Generator[Call, object, Request | None] | None:
    """
    Return the request (`dataclasses.replace`) with marks, more `params` or a lower cap.

    All plugins are asked, and each sees the result of the one before. A mark is `cache_control` on
    a message, a content part or a tool; a text may become a list of text parts to carry one. Any
    other change is undone, and logged. If this raises, it is logged, and the request stands as it
    was.
    """


@hookspec
def ctxwin_admit(request: Request) -> None:
    """
    Admit a request, or raise `RefusedError`.

    All plugins are asked; whatever one raises refuses the request. Then every plugin observes
    `refused`, so that whoever admitted lets go. Under `arequest()` it runs in a thread.
    """


@hookspec
def ctxwin_observed(observation: Observation) -> None:
    """
    Observe how a request ended; once a request.

    All plugins are told. If this raises, it is logged, and the others are told all the same. Under
    the async twins it runs in a thread.
    """
