"""
`ContextManager`: every public method of a conversation, and no rule of its own.

1. Every method is atomic: it reads under the lock, or hands the keeper one change, whole.
2. No lock is held while a hook or a summariser runs. Where the conversation has moved on meanwhile,
   plans are replayed.
3. What comes out is a copy; changing it changes nothing inside.
4. Adding never counts and never prunes. Costs are settled when they are first needed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack, overload

from ctxwin.calls import endings, requests
from ctxwin.calls.endings import Endings
from ctxwin.calls.forks import Forks, moved
from ctxwin.calls.requests import Around, asked_for
from ctxwin.calls.streams import view_of
from ctxwin.counting import TokenCounter
from ctxwin.counting.costs import Costs, as_counter
from ctxwin.hooks.chain import Chain, chain_of
from ctxwin.hooks.guard import refuse_inside_hook
from ctxwin.log.changes import (
    Append,
    Change,
    Forget,
    Pin,
    Refit,
    Restore,
    Rewind,
    SetOptions,
    SetTools,
)
from ctxwin.log.conversation import Conversation
from ctxwin.log.keeper import InMemory, Keeper, WorkOut
from ctxwin.log.precount import Precount
from ctxwin.pruning.driving import adrive, drive
from ctxwin.pruning.preview import preview
from ctxwin.pruning.prune import fit, must_fit, notify, prune
from ctxwin.pruning.threads import in_thread
from ctxwin.pruning.tickets import Ticket, commit, prepare
from ctxwin.values.budget import Budget
from ctxwin.values.errors import CounterError, MessageError, quoted
from ctxwin.values.message import Message, read_message, to_dicts
from ctxwin.values.receipt import Preview, Receipt
from ctxwin.values.request import Request, Status, check_options, checked_tags
from ctxwin.values.usage import StreamUsage
from ctxwin.values.wire import RESULT_ROLES, SYSTEM_ROLES, Content, DraftRole, Role, Wire


class Options(TypedDict, total=False):
    """The options of a `ContextManager` beside its budget, for type checkers."""

    strategies: Sequence[str | object]
    counter: TokenCounter | Callable[[str], int] | str | None
    model: str | None
    tools: Sequence[Mapping[str, Any]]
    allow_question_edit: bool
    tags: Mapping[str, str] | None


class ContextManager:
    """
    Keeps a chat history inside a token budget.

        ctx = ContextManager(max_tokens=4000, model="gpt-4o")
        ctx.add_message("user", "My invoice is wrong.")
        reply = client.chat.completions.create(model="gpt-4o", messages=ctx.messages())
        ctx.observe(reply.usage)
        ctx.append(reply.choices[0].message)

    In a `with` statement it does nothing special: a `Session`, which is closed there, can take its
    place.

    Args:
        max_tokens: the input budget, in tokens; or
        budget: its decomposed form. Give exactly one of the two.
        strategies: names or objects, called left to right; a missing `drop-oldest` is appended.
        counter: a `TokenCounter`, a `Callable[[str], int]`, or the name of an encoding or a model;
            beats `model`.
        model: whose counter to use; with neither, o200k_base as an estimate.
        tools: the tool schemas sent with each request; they count.
        allow_question_edit: whether a declared edit may shorten the current question.
        tags: whose conversation it is, say (`{"user": "ann"}`): they go with every request, and are
            no part of the state. At most 16, each a string of at most 200 characters.

    Raises:
        TypeError: neither or both of `max_tokens` and `budget`; a counter or tools of the wrong
            type.
        ValueError: a budget out of range; a malformed tag; a chain that names a strategy twice, or
            `drop-oldest` not last.
        UnknownStrategyError: a strategy of that name is not installed.
        StrategyError: a strategy cannot be loaded or registered.
    """

    # No `__dict__`: an attribute that does not exist is refused, and type checkers find it.
    __slots__ = (
        *("__weakref__", "_chain", "_endings", "_forks", "_keeper", "_last_receipt"),
        *("_precount", "_tags"),
    )

    @overload
    def __init__(
        self, max_tokens: int, *, budget: None = None, **options: Unpack[Options]
    ) -> None: ...

    @overload
    def __init__(
        self, max_tokens: None = None, *, budget: Budget, **options: Unpack[Options]
    ) -> None: ...

    def __init__(
        self,
        max_tokens: int | None = None,
        *,
        budget: Budget | None = None,
        strategies: Sequence[str | object] = ("drop-oldest",),
        counter: TokenCounter | Callable[[str], int] | str | None = None,
        model: str | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        allow_question_edit: bool = False,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        if max_tokens is not None and budget is None:
            budget = Budget(max_tokens)
        elif budget is None or max_tokens is not None:
            raise TypeError("give exactly one of max_tokens and budget")
        costs = Costs(as_counter(counter, model), tools)
        conversation = Conversation(
            budget, costs, model=model, allow_question_edit=allow_question_edit
        )
        self._begin(InMemory(conversation), chain_of(strategies), checked_tags(tags))

    def _begin(self, keeper: Keeper, chain: Chain, tags: Mapping[str, str]) -> None:
        self._chain = chain
        self._tags = tags
        self._last_receipt: Receipt | None = None
        self._keep(keeper)

    def _keep(self, keeper: Keeper) -> None:
        """Have the conversation kept by this one from now on."""
        self._keeper = keeper
        self._precount = Precount(keeper)
        self._forks = Forks()
        self._endings = Endings()

    if not TYPE_CHECKING:  # pragma: no branch - else a type checker would allow any attribute

        def __setattr__(self, name: str, value: object) -> None:
            try:
                object.__setattr__(self, name, value)
            except AttributeError:
                kind = type(self).__name__
                raise AttributeError(
                    f"{name!r} of a {kind} cannot be set: give options when it is made; "
                    "only `tools` may be set later",
                    name=name,
                    obj=self,
                ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    # Adding, taking back, keeping.

    def add_message(
        self,
        role: Role,
        content: Content,
        *,
        name: str | None = None,
        tool_calls: Sequence[Mapping[str, Any]] | None = None,
        tool_call_id: str | None = None,
        pinned: bool = False,
        incomplete: bool = False,
        **extra: Any,
    ) -> Message:
        """
        Append one message; O(1), and it cannot fail for lack of room.

        Raises `MessageError`, and takes what is `incomplete`, as `append` does.
        """
        optional = {"name": name, "tool_calls": tool_calls, "tool_call_id": tool_call_id}
        given = {key: value for key, value in optional.items() if value is not None}
        message = {"role": role, "content": content, **given, **extra}
        return self.append(message, pinned=pinned, incomplete=incomplete)

    def append(self, message: object, *, pinned: bool = False, incomplete: bool = False) -> Message:
        """
        Append one message as it is sent.

        A mapping comes back from `messages` key for key, but without `tool_calls` that are empty.
        Of an SDK's object everything that is set is taken, also what its class does not declare
        (reasoning, signatures), but what only replies have (`annotations`, `parsed`, the data of
        audio). A reply without content and calls joins the log and `left_out`, and no window.

        Args:
            message: a mapping, or an SDK object with `model_dump`.
            pinned: whether it is kept whatever happens.
            incomplete: whether it is an assistant's message from a stream that broke off: what a
                reader has seen is taken, and none of its calls, not even into the log.

        Raises:
            MessageError: it is malformed, or of another API's form, or has no content; the text
                says what to give instead. Nothing has changed.
        """
        wire = read_message(message, incomplete=incomplete)
        refuse_inside_hook(self, "append")
        pinned = pinned or wire["role"] in SYSTEM_ROLES
        return self._keeper.change(lambda log: (Append(log.next_id, wire, pinned),))[0]

    def extend(self, messages: Iterable[object]) -> list[Message]:
        """
        Append messages, all or none.

        Raises `MessageError`, as `append` does, saying which message; nothing has changed.
        """
        wires: list[Wire] = []
        for message in messages:
            try:
                wires.append(read_message(message))
            except MessageError as error:
                raise MessageError(f"messages[{len(wires)}]: {error}") from error

        def appended(conversation: Conversation) -> Sequence[Change]:
            numbered = enumerate(wires, conversation.next_id)
            return [Append(number, wire, wire["role"] in SYSTEM_ROLES) for number, wire in numbered]

        return self._change("extend", appended)

    def pin(self, message: Message | int) -> None:
        """
        Keep a message whatever happens, byte for byte; one that had left the window comes back.

        Raises `MessageError`: it is not in the log held in memory.
        """
        self._apply("pin", Pin(_id_of(message), pinned=True))

    def unpin(self, message: Message | int) -> None:
        """
        Make a message ordinary; a system or developer message too.

        Raises `MessageError`: it is not in the log held in memory.
        """
        self._apply("unpin", Pin(_id_of(message), pinned=False))

    def rewind(self, message: Message | int) -> tuple[Message, ...]:
        """
        Cut the log's tail from that message on, and return it, oldest first.

        A summary that tells of it is taken back too, and its other sources return to the window.

        Raises:
            MessageError: it is not in the log held in memory.
        """
        return tuple([cut.clone() for cut in self._apply("rewind", Rewind(_id_of(message)))])

    def forget(self) -> tuple[Message, ...]:
        """
        Release from memory what has left the window, and return it, oldest first.

        The window does not change.
        """
        released = tuple(self._apply("forget", Forget()))
        receipt = self._last_receipt
        if receipt is not None:  # it would hold what is to be released
            self._last_receipt = replace(receipt, evicted=())
        return released

    # What to send.

    def messages(self) -> list[Any]:
        """
        Return the window, fresh dicts: within the budget, cut first if it is over.

        They are typed as `Any`, since each client declares types of its own for messages.

        Raises:
            BudgetError: what must be kept does not fit; nothing has changed.
            CounterError: a message cannot be counted. Where the counter only refuses a cut as a
                whole, as a chat template may, another cut is tried.
        """
        refuse_inside_hook(self, "messages")
        return drive(fit(self._keeper, self._chain, self, self._pruned, _sent))

    async def amessages(self) -> list[Any]:
        """
        Return what `messages` returns, for async summarisers.

        Large texts are counted in a thread (under asyncio), so that the event loop goes on.
        """
        refuse_inside_hook(self, "amessages")
        await self._precount.run()
        flow = fit(self._keeper, self._chain, self, self._pruned, _sent)
        return await adrive(flow, self._keeper.run)

    def prune_history(self) -> Receipt:
        """
        Prune now, down to the low mark; with nothing new since the last prune, do nothing.

        Raises `BudgetError`: what must be kept does not fit; nothing has changed.
        """
        refuse_inside_hook(self, "prune_history")
        return drive(prune(self._keeper, self._chain, self, self._pruned))

    async def aprune_history(self) -> Receipt:
        """Do what `prune_history` does, in the manner of `amessages`."""
        refuse_inside_hook(self, "aprune_history")
        await self._precount.run()
        flow = prune(self._keeper, self._chain, self, self._pruned)
        return await adrive(flow, self._keeper.run)

    def plan(self) -> Receipt:
        """Return the receipt that `prune_history` would, or raise its error; changes nothing."""
        refuse_inside_hook(self, "plan")
        return drive(prune(self._keeper, self._chain, self, None))

    # Summaries made ahead.

    @property
    def should_prepare(self) -> bool:
        """Whether the window is above the budget's soft mark: time to `prepare` a summary."""
        soft = self._keeper.conversation.budget.soft
        return soft is not None and self.total_tokens > soft * self.max_tokens

    def prepare(self) -> Ticket | None:
        """
        Find out what to summarise ahead, away from the request path.

        Calls no model and changes no window. A newer ticket supersedes an older one. None if a
        prune would ask for no summary.
        """
        refuse_inside_hook(self, "prepare")
        return prepare(self._keeper, self._chain, owner=self)

    def commit(self, ticket: Ticket) -> Receipt:
        """
        Apply a finished ticket if the log still extends what it was made from.

        Returns:
            What it did. If it did nothing, `rejected` says why: `L16` for a stale ticket.

        Raises:
            ValueError: the ticket was not run.
        """
        refuse_inside_hook(self, "commit")
        return commit(self._keeper, self._chain, ticket, self, self._pruned)

    # Tools, strategies, usage, state.

    @property
    def tools(self) -> list[Any]:
        """The tool schemas sent with each request (copies); may be set."""
        with self._keeper.lock:
            return self._keeper.conversation.costs.tools

    @tools.setter
    def tools(self, tools: Sequence[Mapping[str, Any]]) -> None:
        self._apply("tools", SetTools(tools))

    def register(
        self, strategy: object, *, name: str | None = None, before: str | None = None
    ) -> None:
        """
        Add a strategy object, by default before `drop-oldest`; atomic.

        Raises:
            ValueError: its name is taken, or it would stand behind `drop-oldest`.
            UnknownStrategyError: `before` is not the name of a strategy of the chain.
            StrategyError: its hooks cannot work.
        """
        refuse_inside_hook(self, "register")
        with self._keeper.lock:
            self._chain = self._chain.adding(strategy, name, before)
            self._keeper.conversation.unsettle()
            self._forks.unsettle()

    # Around the caller's own call.

    @property
    def model(self) -> str | None:
        """The model that the conversation is for; None where none was named."""
        return self._keeper.conversation.model

    @property
    def tags(self) -> dict[str, str]:
        """The tags that go with every request (a copy)."""
        return dict(self._tags)

    def request(
        self,
        *,
        model: str | None = None,
        budget: Budget | None = None,
        max_output_tokens: int | None = None,
        params: Mapping[str, Any] | None = None,
        fresh: bool = False,
        **tags: str,
    ) -> Request:
        """
        Return what to send, as plugins route, answer, shape and admit it.

            request = ctx.request()
            reply = client.chat.completions.create(**request.arguments())
            ctx.observe(reply, request)
            ctx.append(reply.choices[0].message)

        A request to another model or budget has a window of its own, and leaves this one as it is.
        End each request by `observe`, `streamed`, `answered` or `failed`.

        Args:
            model: the model, if it is to be another than the conversation's.
            budget: the budget, if it is to be another.
            max_output_tokens: the cap on the reply; by default `budget.reserve_output`.
            params: further arguments of the client that change the answer.
            fresh: whether no plugin may answer ("regenerate").
            tags: more tags for this request; they go before the manager's.

        Raises:
            BudgetError: what must be kept does not fit.
            RefusedError: a plugin does not admit it; nothing is held.
            CounterError: a message cannot be counted.
            MessageError: there is no message to send.
            ValueError: a malformed tag, or a cap below 1.
        """
        refuse_inside_hook(self, "request")
        asked = asked_for(
            model, budget, max_output_tokens, params, {**self._tags, **tags}, fresh=fresh
        )
        return drive(requests.request(self._around(), asked))

    async def arequest(
        self,
        *,
        model: str | None = None,
        budget: Budget | None = None,
        max_output_tokens: int | None = None,
        params: Mapping[str, Any] | None = None,
        fresh: bool = False,
        **tags: str,
    ) -> Request:
        """Return what `request` returns, for plugins that await; `admit` runs in a thread."""
        refuse_inside_hook(self, "arequest")
        asked = asked_for(
            model, budget, max_output_tokens, params, {**self._tags, **tags}, fresh=fresh
        )
        return await adrive(requests.request(self._around(), asked))

    def answered(self, request: Request) -> Message:
        """
        Take a plugin's answer into the conversation, as the assistant's message.

        Observers are told `cached`. A second time it takes nothing, and returns the same message.

        Raises `ValueError`: nobody has answered the request, so it is to be sent.
        """
        refuse_inside_hook(self, "answered")
        if request.answer is None:
            raise ValueError("no plugin has answered this request: send it, and observe the reply")
        with self._endings.answering:
            known = self._endings.message(request)
            if known is not None:
                return known.clone()
            message = self.append({"role": "assistant", "content": request.answer.content})
            ends = self._endings.claim(request, message)
        if ends:
            self._around().tell(endings.ended("cached", request, {}))
        return message

    async def aanswered(self, request: Request) -> Message:
        """Do what `answered` does, in a thread."""
        return await in_thread(self.answered, request)

    def failed(self, request: Request, error: BaseException | None = None, **tags: str) -> None:
        """
        End a request whose call raised.

        Observers are told `failed` if the error has a `status_code` (an HTTP answer said no, so it
        is not billed), else `unknown` (it may be billed).

        Raises `ValueError`: a tag is malformed.
        """
        refuse_inside_hook(self, "failed")
        self._around().fail(request, error, tags)

    async def afailed(
        self, request: Request, error: BaseException | None = None, **tags: str
    ) -> None:
        """Do what `failed` does, in a thread."""
        await in_thread(self.failed, request, error, **tags)

    def streamed(self, stream: Any, request: Request) -> Any:
        """
        Return a view of a stream, which ends the request when the stream ends.

            for chunk in ctx.streamed(client.chat.completions.create(**arguments), request):
                ...

        It yields the same parts and has the stream's attributes, sync or async, `with` included.
        Observers are told `ok` at the end, `failed` or `unknown` when it breaks, and `abandoned`
        when it is closed, left or dropped early. Ask for usage: `request.arguments(stream=True)`.
        What the SDKs' helpers `stream()` return is a stream too. Their own methods, such as
        `text_stream`, may read it in the view's place, but not those of `responses.stream()`.

        Raises `TypeError`: it is no stream.
        """
        refuse_inside_hook(self, "streamed")

        def end(status: Status, read: StreamUsage, error: BaseException | None) -> None:
            self._around().end_stream(request, status, read, error)  # with the chain of then

        return view_of(stream, end)

    def observe(self, reply_or_usage: object, request: Request | None = None, **tags: str) -> None:
        """
        Learn from what a request really used, and tell observers how it ended.

        Without `request` it is the one that the latest `messages()` was sent as. With one, it
        teaches only if that is the newest of its window. A second ending of a request is ignored.

        Ignored if a cut happened since. With an exact counter it learns an offset: upwards by at
        most half of the budget, downwards by 10 % of the count or 64 tokens, whichever is more.
        With an estimate it learns a factor within 0.5 to 2. A bill beyond these bounds (an agent
        run's total, say) is not learnt, and logged once. The window does not change; a higher cost
        may cause the next cut. What was learnt never locks a conversation: if what must be kept
        fits by the count alone, the next cut forgets it, and its receipt says so.

        After a `BudgetError` the bill is that of the window as it is, if you sent it all the same.

        Args:
            reply_or_usage: the reply, or its usage: a mapping or an SDK object, as the provider
                gives it. With a `request`, usage that is not stated is estimated for observers.
            request: which request it was.
            tags: more tags for the record.

        Raises:
            ValueError: no request is named and no input tokens are stated; or a malformed tag.
        """
        refuse_inside_hook(self, "observe")
        given = {**({} if request is not None else self._tags), **tags}
        self._around().observe(reply_or_usage, request, given)

    async def aobserve(
        self, reply_or_usage: object, request: Request | None = None, **tags: str
    ) -> None:
        """Do what `observe` does, in a thread."""
        await in_thread(self.observe, reply_or_usage, request, **tags)

    # Other models.

    def fork(
        self,
        *,
        model: str | None = None,
        counter: TokenCounter | Callable[[str], int] | str | None = None,
        budget: Budget | None = None,
    ) -> "ContextManager":
        """
        Return a manager in memory with the same log, window, tools, chain and tags.

        Neither sees the other's changes.

        Args:
            model: another model, which brings its counter.
            counter: another counter; beats `model`.
            budget: another budget.
        """
        check_options(model, budget)
        whole = self._keeper.whole()
        costs = moved(whole.costs, model, counter)
        conversation = whole.under(budget or whole.budget, costs, model)
        fork = ContextManager.__new__(ContextManager)
        fork._begin(InMemory(conversation), self._chain, self._tags)  # noqa: SLF001 - it is one
        return fork

    def refit(
        self,
        *,
        model: str | None = None,
        counter: TokenCounter | Callable[[str], int] | str | None = None,
        budget: Budget | None = None,
    ) -> None:
        """
        Move the conversation to another model or budget for good.

        The window is derived anew from the whole log: what had left comes back as far as it fits,
        edits are undone, summaries taken back, and what bills taught is forgotten. What `forget()`
        released stays away. Messages are counted again only under another counter's name.

        Args:
            model: another model, which brings its counter.
            counter: another counter; beats `model`.
            budget: another budget.

        Raises:
            BudgetError: what must be kept does not fit; nothing has changed.
            CounterError: a message cannot be counted; nothing has changed.
        """
        check_options(model, budget)

        def work_out(conversation: Conversation) -> Sequence[Change]:
            whole = self._keeper.whole()
            costs = moved(conversation.costs, model, counter)
            probe = whole.under(budget or conversation.budget, costs)
            probe.apply(Refit())
            must_fit(probe)
            logged = probe.history.messages
            counts = {number: one.tokens for number, one in logged.items()}
            options = SetOptions(probe.budget, costs, model or conversation.model, counts)
            return [Refit(), options]

        self._change("refit", work_out)

    async def arefit(self, **options: Any) -> None:
        """Do what `refit` does, in a thread."""
        await in_thread(self.refit, **options)

    def to_dict(self) -> dict[str, Any]:
        """Return the state, JSON-ready, with a schema version; options are not part of it."""
        with self._keeper.lock:
            conversation = self._keeper.conversation
            with suppress(CounterError):  # what cannot be counted can still be saved
                conversation.window.settle()
            return conversation.to_dict()

    @overload
    @classmethod
    def from_dict(
        cls,
        state: Mapping[str, Any],
        max_tokens: int,
        *,
        budget: None = None,
        **options: Unpack[Options],
    ) -> Self: ...

    @overload
    @classmethod
    def from_dict(
        cls,
        state: Mapping[str, Any],
        max_tokens: None = None,
        *,
        budget: Budget,
        **options: Unpack[Options],
    ) -> Self: ...

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], *args: Any, **options: Any) -> Self:
        """
        Restore a manager that gives the same windows.

        Args:
            state: what `to_dict` returned.
            args: the budget, if it was given by position.
            options: the same options as the manager's that was saved.

        Raises:
            StateError: the state cannot be restored.
        """
        manager = cls(*args, **options)
        manager._apply("from_dict", Restore(state))
        return manager

    # Meters: what can be read. Nothing below changes anything.

    def __repr__(self) -> str:
        with self._keeper.lock:
            try:
                figures = f"{self.total_tokens}/{self.max_tokens} tokens, {len(self)} messages"
            except CounterError:
                figures = f"?/{self.max_tokens} tokens"
            return f"<ContextManager {figures}, {self._chain}>"

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        """Return the number of messages in the window."""
        with self._keeper.lock:
            window = self._keeper.conversation.window
            window.settle()
            return sum(len(unit.messages) for unit in window.units)

    def __iter__(self) -> Iterator[Message]:
        """Iterate over the messages of the window as it is, oldest first."""
        with self._keeper.lock:
            window = self._keeper.conversation.window
            window.settle()
            units = tuple(window.units)
        return iter([message.clone() for unit in units for message in unit.messages])

    @property
    def budget(self) -> Budget:
        """The budget, as given; `max_tokens` alone is one that reserves nothing for the reply."""
        return self._keeper.conversation.budget

    @property
    def max_tokens(self) -> int:
        """The input budget, in tokens."""
        return self._keeper.conversation.budget.max_tokens

    @property
    def total_tokens(self) -> int:
        """The cost of the present window, tools and priming included."""
        with self._keeper.lock:
            return self._keeper.conversation.total_tokens

    @property
    def remaining_tokens(self) -> int:
        """The budget minus the cost of the present window; may be negative before a prune."""
        return self.max_tokens - self.total_tokens

    @property
    def conversation_history(self) -> tuple[Message, ...]:
        """The whole log that is kept, oldest first, what left the window included."""
        return self._keeper.log()

    @property
    def last_receipt(self) -> Receipt | None:
        """What the last prune did; None before the first."""
        return self._last_receipt

    @property
    def left_out(self) -> tuple[Message, ...]:
        """
        Messages that no window may hold.

        They are open tool exchanges, results without their call, and replies that say nothing.
        """
        with self._keeper.lock:
            left_out = self._keeper.conversation.history.left_out()
            return tuple(message.clone() for message in left_out)

    def preview(self, content: Content, role: DraftRole = "user", *, check: bool = True) -> Preview:
        """
        Return what sending a draft would mean; changes nothing.

        Args:
            content: the draft's text or parts.
            role: its role.
            check: whether to find out if a draft that cuts the window fits, which takes as long as
                the cut. Without it a preview takes as long as counting the draft.

        Raises:
            MessageError: the draft is malformed, or of a role that only answers a call.
            CounterError: it cannot be counted.
        """
        wire = read_message({"role": role, "content": content})
        if role in RESULT_ROLES:
            raise MessageError(f"role: a draft cannot be a result, this one's role is {role!r}")
        return preview(self._keeper, self._chain, wire, owner=self, check=check)

    def _apply(self, method: str, change: Change) -> list[Message]:
        return self._change(method, lambda _: [change])

    def _change(self, method: str, work_out: WorkOut) -> list[Message]:
        """Have the keeper change something; refused inside a hook."""
        refuse_inside_hook(self, method)
        return self._keeper.change(work_out)

    def _pruned(self, receipt: Receipt) -> None:
        """Keep the receipt of what was applied, and show it to observers."""
        kept = replace(receipt, evicted=()) if self._keeper.releases else receipt
        self._last_receipt = kept
        notify(self._chain, receipt, self)

    def _around(self) -> Around:
        """Return what a call is made around."""
        return Around(
            self._keeper,
            self._precount,
            self._chain,
            self,
            self._forks,
            self._endings,
            self._pruned,
            lambda receipt: notify(self._chain, receipt, self),
        )


def _sent(conversation: Conversation) -> list[Wire]:
    """Return the window as it is sent."""
    return to_dicts([message for unit in conversation.send() for message in unit.messages])


def _id_of(message: Message | int) -> int:
    """Return the id of a message named by itself or by its id; raises `MessageError` otherwise."""
    if isinstance(message, Message):
        return message.id
    if type(message) is not int:
        raise MessageError(f"name a message by itself or by its id, not by {quoted(message)}")
    return message
