"""
Counting by chat templates: the cost of an append beside encoding all, and how exact the sums are.

    CTXWIN_TOKENIZER=tokenizer.json python tests/bench/benchmark_templates.py --messages 500

It needs transformers, and the folder of real templates and conversations (see `bench.corpus`).
Without `CTXWIN_TOKENIZER` it trains a small vocabulary. `CTXWIN_CONVERSATIONS` says how many
conversations of each collection to sum up.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.corpus import Wire, data_folder, plain_chat, print_table, tool_chat
from counting.test_template_data import (
    NAMED,
    conversations,
    requests,
    sent,
    templates,
    transformers,
    vocabulary,
)
from ctxwin import CounterError
from ctxwin.counting.template.rendering import TemplateTokenizer
from ctxwin.counting.template.templates import TransformersCounter


def seconds(call: Callable[[], object], times: int) -> float:
    """Return the median time of some calls."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def history(counter: TransformersCounter, size: int) -> list[Wire] | None:
    """Return the fullest history that it accepts: an agent's, a chat, or one without system."""
    for messages in (tool_chat(size), plain_chat(size), plain_chat(size + 1)[1:]):
        try:
            counter.count_request(messages)
        except CounterError:
            continue
        return messages
    return None


def speed(data: Path, files: Sequence[Path], size: int) -> list[list[object]]:
    """
    Return a row for each template, in milliseconds.

    The columns are making a counter, sending the history, and counting one more message.
    """
    rows: list[list[object]] = []
    for file in files:
        template = file.read_text("utf-8")
        official = transformers.PreTrainedTokenizerFast(
            tokenizer_object=vocabulary(data), chat_template=template, **NAMED
        )
        light = TemplateTokenizer(vocabulary(data), template, NAMED)
        try:
            build = seconds(lambda light=light: TransformersCounter(light), 1)  # type: ignore[misc]
        except CounterError:
            continue
        counters = [TransformersCounter(light), TransformersCounter(official)]
        messages = history(counters[0], size)
        if messages is None:
            continue
        window = counters[0].prepare(messages)
        full = seconds(lambda official=official, window=window: sent(official, window, []), 3)  # type: ignore[misc]
        appends = [
            statistics.median(
                seconds(lambda counter=counter, wire=wire: counter.count_message(wire), 1)  # type: ignore[misc]
                for wire in messages[-60:]
            )
            for counter in counters
        ]
        figures = [f"{1000 * value:,.2f}" for value in (build, full, *appends)]
        rows.append([file.stem, *figures, *(f"{full / append:,.0f}" for append in appends)])

    return rows


def truth(data: Path, files: Sequence[Path], *, system_prompt: bool) -> list[list[object]]:
    """Return a row for each template: how much base and messages exceed real requests' counts."""
    rows: list[list[object]] = []
    for file in files:
        tokenizer = TemplateTokenizer(vocabulary(data), file.read_text("utf-8"), NAMED)
        try:
            counter = TransformersCounter(tokenizer, system_prompt=system_prompt)
        except CounterError:
            continue
        over: list[int] = []
        total = 0
        for messages, tools in requests(data):
            if system_prompt and messages[0]["role"] != "system":
                continue
            try:
                tokens = counter.count_request(messages, tools)
                figure = counter.count_request((), tools) + sum(
                    map(counter.count_message, messages)
                )
            except CounterError:
                continue
            over.append(figure - tokens)
            total += tokens
        if over:
            low, middle, high = min(over), statistics.median(over), max(over)
            equal = f"{over.count(0)} of {len(over)}"
            rows.append(
                [file.stem, counter.additive, equal, low, middle, high, f"{sum(over) / total:.2%}"]
            )
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Counting by chat templates.")
    parser.add_argument("--messages", type=int, default=500)
    parser.add_argument("--only", default="", help="part of the name of the templates to measure")
    parser.add_argument("--no-speed", action="store_true")
    arguments = parser.parse_args()
    data = data_folder()
    if data is None:
        return
    files = [file for file in templates(data) if arguments.only in file.name]
    if not arguments.no_speed:
        print(
            f"Milliseconds, with {arguments.messages} messages; 'light' is jinja2 and tokenizers "
            "alone.\n"
        )
        header = [
            "template",
            "build",
            "apply_chat_template",
            "append, light",
            "append",
            "times, light",
            "times",
        ]
        print_table(header, speed(data, files, arguments.messages))
    for system_prompt in (False, True):
        number = len(conversations(data))
        print(f"Sums beside true counts, {number} conversations, {system_prompt=}.\n")
        header = ["template", "additive", "equal", "least over", "median", "most", "share"]
        print_table(header, truth(data, files, system_prompt=system_prompt))


if __name__ == "__main__":
    main()
