"""`clear-tool-results`."""

import json
from typing import Any

import pytest

from ctxwin import Budget, ContextManager
from ctxwin_plugins.clear_tool_results import ClearToolResults


def agent(
    strategy: ClearToolResults, content: Any = "r" * 200, budget: int = 1050
) -> ContextManager:
    """Six exchanges of two tools."""
    manager = ContextManager(budget=Budget(budget, low=1.0), counter=len, strategies=[strategy])
    manager.add_message("user", "do it")
    for number in range(6):
        function = {"name": "odd" if number % 2 else "even", "arguments": "{}"}
        call = {"id": f"c{number}", "type": "function", "function": function}
        manager.append({"role": "assistant", "content": None, "tool_calls": [call]})
        manager.append({"role": "tool", "tool_call_id": f"c{number}", "content": content})
    return manager


def cleared(manager: ContextManager) -> list[int]:
    """Return the exchanges whose result was cleared in the first prune."""
    assert manager.messages()
    assert manager.last_receipt is not None
    edits = [action for action in manager.last_receipt.actions if action.kind == "edit"]
    return [action.message_ids[0] // 2 - 1 for action in edits]


def test_oldest_results_are_cleared_first() -> None:
    """Results are cleared until enough is free; the newest stay, and so do all messages."""
    manager = agent(ClearToolResults())
    assert cleared(manager) == [0, 1]
    assert len(manager) == 13
    assert manager.last_receipt is not None
    assert {action.kind for action in manager.last_receipt.actions} == {"edit"}


def test_knobs() -> None:
    """How many of the newest stay, which tools are excluded, and the least gain."""
    assert cleared(agent(ClearToolResults(keep_last=5))) == [0]
    assert cleared(agent(ClearToolResults(keep_last=6))) == []
    assert cleared(agent(ClearToolResults(exclude_tools=["even"]))) == [1]
    assert cleared(agent(ClearToolResults(keep_last=0, exclude_tools=["odd"]))) == [0, 2]
    assert cleared(agent(ClearToolResults(min_freed_tokens=500))) == []


def test_json_stays_json() -> None:
    """The output can still be parsed; list content is replaced by text."""
    manager = agent(ClearToolResults(), json.dumps({"rows": ["x" * 200]}))
    contents = [wire["content"] for wire in manager.messages() if wire["role"] == "tool"]
    assert all(json.loads(content) for content in contents)
    assert "cleared" in contents[0]
    assert cleared(agent(ClearToolResults(), [{"type": "text", "text": "r" * 200}])) == [0, 1]
    parts = [{"type": "text", "text": json.dumps({"rows": list(range(50))})}]
    manager = agent(ClearToolResults(), parts)
    assert cleared(manager) == [0, 1]
    assert manager.last_receipt is not None
    assert manager.last_receipt.rejected == ()


def test_function_results_and_custom_tools() -> None:
    """The name of the tool is on the result for legacy calls, on the call for custom tools."""
    manager = ContextManager(
        300, counter=len, strategies=[ClearToolResults(keep_last=0, exclude_tools=["keep"])]
    )
    manager.add_message("user", "do it")
    manager.append(
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    )
    manager.append({"role": "function", "name": "f", "content": "r" * 200})
    custom = {"id": "c", "type": "custom", "custom": {"name": "keep", "input": ""}}
    manager.append({"role": "assistant", "content": None, "tool_calls": [custom]})
    manager.append({"role": "tool", "tool_call_id": "c", "content": "r" * 100})
    window = manager.messages()
    assert window[2]["content"].startswith("[tool output cleared")
    assert window[4]["content"] == "r" * 100


def test_already_cleared_is_left_alone() -> None:
    """Clearing a placeholder gains nothing."""
    manager = agent(ClearToolResults(keep_last=0), "ok" * 10, budget=120)
    manager.messages()
    assert manager.last_receipt is not None
    assert {action.kind for action in manager.last_receipt.actions} == {"drop"}


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"keep_last": -1}, ValueError),
        ({"min_freed_tokens": -1}, ValueError),
        ({"exclude_tools": "f"}, TypeError),
    ],
)
def test_bad_arguments_are_refused(bad: dict[str, Any], error: type[Exception]) -> None:
    """The constructor refuses them."""
    with pytest.raises(error):
        ClearToolResults(**bad)
