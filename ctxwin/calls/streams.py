"""
Replies that come in parts: a view of the caller's stream, which observes how it ends.

The view yields the very same parts and has the stream's attributes. The request ends once: `ok`
when the stream has ended, `failed` or `unknown` when it breaks or tells of an error, `abandoned`
when the reader leaves early: by `close()`, by leaving the `with` block, or by dropping the view.
"""

import weakref
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeAlias

from ctxwin.calls.endings import status_at_end, status_of
from ctxwin.pruning.threads import in_thread
from ctxwin.values.request import Status
from ctxwin.values.usage import StreamUsage

End: TypeAlias = Callable[[Status, StreamUsage, BaseException | None], None]
"""Ends a request by how its stream ended, what was read of it, and the error if there was one."""


def view_of(stream: Any, end: End) -> "StreamView | AsyncStreamView":
    """
    Return a view of a stream, of the stream's colour.

    Raises `TypeError`: it is no stream.
    """
    kind = type(stream)
    if hasattr(kind, "__aiter__") or hasattr(kind, "__aenter__"):
        return AsyncStreamView(stream, end)
    if hasattr(kind, "__iter__") or hasattr(kind, "__enter__"):
        return StreamView(stream, end)
    raise TypeError(
        f"a {kind.__name__} is no stream: give what `create(stream=True)` returned"
        + (", awaited" if hasattr(kind, "__await__") else "")
    )


class _Reading:
    """What was read of a stream, and whether it has ended; it does not hold the view."""

    def __init__(self, end: End) -> None:
        self.read = StreamUsage()
        self._end: End | None = end

    def add(self, part: object) -> None:
        """Take in a part; one that cannot be read must not hurt the reader."""
        try:
            self.read.add(part)
        except Exception:  # noqa: BLE001 - figures that cannot be, or a part of a foreign class
            self.read.usage = None

    def drop(self) -> None:
        """
        End the request of a view that is collected.

        That happens wherever the collector runs, in a thread that may hold any lock: so nothing is
        learnt, which would take the conversation's.
        """
        self.read.prompt_tokens = None
        self.end("abandoned")

    def end(self, status: Status, error: BaseException | None = None) -> None:
        """End the request, once."""
        end, self._end = self._end, None
        if end is not None:
            end(status, self.read, error)


class _View:
    """What both colours share: the stream's attributes, and an end if the view is dropped."""

    def __init__(self, stream: Any, end: End) -> None:
        self._stream = stream
        self._parts: Any = None
        self._leave: Any = None
        self._reading = _Reading(end)
        self._dropped = weakref.finalize(self, self._reading.drop)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _end(self, status: Status, error: BaseException | None = None) -> None:
        self._dropped.detach()
        self._reading.end(status, error)

    def _left(self, error: BaseException | None = None) -> None:
        """
        End a stream that was left: early, unless its own methods have read it in the view's place.

        The helpers of the SDKs have such methods (`text_stream`, `get_final_message`), and a
        snapshot that says what came of them.
        """
        if self._reading.read.finish_reason is None:
            whole = _read(_snapshot_of(self._stream))
            if whole.finish_reason is not None:
                self._reading.read = whole
                self._end(status_at_end(whole), error)
                return
            if self._parts is None:
                whole.usage = None  # what is stated before the end is not all
                self._reading.read = whole
        status: Status = "abandoned"
        if error is not None and self._parts is None:
            status = _broken(error)
        self._end(status, error)

    def _entered(self, stream: Any) -> Self:
        """Go on with what the stream's own `with` gave."""
        self._stream, self._parts = stream, None
        return self


class StreamView(_View):
    """A view of a sync stream."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            if self._parts is None:
                self._parts = iter(self._stream)
            part = next(self._parts)
        except StopIteration:
            self._end(status_at_end(self._reading.read))
            raise
        except BaseException as error:
            self._end(_broken(error), error)
            raise
        self._reading.add(part)
        return part

    def __enter__(self) -> Self:
        self._leave = self._stream.__exit__
        try:  # the helpers of the SDKs send the request here
            return self._entered(self._stream.__enter__())
        except BaseException as error:
            self._end(_broken(error), error)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Any:
        try:
            return self._leave(kind, error, trace)
        finally:
            self._left(error)

    def close(self) -> None:
        """Close the stream."""
        try:
            getattr(self._stream, "close", _nothing)()
        finally:
            self._left()


class AsyncStreamView(_View):
    """A view of an async stream; observers are told in a thread."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            if self._parts is None:
                self._parts = aiter(self._stream)
            part = await anext(self._parts)
        except StopAsyncIteration:
            await in_thread(self._end, status_at_end(self._reading.read))
            raise
        except GeneratorExit:  # nothing can be awaited any more
            self._dropped.detach()
            self._reading.drop()
            raise
        except BaseException as error:
            await in_thread(self._end, _broken(error), error)
            raise
        self._reading.add(part)
        return part

    async def __aenter__(self) -> Self:
        self._leave = self._stream.__aexit__
        try:  # as in sync code
            return self._entered(await self._stream.__aenter__())
        except BaseException as error:
            await in_thread(self._end, _broken(error), error)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Any:
        try:
            return await self._leave(kind, error, trace)
        finally:
            await in_thread(self._left, error)

    async def close(self) -> None:
        """Close the stream."""
        try:
            await self._stream.close()
        finally:
            await in_thread(self._left)

    async def aclose(self) -> None:
        """Close a stream that is an async generator."""
        try:
            await self._stream.aclose()
        finally:
            await in_thread(self._end, "abandoned")


def _snapshot_of(stream: Any) -> object:
    """Return the reply as far as a helper of Anthropic's or OpenAI's SDK has it; None without."""
    for name in ("current_message_snapshot", "current_completion_snapshot"):
        with suppress(Exception):  # they assert that something was read
            return getattr(stream, name)
    return None


def _read(whole: object) -> StreamUsage:
    """Return what a snapshot says; nothing, if it cannot be read."""
    read = StreamUsage()
    with suppress(Exception):  # figures that cannot be, say
        read.add(whole)
    return read


def _nothing() -> None:
    """Stand in for the `close` of an iterator that has none."""


def _broken(error: BaseException) -> Status:
    """Return how a stream ended that raised; a cancellation or interrupt is the reader's."""
    return status_of(error) if isinstance(error, Exception) else "abandoned"
