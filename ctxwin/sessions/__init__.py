"""
Sessions: conversations that outlive a process and are shared by several.

    store = open_store("sqlite:///chats.db")  # or postgresql+psycopg://..., redis://...
    with store.open("user-42", max_tokens=4000, model="gpt-4o") as ctx:  # a ContextManager
        ctx.add_message("user", "hi")  # durable when the call returns

A store (`SessionStore`) keeps a log of records for each session; a `Session` replays them, and
writes what it does.
"""

from ctxwin.sessions.opening import Sessions, open_store
from ctxwin.sessions.session import Session
from ctxwin.sessions.stores.memory import MemoryStore
from ctxwin.sessions.stores.protocol import NOWHERE, Page, Position, SessionStore
from ctxwin.values.errors import RecordError, SessionDeletedError, StaleError, StoreError

__all__ = [
    "NOWHERE",
    "MemoryStore",
    "Page",
    "Position",
    "RecordError",
    "Session",
    "SessionDeletedError",
    "SessionStore",
    "Sessions",
    "StaleError",
    "StoreError",
    "open_store",
]
