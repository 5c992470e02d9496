"""Learn from the bill: `observe` corrects an estimate by what the provider has counted."""

from ctxwin import ContextManager

ctx = ContextManager(max_tokens=4000, model="claude-sonnet-4-5")
ctx.add_message("user", "Where is my parcel? " * 50)
ctx.messages()  # send this
estimated = ctx.total_tokens
ctx.observe({"input_tokens": round(estimated * 1.2)})  # reply.usage of the client will do
print(f"{ctx.total_tokens / estimated:.2f}")
#> 1.20
