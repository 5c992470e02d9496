"""
A chat backend: one endpoint, any number of workers on one store, answers streamed.

    CTXWIN_STORE=sqlite:///chats.db uvicorn --app-dir tests/sessions --workers 8 backend:app
"""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from anyio import CancelScope  # FastAPI brings it
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from ctxwin.sessions import open_store

OPTIONS: dict[str, Any] = {
    "max_tokens": 200,
    "model": "gpt-4o",
    "strategies": ["summarize-history"],
}

app = FastAPI()
store = open_store(os.environ["CTXWIN_STORE"])


class Question(BaseModel):
    """What a user says."""

    text: str


async def model(request: list[dict[str, Any]]) -> AsyncIterator[str]:
    """Stand in for a model that streams: it repeats what the user said last."""
    question = next(
        message["content"] for message in reversed(request) if message["role"] == "user"
    )
    for word in f"You asked: {question}".split(" "):
        await asyncio.sleep(0)
        yield f"{word} "


@app.post("/chat/{session}")
async def chat(session: str, question: Question) -> StreamingResponse:
    """Answer a question in a conversation."""
    # The session is open while something is done with it, not while the model speaks: others may
    # write meanwhile.
    async with store.aopen(session, **OPTIONS) as ctx:
        await ctx.aadd_message("user", question.text)
        request = await ctx.amessages()
    return StreamingResponse(answer(session, request), media_type="text/plain")


async def answer(session: str, request: list[dict[str, Any]]) -> AsyncIterator[str]:
    """Pass the answer on; it is stored before the stream ends, so the next question finds it."""
    said: list[str] = []
    try:
        async for piece in model(request):
            said.append(piece)
            yield piece
    finally:
        # Where the client goes away in the middle, this is cancelled, or closed when it is
        # collected. What was said so far is stored all the same, for the user may have seen it; the
        # shield keeps the cancellation out meanwhile. An answer of nothing is no message.
        with CancelScope(shield=True):
            if said:
                async with store.aopen(session, **OPTIONS) as ctx:
                    await ctx.aadd_message("assistant", "".join(said).strip())
