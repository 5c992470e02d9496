"""Views of streams: the same parts, and exactly one ending, however reading ends."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any, Self

import pytest

from around import Observes, chat
from ctxwin import Usage

CHUNKS: list[dict[str, Any]] = [
    {"id": "c1", "model": "m-2026", "choices": [{"delta": {"content": "not"}}]},
    {"id": "c1", "choices": [{"delta": {"content": "hing"}, "finish_reason": "stop"}]},
    {"id": "c1", "choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 2}},
]


class Stream:
    """A stream as an SDK gives it, in both colours."""

    def __init__(self, parts: Any = CHUNKS, error: BaseException | None = None) -> None:
        self.parts, self.error = iter(parts), error
        self.closed = 0
        self.response = "the response"

    def __iter__(self) -> Iterator[Any]:
        yield from self.parts
        if self.error is not None:
            raise self.error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed += 1


class AsyncStream(Stream):
    __iter__ = None  # type: ignore[assignment]

    async def __aiter__(self) -> AsyncIterator[Any]:
        for part in self.parts:
            yield part
        if self.error is not None:
            raise self.error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:  # type: ignore[override]
        self.closed += 1


def watched(stream: Any) -> tuple[Any, Observes]:
    observer = Observes()
    ctx = chat(observer)
    return ctx.streamed(stream, ctx.request()), observer


def ending(observer: Observes) -> tuple[Any, ...]:
    (told,) = observer.seen
    return told.status, told.usage, told.estimated, told.text


WHOLE = ("ok", Usage(20, 2), False, "nothing")


def test_a_view_yields_the_same_parts_and_ends_with_the_stream() -> None:
    """In both colours, in a `with` block or not; attributes are the stream's."""
    view, observer = watched(Stream())
    assert view.response == "the response"
    assert [part is chunk for part, chunk in zip(view, CHUNKS, strict=True)] == [True] * 3
    assert ending(observer) == WHOLE
    assert observer.last.reply_id == "c1"
    assert list(view) == []
    view.close()
    view, observer = watched(Stream())
    with view as entered:
        assert list(entered) == CHUNKS
    assert ending(observer) == WHOLE

    async def main() -> None:
        view, observer = watched(AsyncStream())
        assert view.response == "the response"
        assert [part async for part in view] == CHUNKS
        assert ending(observer) == WHOLE
        await view.close()
        view, observer = watched(AsyncStream())
        async with view as entered:
            assert [part async for part in entered] == CHUNKS
        assert ending(observer) == WHOLE

    asyncio.run(main())


def test_a_stream_without_usage_is_estimated() -> None:
    """As any reply is."""
    view, observer = watched(iter(CHUNKS[:2]))
    list(view)
    status, usage, estimated, text = ending(observer)
    assert (status, estimated, text) == ("ok", True, "nothing")
    assert usage == Usage(observer.last.predicted_tokens or 0, 1)


def test_a_reader_may_leave_early() -> None:
    """By `close`, by `break` in a `with` block, by dropping the view; or never begin."""

    def close(view: Any) -> None:
        next(view)
        view.close()
        view.close()

    def leave(view: Any) -> None:
        with view:
            next(view)

    def drop(view: Any) -> None:
        for _ in view:
            break

    def never(view: Any) -> None:
        """Not even begin."""

    for way in (close, leave, drop, never):
        view, observer = watched(Stream())
        way(view)
        del view
        gc.collect()
        status, usage, estimated, text = ending(observer)
        assert (status, estimated) == ("abandoned", True)
        assert text == (None if way is never else "not")
        assert usage is not None

    async def main() -> None:
        for way in ("close", "aclose", "with", "drop"):
            stream: Any = AsyncStream()
            if way == "aclose":
                stream = stream.__aiter__()
            view, observer = watched(stream)
            if way == "with":
                async with view:
                    await anext(view)
            else:
                await anext(view)
            if way in ("close", "aclose"):
                await getattr(view, way)()
            del view
            gc.collect()
            assert ending(observer)[0] == "abandoned"

    asyncio.run(main())


class HTTPError(Exception):
    status_code = 500


@pytest.mark.parametrize(
    ("error", "status"),
    [(HTTPError(), "failed"), (OSError("cut"), "unknown"), (KeyboardInterrupt(), "abandoned")],
)
def test_a_stream_that_breaks_says_how(error: BaseException, status: str) -> None:
    """The reader gets the very error."""
    view, observer = watched(Stream(CHUNKS[:1], error))
    with pytest.raises(type(error)) as caught:
        list(view)
    assert caught.value is error
    assert ending(observer)[0] == status
    assert observer.last.error is error
    assert (observer.last.usage is None) == (status == "failed")

    async def main() -> None:
        view, observer = watched(AsyncStream(CHUNKS[:1], error))
        with pytest.raises(type(error)):
            async for _ in view:
                pass
        assert ending(observer)[0] == status

    if isinstance(error, Exception):
        asyncio.run(main())


def test_a_reader_that_is_cancelled_has_left() -> None:
    """The cancellation passes, and the request has ended."""

    async def never() -> AsyncIterator[Any]:
        yield CHUNKS[0]
        await asyncio.Event().wait()

    async def main() -> None:
        view, observer = watched(never())
        assert await anext(view) == CHUNKS[0]
        task = asyncio.create_task(anext(view))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ending(observer)[0] == "abandoned"

    asyncio.run(main())


def test_a_reader_whose_loop_is_gone_has_left() -> None:
    """Where nothing can be awaited any more, observers are told right there."""

    class Waits:
        def __aiter__(self) -> Self:
            return self

        async def __anext__(self) -> Any:
            class Forever:
                def __await__(self) -> Any:
                    yield

            await Forever()

    view, observer = watched(Waits())
    coroutine = view.__anext__()
    coroutine.send(None)
    coroutine.close()
    assert ending(observer)[0] == "abandoned"


def test_a_part_that_cannot_be_read_does_not_hurt_the_reader() -> None:
    """Figures that cannot be count as not stated."""
    parts = [*CHUNKS[:2], {"choices": [], "usage": {"prompt_tokens": -1}}, 7]
    view, observer = watched(iter(parts))
    assert list(view) == parts
    assert ending(observer)[:1] + ending(observer)[2:] == ("ok", True, "nothing")


def test_a_part_of_a_hostile_class_does_not_hurt_the_reader() -> None:
    """Whatever its attributes raise."""

    class Hostile:
        def __getattr__(self, name: str) -> Any:
            raise OSError(name)

    part = Hostile()
    view, observer = watched(iter([part]))
    assert list(view) == [part]
    assert ending(observer)[0] == "ok"


def test_what_is_no_stream_is_refused() -> None:
    """A coroutine that nobody awaited, for one."""

    async def create() -> None:
        """As an async client's `create`."""

    ctx = chat()
    coroutine = create()
    with pytest.raises(TypeError, match=r"a coroutine is no stream: .* returned, awaited"):
        ctx.streamed(coroutine, ctx.request())
    coroutine.close()
    with pytest.raises(TypeError, match="a int is no stream"):
        ctx.streamed(3, ctx.request())


def test_a_view_may_be_read_in_another_thread() -> None:
    """It ends there."""
    from concurrent.futures import ThreadPoolExecutor

    view, observer = watched(Stream())
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(list, view).result() == CHUNKS
    assert ending(observer) == WHOLE


WHOLE_REPLY = {
    "type": "message",
    "id": "m1",
    "model": "m-2026",
    "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "nothing"}],
    "usage": {"input_tokens": 20, "output_tokens": 2},
}


class Helper(Stream):
    """A stream as a helper of an SDK gives it, which may read itself."""

    snapshot: dict[str, Any] | None = None

    @property
    def current_message_snapshot(self) -> dict[str, Any]:
        assert self.snapshot is not None
        return self.snapshot


class AsyncHelper(AsyncStream):
    current_completion_snapshot = WHOLE_REPLY


def test_a_stream_that_its_helper_has_read_has_ended() -> None:
    """As its snapshot says: whole, under way, or not begun."""
    begun = {**WHOLE_REPLY, "stop_reason": None}
    for snapshot, text in ((WHOLE_REPLY, "nothing"), (begun, "nothing"), (None, None)):
        view, observer = watched(Helper())
        with view:
            view._stream.snapshot = snapshot
        status, usage, estimated, said = ending(observer)
        assert said == text
        assert (status == "ok") == (usage == Usage(20, 2)) == (snapshot is WHOLE_REPLY)
        assert estimated == (status == "abandoned")
    view, observer = watched(Helper())
    next(view)
    view._stream.snapshot = WHOLE_REPLY
    view.close()  # its helper has read on
    assert ending(observer)[::3] == ("ok", "nothing")

    async def main() -> None:
        view, observer = watched(AsyncHelper())
        async with view:
            pass
        assert ending(observer) == WHOLE

    asyncio.run(main())
