"""`keep-pinned`: spare further messages by rule. Explicit pins (`ctx.pin`) need no strategy."""

from collections.abc import Callable, Collection, Iterable

from ctxwin import Message, PruneRequest, Unit, hookimpl


class KeepPinned:
    """
    Spare units by rule, as long as the rest fits.

    Args:
        roles: spare messages of these roles.
        names: spare messages with these names (of participants, of functions).
        first_turns: spare the first turns of the window; a turn is a user message and all up to the
            next.
        last_turns: spare the last turns.
        where: spare messages for which this returns true.

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
            raise TypeError("roles and names are collections of strings, not one string")
        if first_turns < 0 or last_turns < 0:
            raise ValueError(
                f"turns must not be negative: first_turns={first_turns}, last_turns={last_turns}"
            )
        self.roles = frozenset(roles)
        self.names = frozenset(names)
        self.first_turns = first_turns
        self.last_turns = last_turns
        self.where = where

    @hookimpl
    def ctxwin_protect(self, request: PruneRequest) -> Iterable[Unit]:
        """Name the units of the turns to spare, and those with a message to spare."""
        turns = _turns(request.units)
        spared = [unit for turn in turns[: self.first_turns] for unit in turn]
        spared += [unit for turn in turns[max(0, len(turns) - self.last_turns) :] for unit in turn]
        spared += [unit for unit in request.units if any(map(self._spares, unit.messages))]
        return spared

    def _spares(self, message: Message) -> bool:
        if message.role in self.roles or message.name in self.names:
            return True
        return self.where is not None and bool(self.where(message))


def _turns(units: Iterable[Unit]) -> list[list[Unit]]:
    """Group units into turns; what stands before the first user message is of none."""
    turns: list[list[Unit]] = []
    for unit in units:
        if unit.role == "user" and not unit.written:
            turns.append([])
        if turns:
            turns[-1].append(unit)
    return turns
