"""How long the kit takes to prove a trivial strategy, in a fresh process: all laws, 100 cases."""

import time

from hypothesis import settings

from ctxwin import Plan, PruneRequest, hookimpl
from ctxwin.testing import check_strategy


class Trivial:
    """Drop all that may go."""

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
        return Plan.drop(request.droppable) if request.droppable else None


if __name__ == "__main__":
    settings.register_profile("measured", max_examples=100, derandomize=True, deadline=None)
    settings.load_profile("measured")
    wall, cpu = time.perf_counter(), time.process_time()
    check_strategy(Trivial())
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"check_strategy of a trivial strategy: {wall:.1f} s, {cpu:.1f} s of CPU")
