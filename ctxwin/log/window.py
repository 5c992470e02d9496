"""
The window: which units are sent, in order, and what they cost together.

A window is a list of `Unit`s ordered by place, with a running total. `settle` brings it up to date
with the log: it counts what was never counted, builds the units of dirty slots and puts them in or
takes them out. A plan never changes a window in place; `adopt` takes over the units that a finished
prune arrived at.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping

from ctxwin.counting.costs import Costs
from ctxwin.log.history import Entry, History, Slot
from ctxwin.values.message import Message
from ctxwin.values.plan import Unit, make_unit
from ctxwin.values.wire import SYSTEM_ROLES


class Window:
    """
    The units to be sent.

    Attributes:
        units: oldest first.
        written: first id -> uncorrected cost, for units that strategies wrote.
    """

    def __init__(self, history: History, costs: Costs) -> None:
        self.units: list[Unit] = []
        self.written: dict[int, int] = {}
        self._unit_tokens = 0
        self._history = history
        self._costs = costs

    @property
    def total_tokens(self) -> int:
        """The cost of the window, tools and priming included."""
        return self.base_tokens + self._unit_tokens

    @property
    def base_tokens(self) -> int:
        """
        The cost of the request around the messages.

        The system message that the log begins with may share it, if it is pinned: then it leads
        every window.
        """
        first = self.units[0].messages[0] if self.units else None
        leads = first is not None and first.id == 1 and first.pinned and first.role in SYSTEM_ROLES
        return self._costs.base_tokens(first if leads else None)

    @property
    def newest(self) -> Unit | None:
        """The last unit of the log that is in the window, trailing system messages apart."""
        units = (
            unit
            for unit in reversed(self.units)
            if not unit.written and unit.role not in SYSTEM_ROLES
        )
        return next(units, None)

    def settle(self) -> None:
        """
        Bring the window up to date with the log.

        Raises `CounterError`: a message could not be counted; it and what follows wait for the next
        call.
        """
        dirty = self._history.dirty
        done = 0
        try:
            for slot in dirty:
                unit = self._build(slot) if self._history.in_window(slot) else None
                self.take_out(slot)
                slot.unit = unit
                if unit is not None:
                    self.insert(unit)
                slot.dirty = False
                done += 1
        finally:
            del dirty[:done]

    def insert(self, unit: Unit) -> None:
        """Put a unit at its place."""
        if not self.units or self.units[-1].place < unit.place:
            self.units.append(unit)
        else:
            self.units.insert(self._index(unit), unit)
        self._unit_tokens += unit.tokens

    def remove(self, unit: Unit) -> None:
        """Take a unit out."""
        last = self.units[-1]
        del self.units[-1 if last is unit else self._index(unit)]
        self._unit_tokens -= unit.tokens

    def take_out(self, slot: Slot) -> None:
        """Take out the unit of a slot, if it is there."""
        if slot.unit is not None:
            self.remove(slot.unit)
            slot.unit = None

    def show_written(self, unit: Unit, message: Message | None) -> None:
        """Show a written unit as another message (its pin changed), or with None no longer."""
        self.remove(unit)
        if message is None:
            del self.written[unit.first]
        else:
            self.insert(make_unit([message], unit.message_tokens))

    def find_written(self, message_id: int) -> Unit | None:
        """Return the written unit with that id."""
        if message_id not in self.written:
            return None
        return next(unit for unit in self.units if unit.first == message_id)

    def recost(self) -> None:
        """Price every unit of a settled window anew after the correction changed; nothing is counted again."""
        units = [self._repriced(unit) for unit in self.units]
        for unit in units:
            if not unit.written:
                self._history.entries[unit.first].slot.unit = unit
        self.units = units
        self._unit_tokens = sum(unit.tokens for unit in units)

    def adopt(self, units: Iterable[Unit], tokens: Mapping[int, int]) -> None:
        """
        Take over the units of a finished prune.

        Args:
            units: the window from now on.
            tokens: uncorrected costs of the messages that the prune wrote or edited, by id.
        """
        before, self.units = self.units, list(units)
        self._unit_tokens = sum(unit.tokens for unit in self.units)
        after = {unit.first: unit for unit in self.units}
        for unit in before:
            if not unit.written:
                slot = self._history.entries[unit.first].slot
                slot.unit = after.get(slot.first)
                slot.gone = slot.unit is None
                for entry in slot.entries if slot.gone else ():
                    entry.edited = None  # should it come back, it comes back as it was
        self.written = {
            first: tokens.get(first, self.written.get(first, 0))
            for first, unit in after.items()
            if unit.written
        }
        for message_id in tokens.keys() & self._history.entries.keys():
            entry = self._history.entries[message_id]
            if entry.slot.unit is not None:
                entry.edited = next(
                    message for message in entry.slot.unit.messages if message.id == message_id
                )
                entry.edited_tokens = tokens[message_id]

    def _repriced(self, unit: Unit) -> Unit:
        if unit.written:
            figures = [self.written[unit.first]]
        else:
            figures = [
                _shown_tokens(self._history.entries[message.id]) for message in unit.messages
            ]
        return make_unit(unit.messages, [self._costs.corrected(tokens) for tokens in figures])

    def _build(self, slot: Slot) -> Unit:
        """Make the unit of a slot, counting what was never counted."""
        for entry in slot.entries:
            if entry.tokens is None:
                entry.tokens = self._costs.message(entry.message, slot.call_of(entry))
        messages = [entry.edited or entry.message for entry in slot.entries]
        figures = [self._costs.corrected(_shown_tokens(entry)) for entry in slot.entries]
        return make_unit(messages, figures)

    def _index(self, unit: Unit) -> int:
        return bisect_left(self.units, unit.place, key=lambda other: other.place)


def _shown_tokens(entry: Entry) -> int:
    tokens = entry.edited_tokens if entry.edited is not None else entry.tokens
    return tokens or 0
