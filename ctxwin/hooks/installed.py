"""
Installed strategies: found by name among the entry points of the group `ctxwin`.

Names are looked up one by one. So installing a package changes nothing until a chain names its
strategy, and a broken package hurts only those who ask for it. ctxwin's own strategies are also
listed here, so they work without metadata and no other package can take their names.
"""

import re
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from ctxwin.values.errors import StrategyError, UnknownStrategyError, describe

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

GROUP = "ctxwin"

# It stands last in every chain, since it drops whatever may go.
LAST = "drop-oldest"

BUILT_IN = {
    "clamp-oversized": "ctxwin_plugins.clamp_oversized:ClampOversized",
    "clear-tool-results": "ctxwin_plugins.clear_tool_results:ClearToolResults",
    "drop-oldest": "ctxwin_plugins.drop_oldest:DropOldest",
    "keep-pinned": "ctxwin_plugins.keep_pinned:KeepPinned",
    "summarize-history": "ctxwin_plugins.summarize_history:SummarizeHistory",
}


def load(name: str) -> object:
    """
    Make the strategy of that name.

    Raises:
        UnknownStrategyError: no strategy of that name is installed; the text lists those that are.
        ValueError: several distributions claim the name.
        StrategyError: the strategy cannot be imported or made.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        strategy: object = getattr(import_module(module), attribute)()
        return strategy
    found = [entry for entry in entry_points() if entry.name == name]
    if not found:
        raise UnknownStrategyError(
            f"no strategy {name!r} is installed; installed are {', '.join(sorted(installed()))}"
        )
    if len(found) > 1:
        owners = " and ".join(sorted(_distribution(entry) for entry in found))
        raise ValueError(
            f"strategy {name!r} is claimed by {owners}: uninstall one of them, or pass an object"
        )
    entry = found[0]
    try:
        return entry.load()()
    except (Exception, SystemExit) as error:  # an import must not end the process either
        raise StrategyError(
            f"strategy {name!r} of {_distribution(entry)} ({entry.value}) cannot be loaded: "
            f"{describe(error)}",
            strategy=name,
        ) from error


def installed() -> dict[str, str]:
    """Return where each installed strategy comes from, by name; nothing is imported."""
    found = {entry.name: f"{entry.value} ({_distribution(entry)})" for entry in entry_points()}
    return found | {name: f"{value} (ctxwin)" for name, value in BUILT_IN.items()}


def name_of(plugin: object) -> str:
    """Return a strategy object's name: its `.name`, else its class name in kebab case."""
    try:
        own = getattr(plugin, "name", None)
    except Exception as error:
        raise StrategyError(
            f"the name of a {type(plugin).__name__} cannot be read: {error}"
        ) from error
    if isinstance(own, str) and own:
        return own
    if isinstance(plugin, ModuleType):
        return plugin.__name__.rpartition(".")[2].replace("_", "-")
    name = type(plugin).__name__.strip("_")
    return (
        re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name)
        .replace("_", "-")
        .lower()
    )


def entry_points() -> "EntryPoints":
    """Return what is installed in the group; the names that come with ctxwin need no look-up."""
    from importlib import metadata  # noqa: PLC0415 - ctxwin's own strategies do without

    return metadata.entry_points(group=GROUP)


def _distribution(entry: "EntryPoint") -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown distribution"
