"""
What stands around the caller's call: the request, who answers it, and how it ended.

Hooks see these values and return them (`ctxwin.hooks.specs`). They are frozen; what is mutable in
them, such as wire dicts, is a copy for each hook.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from ctxwin.values.budget import Budget
from ctxwin.values.errors import quoted
from ctxwin.values.message import Message
from ctxwin.values.usage import Usage
from ctxwin.values.wire import Wire, copy_json

Tags: TypeAlias = Mapping[str, str]

Status: TypeAlias = Literal["ok", "cached", "refused", "failed", "unknown", "abandoned"]

MOST_TAGS = 16
LONGEST_TAG = 200  # characters


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """
    What `ctxwin_route` sees, before anything is fitted.

    Attributes:
        question: the last user message; None where there is none.
        tokens: what the window costs as it stands.
        budget: the conversation's budget, or the caller's.
        model: the conversation's model, or the caller's.
        max_output_tokens: the caller's cap on the reply; None where none was given.
        tools: the tool schemas.
        tags: the manager's tags and the caller's.
    """

    question: Message | None
    tokens: int
    budget: Budget
    model: str | None
    max_output_tokens: int | None
    tools: tuple[Wire, ...]
    tags: Tags

    def clone(self) -> "RouteRequest":
        """Return an equal value that shares nothing mutable with this one."""
        question = None if self.question is None else self.question.clone()
        return replace(self, question=question, tools=_copied(self.tools), tags=dict(self.tags))


@dataclass(frozen=True, slots=True)
class Route:
    """
    Where a request goes. What is None is not decided here.

    Attributes:
        model: the model.
        budget: the budget to fit the conversation into.
        max_output_tokens: the cap on the reply.
        tags: more tags for the request; the caller's go before them.
        reason: why, for logs.
    """

    model: str | None = None
    budget: Budget | None = None
    max_output_tokens: int | None = None
    tags: Tags = field(default_factory=dict)
    reason: str = ""

    def __post_init__(self) -> None:
        check_options(self.model, self.budget)
        check_cap(self.max_output_tokens)
        checked_tags(self.tags)


@dataclass(frozen=True, slots=True)
class Answer:
    """
    A reply that a plugin gives in the model's place.

    Raises `TypeError` or `ValueError`: it is no text, or a blank one.

    Attributes:
        content: the text.
        source: the plugin; its name in the chain unless it says otherwise.
        saved: what the call would have used; None where that is not known.
    """

    content: str
    source: str = ""
    saved: Usage | None = None

    def __post_init__(self) -> None:
        given: tuple[object, object] = self.content, self.source
        if not all(isinstance(value, str) for value in given):
            raise TypeError(f"an answer's content and source must be strings, not {quoted(given)}")
        if not self.content.strip():
            raise ValueError("an answer must say something: return None for no answer")
        if not (self.saved is None or isinstance(self.saved, Usage)):
            raise TypeError(f"saved must be a Usage, not {quoted(self.saved)}")


@dataclass(frozen=True, slots=True)
class Request:
    """
    A snapshot of what to send: fitted, shaped and admitted.

    Attributes:
        id: 32 hexadecimal digits, of this request alone.
        model: the model that it is for; None where none was named.
        messages: the window, wire dicts.
        system: what a dialect sends beside the messages; `()` where it stands among them.
        stable: how many of `messages`, from the front, later requests of this window begin with
            again until the next cut: those before the question.
        tools: the tool schemas.
        tokens: what it is predicted to cost; at most `budget.max_tokens`.
        max_output_tokens: the cap on the reply; None for none.
        params: further arguments of the client that change the answer (`temperature`, say).
        tags: whose request it is, and what for.
        answer: the reply of a plugin; None: it is to be sent.
        counter: the name of the counter; `""` for one without a name.
        budget: what it was fitted into.
    """

    id: str
    model: str | None
    messages: tuple[Wire, ...]
    system: tuple[Wire, ...]
    stable: int
    tools: tuple[Wire, ...]
    tokens: int
    max_output_tokens: int | None
    params: Mapping[str, Any]
    tags: Tags
    answer: Answer | None
    counter: str
    budget: Budget
    _origin: "Request | None" = field(default=None, repr=False, compare=False)

    @property
    def origin(self) -> "Request":
        """The request as `ctxwin_answer` saw it, before shaping (a copy): cache keys are of it."""
        return self if self._origin is None else self._origin.clone()

    def arguments(self, *, cap_as: str = "max_completion_tokens", **more: Any) -> dict[str, Any]:
        """
        Return the keyword arguments of `client.chat.completions.create`.

        With `stream=True` they ask for usage, too: its last chunk then has usage and no `choices`.

        Args:
            cap_as: the name of the cap on the reply; `"max_tokens"` for hosts that know no other.
            more: further arguments, which go before `params`.
        """
        found: dict[str, Any] = {"messages": list(_copied(self.messages))}
        if self.model is not None:
            found["model"] = self.model
        if self.tools:
            found["tools"] = list(_copied(self.tools))
        if self.max_output_tokens is not None:
            found[cap_as] = self.max_output_tokens
        given = {**copy_json(dict(self.params)), **more}
        if given.get("stream"):
            found["stream_options"] = {"include_usage": True}
        return {**found, **given}

    def clone(self) -> "Request":
        """Return an equal request that shares nothing mutable with this one."""
        return Request(  # `replace` takes three times as long, and each hook is given a copy
            self.id,
            self.model,
            _copied(self.messages),
            _copied(self.system),
            self.stable,
            _copied(self.tools),
            self.tokens,
            self.max_output_tokens,
            copy_json(dict(self.params)),
            dict(self.tags),
            self.answer,
            self.counter,
            self.budget,
            self._origin,
        )


@dataclass(frozen=True, slots=True)
class Observation:
    """
    How a request ended.

    Attributes:
        request: the request; None for a bill that names none.
        request_id: its id; None as above.
        reply_id: the provider's id of the reply; None where it stated none.
        model: the model that replied, else the request's.
        usage: what was billed; None where that is not known.
        estimated: whether `usage` was estimated, since the provider stated none.
        predicted_tokens: what the request was predicted to cost; None without a request.
        status: `ok`; `cached` (answered by a plugin); `refused` (not admitted); `failed` (an HTTP
            answer said no, so it is not billed); `unknown` (a timeout or a broken connection: it
            may be billed); `abandoned` (the reader left a stream early).
        finish_reason: why the reply ended, in the provider's word; None where it did not say.
        truncated: whether the reply was cut off by a limit on its length.
        text: the text of the reply; None where it is not known.
        error: what went wrong; None where nothing did.
        tags: the request's tags, and those that were given with the ending.
    """

    request: Request | None
    request_id: str | None
    reply_id: str | None
    model: str | None
    usage: Usage | None
    estimated: bool
    predicted_tokens: int | None
    status: Status
    finish_reason: str | None
    truncated: bool
    text: str | None
    error: BaseException | None
    tags: Tags

    def clone(self) -> "Observation":
        """Return an equal value that shares nothing mutable with this one."""
        return Observation(  # as for a request
            None if self.request is None else self.request.clone(),
            self.request_id,
            self.reply_id,
            self.model,
            self.usage,
            self.estimated,
            self.predicted_tokens,
            self.status,
            self.finish_reason,
            self.truncated,
            self.text,
            self.error,
            dict(self.tags),
        )


@dataclass(frozen=True, slots=True, init=False)
class Call:
    """
    An effect that a hook yields: `function(*args)`, sync or async, is called for it.

        vector = yield Call(embed, request.question.content)

    What it returns is sent back into the generator; what it raises is thrown into it.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "args", args)


def checked_tags(tags: Mapping[Any, Any] | None) -> dict[str, str]:
    """
    Return a copy of the tags.

    Raises `ValueError`: they are no mapping, too many, one has a key that is no identifier, or a
    value that is no string or too long.
    """
    if tags is None or tags == {}:
        return {}
    if not isinstance(tags, Mapping):
        raise ValueError(f"tags must be a mapping, not {quoted(tags)}")  # noqa: TRY004 - as promised
    if len(tags) > MOST_TAGS:
        raise ValueError(f"there may be {MOST_TAGS} tags at most, not {len(tags)}")
    for key, value in tags.items():
        if not (isinstance(key, str) and key.isidentifier()):
            raise ValueError(f"a tag's key must be an identifier, not {quoted(key)}")
        if not isinstance(value, str):
            raise ValueError(f"tag {key!r} must be a string, not {quoted(value)}")  # noqa: TRY004
        if len(value) > LONGEST_TAG:
            raise ValueError(
                f"tag {key!r} may have {LONGEST_TAG} characters at most, not {len(value)}"
            )
    return dict(tags)


def tag_of(text: str) -> str:
    """Return a text as the value of a tag; a long one by its hash: `sha256:<hex>`."""
    if len(text) <= LONGEST_TAG:
        return text
    from hashlib import sha256  # noqa: PLC0415 - rarely needed

    return f"sha256:{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def check_options(model: object, budget: object) -> None:
    """Raise `TypeError` if a model is no string, or a budget no `Budget`; None is neither."""
    if not (model is None or isinstance(model, str)):
        raise TypeError(f"model must be a string, not {quoted(model)}")
    if not (budget is None or isinstance(budget, Budget)):
        raise TypeError(f"budget must be a Budget, such as Budget(4000), not {quoted(budget)}")


def check_cap(max_output_tokens: object) -> None:
    """Raise `ValueError` if a cap on the reply is neither None nor a positive whole number."""
    if max_output_tokens is None:
        return
    if type(max_output_tokens) is not int or max_output_tokens < 1:
        raise ValueError(
            "max_output_tokens must be a whole number of at least 1, or None for no cap, "
            f"not {quoted(max_output_tokens)}"
        )


def _copied(wires: tuple[Wire, ...]) -> tuple[Wire, ...]:
    """Return copies of wire dicts; most are a role and a text."""
    return tuple(
        [
            wire.copy()
            if len(wire) == 2 and wire.get("content").__class__ is str
            else copy_json(wire)
            for wire in wires
        ]
    )
