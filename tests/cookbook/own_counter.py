"""Your own counter: any `Callable[[str], int]`; the overhead of chat messages is added."""

from ctxwin import ContextManager


def count(text: str) -> int:
    return len(text) // 4  # your tokenizer


ctx = ContextManager(max_tokens=4000, counter=count)
ctx.add_message("user", "Where is my parcel?")
print(ctx.total_tokens)
#> 11
