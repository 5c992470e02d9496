"""
A stand-in for the servers of providers, for the real SDKs: it answers what a script says.

    with Stub(Reply("Hello"), Refusal(429)) as stub:
        client = openai.OpenAI(base_url=stub.openai_url, api_key="none", max_retries=0)

It speaks chat completions, Responses and Anthropic's messages, plain and streamed, as the providers
do; usage that a reply states is written in each one's own form. It runs in a thread of the test's
process on a free port. Each connection serves one request, and `close` returns when the last thread
has ended. Nothing depends on timing: a reply that never comes waits until the stub is closed.
"""

import json
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from types import MappingProxyType
from typing import Any, Literal, Self, TypeAlias

from ctxwin import Usage

Json: TypeAlias = dict[str, Any]
Events: TypeAlias = list[Json]
CREATED = 1_790_000_000
BILLED = Usage(100, 28)
CALLERS_LIMIT = 30  # seconds until a handler gives up on a caller that sends nothing


@dataclass(frozen=True, slots=True)
class Reply:
    """
    A reply.

    Attributes:
        text: what it says; streamed word by word.
        usage: what it bills; None: it does not say.
        finish: why it ends: by itself, or at the cap.
        model: the model that it names; None: the one that was asked for.
        ending: whether all of it comes. Of a stream that is `cut`, turns into an `error` or falls
            `silent`, the first half comes; of a plain reply, half of the bytes, or with `silent`
            and `error` nothing.
    """

    text: str = "All is well, and it is on its way."
    usage: Usage | None = BILLED
    finish: Literal["stop", "length"] = "stop"
    model: str | None = None
    ending: Literal["whole", "cut", "error", "silent"] = "whole"

    @property
    def words(self) -> list[str]:
        """The text in the parts that a stream sends."""
        return [word for word in self.text.replace(" ", "\0 ").split("\0") if word]


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP answer that says no; `retry_after` in seconds."""

    status: int
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """A request that the stub got."""

    path: str
    headers: dict[str, str]
    body: Json


class Stub:
    """
    The server, and what it is to answer next; a context manager.

    Attributes:
        url: where it listens, which is Anthropic's base URL.
        openai_url: the base URL for OpenAI's SDK.
        received: the requests that it got, in order.
    """

    def __init__(self, *steps: Reply | Refusal) -> None:
        self.received: list[Received] = []
        self.closing = threading.Event()
        self._steps = deque(steps)
        self._numbers = count(1)
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.openai_url = f"{self.url}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def then(self, *steps: Reply | Refusal) -> None:
        """Answer these next, once the others are done."""
        self._steps.extend(steps)

    def close(self) -> None:
        """End every reply that never comes, the server and its threads."""
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()  # waits for the handlers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def next_step(self, received: Received) -> tuple[Reply | Refusal, str]:
        """Return what to answer, and an id that no other reply has."""
        self.received.append(received)
        # No status that an SDK would try again: what is missing in a script must show.
        return self._steps.popleft() if self._steps else Refusal(418), f"{next(self._numbers):08d}"


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for them

    def __init__(self, stub: Stub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stub = stub


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = CALLERS_LIMIT
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
        """Say nothing."""

    def do_POST(self) -> None:
        """Answer a request by the next step of the script."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        step, number = self.server.stub.next_step(Received(self.path, dict(self.headers), body))
        form = FORMS[self.path]
        try:
            if isinstance(step, Refusal):
                self._send_json(step.status, form.error(step.status), step.retry_after)
            elif body.get("stream"):
                self._send_stream(form, step, number, body)
            elif step.ending == "silent":
                self.server.stub.closing.wait()
            elif step.ending == "error":
                self._send_json(500, form.error(500))
            else:
                model = step.model or body["model"]
                self._send_json(200, form.whole(step, number, model), cut=step.ending == "cut")
        except ConnectionError:
            pass  # the caller has left
        finally:
            self.close_connection = True

    def _send_json(
        self, status: int, value: Json, retry_after: int | None = None, *, cut: bool = False
    ) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.send_header("x-request-id", "req_stub")
        if retry_after is not None:
            self.send_header("retry-after", str(retry_after))
        self._end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)

    def _send_stream(self, form: "_Form", reply: Reply, number: str, body: Json) -> None:
        blocks = list(form.blocks(reply, number, body))
        whole = reply.ending == "whole"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self._end_headers()
        for block in blocks if whole else blocks[: len(blocks) // 2]:
            self._send_chunk(block)
        if reply.ending == "silent":
            self.server.stub.closing.wait()
        elif reply.ending == "error":
            for block in form.broken(number, reply.model or body["model"]):
                self._send_chunk(block)
        if reply.ending in ("whole", "error"):
            self._send_chunk("")  # ends the body; without it the SDK sees a broken connection

    def _end_headers(self) -> None:
        self.send_header("connection", "close")
        self.end_headers()

    def _send_chunk(self, text: str) -> None:
        content = text.encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))
        self.wfile.flush()


class _Form:
    """How a provider writes replies: whole, in the events of a stream, and errors."""

    def whole(self, reply: Reply, number: str, model: str) -> Json:
        """Return a reply that comes at once."""
        raise NotImplementedError

    def events(self, reply: Reply, number: str, body: Json) -> Iterator[Json]:
        """Yield the events of a streamed reply."""
        raise NotImplementedError

    def error(self, status: int) -> Json:
        """Return the body of an answer that says no."""
        raise NotImplementedError

    def blocks(self, reply: Reply, number: str, body: Json) -> Iterator[str]:
        """Yield a streamed reply as it goes over the wire, block by block."""
        return map(_named, self.events(reply, number, body))

    def broken(self, number: str, model: str) -> Iterator[str]:
        """Yield the last blocks of a stream that turns into an error."""
        yield _named({"type": "error", **self.error(500)})


def _named(event: Json) -> str:
    """Return an event as Responses and Anthropic send it."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"


class _Chat(_Form):
    """Chat completions."""

    def whole(self, reply: Reply, number: str, model: str) -> Json:
        message: Json = {
            "role": "assistant",
            "content": reply.text,
            "refusal": None,
            "annotations": [],
        }
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish}
        stated = {} if reply.usage is None else {"usage": self._usage(reply.usage)}
        return {**self._head("chat.completion", number, model), "choices": [choice], **stated}

    def blocks(self, reply: Reply, number: str, body: Json) -> Iterator[str]:
        for event in self.events(reply, number, body):
            yield f"data: {json.dumps(event)}\n\n"
        yield "data: [DONE]\n\n"

    def events(self, reply: Reply, number: str, body: Json) -> Iterator[Json]:
        asked = (body.get("stream_options") or {}).get("include_usage")
        usage = reply.usage if asked else None
        head = self._head("chat.completion.chunk", number, reply.model or body["model"])
        if usage is not None:  # then each chunk has the field, and one more comes, without choices
            head["usage"] = None

        def chunk(delta: Json, finish: str | None = None) -> Json:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return {**head, "choices": [choice]}

        yield chunk({"role": "assistant", "content": "", "refusal": None})
        for word in reply.words:
            yield chunk({"content": word})
        yield chunk({}, reply.finish)
        if usage is not None:
            yield {**head, "choices": [], "usage": self._usage(usage)}

    def error(self, status: int) -> Json:
        code = {401: "invalid_api_key", 429: "rate_limit_exceeded"}.get(status)
        kind = {401: "invalid_request_error", 429: "requests"}.get(status, "server_error")
        return {
            "error": {"message": f"stub says {status}", "type": kind, "param": None, "code": code}
        }

    def broken(self, number: str, model: str) -> Iterator[str]:
        yield f"data: {json.dumps(self.error(500))}\n\n"

    def _head(self, kind: str, number: str, model: str) -> Json:
        names = {"id": f"chatcmpl-{number}", "object": kind, "created": CREATED, "model": model}
        return {**names, "service_tier": "default", "system_fingerprint": "fp_stub"}

    def _usage(self, usage: Usage) -> Json:
        return {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
            "prompt_tokens_details": {
                "cached_tokens": usage.cache_read_tokens,
                "cache_write_tokens": usage.cache_write_tokens,
                "audio_tokens": usage.audio_input_tokens,
            },
            "completion_tokens_details": {
                "reasoning_tokens": usage.reasoning_tokens,
                "audio_tokens": usage.audio_output_tokens,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }


class _Responses(_Form):
    """OpenAI's Responses."""

    def whole(self, reply: Reply, number: str, model: str) -> Json:
        status = "completed" if reply.finish == "stop" else "incomplete"
        item = self._item(number, status, [self._part(reply.text)])
        return self._response(
            number,
            model,
            status,
            output=[item],
            incomplete_details=None if reply.finish == "stop" else {"reason": "max_output_tokens"},
            usage=None if reply.usage is None else self._usage(reply.usage),
        )

    def events(self, reply: Reply, number: str, body: Json) -> Iterator[Json]:
        for place, event in enumerate(self._events(reply, number, body)):
            yield {**event, "sequence_number": place}

    def _events(self, reply: Reply, number: str, body: Json) -> Iterator[Json]:
        model = reply.model or body["model"]
        whole = self.whole(reply, number, model)
        begun = self._response(number, model, "in_progress")
        at = {"output_index": 0}
        of = {"item_id": f"msg_{number}", **at, "content_index": 0}
        yield {"type": "response.created", "response": begun}
        yield {"type": "response.in_progress", "response": begun}
        empty = self._item(number, "in_progress", [])
        yield {"type": "response.output_item.added", **at, "item": empty}
        yield {"type": "response.content_part.added", **of, "part": self._part("")}
        for word in reply.words:
            yield {"type": "response.output_text.delta", **of, "delta": word, "logprobs": []}
        yield {"type": "response.output_text.done", **of, "text": reply.text, "logprobs": []}
        yield {"type": "response.content_part.done", **of, "part": self._part(reply.text)}
        yield {"type": "response.output_item.done", **at, "item": whole["output"][0]}
        yield {"type": f"response.{whole['status']}", "response": whole}

    def error(self, status: int) -> Json:
        return CHAT.error(status)

    def broken(self, number: str, model: str) -> Iterator[str]:
        error = {"code": "server_error", "message": "stub says 500"}
        failed = self._response(number, model, "failed", error=error)
        yield _named({"type": "error", **error, "param": None, "sequence_number": 98})
        yield _named({"type": "response.failed", "response": failed, "sequence_number": 99})

    def _response(self, number: str, model: str, status: str, **more: Any) -> Json:
        return {
            "id": f"resp_{number}",
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "model": model,
            "output": [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": None,
            "metadata": {},
            **more,
        }

    def _item(self, number: str, status: str, content: list[Json]) -> Json:
        names = {"id": f"msg_{number}", "type": "message", "status": status}
        return {**names, "role": "assistant", "content": content}

    def _part(self, text: str) -> Json:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def _usage(self, usage: Usage) -> Json:
        return {
            "input_tokens": usage.input_tokens,
            "input_tokens_details": {
                "cached_tokens": usage.cache_read_tokens,
                "cache_write_tokens": usage.cache_write_tokens,
            },
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            "total_tokens": usage.input_tokens + usage.output_tokens,
        }


class _Messages(_Form):
    """Anthropic's messages."""

    def whole(self, reply: Reply, number: str, model: str) -> Json:
        stated = {} if reply.usage is None else {"usage": self._usage(reply.usage)}
        return {
            **self._head(number, model),
            "content": [{"type": "text", "text": reply.text, "citations": None}],
            "stop_reason": self._reason(reply),
            "stop_sequence": None,
            **stated,
        }

    def events(self, reply: Reply, number: str, body: Json) -> Iterator[Json]:
        head = self._head(number, reply.model or body["model"])
        begun = {**head, "content": [], "stop_reason": None, "stop_sequence": None}
        ended: Json = {}
        if reply.usage is not None:  # the output is not known at first; the last figures are whole
            begun["usage"] = {**self._usage(reply.usage), "output_tokens": 1}
            figures = self._usage(reply.usage)
            names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
            ended["usage"] = {name: figures[name] for name in (*names, "output_tokens")}
        yield {"type": "message_start", "message": begun}
        block = {"type": "text", "text": ""}
        yield {"type": "content_block_start", "index": 0, "content_block": block}
        yield {"type": "ping"}
        for word in reply.words:
            delta = {"type": "text_delta", "text": word}
            yield {"type": "content_block_delta", "index": 0, "delta": delta}
        yield {"type": "content_block_stop", "index": 0}
        reason = {"stop_reason": self._reason(reply), "stop_sequence": None}
        yield {"type": "message_delta", "delta": reason, **ended}
        yield {"type": "message_stop"}

    def error(self, status: int) -> Json:
        kinds = {401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}
        error = {"type": kinds.get(status, "api_error"), "message": f"stub says {status}"}
        return {"type": "error", "error": error, "request_id": "req_stub"}

    def _head(self, number: str, model: str) -> Json:
        return {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": model}

    def _reason(self, reply: Reply) -> str:
        return {"stop": "end_turn", "length": "max_tokens"}[reply.finish]

    def _usage(self, usage: Usage) -> Json:
        hour = usage.cache_write_1h_tokens
        cached = usage.cache_read_tokens + usage.cache_write_tokens
        return {
            "input_tokens": usage.input_tokens - cached,
            "cache_creation_input_tokens": usage.cache_write_tokens,
            "cache_read_input_tokens": usage.cache_read_tokens,
            "cache_creation": {
                "ephemeral_5m_input_tokens": usage.cache_write_tokens - hour,
                "ephemeral_1h_input_tokens": hour,
            },
            "output_tokens": usage.output_tokens,
            "service_tier": "standard",
        }


CHAT = _Chat()
FORMS = MappingProxyType(
    {"/v1/chat/completions": CHAT, "/v1/responses": _Responses(), "/v1/messages": _Messages()}
)
