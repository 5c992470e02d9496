"""
The window: which units are sent, in order, and what they cost together.

A window is a list of `Unit`s in order of place, with a running total. `settle` brings it up to date
with the log: it counts what was never counted, builds the units that are dirty, and puts them in or
takes them out. `cut` carries out a cut: the one place where units leave for good and written ones
enter.
"""

from bisect import bisect_left
from collections.abc import Mapping

from ctxwin.counting.costs import Costs
from ctxwin.log.history import History, LogMessage, LogUnit
from ctxwin.values.message import Message
from ctxwin.values.plan import Unit, make_unit
from ctxwin.values.wire import SYSTEM_ROLES


class Window:
    """
    The units to be sent.

    Attributes:
        units: oldest first.
        written: id -> uncorrected cost, for the messages that strategies wrote.
        shared: id -> uncorrected cost, for messages of the log that other windows of the same log
            show too, so that one counter counts each once; None where nobody shares.
    """

    def __init__(self, history: History, costs: Costs) -> None:
        self.units: list[Unit] = []
        self.written: dict[int, int] = {}
        self.shared: dict[int, int] | None = None
        self._unit_tokens = 0
        self._history = history
        self._costs = costs

    @property
    def total_tokens(self) -> int:
        """The count of the window, tools and priming included."""
        return self.base_tokens + self._unit_tokens

    @property
    def base_tokens(self) -> int:
        """The cost of the request around the messages."""
        return self.base_of(self.units[0] if self.units else None)

    def base_of(self, first: Unit | None, costs: Costs | None = None) -> int:
        """
        Return the cost of a request around its messages, by the first unit of it.

        Tools may share the frame of the system message that the log begins with, if that is
        pinned: only then does it lead every window.
        """
        lead = first.messages[0] if first is not None else None
        if lead is not None and not (lead.id == 1 and lead.pinned and lead.role in SYSTEM_ROLES):
            lead = None
        return (costs or self._costs).base_tokens(lead)

    def settle(self) -> None:
        """
        Bring the window up to date with the log.

        Raises `CounterError`: a message could not be counted; it and what follows wait for the
        next call.
        """
        dirty = self._history.dirty
        done = 0
        try:
            for log_unit in dirty:
                shown = self._build(log_unit) if self._history.in_window(log_unit) else None
                self.take_out(log_unit)
                log_unit.shown = shown
                if shown is not None:
                    self._insert(shown)
                log_unit.dirty = False
                done += 1
        finally:
            del dirty[:done]

    def take_out(self, log_unit: LogUnit) -> None:
        """Take out the unit of the log, if it is there."""
        if log_unit.shown is not None:
            self._remove(log_unit.shown)
            log_unit.shown = None

    def cut(self, gone: Mapping[int, LogUnit | None], written: Mapping[Message, int]) -> None:
        """
        Take units out for good, and put written messages in.

        Args:
            gone: first id -> the unit of the log, None for a written one.
            written: message -> its uncorrected cost.
        """
        if gone:  # in one pass: taking them out one by one would move the rest each time
            self.units = [unit for unit in self.units if unit.first not in gone]
            self._unit_tokens = sum(unit.tokens for unit in self.units)
        for first, log_unit in gone.items():
            if log_unit is None:
                del self.written[first]
            else:
                log_unit.shown = None
                self._history.drop(log_unit)
        for message, tokens in written.items():
            self.written[message.id] = tokens
            self._insert(make_unit([message], [self._costs.scaled(tokens)]))

    def show_written(self, unit: Unit, message: Message | None) -> None:
        """Show a written unit as another message (its pin changed); with None, no longer."""
        self._remove(unit)
        if message is None:
            del self.written[unit.first]
        else:
            self._insert(make_unit([message], unit.message_tokens))

    def find_written(self, message_id: int) -> Unit | None:
        """Return the written unit with that id."""
        if message_id not in self.written:
            return None
        return next(unit for unit in self.units if unit.first == message_id)

    def reprice(self) -> None:
        """Price every unit anew after the scale of an estimate changed, without counting again."""
        for log_unit in self._history.dirty:  # out of date: it is built when it is next asked for
            self.take_out(log_unit)
        units = [self.priced(unit, self._costs) for unit in self.units]
        for unit in units:
            if not unit.written:
                self._history.messages[unit.first].unit.shown = unit
        self.units = units
        self._unit_tokens = sum(unit.tokens for unit in units)

    def priced(self, unit: Unit, costs: Costs) -> Unit:
        """Return a unit of the window at other costs of the same counter, without counting."""
        if unit.written:
            figures = [self.written[unit.first]]
        else:
            logged = self._history.messages
            figures = [_shown_tokens(logged[message.id]) for message in unit.messages]
        return make_unit(unit.messages, [costs.scaled(tokens) for tokens in figures])

    def _insert(self, unit: Unit) -> None:
        if not self.units or self.units[-1].place < unit.place:
            self.units.append(unit)
        else:
            self.units.insert(self._index(unit), unit)
        self._unit_tokens += unit.tokens

    def _remove(self, unit: Unit) -> None:
        last = self.units[-1]
        del self.units[-1 if last is unit else self._index(unit)]
        self._unit_tokens -= unit.tokens

    def _build(self, log_unit: LogUnit) -> Unit:
        """Make the unit to be shown, counting what was never counted."""
        for logged in log_unit.messages:
            if not self.knows(logged):
                logged.tokens = self._costs.message(logged.message, log_unit.call_of(logged))
                self.share(logged)
        messages = [logged.edited or logged.message for logged in log_unit.messages]
        figures = [self._costs.scaled(_shown_tokens(logged)) for logged in log_unit.messages]
        return make_unit(messages, figures)

    def knows(self, logged: LogMessage) -> bool:
        """Return whether a message of the log was counted, by this window or one that shares."""
        if logged.tokens is None and self.shared is not None:
            logged.tokens = self.shared.get(logged.message.id)
        return logged.tokens is not None

    def shares(self) -> dict[int, int]:
        """Return the counts of the log's messages that other windows may share, from now on."""
        if self.shared is None:
            self.shared = {}
            for logged in self._history.messages.values():
                self.share(logged)
        return self.shared

    def share(self, logged: LogMessage) -> None:
        """Let others know what a message costs."""
        if self.shared is not None and logged.tokens is not None:
            self.shared[logged.message.id] = logged.tokens

    def _index(self, unit: Unit) -> int:
        return bisect_left(self.units, unit.place, key=lambda other: other.place)


def _shown_tokens(logged: LogMessage) -> int:
    tokens = logged.edited_tokens if logged.edited is not None else logged.tokens
    return tokens or 0
