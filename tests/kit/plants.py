"""
Faults planted in the manager, one or two per law; each switches off the enforcement of the law.

A plant is a function that breaks the manager, and the strategies that are needed to see it.
`uproot` repairs everything.
"""

from collections.abc import Callable
from typing import Any

from ctxwin.laws import laws
from ctxwin.log.conversation import Conversation
from ctxwin.log.history import History
from ctxwin.log.window import Window
from ctxwin.manager import ContextManager
from ctxwin.pruning import prune as pruning
from ctxwin.pruning.draft import Draft, _Rewritten
from ctxwin.values.message import Message
from ctxwin.values.plan import Drop
from saboteurs import (
    adds_a_note,
    cuts_in_the_middle,
    drops_the_question,
    halves_json,
    ignores_pins,
    made,
    raises,
    speaks_as_system,
    writes_a_blank,
)

Plant = tuple[Callable[[], None], list[Any]]

_undo: list[Callable[[], None]] = []


def _set(owner: Any, name: str, value: Any) -> None:
    before = vars(owner)[name]
    _undo.append(lambda: setattr(owner, name, before))
    setattr(owner, name, value)


def uproot() -> None:
    """Undo every plant."""
    while _undo:
        _undo.pop()()


def _without(law: str) -> Callable[[], None]:
    """The manager no longer checks plans against the law."""

    def plant() -> None:
        _set(
            laws,
            "_PLAN_CHECKS",
            [(name, check) for name, check in laws._PLAN_CHECKS if name != law],
        )

    return plant


def _kept_only_by(law: str) -> Callable[[], None]:
    """Neither the law nor the conversation keeps a unit that must be kept."""

    def anything(self: Conversation, first: int) -> Any:
        return None if first in self.window.written else self.logged(first).unit

    def plant() -> None:
        _without(law)()
        _set(Conversation, "_droppable", anything)

    return plant


def never_over_budget() -> None:
    _set(Conversation, "over_budget", property(lambda self: False))


def open_exchanges_are_sent() -> None:
    def in_window(self: History, unit: Any) -> bool:
        # A reply that says nothing is no open exchange, and no cut ever takes it out.
        return bool(unit.messages) and not unit.gone and not unit.unfit

    _set(History, "in_window", in_window)


def summaries_stand_last() -> None:
    def last(self: Window, unit: Any) -> None:
        self.units.append(unit)
        self._unit_tokens += unit.tokens

    _set(Window, "_insert", last)


def no_guard_around_hooks() -> None:
    def call(draft: Draft, name: str, hook: Any, owner: object, how: Any) -> Any:
        answer = hook(request=draft.request())
        if answer is not None:
            draft.accept(name, answer)
        yield from ()

    _set(pruning, "call_strategy", call)


def copies_are_the_thing_itself() -> None:
    _set(Message, "clone", lambda self: self)


def dry_runs_are_wet() -> None:
    _set(ContextManager, "plan", ContextManager.prune_history)


def cuts_long_before_it_must() -> None:
    def over(self: Conversation) -> bool:
        return self.total_tokens > self.budget.max_tokens * 9 // 10 and self.settled != self.version

    _set(Conversation, "over_budget", property(over))


def counts_a_message_again_with_each_result() -> None:
    build = Window._build

    def anew(self: Window, log_unit: Any) -> Any:
        for logged in log_unit.messages:
            logged.tokens = None
        return build(self, log_unit)

    _set(Window, "_build", anew)


def asks_for_the_cost_of_what_it_shows() -> None:
    request = Draft.request

    def shown(self: Draft) -> Any:
        for unit in self.units:
            for message in unit.messages:
                self._costs.message(message)
        return request(self)

    _set(Draft, "request", shown)


def drops_from_the_log() -> None:
    apply = Conversation.apply

    def and_forget(self: Conversation, change: Any) -> Any:
        result = apply(self, change)
        self.history.forget()
        return result

    _set(Conversation, "apply", and_forget)


def receipts_leave_out_drops() -> None:
    make = _Rewritten.__init__

    def silent(self: _Rewritten, draft: Draft, strategy: str, plan: Any) -> None:
        make(self, draft, strategy, plan)
        if any(isinstance(step, Drop) for step in plan.steps):
            self.actions = []

    _set(_Rewritten, "__init__", silent)


def adopts_what_is_stale() -> None:
    _set(Draft, "replay", lambda self, snapshot: self)


def begins_with_whatever_is_left() -> None:
    _set(Draft, "begin_with_user_message", lambda self: None)


def holds_the_lock_all_along() -> None:
    messages = ContextManager.messages

    def locked(self: ContextManager) -> Any:
        with self._keeper.lock:
            return messages(self)

    _set(ContextManager, "messages", locked)


PLANTS: dict[str, list[Plant]] = {
    "L1": [(never_over_budget, [])],
    "L2": [(open_exchanges_are_sent, [])],
    "L3": [(_kept_only_by("L3"), [ignores_pins])],
    "L4": [(_kept_only_by("L4"), [drops_the_question])],
    "L5": [(summaries_stand_last, [speaks_as_system])],
    "L6": [(_without("L6"), [cuts_in_the_middle, halves_json])],
    "L7": [(_without("L7"), [adds_a_note])],
    "L8": [(no_guard_around_hooks, [raises])],
    "L9": [(copies_are_the_thing_itself, [])],
    "L10": [(dry_runs_are_wet, [])],
    "L11": [(cuts_long_before_it_must, [])],
    "L12": [
        (counts_a_message_again_with_each_result, []),
        (asks_for_the_cost_of_what_it_shows, []),
    ],
    "L13": [(drops_from_the_log, [])],
    "L14": [(receipts_leave_out_drops, [])],
    "L15": [(_without("L15"), [writes_a_blank])],
    "L16": [(adopts_what_is_stale, []), (holds_the_lock_all_along, [])],
    "L17": [(begins_with_whatever_is_left, [])],
}


def behind(plant: Plant) -> list[object]:
    """The strategies that are needed to see a plant."""
    return [made(saboteur) for saboteur in plant[1]]
