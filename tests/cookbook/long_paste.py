"""Too long a paste: allow the question to be shortened, and its head and tail are sent."""

from ctxwin import ContextManager
from ctxwin_plugins.clamp_oversized import ClampOversized

clamp = ClampOversized(max_message_tokens=500, clamp_question=True)
ctx = ContextManager(2000, model="gpt-4o", strategies=[clamp], allow_question_edit=True)
log = "".join(f"{number} connection refused\n" for number in range(1000))
ctx.add_message("user", f"Why does my server fail?\n{log}")
sent = ctx.messages()[-1]["content"]
print(f"pasted {len(log)} characters, sent {len(sent)} in {ctx.total_tokens} tokens")
#> pasted 22890 characters, sent 2730 in 500 tokens
print(sent[:44].splitlines(), sent[-24:].splitlines())
#> ['Why does my server fail?', '0 connection refuse'] ['', '999 connection refused']
