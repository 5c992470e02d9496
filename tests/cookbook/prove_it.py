"""Prove a strategy: the kit finds its mistake, and the smallest history that shows it."""

from ctxwin import Plan, PruneRequest, hookimpl
from ctxwin.testing import ContractError, StrategyContract, check_strategy


class DropNewest:
    """Drop the newest units that may go, and one token too little of them."""

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
        units, freed = [], 0
        for unit in reversed(request.droppable):
            if freed >= request.excess_tokens - 1:
                break
            units.append(unit)
            freed += unit.tokens
        return Plan.drop(units, reason="newest first") if units else None


class TestDropNewest(StrategyContract):  # pytest runs it: one test a law
    reaches_target = True  # a claim: it frees enough wherever that can be done

    def strategy(self) -> DropNewest:
        return DropNewest()


try:
    check_strategy(DropNewest(), reaches_target=True)  # the same without pytest
except ContractError as error:
    print("\n".join(str(error).splitlines()[1:7]))  # it ends with a snippet that repeats it
#>   it claims reaches_target, and freed 0 of 1 tokens
#>
#>   id  role  tokens  before  plan  after  content
#>   1   user  4       yes           -      ''
#>   2   user  4       yes           yes    ''
#>   budget 10 tokens: a window of 1 message
