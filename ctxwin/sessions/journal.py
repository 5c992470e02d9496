"""
A conversation that is written down: every change is a record in the store before it is one in
memory.

Rules:

1. First the store, then memory. Where the store fails, nothing has changed here; whether it has the
   record may be unknown, and whoever tries the same again is answered with the record that is there
   already.
2. Records are added only to a log that this replica has replayed to its end. Where others were
   quicker, their records are replayed first: an append, a pin or a rewind is then tried again, a
   prune is worked out again.
3. What concerns messages that are no longer in memory is worked out on the whole log, read for the
   purpose, and recorded as the state that came of it.
4. A checkpoint follows when the records since the last one outweigh it, so that opening costs what
   the window does and writing checkpoints no more than writing records.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from secrets import token_hex

from ctxwin.pruning.draft import Draft, MovedError
from ctxwin.sessions.gate import Gate
from ctxwin.sessions.reading import read_log
from ctxwin.sessions.records import Record, encode
from ctxwin.sessions.replica import Replica
from ctxwin.sessions.stores.protocol import NOWHERE, Page, Position, SessionStore
from ctxwin.values.errors import CounterError, SessionDeletedError, StaleError, StoreError
from ctxwin.values.message import Message
from ctxwin.values.receipt import Receipt
from ctxwin.values.wire import RESULT_ROLES, SYSTEM_ROLES, Wire

MIN_TAIL = 32  # records; a checkpoint for fewer would not pay


class Journal(Replica):
    """
    A replica that writes its changes to a store.

    Attributes:
        store: where the records are.
        gate: held by whoever changes something.
        closed: whether the session was left.
    """

    store: SessionStore
    gate: Gate

    def attach(self, store: SessionStore, gate: Gate) -> None:
        """Read what there is of the session."""
        self.store = store
        self.gate = gate
        self.closed = False
        self._writer = token_hex(6)
        self._tail_bytes = self._checkpoint_bytes = 0
        with gate:
            self.reload()

    def reload(self) -> None:
        """Begin anew from the newest checkpoint."""
        with self.gate.outside():
            page = self.store.read(self.reader.session)
        self._checkpoint_bytes = len(page.checkpoint or b"")
        self._tail_bytes = _size(page)
        self.restore(page)

    def catch_up(self) -> Sequence[bytes]:
        """Replay what others have written; returns their records."""
        with self.gate.outside():
            page = self.store.read(self.reader.session, self.position.number + 1)
        here, there = self.position, page.position
        if here != NOWHERE and here.life != there.life:
            raise SessionDeletedError(
                f"session {self.reader.session!r} was deleted, or expired, while it was open"
            )
        if there.number < here.number:
            raise StoreError(
                f"the store has session {self.reader.session!r} up to record {there.number}, "
                f"and had it up to {here.number}: it has lost what followed"
            )
        if page.floor > here.number:  # what was dropped there would be missing here
            self.reload()
        else:
            self.replay_all(page)
            self._tail_bytes += _size(page)
        return [data for _, data in page.records]

    def close(self) -> None:
        """Take no more changes."""
        self.closed = True

    # Changes, each written before it is made.

    def add(self, wire: Wire, *, pinned: bool) -> Message:
        """Append a message."""
        return self._append_all([wire], pinned=pinned)[0]

    def extend(self, wires: Sequence[Wire]) -> list[Message]:
        """Append messages, all or none."""
        return self._append_all(wires, pinned=False) if wires else []

    def set_pinned(self, message_id: int, *, pinned: bool) -> None:
        """Pin or unpin a message of the log, in memory or not."""

        def change() -> Sequence[Record]:
            if self.needs_past_to_pin(message_id):
                return [self._worked_out(lambda whole: whole.set_pinned(message_id, pinned=pinned))]
            return [Record("pin" if pinned else "unpin", {"id": message_id}, own=True)]

        self._write(change)

    def rewind(self, message_id: int) -> list[Message]:
        """Cut the log's tail from a message on, in memory or not."""
        cut: list[Message] = []

        def rewind(whole: Replica) -> None:
            cut[:] = whole.rewind(message_id)

        def change() -> Sequence[Record]:
            if self.needs_past_to_rewind(message_id):
                return [self._worked_out(rewind, message_id)]
            cut[:] = [
                entry.message
                for entry in self.history.entries.values()
                if entry.message.id >= message_id
            ]
            return [Record("rewind", {"id": message_id}, own=True)]

        self._write(change)
        return cut

    def observe(self, real_tokens: int) -> None:
        """Learn what the request of the latest `messages()` really cost; ignored where another's cut came between."""
        while True:
            with suppress(MovedError):
                super().observe(real_tokens)
                return

    def learn(self, offset: int, correction: int) -> None:
        """Price everything by another offset and correction; raises `MovedError` where others wrote meanwhile."""
        fields = {"offset": offset, "correction": correction, "counter": self.costs.name}
        self._record([Record("observe", fields, own=True)])

    def adopt(self, draft: Draft, adjustment: int, receipt: Receipt) -> None:
        """Make a draft the window; raises `MovedError` where others wrote meanwhile."""
        failures = self.breaker.dump()
        changed = draft.units != draft.snapshot.units or adjustment != self.adjustment
        if changed or failures != self.known_failures:
            self._record(self._cut_records(draft, adjustment, failures))
        else:
            self.version += 1
        self.last_receipt = replace(receipt, evicted=())

    def _write(self, change: Callable[[], Sequence[Record]]) -> int:
        """Record a change, worked out again as often as others were quicker; returns the number of its first record."""
        while True:
            with suppress(MovedError):
                return self._record(change())

    def _record(self, records: Sequence[Record]) -> int:
        """
        Add records to the log, and replay them; returns the number of the first.

        Raises `MovedError`: others were quicker; their records have been replayed now.
        """
        if self.closed:
            raise StoreError(f"session {self.reader.session!r} was closed: open it again")
        encoded = [encode(record, self._writer) for record in records]
        first = self.position.number + 1
        try:
            with self.gate.outside():
                position = self.store.append(self.reader.session, encoded, self.position)
        except StaleError:
            if list(self.catch_up()[: len(encoded)]) == encoded:
                return first  # an earlier try, whose outcome was unknown, got through
            raise MovedError from None
        for number, record in enumerate(records, first):
            self.replay(Position(position.life, number), record)
        self._tail_bytes += sum(map(len, encoded))
        self._compact_if_due()
        return first

    def _append_all(self, wires: Sequence[Wire], *, pinned: bool) -> list[Message]:
        def change() -> Sequence[Record]:
            records = [
                self._append_record(wire, pinned=pinned, alone=len(wires) == 1) for wire in wires
            ]
            if any(map(self.needs_past_to_append, wires)):
                records.append(
                    self._worked_out(
                        lambda whole: [whole.add(wire, pinned=pinned) for wire in wires]
                    )
                )
            return records

        first = self._write(change)
        return [
            Message(first + i, wire, pinned or wire["role"] in SYSTEM_ROLES)
            for i, wire in enumerate(wires)
        ]

    def _append_record(self, wire: Wire, *, pinned: bool, alone: bool) -> Record:
        """Return the record of a message: with its cost, so that nobody who opens the session counts it again."""
        name, tokens = self.costs.name, None
        message = Message(0, wire)
        call = self.history.call_for(message)
        if name and (wire["role"] not in RESULT_ROLES or (alone and call is not None)):
            with suppress(CounterError), self.gate.outside():
                tokens = self.costs.message(message, call)
        return Record(
            "append", {"message": wire, "pinned": pinned, "tokens": tokens, "counter": name}
        )

    def _cut_records(
        self, draft: Draft, adjustment: int, failures: dict[str, list[int]]
    ) -> list[Record]:
        """Return what a draft makes of the window: the summaries it wrote, then the cut itself."""
        before = {unit.first: unit for unit in draft.snapshot.units}
        after = {unit.first: unit for unit in draft.units}
        name = self.costs.name
        records = []
        for number in range(draft.snapshot.next_id, draft.next_id):
            if number not in after:
                records.append(Record("blank", {}, own=True))
                continue
            message = after[number].messages[0]
            fields = {
                "message": message.to_dict(),
                "sources": message.sources,
                "source_hash": message.source_hash,
            }
            records.append(
                Record(
                    "written", {**fields, "tokens": draft.tokens[number], "counter": name}, own=True
                )
            )
        shown = {
            message.id: message
            for unit in draft.units
            if not unit.written
            for message in unit.messages
        }
        cut = {
            "gone": [
                first for first, unit in before.items() if first not in after and not unit.written
            ],
            "unwritten": [
                first for first, unit in before.items() if first not in after and unit.written
            ],
            "edits": [
                [number, shown[number].content, draft.tokens[number]]
                for number in draft.tokens
                if number in shown
            ],
            "adjustment": adjustment,
            "failures": failures,
            "counter": name,
        }
        return [*records, Record("cut", cut, own=True)]

    def _worked_out(
        self, change: Callable[[Replica], object], rewound: int | None = None
    ) -> Record:
        """Make a change on the whole log, and return the record of the state that came of it."""
        with self.gate.outside():
            log = read_log(self.store, self.reader, self.position, self.dead)
            whole = self.whole(
                (number, self.reader.message(number, record)) for number, record in log
            )
        change(whole)
        whole.forgotten = 0
        whole.forget()
        return Record("state", {**whole.dump(), "rewound": rewound}, own=True)

    def _compact_if_due(self) -> None:
        """Write a checkpoint where it pays; without it nothing is lost, so that failing to is no error."""
        number = self.position.number
        if number - self.floor < MIN_TAIL or self._tail_bytes < self._checkpoint_bytes:
            return
        checkpoint = encode(Record("checkpoint", self.dump()), self._writer)
        dropped = dict.fromkeys((number for dead in self.dead for number in dead), None)
        try:
            with self.gate.outside():
                self.store.compact(self.reader.session, self.position, checkpoint, dropped)
        except StoreError:
            logging.getLogger("ctxwin").warning(
                "no checkpoint of session %r", self.reader.session, exc_info=True
            )
            return
        self.compacted(number)
        self._tail_bytes, self._checkpoint_bytes = 0, len(checkpoint)


def _size(page: Page) -> int:
    """Return how many bytes the records of a page are."""
    return sum(len(data) for _, data in page.records)
