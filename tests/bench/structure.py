"""
The structure of a checkout of ctxwin in figures, so that an old and a new tree can be compared.

    python tests/bench/structure.py [ROOT] [--list]

ROOT is a checkout with `ctxwin/` and `plugins/`, by default the one that this script stands in. The
kit (`ctxwin/testing`) judges the library and is no part of it: beside the entries, nothing counts
it. What is read is parsed, never imported; a file that cannot be parsed is named and left out.

Entries: files and folders of `ctxwin/`, beside `py.typed`, `__main__.py` and caches.

Modules: Python files of `ctxwin/`. An arrow goes from a module to each other one that it imports
when it is imported itself, so imports inside functions and for type checkers only are left out;
that importing a module imports the packages around it is no arrow. `from package import name` is an
arrow to the module of that name if there is one, else to the package. A room is an entry of
`ctxwin/`: arrows between rooms are those between modules of two rooms, each pair of rooms counted
once. The longest chain is given in modules, its first and last included; modules that import each
other in a circle count as one there, and each such circle is a cycle.

Classes in core and sessions: every `class` statement, nested and private ones, exceptions and
protocols included, outside the entries `testing`, `counting`, `summarizers` and `cli`, whether
these are folders or single files. A class that moves into one of these is no longer counted:
`Costs`, in the core of the flat tree, belongs to `counting` now.

What a call passes: files and functions of `ctxwin` and `ctxwin_plugins` that are entered while the
call runs, each once, and how many of their frames are on the stack at most (depth). Properties,
lambdas and nested functions are functions; comprehensions and generator expressions are parts of
the function that they stand in, and what dataclasses generate has no file. Code objects are the
functions with those parts, of which an interpreter from 3.12 on makes fewer. The call was made once
before, on another conversation, so that imports and caches are apart; the counter is `len`.

    cut             `messages()` where the chain is `drop-oldest` alone and 41 messages, none of
                    them counted yet, are over the budget
    append          `append` of a dict
    session append  the same in a session, opened before, on `open_store("memory://")`

Places that change conversation state are found by a rule of thumb, for no type is known here. Names
of state are all attributes that the classes of `STATE` have: `__slots__`, fields, and whatever
their methods assign to `self` (not `__init__` alone: a conversation gets its log in `clear`). A
place is a target of an assignment or a deletion, or the object of a call of a method in `MUTATING`,
that is reached through one of these names: `entry.slot.gone = True`, `del self.history.entries[1]`,
`conversation.window.written.pop(1)`. What a class that is not one of `STATE`, nor derived from one,
has as its own attribute of the same name is none: `self.units` of a draft, but not
`self._state.version`. An assignment to two targets is two places. So the rule takes too much where
such an attribute of something else is reached by another name than `self` (`draft.units = ...`),
and where a constructor of `STATE` sets what is nobody's state yet; it misses what is changed
through a local name (`units = window.units; units.clear()`), by `setattr`, and by calls of methods
of other names, so a call of `conversation.add` is no place, only what it does is.

The issue that asks for these figures says of the flat tree that it has 58 such places outside
history, window and conversation, and 143 in all; how it counted it does not say. This rule finds 53
and 165 there. Nine of the 53 are in the constructor of `Costs`; without constructors it would be 44
and 128. What breakers keep, and what replicas keep beside a conversation, counts as no state here.
Compare what this script says of two trees, not what it says of one with the figures of the issue.
"""

import argparse
import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import resolve_name
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

HERE = Path(__file__).resolve()
UNCOUNTED = ("py.typed", "__main__.py", "__pycache__")
NOT_CORE = ("testing", "counting", "summarizers", "cli")
LOG = ("log",)
FLAT_LOG = ("history", "window", "conversation")  # before there was a room for them
STATE = frozenset(
    {"Conversation", "Costs", "Entry", "History", "LogMessage", "LogUnit", "Slot", "Window"}
)
MUTATING = frozenset(
    {
        "add",
        "append",
        "clear",
        "discard",
        "extend",
        "insert",
        "pop",
        "popitem",
        "remove",
        "setdefault",
        "update",
    }
)
PARTS = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"})
KINDS = ("files", "functions", "code objects", "depth")  # what is said of a call
TIMEOUT = 120  # seconds; the calls take none
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)

Figure = tuple[str, object]
Graph = Mapping[str, frozenset[str]]


class Module(NamedTuple):
    """A parsed file: its dotted name, its room, its path below the root, and its tree."""

    name: str
    room: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        """What relative imports in it start from."""
        return self.name if self.path.stem == "__init__" else self.name.rpartition(".")[0]


# Files.


def entries(package: Path) -> list[str]:
    """Return the files and folders of the package that a reader meets, sorted."""
    found = [path for path in package.iterdir() if path.name not in UNCOUNTED]
    return sorted(path.name for path in found if path.name[0] != "." and _holds_something(path))


def _holds_something(path: Path) -> bool:
    """Return whether a path is a file, or a folder with more than the caches that git leaves."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return any("__pycache__" not in file.parts for file in files)


def read_modules(root: Path, notes: list[str]) -> list[Module]:
    """Parse the modules of the package, the kit apart; note those that cannot be parsed."""
    modules = []
    for path in sorted((root / "ctxwin").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[1] == "testing":
            continue
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, OSError) as error:
            notes.append(f"left out: {path.relative_to(root)}: {error}")
            continue
        modules.append(Module(name, parts[1], path.relative_to(root), tree))
    return modules


# Imports.


def import_graph(modules: Iterable[Module]) -> Graph:
    """Return for each module which others it imports when it is imported."""
    by_name = {module.name: module for module in modules}
    return {
        name: frozenset(_imports(module, by_name.keys()) - {name})
        for name, module in by_name.items()
    }


def _imports(module: Module, known: Iterable[str]) -> set[str]:
    return {
        name
        for node in _run_on_import(module.tree)
        for candidates in _targets(node, module)
        for name in _first_known(candidates, known)
    }


def _run_on_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs when a module is imported: no function's body, nothing for types only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, FUNCTIONS):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _run_on_import(ast.Module(child.orelse, []))
            continue
        yield child
        yield from _run_on_import(child)


def _targets(node: ast.AST, module: Module) -> Iterator[tuple[str, ...]]:
    """Yield for each name that a node imports the modules that it may mean, most likely first."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            parts = alias.name.split(".")
            yield tuple(".".join(parts[:length]) for length in range(len(parts), 0, -1))
    elif isinstance(node, ast.ImportFrom):
        origin = node.module or ""
        if node.level:
            origin = resolve_name("." * node.level + origin, module.package)
        yield from ((f"{origin}.{alias.name}", origin) for alias in node.names)


def _first_known(candidates: Iterable[str], known: Iterable[str]) -> list[str]:
    return [name for name in candidates if name in known][:1]


def room_graph(graph: Graph, rooms: Mapping[str, str]) -> Graph:
    """Return for each room which others its modules import."""
    found: dict[str, set[str]] = {room: set() for room in rooms.values()}
    for name, imported in graph.items():
        found[rooms[name]] |= {rooms[other] for other in imported} - {rooms[name]}
    return {room: frozenset(others) for room, others in found.items()}


def arrows(graph: Graph) -> int:
    """Return how many arrows a graph has."""
    return sum(map(len, graph.values()))


def circles(graph: Graph) -> dict[str, frozenset[str]]:
    """Return for each module those that it is in a circle with, itself included."""
    reached = {name: _reachable(graph, name) for name in graph}
    return {
        name: frozenset({name, *(other for other in reached[name] if name in reached[other])})
        for name in graph
    }


def _reachable(graph: Graph, start: str) -> set[str]:
    found: set[str] = set()
    ahead = [start]
    while ahead:
        new = graph[ahead.pop()] - found
        found |= new
        ahead += new
    return found


def longest_chain(graph: Graph) -> list[str]:
    """Return the longest chain of imports; a circle is one link, its modules joined by `=`."""
    together = circles(graph)

    @cache
    def chain_from(circle: frozenset[str]) -> tuple[str, ...]:
        ahead = {together[other] for name in circle for other in graph[name]} - {circle}
        return (" = ".join(sorted(circle)), *_longest(map(chain_from, ahead)))

    return list(_longest(map(chain_from, set(together.values()))))


def _longest(chains: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the longest chain, of several the last by name; none where there are none."""
    return max(chains, key=lambda chain: (len(chain), chain), default=())


# Classes and places.


def classes_of(modules: Iterable[Module]) -> list[ast.ClassDef]:
    """Return every class statement, in the order of the files."""
    nodes = (node for module in modules for node in ast.walk(module.tree))
    return [node for node in nodes if isinstance(node, ast.ClassDef)]


def kin_of_state(classes: Iterable[ast.ClassDef]) -> frozenset[str]:
    """Return the names of the classes of state and of all that are derived from one."""
    kin = set(STATE)
    bases = [
        (found.name, {ast.unparse(base).split(".")[-1] for base in found.bases})
        for found in classes
    ]
    while more := {name for name, above in bases if above & kin} - kin:
        kin |= more
    return frozenset(kin)


def names_of_state(classes: Iterable[ast.ClassDef]) -> frozenset[str]:
    """Return the attributes of the classes of state: slots, fields, and what is set on self."""
    found = [node for node in classes if node.name in STATE]
    return frozenset(name for node in found for name in (*_declared(node), *_set_on_self(node)))


def _declared(node: ast.ClassDef) -> Iterator[str]:
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id
        elif isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__slots__":
            slots = ast.literal_eval(statement.value)
            yield from [slots] if isinstance(slots, str) else slots


def _set_on_self(node: ast.ClassDef) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
            root, attributes = _chain(inner)
            if (root, len(attributes)) == ("self", 1):
                yield inner.attr


class Place(NamedTuple):
    """A place that changes state: its module, its line, and what is changed there."""

    module: Module
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.module.path}:{self.line}: {self.text}"


@dataclass
class Finder:
    """
    Finds the places that change conversation state; the docstring of the module says how.

    Attributes:
        names: attributes of state.
        kin: names of classes whose own attributes are state.
        places: what was found.
    """

    names: frozenset[str]
    kin: frozenset[str]
    places: list[Place] = field(default_factory=list)

    def look(self, module: Module, node: ast.AST, inside: str = "") -> None:
        """Look at a node and all below; `inside` names the class that it stands in."""
        if isinstance(node, ast.ClassDef):
            inside = node.name
        for target in _changed(node):
            if self._is_state(target, inside):
                self.places.append(Place(module, target.lineno, ast.unparse(node)))
        for child in ast.iter_child_nodes(node):
            self.look(module, child, inside)

    def _is_state(self, target: ast.expr, inside: str) -> bool:
        root, attributes = _chain(target)
        if root == "self" and inside not in self.kin:
            attributes = attributes[1:]
        return not self.names.isdisjoint(attributes)


def _changed(node: ast.AST) -> Iterator[ast.expr]:
    """Yield what a node changes, if it is a target or a call of a mutating method."""
    if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
        yield node
    elif isinstance(node, ast.Call):
        called = node.func
        if isinstance(called, ast.Attribute) and called.attr in MUTATING:
            yield called.value


def _chain(node: ast.expr) -> tuple[str, list[str]]:
    """Return the name that a chain of attributes, items and calls begins at, and the attributes."""
    attributes: list[str] = []
    while True:
        if isinstance(node, ast.Attribute):
            attributes.insert(0, node.attr)
            node = node.value
        elif isinstance(node, ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        else:
            return (node.id if isinstance(node, ast.Name) else ""), attributes


def places_of(modules: Iterable[Module]) -> list[Place]:
    """Return every place that changes conversation state."""
    modules = list(modules)
    classes = classes_of(modules)
    finder = Finder(names_of_state(classes), kin_of_state(classes))
    for module in modules:
        finder.look(module, module.tree)
    return finder.places


# What a call passes. All this runs in a process of its own, in which ROOT is what is imported.


@dataclass
class Trace:
    """Notes which functions below some folders are entered, and how deep."""

    folders: tuple[str, ...]
    codes: set[CodeType] = field(default_factory=set)
    depth: int = 0

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Take notice of a call; called by the interpreter, see `sys.setprofile`."""
        if event == "call" and self._is_ours(frame.f_code):
            self.codes.add(frame.f_code)
            functions = (self._is_ours(code) and _is_function(code) for code in _stack(frame))
            self.depth = max(self.depth, sum(functions))

    def of(self, call: Callable[[], object]) -> dict[str, int]:
        """Make a call, and return what it passed, a figure for each of `KINDS`."""
        sys.setprofile(self)
        try:
            call()
        finally:
            sys.setprofile(None)
        files = {code.co_filename for code in self.codes}
        functions = sum(map(_is_function, self.codes))
        passed = (len(files), functions, len(self.codes), self.depth)
        return dict(zip(KINDS, passed, strict=True))

    def _is_ours(self, code: CodeType) -> bool:
        return code.co_filename.startswith(self.folders)


def _is_function(code: CodeType) -> bool:
    return code.co_name not in PARTS


def _stack(frame: FrameType | None) -> Iterator[CodeType]:
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back


def _turns(count: int) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[turn % 2], "content": f"{turn}" + "." * 100} for turn in range(count)]


def _cut() -> Callable[[], object]:
    """Return a call of `messages()` on a conversation that is over its budget."""
    manager = import_module("ctxwin").ContextManager(2000, strategies=["drop-oldest"], counter=len)
    manager.append({"role": "system", "content": "Be brief."})
    manager.extend(_turns(40))

    def call() -> None:
        window = manager.messages()
        if not 1 < len(window) < 40:
            raise RuntimeError(f"a window of {len(window)} of 41 messages is no cut")

    return call


def _append() -> Callable[[], object]:
    """Return a call of `append`."""
    manager = import_module("ctxwin").ContextManager(2000, counter=len)
    manager.extend(_turns(4))
    return lambda: manager.append({"role": "user", "content": "And now?"})


def _session_append() -> Callable[[], object]:
    """Return a call of `append` in a session that is open."""
    sessions = import_module("ctxwin.sessions").open_store("memory://")
    session = sessions.open("a session", 2000, counter=len)
    session.extend(_turns(4))
    return lambda: session.append({"role": "user", "content": "And now?"})


CALLS = {"cut": _cut, "append": _append, "session append": _session_append}


def probe(root: Path) -> dict[str, dict[str, int] | str]:
    """Return for each call what it passes, or why it cannot be made."""
    found: dict[str, dict[str, int] | str] = {}
    folders = (f"{root / 'ctxwin'}{os.sep}", f"{root / 'plugins' / 'ctxwin_plugins'}{os.sep}")
    for name, make in CALLS.items():
        try:
            if not (import_module("ctxwin").__file__ or "").startswith(folders):
                raise ImportError(f"the ctxwin that is imported is not that of {root}")
            make()()
            found[name] = Trace(folders).of(make())
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


def probe_apart(root: Path) -> dict[str, Any]:
    """Return what `probe` does, from a process that imports from that root."""
    path = os.pathsep.join((str(root), str(root / "plugins")))
    done = subprocess.run(
        [sys.executable, "-B", str(HERE), str(root), "--probe"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return dict.fromkeys(CALLS, (done.stderr.strip() or "no answer").splitlines()[-1])
    return found


# The table.


def import_figures(modules: list[Module], details: list[str], notes: list[str]) -> Iterator[Figure]:
    """Yield the figures of imports."""
    graph = import_graph(modules)
    chain = longest_chain(graph)
    cycles = sorted(
        {tuple(sorted(circle)) for circle in circles(graph).values() if len(circle) > 1}
    )
    notes += [f"cycle: {' = '.join(cycle)}" for cycle in cycles]
    details.append(f"longest import chain: {' -> '.join(chain)}")
    yield "modules", len(modules)
    yield "arrows between modules", arrows(graph)
    yield (
        "arrows between rooms",
        arrows(room_graph(graph, {each.name: each.room for each in modules})),
    )
    yield "longest import chain, in modules", len(chain)
    yield "import cycles", len(cycles)


def state_figures(modules: list[Module], details: list[str]) -> Iterator[Figure]:
    """Yield the figures of places that change state."""
    log = LOG if any(module.room in LOG for module in modules) else FLAT_LOG
    places = places_of(modules)
    outside = [place for place in places if place.module.room not in log]
    details += map(str, outside)
    yield "places that change conversation state", len(places)
    yield f"... outside {', '.join(log)}", len(outside)


def call_figures(root: Path, notes: list[str]) -> Iterator[Figure]:
    """Yield the figures of calls."""
    for name, passed in probe_apart(root).items():
        if isinstance(passed, str):
            notes.append(f"{name}: {passed}")
        for kind in KINDS:
            yield f"{name}: {kind}", "-" if isinstance(passed, str) else passed[kind]


def figures(root: Path, details: list[str], notes: list[str]) -> Iterator[Figure]:
    """Yield all figures of a checkout; fills in details, for those who ask, and what went wrong."""
    modules = read_modules(root, notes)
    yield "entries of ctxwin/", len(entries(root / "ctxwin"))
    yield from import_figures(modules, details, notes)
    core = [module for module in modules if module.room not in NOT_CORE]
    yield "classes in core and sessions", len(classes_of(core))
    yield from state_figures(modules, details)
    yield from call_figures(root, notes)


def main() -> None:
    """Print the table of a checkout."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().partition("\n")[0])
    parser.add_argument("root", nargs="?", type=Path, default=HERE.parents[2])
    parser.add_argument("--list", action="store_true", help="the places and the chain too")
    parser.add_argument("--probe", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    root = given.root.resolve()
    if given.probe:
        print(json.dumps(probe(root)))
        return
    if not (root / "ctxwin").is_dir():
        parser.error(f"{root} holds no ctxwin/")
    details: list[str] = []
    notes: list[str] = []
    for name, figure in figures(root, details, notes):
        print(f"{name:<42}{figure:>6}")
    for line in (*notes, *(details if given.list else ())):
        print(line)


if __name__ == "__main__":
    main()
