"""The documents: every example runs, every output is true, every hook and law is there."""

import contextlib
import inspect
import io
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import ctxwin
from ctxwin import hookspecs, laws, registry

ROOT = Path(__file__).parents[1]
DOCUMENTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "plugins/README.md")}
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[Any]:
    return [
        pytest.param(code, id=f"{name.replace('/', '-')}-{number}")
        for name, text in DOCUMENTS.items()
        for number, (found, code) in enumerate(FENCE.findall(text))
        if found == language
    ]


@pytest.mark.parametrize("code", blocks("python"))
def test_examples_run_and_print_what_they_say(code: str) -> None:
    """Lines that begin with `#>` are the output."""
    expected = [line.removeprefix("#> ") for line in code.splitlines() if line.startswith("#>")]
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, "README", "exec"), {"__name__": "readme"})  # noqa: S102 - our own examples
    assert output.getvalue().splitlines() == expected


def test_ten_lines_are_ten_lines() -> None:
    """The strategy that the README writes is as short as it says."""
    section = DOCUMENTS["README.md"].partition("## Write your own in ten lines")[2]
    code = FENCE.findall(section)[0][1]
    body = code[code.index("    @hookimpl") : code.index("\n\n\nctx")]
    assert len(body.splitlines()) <= 10


def test_definition_stands_in_line_three() -> None:
    """A reader knows after three lines what this is."""
    assert DOCUMENTS["README.md"].splitlines()[2].startswith("**ctxwin** keeps a chat history inside a token budget")


def test_two_commands_do_the_set_up() -> None:
    """Each on one line; the extras they name exist, and so does the conversation."""
    commands = [code.strip() for language, code in FENCE.findall(DOCUMENTS["README.md"]) if language == "sh"]
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
    for hook in registry.HOOKS:
        signature = inspect.signature(getattr(hookspecs, hook))
        returns = str(signature.return_annotation)
        returns = re.sub(r"\b(?:collections\.abc|ctxwin\.plan)\.", "", returns).replace("|", "\\|")
        line = f"`{hook}({', '.join(signature.parameters)}) -> {returns}`"
        assert line in DOCUMENTS["plugins/README.md"], line


def test_every_law_is_documented() -> None:
    """With its number, title, kind and statement."""
    for law in laws.LAWS:
        assert f"| {law.id} {law.title} | {law.kind} | {law.statement} |" in DOCUMENTS["plugins/README.md"]


def test_every_strategy_is_documented() -> None:
    """In the README's table."""
    for name in registry.BUILT_IN:
        assert f"| `{name}` |" in DOCUMENTS["README.md"]


def test_request_and_unit_are_documented() -> None:
    """Every field of what a strategy is shown."""
    for cls in (ctxwin.PruneRequest, ctxwin.Unit):
        for field in cls.__dataclass_fields__:
            assert f"`{field}" in DOCUMENTS["plugins/README.md"], field
