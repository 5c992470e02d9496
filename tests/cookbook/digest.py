"""Summaries without a model: the digest quotes names, numbers, dates and decisions."""

from ctxwin import ContextManager

ctx = ContextManager(max_tokens=90, model="gpt-4o", strategies=["summarize-history"])
ctx.add_message("user", "Hello! My name is Beatrix Holloway, order 88213.")
ctx.add_message("assistant", "Hello Beatrix, how can I help you today?")
ctx.add_message("user", "Thank you so much, that is very kind. I have to be in Lyon on 5 March.")
ctx.add_message("assistant", "You are welcome, I am always glad to help. Let me have a look.")
ctx.add_message("user", "Great. And is breakfast included?")

print(ctx.messages()[0]["content"])
#> Earlier in this conversation:
#> user: My name is Beatrix Holloway, order 88213.
#> user: I have to be in Lyon on 5 March.
print("written from messages", next(iter(ctx)).sources)
#> written from messages (1, 2, 3, 4)
