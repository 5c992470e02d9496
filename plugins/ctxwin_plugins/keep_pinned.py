"""`keep-pinned`: protect further messages by rule. Explicit pins (`ctx.pin`) need no strategy."""

from collections.abc import Callable, Collection, Iterable

from ctxwin import Message, PruneRequest, Unit, hookimpl


class KeepPinned:
    """
    Protect units by rule, as long as the window can still be made to fit.

    Args:
        roles: protect messages of these roles.
        names: protect messages with these names (of participants, of functions).
        first_turns: how many of the first turns of the window to protect. A turn is a user message
            and everything up to the next one.
        last_turns: how many of the last turns to protect.
        where: protect messages for which this function returns true.

    Raises:
        TypeError: `roles` or `names` is a bare string, which would be read letter by letter.
        ValueError: a number of turns is negative.
    """

    def __init__(
        self,
        roles: Collection[str] = (),
        names: Collection[str] = (),
        first_turns: int = 0,
        last_turns: int = 0,
        where: Callable[[Message], bool] | None = None,
    ) -> None:
        if isinstance(roles, str) or isinstance(names, str):
            raise TypeError("roles and names must be collections of strings, not one string")
        if first_turns < 0 or last_turns < 0:
            raise ValueError(f"must not be negative: {first_turns=}, {last_turns=}")
        self.roles = frozenset(roles)
        self.names = frozenset(names)
        self.first_turns = first_turns
        self.last_turns = last_turns
        self.where = where

    @hookimpl
    def ctxwin_protect(self, request: PruneRequest) -> Iterable[Unit]:
        """Return the units of the protected turns, and each unit with a protected message."""
        turns = _turns(request.units)
        newest = turns[max(0, len(turns) - self.last_turns) :]
        protected = [unit for turn in turns[: self.first_turns] + newest for unit in turn]
        protected += [unit for unit in request.units if any(map(self._protects, unit.messages))]
        return protected

    def _protects(self, message: Message) -> bool:
        if message.role in self.roles or message.name in self.names:
            return True
        return self.where is not None and bool(self.where(message))


def _turns(units: Iterable[Unit]) -> list[list[Unit]]:
    """Group units into turns; units before the first user message belong to no turn."""
    turns: list[list[Unit]] = []
    for unit in units:
        if unit.role == "user" and not unit.written:
            turns.append([])
        if turns:
            turns[-1].append(unit)
    return turns
