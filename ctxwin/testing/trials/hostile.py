"""Strategies that break every rule there is, to test a manager or other plugins of a chain."""

import asyncio
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

from ctxwin.hooks.specs import hookimpl
from ctxwin.manager import ContextManager
from ctxwin.values.message import Message
from ctxwin.values.plan import Plan, PruneRequest, Summarize, Unit
from ctxwin.values.receipt import Receipt


def _raises(error: BaseException) -> Callable[[PruneRequest], Any]:
    def behave(request: PruneRequest) -> Any:
        raise error

    return behave


def _recurses(request: PruneRequest) -> Any:
    return _recurses(request)


def _mutate(request: PruneRequest) -> None:
    """Try to change everything within reach, by public means and by others."""
    for unit in request.units:
        for message in unit.messages:
            message.extra["evil"] = 1
            for call in message.tool_calls:
                call["function"]["name"] = "evil"
            if isinstance(message.content, list):
                message.content.clear()
            message._wire["content"] = "evil"
            object.__setattr__(message, "pinned", False)
        object.__setattr__(unit, "tokens", 0)
        object.__setattr__(unit, "protected", False)
    object.__setattr__(request, "max_tokens", 10**9)
    object.__setattr__(request, "droppable", request.units)


def _half_exchange(request: PruneRequest) -> Plan | None:
    for unit in request.units:
        if len(unit.messages) > 1:
            part = Unit(
                unit.messages[:1], unit.message_tokens[0], unit.message_tokens[:1], unit.role
            )
            return Plan.drop([part], "half an exchange")
    return Plan.drop(request.units, "everything")


def _result_alone(request: PruneRequest) -> Plan | None:
    for unit in request.units:
        if len(unit.messages) > 1:
            part = Unit(unit.messages[1:], 1, (1,), unit.role)
            return Plan.drop([part], "only the result")
    return Plan.drop(request.units[-1:], "the newest")


def _foreign(request: PruneRequest) -> Plan:
    message = Message(10**6, {"role": "user", "content": "not of this log"})
    return Plan.drop([Unit((message,), 10, (10,), "user")], "foreign")


def _replace_all(role: str) -> Callable[[PruneRequest], Plan]:
    return lambda request: Plan.replace(request.droppable, "s", role, "all")


def _edit_kept(request: PruneRequest) -> Plan:
    kept = [unit for unit in request.units if unit.protected]
    return Plan.edit(
        kept[0].messages[0] if kept else request.units[0].messages[0], "", "edit what is kept"
    )


def _recursion(method: str) -> Callable[[ContextManager], object]:
    """Return a call that a hook makes on the manager that called it."""
    calls: dict[str, Callable[[ContextManager], object]] = {
        "append": lambda manager: manager.add_message("user", "from inside"),
        "messages": lambda manager: manager.messages(),
        "prune": lambda manager: manager.prune_history(),
        "plan": lambda manager: manager.plan(),
        "forget": lambda manager: manager.forget(),
        "rewind": lambda manager: manager.rewind(1),
        "register": lambda manager: manager.register(HostileStrategy("junk")),
    }
    return calls[method]


def _endless(request: PruneRequest) -> Generator[Summarize, str, Plan]:
    while True:
        yield Summarize(lambda *_: "again", request.units[0].messages, max_tokens=1)


def _yields_junk(request: PruneRequest) -> Generator[Any, Any, None]:
    yield "junk"


async def _coroutine() -> None:
    await asyncio.sleep(0)


def _sleepy(request: PruneRequest) -> None:
    time.sleep(0.0001)


class _NamelessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text either")


def _forged_plan(request: PruneRequest) -> Plan:
    return Plan(("junk",))  # type: ignore[arg-type]


class _Panic(BaseException):
    """An error like the one that Rust extensions raise: no `Exception`."""


_BEHAVIOURS: dict[str, Callable[[PruneRequest], Any]] = {
    "junk": lambda _: "junk",
    "number": lambda _: 7,
    "true": lambda _: True,
    "messages": lambda request: [
        message.to_dict() for unit in request.units for message in unit.messages
    ],
    "empty-plan": lambda _: Plan(),
    "drop-nothing": lambda _: Plan.drop([]),
    "drop-all": lambda request: Plan.drop(request.units, "all"),
    "drop-protected": lambda request: Plan.drop([u for u in request.units if u.protected], "pins"),
    "half-exchange": _half_exchange,
    "result-alone": _result_alone,
    "foreign": _foreign,
    "grow": lambda request: Plan.replace(request.droppable[:1], "word " * 500, reason="grow"),
    "blank": lambda request: Plan.replace(request.droppable, " \n", reason="blank"),
    "summary-of-nothing": lambda _: Plan.replace([], "nothing", reason="nothing"),
    "replace-as-tool": _replace_all("tool"),
    "replace-as-junk": _replace_all("villain"),
    "replace-kept": lambda request: Plan.replace(request.units, "s", reason="all of it"),
    "edit-kept": _edit_kept,
    "edit-grow": lambda request: Plan.edit(request.editable[0], "word " * 500),
    "edit-junk": lambda request: Plan.edit(request.editable[0], [{"no": "type"}]),
    "edit-and-drop": lambda r: (
        Plan.edit(r.droppable[0].messages[0], "") + Plan.drop(r.droppable[:1])
    ),
    "mutate": _mutate,
    "raise": _raises(ValueError("boom")),
    "raise-nameless": _raises(_NamelessError()),
    "raise-stop": _raises(StopIteration()),
    "raise-panic": _raises(_Panic("panicked")),
    "raise-recursion": _recurses,
    "endless": _endless,
    "yields-junk": _yields_junk,
    "coroutine": lambda _: _coroutine(),
    "sleepy": _sleepy,
    "forged-plan": _forged_plan,
}

_RECURSIONS = {
    f"recurse-{method}": method
    for method in ("append", "messages", "prune", "plan", "forget", "rewind", "register")
}


class HostileStrategy:
    """
    A strategy that misbehaves.

    Args:
        kind: how it misbehaves, one of `KINDS`.
        managers: the managers that its hook tries to change, for the kinds that begin with
            `recurse-`.

    Attributes:
        INNOCENT: the kinds whose plans keep the laws, so that no receipt rejects them.

    Raises:
        ValueError: there is no such kind.
    """

    KINDS = (*_BEHAVIOURS, *_RECURSIONS)
    INNOCENT = ("sleepy", "mutate")

    def __init__(self, kind: str, managers: Sequence[ContextManager] = ()) -> None:
        if kind not in self.KINDS:
            raise ValueError(f"kind must be one of {', '.join(self.KINDS)}, not {kind!r}")
        self.kind = kind
        self.managers = managers
        self.name = f"hostile-{kind}"

    def __repr__(self) -> str:
        return f"HostileStrategy({self.kind!r})"

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Any:
        """Misbehave."""
        if self.kind in _BEHAVIOURS:
            return _BEHAVIOURS[self.kind](request)
        for manager in self.managers:
            _recursion(_RECURSIONS[self.kind])(manager)
        raise RuntimeError("there is no manager to change: pass managers=[...]")


class HostilePlugin:
    """A plugin whose `ctxwin_protect` returns junk and whose `ctxwin_pruned` raises."""

    name = "hostile-plugin"

    @hookimpl
    def ctxwin_protect(self, request: PruneRequest) -> Any:
        """Return junk."""
        return ["junk", request]

    @hookimpl
    def ctxwin_pruned(self, receipt: Receipt) -> None:
        """Raise."""
        raise RuntimeError(f"an observer fails on {receipt!r}")
