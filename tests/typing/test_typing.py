"""Two type checkers on what users write: the README's lines pass, and mistakes are found."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MISUSE = Path(__file__).with_name("misuse.py")
PYRIGHT = {
    "pythonVersion": "3.11",
    "typeCheckingMode": "standard",
    "extraPaths": [str(ROOT), str(ROOT / "plugins")],
}


def check(checker: str, folder: Path) -> str:
    """Check the Python files of a folder; returns what is reported of them, or skips by name."""
    for module in (checker, "openai"):
        pytest.importorskip(module, reason=f"{module} comes with the extra `dev`")
    if checker == "mypy":
        options = ["--strict", "--config-file", str(ROOT / "pyproject.toml")]
        cache = ["--cache-dir", str(ROOT / ".mypy_cache" / "typing")]  # not for others' options
        command = [*options, *cache, *map(str, sorted(folder.glob("*.py")))]
    else:
        if run(checker, ["--version"], folder).returncode:
            pytest.skip("pyright is installed, but cannot fetch the rest of itself from npm")
        (folder / "pyrightconfig.json").write_text(json.dumps(PYRIGHT))
        command = ["--pythonpath", sys.executable, "--project", str(folder)]
    return run(checker, command, ROOT).stdout


def run(module: str, command: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    whole = [sys.executable, "-m", module, *command]
    return subprocess.run(whole, capture_output=True, text=True, check=False, cwd=folder)


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_users_code(checker: str, tmp_path: Path) -> None:
    """The README's examples pass; each misuse is found in its line."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for number, code in enumerate(FENCE.findall(readme)):
        (tmp_path / f"readme_{number}.py").write_text(code, encoding="utf-8")
    lines = MISUSE.read_text(encoding="utf-8").splitlines()
    mistakes = {number for number, line in enumerate(lines, 1) if "# type: ignore" in line}
    bare = "\n".join(line.partition("  # type: ignore")[0] for line in lines)
    (tmp_path / "misuse.py").write_text(bare, encoding="utf-8")
    reported = check(checker, tmp_path)
    places = re.findall(r"(\w+)\.py:(\d+)(?::\d+)?(?: -|:) error", reported)
    assert {name for name, _ in places} == {"misuse"}, reported
    assert {int(number) for _, number in places} == mistakes, reported
    assert len(mistakes) >= 10
