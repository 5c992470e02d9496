"""Type-checked, never run: what a user may write, and what the type checker must reject."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, assert_type

from openai import AsyncOpenAI, OpenAI

from ctxwin import (
    Budget,
    ContextManager,
    Message,
    Plan,
    Preview,
    PruneRequest,
    Receipt,
    Summarize,
    Ticket,
    TokenCounter,
    Unit,
    hookimpl,
)
from ctxwin.sessions import Session, Sessions, SessionStore
from ctxwin.summarizers import Digest, OpenAISummarizer, TransformersSummarizer
from ctxwin_plugins.summarize_history import SummarizeHistory


class Sparing:
    """A strategy with every hook."""

    @hookimpl
    def ctxwin_protect(self, request: PruneRequest) -> Iterable[Unit]:
        return request.units[:1]

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Generator[Summarize, str, Plan | None]:
        text = yield Summarize(shorten, request.units[0].messages, max_tokens=100)
        assert_type(text, str)
        return Plan.replace(request.droppable, text) + Plan.drop(request.droppable[:1])

    @hookimpl
    def ctxwin_pruned(self, receipt: Receipt) -> None:
        assert_type(receipt.evicted, tuple[Message, ...])


def shorten(messages: Sequence[Message], previous_summary: str | None, max_tokens: int) -> str:
    """A sync summariser."""
    return str(len(messages))


class Letters:
    """A user's own counter."""

    name = "letters"
    exact = False
    additive = True

    def count_text(self, text: str) -> int:
        return len(text)

    def count_message(self, message: Mapping[str, Any]) -> int:
        return len(str(message))

    def count_request(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> int:
        return sum(map(self.count_message, messages))


def backend() -> None:
    """What a backend writes."""
    counter: TokenCounter = Letters()
    manager = ContextManager(4000, strategies=["keep-pinned", Sparing()], counter=counter)
    ContextManager(budget=Budget(4000), counter=len, model="gpt-4o")
    message = manager.add_message("user", "hi", pinned=True, metadata={"a": 1})
    assert_type(message, Message)
    assert_type(manager.messages(), list[Any])
    assert_type(manager.preview("draft"), Preview)
    assert_type(manager.rewind(message), tuple[Message, ...])
    assert_type(ContextManager.from_dict(manager.to_dict(), 4000), ContextManager)


def chat(client: OpenAI, manager: ContextManager) -> None:
    """A request with the SDK."""
    with manager as ctx:
        assert_type(ctx, ContextManager)
        reply = client.chat.completions.create(model="gpt-4o", messages=ctx.messages())
        ctx.observe(reply.usage)
        ctx.append(reply.choices[0].message)
        ctx.add_message("assistant", "Let me lo", incomplete=True)


async def stored_chat(client: AsyncOpenAI, store: Sessions) -> None:
    """The same in an event loop, on a stored conversation."""
    async with store.aopen("user-42", 4000, model="gpt-4o") as ctx:
        assert_type(ctx, Session)
        await ctx.aadd_message("user", "hi")
        messages, tools = await ctx.amessages(), ctx.tools
        stream = await client.chat.completions.create(
            model="gpt-4o", messages=messages, tools=tools, stream=True
        )
        async for chunk in stream:
            await ctx.aobserve(chunk.usage)


def restored(state: dict[str, Any], store: SessionStore) -> None:
    """Either budget, wherever a conversation begins."""
    assert_type(ContextManager.from_dict(state, budget=Budget(4000)), ContextManager)
    assert_type(ContextManager.from_dict(state, 4000, model="gpt-4o"), ContextManager)
    assert_type(Session.from_dict(state, store, "user-42", 4000), Session)
    with Sessions(store).open("user-42", budget=Budget(4000), tools=[{"a": 1}]) as ctx:
        assert_type(ctx, Session)


async def async_backend(manager: ContextManager) -> None:
    """The same with async calls."""
    assert_type(await manager.amessages(), list[Any])
    assert_type(await manager.aprune_history(), Receipt)


async def summarise_ahead(manager: ContextManager, client: object) -> None:
    """Tickets, and the summarisers that come with ctxwin."""
    SummarizeHistory(Digest(), keep_last_turns=1, max_source_tokens=8000)
    SummarizeHistory(OpenAISummarizer(client, "gpt-4o-mini", temperature=0))
    SummarizeHistory(TransformersSummarizer("path"))
    SummarizeHistory(len)  # type: ignore[arg-type]
    assert_type(manager.should_prepare, bool)
    ticket = manager.prepare()
    assert_type(ticket, Ticket | None)
    if ticket is not None:
        assert_type(ticket.run(shorten), Ticket)
        assert_type(manager.commit(await ticket.arun(shorten)), Receipt)
        assert_type(ticket.text, str | None)
