"""
How a request ends: what was billed is learnt and told, once.

A request may be ended by a reply, a stream, an error or a plugin's answer. The first ending counts;
a second one on this manager is ignored and logged. Usage that the provider did not state is
estimated; estimates never calibrate a counter.
"""

from collections import OrderedDict
from dataclasses import replace
from threading import RLock
from typing import Any

from ctxwin.values.errors import CounterError, logger
from ctxwin.values.message import Message
from ctxwin.values.request import Observation, Request, Status, Tags, checked_tags
from ctxwin.values.usage import StreamUsage, Usage, input_tokens

REMEMBERED = 1_000  # requests whose ending a manager remembers

# Why a reply ended, where a limit on its length cut it off: OpenAI, Responses, Anthropic, Gemini.
CUT_OFF = frozenset(
    {"length", "max_tokens", "max_output_tokens", "model_context_window_exceeded", "MAX_TOKENS"}
)


class Endings:
    """
    Which requests have ended on this manager: the last thousand.

    Attributes:
        answering: held while a plugin's answer is taken into the conversation.
    """

    def __init__(self) -> None:
        self._ended: OrderedDict[str, Message | None] = OrderedDict()
        # Reentrant: a view that is collected ends its request wherever the collector runs.
        self._lock = RLock()
        self.answering = RLock()

    def claim(self, request: Request, message: Message | None = None) -> bool:
        """Record that a request ends now; returns False, and logs it, if it has ended before."""
        with self._lock:
            if request.id not in self._ended:
                self._ended[request.id] = message
                while len(self._ended) > REMEMBERED:
                    self._ended.popitem(last=False)
                return True
            if message is not None:
                self._ended[request.id] = message
        logger().warning("request %s has ended already: its second ending is ignored", request.id)
        return False

    def has(self, request: Request) -> bool:
        """Return whether a request has ended."""
        return request.id in self._ended

    def message(self, request: Request) -> Message | None:
        """Return the message that a request ended in, if a plugin's answer was taken in."""
        return self._ended.get(request.id)


def read_reply(reply_or_usage: object) -> StreamUsage:
    """Return what a reply or a usage says; without usage where it states none that can be."""
    read = StreamUsage()
    try:
        read.add(reply_or_usage)
        if read.usage is None:
            read.usage = Usage.of(reply_or_usage)
            read.prompt_tokens = input_tokens(reply_or_usage)
    except ValueError:
        read.usage = None
    return read


def ended(
    status: Status,
    request: Request | None,
    tags: Tags,
    read: StreamUsage | None = None,
    error: BaseException | None = None,
) -> Observation:
    """
    Return the observation of an ending.

    Args:
        status: how it ended.
        request: which request; None where that is not known.
        tags: more tags.
        read: what the reply says of itself; None without one.
        error: what went wrong.

    Raises:
        ValueError: a tag is malformed, or there are too many.
    """
    read = read or StreamUsage()
    reason, text = read.finish_reason, read.text
    own_tags = {} if request is None else request.tags
    return Observation(
        request=request,
        request_id=None if request is None else request.id,
        reply_id=read.reply_id,
        model=read.model or (None if request is None else request.model),
        usage=read.usage,
        estimated=False,
        predicted_tokens=None if request is None else request.tokens,
        status=status,
        finish_reason=reason,
        truncated=reason in CUT_OFF,
        text=text if text or reason else None,
        error=error,
        tags=checked_tags({**own_tags, **tags}),
    )


def estimated(observation: Observation, count: Any) -> Observation:
    """Return an observation with usage: where none was stated, what was predicted and counted."""
    request = observation.request
    if observation.usage is not None or request is None:
        return observation
    try:
        output_tokens = count(observation.text) if observation.text else 0
    except CounterError:
        return observation
    return replace(observation, usage=Usage(request.tokens, output_tokens), estimated=True)


def status_of(error: BaseException | None) -> Status:
    """
    Return how a request ended with an error: an HTTP answer that said no is not billed.

    One that said yes before its stream broke off may be: Anthropic's SDK raises an error of status
    200 for an `error` event.
    """
    try:
        response = getattr(error, "response", None)
        codes = [getattr(held, "status_code", None) for held in (error, response)]
        codes.append(getattr(error, "code", None))  # Google's SDK
    except Exception:  # noqa: BLE001 - a foreign property
        return "unknown"
    said_no = any(type(code) is int and not 200 <= code < 300 for code in codes)
    return "failed" if said_no else "unknown"


def status_at_end(read: StreamUsage) -> Status:
    """Return how a stream ended that did not raise: Responses tells a failure by an event."""
    return "unknown" if read.finish_reason == "failed" else "ok"
