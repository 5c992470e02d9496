"""What a `BudgetError` advises: following it helps, whatever the case is."""

import json
import pickle
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxwin import Budget, BudgetError, ContextManager
from ctxwin.testing import Case, Folding, WordCounter, strategies
from ctxwin_plugins.clamp_oversized import ClampOversized
from ctxwin_plugins.keep_pinned import KeepPinned

LOG = "".join(f"{number} connection refused\n" for number in range(1000))
TOOLS = [{"type": "function", "function": {"name": "f", "description": "word " * 50}}]
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ANSWERED: list[dict[str, Any]] = [
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
]


def told(ctx: ContextManager) -> BudgetError:
    """Return the error of a conversation that cannot fit."""
    with pytest.raises(BudgetError) as caught:
        ctx.messages()
    return caught.value


def follow(advice: str, ctx: ContextManager, chain: Sequence[object], **options: Any) -> Any:
    """Do what a piece of advice says; returns the window."""
    budget = Budget(ctx.max_tokens, low=options.pop("low", 0.7))
    if found := re.search(r"raise the budget to (\d+) tokens", advice):
        budget = Budget(int(found[1]), low=budget.low)
    elif found := re.search(r"(ClampOversized\(.*?\))", advice):
        kept = [one for one in chain if getattr(one, "name", one) != "clamp-oversized"]
        chain = [eval(found[1], {"ClampOversized": ClampOversized}), *kept]  # noqa: S307 - our own
        options["allow_question_edit"] |= "allow_question_edit=True" in advice
    restored = ContextManager.from_dict(ctx.to_dict(), budget=budget, strategies=chain, **options)
    for number in re.findall(r"\d+", advice) if advice.startswith("unpin") else ():
        restored.unpin(int(number))
    if found := re.search(r"rewind\((\d+)\)", advice):
        restored.rewind(int(found[1]))
    if "tools" in advice:
        restored.tools = []
    return restored.messages()


CHAINS: list[list[object]] = [
    ["drop-oldest"],
    ["clear-tool-results", "clamp-oversized"],
    [KeepPinned(first_turns=1), Folding()],
    ["summarize-history", "clamp-oversized"],
]


LONG = st.sampled_from(["word " * 60, "您好。" * 40, json.dumps(list(range(90))), LOG[:900], "ok"])
PASTED = strategies.cases(histories=strategies.histories(texts=LONG, min_size=1, max_size=4))


@given(
    st.one_of(strategies.cases(), PASTED, PASTED),
    st.sampled_from(CHAINS),
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from([1, 10, 30, 60, 90]),
)
def test_following_the_advice_helps(
    case: Case, chain: list[object], tools: int, percent: int
) -> None:
    """Each piece of it, alone; and there always is one."""
    options: dict[str, Any] = {
        "counter": case.counter,
        "allow_question_edit": case.allow_question_edit,
        "tools": TOOLS * tools,
    }
    tokens = max(1, case.budget.max_tokens * percent // 100)
    budget = Budget(tokens, low=case.budget.low)
    ctx = ContextManager(budget=budget, strategies=chain, **options)
    case.play(ctx)
    try:
        ctx.messages()
    except BudgetError as error:
        assert error.advice[-1].startswith("raise the budget to ")
        for advice in error.advice:
            assert advice in str(error)
            follow(advice, ctx, chain, low=case.budget.low, **options)


def chat(*messages: dict[str, Any], budget: int = 60, **options: Any) -> ContextManager:
    ctx = ContextManager(budget, counter=WordCounter(), **options)
    for message in messages:
        ctx.append(message, pinned=message.get("name") == "pinned")
    return ctx


def test_a_pasted_text() -> None:
    """Only one setting shortens it; if half of it is there, the other half is named."""
    paste = {"role": "user", "content": LOG}
    setting = "ClampOversized(max_message_tokens=57, clamp_question=True) among the strategies"
    shorten = f"shorten it, with {setting}"
    rest = ("take it back, with rewind(1)", "raise the budget to 3007 tokens")
    assert told(chat(paste)).advice == (f"{shorten} and allow_question_edit=True", *rest)
    for chain in (["drop-oldest"], ["clamp-oversized"]):
        error = told(chat(paste, strategies=chain, allow_question_edit=True))
        assert error.advice == (shorten, *rest)
    assert str(error).endswith(f"; what would help: {'; or '.join(error.advice)}")
    assert pickle.loads(pickle.dumps(error)).advice == error.advice  # noqa: S301 - our own bytes


def test_what_a_plugin_protects_is_not_to_be_shortened() -> None:
    """No plan may edit it, so no strategy would help."""
    ctx = chat({"role": "user", "content": LOG}, strategies=[KeepPinned(first_turns=1)])
    assert [advice[:4] for advice in told(ctx).advice] == ["take", "rais"]


def test_a_tools_output() -> None:
    """It may be shortened by a strategy; the question need not be."""
    ctx = chat(*ANSWERED, {"role": "tool", "tool_call_id": "a", "content": LOG})
    first, *_ = told(ctx).advice
    assert re.fullmatch(r"shorten it, .*\(max_message_tokens=\d+\) among the strategies", first)


def test_pins_tools_and_what_stands_alone() -> None:
    """What would not help is not said: the text is as short as the case allows."""
    pinned = {"role": "user", "name": "pinned", "content": "word " * 40}
    question = {"role": "user", "content": "Why?"}
    ctx = chat(pinned, pinned, question)
    assert told(ctx).advice == ("unpin 1", "raise the budget to 100 tokens")
    ctx = chat(question, tools=TOOLS * 2)
    assert told(ctx).advice[0] == "set fewer or shorter tools (without any it fits)"
    ctx = chat({"role": "system", "content": "word " * 90}, question)
    assert told(ctx).advice == ("raise the budget to 102 tokens",)
    tiny = chat({"role": "user", "content": "word " * 90}, budget=9)
    assert told(tiny).advice == ("take it back, with rewind(1)", "raise the budget to 97 tokens")


def test_a_dry_run_advises_too_and_nothing_changes() -> None:
    """The conversation is tried on a copy."""
    ctx = chat({"role": "user", "content": LOG}, budget=50)
    before = ctx.to_dict()
    with pytest.raises(BudgetError, match="what would help") as caught:
        ctx.plan()
    assert told(ctx).advice == caught.value.advice
    assert ctx.to_dict() == before


def test_a_request_that_costs_more_than_its_messages() -> None:
    """The budget that is named is the true cost of the whole."""

    class Dear(WordCounter):
        additive = False

        def count_request(self, messages: Any, tools: Any = ()) -> int:
            return super().count_request(messages, tools) + 5 * len(messages)

    ctx = ContextManager(20, counter=Dear())
    ctx.add_message("user", "hi")
    ctx.add_message("user", "word " * 30)
    assert told(ctx).advice[-1] == "raise the budget to 42 tokens"
    assert follow(told(ctx).advice[-1], ctx, ["drop-oldest"], counter=Dear())


def test_a_counter_that_fails_gives_no_advice() -> None:
    """The error is raised all the same."""

    class Once(WordCounter):
        def count_text(self, text: str) -> int:
            if "left out" in text:
                raise OSError("away")
            return super().count_text(text)

    ctx = ContextManager(60, counter=Once())
    ctx.add_message("user", LOG)
    error = told(ctx)
    assert error.advice == ()
    assert "what would help" not in str(error)


@pytest.mark.parametrize("name", ["words", ""])
def test_advice_counts_no_message_again(name: str) -> None:
    """Nor one for the first time that no window has held: `plan` must change nothing."""
    counted: list[str] = []

    class Recording(WordCounter):
        def count_message(self, message: Any) -> int:
            counted.append(json.dumps(message))
            return super().count_message(message)

    counter = Recording()
    counter.name = name
    ctx = ContextManager(3, counter=counter)
    ctx.add_message("user", "What is in the first file?")
    ctx.extend([ANSWERED[1], {"role": "user", "content": "word " * 50}])
    log = [json.dumps(message.to_dict()) for message in ctx.conversation_history]
    told(ctx)
    state = ctx.to_dict()
    for ask in (ctx.messages, ctx.plan, ctx.prune_history):
        with pytest.raises(BudgetError):
            ask()
    assert [counted.count(wire) for wire in log] == [1, 0, 1]
    assert ctx.to_dict()["log"] == state["log"]
