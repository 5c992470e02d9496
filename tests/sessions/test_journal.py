"""Sessions where the store fails, others write first, or a record cannot be read."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pytest

from ctxwin import ContextManager, CtxwinError, MessageError, Plan, StateError, hookimpl
from ctxwin.sessions import (
    NOWHERE,
    MemoryStore,
    Page,
    Position,
    RecordError,
    Session,
    SessionDeletedError,
    Sessions,
    StoreError,
    journal,
    open_store,
)
from ctxwin.sessions.records import Record, encode
from ctxwin.testing import WordCounter
from ctxwin_plugins.clamp_oversized import ClampOversized
from ctxwin_plugins.summarize_history import SummarizeHistory
from threads import in_threads

OPTIONS: dict[str, Any] = {"max_tokens": 60, "counter": WordCounter()}


class Faulty(MemoryStore):
    """A store that does what it is told before and after the next append."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[Callable[[], object]] = []
        self.after: list[Callable[[], object]] = []
        self.compacting: list[Callable[[], object]] = []
        self.threads: set[int] = set()

    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        self.threads.add(threading.get_ident())
        run(self.before)
        position = super().append(session, records, expected)
        run(self.after)
        return position

    def read(self, session: str, start: int | None = None, limit: int | None = None) -> Page:
        self.threads.add(threading.get_ident())
        return super().read(session, start, limit)

    def compact(
        self,
        session: str,
        position: Position,
        checkpoint: bytes | None,
        changes: Mapping[int, bytes | None],
    ) -> bool:
        self.threads.add(threading.get_ident())
        run(self.compacting)
        return super().compact(session, position, checkpoint, changes)


def run(actions: list[Callable[[], object]]) -> None:
    while actions:
        actions.pop()()


def fail() -> None:
    raise StoreError("the connection broke")


@pytest.fixture
def store() -> Faulty:
    return Faulty()


@pytest.fixture
def sessions(store: Faulty) -> Sessions:
    return Sessions(store)


def texts(messages: Sequence[Any]) -> list[Any]:
    return [
        message["content"] if isinstance(message, dict) else message.content for message in messages
    ]


def test_a_store_that_fails_changes_nothing(store: Faulty, sessions: Sessions) -> None:
    """Not the log, not the window; afterwards all goes on."""
    with sessions.open("a", **OPTIONS) as ctx:
        ctx.add_message("user", "one")
        before = ctx.to_dict()
        for change in (
            lambda: ctx.add_message("user", "two"),
            lambda: ctx.extend([{"role": "user", "content": "two"}]),
            lambda: ctx.pin(1),
            lambda: ctx.unpin(1),
            lambda: ctx.rewind(1),
        ):
            store.before.append(fail)
            with pytest.raises(StoreError, match="broke"):
                change()
            assert ctx.to_dict() == before
        ctx.add_message("user", "two")
        assert texts(ctx.messages()) == ["one", "two"]


def test_a_cut_that_cannot_be_stored_changes_nothing(store: Faulty, sessions: Sessions) -> None:
    """The window stays over its budget, and the next try cuts it."""
    with sessions.open("a", **OPTIONS) as ctx:
        ctx.extend([{"role": "user", "content": f"message {number} " * 5} for number in range(10)])
        before = texts(list(ctx))
        store.before.append(fail)
        with pytest.raises(StoreError):
            ctx.messages()
        assert texts(list(ctx)) == before
        assert len(ctx.messages()) < 10


@pytest.mark.parametrize("compacted", [False, True])
def test_what_was_stored_though_the_answer_was_lost_is_stored_once(
    store: Faulty, sessions: Sessions, compacted: bool
) -> None:
    """A retry returns the message that is stored, also where another made a checkpoint since."""
    with sessions.open("a", **OPTIONS) as ctx:
        ctx.add_message("user", "one")
        store.after.append(fail)
        with pytest.raises(StoreError):
            ctx.add_message("user", "two", name="Ann")
        if compacted:
            other = sessions.open("a", **OPTIONS)
            assert store.compact(
                "a", other._journal.position, encode(checkpoint(other), "other"), {}
            )
        message = ctx.add_message("user", "two", name="Ann")
        assert (message.id, message.content) == (2, "two")
        assert texts(ctx.conversation_history) == ["one", "two"] == texts(ctx.messages())


def checkpoint(ctx: Any) -> Record:
    journal = ctx._journal
    return Record("checkpoint", journal._dump(journal.conversation, journal.forgotten))


def test_another_writers_equal_message_is_another_message(
    store: Faulty, sessions: Sessions
) -> None:
    """Two users who both say "yes" have said it twice."""
    ctx, other = sessions.open("a", **OPTIONS), sessions.open("a", **OPTIONS)
    store.before.append(lambda: other.add_message("user", "yes"))
    assert ctx.add_message("user", "yes").id == 2
    assert texts(ctx.conversation_history) == ["yes", "yes"]


class Meddling:
    """Drops the oldest unit, and lets another change the conversation meanwhile."""

    def __init__(self, *meddle: Callable[[], object]) -> None:
        self.meddle = list(meddle)

    @hookimpl
    def ctxwin_prune(self, request: Any) -> Plan | None:
        run(self.meddle)
        return Plan.drop([request.droppable[0]]) if request.droppable else None


def fill(ctx: ContextManager, count: int = 10) -> None:
    ctx.extend([{"role": "user", "content": f"message {number} " * 5} for number in range(count)])


def test_a_prune_is_worked_out_again_where_others_have_written(sessions: Sessions) -> None:
    """What they said is in the window; what they cut is not cut twice."""
    other = sessions.open("a", **OPTIONS)
    ctx = sessions.open(
        "a", **OPTIONS, strategies=[Meddling(lambda: other.add_message("user", "meanwhile"))]
    )
    fill(ctx)
    other.refresh()
    assert texts(ctx.messages())[-1] == "meanwhile"
    assert texts(ctx.conversation_history)[-1] == "meanwhile"
    assert len(ctx.conversation_history) == 11
    other.refresh()
    assert texts(list(other)) == texts(list(ctx))


def test_two_prunes_at_once_are_one(store: Faulty, sessions: Sessions) -> None:
    """The one that comes second finds nothing left to do, and writes nothing."""
    ctx, other = sessions.open("a", **OPTIONS), sessions.open("a", **OPTIONS)
    fill(ctx)
    other.refresh()
    store.before.append(other.messages)
    assert texts(ctx.messages()) == texts(other.messages())
    assert ctx._journal.position == other._journal.position


def test_a_ticket_is_committed_on_what_others_have_written(
    store: Faulty, sessions: Sessions
) -> None:
    """A summary made ahead fits beside newer messages; one of what was cut meanwhile is stale."""
    options = {**OPTIONS, "strategies": [SummarizeHistory()], "max_tokens": 200}
    ctx, other = sessions.open("a", **options), sessions.open("a", **options)
    fill(ctx, 30)
    ticket, late = ctx.prepare(), other.prepare()
    assert ticket is not None
    assert late is None
    store.before.append(lambda: other.add_message("user", "meanwhile"))
    receipt = ctx.commit(ticket.run(lambda *_: "a summary"))
    assert [action.kind for action in receipt.actions] == ["replace"]
    assert texts(ctx.messages())[:: len(ctx) - 1] == ["a summary", "meanwhile"]
    again = other.commit(ticket.run(lambda *_: "another summary"))
    assert (again.actions, len(again.rejected)) == ((), 1)


def test_what_a_bill_taught_is_shared(sessions: Sessions) -> None:
    """An exact counter's offset holds for all; a second bill of the same request is ignored."""
    options = {**OPTIONS, "counter": WordCounter(exact=True)}
    ctx, other = sessions.open("a", **options), sessions.open("a", **options)
    ctx.add_message("user", "one")
    other.refresh()
    sent = ctx.total_tokens
    ctx.messages()
    other.messages()
    ctx.observe({"prompt_tokens": sent + 7})
    other.observe({"prompt_tokens": sent + 7})
    assert ctx.total_tokens == other.total_tokens == sent + 7
    ctx.messages()
    ctx.observe({"prompt_tokens": sent + 7})  # nothing new
    assert ctx._journal.position.number == 2


def test_a_summary_is_read_anew_at_its_corrected_cost(sessions: Sessions) -> None:
    """A state that is recorded while a correction holds has it applied to summaries, once."""
    options = {**OPTIONS, "strategies": [SummarizeHistory(lambda *_: "all about parcels and more")]}
    ctx = sessions.open("a", **options)
    fill(ctx)
    ctx.messages()
    ctx.observe({"prompt_tokens": 2 * ctx.total_tokens})
    assert next(message.sources for message in ctx)
    ctx.messages()
    ctx.pin(1)  # which memory no longer holds
    assert ctx.total_tokens == sessions.open("a", **options).total_tokens == 2 * cost_of(ctx)


def cost_of(ctx: ContextManager) -> int:
    return WordCounter().count_request([message.to_dict() for message in ctx])


def test_failures_of_a_strategy_are_shared(sessions: Sessions) -> None:
    """One that has failed in three prunes rests, though each was another worker's."""

    def fail_to_write(*_: Any) -> str:
        raise ConnectionError("no model")

    options = {**OPTIONS, "strategies": [SummarizeHistory(fail_to_write)]}
    reasons = []
    for count in (30, 1, 1, 1):
        with sessions.open("a", **options) as ctx:
            fill(ctx, count)
            ctx.prune_history()
            assert ctx.last_receipt is not None
            reasons.append([rejection.reason[:5] for rejection in ctx.last_receipt.rejected])
    assert reasons[3] == ["rests"] != reasons[2]


def test_the_cost_of_a_message_is_stored_with_it(sessions: Sessions) -> None:
    """Opened with the same counter, a session counts no message again, tool results included."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    with sessions.open("a", **OPTIONS) as ctx:
        ctx.add_message("user", "one")
        ctx.add_message("assistant", None, tool_calls=[call])
        ctx.add_message("tool", "done", tool_call_id="1")

    class Counted(WordCounter):
        def count_message(self, message: Mapping[str, Any]) -> int:
            raise AssertionError(message)

    reopened = sessions.open("a", max_tokens=60, counter=Counted())
    assert len(reopened.messages()) == 3


def test_a_counter_that_fails_is_no_reason_to_lose_a_message(sessions: Sessions) -> None:
    """It is stored uncounted."""

    class Broken(WordCounter):
        def count_message(self, message: Mapping[str, Any]) -> int:
            raise ValueError("no")

    with sessions.open("a", max_tokens=60, counter=Broken()) as ctx:
        ctx.add_message("user", "one")
    assert texts(sessions.open("a", **OPTIONS).messages()) == ["one"]


def test_a_checkpoint_that_fails_is_tried_again(
    store: Faulty,
    sessions: Sessions,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Appending goes on; the log says why there is no checkpoint."""
    monkeypatch.setattr(journal, "MIN_TAIL", 1)
    with sessions.open("a", **OPTIONS) as ctx:
        store.compacting.append(fail)
        ctx.add_message("user", "one")
        assert "no checkpoint of session 'a'" in caplog.text
        assert store.read("a").floor == 0
        ctx.add_message("user", "two")
        assert store.read("a").floor == 2


def test_a_closed_session_takes_no_changes(sessions: Sessions) -> None:
    """It can still be read."""
    with sessions.open("a", **OPTIONS) as ctx:
        ctx.add_message("user", "one")
    with pytest.raises(StoreError, match="closed: open it again"):
        ctx.add_message("user", "two")
    assert texts(ctx.messages()) == ["one"]


def test_a_deleted_session_is_not_brought_back(sessions: Sessions) -> None:
    """An open handle learns that it is gone, also where another session has taken its id."""
    ctx = sessions.open("a", **OPTIONS)
    ctx.add_message("user", "one")
    assert sessions.delete("a")
    with pytest.raises(SessionDeletedError):
        ctx.add_message("user", "two")
    with sessions.open("a", **OPTIONS) as anew:
        anew.extend([{"role": "user", "content": "new"}] * 3)
    with pytest.raises(SessionDeletedError):
        ctx.add_message("user", "two")
    with pytest.raises(SessionDeletedError):
        assert ctx.conversation_history
    assert texts(anew.conversation_history) == ["new"] * 3
    assert (sessions.delete("a"), sessions.delete("a"), sessions.read("a")) == (True, False, [])


def test_a_session_deleted_between_two_reads_is_not_mistaken_for_its_successor(
    store: Faulty, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint must be read anew, and by then it is of another session of the same id."""
    ctx, other = sessions.open("a", **OPTIONS), sessions.open("a", **OPTIONS)
    ctx.add_message("user", "one")
    other.add_message("user", "two")
    assert store.compact("a", other._journal.position, encode(checkpoint(other), "other"), {})
    page = store.read("a", 2)
    sessions.delete("a")
    fill(sessions.open("a", **OPTIONS), 3)
    pages = [page, store.read("a")]
    monkeypatch.setattr(store, "read", lambda *_: pages.pop(0))
    before = ctx.to_dict()
    with pytest.raises(SessionDeletedError):
        ctx.refresh()
    assert ctx.to_dict() == before


def test_a_store_that_went_back_is_found_out(store: Faulty, sessions: Sessions) -> None:
    """A server that was restored from an older copy."""
    ctx = sessions.open("a", **OPTIONS)
    ctx.extend([{"role": "user", "content": "one"}] * 3)
    log = store._logs["a"]
    log.position = Position(log.position.life, 1)
    with pytest.raises(StoreError, match="up to record 1, and had it up to 3"):
        ctx.add_message("user", "two")


def corrupted(data: bytes) -> bytes:
    return data.replace(b"one", b"two")


def resealed(kind: str, **fields: Any) -> Callable[[bytes], bytes]:
    return lambda _: encode(Record(kind, fields), "x")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (corrupted, "checksum"),
        (lambda data: data[:-1], "checksum"),
        (lambda _: b"", "checksum"),
        (resealed("append", v=2), "of schema 2"),
        (resealed("dance"), "its kind is 'dance'"),
        (resealed("checkpoint"), "its kind is 'checkpoint'"),
        (resealed("append", message={"role": "nobody"}, pinned=False), "role must be one of"),
        (resealed("append"), "append lacks 'message'"),
        (resealed("append", message={"role": "user", "content": ""}), "lacks 'pinned'"),
        (resealed("pin", id=7), "contradicts"),
        (resealed("cut", gone=[], unwritten=[4]), "cut lacks"),
        (resealed("state", state={}, rewound=None), "lacks 'forgotten'"),
        (resealed("state", state={}, rewound=None, forgotten=0), "lacks 'schema'"),
    ],
    ids=range(13),
)
def test_a_record_that_cannot_be_read_is_named(
    store: Faulty, sessions: Sessions, spoil: Callable[[bytes], bytes], reason: str
) -> None:
    """Nothing is skipped, nothing changed, and no other session is the worse for it."""
    for session in ("a", "b"):
        with sessions.open(session, **OPTIONS) as ctx:
            ctx.add_message("user", "one")
            ctx.add_message("user", "two")
    records = store._logs["a"].records
    records[2] = spoil(records[1])
    before = dict(records)
    with pytest.raises(RecordError, match=reason) as caught:
        sessions.open("a", **OPTIONS)
    assert (caught.value.session, caught.value.number) == ("a", 2)
    assert records == before
    assert texts(sessions.open("b", **OPTIONS).messages()) == ["one", "two"]


def test_no_json_at_all_is_named(store: Faulty, sessions: Sessions) -> None:
    """Whoever wrote it took care of the checksum."""
    from zlib import crc32

    store.append("a", [b"%08x %b" % (crc32(b"[1]"), b"[1]")], NOWHERE)
    with pytest.raises(RecordError, match="not a record of ctxwin"):
        sessions.open("a", **OPTIONS)


def test_what_was_written_and_never_cut_in_is_named(store: Faulty, sessions: Sessions) -> None:
    """The cut that belongs to it has gone missing, and another record stands in its place."""
    with sessions.open("a", **OPTIONS, strategies=[SummarizeHistory(lambda *_: "short")]) as ctx:
        fill(ctx)
        ctx.messages()
        number = ctx._journal.position.number
    records = store._logs["a"].records
    records[number] = encode(Record("pin", {"id": 10}), "x")
    with pytest.raises(RecordError, match="where a cut must") as caught:
        sessions.open("a", **OPTIONS)
    assert caught.value.number == number


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_record_that_is_missing_is_named(store: Faulty, sessions: Sessions, missing: int) -> None:
    """At either end, and in the middle."""
    with sessions.open("a", **OPTIONS) as ctx:
        ctx.extend([{"role": "user", "content": "one"}] * 3)
    del store._logs["a"].records[missing]
    with pytest.raises(
        RecordError, match=f"record {missing} of session 'a' cannot be read: it is missing"
    ):
        sessions.open("a", **OPTIONS)


def test_a_checkpoint_that_cannot_be_read_is_named(store: Faulty, sessions: Sessions) -> None:
    """It has no number."""
    with sessions.open("a", **OPTIONS) as ctx:
        ctx.add_message("user", "one")
    store._logs["a"].checkpoint = b"junk"
    for read in (lambda: sessions.open("a", **OPTIONS), lambda: sessions.read("a")):
        with pytest.raises(RecordError, match="the checkpoint of session 'a'") as caught:
            read()
    assert caught.value.number is None


def test_messages_that_never_were(sessions: Sessions) -> None:
    """Pinning or rewinding to an unknown message fails as in any manager, and writes nothing."""
    with sessions.open("a", **OPTIONS) as ctx:
        fill(ctx)
        ctx.messages()
        cut = ctx._journal.position
        for message_id in (0, 99, cut.number):
            for change in (ctx.pin, ctx.unpin, ctx.rewind):
                with pytest.raises(MessageError):
                    change(message_id)
        assert ctx._journal.position == cut


def test_ids_of_sessions_are_any_text(sessions: Sessions) -> None:
    """No id is another's, however alike they look."""
    ids = [
        "a",
        "A",
        "a ",
        "\0",
        "a\0",
        "\ud800",
        "é",
        "e\u0301",
        "",
        "../a",
        "'; drop table",
        "{a}",
        "*",
        "a" * 10_000,
    ]
    for session in ids:
        with sessions.open(session, **OPTIONS) as ctx:
            ctx.add_message("user", f"I am {session!r}")
    assert sorted(sessions.list()) == sorted(ids)
    for session in ids:
        assert texts(sessions.read(session)) == [f"I am {session!r}"]


def test_a_saved_conversation_is_taken_over(sessions: Sessions) -> None:
    """Ids, pins, summaries and the log are those of the manager that was saved."""
    options: dict[str, Any] = {"strategies": ["summarize-history"], "counter": WordCounter()}
    ctx = ContextManager(40, **options)
    for number in range(12):
        ctx.add_message("user", f"My order number is {number}, ok?", pinned=number == 1)
        ctx.add_message("assistant", "yes " * 3)
        ctx.messages()
    ctx.rewind(ctx.add_message("user", "no"))
    session = Session.from_dict(ctx.to_dict(), sessions.store, "a", 40, **options)
    for taken in (session, sessions.open("a", 40, **options)):
        assert taken.messages() == ctx.messages()
        assert taken.conversation_history == ctx.conversation_history
        assert list(taken) == list(ctx)
        assert taken.to_dict()["next_id"] == ctx.to_dict()["next_id"] + 1  # the state's record
    session.pin(3)
    assert session.conversation_history[2].pinned
    with pytest.raises(StateError, match="holds a conversation already"):
        Session.from_dict(ctx.to_dict(), sessions.store, "a", 40, **options)
    with pytest.raises(StateError, match="schema"):
        Session.from_dict({"schema": 7}, sessions.store, "b", 40, **options)
    assert list(sessions.list()) == ["a"]


@pytest.mark.parametrize("others", [False, True])
def test_a_conversation_is_taken_over_once(store: Faulty, sessions: Sessions, others: bool) -> None:
    """Where the answer was lost, another try finds it done, unless it has been added to since."""
    saved = ContextManager(**OPTIONS)
    fill(saved)
    saved.messages()  # a request on its way is known to one process alone
    state = MappingProxyType(saved.to_dict())

    def take_over() -> Session:
        return Session.from_dict(state, store, "a", **OPTIONS)

    store.after.append(fail)
    with pytest.raises(StoreError):
        take_over()
    if others:
        sessions.open("a", **OPTIONS).add_message("user", "more")
        with pytest.raises(StateError, match="holds a conversation already"):
            take_over()
        return
    again, opened = take_over(), sessions.open("a", **OPTIONS)
    assert again.messages() == opened.messages() == saved.messages()
    assert again.conversation_history == opened.conversation_history == saved.conversation_history
    first = sessions.open("a", **OPTIONS)
    assert first.to_dict()["sent_tokens"] is None
    assert store._logs["a"].position.number == 11
    again.add_message("user", "yes")
    first.add_message("user", "yes")  # two handles of one take-over are two writers
    assert texts(first.conversation_history)[-2:] == ["yes", "yes"]


def test_a_state_with_more_gaps_than_messages_to_keep_is_refused(sessions: Sessions) -> None:
    """Each number without a message becomes a record."""
    state = ContextManager(**OPTIONS).to_dict()
    with pytest.raises(StateError, match="lacks 5000000 of the messages"):
        Session.from_dict({**state, "next_id": 5_000_000}, sessions.store, "a", **OPTIONS)
    assert list(sessions.list()) == []


def test_urls_of_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Schemes are entry points of `ctxwin.stores`; errors name what is missing, no password."""
    from importlib import metadata

    with pytest.raises(ValueError, match="no place to name"):
        open_store("memory://somewhere")
    with pytest.raises(
        ValueError, match=r"the scheme 'mysql'; schemes: memory, postgresql"
    ) as caught:
        open_store("mysql://me:secret@host/db")
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="schemes"):
        open_store("chats.db")
    found = metadata.EntryPoint(
        "mine", "ctxwin.sessions.stores.memory:MemoryStore", "ctxwin.stores"
    )
    monkeypatch.setattr(metadata, "entry_points", lambda **_: [found])
    with pytest.raises(TypeError):
        open_store("mine://x")  # its factory is called with the URL


# For event loops.


def test_an_event_loop_never_waits_for_the_store(store: Faulty, sessions: Sessions) -> None:
    """The store is called in another thread only; the methods do what their twins do."""

    async def use() -> list[Any]:
        async with sessions.aopen("a", **OPTIONS, strategies=[SummarizeHistory(asummary)]) as ctx:
            await ctx.aadd_message("user", "one", name="Ann")
            await ctx.aappend({"role": "user", "content": "two"}, pinned=True)
            await ctx.arewind(
                await ctx.aappend({"role": "assistant", "content": "Let me lo"}, incomplete=True)
            )
            await ctx.aextend(
                [{"role": "user", "content": f"message {number} " * 3} for number in range(20)]
            )
            await ctx.apin(1)
            await ctx.aunpin(2)
            before = await ctx.amessages()
            await ctx.aobserve({"prompt_tokens": ctx.total_tokens + 1})
            await ctx.aprune_history()
            ticket = ctx.prepare()
            assert ticket is None
            await ctx.arewind(await ctx.aadd_message("user", "three"))
            await ctx.arefresh()
            assert len(await ctx.aconversation_history()) == 22
            assert texts(await ctx.amessages()) == texts(before)
            return await sessions.aread("a", limit=2)

    loop = threading.get_ident()
    read = asyncio.run(use())
    assert texts(read) == ["one", "two"]
    assert loop not in store.threads
    assert asyncio.run(sessions.adelete("a"))


async def asummary(*_: Any) -> str:
    await asyncio.sleep(0)
    return "a summary"


def test_what_would_block_an_event_loop_is_refused(sessions: Sessions) -> None:
    """The error says what to call; the method works in a thread, and without a store."""

    async def use() -> None:
        async with sessions.aopen("a", **OPTIONS) as ctx:
            with pytest.raises(RuntimeError, match="an a in front"):
                ctx.add_message("user", "one")
            await asyncio.to_thread(ctx.add_message, "user", "two")
            assert texts(ctx.messages()) == ["two"]
            assert ctx.total_tokens

    asyncio.run(use())


def test_an_event_loop_does_not_wait_for_another_writer(store: Faulty, sessions: Sessions) -> None:
    """Whoever would have to wait for one is refused, whatever it was going to do."""
    entered, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        go_on.wait()

    store.before.append(wait)

    async def use() -> None:
        async with sessions.aopen("a", **OPTIONS) as ctx:
            writing = asyncio.ensure_future(ctx.aadd_message("user", "one"))
            await asyncio.to_thread(entered.wait)
            try:
                for act in (
                    ctx.forget,
                    ctx.refresh,
                    ctx.prune_history,
                    lambda: setattr(ctx, "tools", []),
                    lambda: ctx.append({"role": "user", "content": "two"}),
                    lambda: ctx.conversation_history,
                ):
                    with pytest.raises(RuntimeError, match="an a in front"):
                        act()
            finally:
                go_on.set()
            await writing
            await ctx.aset_tools([{"type": "function", "function": {"name": "f"}}])
            assert (await ctx.aforget(), len(ctx.tools)) == ((), 1)

    asyncio.run(use())


def test_a_ticket_is_committed_from_an_event_loop(sessions: Sessions) -> None:
    """`acommit`."""

    async def use() -> list[Any]:
        async with sessions.aopen(
            "a", 200, counter=WordCounter(), strategies=[SummarizeHistory()]
        ) as ctx:
            await ctx.aextend(
                [{"role": "user", "content": f"message {number} " * 5} for number in range(30)]
            )
            ticket = ctx.prepare()
            assert ticket is not None
            await ctx.acommit(await ticket.arun(asummary))
            return texts(await ctx.amessages())

    assert asyncio.run(use())[0] == "a summary"


@pytest.mark.parametrize("fails", [False, True])
def test_a_cancelled_prune_is_over_when_it_says_so(
    store: Faulty, sessions: Sessions, fails: bool
) -> None:
    """Nothing goes on behind the caller's back: the cut has been written, or has failed."""
    entered, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        go_on.wait()
        if fails:
            fail()

    async def use() -> tuple[int, int]:
        async with sessions.aopen("a", **OPTIONS) as ctx:
            await ctx.aextend(
                [{"role": "user", "content": f"message {number} " * 5} for number in range(10)]
            )
            store.before.append(wait)
            task = asyncio.ensure_future(ctx.amessages())
            await asyncio.to_thread(entered.wait)
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)
            assert not task.done()
            assert len(ctx) == 10  # readers do not wait
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            return len(ctx), ctx._journal.position.number

    assert asyncio.run(use()) == ((10, 10) if fails else (3, 11))


def test_readers_do_not_wait_for_the_store(store: Faulty, sessions: Sessions) -> None:
    """While an append is being stored, other threads see the conversation as it is."""
    ctx = sessions.open("a", **OPTIONS)
    ctx.add_message("user", "one")
    seen: list[int] = []

    def look() -> None:
        thread = threading.Thread(target=lambda: seen.append(len(ctx)), daemon=True)
        thread.start()
        thread.join(10)

    store.before.append(look)
    ctx.add_message("user", "two")
    assert (seen, len(ctx)) == ([1], 2)


def test_threads_on_one_session(sessions: Sessions) -> None:
    """Each message is there once, in its writer's order."""
    ctx = sessions.open("a", **OPTIONS)

    def write(name: str) -> None:
        for number in range(25):
            ctx.add_message("user", f"{name} {number}")
            ctx.messages()

    in_threads(write, "xyz")
    said = texts(ctx.conversation_history)
    assert sorted(said) == sorted(f"{name} {number}" for name in "xyz" for number in range(25))
    for name in "xyz":
        assert [text for text in said if text.startswith(name)] == [
            f"{name} {number}" for number in range(25)
        ]


def test_errors_are_of_one_tree_and_pickle() -> None:
    """So that a worker can hand them on."""
    import pickle

    error = pickle.loads(pickle.dumps(RecordError("a", 3, "corrupt")))  # noqa: S301 - our own
    assert (error.session, error.number, error.reason, str(error)) == (
        "a",
        3,
        "corrupt",
        str(RecordError("a", 3, "corrupt")),
    )
    assert issubclass(RecordError, StoreError)
    assert issubclass(SessionDeletedError, StoreError)
    assert issubclass(StoreError, CtxwinError)


def pages(sessions: Sessions, size: int) -> Iterator[Any]:
    start = 0
    while page := sessions.read("a", start, size):
        yield from page
        start = page[-1].id + 1


@pytest.mark.parametrize("size", [1, 7, 600])
def test_reading_in_pages(sessions: Sessions, size: int) -> None:
    """Whatever their size, all that was said comes out, and nothing that was taken back."""
    with sessions.open("a", **OPTIONS) as ctx:
        for number in range(100):
            ctx.add_message("user", f"message {number}")
            if number % 10 == 9:
                ctx.messages()
                ctx.rewind(ctx.conversation_history[-1])
        log = texts(ctx.conversation_history)
    assert len(log) == 90
    assert texts(list(pages(sessions, size))) == log
    assert sessions.read("a", limit=0) == []
    with pytest.raises(ValueError):
        sessions.read("a", limit=-1)


def test_what_was_forgotten_is_reached_all_the_same(sessions: Sessions) -> None:
    """A pin and a rewind bring back what memory no longer holds; others replay it."""
    ctx, other = sessions.open("a", **OPTIONS), sessions.open("a", **OPTIONS)
    ids = []
    for number in range(20):
        ids.append(ctx.add_message("user", f"message {number} " * 5).id)
        ctx.messages()
    assert ids[2] not in ctx._journal.conversation.history.messages
    ctx.pin(ids[2])
    assert next(iter(ctx)).id == ids[2]
    ctx.unpin(ids[2])
    ctx.messages()
    ctx.unpin(ids[3])  # it is ordinary already
    assert [message.id for message in ctx.rewind(ids[6])] == ids[6:]
    other.refresh()
    assert texts(list(other)) == texts(list(ctx))
    assert [message.id for message in ctx.conversation_history] == ids[:6]
    assert ctx.id == "a"


def test_what_the_caller_forgot_is_reached_too(sessions: Sessions) -> None:
    """The last unit stays in memory though it has left the window, until `forget` is called."""
    ctx = sessions.open("a", **OPTIONS)
    ctx.add_message("user", "question")
    rule = ctx.add_message("system", "rule " * 60)
    ctx.unpin(rule)
    assert texts(ctx.messages()) == ["question"]
    ctx.add_message("user", "again")
    assert [message.id for message in ctx.forget()] == [rule.id]
    ctx.add_message("user", "and again")
    assert ctx.rewind(rule)[0].id == rule.id
    assert texts(ctx.conversation_history) == ["question"]


def test_an_older_ticket_stays_superseded(sessions: Sessions) -> None:
    """Also where the conversation was recorded anew meanwhile, by a pin of what was forgotten."""
    options = {**OPTIONS, "strategies": [SummarizeHistory()], "max_tokens": 200}
    ctx = sessions.open("a", **options)
    fill(ctx, 30)
    ctx.prune_history()
    fill(ctx, 20)
    older = ctx.prepare()
    ctx.add_message("user", "more")
    newer = ctx.prepare()
    assert older is not None
    assert newer is not None
    ctx.unpin(1)  # which memory no longer holds
    receipt = ctx.commit(older.run(lambda *_: "a summary"))
    assert [rejection.reason for rejection in receipt.rejected] == [
        "stale: a newer prepare() supersedes it"
    ]


def test_a_rewind_brings_back_the_question_before(sessions: Sessions) -> None:
    """Though it had been dropped and forgotten, and what is cut was in memory."""
    plain, ctx = ContextManager(**OPTIONS), sessions.open("a", **OPTIONS)
    for manager in (plain, ctx):
        for number in range(4):
            manager.add_message("user", f"question {number} " * 20)
            manager.messages()
        manager.rewind([*manager][-1])
    assert texts(list(ctx)) == texts(list(plain)) == ["question 2 " * 20]
    assert texts(list(sessions.open("a", **OPTIONS))) == texts(list(plain))


def test_a_bill_is_replayed_though_a_unit_is_out_of_date(sessions: Sessions) -> None:
    """A result was taken back, and nobody has looked at the window since."""
    options: dict[str, Any] = {"max_tokens": 100, "counter": WordCounter()}
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ctx, other = sessions.open("a", **options), sessions.open("a", **options)
    ctx.add_message("user", "one")
    ctx.add_message("assistant", None, tool_calls=[call])
    result = ctx.add_message("tool", "done", tool_call_id="1")
    other.refresh()
    assert len(other) == 3
    ctx.rewind(result)
    ctx.messages()
    ctx.observe({"prompt_tokens": 2 * ctx.total_tokens})
    other.refresh()
    assert (len(other), other.total_tokens) == (len(ctx), ctx.total_tokens)


def test_a_system_message_behind_a_call_brings_nothing_back(sessions: Sessions) -> None:
    """The call is left out until its result is there; what a cut dropped stays in the store."""
    plain, ctx = ContextManager(**OPTIONS), sessions.open("a", **OPTIONS)
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    for manager in (plain, ctx):
        manager.add_message("user", "the question")
        for number in range(8):
            manager.add_message("assistant", f"thought {number} " * 5)
            manager.messages()
        manager.add_message("assistant", "x " * 28, tool_calls=[call])
        manager.prune_history()
        manager.add_message("system", "Be brief.")
    assert texts(list(ctx)) == texts(list(plain)) == ["the question", "Be brief."]
    other = sessions.open("a", **OPTIONS)
    for manager in (plain, ctx):
        manager.add_message("tool", "r", tool_call_id="1")
    other.refresh()
    assert other.messages() == ctx.messages() == plain.messages()
    assert len(other) == 4


@pytest.mark.parametrize("name", ["words", "other"])
def test_an_edit_is_shared(sessions: Sessions, name: str) -> None:
    """What a message was shortened to is what every worker sends, whatever it counts by."""
    options = {**OPTIONS, "strategies": [ClampOversized(max_message_tokens=20)]}
    with sessions.open("a", **options) as ctx:
        ctx.add_message("user", "word " * 50)
        ctx.add_message("user", "and now?")
        sent = ctx.messages()
        assert sent[0]["content"] != "word " * 50

    class Other(WordCounter):
        pass

    Other.name = name
    other = sessions.open("a", max_tokens=60, counter=Other())
    assert texts(list(other)) == texts(sent)
    assert other.total_tokens == ctx.total_tokens


def test_what_another_counter_learnt_is_no_lesson(sessions: Sessions) -> None:
    """An offset is of one counter."""
    with sessions.open("a", max_tokens=60, counter=WordCounter(exact=True)) as ctx:
        ctx.add_message("user", "one")
        ctx.messages()
        ctx.observe({"prompt_tokens": 35})

    class Other(WordCounter):
        name = "other"

    assert sessions.open("a", max_tokens=60, counter=Other(exact=True)).total_tokens < 50


def test_a_checkpoint_of_another_is_taken_notice_of(store: Faulty, sessions: Sessions) -> None:
    """Whoever has seen all that it tells reads on, and need not write one of its own."""
    ctx, other = sessions.open("a", **OPTIONS), sessions.open("a", **OPTIONS)
    fill(ctx)
    ctx.messages()
    other.refresh()
    assert other._journal.dead
    store.compact("a", ctx._journal.position, encode(checkpoint(ctx), "x"), {})
    ctx.add_message("user", "more")
    other.refresh()
    assert (other._journal.floor, other._journal.dead) == (11, [])
    assert texts(list(other)) == texts(list(ctx))


@pytest.mark.parametrize(
    ("module", "needs", "extra"),
    [
        ("ctxwin.sessions.stores.sql", "sqlalchemy", "sql"),
        ("ctxwin.sessions.stores.redis", "redis", "redis"),
        ("ctxwin.sessions.stores.encrypted", "cryptography.fernet", "encryption"),
    ],
)
def test_what_is_not_installed_is_said(
    module: str, needs: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the extra that brings it."""
    import sys
    from importlib import import_module

    for found in (module, "ctxwin.sessions.stores.engine"):
        monkeypatch.delitem(sys.modules, found, raising=False)
    monkeypatch.setitem(sys.modules, needs, None)
    with pytest.raises(ImportError, match=rf"pip install 'ctxwin\[{extra}\]'"):
        import_module(module)
