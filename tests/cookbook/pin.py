"""Pin a message: it is in every window, word for word, until you unpin it."""

from ctxwin import ContextManager

ctx = ContextManager(max_tokens=54, model="gpt-4o")
allergy = ctx.add_message("user", "I am allergic to peanuts.")
ctx.pin(allergy)  # or add_message(..., pinned=True); system messages are pinned anyway
for number in range(10):
    ctx.add_message("user", f"Suggest dish {number}.")
    ctx.add_message("assistant", f"Curry {number}?")
ctx.add_message("user", "And a dessert?")
print([message["content"] for message in ctx.messages()])
#> ['I am allergic to peanuts.', 'Suggest dish 9.', 'Curry 9?', 'And a dessert?']
