"""Type-checked, never run: each line that is ignored is a mistake that both type checkers find."""

from typing import Any

from ctxwin import Budget, ContextManager
from ctxwin.sessions import Session, Sessions


def budgets(state: dict[str, Any], store: Sessions) -> None:
    """Exactly one budget, and a number."""
    ContextManager()  # type: ignore[call-overload]
    ContextManager(4000, budget=Budget(4000))  # type: ignore[call-overload]
    ContextManager("4000")  # type: ignore[call-overload]
    ContextManager.from_dict(state)  # type: ignore[call-overload]
    store.open("user-42")  # type: ignore[call-overload]
    store.aopen("user-42", model="gpt-4o")  # type: ignore[call-overload]


def options(state: dict[str, Any], store: Sessions) -> None:
    """Options by their names, and of their types."""
    ContextManager(4000, modle="gpt-4o")  # type: ignore[call-overload]
    ContextManager(4000, strategies=7)  # type: ignore[call-overload]
    ContextManager.from_dict(state, 4000, cuonter=len)  # type: ignore[call-overload]
    store.open("user-42", 4000, stategies=["keep-pinned"])  # type: ignore[call-overload]
    store.aopen("user-42", max_token=4000)  # type: ignore[call-overload]


def roles(manager: ContextManager) -> None:
    """Roles that there are; a draft answers no call."""
    manager.add_message("asistant", "hi")  # type: ignore[arg-type]
    manager.add_message("human", "hi")  # type: ignore[arg-type]
    manager.preview("sunny", "tool")  # type: ignore[arg-type]


async def stored_roles(session: Session) -> None:
    """The same in a session."""
    await session.aadd_message("asistant", "hi")  # type: ignore[arg-type]


def attributes(manager: ContextManager, session: Session) -> None:
    """Only `tools` may be set; a message may not be changed."""
    manager.model = "o3"  # type: ignore[misc]
    session.model = "o3"  # type: ignore[misc]
    manager.max_tokens = 8000  # type: ignore[misc]
    manager.add_message("user", "hi").role = "assistant"  # type: ignore[misc]
