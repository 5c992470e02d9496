"""Counting by chat templates: rendering, what templates need, sums that bound, and refusals."""

import json
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("jinja2", minversion="3.1.6")
tokenizers = pytest.importorskip("tokenizers")

# After the lines that may skip the module.
from counting.hostile import hostile  # noqa: E402
from ctxwin import BudgetError, ContextManager, CounterError, MessageError  # noqa: E402
from ctxwin.counting.template import rendering  # noqa: E402
from ctxwin.counting.template.preparing import Wants, prepare  # noqa: E402
from ctxwin.counting.template.rendering import TemplateTokenizer  # noqa: E402
from ctxwin.counting.template.templates import TransformersCounter  # noqa: E402
from ctxwin.testing.strategies import histories  # noqa: E402
from ctxwin.values.wire import Wire, read_wire  # noqa: E402

SPECIAL = [
    "<s>",
    "</s>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|tool|>",
    "<|call|>",
    "<|end|>",
]
TEXT = (
    "the user asks which flights leave on Monday, and the assistant looks them up: "
    '{"name": "find", "arguments": {"day": "Monday"}} think about it, then answer.\n\n'
)
# Our own templates, each with one habit of real ones.
PLAIN = (
    "{{ bos_token }}{% for tool in tools or [] %}<|tool|>{{ tool | tojson }}<|end|>{% endfor %}"
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% for call in m.tool_calls or [] %}"
    "<|call|>{{ call.function.name }} {{ call.function.arguments }}{% endfor %}<|end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
DEFAULT_SYSTEM = (
    "{% if messages[0].role != 'system' %}<|system|>You are a helpful assistant.<|end|>\n"
    "{% endif %}" + PLAIN
)
MAPPINGS = PLAIN.replace(
    "{{ call.function.arguments }}",
    "{% for k, v in call.function.arguments | items %}{{ k }}={{ v | tojson }}{% endfor %}",
)
JSON_CALLS = PLAIN.replace(
    "{{ call.function.arguments }}", "{{ call.function.arguments | tojson }}"
)
SHORT_IDS = PLAIN.replace(
    "<|call|>",
    "{% if call.id | length != 9 %}{{ raise_exception('ids have 9 characters') }}{% endif %}"
    "<|call|>",
)
ADDED_CONTENT = PLAIN.replace("{{ m.content }}", "{{ '' + m['content'] }}")
PARTS = PLAIN.replace("{{ m.content }}", "{% for part in m.content %}{{ part.text }}{% endfor %}")
NO_DEVELOPER = PLAIN.replace(
    "{% for m in messages %}", "{% for m in messages if m.role != 'developer' %}"
)
ALTERNATING = (
    "{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "<|{{ m.role }}|>{{ m.content | trim }}<|end|>{% endfor %}<|assistant|>"
)
MOVING = (
    "{% set system = messages[0].content if messages[0].role == 'system' else '' %}"
    "{% for m in messages if m.role != 'system' %}"
    "{% if m.role == 'user' and tools and m == (messages | selectattr('role', 'equalto', 'user') | "
    "list)[-1] %}"
    "<|tool|>{{ tools | tojson }}{% endif %}"
    "<|{{ m.role }}|>{% if loop.last and system %}{{ system }}\n\n{% endif %}{{ m.content }}"
    "<|end|>{% endfor %}"
)
THINKING = (
    "{% set ns = namespace(last=-1) %}"
    "{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}"
    "{% endfor %}"
    "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' and loop.index0 > ns.last"
    " and (loop.last or m.tool_calls or m.reasoning_content) %}"
    "<think>{{ m.reasoning_content or '' }}</think>{% endif %}{{ m.content }}"
    "{% for call in m.tool_calls or [] %}<|call|>{{ call.function | tojson }}{% endfor %}<|end|>"
    "{% endfor %}"
    "<|assistant|>"
)
THINKING_ANYWAY = THINKING.replace(" and (loop.last or m.tool_calls or m.reasoning_content)", "")
SWITCHED = (
    "{% set quiet = '/no_think' in (messages[0].content or '') %}{% for m in messages %}<|"
    "{{ m.role }}|>"
    "{% if quiet and m.role == 'assistant' %}<think></think>{% endif %}{{ m.content }}<|end|>"
    "{% endfor %}<|assistant|>"
)
NUMBERED = (
    "{% set ns = namespace(n=0, calls=0) %}{% for m in messages %}"
    "{% if m.role == 'user' %}{% set ns.n = ns.n + 1 %}[Round {{ ns.n }}]{% endif %}<|"
    "{{ m.role }}|>{{ m.content }}"
    "{% for call in m.tool_calls or [] %}{% set ns.calls = ns.calls + 1 %}<|call|>{{ ns.calls }}: "
    "{{ call.function.name }}{% endfor %}<|end|>{% endfor %}<|assistant|>"
)
NUMBERED_PLAINLY = ALTERNATING.replace("<|{{ m.role }}|>", "{{ loop.index }}<|{{ m.role }}|>")
TOUCHING = "{% for m in messages %}{{ m.content }}\n{% endfor %}<|assistant|>"
AGENTS_ONLY = PLAIN.replace("tools or []", "tools")
TOOLS_REPEATED = PLAIN.replace(
    "<|{{ m.role }}|>", "<|{{ m.role }}|>{% if m.role == 'user' %}{{ tools }}{% endif %}"
)
LOOKED_UP = (
    "{% set ns = namespace(name='') %}{% for m in messages %}<|{{ m.role }}|>"
    "{% if m.role == 'tool' %}"
    "{% set ns.name = '' %}{% for other in messages %}{% for call in other.tool_calls or [] %}"
    "{% if call.id == m.tool_call_id %}{% set ns.name = call.function.name %}{% endif %}"
    "{% endfor %}{% endfor %}"
    "{% if not ns.name %}{{ raise_exception('no such call') }}{% endif %}{{ ns.name }}: "
    "{% endif %}{{ m.content }}"
    "{% for call in m.tool_calls or [] %}<|call|>{{ call.function | tojson }}{% endfor %}<|end|>"
    "{% endfor %}"
    "<|assistant|>"
)
NO_TOOLS = PLAIN.replace(
    "<|tool|>{{ tool | tojson }}", "{{ raise_exception('tools are not supported') }}"
)
ADDITIVE = [
    PLAIN,
    DEFAULT_SYSTEM,
    MAPPINGS,
    JSON_CALLS,
    SHORT_IDS,
    ADDED_CONTENT,
    PARTS,
    THINKING,
    SWITCHED,
    LOOKED_UP,
]
NOT_ADDITIVE = [MOVING, THINKING_ANYWAY, NUMBERED, NUMBERED_PLAINLY, TOUCHING, TOOLS_REPEATED]
TEXT_PART = {"type": "text", "text": "and back?"}
TOOL: Wire = {
    "type": "function",
    "function": {"name": "find", "parameters": {"type": "object", "properties": {}}},
}
# Texts that are encoded differently next to other text: spaces, line breaks, digits, quotes, marks
# of templates and of thinking.
PIECES = [
    "a",
    "user",
    " ",
    "\n",
    "\n\n",
    "7",
    "42",
    "'s",
    ", then",
    "é",
    "汉字",
    "🙂",
    "</think>",
    "<think>",
    "<|end|>",
    '"',
    "{",
]
TRICKY = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)


def vocabulary(seed: str = "") -> Any:
    """Return a byte-level BPE of a few hundred tokens that merges words, spaces and line breaks."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT, seed or "\n\n  42 's"], trainer)
    return tokenizer


def counter(template: str, **options: Any) -> TransformersCounter:
    return TransformersCounter(
        TemplateTokenizer(vocabulary(), template, {"bos_token": "<s>"}), **options
    )


COUNTERS = {template: counter(template) for template in ADDITIVE}


def sums(tokens: TransformersCounter, messages: Sequence[Wire], tools: Sequence[Wire] = ()) -> int:
    return tokens.count_request((), tools) + sum(map(tokens.count_message, messages))


def asked(question: str = "which flights leave?") -> Wire:
    return {"role": "user", "content": question}


def calls(*ids: str | None, arguments: str = '{"day": "Monday"}', **fields: Any) -> Wire:
    function = {"name": "find", "arguments": arguments}
    made = [{"id": call_id, "type": "function", "function": function} for call_id in ids]
    return {"role": "assistant", "content": None, "tool_calls": made, **fields}


def result(call_id: str, content: str = "at nine") -> Wire:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


CHAT: list[Wire] = [
    {"role": "system", "content": "the assistant looks them up"},
    asked(),
    calls("call_1"),
    result("call_1"),
    {"role": "assistant", "content": "on Monday at nine"},
    asked("and back?"),
]


@pytest.mark.parametrize("template", ADDITIVE)
@given(
    messages=histories(texts=TRICKY, min_size=1, max_size=8, valid=True),
    tools=st.sampled_from([[], [TOOL]]),
)
@settings(max_examples=25)
def test_sums_bound_requests(template: str, messages: list[Wire], tools: list[Wire]) -> None:
    """Base and messages never cost less than the request, whatever the texts."""
    tokens = COUNTERS[template]
    assert tokens.additive
    assert sums(tokens, messages, tools) >= tokens.count_request(messages, tools)


@given(messages=histories(texts=TRICKY, min_size=1, max_size=8, valid=True))
def test_sums_are_exact_where_messages_stand_alone(messages: list[Wire]) -> None:
    """If a template writes one message after another, the sum is exactly the true cost."""
    tokens = COUNTERS[PLAIN]
    assert sums(tokens, messages) == tokens.count_request(messages)


@given(messages=histories(texts=TRICKY, min_size=1, max_size=8, valid=True))
def test_a_promised_system_message_makes_the_default_one_free(messages: list[Wire]) -> None:
    """Every request counts the default system message, unless each is known to bring its own."""
    tokens = SYSTEM_PROMPT
    window = [CHAT[0], *(message for message in messages if message["role"] != "system")]
    assert sums(tokens, window) == tokens.count_request(window)
    assert sums(COUNTERS[DEFAULT_SYSTEM], window) > tokens.count_request(window)


SYSTEM_PROMPT = counter(DEFAULT_SYSTEM, system_prompt=True)


@pytest.mark.parametrize("template", NOT_ADDITIVE)
def test_what_sums_cannot_bound_is_found_out(template: str) -> None:
    """System text that moves, tools written twice, numbers that grow, contents that touch."""
    for tokens in (
        counter(template),
        counter(template, system_prompt=template != NUMBERED_PLAINLY),
    ):
        assert not tokens.additive
        assert "additive=False" in repr(tokens)


@pytest.mark.parametrize("rounds", [9, 99, 400])
def test_numbers_may_have_three_digits(rounds: int) -> None:
    """If a template numbers its messages, their costs allow for longer numbers in advance."""
    tokens = counter(NUMBERED)
    messages = [asked(), calls("a", "b"), result("a"), result("b")] * rounds
    assert sums(tokens, messages) >= tokens.count_request(messages)
    tokens = counter(NUMBERED_PLAINLY)
    messages = [asked(), {"role": "assistant", "content": "at nine"}] * rounds + [asked()]
    assert sums(tokens, messages) >= tokens.count_request(messages)


@pytest.mark.parametrize(
    ("template", "wants"),
    [
        (PLAIN, Wants()),
        (ADDED_CONTENT, Wants(empty_content=True)),
        (MAPPINGS, Wants(mappings=True)),
        (JSON_CALLS, Wants(mappings=True)),
        (SHORT_IDS, Wants(short_ids=True)),
        (NO_DEVELOPER, Wants(no_developer=True)),
    ],
)
def test_wants_are_learnt(template: str, wants: Wants) -> None:
    """Only what the template needs is changed; all these print a list of parts as Python does."""
    tokens = counter(template)
    learnt = tokens._wants
    assert set(learnt.parts.values()) == {"text"}
    assert (
        Wants(learnt.mappings, learnt.empty_content, learnt.short_ids, learnt.no_developer) == wants
    )
    window = tokens.prepare(CHAT)
    assert tokens.prepare(window) == window
    text = tokens.tokenizer.apply_chat_template(window, add_generation_prompt=True)
    assert len(text) == tokens.count_request(CHAT)


def test_a_template_that_takes_everything_changes_nothing() -> None:
    """What the template already shows as meant stays unchanged; it never sees a null anyway."""
    either = (
        "{% if m.content is string %}{{ m.content }}{% else %}"
        "{% for part in m.content %}{{ part.text }}{% endfor %}"
    )
    tokens = counter(PLAIN.replace("{{ m.content }}", either + "{% endif %}"))
    assert tokens._wants == Wants()
    messages: list[Wire] = [
        asked(),
        calls("call_1"),
        result("call_1"),
        {"role": "user", "content": [TEXT_PART]},
    ]
    assert tokens.prepare(messages) == [
        {key: v for key, v in wire.items() if v is not None} for wire in messages
    ]


@pytest.mark.parametrize(
    ("given_", "prepared"),
    [
        (
            {"role": "assistant", "content": None, "name": None},
            {"role": "assistant", "content": ""},
        ),
        (
            {"role": "user", "content": "\ud83d\ude42 \ud800"},
            {"role": "user", "content": "🙂 \ufffd"},
        ),
        ({"role": "developer", "content": "be brief"}, {"role": "system", "content": "be brief"}),
        (
            {"role": "user", "content": [{"type": "text", "text": t} for t in "ab"]},
            {"role": "user", "content": "a\nb"},
        ),
        (
            {"role": "user", "content": [{"type": "image_url"}]},
            {"role": "user", "content": [{"type": "image_url"}]},
        ),
        (
            {"role": "system", "content": "a"},
            {"role": "system", "content": [{"type": "text", "text": "a"}]},
        ),
        ({"role": "system", "content": []}, {"role": "system", "content": []}),
        (
            {"role": "tool", "content": "a"},
            {"role": "tool", "content": "a", "tool_call_id": "dc937b598"},
        ),
        (
            {"role": "tool", "content": 1.5, "tool_call_id": "abcdefgh9"},
            {"role": "tool", "content": 1.5, "tool_call_id": "abcdefgh9"},
        ),
    ],
)
def test_prepare(given_: Wire, prepared: Wire) -> None:
    """Each rule, where it is wanted."""
    wants = Wants(True, True, True, True, {"user": "text", "system": "parts"})
    if prepared["role"] == "system" and given_["role"] == "developer":
        wants = Wants(no_developer=True)
    assert prepare(given_, wants) == prepared
    assert prepare(prepared, wants) == prepared


@pytest.mark.parametrize(
    ("arguments", "parsed"),
    [
        ('{"a": "\\ud800"}', {"a": "\ufffd"}),
        (" ", {}),
        ("[1]", {"arguments": "[1]"}),
        ("{broken", {"arguments": "{broken"}),
        ("[" * 100_000, {"arguments": "[" * 100_000}),
    ],
)
def test_arguments_become_a_mapping(arguments: str, parsed: Wire) -> None:
    """Models may write arguments that are not a JSON object: these go to the template whole."""
    message = prepare(
        calls("call_1", None, arguments=arguments), Wants(mappings=True, short_ids=True)
    )
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == [parsed, parsed]
    assert [len(call["id"]) for call in message["tool_calls"]] == [9, 9]
    custom = {
        "role": "assistant",
        "tool_calls": [{"id": "call_1", "custom": {"name": "f", "input": "x"}}],
    }
    assert prepare(custom, Wants(mappings=True)) == custom


@pytest.mark.parametrize("mappings", [False, True])
def test_arguments_that_are_a_mapping_become_what_the_template_wants(mappings: bool) -> None:
    """As text they are the JSON that the model wrote."""
    text, given_ = '{"day": "Montag, 1. März"}', {"day": "Montag, 1. März"}
    (as_text,) = prepare(calls("a", arguments=text), Wants(mappings=mappings))["tool_calls"]
    wire = calls("a", arguments=given_)  # type: ignore[arg-type]
    assert prepare(wire, Wants(mappings=mappings))["tool_calls"] == [as_text]
    assert wire == calls("a", arguments=given_)  # type: ignore[arg-type]


def test_refusals_are_counter_errors() -> None:
    """The error of a message or a request says what the template said; all else is counted."""
    tokens = counter(ALTERNATING)
    with pytest.raises(CounterError, match="System role not supported"):
        tokens.count_message(CHAT[0])
    with pytest.raises(CounterError, match="roles must alternate"):
        tokens.count_request([asked(), asked()])
    window = [asked(" \n hello "), {"role": "assistant", "content": "at nine"}, asked()]
    assert sums(tokens, window) == tokens.count_request(window)
    with pytest.raises(CounterError, match="tools are not supported"):
        counter(NO_TOOLS).count_request((), [TOOL])


def test_a_message_that_only_the_plainest_window_takes_is_counted_there() -> None:
    """Such a kind cannot be compared in any pair of windows."""
    only_one = "{% if messages | length > 2 %}{{ raise_exception('too many') }}{% endif %}" + PLAIN
    tokens = counter(only_one)
    with pytest.raises(CounterError, match="too many"):
        tokens.count_message(calls("call_1"))
    shy = "{% if messages[0].content == 'semibreve' %}{{ raise_exception('no') }}{% endif %}"
    tokens = counter(shy + PLAIN)
    assert tokens.count_message({"role": "system", "content": "hello"}) > 0


def test_a_template_for_agents_only_is_counted_with_tools() -> None:
    """Without tools it refuses all requests, but has a base: ctxwin asks before it knows tools."""
    tokens = counter(AGENTS_ONLY)
    assert tokens.count_request(()) > 0
    with pytest.raises(CounterError, match="not iterable"):
        tokens.count_request([asked()])
    assert sums(tokens, CHAT, [TOOL]) == tokens.count_request(CHAT, [TOOL])


def test_calls_are_found_by_the_id_of_the_result() -> None:
    """A result is costed after a call that it answers, and the name shown with it is counted."""
    tokens = COUNTERS[LOOKED_UP]
    window = [asked(), calls("one", "two"), result("one"), result("two")]
    assert sums(tokens, window) >= tokens.count_request(window)


def test_options_are_part_of_what_is_counted() -> None:
    """The generation prompt is counted on demand, template variables are given to the template."""
    tokens, silent = counter(PLAIN), counter(PLAIN, add_generation_prompt=False)
    assert tokens.count_request(CHAT) == silent.count_request(CHAT) + 1
    greeting = "{{ greeting }}" + PLAIN
    assert counter(greeting, template_variables={"greeting": "<s>" * 5}).count_request(
        [asked()]
    ) == 5 + counter(greeting).count_request([asked()])


def test_texts() -> None:
    """A special token spelt in a text counts as that token; a lone surrogate is U+FFFD."""
    tokens = COUNTERS[PLAIN]
    assert tokens.count_text("<|end|>") == 1
    assert tokens.count_text("\ud800") == tokens.count_text("\ufffd")
    assert tokens.count_request([asked("\ud800")], [{"a": "\udfff"}]) == tokens.count_request(
        [asked("\ufffd")], [{"a": "\ufffd"}]
    )


def test_names_tell_templates_options_and_vocabularies_apart() -> None:
    """Stored counts are reused only if counting again would give the same."""
    other_words = TemplateTokenizer(vocabulary("汉字汉字汉字 汉字"), PLAIN, {"bos_token": "<s>"})
    counters = [
        counter(PLAIN),
        counter(PLAIN + " "),
        counter(PLAIN, add_generation_prompt=False),
        counter(PLAIN, template_variables={"date_string": "today"}),
        counter(PLAIN, system_prompt=True),
        TransformersCounter(other_words),
    ]
    names = [tokens.name for tokens in counters]
    assert len(set(names)) == len(names)
    assert all(name.startswith("template:") and len(name) == 25 for name in names)
    assert counter(PLAIN).name == names[0]
    assert counters[0].exact


@pytest.mark.parametrize(
    ("tokenizer", "error", "says"),
    [
        (object(), TypeError, "give a transformers tokenizer"),
        (
            type("Slow", (), {"apply_chat_template": print, "is_fast": False})(),
            TypeError,
            "load the fast one",
        ),
        (TemplateTokenizer(vocabulary(), ""), ValueError, "set its chat_template"),
        (
            TemplateTokenizer(vocabulary(), "{{ functions.names }}"),
            CounterError,
            "'functions' is undefined.*template_variables",
        ),
    ],
)
def test_what_cannot_count_is_refused_at_once(
    tokenizer: Any, error: type[Exception], says: str
) -> None:
    """The error says what to do."""
    with pytest.raises(error, match=says):
        TransformersCounter(tokenizer)


def test_threads_count_alike() -> None:
    """One counter, many threads."""
    tokens = COUNTERS[THINKING]
    expected = [tokens.count_message(message) for message in CHAT]
    found: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda: found.append([tokens.count_message(m) for m in CHAT]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8


@pytest.mark.parametrize("template", [*ADDITIVE, MOVING])
@given(
    messages=histories(texts=TRICKY, min_size=1, max_size=8, valid=True), share=st.floats(0.2, 1)
)
@settings(max_examples=10)
def test_windows_fit_their_budget(template: str, messages: list[Wire], share: float) -> None:
    """What the manager sends, prepared and rendered, is within the budget."""
    tokens = COUNTERS.get(template) or MOVING_COUNTER
    budget = max(1, int(share * tokens.count_request(messages)))
    context = ContextManager(budget, counter=tokens)
    context.extend(messages)
    try:
        window = context.messages()
    except BudgetError:
        return
    sent = tokens.tokenizer.apply_chat_template(tokens.prepare(window), add_generation_prompt=True)
    assert len(sent) <= budget


MOVING_COUNTER = counter(MOVING)


@pytest.mark.parametrize("template", [PLAIN, DEFAULT_SYSTEM])
def test_an_append_costs_the_message_alone(template: str) -> None:
    """A message is encoded once, with a few neutral ones, however long the history is."""
    tokens = counter(template)
    spy = Spy(tokens.tokenizer)
    context = ContextManager(10**6, counter=tokens)
    assert context.total_tokens
    tokens.tokenizer = spy
    for number in range(200):
        context.append(asked(f"question {number:03}"))
        assert context.total_tokens
    assert len(spy.sizes) == 200
    assert max(spy.sizes) < 150  # the default system message alone has more


class Spy:
    """A tokenizer that notes how many characters it encodes."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.sizes: list[int] = []

    def __call__(self, text: str, **options: Any) -> Any:
        self.sizes.append(len(text))
        return self._tokenizer(text, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


# --- rendering ---


def render(template: str, messages: Sequence[Wire] = (), **options: Any) -> str:
    text = TemplateTokenizer(vocabulary(), template).apply_chat_template(
        messages or [asked("hello")], tokenize=False, **options
    )
    assert isinstance(text, str)
    return text


def test_rendering_is_that_of_transformers() -> None:
    """Filters, globals, tags and white space as templates expect them."""
    assert (
        render("{% for i in [1, 2] %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}")
        == "1"
    )
    assert render("{% generation %}{% set x = 1 %}a{{ x }}{% endgeneration %}{{ x }}") == "a1"
    assert render("  {% if true %}\na\n  {% endif %}\nb") == "a\nb"
    assert render("{{ {'b': '<é>', 'a': 1} | tojson }}") == '{"b": "<é>", "a": 1}'
    assert (
        render("{{ {'b': 1, 'a': 2} | tojson(indent=1, sort_keys=true) }}")
        == '{\n "a": 2,\n "b": 1\n}'
    )
    year = datetime.now().year  # noqa: DTZ005 - local time, as in the template
    assert render("{{ strftime_now('%Y') }}") == str(year)
    assert (
        render(
            "{{ messages[0].thinking }}{{ messages[0].reasoning_content }}",
            [{**asked(), "reasoning": "hm"}],
        )
        == "hmhm"
    )
    assert render("{{ messages[0].name is defined }}", [{**asked(), "name": None}]) == "False"
    assert render("{{ tools }}{{ documents }}{{ add_generation_prompt }}") == "NoneNoneFalse"


@pytest.mark.parametrize(
    "code", ["''.__class__.__mro__", "messages.append(1)", "messages[0].update(a=1)"]
)
def test_templates_cannot_leave_the_sandbox(code: str) -> None:
    """Templates are foreign code: they see data but cannot change it."""
    with pytest.raises(Exception, match=r"unsafe|immutable"):
        render(f"{{{{ {code} }}}}")


def test_an_old_sandbox_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 3.1.6 templates could leave the sandbox."""
    monkeypatch.setattr("jinja2.__version__", "3.1.5")
    rendering._environment.cache_clear()
    with pytest.raises(ImportError, match=r"must be 3\.1\.6"):
        TemplateTokenizer(vocabulary(), PLAIN)


def test_named_templates() -> None:
    """`tool_use` serves requests with tools, `default` the others."""
    both = TemplateTokenizer(vocabulary(), {"default": "d", "tool_use": "t"})
    one = TemplateTokenizer(vocabulary(), {"default": "d"})
    texts = [
        t.apply_chat_template([asked()], tools, tokenize=False)
        for t in (both, one)
        for tools in (None, [TOOL])
    ]
    assert texts == ["d", "t", "d", "d"]
    with pytest.raises(ValueError, match="'default', not only"):
        TemplateTokenizer(vocabulary(), {"tool_use": "t"})
    with pytest.raises(ValueError, match="empty conversation"):
        both.apply_chat_template([])


def save(folder: Path, config: Wire | None = None, **files: str) -> Path:
    vocabulary().save(str(folder / "tokenizer.json"))
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    for name, text in files.items():
        file = folder / f"{name.replace('__', '/')}.jinja"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, "utf-8")
    return folder


def test_a_folder_is_read_as_transformers_reads_it(tmp_path: Path) -> None:
    """Special tokens, added tokens, and the template: files take precedence over the config."""
    config = {
        "bos_token": "<s>",
        "eos_token": {"content": "</s>"},
        "pad_token": None,
        "added_tokens_decoder": {
            "9": {"content": "<|call|>"},
            "999": {"content": "<new>", "special": True},
        },
        "chat_template": "of the configuration",
    }
    tokenizer = TemplateTokenizer.from_folder(save(tmp_path, config, chat_template=PLAIN))
    assert tokenizer.special_tokens_map == {"bos_token": "<s>", "eos_token": "</s>"}
    assert tokenizer.chat_template == PLAIN
    assert len(tokenizer("<new><|call|>")["input_ids"]) == 2
    assert len(tokenizer) == len(TemplateTokenizer(vocabulary(), PLAIN)) + 1
    tokens = TransformersCounter.from_folder(tmp_path, add_generation_prompt=False)
    assert tokens.count_request(CHAT) == counter(PLAIN, add_generation_prompt=False).count_request(
        CHAT
    )


def test_where_a_folder_keeps_its_templates(tmp_path: Path) -> None:
    """In the configuration, as one text or as several with names; or in files with these names."""
    save(tmp_path, {"chat_template": PLAIN})
    assert TemplateTokenizer.from_folder(tmp_path).chat_template == PLAIN
    save(
        tmp_path,
        {
            "chat_template": [
                {"name": "default", "template": PLAIN},
                {"name": "tool_use", "template": "t"},
            ]
        },
    )
    named = {"default": PLAIN, "tool_use": "t"}
    assert TemplateTokenizer.from_folder(tmp_path).chat_template == named
    save(tmp_path, {}, chat_template=PLAIN, additional_chat_templates__tool_use="t")
    assert TemplateTokenizer.from_folder(tmp_path).chat_template == named


def test_what_a_folder_lacks_is_named(tmp_path: Path) -> None:
    """The error says which file."""
    with pytest.raises(FileNotFoundError, match=r"tokenizer.json.*save_pretrained"):
        TemplateTokenizer.from_folder(tmp_path)
    with pytest.raises(ValueError, match=r"chat_template\.jinja"):
        TemplateTokenizer.from_folder(save(tmp_path))


def test_whatever_is_admitted_is_counted() -> None:
    """Also what the template cannot show: as JSON, where it takes messages of that role."""
    tokens = COUNTERS[PLAIN]
    strict = counter(
        "{% for m in messages %}{% if m.content is not string %}{{ raise_exception('text only') }}"
        "{% endif %}{% endfor %}" + PLAIN
    )
    for number in range(400):
        try:
            wire = read_wire(hostile(number))
        except MessageError:
            continue
        assert tokens.count_message(wire) > 0
        assert strict.count_message(wire) > 0


def test_bytes_of_media_are_no_text() -> None:
    """A marker of the template, and an estimate besides, in a message and in a request."""
    tokens = COUNTERS[PLAIN]
    url = "data:image/png;base64," + "QUJD" * 50_000
    for part in (
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "audio", "data": "QUJD" * 50_000, "mimeType": "audio/wav"},
        {"type": "zzz", "blob": "SGVsbG8=" * 9, "mime_type": "text/plain"},
    ):
        wire: Wire = {"role": "user", "content": [{"type": "text", "text": "so?"}, part]}
        assert 10 < tokens.count_message(wire) < 2_000
        assert 10 < tokens.count_request([wire]) <= sums(tokens, [wire])


@pytest.mark.parametrize("template", [ALTERNATING, NUMBERED_PLAINLY])
def test_windows_of_a_chat_are_taken_by_a_template_that_takes_the_chat(template: str) -> None:
    """Each begins with a user message, so roles still alternate; no budget makes it raise."""
    tokens = counter(template)
    chat = [asked(f"question {number // 2}") for number in range(13)]
    for wire in chat[1::2]:
        wire["role"] = "assistant"
    full, least = tokens.count_request(chat), tokens.count_request(chat[-1:])
    for budget in range(least, full):
        ctx = ContextManager(budget, counter=tokens)
        ctx.extend(chat)
        try:
            window = ctx.messages()
        except BudgetError:
            continue
        assert window[0]["role"] == "user"
        assert 0 < tokens.count_request(window) <= budget


def test_a_message_whose_cost_no_probe_tells_is_counted_alone() -> None:
    """If the template takes a request of it; as JSON if it does not."""
    tokens = counter(PLAIN)
    wire = {"role": "user", "content": "which flights leave?"}
    with patch.object(type(tokens._probes), "cost", return_value=None):
        assert tokens.count_message(wire) == tokens.count_request([wire])
