"""The summariser is down: the next strategy is asked, and the receipt says why."""

from collections.abc import Sequence

from ctxwin import ContextManager, Message
from ctxwin_plugins.summarize_history import SummarizeHistory


def summarize(messages: Sequence[Message], previous: str | None, max_tokens: int) -> str:
    raise ConnectionError("no route to the model")


ctx = ContextManager(max_tokens=100, model="gpt-4o", strategies=[SummarizeHistory(summarize)])
for number in range(10):
    ctx.add_message("user", f"Where is parcel {number}?")
    ctx.add_message("assistant", "It is on its way.")
ctx.add_message("user", "And my invoice?")

receipt = ctx.prune_history()
print(receipt.before_tokens, "->", receipt.after_tokens, "tokens")
#> 211 -> 71 tokens
for rejection in receipt.rejected:
    print(rejection.strategy, "failed:", rejection.reason.rpartition(": ")[2])
#> summarize-history failed: no route to the model
