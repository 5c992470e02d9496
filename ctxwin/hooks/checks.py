"""Checks of plugins."""

import inspect
from collections.abc import Callable
from typing import Any

import pluggy

from ctxwin.hooks.specs import HOOKS, PROJECT
from ctxwin.values.errors import StrategyError


def register(manager: pluggy.PluginManager, name: str, plugin: object) -> None:
    """Register a plugin, refusing what pluggy would silently not call or call wrongly."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a strategy is a string, not {name!r}")
    if manager.has_plugin(name):
        raise ValueError(f"two strategies of one chain are called {name!r}: give one another name")
    try:
        equal = next(
            (known for known, other in manager.list_name_plugin() if other == plugin), None
        )
        if equal is not None:
            raise ValueError(
                f"strategy {name!r} equals {equal!r}, and pluggy cannot tell them apart: set eq=False"
            )
        _check(plugin)
        manager.register(plugin, name=name)
        manager.check_pending()
    except (ValueError, StrategyError):
        raise
    except Exception as error:
        raise StrategyError(
            f"strategy {name!r} cannot be registered: {error}", strategy=name
        ) from error


def _check(plugin: object) -> None:
    """Raise `StrategyError` for a plugin whose hooks cannot work."""
    kind = plugin.__name__ if isinstance(plugin, type) else type(plugin).__name__
    if isinstance(plugin, type):
        raise StrategyError(f"{kind} is a class: register an instance, {kind}()")
    if inspect.isroutine(plugin):
        raise StrategyError(
            f"{plugin!r} is a function: register an object or a module that has hooks"
        )
    marked: set[str] = set()
    for attribute in (name for name in dir(plugin) if not name.startswith("__")):
        function = _unwrapped(inspect.getattr_static(plugin, attribute, None))
        options = getattr(function, f"{PROJECT}_impl", None)
        if options is not None:
            hook = options.get("specname") or attribute
            _check_hook(f"{kind}.{attribute}", function, hook, options)
            if hook in marked:
                raise StrategyError(
                    f"{kind} implements {hook} twice: only one of them could be called"
                )
            marked.add(hook)
        elif attribute in HOOKS:
            raise StrategyError(f"{kind}.{attribute} lacks @hookimpl: it would never be called")
    if not marked:
        raise StrategyError(f"{kind} has no hook; mark one of {', '.join(HOOKS)} with @hookimpl")


def _check_hook(
    where: str, function: Callable[..., object], hook: str, options: dict[str, object]
) -> None:
    """Raise `StrategyError` for a hook implementation that cannot work."""
    if hook not in HOOKS:
        raise StrategyError(
            f"{where} is no hook of ctxwin and would never be called; hooks: {', '.join(HOOKS)}"
        )
    if not inspect.isroutine(function):
        raise StrategyError(f"{where} is no function, and pluggy would never call it")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise StrategyError(
            f"{where} is async, and pluggy does not await: write a generator that yields Summarize, "
            "and call amessages() with an async summariser"
        )
    if options.get("wrapper") or options.get("hookwrapper"):
        raise StrategyError(
            f"{where} is a hook wrapper; strategies are called one by one, observe with ctxwin_pruned"
        )
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is not parameter.empty:
            raise StrategyError(
                f"{where}: {parameter.name!r} has a default, which pluggy versions treat differently"
            )
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            raise StrategyError(f"{where}: {parameter.name!r} must be a plain positional parameter")


def _unwrapped(attribute: object) -> Any:
    return attribute.__func__ if isinstance(attribute, staticmethod | classmethod) else attribute
