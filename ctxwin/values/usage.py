"""
What a provider bills for a request, read from any provider's form.

Providers name the same figures differently, and add them up differently: some state cached tokens
inside the input, some beside it. `Usage.of` knows each form, and nobody else derives these figures
again. `FORMS` is the one table of field names.
"""

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, fields
from typing import Any, NamedTuple

from ctxwin.values.errors import quoted

Fields = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Usage:
    """
    The tokens of one request that a provider bills.

    `+` adds two up. Cached reads and cache writes are parts of the input that exclude each other.

    Attributes:
        input_tokens: the whole input, cached or not.
        output_tokens: the whole output, reasoning included.
        cache_read_tokens: the part of the input that was read from a cache.
        cache_write_tokens: the part of the input that was written to a cache.
        cache_write_1h_tokens: the part of `cache_write_tokens` that was written for an hour.
        audio_input_tokens: the part of the input that was audio.
        reasoning_tokens: the part of the output that was reasoning.
        audio_output_tokens: the part of the output that was audio.

    Raises:
        ValueError: a figure is not a whole number of at least 0, or a part is larger than its
            whole.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    audio_input_tokens: int = 0
    reasoning_tokens: int = 0
    audio_output_tokens: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            _checked(getattr(self, field.name), field.name)
        for whole, parts in PARTS:
            if sum(getattr(self, part) for part in parts) > getattr(self, whole):
                stated = ", ".join(f"{name}={getattr(self, name)}" for name in (*parts, whole))
                raise ValueError(f"a part cannot be larger than its whole: {stated}")

    def __add__(self, other: "Usage") -> "Usage":
        if not isinstance(other, Usage):
            return NotImplemented
        return Usage(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @classmethod
    def of(cls, reply_or_usage: object) -> "Usage":
        """
        Read what a provider billed.

        Args:
            reply_or_usage: a `Usage`, the usage that came with a reply (a mapping or an SDK
                object), or the reply that holds it: OpenAI (chat completions and Responses),
                Anthropic, Gemini, Bedrock, and hosts that take after one of them.

        Raises:
            ValueError: it states no input tokens (a total is no substitute: it includes the
                output), or figures that cannot be.
        """
        if isinstance(reply_or_usage, Usage):
            return reply_or_usage
        get = _usage_of(reply_or_usage)
        form = _form(get, reply_or_usage)
        read, write = _first(get, form.read), _first(get, form.write)
        # Only what stands beside the input is not in it yet.
        beside = _sum(get, (*form.read_beside, *form.write_beside, *form.input_beside))
        output = _at(get, form.output) + _sum(get, form.output_beside)
        whole = _at(get, form.input) + beside
        # A stated total that is larger has reasoning which no field states: Gemini behind OpenAI's
        # form and xAI do so (recorded rows of both: total = prompt + completion + reasoning).
        surplus = max(0, _at(get, form.total) - whole - output)
        return cls(
            input_tokens=whole,
            output_tokens=output + surplus,
            cache_read_tokens=read + _sum(get, form.read_beside),
            cache_write_tokens=write + _sum(get, form.write_beside),
            cache_write_1h_tokens=_first(get, form.write_1h) + _hour_of(get),
            audio_input_tokens=_first(get, form.audio_input) + _audio(get, form.input_modalities),
            reasoning_tokens=max(_first(get, form.reasoning), surplus),
            audio_output_tokens=_first(get, form.audio_output)
            + _audio(get, form.output_modalities),
        )


PARTS = (
    ("input_tokens", ("cache_read_tokens", "cache_write_tokens")),
    ("input_tokens", ("audio_input_tokens",)),
    ("cache_write_tokens", ("cache_write_1h_tokens",)),
    ("output_tokens", ("reasoning_tokens",)),
    ("output_tokens", ("audio_output_tokens",)),
)


class Form(NamedTuple):
    """
    Where a provider states its figures: paths, with a dot for what is nested.

    What is `beside` the input or the output is no part of the figure that the provider calls so,
    and is added to it.
    """

    input: str
    output: str
    total: str
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    write_1h: tuple[str, ...] = ()
    read_beside: tuple[str, ...] = ()
    write_beside: tuple[str, ...] = ()
    input_beside: tuple[str, ...] = ()
    output_beside: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    audio_input: tuple[str, ...] = ()
    audio_output: tuple[str, ...] = ()
    input_modalities: tuple[str, ...] = ()
    output_modalities: tuple[str, ...] = ()


CHAT = Form(
    input="prompt_tokens",
    output="completion_tokens",
    total="total_tokens",
    # DeepSeek, Moonshot and vLLM state cached tokens at the top, inside the prompt like OpenAI.
    read=(
        "prompt_tokens_details.cached_tokens",
        "prompt_cache_hit_tokens",
        "cached_tokens",
        "num_cached_tokens",
    ),
    write=("prompt_tokens_details.cache_write_tokens",),
    reasoning=("completion_tokens_details.reasoning_tokens",),
    audio_input=("prompt_tokens_details.audio_tokens",),
    audio_output=("completion_tokens_details.audio_tokens",),
)
# Responses and Anthropic call their figures alike. Responses states cached tokens inside the
# input, by `input_tokens_details`; Anthropic beside it: "total input tokens is the sum of
# input_tokens, cache_creation_input_tokens and cache_read_input_tokens" (its API reference, Usage).
# Its `iterations` tell what a compaction or an advisor used besides; no top-level figure has them.
RESPONSES_OR_ANTHROPIC = Form(
    input="input_tokens",
    output="output_tokens",
    total="total_tokens",
    read=("input_tokens_details.cached_tokens",),
    write=("input_tokens_details.cache_write_tokens",),
    write_1h=("cache_creation.ephemeral_1h_input_tokens",),
    read_beside=("cache_read_input_tokens",),
    write_beside=("cache_creation_input_tokens",),
    reasoning=("output_tokens_details.reasoning_tokens", "output_tokens_details.thinking_tokens"),
    audio_input=("input_tokens_details.audio_tokens",),
    audio_output=("output_tokens_details.audio_tokens",),
)
ANTHROPIC_FIELDS = (
    *("input_tokens", "output_tokens", "output_tokens_details"),
    *("cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation"),
)
BEDROCK = Form(  # total = input + output + both cached figures, on every recorded row
    input="inputTokens",
    output="outputTokens",
    total="totalTokens",
    read_beside=("cacheReadInputTokens",),
    write_beside=("cacheWriteInputTokens",),
)
# The thoughts stand beside the candidates, and the tool-use prompt beside the prompt: recorded
# rows add up to the stated total only so. Cached content is a part of the prompt.
GEMINI_SDK = Form(
    input="prompt_token_count",
    output="candidates_token_count",
    total="total_token_count",
    read=("cached_content_token_count",),
    input_beside=("tool_use_prompt_token_count",),
    output_beside=("thoughts_token_count",),
    reasoning=("thoughts_token_count",),
    input_modalities=("prompt_tokens_details", "tool_use_prompt_tokens_details"),
    output_modalities=("candidates_tokens_details",),
)


def _camel(names: Any) -> Any:
    """Return a name, or each of several, as JSON has it: `promptTokenCount`."""
    if isinstance(names, tuple):
        return tuple(map(_camel, names))
    first, *rest = names.split("_")
    return first + "".join(map(str.capitalize, rest))


GEMINI = Form(*map(_camel, GEMINI_SDK))
FORMS = (CHAT, RESPONSES_OR_ANTHROPIC, GEMINI_SDK, GEMINI, BEDROCK)
HOLDERS = ("usage", "usage_metadata", "usageMetadata")  # where a reply has its usage


class StreamUsage:
    """
    What the parts of a streamed reply say of the whole: feed it every chunk or event.

    Knows the streams of OpenAI (chat completions and Responses), Anthropic, Gemini and Bedrock, as
    mappings or as SDK objects. Parts that it does not know say nothing.

    Attributes:
        usage: what was billed; None until the part that states it has come.
        model: the model that replied; None until a part names it.
        reply_id: the id of the reply; None until a part names it.
        finish_reason: why the reply ended, in the provider's word; None until it has.
        text: the text so far.
        prompt_tokens: the input that stood in the window, which a counter is compared with; None
            until the part that states it has come.
    """

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.prompt_tokens: int | None = None
        self.model: str | None = None
        self.reply_id: str | None = None
        self.finish_reason: str | None = None
        self._texts: list[str] = []
        self._begun: dict[str, Any] = {}  # what Anthropic's first event states of the input

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._texts)

    def add(self, part: object) -> None:
        """
        Take in the next part; a whole reply is a stream of one.

        Raises `ValueError`: it states figures that cannot be.
        """
        get = _fields(part)
        kind = get("type")
        if kind is None:
            self._add_chunk(get)
        elif kind == "chunk":  # OpenAI's helper `stream()` wraps what it was sent
            self.add(get("chunk"))
        elif kind == "error" or (isinstance(kind, str) and kind.startswith("response.")):
            self._add_response(kind, get)
        elif kind == "message_start":
            self._begin(_fields(get("message")))
        elif kind == "message_delta":  # Anthropic's figures so far, and why the reply ended
            self._take(finish_reason=_fields(get("delta"))("stop_reason"))
            figures = {**self._begun, **_stated(get("usage"))}
            self._bill(figures if "input_tokens" in figures else None)  # hosts may state none
        elif kind == "content_block_delta":
            self._say(_fields(get("delta"))("text"))
        elif kind == "message":  # Anthropic's whole reply
            self._take(get("model"), get("id"), get("stop_reason"))
            for block in _items(get("content")):
                self._say(block("text"))
            self._bill(get("usage"))

    def _add_response(self, kind: str, get: Fields) -> None:
        """Take in an event of Responses, whose SDK raises nothing where one tells of an error."""
        response = _fields(get("response"))
        if kind == "error":
            self._take(finish_reason="failed")
        elif kind == "response.output_text.delta":
            self._say(get("delta"))
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            self._end(response)
        else:
            self._take(response("model"), response("id"))

    def _begin(self, message: Fields) -> None:
        """Take in Anthropic's first event, whose output is not yet known."""
        self._take(message("model"), message("id"))
        self._begun = _stated(message("usage"))

    def _end(self, response: Fields) -> None:
        """Take in the last event of Responses, which holds the whole reply."""
        reason = _fields(response("incomplete_details"))("reason")
        self._take(response("model"), response("id"), reason or response("status"))
        self._bill(response("usage"))

    def _add_chunk(self, get: Fields) -> None:
        """Take in a chunk of chat completions or Gemini, an event of Bedrock, or a whole reply."""
        self._take(get("model") or get("model_version") or get("modelVersion"))
        self._take(reply_id=get("id") or get("response_id") or get("responseId"))
        for choice in _items(get("choices"))[:1]:  # the others are other replies
            for name in ("delta", "message"):
                self._say(_fields(choice(name))("content"))
            self._take(finish_reason=choice("finish_reason"))
        for candidate in _items(get("candidates"))[:1]:
            for part in _items(_fields(candidate("content"))("parts")):
                self._say(None if part("thought") else part("text"))
            reason = candidate("finish_reason") or candidate("finishReason")
            self._take(finish_reason=getattr(reason, "name", reason))
        self._say(_fields(_fields(get("contentBlockDelta"))("delta"))("text"))
        self._take(finish_reason=_fields(get("messageStop"))("stopReason"))
        self._add_whole(get)
        held = [get(name) for name in HOLDERS] + [_fields(get("metadata"))("usage")]
        # Hosts that state figures with every chunk count on: the last ones hold.
        for usage in held:
            self._bill(usage)

    def _add_whole(self, get: Fields) -> None:
        """Take in the text of a whole reply of Responses or Bedrock."""
        message = _fields(get("output"))("message")
        for block in _items(_fields(message)("content")):
            self._say(block("text"))
        self._take(finish_reason=get("stopReason"))
        if get("object") != "response":
            return
        for item in _items(get("output")):
            for block in _items(item("content")):
                self._say(block("text"))
        reason = _fields(get("incomplete_details"))("reason")
        self._take(finish_reason=reason or get("status"))

    def _bill(self, usage: object) -> None:
        """Take in what was billed, where that is stated."""
        if usage is not None:
            self.usage = Usage.of(usage)
            self.prompt_tokens = input_tokens(usage)

    def _take(
        self,
        model: str | None = None,
        reply_id: str | None = None,
        finish_reason: str | None = None,
    ) -> None:
        self.model = model or self.model
        self.reply_id = reply_id or self.reply_id
        if isinstance(finish_reason, str):
            self.finish_reason = finish_reason or self.finish_reason

    def _say(self, text: object) -> None:
        if isinstance(text, str):
            self._texts.append(text)


def _stated(usage: object) -> dict[str, Any]:
    """Return the fields of Anthropic's usage that are not None."""
    get = _fields(usage)
    return {name: value for name in ANTHROPIC_FIELDS if (value := get(name)) is not None}


def input_tokens(reply_or_usage: object) -> int:
    """
    Return how many tokens the prompt had; cached ones are included, and counted once.

    It is what a count is compared with: a tool-use prompt (Gemini) is billed as input too, but
    never stood in the window.

    Raises `ValueError`: it does not say how many.
    """
    if isinstance(reply_or_usage, Usage):
        return reply_or_usage.input_tokens
    get = _usage_of(reply_or_usage)
    form = _form(get, reply_or_usage)
    return _at(get, form.input) + _sum(get, (*form.read_beside, *form.write_beside))


def _usage_of(reply_or_usage: object) -> Fields:
    """Return how to look up the fields of a usage, which a reply may hold."""
    get = _fields(reply_or_usage)
    held = (get(name) for name in HOLDERS)
    return next((_fields(usage) for usage in held if usage is not None), get)


def _fields(value: object) -> Fields:
    if isinstance(value, Mapping):
        return value.get
    return lambda name: getattr(value, name, None)


def _form(get: Fields, given: object) -> Form:
    """Return the form of a usage, by the name of its input; raises `ValueError` if it has none."""
    stated = {
        form.input: tokens
        for form in FORMS
        if type(tokens := get(form.input)) is int and tokens >= 0
    }
    # An SDK object may have several of the names; a 0 beside a real figure is a default value.
    name = max(stated, key=lambda name: stated[name] > 0, default=None)
    for form in FORMS:
        if form.input == name:
            return form
    known = ", ".join(form.input for form in FORMS)
    raise ValueError(
        f"usage does not state the input tokens; it needs one of {known}: {quoted(given)}"
    )


def _at(get: Fields, path: str) -> int:
    """Return the figure at a path, 0 where there is none."""
    outer, _, last = path.rpartition(".")
    figure = (_fields(get(outer)) if outer else get)(last)
    return 0 if figure is None else _checked(figure, path)


def _first(get: Fields, paths: tuple[str, ...]) -> int:
    """Return the first figure that is not 0: the others would tell the same again."""
    return next((figure for path in paths if (figure := _at(get, path))), 0)


def _sum(get: Fields, paths: tuple[str, ...]) -> int:
    return sum(_at(get, path) for path in paths)


def _audio(get: Fields, paths: tuple[str, ...]) -> int:
    """Return the audio tokens in Gemini's lists of modalities."""
    details = [detail for path in paths for detail in _items(get(path))]
    counts = ("tokenCount", "token_count")
    return sum(
        _sum(detail, counts) for detail in details if str(detail("modality")).endswith("AUDIO")
    )


def _hour_of(get: Fields) -> int:
    """Return what was written for an hour, in Bedrock's list of cache writes."""
    details = _items(get("cacheDetails"))
    return sum(_at(detail, "inputTokens") for detail in details if detail("ttl") == "1h")


def _items(value: object) -> list[Fields]:
    """Return how to look up the fields of each item of a list; of anything else there are none."""
    return [_fields(item) for item in value] if isinstance(value, list | tuple) else []


def _checked(figure: object, name: str) -> int:
    if type(figure) is not int or figure < 0:
        raise ValueError(f"{name} must be a whole number of at least 0, not {quoted(figure)}")
    return figure
