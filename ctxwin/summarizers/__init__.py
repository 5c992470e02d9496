"""
Ready summarisers: `Digest` quotes, with no model; `OpenAISummarizer` and `TransformersSummarizer`
have a model write.

A summariser is any callable, sync or async: `(messages, previous_summary, max_tokens) -> str`. It
may raise whatever it likes; `SummarizerError` is the way to say "not this time".
"""

from ctxwin.summarizers.chat import OpenAISummarizer
from ctxwin.summarizers.digest import Digest
from ctxwin.summarizers.local import TransformersSummarizer
from ctxwin.values.plan import Summarizer

__all__ = ["Digest", "OpenAISummarizer", "Summarizer", "TransformersSummarizer"]
