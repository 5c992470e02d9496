"""What is under test: a strategy, what stands before it, and what it claims of itself."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ctxwin.registry import Chain, Strategy, load, name_of


@dataclass(frozen=True)
class Capabilities:
    """
    What a strategy promises beyond the laws; each off unless it is claimed.

    Attributes:
        reaches_target: it frees `excess_tokens` whenever the droppable units cost that much.
        bounds_summaries: its plan stands whatever text of at most `max_tokens` the summariser gives.
        max_source_tokens: it never asks for a summary of messages that cost more than this; None: not checked.
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
    """

    make: Callable[[], object]
    before: Sequence[object] = ()
    capabilities: Capabilities = field(default_factory=Capabilities)


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
    """Return a copy that has seen no conversation; what cannot be copied, as it is."""
    try:
        held = getattr(strategy, "__dict__", {}).values()
        return copy.deepcopy(strategy, {id(value): value for value in held if type(value) is object})  # sentinels
    except Exception:  # noqa: BLE001 - locks, modules, clients: strategies may hold anything
        return strategy
