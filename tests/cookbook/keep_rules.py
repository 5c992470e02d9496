"""Keep messages by a rule: the first turn, or what your function picks, if it fits."""

from ctxwin import ContextManager
from ctxwin_plugins.keep_pinned import KeepPinned

rule = KeepPinned(first_turns=1, where=lambda message: "order" in str(message.content))
ctx = ContextManager(max_tokens=70, model="gpt-4o", strategies=[rule, "clamp-oversized"])
ctx.add_message("user", "Please answer in rhymes.")
ctx.add_message("user", "It is about order 88213.")
for number in range(10):
    ctx.add_message("user", f"This is remark {number}.")
ctx.add_message("user", "Where is it?")

print(ctx)
#> <ContextManager 133/70 tokens, 13 messages, keep-pinned -> clamp-oversized -> drop-oldest>
print(*[message["content"] for message in ctx.messages()])
#> Please answer in rhymes. It is about order 88213. This is remark 9. Where is it?
