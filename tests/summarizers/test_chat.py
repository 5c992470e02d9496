"""`OpenAISummarizer` with clients that only look like one."""

import asyncio
from types import SimpleNamespace as Bag
from typing import Any

import pytest

from ctxwin import ContextManager, Message, SummarizerError
from ctxwin.summarizers import OpenAISummarizer
from ctxwin.testing import WordCounter
from ctxwin_plugins.summarize_history import SummarizeHistory

MESSAGES = [Message(1, {"role": "user", "content": "my invoice is wrong"})]


def reply(content: Any = " as agreed ", reason: str = "stop", refusal: str | None = None) -> Bag:
    return Bag(choices=[Bag(finish_reason=reason, message=Bag(content=content, refusal=refusal))])


class Client:
    """Answers with a given reply, and remembers what it was asked."""

    def __init__(self, answer: Any) -> None:
        self.asked: list[dict[str, Any]] = []
        self.chat = Bag(completions=Bag(create=self._create))
        self.answer = answer

    def _create(self, **request: Any) -> Any:
        self.asked.append(request)
        return self.answer() if callable(self.answer) else self.answer


def test_a_summary_is_asked_for() -> None:
    """The model is asked with the bound under the name that the server knows, and the options."""
    client = Client(reply())
    summarizer = OpenAISummarizer(client, "gpt-x", limit="max_completion_tokens", temperature=0)
    assert summarizer(MESSAGES, "before", 50) == "as agreed"
    (asked,) = client.asked
    assert (asked["model"], asked["max_completion_tokens"], asked["temperature"]) == (
        "gpt-x",
        50,
        0,
    )
    assert [message["role"] for message in asked["messages"]] == ["system", "user"]
    assert "before" in asked["messages"][1]["content"]
    assert repr(summarizer) == "OpenAISummarizer(Client, 'gpt-x')"
    OpenAISummarizer(client, "gpt-x", limit=None)(MESSAGES, None, 50)
    assert set(client.asked[1]) == {"model", "messages"}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (reply(refusal="I would rather not"), "refused: 'I would rather not'"),
        (reply(reason="content_filter"), "refused: content filter"),
        (reply(reason="length"), "cut off"),
        (reply(None), "said nothing"),
        (reply(" \n"), "said nothing"),
        (Bag(choices=[]), "no choices"),
    ],
    ids=["refusal", "filter", "length", "none", "blank", "no choices"],
)
def test_what_is_no_summary_is_an_error(answer: Any, says: str) -> None:
    """With both clients; and the window stays without it."""

    async def later() -> Any:
        return answer

    with pytest.raises(SummarizerError, match=says):
        OpenAISummarizer(Client(answer), "gpt-x")(MESSAGES, None, 50)
    with pytest.raises(SummarizerError, match=says):
        asyncio.run(_awaited(OpenAISummarizer(Client(later), "gpt-x")(MESSAGES, None, 50)))


async def _awaited(answer: Any) -> Any:
    return await answer


def over_budget(summarizer: Any) -> ContextManager:
    ctx = ContextManager(120, counter=WordCounter(), strategies=[SummarizeHistory(summarizer)])
    for number in range(9):
        ctx.add_message("user", f"question {number} " + "word " * 9)
        ctx.add_message("assistant", f"answer {number} " + "word " * 9)
    return ctx


def test_both_colours_in_a_manager() -> None:
    """An async client under a sync call is refused, and leaves no coroutine behind."""

    async def later() -> Any:
        await asyncio.sleep(0)
        return reply()

    ctx = over_budget(OpenAISummarizer(Client(reply()), "gpt-x"))
    assert ctx.messages()[0]["content"] == "as agreed"
    ctx = over_budget(OpenAISummarizer(Client(later), "gpt-x"))
    assert asyncio.run(ctx.amessages())[0]["content"] == "as agreed"
    for answer in (later, Later):
        ctx = over_budget(OpenAISummarizer(Client(answer), "gpt-x"))
        assert ctx.messages()
        assert ctx.last_receipt is not None
        assert "the summariser is async" in ctx.last_receipt.rejected[0].reason


class Later:
    """An awaitable that is not a coroutine."""

    def __await__(self) -> Any:
        yield


def test_what_is_no_client_is_refused() -> None:
    """The constructor refuses it, and options that the summariser sets itself."""
    with pytest.raises(TypeError, match="object has no chat"):
        OpenAISummarizer(object(), "gpt-x")
    for option in ("max_tokens", "messages"):
        options: dict[str, Any] = {option: None}
        with pytest.raises(TypeError, match=f"{option} is set by the summariser itself"):
            OpenAISummarizer(Client(None), "gpt-x", **options)
