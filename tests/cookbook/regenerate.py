"""Edit a message or regenerate an answer: `rewind` cuts the conversation off there."""

from ctxwin import ContextManager

ctx = ContextManager(max_tokens=4000, model="gpt-4o")
question = ctx.add_message("user", "Write a line about rain.")
answer = ctx.add_message("assistant", "Rain, rain, go away.")
ctx.rewind(answer)  # regenerate or moderate: the answer is gone
print(ctx.messages())
#> [{'role': 'user', 'content': 'Write a line about rain.'}]
ctx.rewind(question)  # edit: the question is gone too
ctx.add_message("user", "Write a line about snow.")
print(ctx.messages())
#> [{'role': 'user', 'content': 'Write a line about snow.'}]
