"""
The log, and how its messages group into units.

Every message becomes an `Entry` of a `Slot`; a slot is a unit of the log in the making. A message
with calls opens a slot that waits for its results, and each result joins the newest slot that waits
for its id (for any result, where ids are missing: results are then paired by position). Ids may be
reused, in one message or across turns.

Rules: appending is O(1), and `rewind` is its exact inverse, so that no message is ever grouped
twice. A slot is complete, or pending (it lacks results and is the last one), or open (it lacks
results and is not); a result without a call is open for ever. Whether a slot is *gone*, dropped by
a plan, is noted here too; which units stand in the window is `window.py`'s business, and `dirty`
tells it what to look at again.
"""

from collections.abc import Iterator

from ctxwin.values.message import Message, answer_key, call_keys
from ctxwin.values.plan import Unit
from ctxwin.values.wire import RESULT_ROLES, SYSTEM_ROLES


class Entry:
    """A message of the log with its uncorrected cost, and what it is shown as where an edit was accepted."""

    __slots__ = ("edited", "edited_tokens", "message", "slot", "tokens")

    def __init__(self, message: Message, slot: "Slot", tokens: int | None = None) -> None:
        self.message = message
        self.slot = slot
        self.tokens = tokens
        self.edited: Message | None = None
        self.edited_tokens = 0


class Slot:
    """A unit of the log: its entries, how many results it lacks, and its unit in the window, if it is there."""

    __slots__ = ("dirty", "entries", "gone", "missing", "orphan", "unit")

    def __init__(self, *, missing: int = 0, orphan: bool = False) -> None:
        self.entries: list[Entry] = []
        self.missing = missing
        self.orphan = orphan
        self.gone = False
        self.dirty = False
        self.unit: Unit | None = None

    @property
    def first(self) -> int:
        """The id of its first message, which is also its place."""
        return self.entries[0].message.id

    def call_of(self, entry: Entry) -> Message | None:
        """Return the message with the call that the entry is a result of; None for any other entry."""
        opening = self.entries[0]
        return None if entry is opening else opening.message


class History:
    """
    The log held in memory.

    Attributes:
        entries: id -> entry, oldest first.
        appended: how many messages the log has, those released from memory included.
        open: first id -> slot, for the slots that no window may hold.
        dirty: slots whose place in the window must be looked at again, each once.
    """

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.appended = 0
        self.open: dict[int, Slot] = {}
        self.dirty: list[Slot] = []
        self._last: Slot | None = None
        self._users: list[Entry] = []
        self._waiting: dict[str, list[Slot]] = {}

    @property
    def question(self) -> Entry | None:
        """The last user message."""
        return self._users[-1] if self._users else None

    @property
    def pending(self) -> Slot | None:
        """The last slot, if it lacks results."""
        return self._last if self._last is not None and self._last.missing else None

    @property
    def newest(self) -> Slot | None:
        """The last slot that belongs in a window or would but for being dropped, system messages apart."""
        slots = (slot for slot in self._slots_backwards() if slot.first not in self.open)
        return next(
            (slot for slot in slots if slot.entries[0].message.role not in SYSTEM_ROLES), None
        )

    def left_out(self) -> list[Message]:
        """Return the messages that no window may hold, oldest first."""
        entries = [entry for slot in self.open.values() for entry in slot.entries]
        return sorted((entry.message for entry in entries), key=lambda message: message.id)

    def in_window(self, slot: Slot) -> bool:
        """Return whether the slot's unit belongs in the window."""
        return bool(slot.entries) and not slot.gone and slot.first not in self.open

    def uncounted(self) -> list[tuple[Entry, Message, Message | None]]:
        """Return what was never counted and belongs in the window: entries with their messages, and those' calls."""
        slots = [slot for slot in self.dirty if self.in_window(slot)]
        entries = [entry for slot in slots for entry in slot.entries if entry.tokens is None]
        return [(entry, entry.message, entry.slot.call_of(entry)) for entry in entries]

    def call_for(self, message: Message) -> Message | None:
        """Return the message with the call that a message would be a result of, were it appended now."""
        waiting = self._waiting.get(answer_key(message)) if message.role in RESULT_ROLES else None
        return waiting[-1].entries[0].message if waiting else None

    def touch(self, slot: Slot) -> None:
        """Have the slot's place in the window looked at again."""
        if not slot.dirty:
            slot.dirty = True
            self.dirty.append(slot)

    def append(self, message: Message, tokens: int | None = None) -> Entry:
        """Add a message with its cost, if that is known; O(1)."""
        slot = self._slot_for(message)
        entry = Entry(message, slot, tokens)
        slot.entries.append(entry)
        self.entries[message.id] = entry
        self.appended += 1
        self.touch(slot)
        if message.role == "user":
            self._users.append(entry)
        if slot.orphan:
            self.open[slot.first] = slot
        elif len(slot.entries) == 1:
            self._close_last()
            self._last = slot
        elif not slot.missing:
            self.open.pop(slot.first, None)
        return entry

    def rewind(self, message_id: int) -> list[Entry]:
        """Cut the tail from that message on, and return it, oldest first; O(its length)."""
        cut = []
        while self.entries and next(reversed(self.entries)) >= message_id:
            entry = self.entries.popitem()[1]
            cut.append(entry)
            self.appended -= 1
            if self._users and self._users[-1] is entry:
                self._users.pop()
            self._take_back(entry)
        return cut[::-1]

    def forget(self) -> list[Entry]:
        """
        Release the entries of every slot that is gone, and return them, oldest first.

        The last slot stays: that something came after a call is what makes it open and not pending.
        """
        released = [
            entry
            for entry in self.entries.values()
            if entry.slot.gone and entry.slot is not self._last
        ]
        for entry in released:
            del self.entries[entry.message.id]
        self.entries = dict(self.entries)  # without the holes that deleting left
        self._users = [entry for entry in self._users if entry.message.id in self.entries]
        return released

    def _slot_for(self, message: Message) -> Slot:
        """Return the slot that the message joins, or a new one."""
        if message.role not in RESULT_ROLES:
            calls = call_keys(message)
            slot = Slot(missing=len(calls))
            for call in calls:
                self._waiting.setdefault(call, []).append(slot)
            return slot
        waiting = self._stop_waiting(answer_key(message))
        if waiting is None:
            return Slot(orphan=True)
        waiting.missing -= 1
        return waiting

    def _stop_waiting(self, key: str) -> Slot | None:
        """Return the newest slot that waits for the key, which from now on waits for one result less."""
        waiting = self._waiting.get(key)
        if waiting is None:
            return None
        slot = waiting.pop()
        if not waiting:
            del self._waiting[key]
        return slot

    def _close_last(self) -> None:
        """Take notice that the last slot is no longer the last: what it lacks makes it open."""
        last = self.pending
        if last is not None:
            self.open[last.first] = last
            self.touch(last)

    def _take_back(self, entry: Entry) -> None:
        """Undo the grouping of the newest entry."""
        slot = entry.slot
        if slot.orphan:
            del self.open[slot.first]
            del slot.entries[-1]
            return
        first = slot.first
        del slot.entries[-1]
        self.touch(slot)
        if slot.entries:
            slot.missing += 1
            slot.gone = False  # what lacks a result is no longer the unit that was dropped
            self._waiting.setdefault(answer_key(entry.message), []).append(slot)
            if slot is not self._last:
                self.open[first] = slot
            return
        for call in call_keys(entry.message):
            self._stop_waiting(call)
        self._last = next(self._slots_backwards(), None)
        pending = self.pending
        if pending is not None:
            self.open.pop(pending.first, None)
            self.touch(pending)

    def _slots_backwards(self) -> Iterator[Slot]:
        """Yield slots that are no orphans, newest first."""
        for entry in reversed(self.entries.values()):
            if entry is entry.slot.entries[0] and not entry.slot.orphan:
                yield entry.slot
