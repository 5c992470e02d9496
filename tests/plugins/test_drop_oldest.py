"""`drop-oldest`."""

from ctxwin import ContextManager


def test_oldest_first_and_no_more_than_needed() -> None:
    """It drops just enough units to reach the target; an exchange is one unit."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    manager = ContextManager(100, counter=len)
    manager.add_message("system", "be kind")
    manager.append({"role": "assistant", "content": None, "tool_calls": [call]})
    manager.append({"role": "tool", "tool_call_id": "a", "content": "r" * 10})
    manager.extend({"role": "user", "content": f"question {number}"} for number in range(5))
    manager.messages()
    receipt = manager.last_receipt
    assert receipt is not None
    assert [action.message_ids for action in receipt.actions] == [(2, 3), (4,)]
    assert {action.reason for action in receipt.actions} == {"oldest first"}
    assert receipt.after_tokens <= receipt.target_tokens < receipt.after_tokens + 14
