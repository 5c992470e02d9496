"""The command line, end to end in one process."""

import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ctxwin.cli import commands, showing
from ctxwin.cli.reading import InputError

CHAT = Path(__file__).parents[1] / "data" / "support_chat.jsonl"
MESSAGES = [json.loads(line) for line in CHAT.read_text(encoding="utf-8").splitlines()]
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def run(*args: str, stdin: bytes = b"", code: int = 0) -> tuple[str, str]:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(commands.app, list(args), input=stdin)
    failure = result.exception
    if isinstance(failure, InputError):
        assert code == 1
        return result.stdout, str(failure)
    assert result.exit_code == code, (result.output, failure)
    return result.stdout, result.stderr


def test_an_unknown_model_is_warned_of_in_one_line(file: Any) -> None:
    """A line on standard error says so, and the figures are marked as an estimate."""
    path = file(lines({"role": "user", "content": "hi"}))
    command = [sys.executable, "-m", "ctxwin", "count", path, "--model", "nobody-knows-it"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["exact"] is False
    assert done.stderr.startswith("warning: no tokenizer is known for 'nobody-knows-it'")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def make(content: bytes | str, name: str = "chat.jsonl") -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return make


def lines(*values: object) -> str:
    return "\n".join(json.dumps(value) for value in values)


def test_fit_the_sample() -> None:
    """The main command, on the conversation that comes with the project."""
    out, err = run("fit", str(CHAT), "--budget", "2000", "--explain")
    fitted = json.loads(out)
    assert fitted[0] == MESSAGES[0]
    assert fitted[-1] == MESSAGES[-1]
    assert all(message in MESSAGES for message in fitted)
    assert "drop-oldest: oldest first" in err
    assert "pinned" in err


@pytest.mark.parametrize("form", ["array", "lines", "gzip", "stdin", "conversation", "pretty"])
def test_every_form_of_input(form: str, file: Any) -> None:
    """Arrays, lines, gzip, standard input, and one conversation as an object."""
    data = {
        "array": json.dumps(MESSAGES),
        "conversation": json.dumps({"id": 7, "messages": MESSAGES}),
        "pretty": "\ufeff" + json.dumps(MESSAGES, indent=2),
    }.get(form, lines(*MESSAGES)).encode()
    if form == "stdin":
        out, _ = run("fit", "-", "--budget", "2000", stdin=data)
    else:
        out, _ = run(
            "fit", file(gzip.compress(data) if form == "gzip" else data), "--budget", "2000"
        )
    fitted = json.loads(out)
    if form == "conversation":
        assert fitted["id"] == 7
        fitted = fitted["messages"]
    assert fitted[-1] == MESSAGES[-1]


def test_many_conversations_one_line_each(file: Any) -> None:
    """Other keys are kept. What cannot fit is named, the rest is still written, and exit is 1."""
    short = {"id": "short", "meta": [1], "messages": [{"role": "user", "content": "您好 👋"}]}
    long = {"id": "long", "messages": [{"role": "user", "content": "word " * 500}]}
    broken = {"messages": [{"role": "villain"}]}
    junk_tools = {"messages": [], "tools": ["x"]}
    out, err = run("fit", file(lines(short, long, broken, junk_tools)), "--budget", "100", code=1)
    assert [json.loads(line) for line in out.splitlines()] == [short]
    assert "您好" in out
    assert "conversation 2 (long) cannot fit: what must be kept costs 50" in err
    assert "conversation 3: role must be one of" in err
    assert "conversation 4: tools" in err
    assert "1 of 4 conversations fit 100 tokens" in err


def test_chain_and_rejections_are_explained(file: Any) -> None:
    """Strategies run in the order given; the table has calls, lists and left-out messages."""
    chat = [
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {
            "role": "user",
            "content": [{"type": "text", "text": "[red]no markup[/red] \ud800" + "x " * 90}],
        },
        {"role": "user", "content": "and?"},
    ]
    out, err = run(
        "fit", file(lines(*chat)), "--budget", "60", "--strategy", "clamp-oversized", "--explain"
    )
    assert json.loads(out)[-1] == chat[-1]
    assert "calls f" in err
    assert "leave-out" in err
    assert "[red]" in err
    out, _ = run("fit", file(lines(chat[1])), "--budget", "600")
    assert json.loads(out) == [chat[1]]


def test_rejected_plans_are_shown(file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A strategy that fails is named below the table."""
    from ctxwin.hooks import installed
    from ctxwin.testing import HostileStrategy
    from ctxwin.testing.trials import hostile

    monkeypatch.setitem(installed.BUILT_IN, "evil", "ctxwin.testing.trials.hostile:EVIL")
    monkeypatch.setattr(hostile, "EVIL", lambda: HostileStrategy("junk"), raising=False)
    chat = lines(*({"role": "user", "content": "word " * 20} for _ in range(3)))
    _, err = run("fit", file(chat), "--budget", "60", "--strategy", "evil", "--explain")
    assert "evil: not applied (L8)" in err


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('{"role": "user", "content": "x"}\nnot json', "line 2: not JSON"),
        ("", "holds no messages"),
        ("[]", "holds no messages"),
        ("7", "item 1 is int"),
        ('["x"]', "item 1 is str"),
        ('{"messages": 7}', "messages must be a list"),
        (
            '{"role": "user", "content": "x"}\n{"messages": []}',
            "item 2 is a conversation, but others are messages",
        ),
        (b"\xff\xfe", "not UTF-8"),
        (b"\x1f\x8bbroken", "cannot read"),
    ],
)
def test_bad_input_is_one_clear_line(content: Any, text: str, file: Any) -> None:
    """The line says where the input is wrong, and how."""
    for command in (["fit", "--budget", "100"], ["count"]):
        _, err = run(command[0], file(content), *command[1:], code=1)
        assert text in err
        assert "\n" not in err.strip()


def test_missing_file_and_unknown_strategy(file: Any) -> None:
    """Both are named, and exit is 1; a wrong option gives exit 2."""
    assert "cannot read nowhere.jsonl" in run("fit", "nowhere.jsonl", "--budget", "9", code=1)[1]
    _, err = run("fit", file(lines(MESSAGES[0])), "--budget", "9", "--strategy", "nobody", code=1)
    assert "drop-oldest" in err
    run("fit", str(CHAT), "--budget", "0", code=2)
    run("fit", str(CHAT), code=2)


def test_count(file: Any) -> None:
    """One object per conversation; an estimate is marked as one."""
    exact = json.loads(run("count", str(CHAT), "--model", "gpt-4o")[0])
    assert exact["exact"] is True
    assert exact["messages"] == len(MESSAGES)
    assert 5000 < exact["tokens"] < 10_000
    assert json.loads(run("count", str(CHAT))[0])["exact"] is False
    _, err = run("count", file(lines({"messages": [{"role": "x"}]}, {"messages": []})), code=1)
    assert "conversation 1" in err


def test_strategies_and_help() -> None:
    """One lists what is installed, the other shows how to call it."""
    out, _ = run("strategies")
    for name in ("clamp-oversized", "clear-tool-results", "drop-oldest", "keep-pinned"):
        assert name in out
    out, _ = run("fit", "--help")
    assert "Example" in out
    assert "--explain" in out


def test_progress_bar_on_long_input(file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal only, and on standard error."""
    from rich.console import Console

    screen = io.StringIO()
    monkeypatch.setattr(showing, "err", Console(file=screen, force_terminal=True))
    chat = {"messages": [{"role": "user", "content": "hi"}]}
    out, _ = run("fit", file(lines(*[chat] * 30)), "--budget", "50")
    assert len(out.splitlines()) == 30
    assert "conversations" in screen.getvalue()


def test_main_and_module(
    file: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`ctxwin` and `python -m ctxwin` do the same; bad input is one line and exit 1."""
    monkeypatch.setattr(sys, "argv", ["ctxwin", "count", "nowhere.jsonl"])
    with pytest.raises(SystemExit) as caught:
        commands.main()
    assert caught.value.code == 1
    command = [sys.executable, "-m", "ctxwin", "fit", "nowhere.jsonl", "--budget", "5"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"}
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot read nowhere.jsonl")
    assert "Traceback" not in done.stderr
