"""
What the benchmarks share: real and made conversations, counters that cost nothing, and tables.

Real conversations are in the folder `CTXWIN_DATA`, by default `../shared/data` beside the
repository. If they are missing, a benchmark says so and goes on without them. Made conversations
are equal on every machine.
"""

import gzip
import json
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

Wire: TypeAlias = dict[str, Any]

TEXT = (
    "the invoice of last month shows a different amount than what we agreed when I renewed our "
    "plan so please check whether billing applied that discount and tell me how long it usually "
    "takes until corrected documents reach accounting because they cannot close this quarter "
    "without them could you also explain why two users were removed from workspace settings "
    "after Tuesday's update nobody here changed permissions yesterday although several "
    "colleagues reported timeouts while uploading larger spreadsheets through your dashboard "
    "thanks"
)
WORDS = TEXT.split()


class ConstantCounter:
    """
    Counts every message as the same, in constant time, so that only ctxwin's own work is measured.

    Attributes:
        asked: how many messages it was asked about.
    """

    name = "constant"
    exact = True
    additive = True

    def __init__(self, tokens: int = 10) -> None:
        self.tokens = tokens
        self.asked = 0

    def count_text(self, text: str) -> int:
        """Return the figure that every text has."""
        return self.tokens

    def count_message(self, message: Mapping[str, Any]) -> int:
        """Return the figure that every message has."""
        self.asked += 1
        return self.tokens

    def count_request(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> int:
        """Return the figure times the number of messages; no priming, no tools."""
        self.asked += len(messages)
        return self.tokens * len(messages)


def data_folder() -> Path | None:
    """Return the folder of recorded conversations; None, and say so, if there is none."""
    default = Path(__file__).resolve().parents[2] / "../shared/data"
    folder = Path(os.environ.get("CTXWIN_DATA", default))
    if (folder / "MANIFEST.json").exists():
        return folder
    print(f"No recorded conversations at {folder}: set CTXWIN_DATA. What needs them is skipped.\n")
    return None


def aider_messages(data: Path) -> list[Wire]:
    """Return a developer's chats of a year as one history of 2,050 messages of role and content."""
    with gzip.open(data / "aider_chat" / "conversations.jsonl.gz", "rt", encoding="utf-8") as lines:
        conversations = [json.loads(line)["messages"] for line in lines]
    return [
        {"role": wire["role"], "content": wire["content"]}
        for wires in conversations
        for wire in wires
    ]


def sized_chat(turns: int, *, system: int, user: int, assistant: int) -> list[Wire]:
    """Return a chat whose messages have these numbers of words, no two messages alike."""
    chat = [{"role": "system", "content": _words("system", system)}]
    for turn in range(turns):
        chat.append({"role": "user", "content": _words(f"question-{turn}", user)})
        chat.append({"role": "assistant", "content": _words(f"answer-{turn}", assistant)})
    return chat


def word_count(text: str) -> int:
    """Return the number of words: the counter for which `sized_chat` is exact."""
    return len(text.split())


def plain_chat(size: int, *, seed: int = 0) -> list[Wire]:
    """Return a support chat: a system message, then user and assistant, 60 to 100 tokens each."""
    return [
        {"role": "system", "content": "You are the support desk of Acme."},
        *islice(_plain(seed), size - 1),
    ]


def tool_chat(size: int, *, seed: int = 0) -> list[Wire]:
    """Return an agent's chat: a system message, then question, call, result and answer in turn."""
    return [
        {"role": "system", "content": "You are the support desk of Acme."},
        *islice(_tools(seed), size - 1),
    ]


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a markdown table, numbers as they come."""
    for row in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(map(str, row))} |")
    print()


def _words(first: str, count: int) -> str:
    return " ".join([first, *["word"] * (count - 1)])


def _plain(seed: int) -> Iterator[Wire]:
    chance = random.Random(seed)
    while True:
        yield {"role": "user", "content": _sentence(chance)}
        yield {"role": "assistant", "content": _sentence(chance)}


def _tools(seed: int) -> Iterator[Wire]:
    chance = random.Random(seed)
    turn = 0
    while True:
        turn += 1
        function = {
            "name": "find_invoice",
            "arguments": json.dumps({"customer": turn, "month": "2024-05"}),
        }
        call = {"id": f"call_{turn}", "type": "function", "function": function}
        yield {"role": "user", "content": _sentence(chance)}
        yield {"role": "assistant", "content": None, "tool_calls": [call]}
        yield {
            "role": "tool",
            "tool_call_id": call["id"],
            "content": json.dumps({"note": _sentence(chance)}),
        }
        yield {"role": "assistant", "content": _sentence(chance)}


def _sentence(chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=chance.randint(57, 88)))
