"""Old tool results: blank them; they fill the window and are seldom read again."""

from ctxwin import ContextManager
from ctxwin_plugins.clear_tool_results import ClearToolResults

strategy = ClearToolResults(keep_last=1, exclude_tools=["plan"])
ctx = ContextManager(max_tokens=900, model="gpt-4o", strategies=[strategy])
ctx.add_message("user", "Find the bug.")
for number in range(4):
    function = {"name": "read_file", "arguments": f'{{"path": "{number}.py"}}'}
    call = {"id": f"call_{number}", "type": "function", "function": function}
    ctx.add_message("assistant", None, tool_calls=[call])
    ctx.add_message("tool", "print('hello')\n" * 60, tool_call_id=f"call_{number}")

for message in ctx.messages():
    if message["role"] == "tool":
        print(message["content"][:40].splitlines()[0])
#> [tool output cleared, 244 tokens]
#> [tool output cleared, 244 tokens]
#> print('hello')
#> print('hello')
