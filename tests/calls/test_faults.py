"""What went wrong once around the call, or nearly did: each in its smallest form."""

import asyncio
import gc
from dataclasses import replace
from typing import Any, Self

import pytest

from around import Admits, Answers, Observes, Routes, Shapes, chat, logged, reply
from ctxwin import (
    Answer,
    Budget,
    BudgetError,
    ContextManager,
    CounterError,
    Plan,
    PruneRequest,
    Request,
    Route,
    StoreError,
    hookimpl,
)
from ctxwin.calls import endings
from ctxwin.calls.requests import _Fitting, asked_for
from ctxwin.counting import CallableCounter
from ctxwin.counting.costs import Costs
from ctxwin.sessions import MemoryStore, Sessions
from ctxwin.testing import WordCounter

CHUNK = {
    "choices": [{"delta": {"content": "so"}}],
    "usage": {"prompt_tokens": 90, "completion_tokens": 1},
}


class Exact(CallableCounter):
    exact = True
    name = "exact"

    def __init__(self) -> None:
        super().__init__(lambda text: len(text.split()))


def test_a_view_that_is_collected_takes_no_lock_of_the_conversation() -> None:
    """The collector runs anywhere: observers are told, and nothing is learnt."""
    observer = Observes()
    ctx = chat(observer, counter=Exact())
    view = ctx.streamed(iter([CHUNK] * 3), ctx.request())
    total = ctx.total_tokens
    next(view)
    del view
    gc.collect()
    assert observer.last.status == "abandoned"
    assert ctx.total_tokens == total


def test_a_view_of_a_session_of_an_event_loop_may_be_dropped() -> None:
    """Nothing of it waits for the store."""
    observer = Observes()

    async def main() -> None:
        sessions = Sessions(MemoryStore())
        async with sessions.aopen("s", 1000, counter=Exact(), strategies=[observer]) as ctx:
            await ctx.aadd_message("user", "hi")

            async def parts() -> Any:
                for _ in range(3):
                    yield CHUNK

            view = ctx.streamed(parts(), await ctx.arequest())
            await anext(view)
            del view
            gc.collect()

    asyncio.run(main())
    assert observer.last.status == "abandoned"


def test_observers_hear_of_a_reply_whose_bill_cannot_be_stored(caplog: Any) -> None:
    """The store is away: the reply is unharmed, and the books are right."""

    class Away(MemoryStore):
        away = False

        def append(self, *args: Any, **options: Any) -> Any:
            if self.away:
                raise StoreError("away")
            return super().append(*args, **options)

    store, observer = Away(), Observes()
    with Sessions(store).open("s", 1000, counter=Exact(), strategies=[observer]) as ctx:
        ctx.add_message("user", "hi")
        request = ctx.request()
        store.away = True
        with logged(caplog, "is not learnt"):
            ctx.observe(reply(tokens=90), request)
        assert observer.last.status == "ok"
        ctx.messages()
        with pytest.raises(StoreError, match="away"):
            ctx.observe(reply(tokens=90))


def test_a_fork_that_has_written_can_still_say_what_does_not_fit() -> None:
    """Advice is tried on copies of it."""

    class Writes:
        @hookimpl
        def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
            units = request.droppable[:3]
            return Plan.replace(units, "told") if len(units) == 3 else None

    ctx = chat(Writes())
    for number in range(9):
        ctx.add_message("assistant", f"a {number} w w w")
        ctx.add_message("user", f"q {number} w w w")
    small = Budget(40)
    ctx.request(budget=small)
    ctx.add_message("user", "w " * 60)
    with pytest.raises(BudgetError):
        ctx.request(budget=small)


def test_a_fork_releases_only_what_the_conversation_released() -> None:
    """What that still holds may come back."""
    ctx = ContextManager(1000, counter=WordCounter())
    ctx.add_message("user", "q1")
    ctx.add_message("assistant", "w " * 60)
    second = ctx.add_message("user", "q2")
    ctx.add_message("assistant", "a2")
    ctx.add_message("user", "q3")
    ctx.request(budget=Budget(30))
    assert ctx.forget() == ()
    ctx.rewind(second)
    ctx.add_message("assistant", "x")
    texts = [wire["content"] for wire in ctx.request(budget=Budget(30)).messages]
    assert texts[0] == "q1"
    assert texts[-1] == "x"


@pytest.mark.parametrize("awaited", [True, False])
def test_a_refit_meanwhile_is_what_the_request_goes_by(
    awaited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never one budget and the other's window."""
    ctx = chat()
    fitting = _Fitting(ctx._around(), asked_for(None, None, None, None, {}, fresh=False))
    place = fitting._place

    def place_and_move() -> None:
        place()
        if ctx.model != "gpt-4o":
            ctx.refit(budget=Budget(500), model="gpt-4o")

    monkeypatch.setattr(fitting, "_place", place_and_move)
    request = asyncio.run(fitting.there()) if awaited else fitting.here()
    assert (request.budget, request.model, request.counter) == (Budget(500), "gpt-4o", "o200k_base")


def test_a_count_of_before_a_refit_is_not_kept() -> None:
    """It is of another counter."""
    ctx = chat()
    conversation = ctx._keeper.conversation
    uncounted = conversation.history.messages[2]
    conversation.take_counts([(uncounted, 999)], Costs(WordCounter()))
    assert uncounted.tokens != 999
    conversation.take_counts([(uncounted, 9)], conversation.costs)
    assert uncounted.tokens == 9


def test_what_a_request_was_made_from_is_a_copy_too() -> None:
    """A hook that changes it changes neither what is sent nor the cache's key."""

    def spoil(request: Request) -> None:
        request.origin.messages[1]["content"] = "spoilt"

    shapes = Shapes(lambda request: replace(request, params={"seed": 1}))
    request = chat(shapes, Admits(spoil)).request()
    assert request.messages[1]["content"] == "what is new"
    assert request.origin.messages[1]["content"] == "what is new"


def setting(**fields: Any) -> Any:
    """Return a plugin's way to set fields of a request."""
    return lambda request: replace(request, **fields)


def answering(content: Any) -> Any:
    """Return a plugin's way to answer."""
    return lambda _: Answer(content)


def test_no_parameter_says_what_has_a_field_of_its_own(caplog: Any) -> None:
    """A plugin could send other messages, or lift the cap that was admitted."""
    given: list[Any] = [{"messages": []}, {"model": "x"}, {"max_tokens": 9}, {"x": {1}}]
    for params in given:
        shapes = Shapes(setting(params=params))
        with logged(caplog, "may not change the params"):
            assert chat(shapes).request().params == {}


class Unequal:
    """Raises where it is compared, as an array does."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise ValueError("ambiguous")


def test_fields_that_cannot_be_compared_change_nothing(caplog: Any) -> None:
    """Nor those that nest without end."""
    deep: Any = "x"
    for _ in range(3_000):
        deep = [deep]
    for field, value in (("tokens", Unequal()), ("messages", (Unequal(),) * 2)):
        shapes = Shapes(setting(**{field: value}))
        with logged(caplog, "ctxwin_shape of plugin 'shapes' failed"):
            request = chat(shapes).request()
        assert replace(request, id="") == replace(chat().request(), id="")
    shapes = Shapes(lambda request: replace(request, params={"deep": deep}))
    with logged(caplog, "may not change the params"):
        assert chat(shapes, Shapes(lambda r: r, "second")).request().params == {}


def test_an_answer_is_checked_where_it_is_made(caplog: Any) -> None:
    """What is no text, or a blank one, is a miss."""
    for content, says in (
        (5, "must be strings"),
        (None, "must be strings"),
        (" ", "say something"),
    ):
        with logged(caplog, "ctxwin_answer of plugin"):
            request = chat(Answers(answering(content))).request()
        assert request.answer is None
        assert says in str(caplog.records[0].exc_info[1])
    with pytest.raises(TypeError, match="saved must be a Usage"):
        Answer("yes", saved=5)  # type: ignore[arg-type]


def test_usage_alone_teaches_as_the_reply_does() -> None:
    """Of a request, too."""
    taught = []
    for given in (reply(tokens=90), reply(tokens=90)["usage"]):
        ctx = chat(counter=Exact())
        ctx.observe(given, ctx.request())
        taught.append(ctx.total_tokens)
    assert taught == [90, 90]


class Refuses:
    """As the helper of an SDK, which sends the request where it is entered."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __enter__(self) -> Self:
        raise self.error

    def __exit__(self, *_: object) -> None:
        """Never entered."""


class AsyncRefuses(Refuses):
    __enter__ = None  # type: ignore[assignment]

    async def __aenter__(self) -> Self:
        raise self.error

    async def __aexit__(self, *_: object) -> None:
        """Never entered."""


class HTTPError(Exception):
    status_code = 401


def test_a_stream_that_is_refused_where_it_is_entered_has_failed() -> None:
    """In both colours."""
    observer = Observes()
    ctx = chat(observer)
    with pytest.raises(HTTPError), ctx.streamed(Refuses(HTTPError()), ctx.request()):
        pass

    async def main() -> None:
        async with ctx.streamed(AsyncRefuses(HTTPError()), ctx.request()):
            pass

    with pytest.raises(HTTPError):
        asyncio.run(main())
    assert [one.status for one in observer.seen] == ["failed", "failed"]


def test_a_helper_that_breaks_says_how() -> None:
    """The error left the block, and the view was not read."""
    from test_streams import Helper

    observer = Observes()
    ctx = chat(observer)
    helper = Helper()
    helper.snapshot = None
    with pytest.raises(HTTPError), ctx.streamed(helper, ctx.request()):
        raise HTTPError
    assert observer.last.status == "failed"


def test_an_answer_is_taken_in_once_whatever_ended_the_request(caplog: Any) -> None:
    """Also where it had failed before."""
    ctx = chat(Answers(lambda _: Answer("yes")))
    request = ctx.request()
    ctx.failed(request)
    with logged(caplog, "has ended already"):
        first = ctx.answered(request)
    assert ctx.answered(request) == first
    assert len(ctx) == 3


def test_options_are_checked_before_anything_is_done() -> None:
    """In `fork` and `refit` as in `request`."""
    ctx = chat()
    methods: tuple[Any, Any] = ctx.fork, ctx.refit
    for method in methods:
        with pytest.raises(TypeError, match="budget must be a Budget, such as"):
            method(budget=100)
        with pytest.raises(TypeError, match="model must be a string"):
            method(model=5, counter=len)
    assert ctx.model == "m"


def test_a_session_is_refitted_on_its_whole_log() -> None:
    """What memory had released is counted before anything changes, and by one counter once."""
    asked: list[str] = []

    class Counts(WordCounter):
        name = "counts"

        def count_message(self, message: Any) -> int:
            asked.append(str(message))
            return super().count_message(message)

    class Fails(WordCounter):
        name = "fails"

        def count_message(self, message: Any) -> int:
            if "q 0" in str(message):
                raise OSError("away")
            return super().count_message(message)

    with Sessions(MemoryStore()).open("s", 60, counter=Counts()) as ctx:
        for number in range(20):
            ctx.add_message("user", f"q {number} w w")
            ctx.messages()
        before = ctx.to_dict()
        with pytest.raises(CounterError):
            ctx.refit(counter=Fails())
        assert ctx.to_dict() == before
        ctx.refit(budget=Budget(1000))
        assert len(ctx.messages()) == 20
    assert len(asked) == len(set(asked)) == 20


def test_counters_without_a_name_have_nothing_in_common() -> None:
    """What bills taught of one says nothing of another."""
    ctx = ContextManager(1000, counter=len)
    ctx.add_message("user", "x" * 100)
    ctx.messages()
    ctx.observe({"prompt_tokens": 200})
    fresh = ContextManager(1000, counter=CallableCounter(len))
    fresh.add_message("user", "x" * 100)
    assert ctx.fork(counter=CallableCounter(len)).total_tokens == fresh.total_tokens


def test_what_is_large_is_counted_in_a_thread_before_a_router_is_asked() -> None:
    """The event loop goes on."""
    import threading

    threads = set()

    class Where(WordCounter):
        def count_message(self, message: Any) -> int:
            threads.add(threading.current_thread())
            return super().count_message(message)

    ctx = ContextManager(10**6, counter=Where(), strategies=[Routes(lambda _: Route())])
    ctx.add_message("user", "w " * 60_000)
    asyncio.run(ctx.arequest())
    assert threading.main_thread() not in threads


def test_the_window_of_another_model_is_made_and_counted_in_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is copied and counted for it may be large."""
    import threading

    threads = set()

    class Where(WordCounter):
        name = "where"

        def count_message(self, message: Any) -> int:
            threads.add(threading.current_thread())
            return super().count_message(message)

    monkeypatch.setattr("ctxwin.counting.costs.counter_for", lambda _: Where())
    ctx = chat(tokens=10**6)
    ctx.add_message("user", "w " * 60_000)
    ctx.messages()
    request = asyncio.run(ctx.arequest(model="other"))
    assert request.counter == "where"
    assert threads
    assert threading.main_thread() not in threads


def test_an_observer_registered_while_a_stream_runs_is_told() -> None:
    """It ends with the chain of then."""
    observer = Observes()
    ctx = chat()
    view = ctx.streamed(iter([CHUNK]), ctx.request())
    ctx.register(observer)
    list(view)
    assert observer.last.status == "ok"


def test_parameters_of_the_caller_are_copied_and_may_ask_for_a_stream() -> None:
    """Then usage is asked for, too."""
    params: Any = {"stream": True, "stop": ["x"]}
    request = chat().request(params=params)
    params["stop"].append("y")
    assert request.arguments()["stop"] == ["x"]
    assert request.arguments()["stream_options"] == {"include_usage": True}


class OddError(Exception):
    @property
    def status_code(self) -> int:
        raise OSError("no status today")


class GoogleError(Exception):
    code = 429


def test_odd_errors_and_reasons_are_read_as_far_as_they_go() -> None:
    """A property that raises, Google's `code`, a reason that is no string."""
    assert endings.status_of(OddError()) == "unknown"
    assert endings.status_of(GoogleError()) == "failed"
    observer = Observes()
    ctx = chat(observer)
    odd = reply()
    odd["choices"][0]["finish_reason"] = ["stop"]
    ctx.observe(odd, ctx.request())
    assert observer.last.finish_reason is None


def test_a_request_of_nothing_leaves_the_last_bill_to_be_learnt() -> None:
    """It was no request."""
    ctx = chat(counter=Exact())
    ctx.messages()
    first, *_ = ctx.conversation_history
    ctx.unpin(first)
    ctx.rewind(first)
    with pytest.raises(Exception, match="append one before request"):
        ctx.request()
    assert ctx._keeper.conversation._sent_as == ""
