"""
The log, and how its messages group into units.

Every message becomes a `LogMessage` of a `LogUnit`, a unit in the making. A message with calls
opens a unit that waits for its results. Each result joins the newest unit that waits for its id; a
result without an id joins the newest unit that waits for any, since such results are paired by
position. Ids of calls may be reused, within one message or across turns.

A unit is *complete*; or *pending*, when it lacks results and is the last unit; or *open*, when it
lacks results and is not the last, though what followed it may have been released from memory. Two
kinds are *unfit*, which is open for ever: a result without a call, and a message that says nothing,
such as an empty reply. Both stand aside: what comes before and behind them is grouped as if they
were not there. No window may hold what is open.

Appending is O(1), and `rewind` is its exact inverse, so that no message is ever grouped twice.
Nothing here walks over open units: a long run of dead calls costs a later call nothing.

Whether a unit is *gone* (a cut dropped it) is recorded here too. Which units the window shows is
the business of `window.py`; `dirty` tells it which ones to look at again.
"""

from collections.abc import Collection

from ctxwin.values.message import Message, answer_key, call_keys, says_nothing
from ctxwin.values.plan import Unit
from ctxwin.values.wire import RESULT_ROLES, SYSTEM_ROLES

LACKS_CALL = "a result without its call"
SAYS_NOTHING = "it has neither content nor calls, and APIs refuse that"


class LogMessage:
    """A message of the log with its uncorrected cost, and how it is shown if it was edited."""

    __slots__ = ("edited", "edited_tokens", "message", "tokens", "unit")

    def __init__(self, message: Message, unit: "LogUnit", tokens: int | None = None) -> None:
        self.message = message
        self.unit = unit
        self.tokens = tokens
        self.edited: Message | None = None
        self.edited_tokens = 0


class LogUnit:
    """
    A unit of the log.

    Attributes:
        messages: its messages, the one with the calls first.
        missing: how many results it lacks.
        opens: the unit before it, if that lacked results when this one came.
        followed: the id of the first unit that followed it and was released; 0 for none.
        unfit: why no window may ever hold it, `""` if one may.
        gone: whether a cut dropped it.
        dirty: whether its place in the window must be looked at again.
        shown: its unit in the window, None where it is not there.
    """

    __slots__ = ("dirty", "followed", "gone", "messages", "missing", "opens", "shown", "unfit")

    def __init__(self, *, missing: int = 0, unfit: str = "") -> None:
        self.messages: list[LogMessage] = []
        self.missing = missing
        self.opens: LogUnit | None = None
        self.followed = 0
        self.unfit = unfit
        self.gone = False
        self.dirty = False
        self.shown: Unit | None = None

    @property
    def first(self) -> int:
        """The id of its first message, which is also its place."""
        return self.messages[0].message.id

    @property
    def pinned(self) -> bool:
        """Whether one of its messages is pinned, which keeps all of them."""
        return any(logged.message.pinned for logged in self.messages)

    def call_of(self, logged: LogMessage) -> Message | None:
        """Return the message with the call that a result answers; None for any other message."""
        head = self.messages[0]
        return None if logged is head else head.message


class History:
    """
    The log held in memory.

    Attributes:
        messages: id -> message of the log, oldest first.
        appended: how many messages the log has, including those released from memory.
        open: first id -> unit, for the units that no window may hold.
        gone: first id -> unit, for the units that a cut dropped; some of them may be open.
        dirty: units whose place in the window must be looked at again, each once.
    """

    def __init__(self) -> None:
        self.messages: dict[int, LogMessage] = {}
        self.appended = 0
        self.open: dict[int, LogUnit] = {}
        self.gone: dict[int, LogUnit] = {}
        self.dirty: list[LogUnit] = []
        self._units: dict[int, LogUnit] = {}  # first id -> unit, unfit ones apart, oldest first
        self._last: LogUnit | None = None  # the last of these
        self._users: dict[int, LogMessage] = {}
        self._waiting: dict[str, list[LogUnit]] = {}

    @property
    def question(self) -> LogMessage | None:
        """The last user message."""
        return next(reversed(self._users.values()), None)

    @property
    def pending(self) -> LogUnit | None:
        """The last unit, if it lacks results and nothing ever followed it."""
        last = self._last
        return last if last is not None and last.missing and not last.followed else None

    @property
    def newest(self) -> LogUnit | None:
        """
        The last unit, apart from system messages and unfit ones.

        An exchange that a system message interrupted stays the newest unit, though it is open: no
        older unit takes its place, since its own results may still come.
        """
        units = reversed(self._units.values())
        return next((u for u in units if u.messages[0].message.role not in SYSTEM_ROLES), None)

    def left_out(self) -> list[Message]:
        """Return the messages that no window may hold, oldest first."""
        logged = [one for unit in self.open.values() for one in unit.messages]
        return sorted((one.message for one in logged), key=lambda message: message.id)

    def in_window(self, unit: LogUnit) -> bool:
        """Return whether the unit belongs in the window."""
        return bool(unit.messages) and not unit.gone and unit.first not in self.open

    def uncounted(self) -> list[tuple[LogMessage, Message, Message | None]]:
        """Return what belongs in the window and was never counted, each result with its call."""
        units = [unit for unit in self.dirty if self.in_window(unit)]
        logged = [one for unit in units for one in unit.messages if one.tokens is None]
        return [(one, one.message, one.unit.call_of(one)) for one in logged]

    def call_for(self, message: Message) -> Message | None:
        """Return the message with the call that a message would answer if it were appended now."""
        if message.role not in RESULT_ROLES:
            return None
        waiting = self._waiting.get(answer_key(message))
        return waiting[-1].messages[0].message if waiting else None

    def touch(self, unit: LogUnit) -> None:
        """Have the unit's place in the window looked at again."""
        if not unit.dirty:
            unit.dirty = True
            self.dirty.append(unit)

    def drop(self, unit: LogUnit) -> None:
        """Record that a cut dropped the unit; should it come back, it comes back as it was said."""
        unit.gone = True
        self.gone[unit.first] = unit
        for logged in unit.messages:
            logged.edited = None

    def bring_back(self, logged: LogMessage) -> None:
        """Put a message's unit back into the window, and its text back to what was said."""
        logged.edited = None
        self.restore(logged.unit)

    def restore(self, unit: LogUnit) -> None:
        """Put a unit back into the window."""
        unit.gone = False
        self.gone.pop(unit.first, None)
        self.touch(unit)

    def append(self, message: Message, tokens: int | None = None) -> LogMessage:
        """Add a message with its cost, if that is known; O(1)."""
        unit = self._unit_for(message)
        logged = LogMessage(message, unit, tokens)
        unit.messages.append(logged)
        self.messages[message.id] = logged
        self.appended += 1
        self.touch(unit)
        if unit.unfit:
            self.open[unit.first] = unit
            return logged
        if message.role == "user":
            self._users[message.id] = logged
        if len(unit.messages) == 1:
            last = self._last
            if last is not None and last.missing:  # no longer the last, so it is open now
                self.open[last.first] = last
                self.touch(last)
                unit.opens = last
            self._units[message.id] = self._last = unit
        elif not unit.missing:
            self.open.pop(unit.first, None)
        return logged

    def rewind(self, message_id: int) -> list[LogMessage]:
        """Cut the tail from that message on, and return it, oldest first; O(its length)."""
        cut = []
        while self.messages and next(reversed(self.messages)) >= message_id:
            logged = self.messages.popitem()[1]
            cut.append(logged)
            self.appended -= 1
            if self.question is logged:
                self._users.popitem()
            self._take_back(logged, message_id)
        return cut[::-1]

    def forget(self, held: Collection[int] = ()) -> list[LogMessage]:
        """
        Release the messages of every unit that is gone, and return them, oldest first.

        Units of which somebody else holds a message (`held`, ids) stay.

        The last unit stays: that something came after a call is what makes it open, not pending. An
        exchange that is open stays: its results may still come.
        """
        last = self._last
        units = [unit for unit in self.gone.values() if unit is not last and not unit.missing]
        if held:
            units = [unit for unit in units if unit.first not in held]
        released = [logged for unit in units for logged in unit.messages]
        for unit in units:
            del self.gone[unit.first], self._units[unit.first]
            if unit.opens is not None:
                self.follow(unit.opens, unit.first)
        for logged in released:
            del self.messages[logged.message.id]
            self._users.pop(logged.message.id, None)
        if len(released) > len(self.messages):
            # A dict keeps its size when keys are deleted: give the memory back where it is much.
            self.messages = dict(self.messages)
            self._units, self._users = dict(self._units), dict(self._users)
        return sorted(released, key=lambda logged: logged.message.id)

    def follow(self, unit: LogUnit, message_id: int) -> None:
        """Record what followed a unit and was released: no rewind may take it for the last one."""
        unit.followed = min(unit.followed or message_id, message_id)
        if unit.missing:
            self.open[unit.first] = unit

    def _unit_for(self, message: Message) -> LogUnit:
        """Return the unit that the message joins, or a new one."""
        if message.role not in RESULT_ROLES:
            if message.role == "assistant" and says_nothing(message):
                return LogUnit(unfit=SAYS_NOTHING)
            calls = call_keys(message)
            unit = LogUnit(missing=len(calls))
            for call in calls:
                self._waiting.setdefault(call, []).append(unit)
            return unit
        waiting = self._stop_waiting(answer_key(message))
        if waiting is None:
            return LogUnit(unfit=LACKS_CALL)
        waiting.missing -= 1
        return waiting

    def _stop_waiting(self, key: str) -> LogUnit | None:
        """Return the newest unit that waits for the key; it waits for one result less now."""
        waiting = self._waiting.get(key)
        if waiting is None:
            return None
        unit = waiting.pop()
        if not waiting:
            del self._waiting[key]
        return unit

    def _take_back(self, logged: LogMessage, down_to: int) -> None:
        """Undo the grouping of the newest message, in a rewind down to an id."""
        unit, first = logged.unit, logged.unit.first
        del unit.messages[-1]
        if unit.unfit:
            del self.open[first]
            return
        self.touch(unit)
        if not unit.messages:
            self._take_back_head(logged, first, down_to)
            return
        unit.missing += 1
        self._waiting.setdefault(answer_key(logged.message), []).append(unit)
        if unit is self._last:
            _unfollow(unit, down_to)
        if unit is not self.pending:
            self.open[first] = unit
            return
        unit.gone = False  # it is pending again: not the unit that was dropped
        self.gone.pop(first, None)

    def _take_back_head(self, logged: LogMessage, first: int, down_to: int) -> None:
        """Undo the grouping of the newest unit, whose only message this was."""
        for call in call_keys(logged.message):
            self._stop_waiting(call)
        # The newest head is the last key, so `popitem` takes it and leaves no hole to walk over.
        self._units.popitem()
        self._last = next(reversed(self._units.values()), None)
        self.gone.pop(first, None)
        if self._last is not None:
            _unfollow(self._last, down_to)
        pending = self.pending
        if pending is not None:
            self.open.pop(pending.first, None)
            self.touch(pending)


def _unfollow(unit: LogUnit, down_to: int) -> None:
    """Record that a rewind takes back also what followed a unit, though it was released."""
    if unit.followed >= down_to:
        unit.followed = 0
