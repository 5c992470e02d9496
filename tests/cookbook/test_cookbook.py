"""The cookbook: every recipe runs, and prints what its `#>` lines say."""

import re
from pathlib import Path

import pytest

from cookbook.support.running import announced, printed, surround

RECIPES = sorted(
    path for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("test_")
)
NEEDS = {"chat_template": ("tokenizers", "jinja2")}  # what the extra `test` does not bring


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_run_and_print_what_they_say(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that begin with `#>` are the output."""
    for package in NEEDS.get(path.stem, ()):
        pytest.importorskip(package)
    surround(tmp_path, monkeypatch)
    code = path.read_text(encoding="utf-8")
    assert announced(code)
    assert printed(code, str(path)) == announced(code)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_say_what_they_are_for(path: Path) -> None:
    """The first line is the title, and in a sentence why."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    assert re.fullmatch(r'"""[A-Z][^:]+: .+\."""', first)
