"""Never wait for a summary: write it in the background, and use it when it is ready."""

import asyncio
from collections.abc import Sequence

from ctxwin import Budget, ContextManager, Message


async def summarize(messages: Sequence[Message], previous: str | None, max_tokens: int) -> str:
    return f"{len(messages)} messages about parcels."  # your model writes this


async def make_summary(ctx: ContextManager) -> None:
    if ticket := ctx.prepare():  # a snapshot; it pickles, so another process can do the work
        ctx.commit(await ticket.arun(summarize))  # applied if the log still extends the snapshot


async def chat() -> None:
    budget = Budget(300, low=0.5, soft=0.8)  # prepare above 80 %, cut above 100 %
    ctx = ContextManager(budget=budget, model="gpt-4o", strategies=["summarize-history"])
    for number in range(20):
        ctx.add_message("user", f"Where is parcel {number}?")
        ctx.messages()  # send this: no model is called here
        ctx.add_message("assistant", f"Parcel {number} is on its way.")
        if ctx.should_prepare:
            await make_summary(ctx)  # in a backend: asyncio.create_task(make_summary(ctx))
    print(ctx.messages()[0]["content"])


asyncio.run(chat())
#> 18 messages about parcels.
