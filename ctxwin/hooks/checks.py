"""
Checks of plugins: what pluggy would register but never call, or call wrongly, is refused.

A misspelt hook, a forgotten `@hookimpl`, a class in place of an instance or an async hook would
otherwise fail silently, deep in a conversation. Every error says what to do instead. Nothing of a
refused plugin is left behind: a chain that cannot be built is thrown away whole.
"""

import inspect
from collections.abc import Callable
from typing import Any

import pluggy

from ctxwin.hooks.specs import HOOKS, PROJECT, PRUNING
from ctxwin.values.errors import StrategyError


def register(manager: pluggy.PluginManager, name: str, plugin: object) -> None:
    """
    Register a plugin under a name.

    Raises:
        TypeError: the name is not a string.
        ValueError: the name is taken, or the plugin equals another one.
        StrategyError: the plugin cannot work.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a strategy must be a string, not {name!r}")
    if manager.has_plugin(name):
        raise ValueError(f"two strategies in the chain are called {name!r}: rename one")
    try:
        equal = next(
            (known for known, other in manager.list_name_plugin() if other == plugin), None
        )
        if equal is not None:
            raise ValueError(
                f"strategy {name!r} equals {equal!r}, so pluggy cannot tell them apart: "
                "leave one out, or compare by identity (@dataclass(eq=False))"
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
    """Raise `StrategyError` if the hooks of a plugin cannot work."""
    kind = plugin.__name__ if isinstance(plugin, type) else type(plugin).__name__
    if isinstance(plugin, type):
        raise StrategyError(f"{kind} is a class: register an instance, {kind}()")
    if inspect.isroutine(plugin):
        raise StrategyError(
            f"{plugin!r} is a function: register the object or the module that has the hooks"
        )
    marked: set[str] = set()
    for attribute in (name for name in dir(plugin) if not name.startswith("__")):
        # Static, since a property of foreign code may raise or have effects.
        function = _unwrapped(inspect.getattr_static(plugin, attribute, None))
        options = getattr(function, f"{PROJECT}_impl", None)
        if options is not None:
            hook = options.get("specname") or attribute
            _check_hook(f"{kind}.{attribute}", function, hook, options)
            if hook in marked:
                raise StrategyError(
                    f"{kind} implements {hook} twice, and only one can be called: remove the other"
                )
            marked.add(hook)
        elif attribute in HOOKS:
            raise StrategyError(
                f"{kind}.{attribute} lacks @hookimpl, so it would never be called: add it"
            )
    if not marked:
        raise StrategyError(f"{kind} has no hook: mark one of {', '.join(HOOKS)} with @hookimpl")


def _check_hook(
    where: str, function: Callable[..., object], hook: str, options: dict[str, object]
) -> None:
    """Raise `StrategyError` if the implementation of a hook cannot work."""
    if hook not in HOOKS:
        from difflib import get_close_matches  # noqa: PLC0415 - rarely needed, and slow to import

        near = get_close_matches(hook, HOOKS, 1)
        use = f"did you mean {near[0]}?" if near else f"use one of {', '.join(HOOKS)}"
        raise StrategyError(f"{where} is not a hook of ctxwin, so it would never be called: {use}")
    if not inspect.isroutine(function):
        raise StrategyError(f"{where} is not a function, so it would never be called: write a def")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        instead = "Call(async_function, ...), and await arequest()"
        if hook in PRUNING:
            instead = "Summarize, and call amessages() with an async summariser"
        raise StrategyError(
            f"{where} is async, but hooks are never awaited: write a generator that yields "
            f"{instead}"
        )
    if options.get("wrapper") or options.get("hookwrapper"):
        raise StrategyError(
            f"{where} is a hook wrapper, but strategies are called one by one: "
            "to observe them, implement ctxwin_pruned"
        )
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is not parameter.empty:
            raise StrategyError(
                f"{where}: {parameter.name!r} has a default, and versions of pluggy differ in what "
                "they pass then: remove the default"
            )
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            raise StrategyError(f"{where}: {parameter.name!r} must be a plain positional parameter")


def _unwrapped(attribute: object) -> Any:
    return attribute.__func__ if isinstance(attribute, staticmethod | classmethod) else attribute
