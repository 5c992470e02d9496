"""
Ready-made summarisers.

`Digest` needs no model: it quotes the most telling sentences. `OpenAISummarizer` and
`TransformersSummarizer` let a model write the summary.

A summariser is any callable, sync or async: `(messages, previous_summary, max_tokens) -> str`. It
may raise any exception; `SummarizerError` is the way to say "not this time".
"""

from ctxwin.summarizers.chat import OpenAISummarizer
from ctxwin.summarizers.digest import Digest
from ctxwin.summarizers.local import TransformersSummarizer
from ctxwin.values.plan import Summarizer

__all__ = ["Digest", "OpenAISummarizer", "Summarizer", "TransformersSummarizer"]
