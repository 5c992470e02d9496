"""Your own strategy in ten lines: it only proposes, so it cannot break a request."""

from ctxwin import ContextManager, Plan, PruneRequest, hookimpl


class DropLongest:
    """Drop the longest units first."""

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
        units, freed = [], 0
        for unit in sorted(request.droppable, key=lambda unit: -unit.tokens):
            if freed >= request.excess_tokens:
                break
            units.append(unit)
            freed += unit.tokens
        return Plan.drop(units, reason="longest first") if units else None


ctx = ContextManager(4000, strategies=[DropLongest()])
print(ctx)
#> <ContextManager 3/4000 tokens, 0 messages, drop-longest -> drop-oldest>
