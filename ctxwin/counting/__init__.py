"""
Token counters: what a message costs, offline.

A counter is anything that satisfies `TokenCounter`. `counter_for` finds the right one for a model's or an encoding's
name; a plain `Callable[[str], int]` becomes one with `CallableCounter`.
"""

from ctxwin.counting.chat import CallableCounter, ChatCounter
from ctxwin.counting.models import counter_for
from ctxwin.counting.openai import TiktokenCounter
from ctxwin.counting.protocol import TokenCounter
from ctxwin.counting.usage import input_tokens

__all__ = ["CallableCounter", "ChatCounter", "TiktokenCounter", "TokenCounter", "counter_for", "input_tokens"]
