"""What is public: names, imports, layout, sizes, the wheel."""

import ast
import inspect
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

import ctxwin
from ctxwin import laws, sessions, summarizers, testing
from ctxwin.sessions.opening import BUILT_IN, GROUP

ROOT = Path(__file__).parents[1]
PLUGINS = sorted((ROOT / "plugins" / "ctxwin_plugins").rglob("*.py"))


def test_exported_names_are_sorted_and_exist() -> None:
    """`__all__` lists every public class and function, sorted."""
    assert ctxwin.__all__ == sorted(ctxwin.__all__)
    public = {
        name
        for name, value in vars(ctxwin).items()
        if not name.startswith("_") and not isinstance(value, type(sys))
    }
    assert public == set(ctxwin.__all__)


def test_import_is_light() -> None:
    """Neither tokenizer nor command line is loaded before it is needed."""
    heavy = ("tiktoken", "typer", "rich", "regex", "asyncio")
    code = f"import sys, ctxwin; print(*[m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_plugins_use_public_names_only(path: Path) -> None:
    """A first-party strategy uses nothing that a third party cannot use."""
    allowed = {"ctxwin": set(ctxwin.__all__), "ctxwin.laws": set(laws.__all__)}
    allowed["ctxwin.summarizers"] = set(summarizers.__all__)
    commands = ast.parse((ROOT / "ctxwin/cli/__init__.py").read_text(encoding="utf-8")).body[-1]
    assert isinstance(commands, ast.Assign)  # `__all__`; importing it takes an extra
    allowed["ctxwin.cli"] = set(ast.literal_eval(commands.value))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ctxwin":
            assert node.module in allowed
            assert {alias.name for alias in node.names} <= allowed[node.module]
        elif isinstance(node, ast.Import):
            assert not any(alias.name.startswith("ctxwin") for alias in node.names)


# The staircase: a room imports only from rooms to its left, and from itself.
STAIRCASE = [
    {"values"},
    {"laws", "counting", "dialects"},
    {"log", "summarizers"},
    {"hooks"},
    {"pruning", "recall"},
    {"calls"},
    {"manager"},
    {"sessions", "integrations", "show"},
    {"__init__"},
    {"cli", "testing"},
    {"__main__"},
]
# Within these rooms, too, imports run one way: a folder or module imports only from those to its
# left.
INNER = {
    "counting": ["protocol", "memo", "text", "openai", "estimates", "template", "models", "costs"],
    "log": ["changes", "history", "window", "state", "conversation", "keeper", "precount"],
    "sessions": ["stores", "records", "journal", "session", "opening"],
    "testing": ["judge", "data", "strategies", "trials", "stores"],
}
MODULES = sorted((ROOT / "ctxwin").rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield our modules that a module imports, with the names it takes; not those for types."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(node) for block in tree.body if isinstance(block, ast.If) for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or id(node) in typing_only:
            continue
        if (node.module or "").partition(".")[0] == "ctxwin":
            yield node.module or "", tuple(alias.name for alias in node.names)


def step_of(room: str) -> int:
    """Return on which step of the staircase a room stands."""
    return next(step for step, rooms in enumerate(STAIRCASE) if room in rooms)


def test_ls_shows_the_architecture() -> None:
    """At most sixteen entries, each a room of the staircase."""
    entries = {path.stem for path in (ROOT / "ctxwin").iterdir() if path.name != "__pycache__"}
    assert entries - {"py", "__main__"} <= set().union(*STAIRCASE)
    assert len(entries - {"py", "__main__"}) <= 16


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "ctxwin")))
def test_imports_run_down_the_staircase(path: Path) -> None:
    """No room knows one above it, or beside it on the same step (but what draws for Hypothesis)."""
    parts = path.relative_to(ROOT / "ctxwin").with_suffix("").parts
    if parts == ("values", "drawing"):  # Hypothesis calls it, and it hands over to the kit
        return
    for module, _ in imported(path):
        room = (module.split(".")[1:] or ["__init__"])[0]
        assert room == parts[0] or step_of(room) < step_of(parts[0])
        order = INNER.get(parts[0])
        if order and room == parts[0] and parts[1] in order and module.count(".") > 1:
            inner = module.split(".")[2]
            assert (
                inner == parts[1]
                or inner not in order
                or order.index(inner) < order.index(parts[1])
            )


def test_the_judge_shares_no_code_with_what_it_judges() -> None:
    """It knows values and counters, and of the laws only how a broken one is told."""
    for path in (ROOT / "ctxwin" / "testing" / "judge").glob("*.py"):
        for module, _ in imported(path):
            room = module.split(".")[1]
            assert room in ("values", "counting", "testing")


def test_no_store_knows_of_messages_or_of_another_store() -> None:
    """A store keeps bytes."""
    allowed = {"protocol", "schema", "engine"}
    for path in (ROOT / "ctxwin" / "sessions" / "stores").glob("*.py"):
        for module, _ in imported(path):
            inside = (
                module.startswith("ctxwin.sessions.stores.") and module.split(".")[3] in allowed
            )
            assert inside or module == "ctxwin.values.errors"


def test_nothing_runs_in_a_session_that_does_not_import_the_kit() -> None:
    """No plugin for pytest; neither ctxwin nor Hypothesis brings the kit along."""
    assert not [
        entry for entry in metadata.distribution("ctxwin").entry_points if entry.group == "pytest11"
    ]
    code = (
        "import sys, ctxwin; print('hypothesis' in sys.modules); import hypothesis.strategies; "
        "print('ctxwin.testing' in sys.modules, 'pytest' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "False"]


def test_exported_names_of_the_summarisers_are_sorted_and_exist() -> None:
    """`__all__` lists every public class; none of them brings a client or a model along."""
    assert summarizers.__all__ == sorted(summarizers.__all__)
    modules = {name for name, value in vars(summarizers).items() if inspect.ismodule(value)}
    public = {name for name in vars(summarizers) if not name.startswith("_")}
    assert public - modules == set(summarizers.__all__)
    heavy = ("openai", "torch", "transformers")
    code = f"import sys, ctxwin.summarizers; print(*[m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_exported_names_of_sessions_are_sorted_and_exist() -> None:
    """`ctxwin.sessions.__all__` lists every public name; none of them brings an engine along."""
    assert sessions.__all__ == sorted(sessions.__all__, key=lambda name: (not name.isupper(), name))
    public = {
        name
        for name, value in vars(sessions).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(sessions.__all__)
    code = (
        "import sys, ctxwin; print('ctxwin.sessions' in sys.modules); import ctxwin.sessions; "
        "engines = ('sqlalchemy', 'redis', 'cryptography', 'psycopg'); "
        "print(*[m for m in engines if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_stores_are_entry_points() -> None:
    """The stores of the package are found as anyone's are, and without metadata too."""
    declared = {
        entry.name: entry.value
        for entry in metadata.distribution("ctxwin").entry_points.select(group=GROUP)
    }
    assert declared == BUILT_IN


def test_exported_names_of_the_kit_are_sorted_and_exist() -> None:
    """`ctxwin.testing.__all__` lists every public class and function."""
    assert testing.__all__ == sorted(testing.__all__)
    public = {
        name
        for name, value in vars(testing).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(testing.__all__)


def test_wheel_holds_the_two_packages(tmp_path: Path) -> None:
    """Exactly `ctxwin` and `ctxwin_plugins`, typed, with the vocabularies, under 3 MB."""
    pytest.importorskip("build", reason="the wheel is built where the extra `dev` is installed")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 3_000_000
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "ctxwin",
        "ctxwin_plugins",
        "ctxwin-0.1.0.dist-info",
    }
    for name in (
        "ctxwin/py.typed",
        "ctxwin_plugins/py.typed",
        "ctxwin/counting/text/data/LICENSE.tiktoken",
    ):
        assert name in names
    assert sum(name.endswith(".vocab") for name in names) == 2
