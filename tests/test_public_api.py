"""What is public: names, imports, layout, sizes, the wheel."""

import ast
import inspect
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import ctxwin
import ctxwin.graphemes
from ctxwin import sessions, summarizers, testing
from ctxwin.sessions.opening import BUILT_IN, GROUP

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "ctxwin").glob("*.py"))
COUNTING = sorted((ROOT / "ctxwin" / "counting").glob("*.py"))
KIT = sorted((ROOT / "ctxwin" / "testing").glob("*.py"))
SUMMARIZERS = sorted((ROOT / "ctxwin" / "summarizers").glob("*.py"))
SESSIONS = sorted((ROOT / "ctxwin" / "sessions").glob("*.py"))
PLUGINS = sorted((ROOT / "plugins" / "ctxwin_plugins").glob("*.py"))


def test_exported_names_are_sorted_and_exist() -> None:
    """`__all__` lists every public class and function, sorted."""
    assert ctxwin.__all__ == sorted(ctxwin.__all__)
    public = {
        name for name, value in vars(ctxwin).items() if not name.startswith("_") and not isinstance(value, type(sys))
    }
    assert public == set(ctxwin.__all__)


def test_import_is_light() -> None:
    """Neither tokenizer nor command line is loaded before it is needed."""
    code = (
        "import sys, ctxwin; print(*[m for m in ('tiktoken', 'typer', 'rich', 'regex', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.stem)
def test_plugins_use_public_names_only(path: Path) -> None:
    """A first-party strategy uses nothing that a third party cannot use."""
    allowed = {"ctxwin": set(ctxwin.__all__), "ctxwin.graphemes": {"ceil_boundary", "floor_boundary"}}
    allowed["ctxwin.edits"] = {"is_json_document"}
    allowed["ctxwin.summarizers"] = set(summarizers.__all__)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ctxwin"):
            assert node.module in allowed
            assert {alias.name for alias in node.names} <= allowed[node.module]
        elif isinstance(node, ast.Import):
            assert not any(alias.name.startswith("ctxwin") for alias in node.names)


# Who may import whom: a module imports only from rooms to its left.
LAYERS = [
    "errors",
    "messages",
    "counting",
    "graphemes",
    "edits",
    "breaker",
    "budget",
    "costs",
    "plan",
    "resolve",
    "laws",
    "history",
    "hookspecs",
    "window",
    "draft",
    "registry",
    "conversation",
    "ahead",
    "guard",
    "effects",
    "pruning",
    "tickets",
    "state",
    "meters",
    "manager",
    "sessions",
    "__init__",
    "cli",
    "__main__",
    "testing",
    "_hypothesis",
]
# The same within the kit.
KIT_LAYERS = [
    "grouping",
    "windows",
    "fakes",
    "cases",
    "elsewhere",
    "drawing",
    "strategies",
    "failures",
    "clocks",
    "spy",
    "subjects",
    "trials",
    "reports",
    "checks_window",
    "checks_manager",
    "search",
    "contract",
    "store_checks",
    "store_handles",
    "stores",
    "hostile",
    "machine",
    "__init__",
]


# The same within sessions.
SESSIONS_LAYERS = [
    "protocol",
    "records",
    "gate",
    "reading",
    "replica",
    "journal",
    "session",
    "memory",
    "schema",
    "engine",
    "sql",
    "redis",
    "encrypted",
    "opening",
    "__init__",
]


# The same within counting, which knows of the rest no more than errors and messages.
COUNTING_LAYERS = [
    "protocol",
    "usage",
    "vocabulary",
    "encodings",
    "memo",
    "cuts",
    "text",
    "media",
    "rules",
    "bodies",
    "tools",
    "chat",
    "openai",
    "families",
    "estimates",
    "rendering",
    "preparing",
    "neutral",
    "probing",
    "additivity",
    "templates",
    "models",
    "__init__",
]


@pytest.mark.parametrize("path", COUNTING, ids=lambda path: path.stem)
def test_imports_of_counting_run_one_way(path: Path) -> None:
    """From vocabulary and usage up to the names of models."""
    layer = COUNTING_LAYERS.index(path.stem)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        module = node.module or ""
        if module.startswith("ctxwin.counting"):
            names = [module.split(".")[2]] if module != "ctxwin.counting" else [alias.name for alias in node.names]
            assert all(COUNTING_LAYERS.index(name) < layer for name in names)
        elif module.startswith("ctxwin"):
            assert module in ("ctxwin.errors", "ctxwin.messages")


@pytest.mark.parametrize("path", SESSIONS, ids=lambda path: path.stem)
def test_imports_of_sessions_run_one_way(path: Path) -> None:
    """From the contract of a store up to `open_store`; no store knows of messages, or of another store."""
    layer = SESSIONS_LAYERS.index(path.stem)
    stores = {"memory", "sql", "redis", "encrypted"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
        names = [module.split(".")[2]] if module.startswith("ctxwin.sessions.") else []
        if module == "ctxwin.sessions" and isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
        assert all(SESSIONS_LAYERS.index(name) < layer for name in names)
        if path.stem in stores:
            assert set(names) <= {"protocol", "schema", "engine"}
            assert not module.startswith("ctxwin.") or module == "ctxwin.errors" or names or module == "ctxwin.sessions"


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_imports_run_one_way(path: Path) -> None:
    """From errors and messages up to the command line."""
    layer = LAYERS.index(path.stem)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {id(node) for block in tree.body if isinstance(block, ast.If) for node in ast.walk(block)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("ctxwin.")
            and id(node) not in typing_only
        ):
            assert LAYERS.index((node.module or "").split(".")[1]) < layer


@pytest.mark.parametrize("path", KIT, ids=lambda path: path.stem)
def test_imports_of_the_kit_run_one_way(path: Path) -> None:
    """From the judge up to the contract; and the judge shares no code with what it judges."""
    layer = KIT_LAYERS.index(path.stem)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
        names = [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else []
        inside = [module.split(".")[2]] if module.startswith("ctxwin.testing.") else []
        inside += names if module == "ctxwin.testing" else []
        assert all(KIT_LAYERS.index(name) < layer for name in inside)
        if path.stem in ("grouping", "windows"):
            assert module not in ("ctxwin.history", "ctxwin.window", "ctxwin.draft")
            assert module != "ctxwin.laws" or names == ["Violation"]


def test_nothing_runs_in_a_session_that_does_not_import_the_kit() -> None:
    """No plugin for pytest; ctxwin brings neither Hypothesis nor the kit, Hypothesis does not bring the kit."""
    assert not [entry for entry in metadata.distribution("ctxwin").entry_points if entry.group == "pytest11"]
    code = (
        "import sys, ctxwin; print('hypothesis' in sys.modules); import hypothesis.strategies; "
        "print('ctxwin.testing' in sys.modules, 'pytest' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "False"]


def test_exported_names_of_the_summarisers_are_sorted_and_exist() -> None:
    """`ctxwin.summarizers.__all__` lists every public class; none of them brings a client or a model along."""
    assert summarizers.__all__ == sorted(summarizers.__all__)
    modules = {name for name, value in vars(summarizers).items() if inspect.ismodule(value)}
    public = {name for name in vars(summarizers) if not name.startswith("_")}
    assert public - modules == set(summarizers.__all__)
    code = (
        "import sys, ctxwin.summarizers; print(*[m for m in ('openai', 'torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_exported_names_of_sessions_are_sorted_and_exist() -> None:
    """`ctxwin.sessions.__all__` lists every public name; none of them brings an engine along."""
    assert sessions.__all__ == sorted(sessions.__all__, key=lambda name: (not name.isupper(), name))
    public = {
        name for name, value in vars(sessions).items() if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(sessions.__all__)
    code = (
        "import sys, ctxwin; print('ctxwin.sessions' in sys.modules); import ctxwin.sessions; "
        "print(*[m for m in ('sqlalchemy', 'redis', 'cryptography', 'psycopg') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_stores_are_entry_points() -> None:
    """The stores of the package are found as anyone's are, and without metadata too."""
    declared = {entry.name: entry.value for entry in metadata.distribution("ctxwin").entry_points.select(group=GROUP)}
    assert declared == BUILT_IN


def test_exported_names_of_the_kit_are_sorted_and_exist() -> None:
    """`ctxwin.testing.__all__` lists every public class and function."""
    assert testing.__all__ == sorted(testing.__all__)
    public = {name for name, value in vars(testing).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert public == set(testing.__all__)


@pytest.mark.parametrize(
    "path",
    [*CORE, *COUNTING, *KIT, *SESSIONS, *SUMMARIZERS, *PLUGINS],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_no_module_is_long(path: Path) -> None:
    """Under 300 lines each."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def test_wheel_holds_the_two_packages(tmp_path: Path) -> None:
    """Exactly `ctxwin` and `ctxwin_plugins`, typed, with the vocabularies and their licence, under 3 MB."""
    pytest.importorskip("build", reason="the wheel is built where the extra `dev` is installed")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 3_000_000
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"ctxwin", "ctxwin_plugins", "ctxwin-0.1.0.dist-info"}
    for name in ("ctxwin/py.typed", "ctxwin_plugins/py.typed", "ctxwin/counting/data/LICENSE.tiktoken"):
        assert name in names
    assert sum(name.endswith(".vocab") for name in names) == 2
