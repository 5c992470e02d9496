"""
How close the counts are to the bills: recorded requests to OpenAI, and what was billed for them.

    python tests/bench/billed.py [--rows]

It prints three tables. The first is about chat completions (text alone; with tools, exchanges or
formats), beside litellm's `token_counter` and langchain-openai's `get_num_tokens_from_messages` if
these are installed. The second is about images whose size is known, by family. The third is about
the next request of a conversation, predicted by a `ContextManager` that has observed the bill of
the one before. `--rows` lists every row that is not exact. The recorded requests are those of the
folder `openai_usage_vectors`.
"""

import base64
import gzip
import json
import re
import struct
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.corpus import data_folder, print_table
from ctxwin import ContextManager
from ctxwin.counting import input_tokens
from ctxwin.counting.models import openai_counter
from ctxwin.counting.openai.bodies import read_body

STUB = re.compile(r"<omitted bytes=\d+ dims=\('\w+', (\d+), (\d+)\)")
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


@dataclass(frozen=True)
class Row:
    """One recorded request: its model, its body, what was billed, and the kind of the request."""

    id: str
    model: str
    body: dict[str, Any]
    billed: int
    kind: str
    conversation: tuple[str, ...]
    interaction: int
    sized: bool


def recorded(data: Path) -> Iterator[Row]:
    """Yield the chat completions; a picture too large to record is a header with its size."""
    with gzip.open(
        data / "openai_usage_vectors" / "vectors.jsonl.gz", "rt", encoding="utf-8"
    ) as file:
        for record in map(json.loads, file):
            flags, body = record["flags"], _with_headers(record["request"])
            conversation = (record["source"], record["path"], record["model"] or "")
            sizes = [part.get("dims") for part in flags.get("image_parts") or ()]
            yield Row(
                record["id"],
                record["response_model"] or record["model"],
                body,
                input_tokens(record["usage"]),
                _kind(body, flags),
                conversation,
                record["interaction"],
                bool(sizes) and all(sizes),
            )


def _kind(body: dict[str, Any], flags: dict[str, Any]) -> str:
    if flags["files_or_audio"]:
        return "files"
    if flags["images"]:
        return "images"
    stated = (body.get("response_format") or {}).get("type") == "json_schema"
    roles = {message["role"] for message in body["messages"]}
    called = any(
        message.get("tool_calls") or message.get("function_call") for message in body["messages"]
    )
    beyond = (
        stated
        or called
        or body.get("tools")
        or body.get("functions")
        or roles & {"tool", "function"}
    )
    return "tools" if beyond else "text"


def _with_headers(value: Any) -> Any:
    if isinstance(value, str):
        size = STUB.search(value)
        if size is None:
            return value
        header = PNG + struct.pack(">II", int(size[1]), int(size[2])) + b"\x08\x02\0\0\0"
        return "data:image/png;base64," + base64.b64encode(header).decode()
    if isinstance(value, dict):
        return {key: _with_headers(item) for key, item in value.items()}
    return [_with_headers(item) for item in value] if isinstance(value, list) else value


def published(data: Path) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Yield model, body and published count of the rows that others checked."""
    with gzip.open(data / "openai_count_rows" / "rows.jsonl.gz", "rt", encoding="utf-8") as file:
        for record in map(json.loads, file):
            yield record["model"], record, record["prompt_tokens"]


def count_ours(row: Row) -> int:
    """Return what ctxwin counts."""
    return openai_counter(row.model).count_body(row.body)


def peers() -> dict[str, Callable[[Row], int]]:
    """Return the counters of others that are installed."""
    found: dict[str, Callable[[Row], int]] = {}
    try:
        import litellm

        def with_litellm(row: Row) -> int:
            messages, tools, choice = read_body(row.body)
            functions = [tool for tool in tools if "function" in tool]
            return int(
                litellm.token_counter(
                    row.model, messages=messages, tools=functions or None, tool_choice=choice
                )
            )

        found["litellm"] = with_litellm
    except ImportError:
        print("litellm is not installed")
    try:
        from langchain_core.messages import convert_to_messages
        from langchain_openai import ChatOpenAI

        def with_langchain(row: Row) -> int:
            messages, tools, _ = read_body(row.body)
            model = ChatOpenAI(model=row.model, api_key="none")
            functions = [tool for tool in tools if "function" in tool]
            return int(
                model.get_num_tokens_from_messages(
                    convert_to_messages(messages), tools=functions or None
                )
            )

        found["langchain-openai"] = with_langchain
    except ImportError:
        print("langchain-openai is not installed")
    return found


def figures(pairs: Sequence[tuple[int, int]]) -> list[str]:
    """
    Return the cells for pairs of (counted, billed).

    These are the exact ones, the median and the 95th percentile of the error, and under-counts.
    """
    errors = sorted(abs(counted - billed) / billed for counted, billed in pairs)
    shares = (
        sum(counted == billed for counted, billed in pairs),
        sum(error <= 0.02 for error in errors),
        sum(counted < billed for counted, billed in pairs),
        sum(counted < billed * 0.99 for counted, billed in pairs),
    )
    exact, close, under, far_under = (f"{share / len(pairs):.1%}" for share in shares)
    middle, tail = errors[len(errors) // 2], errors[int(len(errors) * 0.95)]
    return [str(len(pairs)), exact, f"{middle:.1%}", f"{tail:.1%}", close, under, far_under]


HEADINGS = ["rows", "exact", "median error", "95 %", "within 2 %", "under", "under by 1 %"]


def print_bills(rows: Sequence[Row], *, listed: bool) -> None:
    """Print the first table, and the rows that are not exact."""
    table = []
    counters = {"ctxwin": count_ours, **peers()}
    for kind in ("text", "tools"):
        chosen = [row for row in rows if row.kind == kind]
        for name, count in counters.items():
            pairs, failed = [], 0
            for row in chosen:
                try:
                    pairs.append((count(row), row.billed))
                except Exception:
                    failed += 1
            table.append([kind, name + (f" ({failed} raised)" if failed else ""), *figures(pairs)])
    print_table(["requests", "counter", *HEADINGS], table)
    for row in rows if listed else ():
        counted = count_ours(row)
        if counted != row.billed:
            print(f"{row.id} {row.kind:6} {row.model}: {counted} counted, {row.billed} billed")


def print_images(rows: Sequence[Row]) -> None:
    """Print the second table."""
    families = defaultdict(list)
    for row in rows:
        if row.kind == "images" and row.sized:
            families[type(openai_counter(row.model).rules.images).__name__, row.model].append(
                (count_ours(row), row.billed)
            )
    table = [[rule, model, *figures(pairs)] for (rule, model), pairs in sorted(families.items())]
    print_table(["images", "model", *HEADINGS], table)


def predictions(rows: Sequence[Row]) -> Iterator[tuple[str, int, int]]:
    """Yield kind, prediction and bill of each request that extends another of its conversation."""
    conversations = defaultdict(list)
    for row in rows:
        if row.kind in ("text", "tools"):
            settings = {key: value for key, value in row.body.items() if key != "messages"}
            conversations[row.conversation, json.dumps(settings, sort_keys=True)].append(row)
    for group in conversations.values():
        group.sort(key=lambda row: len(row.body["messages"]))
        for before, after in pairwise(group):
            size = len(before.body["messages"])
            if (
                size < len(after.body["messages"])
                and before.body["messages"] == after.body["messages"][:size]
            ):
                predicted = _predict(before, after)
                added = after.body["messages"][size:]
                called = any(
                    message.get("tool_calls") or message["role"] == "tool" for message in added
                )
                yield "with calls" if called else "text", predicted, after.billed


def _predict(before: Row, after: Row) -> int:
    messages, tools, _ = read_body(before.body)
    manager = ContextManager(10**9, counter=openai_counter(before.model), tools=tools)
    manager.extend(messages)
    manager.messages()
    manager.observe({"prompt_tokens": before.billed})
    manager.extend(after.body["messages"][len(messages) :])
    return manager.total_tokens


def print_predictions(rows: Sequence[Row]) -> None:
    """Print the third table."""
    found = defaultdict(list)
    for kind, predicted, billed in predictions(rows):
        found[kind].append(abs(predicted - billed))
    table = [
        [
            kind,
            str(len(errors)),
            *(f"{sum(error <= most for error in errors) / len(errors):.1%}" for most in (0, 2, 5)),
        ]
        for kind, errors in sorted(found.items())
    ]
    print_table(["next request: added", "pairs", "exact", "within 2", "within 5"], table)


def main(*, listed: bool) -> None:
    """Print the tables."""
    data = data_folder()
    if data is None:
        print("no recorded requests here: set CTXWIN_DATA")
        return
    start = time.perf_counter()
    rows = list(recorded(data))
    print_bills(rows, listed=listed)
    print_images(rows)
    print_predictions(rows)
    plain = [row for row in published(data) if not (row[1].get("tools") or row[1].get("functions"))]
    exact = sum(openai_counter(model).count_body(body) == tokens for model, body, tokens in plain)
    print(f"published counts without tools: {exact} of {len(plain)} exact")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(listed="--rows" in sys.argv[1:])
