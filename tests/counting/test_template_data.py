"""
Real chat templates and real conversations: counted as transformers renders and encodes them.

`CTXWIN_TOKENIZER` names a `tokenizer.json` to measure with instead of the small vocabulary trained
here, and `CTXWIN_CONVERSATIONS` how many conversations of each collection are taken.
"""

import functools
import gzip
import json
import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers", minversion="5.0")
pytest.importorskip("jinja2", minversion="3.1.6")

# After the lines that may skip the module.
from ctxwin import BudgetError, ContextManager, CounterError  # noqa: E402
from ctxwin.counting.template.rendering import TemplateTokenizer  # noqa: E402
from ctxwin.counting.template.templates import TransformersCounter  # noqa: E402
from ctxwin.values.wire import Wire  # noqa: E402

COLLECTIONS = {
    "tau_bench": "conversations",
    "agentdojo": "conversations",
    "api_conversations": "openai_chat",
    "crosswoz": "conversations",
    "memorybank": "conversations_en",
    "taskmaster4": "conversations",
    "aider_chat": "conversations",
    "swe_agent": "conversations",
}
EACH = int(os.environ.get("CTXWIN_CONVERSATIONS", "1"))
LONGEST = 15_000  # characters of a conversation
SPECIAL = (
    r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>]{1,40}｜>|\[/?[A-Z_]{3,25}\]"
    "|</?(?:think|tool_call|tool_response|start_of_turn|end_of_turn)>"
)
NAMED = {"bos_token": "<s>", "eos_token": "</s>"}
# A normal run uses only these templates, chosen for their habits; with CTXWIN_CONVERSATIONS set it
# uses all.
FAMILIES = (
    "Qwen-Qwen2.5-7B", "Qwen-Qwen3-0.6B", "Llama-3.1-8B", "gpt-oss", "Mistral-Nemo", "gemma-2",
    "DeepSeek-V3.1", "GLM-4.6", "Phi-3.5", "template_chatml", "template_chatglm2", "command-r-plus",
)  # fmt: skip


def templates(data: Path) -> list[Path]:
    return sorted((data / "chat_templates").glob("*/*.jinja"))


@functools.cache
def conversations(data: Path) -> list[tuple[list[Wire], list[Wire]]]:
    """Return messages and tools; a conversation without tools gets those of a neighbour."""
    found: list[tuple[list[Wire], list[Wire]]] = []
    shared = json.loads((data / "tau_bench" / "tools_airline.json").read_text("utf-8"))[:3]
    for folder, name in COLLECTIONS.items():
        with gzip.open(data / folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            fitting = (
                row for row in map(json.loads, lines) if len(json.dumps(row["messages"])) < LONGEST
            )
            for row in islice(fitting, 0, 5 * EACH, 5):
                file = row.get("tools_ref")
                own = (
                    json.loads((data / folder / file).read_text("utf-8"))
                    if file
                    else row.get("tools")
                )
                found.append((row["messages"], own or shared))
    return found


@functools.cache
def vocabulary(data: Path) -> Any:
    """Return a byte-level BPE that knows the special tokens of the templates."""
    if "CTXWIN_TOKENIZER" in os.environ:
        tokenizer = tokenizers.Tokenizer.from_file(os.environ["CTXWIN_TOKENIZER"])
    else:
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=3000, initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator(
            [json.dumps(wires) for wires, _ in conversations(data)], trainer
        )
    known = tokenizer.get_vocab()
    special = {
        token for file in templates(data) for token in re.findall(SPECIAL, file.read_text("utf-8"))
    }
    tokenizer.add_special_tokens(sorted(special - set(known)))
    return tokenizer


def requests(data: Path) -> Iterator[tuple[list[Wire], list[Wire]]]:
    for messages, tools in conversations(data):
        yield messages, []
        yield messages, tools


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One set of tests per template; without the data, a single test that says so."""
    data = Path(os.environ.get("CTXWIN_DATA", Path(__file__).parents[2] / "../shared/data"))
    every = "CTXWIN_CONVERSATIONS" in os.environ
    files = [
        file for file in templates(data) if every or any(family in file.name for family in FAMILIES)
    ]
    ids = [file.stem for file in files] or ["none"]
    metafunc.parametrize("counters", files or [None], ids=ids, indirect=True, scope="module")


@pytest.fixture(scope="module")
def counters(
    request: pytest.FixtureRequest, data: Path
) -> tuple[Any, TransformersCounter, TransformersCounter]:
    """The tokenizer of transformers, a counter with it, and one with jinja2 and tokenizers only."""
    template = request.param.read_text("utf-8")
    official = transformers.PreTrainedTokenizerFast(
        tokenizer_object=vocabulary(data), chat_template=template, model_max_length=10**9, **NAMED
    )
    try:
        light = TransformersCounter(TemplateTokenizer(vocabulary(data), template, NAMED))
        return official, TransformersCounter(official), light
    except CounterError as error:
        pytest.skip(f"takes no request at all: {error}")


def sent(tokenizer: Any, messages: list[Wire], tools: list[Wire]) -> int | None:
    """Return the tokens that transformers sends; None if the template refuses the request."""
    try:
        return len(
            tokenizer.apply_chat_template(
                messages,
                tools=tools or None,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=False,
            )
        )
    except Exception:
        return None


def test_requests_cost_what_transformers_sends(counters: Any, data: Path) -> None:
    """
    Both counters, with and without tools.

    They refuse what the template refuses, and sums are a bound.
    """
    official, counter, light = counters
    assert light.name == counter.name
    assert light.additive is counter.additive
    counted = 0
    for messages, tools in requests(data):
        tokens = sent(official, counter.prepare(messages), tools)
        if tokens is None:
            for refusing in (counter, light):
                with pytest.raises(CounterError):
                    refusing.count_request(messages, tools)
            continue
        assert (
            counter.count_request(messages, tools) == light.count_request(messages, tools) == tokens
        )
        if counter.additive:
            assert (
                light.count_request((), tools) + sum(map(light.count_message, messages)) >= tokens
            )
        counted += 1
    print(f"{counted} of {2 * len(conversations(data))} requests")
    assert counted


def test_windows_fit_their_budgets(counters: Any, data: Path) -> None:
    """
    Every window that is sent is, rendered and encoded, within the budget that forces a cut.

    Where sums are known to be no bound, a window is counted whole when it is cut: the others are
    left out here.
    """
    official, _, counter = counters
    cut = 0
    for messages, tools in requests(data):
        try:
            budget = counter.count_request(messages, tools) * 2 // 3
            manager = ContextManager(budget, counter=counter, tools=tools)
            manager.extend(messages)
            window = counter.prepare(manager.messages())
        except (
            CounterError,
            BudgetError,
        ):  # what must be kept is most of it; or roles no longer alternate
            continue
        tokens = sent(official, window, tools)
        if tokens is not None and (counter.additive or manager.last_receipt is not None):
            assert tokens <= budget
            cut += 1
    print(f"{cut} windows")


PLAIN_CHATS = {"crosswoz": "conversations", "memorybank": "conversations_en"}


def test_windows_of_plain_chats_are_taken(counters: Any, data: Path) -> None:
    """A template that takes the whole chat takes every window of it, whatever the budget."""
    counter, cut = counters[2], 0
    for folder, name in PLAIN_CHATS.items():
        with gzip.open(data / folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            chats = [json.loads(line)["messages"] for line in islice(lines, 2 * EACH)]
        for chat in (
            [{key: wire[key] for key in ("role", "content")} for wire in c] for c in chats
        ):
            try:
                full = counter.count_request(chat)
            except CounterError:
                continue
            for tenths in (3, 5, 8):
                ctx = ContextManager(full * tenths // 10, counter=counter)
                ctx.extend(chat)
                assert counter.count_request(ctx.messages()) > 0
                cut += ctx.last_receipt is not None
    print(f"{cut} windows")
