"""
ctxwin keeps a chat history inside a token budget.

A `ContextManager` holds the history; `messages()` returns a valid request within the budget, whatever strategies are
installed, or raises a `BudgetError` that says what does not fit. Nothing is ever lost.
"""

from ctxwin.budget import Budget
from ctxwin.counting import TokenCounter
from ctxwin.errors import (
    BudgetError,
    CounterError,
    CtxwinError,
    MessageError,
    RecordError,
    SessionDeletedError,
    StateError,
    StoreError,
    StrategyError,
    SummarizerError,
    UnknownStrategyError,
)
from ctxwin.hookspecs import hookimpl
from ctxwin.manager import ContextManager
from ctxwin.messages import Message
from ctxwin.plan import Action, Plan, Preview, PruneRequest, Receipt, Rejection, Summarize, Unit
from ctxwin.tickets import Ticket

__all__ = [
    "Action",
    "Budget",
    "BudgetError",
    "ContextManager",
    "CounterError",
    "CtxwinError",
    "Message",
    "MessageError",
    "Plan",
    "Preview",
    "PruneRequest",
    "Receipt",
    "RecordError",
    "Rejection",
    "SessionDeletedError",
    "StateError",
    "StoreError",
    "StrategyError",
    "Summarize",
    "SummarizerError",
    "Ticket",
    "TokenCounter",
    "Unit",
    "UnknownStrategyError",
    "hookimpl",
]
