"""Sessions in an event loop: methods that wait for the store have async twins."""

import asyncio
from typing import Any

from ctxwin.sessions import open_store

store = open_store("sqlite:///chats.db")


async def request(text: str) -> list[dict[str, Any]]:
    async with store.aopen("user-42", max_tokens=4000, model="gpt-4o") as ctx:
        await ctx.aadd_message("user", text)
        return await ctx.amessages()


print(asyncio.run(request("Where is my parcel?")))
#> [{'role': 'user', 'content': 'Where is my parcel?'}]
store.close()
