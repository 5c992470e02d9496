"""`TransformersSummarizer`, with stand-ins, and with a tiny real model if torch is installed."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from types import SimpleNamespace as Bag
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxwin import ContextManager, Message, SummarizerError
from ctxwin.summarizers import TransformersSummarizer
from ctxwin.summarizers.transcript import prompt
from ctxwin.testing import WordCounter
from ctxwin_plugins.summarize_history import SummarizeHistory

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MESSAGES = [
    Message(n, {"role": "user", "content": f"question {n} about the invoice"}) for n in range(1, 9)
]


class Tensor(list[list[int]]):
    """The part of a tensor that is needed here."""

    def to(self, device: str) -> dict[str, "Tensor"]:
        return {"input_ids": self}


class Tokenizer:
    """Takes characters for tokens; may have no system role, or no chat template."""

    model_max_length = 10**30
    added: ClassVar[dict[str, int]] = {}
    all_special_tokens = ("<|im_end|>",)

    def __init__(self, template: str | None = "chatml") -> None:
        self.chat_template = template
        self.rendered: list[str] = []

    def get_added_vocab(self) -> dict[str, int]:
        return self.added

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        self.rendered.append(text)
        return {"input_ids": [ord(character) for character in text]}

    def apply_chat_template(self, wires: Any, tokenize: bool, add_generation_prompt: bool) -> str:
        assert not tokenize
        assert add_generation_prompt
        if self.chat_template == "no system" and wires[0]["role"] == "system":
            raise ValueError("System role not supported")
        return "".join(f"[{wire['role']}]{wire['content']}" for wire in wires) + "[assistant]"

    def pad(self, batch: dict[str, list[list[int]]], return_tensors: str) -> Tensor:
        return Tensor(batch["input_ids"])

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return "".join(map(chr, ids))


class Model:
    """Always gives the same answer."""

    device = "cpu"

    def __init__(self, window: int | None) -> None:
        self.config = Bag(max_position_embeddings=window)
        self.asked: list[dict[str, Any]] = []

    def generate(self, **options: Any) -> list[list[int]]:
        self.asked.append(options)
        return [[*options["input_ids"][0], *map(ord, " as agreed ")]]


def stand_in(window: int | None = 20_000, template: str | None = "chatml") -> Any:
    return Bag(tokenizer=Tokenizer(template), model=Model(window))


def test_a_prompt_is_rendered_and_answered() -> None:
    """With the chat template and without sampling; only the new tokens are the summary."""
    pipeline = stand_in()
    summarizer = TransformersSummarizer(pipeline, top_k=None)
    assert summarizer(MESSAGES, "before", 60) == "as agreed"
    (asked,) = pipeline.model.asked
    assert (asked["max_new_tokens"], asked["do_sample"], asked["top_k"]) == (60, False, None)
    text = pipeline.tokenizer.rendered[-1]
    assert text.startswith("[system]You maintain")
    assert text.endswith("[assistant]")
    assert repr(summarizer) == "TransformersSummarizer('Model')"
    with pytest.raises(TypeError, match="max_new_tokens is set"):
        TransformersSummarizer(pipeline, max_new_tokens=9)


def test_other_templates() -> None:
    """A template without a system role, and a tokenizer without a template."""
    for template, start in (("no system", "[user]You maintain"), (None, "You maintain")):
        pipeline = stand_in(template=template)
        assert TransformersSummarizer(pipeline)(MESSAGES, None, 60) == "as agreed"
        assert pipeline.tokenizer.rendered[-1].startswith(start)


PIECES = ["[", "/", "I", "]", "[I]", "[/I]", "I]", "]]", "▁a", "a", "\ue000", "ab", "ba", "aa"]


@given(
    st.lists(st.sampled_from(PIECES), max_size=30).map("".join),
    st.sets(st.sampled_from([piece for piece in PIECES if len(piece) > 1]), max_size=6),
    st.sets(st.sampled_from([piece for piece in PIECES if len(piece) > 1]), max_size=6),
    st.sampled_from([None, "chatml", "no system"]),
)
def test_no_message_spells_a_token_with_a_meaning(
    text: str, special: set[str], added: set[str], template: str | None
) -> None:
    """Be it special or just added, and wherever it overlaps another one; nothing else changes."""
    pipeline = stand_in(template=template)
    pipeline.tokenizer.all_special_tokens = tuple(special)
    pipeline.tokenizer.added = dict.fromkeys([*added, "\n\n", "x"], 7)
    TransformersSummarizer(pipeline)([Message(1, {"role": "user", "content": text})], text, 60)
    rendered = pipeline.tokenizer.rendered[-1]
    for role in ("[system]", "[user]", "[assistant]"):  # the template's own
        rendered = rendered.replace(role, "")
    assert not any(token in rendered for token in special | added)
    assert rendered.replace(" ", "").count(text.replace(" ", "")) >= 1


def shown(pipeline: Any) -> list[int]:
    """Return the ids of the messages in the last prompt."""
    return [int(number) for number in re.findall(r'"id": (\d+)', pipeline.tokenizer.rendered[-1])]


def test_the_oldest_messages_go_where_the_window_is_small() -> None:
    """As few as necessary, then the beginning of the last one; then it is an error."""
    roomy = stand_in()
    TransformersSummarizer(roomy)(MESSAGES, None, 60)
    needed = len(roomy.tokenizer.rendered[-1]) + 60
    assert shown(roomy) == list(range(1, 9))
    for less, expected in (
        (0, list(range(1, 9))),
        (1, list(range(2, 9))),
        (200, list(range(4, 9))),
    ):
        pipeline = stand_in(needed - less)
        TransformersSummarizer(pipeline)(MESSAGES, None, 60)
        assert shown(pipeline) == expected
        assert len(pipeline.model.asked[0]["input_ids"][0]) + 60 <= needed - less
    giant = [*MESSAGES, Message(9, {"role": "user", "content": "old " * 2000 + "and new"})]
    pipeline = stand_in(needed)
    TransformersSummarizer(pipeline)(giant, None, 60)
    assert shown(pipeline) == [9]
    assert 'and new"' in pipeline.tokenizer.rendered[-1]
    with pytest.raises(SummarizerError, match="leaves 40 tokens for the prompt"):
        TransformersSummarizer(stand_in(100))(MESSAGES, None, 60)
    empty = Message(1, {"role": "assistant", "content": None, "tool_calls": [_call("x" * 4000)]})
    with pytest.raises(SummarizerError, match="no room for a part of message 1"):
        TransformersSummarizer(stand_in(_least() + 61))([empty], None, 60)


def _call(arguments: str) -> dict[str, Any]:
    return {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}


def _least() -> int:
    """Return the cost of a prompt without messages."""
    return len(
        Tokenizer().apply_chat_template(
            prompt((), None, 60), tokenize=False, add_generation_prompt=True
        )
    )


def test_the_model_is_loaded_when_it_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is loaded only once; a window that is not stated is taken to be small."""
    loaded: list[Any] = []

    def pipeline(task: str, model: str) -> Any:
        loaded.append((task, model))
        return stand_in(None)

    module: Any = ModuleType("transformers")
    module.pipeline = pipeline
    monkeypatch.setitem(sys.modules, "transformers", module)
    summarizer = TransformersSummarizer(tmp_path)
    assert repr(summarizer) == f"TransformersSummarizer('{tmp_path}')"
    assert not loaded
    assert summarizer(MESSAGES, None, 60) == summarizer(MESSAGES, None, 60) == "as agreed"
    assert loaded == [("text-generation", str(tmp_path))]


@pytest.fixture(scope="module")
def tiny() -> Callable[[], Any]:
    """A text-generation pipeline around a tiny model with random weights."""
    torch = pytest.importorskip("torch", reason="torch is not installed: no real model is run")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    from tokenizers import Tokenizer as Fast
    from tokenizers import decoders, models, pre_tokenizers, trainers

    def make() -> Any:
        fast = Fast(models.BPE())
        fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        fast.decoder = decoders.ByteLevel()
        special = ["<|im_start|>", "<|im_end|>"]
        trainer = trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        fast.train_from_iterator([str(message.content) for message in MESSAGES], trainer)
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_object=fast,
            eos_token=special[1],
            pad_token=special[1],
            chat_template=TEMPLATE,
        )
        torch.manual_seed(7)
        config = transformers.LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=2500,
            pad_token_id=1,
            eos_token_id=1,
            bos_token_id=None,
        )
        model = transformers.LlamaForCausalLM(config).eval()
        return transformers.pipeline("text-generation", model=model, tokenizer=tokenizer)

    return make


@pytest.mark.filterwarnings("ignore")  # of libraries that are not ours
def test_a_real_model_writes(tiny: Callable[[], Any], tmp_path: Path) -> None:
    """It uses `generate` and the chat template, within its window; also when read from a folder."""
    pipeline = tiny()
    summarizer = TransformersSummarizer(pipeline, min_new_tokens=8)
    text = summarizer(MESSAGES, None, 24)
    assert text.strip()
    assert summarizer(MESSAGES, None, 24) == text
    pipeline.save_pretrained(tmp_path)
    assert TransformersSummarizer(tmp_path, min_new_tokens=8)(MESSAGES, None, 24) == text
    long = [
        Message(n, {"role": "user", "content": f"question {n} " + "about the invoice " * 40})
        for n in range(60)
    ]
    assert summarizer(long, "before", 24).strip()
    ids = summarizer._ids(long, "before", 24, 2500 - 24)
    assert 1000 < len(ids) <= 2500 - 24


@pytest.mark.filterwarnings("ignore")
def test_a_real_model_in_a_manager(tiny: Callable[[], Any]) -> None:
    """Directly and by a ticket, and whatever it says, the window is valid."""
    strategy = SummarizeHistory(
        TransformersSummarizer(tiny(), min_new_tokens=4), max_summary_tokens=30
    )
    ctx = ContextManager(150, counter=WordCounter(), strategies=[strategy])
    for number in range(20):
        ctx.add_message("user", f"question {number} about the invoice of last month")
    ticket = ctx.prepare()
    assert ticket is not None
    finished = ticket.run(TransformersSummarizer(tiny(), min_new_tokens=4))
    assert finished.finished
    assert len(ctx.messages()) < 20
    assert ctx.total_tokens <= 150
