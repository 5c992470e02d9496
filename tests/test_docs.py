"""The documents: every example runs, every output is true, every hook and law is there."""

import inspect
import os
import re
import subprocess
import sys
import tomllib
import types
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import ctxwin
from cookbook.support.running import announced, printed, surround
from cookbook.test_cookbook import RECIPES
from ctxwin import testing
from ctxwin.hooks import specs
from ctxwin.hooks.installed import BUILT_IN
from ctxwin.laws import laws
from ctxwin.testing import StrategyContract, check_plugin

ROOT = Path(__file__).parents[1]
README, STRATEGIES, KIT = "README.md", "plugins/README.md", "ctxwin/testing/README.md"
DOCUMENTS = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in (README, STRATEGIES, KIT, "ctxwin/sessions/README.md", "tests/bench/README.md")
}
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]*)(?:#([^)]+))?\)")  # within the repository: no scheme
MOST_WANTED = 8


def blocks(language: str) -> list[Any]:
    return [
        pytest.param(code, id=f"{name.replace('/', '-')}-{number}")
        for name, text in DOCUMENTS.items()
        for number, (found, code) in enumerate(FENCE.findall(text))
        if found == language
    ]


def ten_lines() -> str:
    """The strategy that the README writes, as the module that a reader makes of it."""
    code = (ROOT / "tests/cookbook/own_strategy.py").read_text(encoding="utf-8")
    return code[: code.index("\n\n\nctx")] + "\n"


@pytest.fixture
def _package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's package."""
    module = types.ModuleType("ctxwin_drop_longest")
    exec(compile(ten_lines(), module.__name__, "exec"), module.__dict__)  # noqa: S102 - our own
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.usefixtures("_package")
@pytest.mark.parametrize("code", blocks("python"))
def test_examples_run_and_print_what_they_say(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that begin with `#>` are the output."""
    surround(tmp_path, monkeypatch)
    assert printed(code, "README") == announced(code)


def test_ten_lines_are_ten_lines() -> None:
    """The strategy that the README writes is as short as it says."""
    code = ten_lines()
    assert len(code[code.index("    @hookimpl") :].splitlines()) <= 10


def test_definition_stands_in_line_three() -> None:
    """A reader knows after three lines what this is."""
    line = DOCUMENTS[README].splitlines()[2]
    assert line.startswith("**ctxwin** keeps a chat history inside a token budget")


def test_the_readme_is_for_choosing_and_starting() -> None:
    """At most 250 lines; all else stands where it belongs."""
    assert len(DOCUMENTS[README].splitlines()) <= 250


def test_recipes_are_shown_or_linked() -> None:
    """The README shows eight files of the cookbook as they are, and links each other one."""
    recipes = {path: path.read_text(encoding="utf-8") for path in RECIPES}
    section = DOCUMENTS[README].partition("## Cookbook\n")[2].partition("\n## ")[0]
    shown = [code for language, code in FENCE.findall(section) if language == "python"]
    assert len(set(shown)) == len(shown) == MOST_WANTED
    assert set(shown) <= set(recipes.values())
    for path, code in recipes.items():
        title, _, why = code.partition("\n")[0].strip('"').partition(": ")
        line = f"\n- [{title}](tests/cookbook/{path.name}): {why}\n"
        assert (line in section) != (code in shown), line


def test_links_lead_somewhere() -> None:
    """Each link to a file, or to a heading of another document."""
    for name, text in DOCUMENTS.items():
        for target, heading in LINK.findall(FENCE.sub("", text)):
            path = (ROOT / name).parent.joinpath(target) if target else ROOT / name
            assert path.exists(), f"{name}: {target}"
            if heading:
                titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
                anchors = [re.sub(r"[^\w -]", "", title).lower() for title in titles]
                assert heading in [anchor.replace(" ", "-") for anchor in anchors], heading


def test_two_commands_do_the_set_up() -> None:
    """Each on one line; the extras they name exist, and so does the conversation."""
    commands = [
        code.strip() for language, code in FENCE.findall(DOCUMENTS[README]) if language == "sh"
    ]
    assert len(commands) == 2
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for command in commands:
        assert "\n" not in command
        (extra,) = re.findall(r"\[(\w+)\]", command)
        assert extra in project["optional-dependencies"]
    assert (ROOT / "tests/data/support_chat.jsonl").exists()
    assert "tests/data/support_chat.jsonl" in commands[0]


def test_every_benchmark_is_named() -> None:
    """With the command that runs it."""
    for path in (ROOT / "tests/bench").glob("*.py"):
        if "__main__" in (code := path.read_text(encoding="utf-8")) or "def test_" in code:
            assert f" tests/bench/{path.name}" in DOCUMENTS["tests/bench/README.md"], path.name


def test_every_hook_is_documented_with_its_signature() -> None:
    """The table of the plugins' README says exactly what the specs say."""
    for hook in specs.HOOKS:
        signature = inspect.signature(getattr(specs, hook))
        returns = str(signature.return_annotation)
        returns = re.sub(
            r"\b(?:collections\.abc|ctxwin\.values\.(?:plan|receipt|request))\.", "", returns
        ).replace("|", "\\|")
        line = f"`{hook}({', '.join(signature.parameters)}) -> {returns}`"
        assert line in DOCUMENTS[STRATEGIES], line


def test_the_plugin_of_the_documents_keeps_its_contract() -> None:
    """The one that the plugins' README writes, as it stands there."""
    code = next(code for _, code in FENCE.findall(DOCUMENTS[STRATEGIES]) if "TokenPrinter" in code)
    names: dict[str, Any] = {}
    exec(compile(code, STRATEGIES, "exec"), names)  # noqa: S102 - our own
    assert len(code[: code.index("\n\n\nctx")].splitlines()) <= 15
    check_plugin(names["TokenPrinter"])


def test_every_law_is_documented() -> None:
    """With its number, title, kind and statement."""
    for law in laws.LAWS:
        row = f"| {law.id} {law.title} | {law.kind} | {law.statement} |"
        assert row in DOCUMENTS[STRATEGIES], row


def test_every_strategy_is_documented() -> None:
    """In the table of the plugins' README."""
    for name in BUILT_IN:
        assert f"| `{name}` |" in DOCUMENTS[STRATEGIES]


def test_request_and_unit_are_documented() -> None:
    """Every field of what a strategy is shown."""
    for cls in (ctxwin.PruneRequest, ctxwin.Unit):
        for field in cls.__dataclass_fields__:
            assert f"`{field}" in DOCUMENTS[STRATEGIES], field


def test_the_kit_is_documented() -> None:
    """Every public name of it, and everything that a contract may be told."""
    text = DOCUMENTS[KIT]
    for name in testing.__all__:
        assert f"`{name}" in text or f"import {name}" in text or f", {name}" in text, name
    for name in (*StrategyContract.__annotations__, "cases"):
        assert re.search(rf"`(def )?{name}", text), name


def proof() -> str:
    """The test that the kit's README writes."""
    code: str = next(
        code for _, code in FENCE.findall(DOCUMENTS[KIT]) if "StrategyContract" in code
    )
    return code


def test_proof_is_four_lines() -> None:
    """As the documents say, imports apart."""
    code = proof()
    body = [line for line in code[code.index("class ") :].splitlines() if line.strip()]
    assert len(body) == 4


QUICK = """
from hypothesis import settings

settings.register_profile("quick", max_examples=30, derandomize=True)
settings.load_profile("quick")
"""


def test_a_package_made_from_the_documents(tmp_path: Path) -> None:
    """Installed with pip, found by its entry point, and proved; an off-by-one is found."""
    text = DOCUMENTS[STRATEGIES]
    package, site = tmp_path / "package", tmp_path / "site"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        next(code for language, code in FENCE.findall(text) if language == "toml")
    )
    (package / "ctxwin_drop_longest.py").write_text(ten_lines())
    (tmp_path / "test_proof.py").write_text(proof())
    (tmp_path / "conftest.py").write_text(QUICK)
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    pip = [sys.executable, "-m", "pip", "install", *offline]
    subprocess.run([*pip, "--target", str(site), str(package)], check=True, capture_output=True)
    run = partial(subprocess.run, capture_output=True, text=True, cwd=tmp_path, check=False)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    found = "import ctxwin; print(ctxwin.ContextManager(9, strategies=['drop-longest']))"
    output = run([sys.executable, "-c", found], env=environment).stdout
    assert "drop-longest -> drop-oldest" in output
    # no short summary (-rN): where the variable CI is set, pytest would print the whole failure
    # there once more
    options = ["-q", "-rN", "-p", "no:cacheprovider", "test_proof.py"]
    pytest_ = [sys.executable, "-m", "pytest", *options]
    proved = run(pytest_, env=environment)
    assert "17 passed" in proved.stdout, proved.stdout
    module = site / "ctxwin_drop_longest.py"
    module.write_text(
        module.read_text().replace("request.excess_tokens:", "request.excess_tokens - 1:")
    )
    refuted = run(pytest_, env=environment)
    assert "1 failed, 16 passed" in refuted.stdout, refuted.stdout
    assert "drop-longest breaks L1 budget" in refuted.stdout
    assert 1 <= refuted.stdout.count("{'role': ") <= 3
