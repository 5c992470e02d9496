"""
From the conversation to a request: route, fit, answer, shape, admit.

`request` is a flow, the same for sync and async callers. The window is fitted before plugins are
asked for an answer: a cache key is then made of what would really be sent. No lock is held while a
hook runs; what is appended meanwhile does not change a request that was fitted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os import urandom
from typing import Any, NamedTuple

from ctxwin.calls import asking, endings
from ctxwin.calls.endings import Endings
from ctxwin.calls.forks import Forks
from ctxwin.hooks.chain import Chain
from ctxwin.log.changes import Change
from ctxwin.log.conversation import Conversation
from ctxwin.log.keeper import Keeper
from ctxwin.log.precount import Precount
from ctxwin.pruning.driving import Flow, Step, adrive, drive
from ctxwin.pruning.prune import Done, fit
from ctxwin.pruning.threads import in_thread
from ctxwin.values.budget import Budget
from ctxwin.values.errors import MessageError, logger, quoted
from ctxwin.values.message import to_dicts
from ctxwin.values.request import (
    Observation,
    Request,
    Route,
    RouteRequest,
    Status,
    Tags,
    check_cap,
    check_options,
    checked_tags,
)
from ctxwin.values.usage import StreamUsage, input_tokens
from ctxwin.values.wire import copy_json


class Asked(NamedTuple):
    """What the caller of `request()` asks for; what is None is decided by routes and options."""

    model: str | None
    budget: Budget | None
    max_output_tokens: int | None
    params: Mapping[str, Any]
    fresh: bool
    tags: Tags


@dataclass(slots=True)  # made for each call, and a frozen one takes three times as long
class Around:
    """
    What a call is made around: one conversation with its plugins.

    Attributes:
        keeper: keeps the conversation.
        precount: counts large texts of it early.
        chain: the plugins.
        owner: must not be changed while a hook runs.
        forks: the windows of other models.
        endings: which requests have ended.
        pruned: is given the receipt of each prune of the conversation.
        notify: is given the receipt of each prune of a fork.
    """

    keeper: Keeper
    precount: Precount
    chain: Chain
    owner: object
    forks: Forks
    endings: Endings
    pruned: Done
    notify: Done

    @property
    def model(self) -> str | None:
        """The conversation's model."""
        return self.keeper.conversation.model

    def place(self, model: str | None, budget: Budget) -> tuple[Keeper, Done]:
        """Return who keeps the window for a model and a budget, and who is told of its prunes."""
        if self.is_own(model, budget):
            return self.keeper, self.pruned
        other = model != self.model
        return self.forks.get(self.keeper, model, budget, other=other), self.notify

    def has_place(self, model: str | None, budget: Budget) -> bool:
        """Return whether the window for a model and a budget need not be made."""
        return self.is_own(model, budget) or self.forks.find(model, budget) is not None

    def is_own(self, model: str | None, budget: Budget) -> bool:
        """Return whether the conversation's own window is for this model and budget."""
        own = self.keeper.conversation.budget
        return model == self.model and (budget is own or budget == own)

    def known_place(self, request: Request) -> Keeper | None:
        """Return who keeps the window that a request was made of; None where nobody does now."""
        if self.is_own(request.model, request.budget):
            return self.keeper
        return self.forks.find(request.model, request.budget)

    def tell(self, observation: Observation) -> None:
        """Tell every plugin how a request ended."""
        if self.chain.observed:
            asking.observed(self.chain, self.owner, observation)

    def observe(self, reply_or_usage: object, request: Request | None, tags: Tags) -> None:
        """
        Learn from what was billed, and tell how the request ended: as usual.

        Raises:
            ValueError: no request is named, and no input tokens are stated; or a tag is malformed.
            StoreError: no request is named, and what was learnt cannot be stored.
        """
        tokens = input_tokens(reply_or_usage) if request is None else None
        read = endings.read_reply(reply_or_usage)
        ended = endings.ended("ok", request, tags, read)
        if request is None:
            self._learn(self.keeper, tokens or 0, None)
            self.tell(ended)
        else:
            self._end(request, ended, read.prompt_tokens)

    def fail(self, request: Request, error: BaseException | None, tags: Tags) -> None:
        """End a request with an error; raises `ValueError`: a tag is malformed."""
        status = endings.status_of(error)
        self._end(request, endings.ended(status, request, tags, error=error), None)

    def end_stream(
        self, request: Request, status: Status, read: StreamUsage, error: BaseException | None
    ) -> None:
        """End a request by how its stream ended."""
        self._end(request, endings.ended(status, request, {}, read, error), read.prompt_tokens)

    def _end(self, request: Request, ended: Observation, prompt_tokens: int | None) -> None:
        """End a request, once: learn from its bill where one was stated, and tell of it."""
        place = self.known_place(request)
        if prompt_tokens is not None and place is not None and not self.endings.has(request):
            try:
                self._learn(place, prompt_tokens, request.id)
            except Exception:  # noqa: BLE001 - observers hear of it all the same
                logger().exception("the bill of request %s is not learnt", request.id)
        if self.endings.claim(request) and self.chain.observed:
            if ended.status in ("ok", "unknown", "abandoned"):
                ended = endings.estimated(ended, (place or self.keeper).conversation.costs.text)
            self.tell(ended)

    def _learn(self, keeper: Keeper, tokens: int, request_id: str | None) -> None:
        def learn(conversation: Conversation) -> Sequence[Change]:
            return conversation.learnt(tokens, request_id)

        keeper.change(learn)


def asked_for(
    model: str | None,
    budget: Budget | None,
    max_output_tokens: int | None,
    params: Mapping[str, Any] | None,
    tags: Tags,
    *,
    fresh: bool,
) -> Asked:
    """Return what a caller asks for; raises `TypeError` or `ValueError` for what cannot be."""
    check_options(model, budget)
    if not (params is None or isinstance(params, Mapping)):
        raise TypeError(f"params must be a mapping, not {quoted(params)}")
    check_cap(max_output_tokens)
    given = {} if params is None else copy_json(dict(params))
    return Asked(model, budget, max_output_tokens, given, fresh, checked_tags(tags))


def request(around: Around, asked: Asked) -> Flow[Request]:
    """
    Return a request: fitted, and answered by a plugin or shaped and admitted.

    Raises:
        BudgetError: what must be kept does not fit.
        CounterError: a message cannot be counted.
        RefusedError: a plugin does not admit it.
        MessageError: there is no message to send.
    """
    chain, owner = around.chain, around.owner
    if chain.route:
        yield Step(_nothing, around.precount.run)  # a router sees what the window costs
        asked = yield from _routed(around, asked)
    fitting = _Fitting(around, asked)
    made: Request = yield Step(fitting.here, fitting.there)
    if chain.answer and not asked.fresh:
        answer = yield from asking.answer(chain, owner, made)
        if answer is not None:
            return replace(made, answer=answer)
    if chain.shape:
        made = yield from asking.shape(chain, owner, made)
    if chain.admit:
        yield _admitting(around, made)
    return made


def _nothing() -> None:
    """Do nothing: in sync code, what is counted is counted when it is needed."""


def _routed(around: Around, asked: Asked) -> Flow[Asked]:
    """Return what is asked for, with what plugins decide of it."""
    with around.keeper.lock:
        conversation = around.keeper.conversation
        question = conversation.history.question
        seen = RouteRequest(
            question=question.message if question is not None else None,
            tokens=conversation.total_tokens,
            budget=asked.budget or conversation.budget,
            model=asked.model or around.model,
            max_output_tokens=asked.max_output_tokens,
            tools=tuple(conversation.costs.tools),
            tags=asked.tags,
        )
    routes = yield from asking.route(around.chain, around.owner, seen)
    return asked._replace(
        model=asked.model or asking.first(routes, "model"),
        budget=asked.budget or asking.first(routes, "budget"),
        max_output_tokens=asked.max_output_tokens or asking.first(routes, "max_output_tokens"),
        tags=_merged(routes, asked.tags),
    )


def _merged(routes: Sequence[Route], tags: Tags) -> Tags:
    """Return the caller's tags with those of routes, the first that sets one; or without them."""
    merged: dict[str, str] = {}
    for one in reversed(routes):
        merged |= one.tags
    try:
        return checked_tags({**merged, **tags})
    except ValueError as error:  # each route's own are right, so together they are too many
        logger().warning("tags of routes are left out: %s", error)
        return tags


class _Fitting:
    """
    A window that is fitted, and the request that is made of it.

    A `refit` may move the conversation to other options while this waits: then it begins anew.
    """

    def __init__(self, around: Around, asked: Asked) -> None:
        self._around, self._asked = around, asked
        self._id = urandom(16).hex()  # as long as a UUID, and as random

    def here(self) -> Request:
        """Do it in sync code."""
        made = None
        while made is None:
            self._choose()
            self._place()
            made = drive(self._flow())
        return made

    async def there(self) -> Request:
        """Do it in async code: what is large is copied and counted in a thread."""
        around, made = self._around, None
        while made is None:
            self._choose()
            if around.has_place(self._model, self._budget):
                self._place()
            else:
                await in_thread(self._place)
            keeper = self._keeper
            await (around.precount if keeper is around.keeper else Precount(keeper)).run()
            made = await adrive(self._flow(), keeper.run)
        return made

    def _choose(self) -> None:
        """Decide for which model and budget it is."""
        self._model = self._asked.model or self._around.model
        self._budget = self._asked.budget or self._around.keeper.conversation.budget

    def _place(self) -> None:
        """Find the window."""
        self._keeper, self._done = self._around.place(self._model, self._budget)

    def _flow(self) -> Flow[Request | None]:
        around = self._around
        return fit(self._keeper, around.chain, around.owner, self._done, self._send)

    def _send(self, conversation: Conversation) -> Request | None:
        """Return the request, None if the conversation has moved; its lock is held."""
        around = self._around
        if self._keeper is around.keeper and not around.is_own(self._model, self._budget):
            return None
        if not conversation.window.units:
            raise MessageError("there is no message to send: append one before request()")
        units = conversation.send(self._id)
        messages = [message for unit in units for message in unit.messages]
        asked, budget = self._asked, self._budget
        return Request(
            id=self._id,
            model=self._model,
            messages=tuple(to_dicts(messages)),
            system=(),
            stable=_stable(conversation, len(messages)),
            tools=tuple(conversation.costs.tools),
            tokens=conversation.sent_tokens or 0,
            max_output_tokens=asked.max_output_tokens or budget.reserve_output or None,
            params=asked.params,
            tags=asked.tags,
            answer=None,
            counter=conversation.costs.name,
            budget=budget,
        )


def _stable(conversation: Conversation, length: int) -> int:
    """Return how many messages of the window, of that length, stand before the question."""
    question = conversation.history.question
    if question is None:
        return length
    for unit in reversed(conversation.window.units):  # it is near the end
        if unit.place[0] < question.message.id:
            break
        length -= len(unit.messages)
    return length


def _admitting(around: Around, made: Request) -> Step:
    """Return the step that asks whether the request is admitted, in a thread when async."""

    def admit() -> None:
        try:
            asking.admit(around.chain, around.owner, made)
        except BaseException as error:
            refuse(error)
            raise

    def refuse(error: BaseException | None = None) -> None:
        """Have whoever admitted the request let go of it."""
        around.endings.claim(made)
        around.tell(endings.ended("refused", made, {}, error=error))

    async def there() -> None:
        from asyncio import CancelledError  # noqa: PLC0415 - whoever awaits has it

        try:
            await in_thread(admit)
        except CancelledError as error:  # nobody will end a request that nobody gets
            if not around.endings.has(made):
                await in_thread(partial(refuse, error))
            raise

    return Step(admit, there)
