"""
Forks: the windows of one conversation that are sent to other models.

A request to another model or budget is fitted by a fork: a copy of the conversation with a window,
costs and cuts of its own. The manager keeps the last four and feeds them with every change of the
conversation but its cuts and what bills taught it. So each model's window only grows between its
own cuts, which keeps that provider's cache warm, and no counter counts a message twice.

A fork is locked after the conversation it follows, never before.
"""

from collections import OrderedDict
from copy import copy
from dataclasses import replace

from ctxwin.counting.costs import Costs, as_counter
from ctxwin.log.changes import Append, Change, Cut, Forget, Learn, Refit, Restore, SetOptions
from ctxwin.log.conversation import Conversation
from ctxwin.log.keeper import InMemory, Keeper
from ctxwin.values.budget import Budget

MOST = 4

# What a fork's cuts write has ids of its own: those of the log are given by the conversation.
OWN_IDS = 2**47

Key = tuple[str | None, Budget]


class Forks:
    """The forks of one manager, by model and budget; those that were asked for last are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, InMemory] = OrderedDict()

    def get(self, keeper: Keeper, model: str | None, budget: Budget, *, other: bool) -> InMemory:
        """
        Return the fork for a model and a budget; a new one begins with the window as it is.

        Args:
            keeper: keeps the conversation.
            model: the model, which brings its counter if it is an `other` one.
            budget: the budget.
            other: whether it is another model than the conversation's.
        """
        with keeper.lock:
            fork = self._kept.pop((model, budget), None)
            if fork is None:
                fork = self._made(keeper.conversation, model, budget, other=other)
            self._kept[model, budget] = fork
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
            return fork

    def find(self, model: str | None, budget: Budget) -> InMemory | None:
        """Return the fork for a model and a budget, if it is kept."""
        return self._kept.get((model, budget))

    def unsettle(self) -> None:
        """Have the next prune of each fork ask the strategies."""
        for fork in self._kept.values():
            fork.conversation.unsettle()

    def _made(
        self, conversation: Conversation, model: str | None, budget: Budget, *, other: bool
    ) -> InMemory:
        costs = moved(conversation.costs, model if other else None)
        shared = self._counts(conversation, costs)
        made = conversation.under(budget, costs, model, shared=shared, own_ids=OWN_IDS)
        conversation.follow(_Follower(conversation, self._kept))
        return InMemory(made)

    def _counts(self, conversation: Conversation, costs: Costs) -> dict[int, int]:
        """Return the counts shared by windows with one counter: it counts each message once."""
        for other in (conversation, *(fork.conversation for fork in self._kept.values())):
            if same_counter(other.costs, costs):
                return other.window.shares()
        return {}


class _Follower:
    """Hands a conversation's changes on to its forks."""

    def __init__(self, conversation: Conversation, kept: OrderedDict[Key, InMemory]) -> None:
        self._conversation = conversation
        self._kept = kept

    def __call__(self, change: Change) -> None:
        if isinstance(change, Cut | Learn):
            return
        if isinstance(change, Restore | Refit | SetOptions):
            self._kept.clear()
            return
        for key, fork in list(self._kept.items()):
            try:
                self._follow(fork, change)
            except Exception:  # noqa: BLE001 - it lacks a message, say: a new one will be made
                del self._kept[key]

    def _follow(self, fork: InMemory, change: Change) -> None:
        costs, own = fork.conversation.costs, self._conversation.costs
        if isinstance(change, Append) and not same_counter(costs, own):
            change = replace(change, tokens=None)
        if isinstance(change, Forget):  # what the conversation holds may come back
            change = Forget(self._conversation.history.messages.keys())
        fork.change(lambda _: (change,))


def moved(costs: Costs, model: str | None = None, counter: object = None) -> Costs:
    """Return the costs of a model or a counter, with the same tools; a copy if both are None."""
    if model is None and counter is None:
        return copy(costs)
    chosen = as_counter(counter, model)  # type: ignore[arg-type] # it checks
    found = Costs(chosen, costs.tools)
    return copy(costs) if same_counter(found, costs) else found


def same_counter(costs: Costs, other: Costs) -> bool:
    """Return whether two costs count alike: by one counter, or by two of one name."""
    return costs.counter is other.counter or bool(costs.name and costs.name == other.name)
