"""How examples are run: in a folder of their own, with a stand-in for `openai` and a tiny model."""

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from cookbook.support import openai

MARK = "#>"  # begins a line of output
TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|> {{ message.content }} {% endfor %}"
    "{% if add_generation_prompt %}<|assistant|> {% endif %}"
)


def surround(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give an example what it takes for granted."""
    monkeypatch.chdir(folder)
    monkeypatch.setitem(sys.modules, "openai", openai)
    model = folder / "models" / "qwen3-8b"
    model.mkdir(parents=True)
    (model / "tokenizer.json").write_text(json.dumps(_tokenizer()))
    (model / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))


def _tokenizer() -> dict[str, Any]:
    """Return a tokenizer that knows each byte and nothing else."""
    alphabet = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet += [256 + number for number in range(256 - len(alphabet))]  # GPT-2's spelling of bytes
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": True,
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
        "model": {
            "type": "BPE",
            "vocab": {chr(point): number for number, point in enumerate(alphabet)},
            "merges": [],
        },
    }


def announced(code: str) -> list[str]:
    """Return the output that the code says it has."""
    return [line[3:] for line in code.splitlines() if line.startswith(MARK)]


def printed(code: str, name: str) -> list[str]:
    """Run the code, and return the lines that it printed."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, name, "exec"), {"__name__": "example"})  # noqa: S102 - our own
    return output.getvalue().splitlines()
