"""
From names and objects to a chain of strategies.

Names are entry points of the group `ctxwin`, looked up one by one: installing a package changes nothing until a
chain names its strategy, and a broken one hurts only who asks for it. The first-party strategies are known by their
dotted names too, so that they work without metadata and nobody can shadow them.

A `Chain` is immutable and holds a pluggy manager of its own; equal chains of names share one, and `Chain.adding`
builds a new one. What pluggy would let pass and never call, or call wrongly, is refused before it sees it.
"""

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

import pluggy

from ctxwin import hookspecs
from ctxwin.errors import StrategyError, UnknownStrategyError, describe

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

GROUP = "ctxwin"
LAST = "drop-oldest"
BUILT_IN = {
    "clamp-oversized": "ctxwin_plugins.clamp_oversized:ClampOversized",
    "clear-tool-results": "ctxwin_plugins.clear_tool_results:ClearToolResults",
    "drop-oldest": "ctxwin_plugins.drop_oldest:DropOldest",
    "keep-pinned": "ctxwin_plugins.keep_pinned:KeepPinned",
    "summarize-history": "ctxwin_plugins.summarize_history:SummarizeHistory",
}

HOOKS = ("ctxwin_protect", "ctxwin_prune", "ctxwin_pruned")

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
        strategies: those with `ctxwin_prune`, `drop-oldest` last, and plugins without it wherever they were named.
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
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        for name, plugin in plugins:
            _register(manager, name, plugin)
        if not manager.has_plugin(LAST):
            _register(manager, LAST, load(LAST))
        self.strategies = tuple(_strategy(manager, name, plugin) for name, plugin in manager.list_name_plugin())
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
    plugins = [(item, load(item)) if isinstance(item, str) else (name_of(item), item) for item in strategies]
    return Chain(plugins)


@functools.lru_cache(maxsize=256)
def _chain_of_names(names: tuple[str, ...]) -> Chain:
    return Chain([(name, load(name)) for name in names])


def load(name: str) -> object:
    """
    Make the strategy of that name.

    Raises:
        UnknownStrategyError: none is installed under it; the text lists those that are.
        ValueError: several distributions claim it.
        StrategyError: it cannot be imported or made.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        strategy: object = getattr(import_module(module), attribute)()
        return strategy
    found = [entry for entry in entry_points() if entry.name == name]
    if not found:
        raise UnknownStrategyError(f"no strategy {name!r} is installed; there are {', '.join(sorted(installed()))}")
    if len(found) > 1:
        owners = " and ".join(sorted(_distribution(entry) for entry in found))
        raise ValueError(f"strategy {name!r} is claimed by {owners}: uninstall one, or pass an object")
    entry = found[0]
    try:
        return entry.load()()
    except (Exception, SystemExit) as error:
        raise StrategyError(
            f"strategy {name!r} of {_distribution(entry)} ({entry.value}) cannot be loaded: {describe(error)}",
            strategy=name,
        ) from error


def installed() -> dict[str, str]:
    """Return name -> where it comes from, for every strategy that can be asked for; nothing is imported."""
    found = {entry.name: f"{entry.value} ({_distribution(entry)})" for entry in entry_points()}
    return found | {name: f"{value} (ctxwin)" for name, value in BUILT_IN.items()}


def name_of(plugin: object) -> str:
    """Return a strategy object's name: its `.name`, else its class name in kebab case."""
    try:
        own = getattr(plugin, "name", None)
    except Exception as error:
        raise StrategyError(f"the name of a {type(plugin).__name__} cannot be read: {error}") from error
    if isinstance(own, str) and own:
        return own
    if isinstance(plugin, ModuleType):
        return plugin.__name__.rpartition(".")[2].replace("_", "-")
    name = type(plugin).__name__.strip("_")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).replace("_", "-").lower()


def entry_points() -> "EntryPoints":
    """Look up what is installed; imported on use, since the names that come with ctxwin need no look-up."""
    from importlib import metadata  # noqa: PLC0415

    return metadata.entry_points(group=GROUP)


def _distribution(entry: "EntryPoint") -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown distribution"


def _register(manager: pluggy.PluginManager, name: str, plugin: object) -> None:
    """Register a plugin, refusing what pluggy would silently not call or call wrongly."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a strategy is a string, not {name!r}")
    if manager.has_plugin(name):
        raise ValueError(f"two strategies of one chain are called {name!r}: give one another name")
    try:
        equal = next((known for known, other in manager.list_name_plugin() if other == plugin), None)
        if equal is not None:
            raise ValueError(f"strategy {name!r} equals {equal!r}, and pluggy cannot tell them apart: set eq=False")
        _check(plugin)
        manager.register(plugin, name=name)
        manager.check_pending()
    except (ValueError, StrategyError):
        raise
    except Exception as error:
        raise StrategyError(f"strategy {name!r} cannot be registered: {error}", strategy=name) from error


def _check(plugin: object) -> None:
    """Raise `StrategyError` for a plugin whose hooks cannot work."""
    kind = plugin.__name__ if isinstance(plugin, type) else type(plugin).__name__
    if isinstance(plugin, type):
        raise StrategyError(f"{kind} is a class: register an instance, {kind}()")
    if inspect.isroutine(plugin):
        raise StrategyError(f"{plugin!r} is a function: register an object or a module that has hooks")
    marked: set[str] = set()
    for attribute in (name for name in dir(plugin) if not name.startswith("__")):
        function = _unwrapped(inspect.getattr_static(plugin, attribute, None))
        options = getattr(function, f"{hookspecs.PROJECT}_impl", None)
        if options is not None:
            hook = options.get("specname") or attribute
            _check_hook(f"{kind}.{attribute}", function, hook, options)
            if hook in marked:
                raise StrategyError(f"{kind} implements {hook} twice: only one of them could be called")
            marked.add(hook)
        elif attribute in HOOKS:
            raise StrategyError(f"{kind}.{attribute} lacks @hookimpl: it would never be called")
    if not marked:
        raise StrategyError(f"{kind} has no hook; mark one of {', '.join(HOOKS)} with @hookimpl")


def _check_hook(where: str, function: Callable[..., object], hook: str, options: dict[str, object]) -> None:
    """Raise `StrategyError` for a hook implementation that cannot work."""
    if hook not in HOOKS:
        raise StrategyError(f"{where} is no hook of ctxwin and would never be called; hooks: {', '.join(HOOKS)}")
    if not inspect.isroutine(function):
        raise StrategyError(f"{where} is no function, and pluggy would never call it")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise StrategyError(
            f"{where} is async, and pluggy does not await: write a generator that yields Summarize, "
            "and call amessages() with an async summariser"
        )
    if options.get("wrapper") or options.get("hookwrapper"):
        raise StrategyError(f"{where} is a hook wrapper; strategies are called one by one, observe with ctxwin_pruned")
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is not parameter.empty:
            raise StrategyError(f"{where}: {parameter.name!r} has a default, which pluggy versions treat differently")
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            raise StrategyError(f"{where}: {parameter.name!r} must be a plain positional parameter")


def _unwrapped(attribute: object) -> Any:
    return attribute.__func__ if isinstance(attribute, staticmethod | classmethod) else attribute


def _strategy(manager: pluggy.PluginManager, name: str, plugin: object) -> Strategy:
    """Adapt a registered plugin: its hooks as callables that ask it alone."""
    hooks = {
        hook.removeprefix(f"{hookspecs.PROJECT}_"): _direct(implementation)
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
