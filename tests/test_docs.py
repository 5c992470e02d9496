"""The documents: every example runs, every output is true, every hook and law is there."""

import contextlib
import inspect
import io
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
from ctxwin import testing
from ctxwin.hooks import specs
from ctxwin.hooks.installed import BUILT_IN
from ctxwin.laws import laws
from ctxwin.testing import StrategyContract

ROOT = Path(__file__).parents[1]
DOCUMENTS = {
    name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "plugins/README.md")
}
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[Any]:
    return [
        pytest.param(code, id=f"{name.replace('/', '-')}-{number}")
        for name, text in DOCUMENTS.items()
        for number, (found, code) in enumerate(FENCE.findall(text))
        if found == language
    ]


def ten_lines() -> str:
    """The strategy that the README writes, as the module that a reader makes of it."""
    section = DOCUMENTS["README.md"].partition("## Write your own in ten lines")[2]
    code: str = FENCE.findall(section)[0][1]
    return code[: code.index("\n\n\nctx")] + "\n"


@pytest.fixture
def _package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's package."""
    module = types.ModuleType("ctxwin_drop_longest")
    exec(compile(ten_lines(), "ctxwin_drop_longest", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.usefixtures("_package")
@pytest.mark.parametrize("code", blocks("python"))
def test_examples_run_and_print_what_they_say(code: str) -> None:
    """Lines that begin with `#>` are the output."""
    expected = [line[3:] for line in code.splitlines() if line.startswith("#>")]
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, "README", "exec"), {"__name__": "readme"})
    assert output.getvalue().splitlines() == expected


def test_ten_lines_are_ten_lines() -> None:
    """The strategy that the README writes is as short as it says."""
    code = ten_lines()
    assert len(code[code.index("    @hookimpl") :].splitlines()) <= 10


def test_definition_stands_in_line_three() -> None:
    """A reader knows after three lines what this is."""
    assert (
        DOCUMENTS["README.md"]
        .splitlines()[2]
        .startswith("**ctxwin** keeps a chat history inside a token budget")
    )


def test_two_commands_do_the_set_up() -> None:
    """Each on one line; the extras they name exist, and so does the conversation."""
    commands = [
        code.strip() for language, code in FENCE.findall(DOCUMENTS["README.md"]) if language == "sh"
    ]
    assert len(commands) == 2
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for command in commands:
        assert "\n" not in command
        (extra,) = re.findall(r"\[(\w+)\]", command)
        assert extra in project["optional-dependencies"]
    assert (ROOT / "tests/data/support_chat.jsonl").exists()
    assert "tests/data/support_chat.jsonl" in commands[0]


def test_every_hook_is_documented_with_its_signature() -> None:
    """The table of the plugins' README says exactly what the specs say."""
    for hook in specs.HOOKS:
        signature = inspect.signature(getattr(specs, hook))
        returns = str(signature.return_annotation)
        returns = re.sub(
            r"\b(?:collections\.abc|ctxwin\.values\.(?:plan|receipt))\.", "", returns
        ).replace("|", "\\|")
        line = f"`{hook}({', '.join(signature.parameters)}) -> {returns}`"
        assert line in DOCUMENTS["plugins/README.md"], line


def test_every_law_is_documented() -> None:
    """With its number, title, kind and statement."""
    for law in laws.LAWS:
        assert (
            f"| {law.id} {law.title} | {law.kind} | {law.statement} |"
            in DOCUMENTS["plugins/README.md"]
        )


def test_every_strategy_is_documented() -> None:
    """In the README's table."""
    for name in BUILT_IN:
        assert f"| `{name}` |" in DOCUMENTS["README.md"]


def test_request_and_unit_are_documented() -> None:
    """Every field of what a strategy is shown."""
    for cls in (ctxwin.PruneRequest, ctxwin.Unit):
        for field in cls.__dataclass_fields__:
            assert f"`{field}" in DOCUMENTS["plugins/README.md"], field


def test_the_kit_is_documented() -> None:
    """Every public name of it, and everything that a contract may be told."""
    text = "".join(DOCUMENTS.values())
    for name in testing.__all__:
        assert f"`{name}" in text or f"import {name}" in text or f", {name}" in text, name
    for name in (*StrategyContract.__annotations__, "cases"):
        assert re.search(rf"`(def )?{name}", text), name


def test_proof_is_four_lines() -> None:
    """As the README says, imports apart."""
    for text in DOCUMENTS.values():
        code = next(code for language, code in FENCE.findall(text) if "StrategyContract" in code)
        body = [line for line in code[code.index("class ") :].splitlines() if line.strip()]
        assert len(body) == 4


QUICK = """
from hypothesis import settings

settings.register_profile("quick", max_examples=30, derandomize=True)
settings.load_profile("quick")
"""


def test_a_package_made_from_the_readme(tmp_path: Path) -> None:
    """Installed with pip, found by its entry point, proved in four lines; with an off-by-one it fails."""
    text = DOCUMENTS["plugins/README.md"]
    package, site = tmp_path / "package", tmp_path / "site"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        next(code for language, code in FENCE.findall(text) if language == "toml")
    )
    (package / "ctxwin_drop_longest.py").write_text(ten_lines())
    proof = next(code for language, code in FENCE.findall(text) if "StrategyContract" in code)
    (tmp_path / "test_proof.py").write_text(proof)
    (tmp_path / "conftest.py").write_text(QUICK)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*pip, "--target", str(site), str(package)], check=True, capture_output=True)
    run = partial(subprocess.run, capture_output=True, text=True, cwd=tmp_path, check=False)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    found = "import ctxwin; print(ctxwin.ContextManager(9, strategies=['drop-longest']))"
    assert (
        "drop-longest -> drop-oldest" in run([sys.executable, "-c", found], env=environment).stdout
    )
    # no short summary (-rN): where the variable CI is set, pytest would print the whole failure
    # there once more
    pytest_ = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rN",
        "-p",
        "no:cacheprovider",
        "test_proof.py",
    ]
    proved = run(pytest_, env=environment)
    assert "16 passed" in proved.stdout, proved.stdout
    module = site / "ctxwin_drop_longest.py"
    module.write_text(
        module.read_text().replace("request.excess_tokens:", "request.excess_tokens - 1:")
    )
    refuted = run(pytest_, env=environment)
    assert "1 failed, 15 passed" in refuted.stdout, refuted.stdout
    assert "drop-longest breaks L1 budget" in refuted.stdout
    assert 1 <= refuted.stdout.count("ctx.append(") <= 3
