"""
ctxwin keeps a chat history inside a token budget.

A `ContextManager` holds the history; `messages()` returns a valid request within the budget,
whatever strategies are installed, or raises a `BudgetError` that says what does not fit. Nothing is
ever lost.
"""

from ctxwin.counting import TokenCounter
from ctxwin.hooks.specs import hookimpl
from ctxwin.manager import ContextManager
from ctxwin.pruning.tickets import Ticket
from ctxwin.values.budget import Budget
from ctxwin.values.errors import (
    BudgetError,
    CounterError,
    CtxwinError,
    MessageError,
    RecordError,
    RefusedError,
    SessionDeletedError,
    StateError,
    StoreError,
    StrategyError,
    SummarizerError,
    UnknownStrategyError,
)
from ctxwin.values.message import Message
from ctxwin.values.plan import Plan, PruneRequest, Summarize, Unit
from ctxwin.values.receipt import Action, Preview, Receipt, Rejection
from ctxwin.values.request import Answer, Call, Observation, Request, Route, RouteRequest
from ctxwin.values.usage import StreamUsage, Usage

__all__ = [
    "Action",
    "Answer",
    "Budget",
    "BudgetError",
    "Call",
    "ContextManager",
    "CounterError",
    "CtxwinError",
    "Message",
    "MessageError",
    "Observation",
    "Plan",
    "Preview",
    "PruneRequest",
    "Receipt",
    "RecordError",
    "RefusedError",
    "Rejection",
    "Request",
    "Route",
    "RouteRequest",
    "SessionDeletedError",
    "StateError",
    "StoreError",
    "StrategyError",
    "StreamUsage",
    "Summarize",
    "SummarizerError",
    "Ticket",
    "TokenCounter",
    "Unit",
    "UnknownStrategyError",
    "Usage",
    "hookimpl",
]
