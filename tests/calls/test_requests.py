"""Requests: routed, fitted, answered, shaped, admitted; whatever a plugin does, it is a request."""

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from around import Admits, Answers, Observes, Routes, Shapes, chat, logged, reply
from ctxwin import (
    Answer,
    Budget,
    BudgetError,
    Call,
    ContextManager,
    MessageError,
    RefusedError,
    Request,
    Route,
    RouteRequest,
    StrategyError,
    Usage,
    hookimpl,
)
from ctxwin.sessions import MemoryStore, Sessions
from ctxwin.testing import WordCounter


def test_a_request_without_plugins_is_the_window() -> None:
    """What `messages()` returns, with the figures that go with it."""
    tools = [{"type": "function", "function": {"name": "f"}}]
    ctx = chat(tools=tools, tags={"user": "ann"})
    request = ctx.request(params={"temperature": 0}, feature="support")
    assert list(request.messages) == ctx.messages()
    assert request.tokens == ctx.total_tokens
    assert (request.model, request.stable, request.tools) == ("m", 1, tuple(tools))
    assert request.tags == {"user": "ann", "feature": "support"}
    assert request.system == ()
    assert request.answer is None
    assert request.counter == "words"
    assert request.max_output_tokens is None
    assert request.origin is request
    assert len(request.id) == 32
    assert request.id != ctx.request().id


def test_the_arguments_are_those_of_the_client() -> None:
    """Copies; what is not set is not sent; further ones go before `params`."""
    ctx = chat(tokens=None, budget=Budget(1000, reserve_output=50))
    request = ctx.request(params={"temperature": 0, "stop": ["x"]})
    arguments = request.arguments(temperature=1)
    assert arguments == {
        "model": "m",
        "messages": ctx.messages(),
        "max_completion_tokens": 50,
        "temperature": 1,
        "stop": ["x"],
    }
    arguments["messages"][0]["content"] = "changed"
    arguments["stop"].append("y")
    assert request.arguments()["messages"] == ctx.messages()
    assert request.arguments()["stop"] == ["x"]
    streamed = request.arguments(stream=True, cap_as="max_tokens")
    assert streamed["stream_options"] == {"include_usage": True}
    assert streamed["max_tokens"] == 50
    assert "max_completion_tokens" not in streamed
    bare = chat(model=None, counter=WordCounter()).request()
    assert bare.arguments().keys() == {"messages"}
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert chat(tools=tools).request().arguments()["tools"] == tools


def test_what_is_stable_stands_before_the_question() -> None:
    """Without a question, all of it."""
    ctx = chat()
    ctx.extend([{"role": "assistant", "content": "a"}, {"role": "user", "content": "q"}])
    ctx.add_message("assistant", "b")
    assert ctx.request().stable == 3
    ctx = ContextManager(1000, counter=WordCounter())
    ctx.add_message("system", "be brief")
    assert ctx.request().stable == 1
    only = ContextManager(1000, counter=WordCounter())
    only.add_message("user", "q")
    assert only.request().stable == 0


def test_the_first_route_that_decides_a_field_wins() -> None:
    """Field by field; the caller beats all, and tags merge."""
    small = Budget(900)
    plugins = [
        Routes(lambda _: None, "none"),
        Routes(lambda _: Route(budget=small, tags={"arm": "a", "feature": "x"}), "first"),
        Routes(lambda _: Route(model="gpt-4o", budget=Budget(1), tags={"arm": "b"}), "second"),
        Routes(lambda _: Route(model="o", max_output_tokens=7), "third"),
    ]
    ctx = chat(*plugins, tags={"feature": "mine"})
    request = ctx.request()
    assert (request.model, request.budget, request.max_output_tokens) == ("gpt-4o", small, 7)
    assert request.tags == {"arm": "a", "feature": "mine"}
    request = ctx.request(model="m", budget=Budget(800), max_output_tokens=9, arm="c")
    assert (request.model, request.budget, request.max_output_tokens) == ("m", Budget(800), 9)
    assert request.tags["arm"] == "c"


def test_a_router_sees_what_is_to_be_routed() -> None:
    """The question, the window's cost, and what the caller asks for."""
    seen: list[RouteRequest] = []
    ctx = chat(Routes(seen.append), tools=[{"type": "function", "function": {"name": "f"}}])
    ctx.request(max_output_tokens=9, user="ann")
    (request,) = seen
    assert request.question is not None
    assert request.question.content == "what is new"
    assert request.tokens == ctx.total_tokens
    assert (request.model, request.max_output_tokens) == ("m", 9)
    assert request.budget == Budget(1000)
    assert request.tags == {"user": "ann"}
    assert list(request.tools) == ctx.tools
    empty = ContextManager(1000, strategies=[Routes(seen.append)], counter=WordCounter())
    empty.add_message("system", "be brief")
    empty.request()
    assert seen[-1].question is None


def test_plugins_are_asked_until_one_answers() -> None:
    """Then nothing is shaped or admitted; `fresh` skips them; the answer joins the conversation."""
    observer, admits = Observes(), Admits()
    never = Shapes(lambda request: pytest.fail("nothing is shaped"))
    plugins = [
        Answers(lambda _: None, "none"),
        Answers(lambda _: Answer("from a cache", saved=Usage(5, 5)), "cache"),
        Answers(lambda _: pytest.fail("it was answered"), "later"),
    ]
    ctx = chat(*plugins, never, admits, observer)
    request = ctx.request()
    assert request.answer == Answer("from a cache", "cache", Usage(5, 5))
    assert not admits.held
    message = ctx.answered(request)
    assert message.content == "from a cache"
    assert ctx.messages()[-1] == {"role": "assistant", "content": "from a cache"}
    assert observer.last.status == "cached"
    assert observer.last.usage is None
    assert ctx.answered(request) == message
    assert len(ctx) == 3
    assert len(observer.seen) == 1
    with pytest.raises(ValueError, match="no plugin has answered"):
        ctx.answered(chat().request())
    quiet = chat(Answers(lambda _: pytest.fail("it is to be fresh")))
    assert quiet.request(fresh=True).answer is None


def test_an_answer_to_a_request_that_has_ended_joins_the_conversation(caplog: Any) -> None:
    """The caller wants it there; only the second ending is ignored."""
    observer = Observes()
    ctx = chat(Answers(lambda _: Answer("yes", "elsewhere")), observer)
    request = ctx.request()
    assert request.answer is not None
    assert request.answer.source == "elsewhere"
    ctx.failed(request)
    with logged(caplog, "has ended already"):
        assert ctx.answered(request).content == "yes"
    assert [one.status for one in observer.seen] == ["unknown"]


def test_whoever_does_not_admit_refuses() -> None:
    """The error names plugin and request, and whoever admitted lets go."""

    def refuse(request: Request) -> None:
        raise RefusedError("over the cap")

    first, observer = Admits(name="first"), Observes()
    ctx = chat(first, Admits(refuse, "guard"), observer)
    with pytest.raises(RefusedError, match="over the cap") as caught:
        ctx.request()
    assert caught.value.plugin == "guard"
    assert caught.value.request is not None
    assert caught.value.retry_at is None
    assert observer.last.status == "refused"
    assert observer.last.request_id == caught.value.request.id
    assert observer.last.error is caught.value
    assert not first.held
    assert len(ctx) == 2


def test_whatever_admit_raises_refuses() -> None:
    """Money fails closed; an interrupt passes, and nothing is held then either."""

    def broken(request: Request) -> None:
        raise OSError("the database is away")

    with pytest.raises(RefusedError, match=r"ctxwin_admit failed: OSError: .* away") as caught:
        chat(Admits(broken, "guard")).request()
    assert isinstance(caught.value.__cause__, OSError)

    def interrupted(request: Request) -> None:
        raise KeyboardInterrupt

    first, observer = Admits(name="first"), Observes()
    ctx = chat(first, Admits(interrupted, "second"), observer)
    with pytest.raises(KeyboardInterrupt):
        ctx.request()
    assert not first.held
    assert observer.last.status == "refused"

    class Junk:
        @hookimpl
        def ctxwin_admit(self, request: Request) -> Any:
            return "yes"

    with pytest.raises(RefusedError, match="must return None, not str"):
        chat(Junk()).request()


def bad_hooks() -> Iterator[tuple[str, Any]]:
    """Yield what a hook does that it should not."""

    async def coroutine() -> None:
        """Never awaited."""

    def junk_effects(_: Any) -> Any:
        yield "not a call"

    def endless(_: Any) -> Any:
        while True:
            yield Call(int)

    def stubborn(_: Any) -> Any:
        while True:
            try:
                yield Call(lambda: 1 // 0)
            except ZeroDivisionError:
                continue

    def add_message(ctx: ContextManager) -> Any:
        return lambda _: ctx.add_message("user", "from inside")

    def of_async(_: Any) -> Any:
        async def slow() -> None:
            """Never awaited."""

        yield Call(slow)

    yield "raises", lambda _: 1 // 0
    yield "returns junk", lambda _: "junk"
    yield "is a coroutine", lambda _: coroutine()
    yield "yields junk", junk_effects
    yield "never ends", endless
    yield "swallows errors", stubborn
    yield "is async", of_async
    yield "changes the manager", add_message


BAD = dict(bad_hooks())


@pytest.mark.parametrize("kind", [Routes, Answers, Shapes])
@pytest.mark.parametrize("does", BAD)
def test_a_hook_that_fails_changes_nothing(kind: Any, does: str, caplog: Any) -> None:
    """The request is that without the plugin; what failed is logged."""
    plugin, observer = kind(BAD[does]), Observes()
    ctx = chat(plugin, observer)
    if does == "changes the manager":
        plugin.does = BAD[does](ctx)
    with logged(caplog, f"ctxwin_{kind.__name__.lower()[:-1]} of plugin"):
        request = ctx.request()
    assert replace(request, id="") == replace(chat().request(), id="")
    ctx.observe(reply(), request)
    assert observer.last.status == "ok"
    assert len(ctx) == 2


def test_an_async_function_of_a_sync_request_names_the_way_out(caplog: Any) -> None:
    """`arequest()` is what can await it."""
    with logged(caplog, "ctxwin_route of plugin 'routes' failed"):
        chat(Routes(BAD["is async"])).request()
    assert "await arequest()" in str(caplog.records[0].exc_info[1])


def test_calls_of_hooks_are_made_in_both_colours() -> None:
    """Functions of either colour; what they raise is thrown into the hook."""

    async def slow(text: str) -> str:
        await asyncio.sleep(0)
        return text

    def fails() -> None:
        raise OSError("away")

    class Panic(BaseException):
        """As a Rust extension raises."""

    def panics() -> None:
        raise Panic

    def route(function: Any) -> Any:
        def does(_: RouteRequest) -> Any:
            for broken in (fails, panics):
                try:
                    yield Call(broken)
                except (OSError, RuntimeError):
                    continue
            model = yield Call(function, "gpt-4o")
            return Route(model=model)

        return does

    assert chat(Routes(route(str))).request().model == "gpt-4o"
    assert asyncio.run(chat(Routes(route(slow))).arequest()).model == "gpt-4o"
    assert asyncio.run(chat(Routes(route(str))).arequest()).model == "gpt-4o"

    class Generates(Observes):
        """Observers and guards may be generators, too."""

        @hookimpl
        def ctxwin_admit(self, request: Request) -> Any:
            yield Call(self.admitted.append, request.id)

        def __init__(self) -> None:
            super().__init__()
            self.admitted: list[str] = []

    plugin = Generates()
    request = chat(plugin).request()
    assert plugin.admitted == [request.id]


def test_an_interrupt_passes_through_every_hook() -> None:
    """Nothing is logged, nothing is held."""

    def interrupted(_: Any) -> None:
        raise KeyboardInterrupt

    for kind in (Routes, Answers, Shapes):
        with pytest.raises(KeyboardInterrupt):
            chat(kind(interrupted)).request()


def test_hooks_get_copies() -> None:
    """Whatever a plugin does to what it was given, nobody else sees it."""

    def spoil(value: Any) -> None:
        for wire in getattr(value, "messages", ()):
            wire["content"] = "spoilt"
            wire["parts"] = []
        value.tags["user"] = "spoilt"
        for tool in value.tools:
            tool.clear()
        params = getattr(value, "params", None)
        if params is not None:
            params["nested"].append("spoilt")

    tools = [{"type": "function", "function": {"name": "f"}}]
    parts = [{"type": "text", "text": "look"}]
    expected = []
    for plugins in ([], [Routes(spoil), Answers(spoil), Shapes(spoil), Admits(spoil)]):
        ctx = chat(*plugins, tools=tools, tags={"user": "ann"})
        ctx.add_message("user", parts)
        expected.append(replace(ctx.request(params={"nested": []}), id=""))
    assert expected[0] == expected[1]

    class Spoils(Observes):
        @hookimpl
        def ctxwin_observed(self, observation: Any) -> None:
            spoil(observation.request)
            observation.tags.clear()

    observer = Observes()
    ctx = chat(Spoils(), observer, tags={"user": "ann"})
    ctx.observe(reply(), ctx.request(params={"nested": []}))
    assert observer.last.tags == {"user": "ann"}


def test_an_observer_that_fails_stops_no_other(caplog: Any) -> None:
    """It is logged."""

    class Fails:
        @hookimpl
        def ctxwin_observed(self, observation: Any) -> None:
            raise OSError("away")

    observer = Observes()
    ctx = chat(Fails(), observer)
    request = ctx.request()
    with logged(caplog, "ctxwin_observed of plugin 'fails' failed"):
        ctx.observe(reply(), request)
    assert observer.last.status == "ok"


def test_methods_that_change_something_are_refused_inside_hooks(caplog: Any) -> None:
    """Each by its own name."""
    made: list[ContextManager] = []

    def calls(_: Any) -> None:
        (ctx,) = made
        request = chat().request()
        for method in (
            *(ctx.request, lambda: ctx.observe(reply()), lambda: ctx.failed(request)),
            *(lambda: ctx.answered(request), lambda: ctx.streamed(iter(()), request), ctx.refit),
        ):
            with pytest.raises(StrategyError, match="from inside a hook"):
                method()

    made.append(chat(Routes(calls)))
    with logged(caplog):
        made[0].request()


def test_what_cannot_be_sent_is_refused() -> None:
    """Before anything has changed, each with what to do."""
    with pytest.raises(MessageError, match="append one before request"):
        ContextManager(100).request()
    ctx = chat(tokens=8)
    ctx.add_message("user", "far too long " * 20)
    with pytest.raises(BudgetError):
        ctx.request()
    tools = [{"type": "function", "function": {"name": "f", "description": "w " * 2000}}]
    with pytest.raises(BudgetError) as caught:
        chat(tools=tools, tokens=100).request()
    assert "tools" in caught.value.culprits
    for value in (0, -1, True, 1.5):
        with pytest.raises(ValueError, match="max_output_tokens must be a whole number"):
            chat().request(max_output_tokens=value)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="model must be a string"):
        chat().request(model=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="budget must be a Budget"):
        chat().request(budget=4000)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="params must be a mapping"):
        chat().request(params=["x"])  # type: ignore[arg-type]


def test_a_model_without_a_counter_of_its_own_is_estimated() -> None:
    """As it is for a manager."""
    with pytest.warns(UserWarning, match="no tokenizer is known"):
        request = chat().request(model="nobody-knows-it-7b")
    assert request.model == "nobody-knows-it-7b"
    assert request.tokens > 0


def test_an_open_exchange_is_left_out_of_a_request() -> None:
    """As of every window; a pending one is in it."""
    ctx = chat()
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ctx.append({"role": "assistant", "content": None, "tool_calls": [call]})
    assert len(ctx.request().messages) == 3
    ctx.add_message("user", "never mind")
    assert len(ctx.request().messages) == 3
    assert [one.role for one in ctx.left_out] == ["assistant"]


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({"user": 3}, "tag 'user' must be a string"),
        ({"user": "x" * 201}, "at most, not 201"),
        ({"not an identifier": "x"}, "must be an identifier"),
        ({7: "x"}, "must be an identifier"),
        ({f"tag{number}": "x" for number in range(17)}, "16 tags at most, not 17"),
        (["user"], "must be a mapping"),
    ],
)
def test_tags_are_checked_where_they_enter(tags: Any, says: str, caplog: Any) -> None:
    """Constructor, request, observe; a plugin's that are malformed are not taken."""
    with pytest.raises(ValueError, match=says):
        chat(tags=tags)
    with logged(caplog, "ctxwin_route of plugin"):
        assert chat(Routes(lambda _: Route(model="gpt-4o", tags=tags))).request().model == "m"
    if not isinstance(tags, dict) or 7 in tags:
        return
    ctx, observer = chat(), Observes()
    with pytest.raises(ValueError, match=says):
        ctx.request(**tags)
    request = ctx.request()
    with pytest.raises(ValueError, match=says):
        ctx.observe(reply(), request, **tags)
    with pytest.raises(ValueError, match=says):
        ctx.failed(request, **tags)
    assert not observer.seen


def test_a_route_of_the_wrong_types_is_refused() -> None:
    """Where it is made."""
    with pytest.raises(TypeError, match="model must be a string"):
        Route(model=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="budget must be a Budget"):
        Route(budget=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_output_tokens"):
        Route(max_output_tokens=0)


def test_too_many_tags_of_routes_are_not_taken(caplog: Any) -> None:
    """The caller's stay."""
    own = {f"own{number}": "x" for number in range(10)}
    more = {f"more{number}": "x" for number in range(10)}
    ctx = chat(Routes(lambda _: Route(model="gpt-4o", tags=more)), tags=own)
    with logged(caplog, "16 tags at most"):
        request = ctx.request()
    assert request.tags == own
    assert request.model == "gpt-4o"


def test_a_session_is_tagged_by_its_id() -> None:
    """Unless a tag is given; a long id by its hash; tags are no part of the state."""
    sessions = Sessions(MemoryStore())
    with sessions.open("user-42", 1000, counter=WordCounter(), tags={"user": "ann"}) as ctx:
        assert ctx.tags == {"conversation": "user-42", "user": "ann"}
    with sessions.open("x" * 10_000, 1000, counter=WordCounter()) as ctx:
        assert ctx.tags["conversation"].startswith("sha256:")
    with sessions.open("y", 1000, counter=WordCounter(), tags={"conversation": "mine"}) as ctx:
        assert ctx.tags == {"conversation": "mine"}
        assert "tags" not in ctx.to_dict()


def test_permuting_plugins_of_different_hooks_changes_nothing() -> None:
    """All orders of five plugins, one a hook: the same request and observation, byte for byte."""

    def shape(request: Request) -> Request:
        marked = {**request.messages[0], "cache_control": {"type": "ephemeral"}}
        messages = (marked, *request.messages[1:])
        return replace(request, messages=messages, params={"seed": 1}, max_output_tokens=5)

    outcomes = set()
    for order in itertools.permutations(range(5)):
        observer = Observes()
        plugins = [
            Routes(lambda _: Route(model="gpt-4o", tags={"arm": "a"})),
            Answers(lambda _: None),
            Shapes(shape),
            Admits(),
            observer,
        ]
        ctx = chat(*[plugins[place] for place in order])
        request = ctx.request()
        ctx.observe(reply(), request)
        told = replace(observer.last, request=None, request_id=None)
        outcomes.add((repr(replace(request, id="")), repr(told)))
    assert len(outcomes) == 1


async def awaited(ctx: ContextManager) -> None:
    request = await ctx.arequest()
    await ctx.aobserve(reply(), request)
    await ctx.afailed(await ctx.arequest(), OSError("away"))


def test_async_twins_do_the_same() -> None:
    """Also in a session opened for an event loop, and where a summary is awaited."""
    observer, admits = Observes(), Admits()
    asyncio.run(awaited(chat(admits, observer)))
    assert [one.status for one in observer.seen] == ["ok", "unknown"]
    assert not admits.held

    async def in_session() -> list[Any]:
        sessions = Sessions(MemoryStore())
        options: Any = {"counter": WordCounter(), "strategies": [observer]}
        async with sessions.aopen("s", 30, **options) as ctx:
            await ctx.aextend({"role": "user", "content": f"q {n} w w"} for n in range(8))
            await awaited(ctx)
            fork = await ctx.afork(budget=Budget(20))
            assert len(fork.messages()) < len(ctx)
            await ctx.arefit(budget=Budget(100))
            return await ctx.amessages()

    assert len(asyncio.run(in_session())) == 8


def test_an_answer_is_taken_in_awaited() -> None:
    """`aanswered` is `answered` in a thread."""
    ctx = chat(Answers(lambda _: Answer("yes")))

    async def main() -> Any:
        return await ctx.aanswered(await ctx.arequest())

    assert asyncio.run(main()).content == "yes"


@pytest.mark.parametrize("refuses", [False, True])
def test_a_cancelled_admission_holds_nothing(refuses: bool) -> None:
    """Whoever admitted a request that nobody gets lets go of it; a refusal is told once."""
    import threading

    entered, go_on = threading.Event(), threading.Event()

    def wait(request: Request) -> None:
        entered.set()
        go_on.wait()
        if refuses:
            raise RefusedError("no")

    admits, observer = Admits(wait), Observes()
    ctx = chat(admits, observer)

    async def main() -> None:
        task = asyncio.create_task(ctx.arequest())
        await asyncio.to_thread(entered.wait)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert not admits.held
    assert [one.status for one in observer.seen] == ["refused"]


def test_steps_run_right_here_under_another_event_loop() -> None:
    """Where there is no asyncio, nothing can be put into a thread."""
    ctx = chat(Admits())
    coroutine = ctx.arequest()
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    assert stopped.value.value.model == "m"


def test_refused_errors_can_be_pickled() -> None:
    """With all that they carry."""
    import pickle

    error = RefusedError("no", plugin="guard", request=chat().request())
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (str(again), again.plugin, again.request) == ("no", "guard", error.request)
