"""What is under test: a strategy, the strategies before it in the chain, and its claims."""

import copy
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from ctxwin.hooks.chain import Chain, Hook, Strategy
from ctxwin.hooks.installed import load, name_of
from ctxwin.hooks.specs import HOOKS, PROJECT, PRUNING

PLAIN = (bool, int, float, str, type(None), tuple, list, dict, set)

_Named: TypeAlias = tuple[str, object]
"""A plugin with its name."""


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


@dataclass(frozen=True, slots=True)
class _Method:
    """A hook of a class: its name, the method that implements it, and what that is passed."""

    hook: str
    name: str
    arguments: list[str]

    def of(self, plugin: object) -> Hook:
        """Return the hook of one object."""
        method = getattr(plugin, self.name)
        return lambda **given: method(*[given[argument] for argument in self.arguments])


_METHODS: WeakKeyDictionary[type, list[_Method]] = WeakKeyDictionary()


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
    _chains: dict[tuple[tuple[str, type], ...], Chain] = field(
        init=False, repr=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        plugin = adapted(self.make()).plugin
        module = (
            plugin if isinstance(plugin, ModuleType) else sys.modules.get(type(plugin).__module__)
        )
        owners = [owner for owner in (module, *type(plugin).__mro__[:-1]) if owner is not None]
        object.__setattr__(self, "shared", [found for owner in owners for found in _shared(owner)])

    def strategy(self) -> Strategy:
        """Return a new strategy, with its hooks."""
        return self.adapted(self.make())

    def adapted(self, strategy: object) -> Strategy:
        """Return a strategy with its hooks, as `adapted` does."""
        plugin = load(strategy) if isinstance(strategy, str) else strategy
        named = (name_of(plugin), plugin)
        return next(one for one in self.chain([named]).strategies if one.name == named[0])

    def chain(self, plugins: Sequence[_Named]) -> Chain:
        """
        Return a chain of plugins with their names.

        A trial needs ten chains, and pluggy takes longer to build them than the trial takes. So a
        chain is checked and built once for all objects of the same classes and names; the others
        get copies of it, with hooks of their own.
        """
        if not all(_is_usual(plugin) for _, plugin in plugins):
            return Chain(plugins)
        kinds = tuple((name, type(plugin)) for name, plugin in plugins)
        if kinds not in self._chains:
            self._chains[kinds] = Chain(plugins)
        chain = copy.copy(self._chains[kinds])
        own = [_strategy(name, plugin) for name, plugin in plugins]
        chain.strategies = (*own, *chain.strategies[len(own) :])
        return chain

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


def _is_usual(plugin: object) -> bool:
    """Return whether all hooks of a plugin are methods of its class, and concern pruning."""
    held = getattr(plugin, "__dict__", None)
    return (
        isinstance(held, dict)
        and not any(name in HOOKS or _mark_of(value) for name, value in held.items())
        and all(method.hook in PRUNING for method in _methods(type(plugin)))
    )


def _methods(kind: type) -> list[_Method]:
    """Return the hooks of a class, which are looked up once."""
    if kind not in _METHODS:
        _METHODS[kind] = [*_looked_up(kind)]
    return _METHODS[kind]


def _looked_up(kind: type) -> Iterator[_Method]:
    for name in dir(kind):
        function = inspect.getattr_static(kind, name, None)
        options = _mark_of(function)
        if options is not None:
            arguments = [*inspect.signature(_unwrapped(function)).parameters]
            bound = arguments if isinstance(function, staticmethod) else arguments[1:]
            yield _Method(options.get("specname") or name, name, bound)


def _mark_of(value: object) -> Any:
    """Return the options that `@hookimpl` left on a function; None for anything else."""
    return getattr(_unwrapped(value), f"{PROJECT}_impl", None) if inspect.isroutine(value) else None


def _unwrapped(value: object) -> Any:
    return value.__func__ if isinstance(value, staticmethod | classmethod) else value


def _strategy(name: str, plugin: object) -> Strategy:
    """Return a plugin with the hooks of its class."""
    hooks = {
        method.hook.removeprefix(f"{PROJECT}_"): method.of(plugin)
        for method in _methods(type(plugin))
    }
    return Strategy(name, plugin, **hooks)


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
