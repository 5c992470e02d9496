"""A session outlives its process and is shared, and it always equals a plain manager."""

from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ctxwin import BudgetError, ContextManager, Message
from ctxwin.sessions import MemoryStore, Session, Sessions, journal
from ctxwin.testing import Folding, WordCounter
from ctxwin.testing.strategies import messages as any_message
from ctxwin.testing.strategies import tool_exchanges
from ctxwin_plugins.clamp_oversized import ClampOversized
from ctxwin_plugins.clear_tool_results import ClearToolResults

CHAINS: list[list[Any]] = [
    ["drop-oldest"],
    [Folding()],
    [ClearToolResults(keep_last=0, min_freed_tokens=1), ClampOversized(max_message_tokens=5)],
]
# What one process alone knows of, or names by number.
LOCAL = ("sent_tokens", "prepared", "settled", "next_id")


def words(text: str) -> int:
    return len(text.split())


class SharedSession(RuleBasedStateMachine):
    """
    Several handles on one session, and beside them a plain manager that is told the same.

    The plain one never forgets. A handle chosen at random does each step: what others did it must
    take in first.
    """

    @initialize(
        budget=st.integers(8, 60),
        chain=st.sampled_from(CHAINS),
        named=st.booleans(),
        tail=st.sampled_from([1, 3, 32]),
    )
    def begin(self, budget: int, chain: Sequence[Any], named: bool, tail: int) -> None:
        journal.MIN_TAIL = tail
        self.options: dict[str, Any] = {
            "max_tokens": budget,
            "counter": WordCounter() if named else words,
            "strategies": chain,
        }
        self.sessions = Sessions(MemoryStore())
        self.plain = ContextManager(**self.options)
        self.ids: dict[int, int] = {}  # of the plain manager's messages -> of the session's
        self.handles = [self.opened() for _ in range(2)]

    def opened(self) -> Session:
        return self.sessions.open("shared", **self.options)

    def teardown(self) -> None:
        journal.MIN_TAIL = 32

    def handle(self, which: int) -> Session:
        return self.handles[which % len(self.handles)]

    def both(self, plain: Message, stored: Message) -> None:
        assert (plain.to_dict(), plain.pinned) == (stored.to_dict(), stored.pinned)
        self.ids[plain.id] = stored.id

    @rule(which=st.integers(0, 1), message=any_message(), pinned=st.booleans())
    def append_one(self, which: int, message: dict[str, Any], pinned: bool) -> None:
        self.append(which, message, pinned)

    def append(self, which: int, message: dict[str, Any], pinned: bool) -> None:
        self.both(
            self.plain.append(message, pinned=pinned),
            self.handle(which).append(message, pinned=pinned),
        )

    @rule(which=st.integers(0, 1), batch=st.lists(any_message(), max_size=4))
    def extend(self, which: int, batch: list[dict[str, Any]]) -> None:
        for plain, stored in zip(
            self.plain.extend(batch), self.handle(which).extend(batch), strict=True
        ):
            self.both(plain, stored)

    @rule(which=st.integers(0, 1), turns=st.integers(1, 8), size=st.integers(1, 8))
    def chat(self, which: int, turns: int, size: int) -> None:
        """Turns as a backend has them, each worker in its turn; windows are cut."""
        for turn in range(turns):
            for role in ("user", "assistant"):
                self.append(
                    which + turn, {"role": role, "content": f"{role} {turn} " * size}, pinned=False
                )
            self.send(which + turn)

    @rule(
        which=st.integers(0, 1),
        exchange=tool_exchanges(),
        missing=st.integers(0, 2),
        late=st.booleans(),
    )
    def call(self, which: int, exchange: list[dict[str, Any]], missing: int, late: bool) -> None:
        """A tool exchange, perhaps with results missing or a system message before the last one."""
        exchange = exchange[: max(1, len(exchange) - missing)]
        if late:
            exchange.insert(len(exchange) - 1, {"role": "system", "content": "Wait."})
        for message in exchange:
            self.append(which, message, pinned=False)

    @rule(which=st.integers(0, 1))
    def send_one(self, which: int) -> None:
        self.send(which)

    def send(self, which: int) -> None:
        handle = self.handle(which)
        handle.refresh()
        assert outcome(handle.messages) == outcome(self.plain.messages)

    @rule(which=st.integers(0, 1))
    def prune(self, which: int) -> None:
        handle = self.handle(which)
        handle.refresh()
        assert outcome(lambda: handle.prune_history().after_tokens) == outcome(
            lambda: self.plain.prune_history().after_tokens
        )

    @precondition(lambda self: self.plain.conversation_history)
    @rule(which=st.integers(0, 1), data=st.data(), unpin=st.booleans())
    def pin(self, which: int, data: st.DataObject, unpin: bool) -> None:
        chosen = data.draw(st.sampled_from(self.plain.conversation_history)).id
        handle = self.handle(which)
        (self.plain.unpin if unpin else self.plain.pin)(chosen)
        (handle.unpin if unpin else handle.pin)(self.ids[chosen])

    @precondition(lambda self: self.plain.conversation_history)
    @rule(which=st.integers(0, 1), data=st.data())
    def rewind(self, which: int, data: st.DataObject) -> None:
        log = self.plain.conversation_history
        chosen = data.draw(st.sampled_from(log[-6:] + log[:1])).id
        cut, stored = self.plain.rewind(chosen), self.handle(which).rewind(self.ids[chosen])
        assert [(self.ids[message.id], message.to_dict()) for message in cut] == [
            (message.id, message.to_dict()) for message in stored
        ]

    @rule(which=st.integers(0, 1), real=st.integers(0, 100))
    def observe(self, which: int, real: int) -> None:
        handle = self.handle(which)
        handle.refresh()
        sent = outcome(self.plain.messages)
        assert outcome(handle.messages) == sent
        if isinstance(sent, list):
            handle.observe({"prompt_tokens": real})
            self.plain.observe({"prompt_tokens": real})

    @rule(which=st.integers(0, 1))
    def reopen(self, which: int) -> None:
        self.handle(which).close()
        self.handles[which] = self.opened()

    @invariant()
    def all_agree(self) -> None:
        for handle in self.handles:
            handle.refresh()
        dumps = [dump(handle) for handle in [*self.handles, self.opened()]]
        assert dumps[0] == dumps[1] == dumps[2]

    @invariant()
    def nothing_is_lost(self) -> None:
        log = [
            (self.ids[message.id], message.to_dict(), message.pinned)
            for message in self.plain.conversation_history
        ]
        for handle in self.handles:
            assert [(m.id, m.to_dict(), m.pinned) for m in handle.conversation_history] == log
        assert [(m.id, m.to_dict(), m.pinned) for m in self.pages()] == log

    @invariant()
    def the_window_is_the_plain_managers(self) -> None:
        for handle in self.handles:
            assert [(m.to_dict(), m.pinned) for m in handle] == [
                (m.to_dict(), m.pinned) for m in self.plain
            ]
            assert handle.total_tokens == self.plain.total_tokens
            assert [m.to_dict() for m in handle.left_out] == [
                m.to_dict() for m in self.plain.left_out
            ]

    @invariant()
    def memory_is_bounded_by_the_window(self) -> None:
        for handle in self.handles:
            waiting = len(handle.left_out)
            logged = handle._journal.conversation.history.messages.values()
            # An exchange that left unanswered stays too: its results may still come.
            held = [one for one in logged if one.unit.gone and not one.unit.missing]
            assert len(logged) <= len(handle) + waiting + len(held)
            assert len({id(one.unit) for one in held}) <= 1  # the last unit stays

    def pages(self) -> Iterator[Message]:
        start = 0
        while page := self.sessions.read("shared", start, 3):
            yield from page
            start = page[-1].id + 1


def outcome(act: Any) -> Any:
    try:
        return act()
    except BudgetError as error:
        return error.required_tokens


def dump(handle: Session) -> dict[str, Any]:
    handle.total_tokens  # noqa: B018 - settles the window, so that all is counted
    state = handle.to_dict()
    return {key: value for key, value in state.items() if key not in LOCAL} | {
        "position": handle._journal.position
    }


TestSharedSession = SharedSession.TestCase
TestSharedSession.settings = settings(stateful_step_count=30)
