"""What is under test: a strategy, what stands before it, and what it claims of itself."""

import copy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

from ctxwin.hooks.chain import Chain, Strategy
from ctxwin.hooks.installed import load, name_of

PLAIN = (bool, int, float, str, type(None), tuple, list, dict, set)


@dataclass(frozen=True)
class Capabilities:
    """
    What a strategy promises beyond the laws; each off unless it is claimed.

    Attributes:
        reaches_target: it frees `excess_tokens` whenever the droppable units cost that much.
        bounds_summaries: its plan stands whatever text of at most `max_tokens` the summariser
            gives.
        max_source_tokens: it never asks for a summary of messages that cost more than this; None:
            not checked.
    """

    reaches_target: bool = False
    bounds_summaries: bool = False
    max_source_tokens: int | None = None


@dataclass(frozen=True)
class Subject:
    """
    What is under test.

    Attributes:
        make: makes the strategy, anew for each trial.
        before: strategies asked before it, names or objects.
        capabilities: what it promises.
        shared: what its class and its module hold before it is tried.
    """

    make: Callable[[], object]
    before: Sequence[object] = ()
    capabilities: Capabilities = field(default_factory=Capabilities)
    shared: list["Shared"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        plugin = adapted(self.make()).plugin
        module = (
            plugin if isinstance(plugin, ModuleType) else sys.modules.get(type(plugin).__module__)
        )
        owners = [owner for owner in (module, *type(plugin).__mro__[:-1]) if owner is not None]
        object.__setattr__(self, "shared", [found for owner in owners for found in _shared(owner)])

    @contextmanager
    def forgotten(self) -> Iterator[None]:
        """Have class and module hold what they held before the strategy was tried."""
        now = [replace(shared, value=shared.present()) for shared in self.shared]
        try:
            for shared in self.shared:
                shared.restore()
            yield
        finally:
            for shared in now:
                shared.restore()


@dataclass(frozen=True)
class Shared:
    """An attribute of a class or a module, and a copy of what it held."""

    owner: object
    name: str
    held: object
    value: Any

    def present(self) -> object:
        """Return a copy of what it holds now."""
        return copy.copy(getattr(self.owner, self.name))

    def restore(self) -> None:
        """Put back what it held: into the same list, dict or set."""
        if isinstance(self.held, list):
            self.held[:] = self.value
        elif isinstance(self.held, dict | set):
            self.held.clear()
            self.held.update(self.value)
        elif getattr(self.owner, self.name) != self.value:
            setattr(self.owner, self.name, self.value)


def _shared(owner: object) -> Iterator[Shared]:
    """Yield the plain values that a class or a module holds, which its functions may change."""
    for name, value in list(vars(owner).items()):
        if type(value) in PLAIN and not name.startswith("__"):
            yield Shared(owner, name, value, copy.copy(value))


def adapted(strategy: object) -> Strategy:
    """
    Return a strategy's name and hooks.

    Raises:
        StrategyError: its hooks cannot work; the text says why.
    """
    if isinstance(strategy, str):
        strategy = load(strategy)
    name = name_of(strategy)
    return next(found for found in Chain([(name, strategy)]).strategies if found.name == name)


def fresh(strategy: object) -> object:
    """Return a copy that has seen no conversation; what of it cannot be copied is shared."""
    held = getattr(strategy, "__dict__", {})
    known = {id(value): value for value in held.values() if type(value) is object}  # sentinels
    try:
        return copy.deepcopy(strategy, known)
    except Exception:
        return (
            _copied_in_part(strategy, held)
            if held and not isinstance(strategy, ModuleType)
            else strategy
        )


def _copied_in_part(strategy: object, held: Mapping[str, object]) -> object:
    """Return a copy that shares with the strategy only what cannot be copied."""
    twin = copy.copy(strategy)
    for name, value in held.items():
        with suppress(Exception):
            vars(twin)[name] = copy.deepcopy(value)
    return twin
