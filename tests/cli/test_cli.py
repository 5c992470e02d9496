"""The command line, end to end in one process."""

import gzip
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from decimal import Decimal
from importlib.metadata import EntryPoint, version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from ctxwin import hookimpl
from ctxwin.cli import commands, showing
from ctxwin.hooks import installed

CHAT = Path(__file__).parents[1] / "data" / "support_chat.jsonl"
MESSAGES = [json.loads(line) for line in CHAT.read_text(encoding="utf-8").splitlines()]
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def lines(*values: object) -> str:
    return "\n".join(json.dumps(value) for value in values)


def run(*args: str, stdin: bytes = b"", code: int | None = 0) -> tuple[str, str]:
    """Run the command line, as a shell does, and return what it wrote; `code` None is any."""
    out, err, given = (io.TextIOWrapper(io.BytesIO(data), "utf-8") for data in (b"", b"", stdin))
    with (
        redirect_stdout(out),
        redirect_stderr(err),
        patch.object(sys, "stdin", given),
        patch.object(sys, "argv", ["ctxwin", *args]),
        pytest.raises(SystemExit) as ended,
    ):
        commands.main()
    written = []
    for stream in (out, err):
        stream.flush()
        written.append(stream.buffer.getvalue().decode())
    assert code in (ended.value.code or 0, None), written
    return written[0], written[1]


def test_an_unknown_model_is_warned_of_in_one_line(file: Any) -> None:
    """A line on standard error says so, and the figures are marked as an estimate."""
    path = file(lines({"role": "user", "content": "hi"}))
    command = [sys.executable, "-m", "ctxwin", "count", path, "--model", "nobody-knows-it"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["exact"] is False
    assert done.stderr.startswith("warning: no tokenizer is known for 'nobody-knows-it'")
    assert done.stderr.count("\n") == 1


class Broken(EntryPoint):
    """A strategy that cannot be loaded, of no distribution."""

    dist = None


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def make(content: bytes | str, name: str = "chat.jsonl") -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return make


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
    first, second, third, fourth = map(json.loads, out.splitlines())
    assert first == short
    assert "您好" in out
    assert second.keys() == {"id", "messages", "error"}
    assert (second["id"], second["messages"], second["error"]["type"]) == (
        "long",
        None,
        "BudgetError",
    )
    assert second["error"]["required_tokens"] > second["error"]["budget_tokens"] == 100
    assert third["error"]["type"] == "InputError"
    assert third["error"]["message"].startswith("message 1: role must be one of")
    assert fourth["tools"] == ["x"]
    assert "line 2 (long) cannot fit: what must be kept costs 50" in err
    assert "line 3: message 1: role must be one of" in err
    assert "line 4: tools" in err
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
        ('{"role": "user", "content": "x"}\nnot json', "line 2 is not JSON"),
        ("", "holds no messages"),
        ("[]", "holds no messages"),
        ("7", "item 1 is int"),
        ('["x"]', "item 1 is str"),
        ('{"messages": 7}', "messages must be a list"),
        (
            lines(
                {"role": "user", "content": "x"}, {"messages": []}, {"role": "user", "content": "x"}
            ),
            "line 2 is a conversation, and the others are messages",
        ),
        (
            lines(*[{"role": "user", "content": "x"}] * 3, 4, []),
            "line 4 is int, not an object (and 1 more)",
        ),
        ('[\n{"role": "user",\n"content": x}\n]', "not JSON: Expecting value: line 3"),
        ("[" * 100_000, "nested too deeply"),
        ('{"role": "user", "content": "x"}\n' + "[" * 100_000, "line 2 is nested too deeply"),
        (lines({"role": "user", "content": "x"}, {"role": "x"}), "line 2: role must be one of"),
        (json.dumps([{"role": "user", "content": "x"}, {"role": "x"}]), "item 2: role must be one"),
        (
            '{"messages": [{"role": "user", "content": [' + "[" * 400 + "]" * 400 + "]}]}",
            "message 1: ",
        ),
        ('{"messages": [], "system": 7}', "system: content must be"),
        ('{"messages": [], "tools": 7}', "tools: "),
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


def test_one_broken_line_stops_nothing(file: Any) -> None:
    """Its line of the output says what is wrong; the others stand where they stood."""
    good = {"messages": [{"role": "user", "content": "hi"}]}
    deep = '{"messages": [], "x": ' + "[" * 900 + "]" * 900 + "}"
    odd = ["{", "[1]", '{"role": "user"}', '{"messages": {}, "id": [1]}', deep.replace("}", "")]
    path = file("\n".join([json.dumps(good), *odd, deep, *[json.dumps(good)] * 5]))
    out, err = run("fit", path, "--budget", "50", code=1)
    written = [json.loads(line) for line in out.splitlines()]
    assert [place for place, one in enumerate(written) if one["messages"] is None] == [
        1,
        2,
        3,
        4,
        5,
    ]
    assert [one for one in written if one == good] == [good] * 6
    for number in range(2, 7):
        assert f"chat.jsonl, line {number}: " in err
    assert "line 4: it has no messages, and the others are conversations" in err
    out, err = run("count", path, code=1)
    written = [json.loads(line) for line in out.splitlines()]
    assert [one["tokens"] is None for one in written] == [False, *[True] * 5, *[False] * 6]
    assert err.splitlines()[-1] == "7 of 12 conversations counted: 51 tokens"


def test_what_cannot_be_written_is_an_error(file: Any) -> None:
    """How deep Python can read and write is up to the stack: at no depth is there a traceback."""
    for depth in range(100, 1200, 50):
        deep = '{"messages": [], "x": ' + "[" * depth + "]" * depth + "}"
        out, err = run("fit", file(f"{deep}\n{deep}"), "--budget", "50", code=None)
        failed = err.count("nested too deeply")
        assert (out + err).count('messages": null') == (failed if out else 0)
        assert failed in (0, 1, 2)


def test_a_system_prompt_beside_the_messages_counts(file: Any) -> None:
    """As in a body for Anthropic: text or blocks; it stays where it was."""
    chat = [{"role": "user", "content": f"question {number}"} for number in range(9)]
    plain = run("count", file(lines({"messages": chat})))[0]
    for system in ("Be brief. " * 9, [{"type": "text", "text": "Be brief. " * 9}]):
        body = {"model": "claude-sonnet-4-5", "system": system, "messages": chat}
        counted = json.loads(run("count", file(lines(body)))[0])
        assert counted["tokens"] >= json.loads(plain)["tokens"] + 27
        assert counted["messages"] == 9
        out, err = run("fit", file(lines(body)), "--budget", "60", "--explain")
        fitted = json.loads(out)
        assert fitted["system"] == system
        assert fitted["messages"] == chat[-len(fitted["messages"]) :]
        assert fitted["messages"] != chat
        assert "pinned" in err
    _, err = run(
        "fit",
        file(lines({"system": "Be brief. " * 99, "messages": chat})),
        "--budget",
        "60",
        code=1,
    )
    assert "cannot fit" in err


def test_low_says_how_deep_to_cut() -> None:
    """The low mark of the budget."""
    sizes = [
        len(json.loads(run("fit", str(CHAT), "--budget", "2000", "--low", low)[0]))
        for low in ("1", "0.7", "0.2")
    ]
    assert sizes == sorted(set(sizes), reverse=True)
    default = run("fit", str(CHAT), "--budget", "2000")[0]
    assert len(json.loads(default)) == sizes[1]


def test_a_missing_file_is_named() -> None:
    """It is bad input: exit is 1."""
    assert "cannot read nowhere.jsonl" in run("fit", "nowhere.jsonl", "--budget", "9", code=1)[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--strategy", "nobody"], "no strategy 'nobody' is installed; installed are "),
        (["--strategy", "drop-oldest", "--strategy", "clamp-oversized"], "drop-oldest"),
        (["--low", "0"], "low must be above 0"),
        (["--low", "1.5"], "--low"),
        (["--budget", "0"], "--budget"),
        (["--strategi", "x"], "--strategi"),
        (["more.jsonl"], "more.jsonl"),
    ],
)
def test_a_wrong_command_line_is_the_only_thing_said(options: list[str], said: str) -> None:
    """One line, whatever the input is, and exit is 2."""
    for chat in (str(CHAT), "nowhere.jsonl"):
        out, err = run("fit", chat, "--budget", "9", *options, code=2)
        assert out == ""
        assert err.startswith("error: ")
        assert said in err
        assert err.count("\n") == 1
    run("fit", str(CHAT), code=2)


def test_an_interrupt_ends_it_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback; a fault of ours is not hidden."""

    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "read_conversations", interrupted)
    assert run("count", "-", code=130) == ("", "")
    monkeypatch.setattr(commands, "read_conversations", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("count", "-")


def test_count(file: Any) -> None:
    """One object per conversation; an estimate is marked as one."""
    exact = json.loads(run("count", str(CHAT), "--model", "gpt-4o")[0])
    assert exact["exact"] is True
    assert exact["messages"] == len(MESSAGES)
    assert 5000 < exact["tokens"] < 10_000
    assert json.loads(run("count", str(CHAT))[0])["exact"] is False
    _, err = run("count", file(lines({"messages": [{"role": "x"}]}, {"messages": []})), code=1)
    assert "line 1" in err


def test_strategies_and_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """One lists what is installed and what it does, the other shows how to call it."""
    monkeypatch.setitem(installed.BUILT_IN, "silent", "types:SimpleNamespace")
    monkeypatch.setattr(installed, "entry_points", lambda: [Broken("x", "nowhere:X", "ctxwin")])
    rows = dict(
        re.split("  +", line.strip(), maxsplit=1) for line in run("strategies")[0].splitlines()
    )
    assert rows["drop-oldest"].startswith("Drop units, oldest first.  ")
    assert set(installed.BUILT_IN) < set(rows)
    assert "'x' of an unknown distribution (nowhere:X) cannot be loaded" in rows["x"]
    out, _ = run("fit", "--help")
    assert "Example" in out
    assert "--explain" in out
    assert run("--version") == (f"ctxwin {version('ctxwin')}\n", "")
    assert "strategies" in run(code=2)[0]


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


# No control character of the input, nor of a plugin, reaches a terminal.

CONTROLS = "".join(map(chr, (*range(32), *range(127, 160))))
COMMANDS = ("\x1b[2J", "\x1b]0;title\x07", "\x1bP$q\x1b\\", "\x9b31m", "\x9d8;;x\x9c", "\r\x08\x0e")
ACTED_ON = re.compile("[\0-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
USER = {"role": "user", "content": "hi"}


def everywhere(text: str) -> str:
    """Return conversations with a text in every field, well-formed and malformed."""
    function = {"name": text, "arguments": text, "description": text}
    call = {"id": text, "type": "function", "function": function}
    around = {"id": text, "metadata": {text: [text]}}
    whole = [
        {"role": "user", "content": text, "name": text, text: text},
        {"role": "assistant", "content": None, "tool_calls": [call], "refusal": text},
        {"role": "tool", "tool_call_id": text, "content": [{"type": "text", "text": text}]},
        {"role": "tool", "tool_call_id": f"{text}!", "content": text},
        {"role": "user", "content": [{"type": text, text: text}, {"type": "text", "text": text}]},
    ]
    broken: list[object] = [
        text,
        [text],
        [{text: text}],
        [{"role": text, "content": text}],
        [{"role": "user", "content": {text: text}}],
        [{"role": "user", "content": text, "tool_call_id": text}],
        [{"role": "assistant", "content": text, "tool_calls": [{text: text}]}],
    ]
    conversations: list[dict[str, Any]] = [
        *({**around, "messages": [*whole[:size], USER]} for size in range(len(whole) + 1)),
        {**around, "messages": [{"role": "user", "content": text * 200}]},
        {
            **around,
            "messages": [USER],
            "system": text,
            "tools": [{"type": text, "function": function}],
        },
        {**around, "messages": [USER], "system": {text: text}},
        {**around, "messages": [USER], "tools": [text]},
        *({**around, "messages": messages} for messages in broken),
    ]
    return f"{lines(*conversations)}\n{{{text}\n"


def spoken(text: str, folder: Path) -> Iterator[str]:
    """Yield all that is written about a text, as input, as a name of a file and as an argument."""
    name = re.sub("[\0/]", "", text)[:80] or "chat"
    path = str(folder / name)
    Path(path).write_text(everywhere(text), encoding="utf-8")
    argument = text.replace("\0", "")
    for args in (
        ["fit", path, "--budget", "60", "--explain"],
        ["fit", path, "--budget", "1"],
        ["fit", path, "--budget", "60", "--strategy", argument],
        ["fit", path, "--budget", argument],
        ["fit", path, path, "--budget", "9"],
        ["count", path],
        ["count", f"{path}?"],
        ["count", path, f"--{argument}"],
        ["count", path, "--model", argument],
        [argument],
    ):
        yield from run(*args, code=None)
    for whole in (
        text,
        lines(text),
        lines(USER, {text: text}),
        lines({"messages": text, "id": text}),
    ):
        yield from run("fit", "-", "--budget", "9", stdin=whole.encode(), code=None)


@pytest.mark.parametrize("text", [CONTROLS, *COMMANDS, "\u202egnp.exe\u2066"])
def test_nothing_of_the_input_acts_on_a_terminal(text: str, tmp_path: Path) -> None:
    """Every control character, and those that begin and end a terminal's commands."""
    for written in spoken(text, tmp_path):
        assert not ACTED_ON.search(written) or text[0] == "\u202e"


@given(text=st.text(st.sampled_from(CONTROLS + "[];Pm\\0x7"), min_size=1, max_size=9))
@settings(max_examples=10)
def test_no_sequence_of_controls_acts_on_a_terminal(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any sequence."""
    for written in spoken(text, tmp_path_factory.mktemp("names")):
        assert not ACTED_ON.search(written)


def test_what_is_written_comes_back(file: Any) -> None:
    """JSON escapes what would act: read again, it is what it was."""
    chat = {"messages": [{"role": "user", "content": CONTROLS, CONTROLS: ["\ud800", CONTROLS]}]}
    assert json.loads(run("fit", file(lines(chat)), "--budget", "900")[0]) == chat


class Loud:
    r"""Does \x1b]0;nothing\x07 good."""

    @hookimpl
    def ctxwin_prune(self, request: Any) -> None:
        raise ValueError("\x1b]0;title\x07")


def test_nothing_of_a_plugin_acts_on_a_terminal(file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name, its docstring and its errors, on a terminal too: only rich's colours are there."""
    screen = io.StringIO()
    monkeypatch.setattr(showing, "err", showing.console(file=screen, force_terminal=True))
    monkeypatch.setitem(installed.BUILT_IN, "loud\x9b1m", f"{__name__}:Loud")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Loud.__module__])
    chat = lines(*({"role": "user", "content": ":smile: [red]" + "word " * 20} for _ in range(3)))
    run("fit", file(chat), "--budget", "60", "--strategy", "loud\x9b1m", "--explain")
    assert Loud.__doc__ is not None
    monkeypatch.setattr(Loud, "__doc__", Loud.__doc__.replace("\\x1b", "\x1b"))
    shown = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())
    assert "not applied (L8): ValueError: \\x1b]0;title\\x07" in shown
    assert ":smile: [red]" in shown
    assert not ACTED_ON.search(shown)
    assert not ACTED_ON.search("".join(run("strategies")))


@pytest.fixture
def other_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands of plugins: a function, an app, and those that cannot be had, each for a reason."""
    names = {
        "hello": f"{__name__}:hello",
        "tools": f"{__name__}:TOOLS",
        "broken": "nowhere_at_all:main",
        "exits": "exits:main",
        "nothing": f"{__name__}:CHAT",
        "empty": f"{__name__}:EMPTY",
        "odd": f"{__name__}:odd",
        "fit": f"{__name__}:hello",
    }
    (tmp_path / "exits.py").write_text("import sys; sys.exit('needs an extra')")
    monkeypatch.syspath_prepend(tmp_path)
    entries = [EntryPoint(name, value, "ctxwin.commands") for name, value in names.items()]
    monkeypatch.setattr(commands, "entry_points", lambda **_: entries)
    monkeypatch.setattr(commands.app, "registered_commands", [*commands.app.registered_commands])
    monkeypatch.setattr(commands.app, "registered_groups", [*commands.app.registered_groups])
    commands._add_installed.cache_clear()
    yield
    commands._add_installed.cache_clear()


def hello() -> None:
    """Say hello."""
    showing.write_json("hello")


def odd(given: int | str) -> None:
    """Take what no command line can give."""


EMPTY = typer.Typer()
TOOLS = typer.Typer()
TOOLS.command("one")(hello)
TOOLS.command("two")(hello)


@pytest.mark.usefixtures("other_commands")
def test_commands_of_plugins() -> None:
    """One that cannot be had is a line of its own; all others work."""
    help_text, complaints = run("--help")
    assert "hello" in help_text
    assert "error: the command 'broken' cannot be used: ModuleNotFoundError" in complaints
    assert "error: the command 'fit' cannot be used: LookupError: there is one" in complaints
    assert "error: the command 'exits' cannot be used: SystemExit: needs an extra" in complaints
    assert "error: the command 'nothing' cannot be used: TypeError: it is neither" in complaints
    for name in ("empty", "odd"):
        assert f"error: the command {name!r} cannot be used: " in complaints
    assert complaints.count("\n") == 6
    assert (run("hello")[0], run("tools", "two")[0]) == ('"hello"\n', '"hello"\n')
    assert run("fit", str(CHAT), "--budget", "2000")[1].count("error") == 0


def test_what_conversations_cost(tmp_path: Path) -> None:
    """Each with each model; a model without a price is null, and the exit code says so."""
    pytest.importorskip("genai_prices")
    chats = tmp_path / "chats.jsonl"
    chats.write_text(lines({"messages": MESSAGES[:5]}, {"messages": MESSAGES[:9]}))
    out, err = run("cost", str(chats), "--model", "gpt-4o", "--model", "qwen-max", code=1)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["model"] for row in rows] == ["gpt-4o", "gpt-4o", "qwen-max", "qwen-max"]
    counted = run("count", str(chats), "--model", "gpt-4o")[0].splitlines()
    for row, counts in zip(rows, counted, strict=False):
        assert row["tokens"] == json.loads(counts)["tokens"]
        assert Decimal(row["price"]) == (row["tokens"] * Decimal("2.5") + 300 * 10) / 1_000_000
    assert [row["price"] for row in rows[2:]] == [None, None]
    assert "price, USD" in err
    assert json.loads(run("cost", str(CHAT), "--model", "gpt-4o")[0])["price"]


def test_what_conversations_cost_by_own_prices(tmp_path: Path) -> None:
    """Rates from a file, a share of the input cached; a broken conversation has no price."""
    chats, prices = tmp_path / "chats.jsonl", tmp_path / "prices.toml"
    chats.write_text(lines({"messages": MESSAGES[:5]}, {"messages": [{"role": "villain"}]}))
    prices.write_text("[models.mine]\ninput = 10\noutput = 0\ncache_read = 1\n")
    args = ["cost", str(chats), "--model", "mine", "--prices", str(prices), "--cached", "0.5"]
    rows = [json.loads(line) for line in run(*args, code=1)[0].splitlines()]
    tokens = rows[0]["tokens"]
    dear, cheap = tokens - tokens // 2, tokens // 2
    assert Decimal(rows[0]["price"]) == (dear * 10 + cheap * Decimal(1)) / 1_000_000
    assert (rows[1]["tokens"], rows[1]["price"]) == (None, None)
    assert "villain" in rows[1]["error"]["message"]
    prices.write_text("[models]\nmine = 1\n")
    assert "cannot read prices" in run(*args, code=2)[1]
