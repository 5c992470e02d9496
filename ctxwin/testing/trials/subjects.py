"""What is under test: a strategy, the strategies before it in the chain, and its claims."""

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
    What a strategy claims beyond the laws; nothing by default.

    Attributes:
        reaches_target: it frees `excess_tokens` whenever the droppable units cost that much.
        bounds_summaries: its plan is valid whatever text of at most `max_tokens` the summariser
            returns.
        max_source_tokens: it never asks for a summary of messages that cost more than this; None is
            no claim.
    """

    reaches_target: bool = False
    bounds_summaries: bool = False
    max_source_tokens: int | None = None


@dataclass(frozen=True)
class Subject:
    """
    What is under test.

    Attributes:
        make: returns a new strategy for each trial.
        before: strategies earlier in the chain, names or objects.
        capabilities: what it claims.
        contract: the class that tests it, if one does.
        shared: what its class and its module hold before the first trial.
    """

    make: Callable[[], object]
    before: Sequence[object] = ()
    capabilities: Capabilities = field(default_factory=Capabilities)
    contract: type | None = None
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
        """Put class and module back to what they held before the first trial."""
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
        """Return a copy of the present value."""
        return copy.copy(getattr(self.owner, self.name))

    def restore(self) -> None:
        """Put back the old value, into the same list, dict or set."""
        # Functions may hold the very object under another name, so it is filled and not replaced.
        if isinstance(self.held, list):
            self.held[:] = self.value
        elif isinstance(self.held, dict | set):
            self.held.clear()
            self.held.update(self.value)
        elif getattr(self.owner, self.name) != self.value:
            setattr(self.owner, self.name, self.value)


def _shared(owner: object) -> Iterator[Shared]:
    """Yield the plain values of a class or a module, which its functions may change."""
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
    """Return a copy that has seen no conversation; parts that cannot be copied are shared."""
    held = getattr(strategy, "__dict__", {})
    # Sentinels are compared by identity, so the copy must hold the same ones.
    known = {id(value): value for value in held.values() if type(value) is object}
    try:
        return copy.deepcopy(strategy, known)
    except Exception:  # noqa: BLE001 - locks, modules, clients: strategies may hold anything
        return (
            _copied_in_part(strategy, held)
            if held and not isinstance(strategy, ModuleType)
            else strategy
        )


def _copied_in_part(strategy: object, held: Mapping[str, object]) -> object:
    """Return a copy that shares only what cannot be copied."""
    twin = copy.copy(strategy)
    for name, value in held.items():
        with suppress(Exception):
            vars(twin)[name] = copy.deepcopy(value)
    return twin
