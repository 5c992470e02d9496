"""
The five hooks around the call: who is asked, in which order, and what a failure does.

Plugins are foreign code: each is called inside a guard and given copies. Whatever `route`,
`answer`, `shape` and `observed` raise is logged and changes nothing; whatever `admit` raises
refuses the request. `KeyboardInterrupt`, `SystemExit` and cancellation pass through.
"""

import inspect
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

from ctxwin.calls.shaping import shaped
from ctxwin.hooks.chain import Chain, Hook
from ctxwin.hooks.guard import call_hook, log_failure
from ctxwin.pruning.driving import Flow, drive, run_flow
from ctxwin.values.errors import RefusedError, describe
from ctxwin.values.request import Answer, Call, Observation, Request, Route, RouteRequest

MAX_CALLS = 100  # of one hook; beyond it a plugin runs away


def route(chain: Chain, owner: object, request: RouteRequest) -> Flow[list[Route]]:
    """Ask every plugin where the request goes; returns what they say, in the chain's order."""
    found = []
    for name, hook in chain.route:
        said = yield from _ask(owner, name, hook, request.clone(), Route)
        if said is not None:
            found.append(said)
    return found


def answer(chain: Chain, owner: object, request: Request) -> Flow[Answer | None]:
    """Ask plugins until one answers in the model's place."""
    for name, hook in chain.answer:
        said: Answer | None = yield from _ask(owner, name, hook, request.clone(), Answer)
        if said is not None:
            return said if said.source else replace(said, source=name)
    return None


def shape(chain: Chain, owner: object, request: Request) -> Flow[Request]:
    """Have every plugin shape the request, each what the one before made of it."""
    for name, hook in chain.shape:
        said = yield from _ask(owner, name, hook, request.clone(), Request)
        try:
            request = request if said is None else shaped(request, said, name)
        except Exception as error:  # noqa: BLE001 - its fields are foreign, and may raise anything
            log_failure("ctxwin_shape", name, error)
    return request


def admit(chain: Chain, owner: object, request: Request) -> None:
    """
    Ask every plugin whether it admits the request.

    Raises `RefusedError`, which names the plugin and the request.
    """
    for name, hook in chain.admit:
        try:
            _call(owner, hook, request.clone())
        except RefusedError as error:
            error.plugin, error.request = error.plugin or name, request
            raise
        except Exception as error:
            reason = f"ctxwin_admit failed: {describe(error)}"
            raise RefusedError(reason, plugin=name, request=request) from error


def observed(chain: Chain, owner: object, observation: Observation) -> None:
    """Tell every plugin how a request ended; what they raise is logged."""
    for name, hook in chain.observed:
        try:
            _call(owner, hook, observation.clone())
        except Exception as error:  # noqa: BLE001 - an observer's failure changes nothing
            log_failure("ctxwin_observed", name, error)


def _ask(
    owner: object, name: str, hook: Hook, request: RouteRequest | Request, kind: type
) -> Flow[Any]:
    """Return what a plugin says, a value of that kind; None also where it fails."""
    try:
        said = call_hook(owner, _by_name, hook, request)
        if isinstance(said, Generator):
            said = yield from run_flow(said, owner, _passed_on, Call, MAX_CALLS)
        return _of_kind(said, kind)
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises is logged
        log_failure(f"ctxwin_{_NAMES[kind]}", name, error)
        return None


_NAMES: dict[type, str] = {Route: "route", Answer: "answer", Request: "shape"}


def _call(owner: object, hook: Hook, value: Request | Observation) -> None:
    """Call a hook that says nothing; what its generator yields is called right here."""
    said = call_hook(owner, _by_name, hook, value)
    if isinstance(said, Generator):
        said = drive(run_flow(said, owner, _passed_on, Call, MAX_CALLS))
    _of_kind(said, type(None))


def _by_name(hook: Hook, value: object) -> object:
    """Call a hook with its one argument, by its name."""
    return hook(observation=value) if isinstance(value, Observation) else hook(request=value)


def _passed_on(call: Call) -> Flow[Any]:
    """Have whoever drives the request make the call."""
    return (yield call)


def _of_kind(said: object, kind: type) -> Any:
    """Return what a plugin said; raises `TypeError` if it is neither None nor of the kind."""
    if inspect.iscoroutine(said):
        said.close()
    if said is None or type(said) is kind:
        return said
    wanted = "None" if kind is type(None) else f"{kind.__name__} or None"
    raise TypeError(f"the hook must return {wanted}, not {type(said).__name__}")


def first(routes: Sequence[Route], field: str) -> Any:
    """Return what the first route that decides a field says; None where none does."""
    said = (getattr(route, field) for route in routes)
    return next((value for value in said if value is not None), None)
