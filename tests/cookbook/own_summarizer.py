"""Summaries by your own model: any OpenAI-compatible client, or any function."""

from openai import OpenAI

from ctxwin import ContextManager
from ctxwin.summarizers import OpenAISummarizer
from ctxwin_plugins.summarize_history import SummarizeHistory

summarizer = OpenAISummarizer(OpenAI(), "gpt-4o-mini", temperature=0)
# or a function (messages, previous_summary, max_tokens) -> str, sync or async
strategy = SummarizeHistory(summarizer, keep_last_turns=2, max_source_tokens=16_000)
ctx = ContextManager(max_tokens=150, model="gpt-4o", strategies=[strategy])
for number in range(12):
    ctx.add_message("user", f"Where is parcel {number}?")
    ctx.add_message("assistant", f"Parcel {number} is on its way.")

ctx.prune_history()
print("the summary covers", len(next(iter(ctx)).sources), "messages")
#> the summary covers 21 messages
print(len(ctx.conversation_history), "are still in the log")
#> 24 are still in the log
