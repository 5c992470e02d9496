"""`drop-oldest`: drop the oldest units until enough is free. The last link of every chain."""

from ctxwin import Plan, PruneRequest, hookimpl


class DropOldest:
    """
    Drop units, oldest first.

    What a strategy wrote goes last: it may be the summary of even older units.
    """

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
        """Drop just enough units to free the excess."""
        units, freed = [], 0
        for unit in sorted(request.droppable, key=lambda unit: unit.written):
            if freed >= request.excess_tokens:
                break
            units.append(unit)
            freed += unit.tokens
        return Plan.drop(units, reason="oldest first") if units else None
