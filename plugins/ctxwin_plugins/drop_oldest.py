"""`drop-oldest`: drop the oldest units until enough is free. The last link of every chain."""

from ctxwin import Plan, PruneRequest, hookimpl


class DropOldest:
    """Drop units oldest first; what a strategy wrote (a summary of older ones still) goes last."""

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
        """Name just as many units as free the excess."""
        units, freed = [], 0
        for unit in sorted(request.droppable, key=lambda unit: unit.written):
            if freed >= request.excess_tokens:
                break
            units.append(unit)
            freed += unit.tokens
        return Plan.drop(units, reason="oldest first") if units else None
