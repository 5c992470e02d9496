"""
A conversation that is written down: each change is stored before memory changes.

A journal keeps a conversation as `InMemory` does, with a store beside it. Whoever has replayed the
same records holds the same conversation, and the writer of a record applies the very change that
others will read: that is what makes several workers on one session agree.

1. First the store, then memory. If the store fails, nothing has changed here. Whether it has the
   record may be unknown then; whoever tries the same again gets the record that is already there.
2. A worker must have read every earlier record before it may add one. If others were quicker, their
   records are replayed first and the change is worked out again.
3. Replaying is atomic. A record that cannot be taken in leaves everything as it was before it, and
   the error names it.
4. What leaves the window is released from memory at once; the store has it. A change that concerns
   such messages is worked out on the whole log, read for the purpose, and recorded as the state
   that came of it.
5. A checkpoint is written when the records since the last one outweigh it. So opening costs what
   the window does, and writing checkpoints no more than writing records.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from hashlib import sha256
from secrets import token_hex
from threading import RLock
from types import TracebackType
from typing import Any, TypeVar

from ctxwin.log.changes import (
    Append,
    Change,
    Forget,
    Pin,
    Refit,
    Restore,
    Rewind,
    SetOptions,
    Written,
)
from ctxwin.log.conversation import Conversation
from ctxwin.log.history import LogMessage
from ctxwin.log.keeper import WorkOut
from ctxwin.log.state import Fields
from ctxwin.pruning.threads import in_thread
from ctxwin.sessions.records import (
    Reader,
    Record,
    as_message,
    change_of,
    encode,
    killed_by,
    merged,
    read_log,
    records_of,
)
from ctxwin.sessions.stores.protocol import NOWHERE, Page, Position, SessionStore
from ctxwin.values.errors import (
    CounterError,
    SessionDeletedError,
    StaleError,
    StateError,
    StoreError,
)
from ctxwin.values.message import Message
from ctxwin.values.wire import RESULT_ROLES, SYSTEM_ROLES

MIN_TAIL = 32  # records; a checkpoint for fewer would not pay
MAX_BLANKS = 1_000_000  # numbers without a message that a saved conversation may bring along

T = TypeVar("T")

counted: ContextVar[bool] = ContextVar("counted", default=False)
"""Whether the call that leads to a change was counted already when it was made."""


class Gate:
    """
    A lock for writers: one at a time, while readers never wait for a store.

    Whoever changes something holds the gate, which is two locks: one against other writers, and the
    one that readers take, too. While a store is asked, the second is let go. What readers see
    cannot change meanwhile, for no other writer can come between.

    Attributes:
        reading: the lock that readers take.
    """

    def __init__(self, *, refuses_loops: bool) -> None:
        self.reading = RLock()
        self._writing = RLock()
        self._refuses_loops = refuses_loops

    def __enter__(self) -> None:
        """
        Wait for other writers, and keep them and readers out.

        Raises `RuntimeError`: an event loop would wait, and the session was opened for one.
        """
        # Before the first lock: whoever holds it may be waiting for the store.
        if self._refuses_loops and _loop_runs():
            raise RuntimeError(
                "this session was opened by aopen(), and here an event loop would wait for the "
                "store: await the method of the same name with an a in front"
            )
        self._writing.acquire()
        self.reading.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.reading.release()
        self._writing.release()

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Let readers go on while the holder waits for a store."""
        self.reading.release()
        try:
            yield
        finally:
            self.reading.acquire()


class _MovedError(Exception):
    """Others were quicker; their records have been replayed. Work the change out again."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """
    A change with the records that tell of it, and what making it returns to the caller.

    Attributes:
        change: what is applied once the records are stored.
        records: what is stored.
        result: what the caller gets.
        writer: who the records say wrote them; `""` for this journal.
    """

    change: Change
    records: Sequence[Record]
    result: list[Message]
    writer: str = ""


class Journal:
    """
    Keeps a conversation in a store.

    Attributes:
        conversation: what the records tell.
        position: the record that the conversation stands at.
        floor: the record up to which the newest checkpoint known of tells everything.
        forgotten: the highest id of a message that was released from memory; 0 before the first.
        dead: numbers of records that hold no message of the log, by the record that made them so:
            each range ends with that one. Those up to the floor are no longer in the store.
        closed: whether it takes no more changes.
        begun: how many changes have been begun.
    """

    releases = True

    def __init__(
        self,
        store: SessionStore,
        session: str,
        conversation: Conversation,
        *,
        refuses_loops: bool = False,
    ) -> None:
        """
        Read what there is of a session.

        Args:
            store: where its records are.
            session: its id.
            conversation: a new conversation, to become what the records tell.
            refuses_loops: whether waiting for the store is refused while an event loop runs.

        Raises:
            StoreError: the store failed.
            RecordError: what is stored cannot be read.
        """
        self.store = store
        self.conversation = conversation
        self.reader = Reader(session)
        self.closed = False
        self.begun = 0
        self.position, self.floor, self.forgotten = NOWHERE, 0, 0
        self.dead: list[range] = []
        self._gate = Gate(refuses_loops=refuses_loops)
        self.lock = self._gate.reading
        self._writer = token_hex(6)
        self._tail_bytes = self._checkpoint_bytes = 0
        with self._gate:
            self._reload()

    # What a keeper does.

    def change(self, work_out: WorkOut) -> list[Message]:
        """
        Work changes out, write them down and apply them; again if others were quicker.

        Raises:
            StoreError: the store failed, or the session was closed; nothing has changed here.
        """
        if not counted.get():
            self.begun += 1
        with self._gate:
            while True:
                with suppress(_MovedError):
                    return self._make(work_out(self.conversation))

    async def run(self, step: Callable[..., T], *args: Any) -> T:
        """Run a step in a thread; a cancellation waits for it."""
        return await in_thread(step, *args)

    def log(self) -> tuple[Message, ...]:
        """Return the whole log, oldest first, read from the store and held by nobody."""
        with self._gate:
            logged = self.conversation.history.messages.values()
            pinned = {one.message.id: one.message.pinned for one in logged}
            position, dead, reader = self.position, tuple(self.dead), self.reader
            with self._gate.outside():
                found = read_log(self.store, reader, position, dead)
                return tuple([as_message(reader, number, rec, pinned) for number, rec in found])

    def refresh(self) -> None:
        """Take in what others have written since."""
        with self._gate:
            self._catch_up()

    def close(self) -> None:
        """Take no more changes."""
        self.closed = True

    # Writing.

    def _make(self, changes: Sequence[Change]) -> list[Message]:
        """Write changes down, all in one, and apply them; raises `_MovedError`."""
        if self.closed:
            raise StoreError(f"session {self.reader.session!r} was closed: open it again")
        if not any(map(self.conversation.is_news, changes)):  # notes of this process alone
            return [message for change in changes for message in self._note(change)]
        entries = [self._entry(change, alone=len(changes) == 1) for change in changes]
        encoded = [
            encode(record, entry.writer or self._writer)
            for entry in entries
            for record in entry.records
        ]
        number = self.position.number
        position = self._store(encoded) if encoded else None
        if position is not None:
            for entry in entries:
                number += len(entry.records)
                if entry.records:
                    self._take_in(Position(position.life, number), entry.change, entry.records)
            self._tail_bytes += sum(map(len, encoded))
            self._compact_if_due()
        for entry in entries:
            if isinstance(entry.change, SetOptions):  # this process's own
                self.conversation.apply(entry.change)
        return [message for entry in entries for message in entry.result]

    def _note(self, change: Change) -> list[Message]:
        """Apply a change that others need not know of."""
        return self._forget() if isinstance(change, Forget) else self.conversation.apply(change)

    def _store(self, encoded: Sequence[bytes]) -> Position | None:
        """
        Add records; returns the new position, None if an earlier try had got through already.

        Raises `_MovedError`: others were quicker; their records have been replayed now.
        """
        try:
            with self._gate.outside():
                return self.store.append(self.reader.session, encoded, self.position)
        except StaleError:
            if list(self._catch_up()[: len(encoded)]) == list(encoded):
                return None
            raise _MovedError from None

    def _entry(self, change: Change, *, alone: bool) -> _Entry:
        """Return what to write for a change; raises what applying it would, before writing."""
        match change:
            case Append():
                change = self._priced(change, alone=alone)
                result = [Message(change.id, change.message, change.pinned)]
            case Pin() if self._needs_past_to_pin(change.id):
                return self._worked_out(change)
            case Rewind() if self._needs_past_to_rewind(change.id):
                return self._worked_out(change)
            case Rewind():
                logged = self.conversation.history.messages.values()
                result = [one.message for one in logged if one.message.id >= change.id]
            case Restore():
                return self._taken_over(change)
            case Refit():
                return self._worked_out(change)
            case SetOptions():
                return _Entry(change, [], [])
            case _:
                result = []
        counter, written = self.conversation.costs.name, self.conversation.window.written
        return _Entry(change, records_of(change, counter, written), result)

    def _priced(self, change: Append, *, alone: bool) -> Append:
        """
        Return an append with its cost, so that nobody who opens the session counts it again.

        A result's cost may depend on its call, which is known only if nothing else is appended
        with it.
        """
        costs, message = self.conversation.costs, Message(change.id, change.message)
        call = self.conversation.history.call_for(message)
        tokens = None
        if costs.name and (message.role not in RESULT_ROLES or (alone and call is not None)):
            with suppress(CounterError), self._gate.outside():
                tokens = costs.message(message, call)
        return replace(change, tokens=tokens)

    def whole(self) -> Conversation:
        """Return a copy of the conversation with the whole log, read from the store."""
        with self._gate:
            return self._read_whole()

    def _worked_out(self, change: Pin | Rewind | Refit) -> _Entry:
        """Make a change on the whole log, and return the state that came of it."""
        whole = self._read_whole()
        result = whole.apply(change)
        forgotten = max((message.id for message in whole.apply(Forget())), default=0)
        rewound = change.id if isinstance(change, Rewind) else None
        fields = {**self._dump(whole, forgotten), "rewound": rewound}
        return _Entry(Restore(fields["state"]), [Record("state", fields)], result)

    def _read_whole(self) -> Conversation:
        state = self._dump(self.conversation, 0)["state"]  # before readers are let in again
        counter = self.conversation.costs.name
        with self._gate.outside():
            log = read_log(self.store, self.reader, self.position, self.dead)
            found = [
                {
                    "id": number,
                    "message": self.reader.message(number, rec),
                    "pinned": False,
                    "gone": True,
                    "tokens": _known_tokens(rec, counter),
                }
                for number, rec in log
            ]
        return self._whole(state, found)

    def _whole(self, state: Mapping[str, Any], log: Sequence[dict[str, Any]]) -> Conversation:
        """Return what a state says, with the whole log in memory: entries of a state's log."""
        held = {entry["id"]: entry for entry in state["log"]}
        entries = [held.get(entry["id"], entry) for entry in log]
        whole = self.conversation.restored({**state, "log": entries})
        whole.skip_to(self.position.number + 1)
        return whole

    def _taken_over(self, change: Restore) -> _Entry:
        """
        Return what a saved conversation is in a new session: its log, then its state.

        Where the session holds just that, an earlier try got through and its answer was lost.
        """
        saved = self.conversation.restored(change.state)
        logged = saved.history.messages
        if saved.next_id - len(logged) > MAX_BLANKS:
            raise StateError(
                f"the state lacks {saved.next_id - len(logged)} of the messages before its "
                f"next_id, and a session takes over at most {MAX_BLANKS} such gaps"
            )
        unpriced = {"pinned": False, "tokens": None, "counter": ""}
        records = [
            Record("append", {"message": logged[number].message.to_dict(), **unpriced})
            if number in logged
            else Record("blank", {})
            for number in range(1, saved.next_id)
        ]
        fields = {**self._dump(saved, 0), "rewound": None}
        records.append(Record("state", fields))
        # Named after what they say, not after who writes: another try writes equal records.
        writer = sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]
        if self.position == NOWHERE:
            return _Entry(Restore(fields["state"]), records, [], writer)
        with self._gate.outside():
            page = self.store.read(self.reader.session)
        if [data for _, data in page.records] != [encode(record, writer) for record in records]:
            raise StateError(
                f"session {self.reader.session!r} holds a conversation already: "
                "restore a saved one into a new session"
            )
        return _Entry(change, [], [])

    # Reading.

    def _reload(self) -> None:
        """Begin anew from the newest checkpoint; if that cannot be read, all is as before."""
        with self._gate.outside():
            page = self.store.read(self.reader.session)
        self._refuse_another_life(page)
        forgotten = 0
        if page.checkpoint is not None:
            record = self.reader.decode(None, page.checkpoint)
            state, forgotten = self._checkpoint(record)
            self._apply(None, Restore(state))
        self.floor, self.dead, self.forgotten = page.floor, [], forgotten
        self._stand_at(Position(page.position.life, page.floor))
        self._checkpoint_bytes = len(page.checkpoint or b"")
        self._tail_bytes = _size(page)
        self._replay(page)

    def _catch_up(self) -> Sequence[bytes]:
        """Replay what others have written; returns their records."""
        session = self.reader.session
        with self._gate.outside():
            page = self.store.read(session, self.position.number + 1)
        self._refuse_another_life(page)
        here, there = self.position, page.position
        if there.number < here.number:
            raise StoreError(
                f"the store has session {session!r} up to record {there.number}, "
                f"and had it up to {here.number}: it has lost what followed"
            )
        if page.floor > here.number:  # what was dropped there would be missing here
            self._reload()
        else:
            self._replay(page)
            self._tail_bytes += _size(page)
        return [data for _, data in page.records]

    def _refuse_another_life(self, page: Page) -> None:
        """Raise `SessionDeletedError` if a page is of a later session of the same id."""
        here = self.position
        if here != NOWHERE and here.life != page.position.life:
            raise SessionDeletedError(
                f"session {self.reader.session!r} was deleted, or expired, while it was open"
            )

    def _replay(self, page: Page) -> None:
        """Replay the records of a page, each of them whole."""
        waiting: list[tuple[Written, Record]] = []  # for the cut behind them
        expected = self.position.number + 1
        for number, data in page.records:
            if number != expected:
                raise self.reader.error(expected, "it is missing")
            record = self.reader.decode(number, data)
            if waiting and record.kind not in ("written", "cut"):
                raise self.reader.error(number, "it stands where a cut must: behind what one wrote")
            change = self._read(number, record, [written for written, _ in waiting])
            if isinstance(change, Written):
                waiting.append((change, record))
            else:
                records = [*(rec for _, rec in waiting), record]
                self._take_in(Position(page.position.life, number), change, records)
                waiting = []
            expected += 1
        if waiting or self.position.number < page.position.number:
            raise self.reader.error(expected, "it is missing")
        if page.floor > self.floor:  # another has compacted
            self._compacted(page.floor)

    def _read(
        self, number: int, record: Record, written: Sequence[Written]
    ) -> Change | Written | None:
        with self.reader.reading(number):
            return change_of(number, record, self.conversation.costs.name, written)

    def _take_in(
        self, position: Position, change: Change | None, records: Sequence[Record]
    ) -> None:
        """Apply a change that is stored, the last of its records at that position."""
        number, last = position.number, records[-1]
        if change is not None:
            self._apply(number, change)
        for place, record in enumerate(records, number - len(records) + 1):
            if killed := killed_by(place, record):
                self.dead.append(killed)
        if last.kind == "state":
            self.forgotten = last.fields["forgotten"]
        self._stand_at(position)
        if last.kind in ("cut", "state"):
            self._forget()

    def _apply(self, number: int | None, change: Change) -> None:
        prepared = self.conversation.prepared  # this process's own: no record tells of it
        with self.reader.reading(number, "it contradicts what was before"):
            self.conversation.apply(change)
        self.conversation.supersede(prepared)

    def _checkpoint(self, record: Record) -> tuple[dict[str, Any], int]:
        """Return the state of a checkpoint, and what was forgotten by then."""
        with self.reader.reading(None):
            fields = Fields(record.fields, record.kind)
            return fields.get("state", dict), fields.get("forgotten", int)

    def _forget(self) -> list[Message]:
        """Release from memory what has left the window, and return it."""
        released = self.conversation.apply(Forget())
        self.forgotten = max(self.forgotten, *(message.id for message in released), 0)
        return released

    def _stand_at(self, position: Position) -> None:
        self.position = position
        self.conversation.skip_to(position.number + 1)

    # Checkpoints.

    def _dump(self, conversation: Conversation, forgotten: int) -> dict[str, Any]:
        """Return what a checkpoint holds; a request on its way is known to this process alone."""
        state = {**conversation.to_dict(), "sent_tokens": None, "prepared": ""}
        return {"state": state, "forgotten": forgotten}

    def _compact_if_due(self) -> None:
        """Write a checkpoint if it pays; nothing is lost without it, so failing is no error."""
        number = self.position.number
        if number - self.floor < MIN_TAIL or self._tail_bytes < self._checkpoint_bytes:
            return
        record = Record("checkpoint", self._dump(self.conversation, self.forgotten))
        checkpoint = encode(record, self._writer)
        dropped = dict.fromkeys((number for dead in merged(self.dead) for number in dead), None)
        session = self.reader.session
        try:
            with self._gate.outside():
                self.store.compact(session, self.position, checkpoint, dropped)
        except StoreError:
            logger = logging.getLogger("ctxwin")
            logger.warning("no checkpoint of session %r", session, exc_info=True)
            return
        self._compacted(number)
        self._tail_bytes, self._checkpoint_bytes = 0, len(checkpoint)

    def _compacted(self, floor: int) -> None:
        """Take note of a checkpoint, which dropped the records that held no message of the log."""
        self.floor = floor
        self.dead = [dead for dead in self.dead if dead[-1] > floor]

    # Whether messages that are no longer in memory could matter.

    def _needs_past_to_pin(self, message_id: int) -> bool:
        """Return whether a message was released; raises `MessageError` if it never was there."""
        conversation = self.conversation
        if message_id in conversation.history.messages or message_id in conversation.window.written:
            return False
        if not 0 < message_id <= self.forgotten:
            conversation.logged(message_id)
        return True

    def _needs_past_to_rewind(self, message_id: int) -> bool:
        """Return whether something released may come back, as question or newest unit, say."""
        history = self.conversation.history
        if message_id not in history.messages:
            return self._needs_past_to_pin(message_id)
        if not self.forgotten:
            return False
        units = self.conversation.window.units
        written = [unit.messages[0] for unit in units if unit.written]
        if any(message.sources[-1] >= message_id for message in written):
            return True
        question = history.question
        same_question = question is not None and question.message.id < message_id
        kept = [one for one in history.messages.values() if one.message.id < message_id]
        asked = [
            one for one in kept if one.message.role == "user" and one.message.id > self.forgotten
        ]
        told = any(self._stays_whole(one, message_id) for one in kept)
        return not told or not (same_question or asked)

    def _stays_whole(self, logged: LogMessage, message_id: int) -> bool:
        """Return whether its unit may be the newest once everything from that id on is cut."""
        unit = logged.unit
        last = unit.messages[-1].message.id
        complete = not unit.missing and not unit.unfit and last < message_id
        newer = unit.first > self.forgotten
        return complete and newer and logged.message.role not in SYSTEM_ROLES


def _known_tokens(record: Record, counter: str) -> int | None:
    """Return what a message costs, if its record says so by the counter of that name."""
    tokens = record.fields.get("tokens")
    known = bool(counter) and record.fields.get("counter") == counter
    return tokens if known and type(tokens) is int else None


def _size(page: Page) -> int:
    """Return how many bytes the records of a page are."""
    return sum(len(data) for _, data in page.records)


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
