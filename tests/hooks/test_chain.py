"""Names, objects and entry points; each trap of pluggy is refused, and leaves nothing behind."""

import functools
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ctxwin import (
    ContextManager,
    Observation,
    Plan,
    PruneRequest,
    Receipt,
    Request,
    RouteRequest,
    StrategyError,
    UnknownStrategyError,
    hookimpl,
)
from ctxwin.hooks import installed as registry
from ctxwin.hooks.chain import _Named
from ctxwin_plugins.drop_oldest import DropOldest
from ctxwin_plugins.keep_pinned import KeepPinned


class Passive:
    """Never proposes anything."""

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> None:
        return None


class HTMLTrim2Fit(Passive):
    """A class name that is hard to turn into kebab case."""


def names(manager: ContextManager) -> list[str]:
    return [strategy.name for strategy in manager._chain.strategies]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, str], None]:
    """Install a distribution with one module and one entry point."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(distribution: str, entry: str, source: str) -> None:
        module = distribution.replace("-", "_")
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(f"[ctxwin]\n{entry}\n")
        (tmp_path / f"{module}.py").write_text(source)
        importlib.invalidate_caches()

    return make


GOOD = """
from ctxwin import hookimpl
class Quiet:
    @hookimpl
    def ctxwin_prune(self, request):
        return None
"""


def test_default_chain() -> None:
    """A missing `drop-oldest` is appended; equal chains of names share their plugins."""
    one, two = ContextManager(10), ContextManager(10, strategies=["drop-oldest"])
    assert names(one) == names(two) == ["drop-oldest"]
    assert ContextManager(10)._chain is one._chain
    assert names(ContextManager(10, strategies=["clear-tool-results"])) == [
        "clear-tool-results",
        "drop-oldest",
    ]
    assert names(ContextManager(10, strategies=[])) == ["drop-oldest"]
    assert str(ContextManager(10, strategies=[Passive()])._chain) == "passive -> drop-oldest"


def test_order_is_read_left_to_right() -> None:
    """Strategies are asked in turn, each at most once, until the target is reached."""
    asked: list[str] = []

    class Asked:
        def __init__(self, name: str) -> None:
            self.name = name

        @hookimpl
        def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
            asked.append(self.name)
            return Plan.drop(request.droppable[:1]) if self.name == "second" else None

    manager = ContextManager(
        60, counter=len, strategies=[Asked("first"), Asked("second"), Asked("third")]
    )
    manager.extend({"role": "user", "content": "x" * 20} for _ in range(3))
    manager.messages()
    assert asked == ["first", "second", "third"]


@pytest.mark.parametrize(
    ("strategies", "text"),
    [
        (["drop-oldest", "clear-tool-results"], "must stand last"),
        (["drop-oldest", Passive()], "must stand last"),
        (["clear-tool-results", "clear-tool-results"], "called 'clear-tool-results'"),
        ([Passive(), Passive()], "called 'passive'"),
    ],
    ids=["names", "object", "twice", "twins"],
)
def test_impossible_chains(strategies: list[object], text: str) -> None:
    """A name that is there twice, or `drop-oldest` not last, is a `ValueError`."""
    with pytest.raises(ValueError, match=text):
        ContextManager(10, strategies=strategies)


def test_plugins_without_prune_take_no_place() -> None:
    """A plugin that only protects may stand anywhere, even behind `drop-oldest`."""
    assert names(ContextManager(10, strategies=["drop-oldest", "keep-pinned"])) == [
        "drop-oldest",
        "keep-pinned",
    ]
    assert names(ContextManager(10, strategies=[DropOldest()])) == ["drop-oldest"]


def test_bare_string_is_refused() -> None:
    """A string would be read letter by letter."""
    with pytest.raises(TypeError, match=r"\['drop-oldest'\]"):
        ContextManager(10, strategies="drop-oldest")


def test_names_of_objects() -> None:
    """An object's `.name`, or else its class name in kebab case; for a module, its last name."""
    module = ModuleType("some.where.my_trim")
    assert registry.name_of(Passive()) == "passive"
    assert registry.name_of(HTMLTrim2Fit()) == "html-trim2-fit"
    assert registry.name_of(module) == "my-trim"
    strategy = Passive()
    strategy.name = "own"  # type: ignore[attr-defined]
    assert registry.name_of(strategy) == "own"


def test_module_as_a_strategy() -> None:
    """A module with hooks works like an object."""
    module = ModuleType("my_trim")
    asked = []

    @hookimpl
    def ctxwin_prune(request: PruneRequest) -> None:
        asked.append(request)

    module.ctxwin_prune = ctxwin_prune  # type: ignore[attr-defined]
    manager = ContextManager(20, counter=len, strategies=[module])
    manager.extend({"role": "user", "content": "x" * 8} for _ in range(3))
    manager.messages()
    assert len(asked) == 1


class Coroutine:
    @hookimpl
    async def ctxwin_prune(self, request: PruneRequest) -> None:
        return None


class AsyncGenerator:
    @hookimpl
    async def ctxwin_prune(self, request: PruneRequest) -> Any:
        yield None


class CoroutineAroundTheCall:
    @hookimpl
    async def ctxwin_route(self, request: RouteRequest) -> None:
        return None


class MisspeltAroundTheCall:
    @hookimpl
    def ctxwin_observe(self, observation: Observation) -> None:
        return None


class FarFromAnyHook:
    @hookimpl
    def handle(self, request: Request) -> None:
        return None


class Misspelt:
    @hookimpl
    def ctxwin_prun(self, request: PruneRequest) -> None:
        return None


class MisspeltOptional:
    @hookimpl(optionalhook=True)
    def ctxwin_prun(self, request: PruneRequest) -> None:
        return None


class UnknownArgument:
    @hookimpl
    def ctxwin_prune(self, request: PruneRequest, budget: int) -> None:
        return None


class Default:
    @hookimpl
    def ctxwin_prune(self, request: PruneRequest | None = None) -> None:
        return None


class KeywordOnly:
    @hookimpl
    def ctxwin_prune(self, *, request: PruneRequest) -> None:
        return None


class Wrapper:
    @hookimpl(wrapper=True)
    def ctxwin_prune(self, request: PruneRequest) -> Any:
        return (yield)


class Unmarked:
    def ctxwin_prune(self, request: PruneRequest) -> None:
        return None


class NoHooks:
    pass


class Explosive:
    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> None:
        return None

    def __dir__(self) -> list[str]:
        raise RuntimeError("explodes when looked at")


class Partial:
    ctxwin_prune = hookimpl(functools.partial(lambda request: None))


class Twice:
    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> None:
        return None

    @hookimpl(specname="ctxwin_prune")
    def again(self, request: PruneRequest) -> None:
        return None


class BadName(Passive):
    @property
    def name(self) -> str:
        raise ValueError("no name today")


@hookimpl
def ctxwin_prune(request: PruneRequest) -> None:
    return None


@pytest.mark.parametrize(
    ("plugin", "text"),
    [
        (Coroutine(), "async.* yields Summarize"),
        (AsyncGenerator(), "async"),
        (CoroutineAroundTheCall(), r"async.* yields Call\(async_function"),
        (Misspelt(), r"not a hook of ctxwin.* did you mean ctxwin_prune\?"),
        (MisspeltAroundTheCall(), r"did you mean ctxwin_observed\?"),
        (FarFromAnyHook(), "use one of ctxwin_protect, .*, ctxwin_observed"),
        (MisspeltOptional(), "not a hook of ctxwin"),
        (UnknownArgument(), "budget"),
        (Default(), "default"),
        (KeywordOnly(), "positional"),
        (Wrapper(), "wrapper"),
        (Unmarked(), "lacks @hookimpl"),
        (NoHooks(), "has no hook"),
        (7, "has no hook"),
        (Passive, r"register an instance, Passive\(\)"),
        (ctxwin_prune, "is a function"),
        (Explosive(), "explodes"),
        (Partial(), "is not a function"),
        (Twice(), "twice"),
        (BadName(), "no name today"),
    ],
    ids=lambda value: (
        type(value).__name__ + getattr(value, "__name__", "") if not isinstance(value, str) else ""
    ),
)
def test_traps_are_refused(plugin: object, text: str) -> None:
    """The error says what is wrong, and nothing is left behind."""
    manager = ContextManager(10)
    with pytest.raises(StrategyError, match=text):
        manager.register(plugin)
    assert names(manager) == ["drop-oldest"]
    with pytest.raises(StrategyError, match=text):
        ContextManager(10, strategies=[plugin])


@dataclass
class Equal:
    """Two of these are equal, and cannot be hashed."""

    name: str = "equal"
    limit: int = 3

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equal) and self.limit == other.limit

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> None:
        return None


def test_equal_objects_cannot_both_be_registered() -> None:
    """Pluggy could not tell them apart; one of them alone works, even if it is not hashable."""
    manager = ContextManager(10, strategies=[Equal("one")])
    with pytest.raises(ValueError, match="equals 'one'"):
        manager.register(Equal("two"))
    manager.register(Equal("three", limit=4))
    assert names(manager) == ["one", "three", "drop-oldest"]


class Picky:
    """Slotted; its hooks are static or class methods, one takes no argument; a property raises."""

    __slots__ = ()
    name = "picky"

    @property
    def trouble(self) -> int:
        raise AttributeError("do not look")

    @staticmethod
    @hookimpl
    def ctxwin_prune() -> None:
        return None

    @classmethod
    @hookimpl
    def ctxwin_pruned(cls, receipt: Receipt) -> None:
        return None


def test_hooks_may_ask_for_fewer_arguments() -> None:
    """Hooks may also be static or class methods, on slotted objects."""
    manager = ContextManager(20, counter=len, strategies=[Picky()])
    manager.extend({"role": "user", "content": "x" * 8} for _ in range(3))
    assert len(manager.messages()) == 1


def test_register() -> None:
    """A strategy goes before `drop-oldest` or before a named one; other managers do not get it."""
    manager, other = ContextManager(10), ContextManager(10)
    manager.register(Passive())
    manager.register(HTMLTrim2Fit(), name="first", before="passive")
    assert names(manager) == ["first", "passive", "drop-oldest"]
    assert names(other) == ["drop-oldest"]
    with pytest.raises(TypeError, match="string"):
        manager.register(Passive(), name=5)  # type: ignore[arg-type]
    with pytest.raises(UnknownStrategyError, match="nobody"):
        manager.register(Passive(), name="x", before="nobody")
    with pytest.raises(ValueError, match="passive"):
        manager.register(Passive())
    assert names(manager) == ["first", "passive", "drop-oldest"]
    assert (
        repr(manager) == "<ContextManager 3/10 tokens, 0 messages, first -> passive -> drop-oldest>"
    )


def test_unknown_name_lists_what_is_installed() -> None:
    """The error lists the names that the caller may have meant."""
    with pytest.raises(
        UnknownStrategyError, match=r"no strategy 'drop_oldest'.*drop-oldest.*keep-pinned"
    ):
        ContextManager(10, strategies=["drop_oldest"])


def test_third_party_by_name(install: Callable[[str, str, str], None]) -> None:
    """An installed strategy is found by its entry point, and imported only when asked for."""
    install("ctxwin-quiet", "quiet = ctxwin_quiet:Quiet", GOOD)
    assert registry.installed()["quiet"] == "ctxwin_quiet:Quiet (ctxwin-quiet 1.0)"
    assert "ctxwin_quiet" not in sys.modules
    assert names(ContextManager(10, strategies=["quiet"])) == ["quiet", "drop-oldest"]
    assert names(ContextManager(10, strategies=["quiet", Passive()])) == [
        "quiet",
        "passive",
        "drop-oldest",
    ]
    del sys.modules["ctxwin_quiet"]


def test_broken_third_party_hurts_only_those_who_ask(
    install: Callable[[str, str, str], None],
) -> None:
    """It is listed, and others work; the error for it names its distribution and what is wrong."""
    install("ctxwin-broken", "broken = ctxwin_broken:Nothing", "raise ImportError('no such thing')")
    assert "broken" in registry.installed()
    assert names(ContextManager(10)) == ["drop-oldest"]
    for _ in range(2):
        with pytest.raises(StrategyError, match=r"ctxwin-broken 1\.0.*no such thing") as caught:
            ContextManager(10, strategies=["broken"])
        assert caught.value.strategy == "broken"


def test_two_distributions_of_one_name(install: Callable[[str, str, str], None]) -> None:
    """The `ValueError` names both; nobody can shadow a built-in name."""
    install("ctxwin-one", "twice = ctxwin_one:Quiet", GOOD)
    install("ctxwin-two", "twice = ctxwin_two:Quiet", GOOD)
    install("ctxwin-shadow", "drop-oldest = ctxwin_shadow:Quiet", GOOD)
    with pytest.raises(ValueError, match=r"ctxwin-one 1\.0 and ctxwin-two 1\.0"):
        ContextManager(10, strategies=["twice"])
    assert isinstance(registry.load("drop-oldest"), DropOldest)


def test_both_lists_of_built_ins_agree() -> None:
    """The list in `installed.py` is the same as the declared entry points."""
    declared = {
        entry.name: entry.value
        for entry in importlib.metadata.entry_points(group="ctxwin")
        if entry.dist is not None and entry.dist.name == "ctxwin"
    }
    assert declared == registry.BUILT_IN
    for name in registry.BUILT_IN:
        assert registry.name_of(registry.load(name)) == name


def test_entry_point_without_a_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point that belongs to no distribution is still listed and loaded."""
    entry = importlib.metadata.EntryPoint("lonely", f"{__name__}:make", "ctxwin")
    monkeypatch.setattr(registry, "entry_points", lambda: [entry])
    monkeypatch.setattr(sys.modules["importlib.metadata"].EntryPoint, "load", lambda _: Passive)
    assert registry.installed()["lonely"].endswith("(an unknown distribution)")
    assert isinstance(registry.load("lonely"), Passive)


def test_observers_are_told_and_cannot_hurt(caplog: pytest.LogCaptureFixture) -> None:
    """`ctxwin_pruned` gets the receipt; an exception in it is logged and changes nothing."""
    seen: list[Receipt] = []

    class Observer:
        @hookimpl
        def ctxwin_pruned(self, receipt: Receipt) -> None:
            seen.append(receipt)
            raise RuntimeError("an observer fails")

    manager = ContextManager(20, counter=len, strategies=[Observer(), KeepPinned()])
    manager.extend({"role": "user", "content": "x" * 8} for _ in range(3))
    assert len(manager.messages()) == 1
    assert seen == [manager.last_receipt]
    assert "an observer fails" in caplog.text
    assert (
        functools.reduce(lambda total, action: total + action.freed_tokens, seen[0].actions, 0)
        == 24
    )


def test_a_drop_oldest_that_cannot_prune_is_refused() -> None:
    """The last strategy of a chain must be able to prune."""

    class DropOldest:
        @hookimpl
        def ctxwin_pruned(self, receipt: Receipt) -> None:
            return None

    with pytest.raises(StrategyError, match="must have ctxwin_prune"):
        ContextManager(10, strategies=[DropOldest()])


def test_an_import_that_exits_is_an_error(install: Callable[[str, str, str], None]) -> None:
    """A plugin that calls `sys.exit` when imported cannot end the process."""
    install("ctxwin-exits", "exits = ctxwin_exits:Quiet", "raise SystemExit(3)")
    with pytest.raises(StrategyError, match="SystemExit: 3"):
        ContextManager(10, strategies=["exits"])


def test_chains_of_the_same_objects_are_one() -> None:
    """By identity, whatever equals what; another name or order is another chain."""

    class Equal(Passive):
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal)

        def __hash__(self) -> int:
            return 7

    one, two, rules = Equal(), Equal(), KeepPinned(roles=("user",))
    first = ContextManager(10, strategies=[one, "clear-tool-results", rules])
    assert ContextManager(10, strategies=[one, "clear-tool-results", rules])._chain is first._chain
    for other in ([two, "clear-tool-results", rules], [rules, one], [one]):
        chain = ContextManager(10, strategies=other)._chain
        assert chain is not first._chain
        assert chain.strategies[0].plugin is other[0]
    assert _Named("one", one) != one
    one.name = "renamed"  # type: ignore[attr-defined]
    again = ContextManager(10, strategies=[one, "clear-tool-results", rules])
    assert names(again)[0] == "renamed"
    assert names(first)[0] == "equal"
    first.register(Passive())
    assert len(names(ContextManager(10, strategies=[one, "clear-tool-results", rules]))) == 4
