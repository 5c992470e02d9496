"""The whole history: show the user all of it, send the model what fits."""

from ctxwin import ContextManager

ctx = ContextManager(max_tokens=60, model="gpt-4o")
for number in range(10):
    ctx.add_message("user", f"Where is parcel {number}?")
    ctx.add_message("assistant", "It is on its way.")
ctx.add_message("user", "Thank you.")

print(len(ctx.messages()), "sent,", len(ctx.conversation_history), "in the log")
#> 3 sent, 21 in the log
released = ctx.forget()  # only when you want the memory back; returns what it releases
print(len(released), "released,", len(ctx.conversation_history), "in memory")
#> 18 released, 3 in memory
