"""What OpenAI's models are billed for beside text: exchanges, tools, formats, bodies."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxwin import Budget, BudgetError, ContextManager
from ctxwin.counting import TiktokenCounter
from ctxwin.counting.models import openai_counter
from ctxwin.counting.openai.rules import RULES, Rules
from ctxwin.counting.text.encodings import load_encoding
from ctxwin.testing.strategies import histories

MODELS = ["gpt-4o", "gpt-4o-mini", "gpt-4", "gpt-5-mini", "o3-mini", "kimi-k2"]
GPT4O = openai_counter("gpt-4o")
USER = {"role": "user", "content": "What is the weather in Paris?"}


def _function(name: str, parameters: dict[str, Any], description: str = "") -> dict[str, Any]:
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }


def _call(name: str, arguments: str, call_id: str = "a") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _calls(*calls: dict[str, Any], content: str | None = None) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def _result(content: object, call_id: str = "a") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = _function("get_weather", CITY)


def test_a_tool_and_its_exchange() -> None:
    """Recorded with gpt-4o: 48 tokens for question and tool, 74 with call and result."""
    question = {"role": "user", "content": "What is the weather in Paris? Use the tool."}
    body: dict[str, Any] = {"messages": [question], "tools": [WEATHER], "tool_choice": "auto"}
    assert GPT4O.count_body(body) == 48
    exchange = [_calls(_call("get_weather", '{"city":"Paris"}')), _result("sunny in Paris")]
    assert GPT4O.count_body({**body, "messages": [question, *exchange]}) == 74
    spaced = [_calls(_call("get_weather", '{"city": "Paris"}')), exchange[1]]
    alone = GPT4O.count_request([question])
    added = GPT4O.count_request([question, *exchange]) - alone
    assert added == GPT4O.count_request([question, *spaced]) - alone
    # Four tokens each for two messages and for their exchange; the function's name with the call
    # and with its result; arguments; the result's text.
    texts = ["functions.get_weather", '{"city":"Paris"}', "get_weather", "sunny in Paris"]
    assert added == 4 + 4 + 4 + sum(map(GPT4O.count_text, texts))


CAPITAL = {"role": "user", "content": "What is the capital of France?"}
SAID = "Get the current weather for a city."
WHERE = {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}
PLACE = {"type": "object", "properties": {"location": WHERE}, "required": ["location"]}
CURRENT = _function("get_current_weather", PLACE, "Get the current weather")


@pytest.mark.parametrize(
    ("model", "content", "tools", "billed"),
    [
        ("gpt-5", CAPITAL["content"], [], 13),
        ("o3-mini", "What is the capital of Mexico?", [], 13),
        ("gpt-4o-mini", "What's the weather in Paris?", [WEATHER], 43),
        ("gpt-5", "What's the weather in Paris?", [_function("get_weather", CITY, SAID)], 132),
        (
            "gpt-4o",
            "What is the model name?",
            [_function("get_model_name", {"type": "object"})],
            38,
        ),
        ("gpt-3.5-turbo", "What's the weather like in San Francisco and Boston?", [CURRENT], 70),
    ],
)
def test_small_requests_as_they_were_billed(
    model: str, content: str, tools: list[Any], billed: int
) -> None:
    """
    One or two requests for each family.

    They were recorded by the test suites of pydantic-ai, OpenInference and OpenTelemetry.
    """
    choice = "none" if model == "gpt-5" else "auto"  # gpt-5 charges nothing for a choice
    body = {
        "messages": [{"role": "user", "content": content}],
        "tools": tools,
        "tool_choice": choice,
    }
    assert openai_counter(model).count_body(body) == billed


def test_results_of_parallel_calls_are_one_list() -> None:
    """They share a frame; JSON stays JSON, other text is escaped; mini models read ASCII."""
    call = _calls(_call("f", '{"q":1}'), _call("f", "not JSON", "b"))
    one = _calls(_call("f", '{"q":1}'))
    for model, escaped in (("gpt-4o", False), ("gpt-4o-mini", True)):
        counter = openai_counter(model)
        for text, value in (
            ("两行\n文字", "两行\n文字"),
            ('{"a":[1,2]}', {"a": [1, 2]}),
            ("[broken", "[broken"),
        ):
            listed = f" {json.dumps(value, ensure_ascii=escaped)},"
            assert counter.count_result(_result(text), call) == counter.count_text(listed)
            assert counter.count_result(_result(text), one) == 4 + counter.count_text(text)
    uses = [
        {"recipient_name": "functions.f", "parameters": value} for value in ({"q": 1}, "not JSON")
    ]
    shown = json.dumps({"tool_uses": uses}, separators=(",", ":"))
    assert GPT4O.count_message(call) == 17 + GPT4O.count_text(
        "multi_tool_use.parallel"
    ) + GPT4O.count_text(shown)


def test_results_of_parts() -> None:
    """Text parts are joined; other parts cost the same as elsewhere; no content is empty text."""
    call = _calls(_call("f", "{}"), _call("f", "{}", "b"))
    image = {
        "type": "image_url",
        "image_url": {"url": "https://example.org/a.png", "detail": "low"},
    }
    parts = [{"type": "text", "text": "a "}, image, {"type": "text", "text": "b"}]
    assert GPT4O.count_result(_result(parts), call) == GPT4O.count_text(' "a b",') + 85
    assert GPT4O.count_result(_result(None), call) == GPT4O.count_text(' "",')


def test_deeply_nested_json_is_text() -> None:
    """A result nested too deep to be read is counted as the text it is."""
    call = _calls(_call("f", "{}"), _call("f", "{}", "b"))
    assert GPT4O.count_result(_result("[" * 100_000), call) > 1000


def test_names_and_legacy_functions() -> None:
    """A name costs its text and one, or one if it equals the role; a function's replaces it."""
    name = GPT4O.count_message({**USER, "name": "ada"}) - GPT4O.count_message(USER)
    assert name == GPT4O.count_text("ada") + 1
    assert GPT4O.count_message({**USER, "name": "user"}) - GPT4O.count_message(USER) == 1
    legacy = openai_counter("gpt-3.5-turbo")
    spaced = '{"foo": "bar", "baz": 1.5}'
    # Three requests that hmarr/openai-chat-tokens checked against the API.
    messages: list[dict[str, Any]] = [
        {
            "role": "assistant",
            "content": "",
            "function_call": {"name": "do_stuff", "arguments": spaced},
        }
    ]
    assert legacy.count_request(messages) == 26
    hello = {"role": "user", "content": "hello world"}
    assert (
        legacy.count_request([hello, {"role": "function", "name": "do_stuff", "content": "{}"}])
        == 15
    )
    assert (
        legacy.count_request([hello, {"role": "function", "name": "do_stuff", "content": spaced}])
        == 28
    )


def test_a_legacy_exchange_in_a_window() -> None:
    """The manager prices the result with the function's name, as the request does."""
    ctx = ContextManager(1000, model="gpt-4o")
    ctx.append(USER)
    call = {"name": "get_current_weather_forecast", "arguments": "{}"}
    ctx.append({"role": "assistant", "content": None, "function_call": call})
    ctx.append({"role": "function", "name": call["name"], "content": "sunny"})
    assert ctx.total_tokens == GPT4O.count_request(ctx.messages())


def test_calls_of_both_kinds_cost_both() -> None:
    """A message may carry parallel calls and a legacy one."""
    calls = _calls(_call("f", "{}"), _call("g", "{}"))
    legacy = {"name": "h", "arguments": "some text"}
    both = GPT4O.count_message({**calls, "function_call": legacy})
    assert both - GPT4O.count_message(calls) == 3 + GPT4O.count_text("h") + GPT4O.count_text(
        "some text"
    )


@pytest.mark.parametrize(
    "arguments", ["[" * 983 + "]" * 983, "[" * 100_000, '{"a":"one two three","a":1}', "not JSON"]
)
def test_arguments_that_are_better_left_alone(arguments: str) -> None:
    """JSON that is too deep to be written again, or has a key twice, counts as text."""
    one, two = _calls(_call("f", arguments)), _calls(_call("f", arguments), _call("g", "{}"))
    assert GPT4O.count_message(one) >= GPT4O.count_text(arguments)
    assert GPT4O.count_message(two) >= GPT4O.count_text(arguments)


def test_payloads_of_odd_shapes() -> None:
    """Only the input of a custom call counts, whatever else it has; a call may have no text."""
    custom = {"name": "x", "input": "y", "arguments": {"a": 1}}
    call = {"id": "a", "type": "custom", "custom": custom}
    plain = {"id": "a", "type": "custom", "custom": {"name": "x", "input": "y"}}
    assert GPT4O.count_message(_calls(call)) == GPT4O.count_message(_calls(plain))
    assert GPT4O.count_message(_calls({**call, "custom": {**custom, "input": None}})) > 0


@pytest.mark.parametrize("arguments", ["{}", '{"city":"Zürich","days":[1,2]}'])
def test_arguments_as_a_mapping_count_as_their_json(arguments: str) -> None:
    """Chat templates and Ollama have them so: alone, in parallel, and in a legacy call."""
    call, mapped = _call("f", arguments), _call("f", json.loads(arguments))
    assert GPT4O.count_message(_calls(mapped)) == GPT4O.count_message(_calls(call))
    assert GPT4O.count_message(_calls(mapped, mapped)) == GPT4O.count_message(_calls(call, call))
    legacy, old = (
        {"role": "assistant", "content": None, "function_call": one["function"]}
        for one in (mapped, call)
    )
    assert GPT4O.count_message(legacy) == GPT4O.count_message(old)


def test_text_beside_a_call() -> None:
    """The text is rendered as a message of its own."""
    call = _call("f", "{}")
    assert (
        GPT4O.count_message(_calls(call, content="hm")) == GPT4O.count_message(_calls(call)) + 4 + 1
    )


@pytest.mark.parametrize(
    ("choice", "added"),
    [
        (None, 0),
        ("auto", 0),
        ("required", 0),
        ("none", 1),
        ({"type": "function", "function": {"name": "f"}}, 8),
        ({"type": "function", "name": "f"}, 8),
        ({"type": "custom", "custom": {"name": "f"}}, 8),
        ({"type": "allowed_tools", "mode": "auto", "tools": []}, 0),
    ],
)
def test_forced_choices(choice: object, added: int) -> None:
    """Forcing a tool costs six tokens and its name, forbidding all one; from gpt-5 on nothing."""
    body: dict[str, Any] = {"messages": [USER], "tools": [WEATHER]}
    for model, costs in (("gpt-4o", added), ("gpt-5", 0)):
        counter = openai_counter(model)
        assert (
            counter.count_body({**body, "tool_choice": choice}) == counter.count_body(body) + costs
        )


def test_legacy_choice() -> None:
    """The legacy form costs three tokens and the name."""
    body: dict[str, Any] = {"messages": [USER], "functions": [WEATHER["function"]]}
    legacy = openai_counter("gpt-3.5-turbo")
    forced = {**body, "function_call": {"name": "get_weather"}}
    assert legacy.count_body(forced) - legacy.count_body(body) == 3 + legacy.count_text(
        "functions.get_weather"
    )


FORMAT = {
    "type": "json_schema",
    "json_schema": {
        "name": "joke",
        "schema": {
            "type": "object",
            "properties": {"joke": {"type": "string", "description": "The joke"}},
        },
    },
}


def test_formats() -> None:
    """
    A recorded format costs 35 tokens.

    It may stand among the tools, and costs less if a system message holds it.
    """
    body = {"messages": [USER], "response_format": FORMAT}
    alone = GPT4O.count_request([USER])
    assert GPT4O.count_body(body) == GPT4O.count_request([USER], [FORMAT]) == alone + 35
    assert (
        GPT4O.count_body({"messages": [USER], "response_format": {"type": "json_object"}}) == alone
    )
    flat = {"input": [USER], "text": {"format": {"type": "json_schema", **FORMAT["json_schema"]}}}  # type: ignore[dict-item]
    assert GPT4O.count_body(flat) == alone + 35
    for system in ("Be funny.", "Be funny", [{"type": "text", "text": "Be funny"}]):
        messages: list[dict[str, Any]] = [{"role": "system", "content": system}, USER]
        saved = GPT4O.count_request(messages) + 35 - GPT4O.count_request(messages, [FORMAT])
        assert saved == (4 if system == "Be funny." else 3)  # ".\n\n" is one token


def test_the_meter_knows_that_tools_share_a_system_message() -> None:
    """The meter is exact, or a bound if the system message that holds the tools may be dropped."""
    for content in ("Be brief.", "Be brief"):
        manager = ContextManager(1000, model="gpt-4o", tools=[WEATHER])
        manager.add_message("user", "hi")
        assert manager.total_tokens == GPT4O.count_request(manager.messages(), [WEATHER])
        manager = ContextManager(1000, model="gpt-4o", tools=[WEATHER])
        system = manager.add_message("system", content)
        manager.add_message("user", "hi")
        exact = GPT4O.count_request(manager.messages(), [WEATHER])
        assert manager.total_tokens == exact
        manager.unpin(system)  # a plan may drop it now, so tools may not rely on its frame
        assert exact < manager.total_tokens <= exact + 4
        manager.pin(system)
        manager.tools = []
        assert manager.total_tokens == GPT4O.count_request(manager.messages())


def test_only_what_leads_every_window_shares_its_frame() -> None:
    """
    A system message after others may not lead the next window.

    So neither the meter nor a prune relies on its frame.
    """
    log = [
        {"role": "user", "content": "an old question"},
        {"role": "system", "content": "You are helpful."},
    ]
    least = GPT4O.count_request([log[1], USER], [WEATHER])
    for budget in range(least, least + 8):
        manager = ContextManager(budget, model="gpt-4o", tools=[WEATHER])
        manager.extend([*log, USER])
        fits = manager.preview("?").total_tokens  # a preview changes nothing
        assert fits == manager.preview("?").total_tokens
        try:
            window = manager.messages()
        except BudgetError as error:
            assert budget < error.required_tokens <= least + 4
            continue
        assert GPT4O.count_request(window, [WEATHER]) <= manager.total_tokens <= budget
        assert manager.last_receipt is not None
        assert manager.last_receipt.after_tokens == manager.total_tokens


def test_responses_bodies() -> None:
    """Instructions are a system message, adjacent calls are parallel, a string is the user's."""
    text = "What is the weather in Paris?"
    assert GPT4O.count_body({"input": text}) == GPT4O.count_request([USER])
    told = {
        "instructions": "Be brief.",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": text}]}],
    }
    assert GPT4O.count_body(told) == GPT4O.count_request(
        [{"role": "system", "content": "Be brief."}, USER]
    )
    items: list[dict[str, Any]] = [{"type": "message", "role": "user", "content": text}]
    calls = [
        {"type": "function_call", "call_id": key, "name": "f", "arguments": "{}"} for key in "ab"
    ]
    outputs = [{"type": "function_call_output", "call_id": key, "output": "done"} for key in "ab"]
    chat = [
        USER,
        _calls(_call("f", "{}"), _call("f", "{}", "b")),
        _result("done"),
        _result("done", "b"),
    ]
    assert GPT4O.count_body({"input": [*items, *calls, *outputs]}) == GPT4O.count_request(chat)
    assert GPT4O.count_body({"input": [*items, *calls]}) == GPT4O.count_request(chat[:2])
    assert GPT4O.count_body(
        {"input": [*items, {"type": "reasoning", "summary": []}]}
    ) > GPT4O.count_request([USER])
    flat = {"type": "function", **WEATHER["function"]}
    assert GPT4O.count_body({"input": text, "tools": [flat]}) < GPT4O.count_request(
        [USER], [WEATHER]
    )


@pytest.mark.parametrize("model", MODELS)
@given(messages=histories(), with_tools=st.booleans())
def test_no_request_costs_more_than_its_parts(
    model: str, messages: list[dict[str, Any]], with_tools: bool
) -> None:
    """Base and messages bound a request, and exceed it by at most a frame."""
    counter = openai_counter(model)
    tools = [WEATHER, FORMAT] if with_tools else []
    call: dict[str, Any] = {}
    parts = base = counter.count_request((), tools)
    for message in messages:
        parts += (
            counter.count_result(message, call)
            if message["role"] == "tool"
            else counter.count_message(message)
        )
        call = message if message.get("tool_calls") else call
    assert parts - 4 * with_tools <= counter.count_request(messages, tools) <= parts
    assert parts <= base + sum(map(counter.count_message, messages))


@given(histories(min_size=4), st.integers(30, 200))
def test_the_manager_prices_a_result_by_its_call(messages: list[dict[str, Any]], room: int) -> None:
    """After cuts, edits and restoring, the meter says what counting the whole window says."""
    counter = openai_counter("gpt-4o-mini")
    budget = Budget(room + counter.count_request(()))
    manager = ContextManager(
        budget=budget, counter=counter, strategies=["clear-tool-results", "clamp-oversized"]
    )
    for message in messages:
        manager.append(message)
    try:
        window = manager.messages()
    except BudgetError:
        return
    assert counter.count_request(window) == manager.total_tokens or not window
    restored = ContextManager.from_dict(manager.to_dict(), budget=budget, counter=counter)
    assert restored.total_tokens == manager.total_tokens


def test_a_counter_of_ones_own() -> None:
    """Encoding and rules are arguments: here a message costs ten tokens beside its text."""
    counter = TiktokenCounter(
        load_encoding("o200k_base"), name="mine", exact=False, rules=Rules(per_message=9)
    )
    assert counter.count_request([{"role": "user", "content": "hi"}]) == 3 + 10 + 1
    assert repr(counter) == "TiktokenCounter('mine', exact=False)"


def test_families_do_not_shadow_one_another() -> None:
    """No prefix comes before a longer one that begins with it."""
    prefixes = [prefix for prefix, _ in RULES]
    for position, prefix in enumerate(prefixes):
        assert not any(later.startswith(prefix) for later in prefixes[position + 1 :])
