"""
The chain of strategies of one manager: names and objects, in the order in which they are asked.

A `Chain` never changes: `Chain.adding` returns a new one. So managers whose chains consist of the
same names and objects share one, which saves building a pluggy manager (0.2 to 0.9 ms) and checking
each object (1 ms) for each conversation.
Each plugin is called on its own, never through pluggy's multicall, so that one that fails stops no
other.
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
    """A registered plugin: its name, and its hooks; None for each hook that it lacks."""

    name: str
    plugin: object
    protect: Hook | None = None
    prune: Hook | None = None
    pruned: Hook | None = None
    route: Hook | None = None
    answer: Hook | None = None
    shape: Hook | None = None
    admit: Hook | None = None
    observed: Hook | None = None


class Chain:
    """
    Strategies in the order in which they are asked.

    Attributes:
        strategies: every plugin, in order. Of those with `ctxwin_prune`, `drop-oldest` is the last;
            plugins without it may stand anywhere.
        route, answer, shape, admit, observed: name and hook of those that have it, in order.
    """

    def __init__(self, plugins: Sequence[tuple[str, object]]) -> None:
        """
        Register the plugins.

        Args:
            plugins: names and objects, in order; `drop-oldest` is appended if it is missing.

        Raises:
            ValueError: a name or an object is there twice, or `drop-oldest` is not last.
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
        # `drop-oldest` drops whatever may go, so a strategy behind it would come too late.
        pruners = [strategy.name for strategy in self.strategies if strategy.prune is not None]
        if LAST not in pruners:
            raise StrategyError(
                f"{LAST!r} must have ctxwin_prune: rename your plugin", strategy=LAST
            )
        if LAST in pruners[:-1]:
            raise ValueError(f"{LAST!r} must stand last: move it behind {pruners[-1]!r}")
        self.route = self._having("route")
        self.answer = self._having("answer")
        self.shape = self._having("shape")
        self.admit = self._having("admit")
        self.observed = self._having("observed")

    def _having(self, hook: str) -> tuple[tuple[str, Hook], ...]:
        found = ((strategy.name, getattr(strategy, hook)) for strategy in self.strategies)
        return tuple((name, function) for name, function in found if function is not None)

    def __str__(self) -> str:
        return " -> ".join(strategy.name for strategy in self.strategies)

    def adding(self, plugin: object, name: str | None, before: str | None) -> "Chain":
        """
        Return a chain with one more strategy.

        Args:
            plugin: the strategy object.
            name: the name to give it; None for its own.
            before: the name of the strategy to put it before; None for `drop-oldest`.

        Raises:
            ValueError, StrategyError: as on construction; this chain stays as it was.
            UnknownStrategyError: `before` is not the name of a strategy of the chain.
        """
        plugins = [(strategy.name, strategy.plugin) for strategy in self.strategies]
        names = [known for known, _ in plugins]
        anchor = LAST if before is None else before
        if anchor not in names:
            raise UnknownStrategyError(f"before={anchor!r} is not in the chain: {self}")
        plugins.insert(names.index(anchor), (name or name_of(plugin), plugin))
        return Chain(plugins)


def chain_of(strategies: Sequence[str | object]) -> Chain:
    """
    Return the chain of some names and objects; for the same ones it is built once.

    The last 64 chains with objects are kept, and hold those; of chains of names alone, 256.

    Raises:
        TypeError: `strategies` is one string, which would be read letter by letter.
        ValueError, StrategyError, UnknownStrategyError: see `Chain` and `load`.
    """
    if isinstance(strategies, str):
        raise TypeError(f"strategies must be a list, not a string: [{strategies!r}]")
    items = [item if isinstance(item, str) else _Named(name_of(item), item) for item in strategies]
    names = [item for item in items if isinstance(item, str)]
    return (_chain_of_names if len(names) == len(items) else _chain_of_any)(tuple(items))


@dataclass(frozen=True, slots=True, eq=False)
class _Named:
    """A strategy object with its name; equal to another only if both are the same."""

    name: str
    plugin: object

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Named):
            return NotImplemented
        return other.plugin is self.plugin and other.name == self.name

    def __hash__(self) -> int:
        return id(self.plugin)


def _chain(items: tuple[str | _Named, ...]) -> Chain:
    return Chain(
        [
            (item, load(item)) if isinstance(item, str) else (item.name, item.plugin)
            for item in items
        ]
    )


_chain_of_names = functools.lru_cache(maxsize=256)(_chain)
_chain_of_any = functools.lru_cache(maxsize=64)(_chain)


def _strategy(manager: pluggy.PluginManager, name: str, plugin: object) -> Strategy:
    """Return a registered plugin with its hooks as functions that call it alone."""
    hooks = {
        hook.removeprefix(f"{PROJECT}_"): _direct(implementation)
        for hook in HOOKS
        for implementation in getattr(manager.hook, hook).get_hookimpls()
        if implementation.plugin is plugin
    }
    return Strategy(name, plugin, **hooks)


def _direct(implementation: pluggy.HookImpl) -> Hook:
    """Return a function that passes an implementation only the arguments it declares."""

    def call(**arguments: object) -> object:
        return implementation.function(*[arguments[name] for name in implementation.argnames])

    return call
