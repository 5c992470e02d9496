"""
A replica: the conversation that a session's records tell of, replayed one by one.

Whoever has replayed the same records holds the same conversation, and whoever writes one replays it
like everybody else: that is what makes several workers on one session agree. Replaying counts
nothing and asks nobody.

What leaves the window is released from memory at once; the store has it. `forgotten` tells whether
something that is no longer in memory could matter to what is to be done next.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from ctxwin.counting.costs import Costs
from ctxwin.log import state as states
from ctxwin.log.conversation import Conversation
from ctxwin.log.history import Entry
from ctxwin.sessions.records import Reader, Record, killed_by
from ctxwin.sessions.stores.protocol import NOWHERE, Page, Position
from ctxwin.values.budget import Budget
from ctxwin.values.errors import RecordError, StateError
from ctxwin.values.message import Message
from ctxwin.values.plan import make_unit
from ctxwin.values.wire import SYSTEM_ROLES


class Replica(Conversation):
    """
    A conversation replayed from records.

    Attributes:
        position: the record that it stands at.
        floor: the record that the newest checkpoint known of tells everything up to.
        forgotten: the highest id of a message that was released from memory; 0 where none was.
        dead: numbers of records that hold no message of the log, by what made them so: each range
            ends with the record that did. Those up to the floor are no longer in the store.
    """

    def __init__(
        self, budget: Budget, costs: Costs, *, allow_question_edit: bool, session: str
    ) -> None:
        super().__init__(budget, costs, allow_question_edit=allow_question_edit)
        self.reader = Reader(session)
        self.position = NOWHERE
        self.floor = 0
        self.dead: list[range] = []

    def clear(self) -> None:
        """Begin anew, with nothing in the log."""
        super().clear()
        self.forgotten = 0
        self.known_failures: dict[str, list[int]] = {}
        self._summaries: list[tuple[Message, int | None]] = []  # written, and waiting for their cut

    def restore(self, page: Page) -> None:
        """Become what a checkpoint and the records behind it tell."""
        self.floor, self.dead = page.floor, []
        if page.checkpoint is None:
            self.clear()
        else:
            self._load(None, self.reader.decode(None, page.checkpoint))
        self._stand_at(Position(page.position.life, page.floor))
        self.replay_all(page)

    def replay_all(self, page: Page) -> None:
        """Replay what follows."""
        life, session = page.position.life, self.reader.session
        expected = self.position.number + 1
        for number, data in page.records:
            if number != expected:
                raise RecordError(session, expected, "it is missing")
            self.replay(Position(life, number), self.reader.decode(number, data))
            expected += 1
        if self.position.number < page.position.number:
            raise RecordError(session, expected, "it is missing")
        if page.floor > self.floor:  # another has compacted
            self.compacted(page.floor)

    def compacted(self, floor: int) -> None:
        """Take notice of a checkpoint, which has dropped the records that held no message of the log."""
        self.floor = floor
        self.dead = [dead for dead in self.dead if dead[-1] > floor]

    def replay(self, position: Position, record: Record) -> None:
        """Do what a record says; raises `RecordError` where it contradicts what was before."""
        number = position.number
        self.next_id = number
        try:
            self._replays[record.kind](self, number, record)
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            raise RecordError(
                self.reader.session, number, f"it contradicts what was before: {error!r}"
            ) from error
        if killed := killed_by(number, record):
            self.dead.append(killed)
        self._stand_at(position)

    def dump(self) -> dict[str, Any]:
        """Return what a checkpoint holds: what this process alone knows of, a request on its way, is no part of it."""
        state = {**states.dump(self), "sent_tokens": None, "prepared": ""}
        return {"state": state, "forgotten": self.forgotten}

    def forget(self) -> list[Message]:
        """Release from memory what has left the window."""
        released = super().forget()
        self.forgotten = max(self.forgotten, *(message.id for message in released), 0)
        return released

    def whole(self, log: Iterable[tuple[int, Mapping[str, Any]]]) -> "Replica":
        """
        Return a copy with the whole log in memory.

        Args:
            log: id and wire dict of every message of the log, oldest first.
        """
        whole = Replica(
            self.budget,
            self.costs,
            allow_question_edit=self.allow_question_edit,
            session=self.reader.session,
        )
        dumped = self.dump()
        held = {entry["id"]: entry for entry in dumped["state"]["log"]}
        gone = {"pinned": False, "gone": True, "tokens": None}
        dumped["state"]["log"] = [
            held.get(number, {"id": number, "message": wire, **gone}) for number, wire in log
        ]
        whole._load(None, Record("state", dumped))
        whole.next_id = self.position.number + 1
        return whole

    # What records say.

    def _stand_at(self, position: Position) -> None:
        self.position = position
        self.next_id = position.number + 1

    def _same_counter(self, record: Record) -> bool:
        name = record.fields["counter"]
        return record.own or (bool(name) and name == self.costs.name)

    def _append_message(self, number: int, record: Record) -> None:
        super().add(self.reader.message(number, record), pinned=record.fields["pinned"])
        if self._same_counter(record):
            self.history.entries[number].tokens = record.fields["tokens"]

    def _keep_summary(self, number: int, record: Record) -> None:
        fields = record.fields
        wire = self.reader.message(number, record)
        message = Message(number, wire, False, tuple(fields["sources"]), fields["source_hash"])
        self._summaries.append((message, fields["tokens"] if self._same_counter(record) else None))

    def _cut(self, _: int, record: Record) -> None:
        fields = record.fields
        for first in fields["gone"]:
            self._drop(first)
        for first in fields["unwritten"]:
            unit = self.window.find_written(first)
            if unit is None:
                raise KeyError(first)
            self.window.show_written(unit, None)
        for message, tokens in self._summaries:
            figure = self.costs.message(message) if tokens is None else tokens
            self.window.written[message.id] = figure
            self.window.insert(make_unit([message], [self.costs.corrected(figure)]))
        self._summaries = []
        same_counter = self._same_counter(record)
        for message_id, content, tokens in fields["edits"]:
            entry = self.history.entries[message_id]
            entry.edited = entry.message.with_content(content)
            figure = (
                tokens
                if same_counter
                else self.costs.message(entry.edited, entry.slot.call_of(entry))
            )
            entry.edited_tokens = figure
            self.history.touch(entry.slot)
        self.known_failures = fields["failures"]
        self.breaker.load(self.known_failures)
        self.adjustment = fields["adjustment"] if same_counter else 0
        self.sent_tokens = None
        self.version += 1
        self.forget()

    def _drop(self, first: int) -> None:
        """Take a unit of the log out of the window."""
        slot = self.history.entries[first].slot
        self.window.take_out(slot)
        slot.gone = True
        for entry in slot.entries:
            entry.edited = None

    def _pin(self, _: int, record: Record) -> None:
        super().set_pinned(record.fields["id"], pinned=record.kind == "pin")

    def _rewind(self, _: int, record: Record) -> None:
        super().rewind(record.fields["id"])

    def _learn(self, _: int, record: Record) -> None:
        self.sent_tokens = None
        if record.fields["counter"] == self.costs.name:
            for slot in (
                self.history.dirty
            ):  # its unit is out of date, and made anew when it is next asked for
                self.window.take_out(slot)
            super().learn(record.fields["offset"], record.fields["correction"])

    def _load(self, number: int | None, record: Record) -> None:
        fields, version = record.fields, self.version
        self.clear()
        self.version = version + 1
        try:
            states.load(fields["state"], self)
            self.forgotten = fields["forgotten"]
            self.known_failures = fields["state"]["failures"]
        except (StateError, KeyError) as error:
            raise RecordError(self.reader.session, number, str(error)) from error

    _replays: ClassVar[dict[str, Callable[["Replica", int, Record], object]]] = {
        "append": _append_message,
        "written": _keep_summary,
        "blank": lambda *_: None,
        "cut": _cut,
        "pin": _pin,
        "unpin": _pin,
        "rewind": _rewind,
        "observe": _learn,
        "state": _load,
    }

    # Whether what is no longer in memory could matter.

    def needs_past_to_append(self, wire: Mapping[str, Any]) -> bool:
        """Return whether a message may make a unit the newest that was forgotten."""
        return bool(self.forgotten and wire["role"] in SYSTEM_ROLES and self.history.pending)

    def needs_past_to_pin(self, message_id: int) -> bool:
        """Return whether a message may be one that was forgotten; raises `MessageError` where it never was."""
        if message_id in self.history.entries or message_id in self.window.written:
            return False
        if not 0 < message_id <= self.forgotten:
            self.entry(message_id)
        return True

    def needs_past_to_rewind(self, message_id: int) -> bool:
        """Return whether what was forgotten may come back, or become the question or the newest unit."""
        if message_id not in self.history.entries:
            return self.needs_past_to_pin(message_id)
        if not self.forgotten:
            return False
        kept = [entry for entry in self.history.entries.values() if entry.message.id < message_id]
        summarised = any(
            unit.messages[0].sources[-1] >= message_id for unit in self.window.units if unit.written
        )
        question = self.history.question
        same_question = question is not None and question.message.id < message_id
        asked = [
            entry
            for entry in kept
            if entry.message.role == "user" and entry.message.id > self.forgotten
        ]
        told = any(self._stays_whole(entry, message_id) for entry in kept)
        return summarised or not told or not (same_question or asked)

    def _stays_whole(self, entry: Entry, message_id: int) -> bool:
        """Return whether an entry's unit may be the newest once all from that message on is cut."""
        slot = entry.slot
        complete = not slot.missing and not slot.orphan and slot.entries[-1].message.id < message_id
        return complete and slot.first > self.forgotten and entry.message.role not in SYSTEM_ROLES
