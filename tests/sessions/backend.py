"""
A chat backend: one endpoint, any number of workers on one store, answers streamed.

    CTXWIN_STORE=sqlite:///chats.db uvicorn --app-dir tests/sessions --workers 8 backend:app
"""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from ctxwin.sessions import open_store

OPTIONS: dict[str, Any] = {"max_tokens": 200, "model": "gpt-4o", "strategies": ["summarize-history"]}

app = FastAPI()
store = open_store(os.environ["CTXWIN_STORE"])


class Question(BaseModel):
    """What a user says."""

    text: str


async def model(request: list[dict[str, Any]]) -> AsyncIterator[str]:
    """Stand in for a model that streams: it repeats what it was asked."""
    for word in f"You asked: {request[-1]['content']}".split(" "):
        await asyncio.sleep(0)
        yield f"{word} "


@app.post("/chat/{session}")
async def chat(session: str, question: Question) -> StreamingResponse:
    """Answer a question in a conversation."""

    async def answer() -> AsyncIterator[str]:
        said: list[str] = []
        try:
            async for piece in model(request):
                said.append(piece)
                yield piece
        finally:  # also where the client went away: what it was told is what the conversation holds
            await asyncio.shield(remember(session, "".join(said)))

    # The session is open while something is done with it, not while the model speaks: others may write meanwhile.
    async with store.aopen(session, **OPTIONS) as ctx:
        await ctx.aadd_message("user", question.text)
        request = await ctx.amessages()
    return StreamingResponse(answer(), media_type="text/plain")


async def remember(session: str, text: str) -> None:
    """Store an answer, before the stream of it ends."""
    async with store.aopen(session, **OPTIONS) as ctx:
        await ctx.aadd_message("assistant", text.strip())
