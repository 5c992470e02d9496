"""
From names and objects to a chain of strategies.

Names are entry points of the group `ctxwin`, looked up one by one: installing a package changes
nothing until a chain names its strategy, and a broken one hurts only who asks for it. The
first-party strategies are known by their dotted names too, so that they work without metadata and
nobody can shadow them.

A `Chain` is immutable and holds a pluggy manager of its own; equal chains of names share one, and
`Chain.adding` builds a new one. What pluggy would let pass and never call, or call wrongly, is
refused before it sees it.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pluggy

from ctxwin.hooks import specs
from ctxwin.hooks.checks import register
from ctxwin.hooks.installed import LAST, load, name_of
from ctxwin.hooks.specs import HOOKS, PROJECT
from ctxwin.values.errors import StrategyError, UnknownStrategyError

Hook: TypeAlias = Callable[..., Any]
"""A hook of one strategy; what it returns is foreign and not to be trusted."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """A registered plugin: its name, and its hooks, each None where it has none."""

    name: str
    plugin: object
    protect: Hook | None = None
    prune: Hook | None = None
    pruned: Hook | None = None


class Chain:
    """
    Strategies in the order in which they are asked.

    Attributes:
        strategies: those with `ctxwin_prune`, `drop-oldest` last, and plugins without it wherever
            they were named.
    """

    def __init__(self, plugins: Sequence[tuple[str, object]]) -> None:
        """
        Register the plugins.

        Args:
            plugins: names and objects, in order; `drop-oldest` is appended where it is missing.

        Raises:
            ValueError: a name or an object stands twice, or `drop-oldest` not last.
            StrategyError: a plugin's hooks cannot work.
        """
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(specs)
        for name, plugin in plugins:
            register(manager, name, plugin)
        if not manager.has_plugin(LAST):
            register(manager, LAST, load(LAST))
        self.strategies = tuple(
            _strategy(manager, name, plugin) for name, plugin in manager.list_name_plugin()
        )
        pruners = [strategy.name for strategy in self.strategies if strategy.prune is not None]
        if LAST not in pruners:
            raise StrategyError(f"{LAST!r} must have ctxwin_prune", strategy=LAST)
        if LAST in pruners[:-1]:
            raise ValueError(f"{LAST!r} must stand last in the chain, after {pruners[-1]!r}")

    def __str__(self) -> str:
        return " -> ".join(strategy.name for strategy in self.strategies)

    def adding(self, plugin: object, name: str | None, before: str | None) -> "Chain":
        """
        Return a chain with one more strategy.

        Args:
            plugin: the strategy object.
            name: its name; None for its own.
            before: the name of the strategy to stand before; None for `drop-oldest`.

        Raises:
            ValueError, StrategyError: as on construction; this chain is as it was.
            UnknownStrategyError: `before` names none of the chain.
        """
        plugins = [(strategy.name, strategy.plugin) for strategy in self.strategies]
        names = [known for known, _ in plugins]
        anchor = LAST if before is None else before
        if anchor not in names:
            raise UnknownStrategyError(f"before={anchor!r} names none of the chain {self}")
        plugins.insert(names.index(anchor), (name or name_of(plugin), plugin))
        return Chain(plugins)


def chain_of(strategies: Sequence[str | object]) -> Chain:
    """
    Return the chain for names and objects; chains of names alone are built once a process.

    Raises:
        TypeError: a bare string, which would be read letter by letter.
        ValueError, StrategyError, UnknownStrategyError: as `Chain` and `load` say.
    """
    if isinstance(strategies, str):
        raise TypeError(f"strategies must be a list: [{strategies!r}]")
    names = [item for item in strategies if isinstance(item, str)]
    if len(names) == len(strategies):
        return _chain_of_names(tuple(names))
    plugins = [
        (item, load(item)) if isinstance(item, str) else (name_of(item), item)
        for item in strategies
    ]
    return Chain(plugins)


@functools.lru_cache(maxsize=256)
def _chain_of_names(names: tuple[str, ...]) -> Chain:
    return Chain([(name, load(name)) for name in names])


def _strategy(manager: pluggy.PluginManager, name: str, plugin: object) -> Strategy:
    """Adapt a registered plugin: its hooks as callables that ask it alone."""
    hooks = {
        hook.removeprefix(f"{PROJECT}_"): _direct(implementation)
        for hook in HOOKS
        for implementation in getattr(manager.hook, hook).get_hookimpls()
        if implementation.plugin is plugin
    }
    return Strategy(name, plugin, **hooks)


def _direct(implementation: pluggy.HookImpl) -> Hook:
    """Return a callable that passes an implementation the arguments it asks for, as pluggy does."""

    def ask(**arguments: object) -> object:
        return implementation.function(*[arguments[name] for name in implementation.argnames])

    return ask
