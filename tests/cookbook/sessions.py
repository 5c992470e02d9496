"""Conversations in a database: stored when the call returns, shared by all your workers."""

from ctxwin.sessions import open_store

store = open_store("sqlite:///chats.db")  # or postgresql+psycopg://..., redis://..., memory://
with store.open("user-42", max_tokens=4000, model="gpt-4o") as ctx:  # a ContextManager
    ctx.add_message("user", "Where is my parcel?")
with store.open("user-42", max_tokens=4000, model="gpt-4o") as ctx:  # tomorrow, another worker
    print(ctx.messages())
#> [{'role': 'user', 'content': 'Where is my parcel?'}]
store.close()
