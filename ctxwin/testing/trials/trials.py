"""A trial: one case, run through managers with the strategy under test, as the laws need it."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Thread
from typing import Any

from ctxwin.counting import TokenCounter
from ctxwin.manager import ContextManager
from ctxwin.pruning.draft import Draft, Snapshot
from ctxwin.pruning.driving import drive
from ctxwin.pruning.prune import Tally, call_chain
from ctxwin.testing.data.cases import Case
from ctxwin.testing.data.elsewhere import elsewhere
from ctxwin.testing.data.failures import FAILURES, Faltering
from ctxwin.testing.data.fakes import recording
from ctxwin.testing.judge.grouping import positions
from ctxwin.testing.judge.windows import marked_faults
from ctxwin.testing.trials.spy import Answer, Asked, Asking, Spy, Told
from ctxwin.testing.trials.subjects import Subject, fresh
from ctxwin.values.errors import BudgetError
from ctxwin.values.message import Message
from ctxwin.values.plan import Unit
from ctxwin.values.receipt import Broken, Receipt, Rejection
from ctxwin.values.wire import Wire, copy_json

LOCK_SECONDS = 5.0  # far longer than an append takes
MEANWHILE: Wire = {"role": "user", "content": "meanwhile"}


@dataclass
class Ask:
    """
    One call of `messages()`.

    Attributes:
        before: the window before it.
        after: the window after it.
        window: what it returned; None if it raised `BudgetError`.
        error: the `BudgetError`.
        planned: what `plan()` returned before it, if that was called.
        plan_is_free: whether `plan()` changed nothing.
        receipt: the receipt of its prune, if it pruned.
        rejected: the plans and strategies that were rejected in it.
        asked: the calls of hooks of the strategy under test.
        log: the messages appended so far.
        ids: their ids.
        pinned: the positions of those that are pinned.
        protected: the ids of those, and of summaries, that plugins have asked to protect.
    """

    before: tuple[Message, ...]
    after: tuple[Message, ...] = ()
    window: list[Wire] | None = None
    error: BudgetError | None = None
    planned: Receipt | None = None
    plan_is_free: bool = True
    receipt: Receipt | None = None
    rejected: tuple[Rejection, ...] = ()
    asked: tuple[Asked, ...] = ()
    log: tuple[Wire, ...] = ()
    ids: tuple[int, ...] = ()
    pinned: frozenset[int] = frozenset()
    protected: frozenset[int] = frozenset()


@dataclass
class Run:
    """
    A case run once.

    Attributes:
        ctx: the manager.
        asked: the calls of hooks of the strategy under test.
        others: those of each strategy before it in the chain.
        asks: the calls of `messages()`, in order.
        log: every message that should be in the log.
        given: the very objects that were appended.
        pinned: the positions of those that are pinned.
        crash: an error that a call must not raise.
    """

    ctx: ContextManager
    asked: list[Asked]
    others: list[list[Asked]]
    asks: list[Ask] = field(default_factory=list)
    log: list[Wire] = field(default_factory=list)
    given: list[Wire] = field(default_factory=list)
    pinned: set[int] = field(default_factory=set)
    crash: BaseException | None = None


class Trial:
    """One case and its runs, each with its own manager, all with the same strategy objects."""

    def __init__(self, case: Case, subject: Subject) -> None:
        self.case = case
        self.subject = subject
        self.strategy = subject.strategy()
        self.before = [fresh(strategy) for strategy in subject.before]
        self._known: dict[Asking, Told] = {}
        self._spy = Spy(self.strategy, self._known)
        self._others = [Spy(subject.adapted(strategy)) for strategy in self.before]
        spies = [(spy.name, spy) for spy in (*self._others, self._spy)]
        self._chain = subject.chain([*case.plugins(), *spies])
        self._bare = replace(case, protected=frozenset(), folded=False)
        self._faults: dict[int, list[Broken]] = {}

    @property
    def name(self) -> str:
        """The name of the strategy."""
        return self.strategy.name

    @cached_property
    def plain(self) -> Run:
        """The run that most laws look at."""
        return self._perform(self._new_run())

    @cached_property
    def later(self) -> Run:
        """The same again a day later by the clock, with `plan()` before each cut."""
        return self._perform(self._new_run(later=True), plan=True)

    @cached_property
    def failing(self) -> list[Run]:
        """Runs whose summarisers fail: they raise, answer blank, or answer too long."""
        if not any(asked.effects for asked in self.plain.asked):
            return []
        runs = [self.told(answer) for answer in FAILURES]
        # A text that is too long for one counter may be short enough for another.
        return [run for run in runs if all(asked.told_errors_only for asked in run.asked)]

    @cached_property
    def faltering(self) -> Run:
        """A run whose summariser answers once, then fails."""
        return self.told(Faltering())

    @property
    def asks(self) -> list[Ask]:
        """The calls of `messages()` in the plain run and in the failing ones."""
        return [ask for run in (self.plain, *self.failing) for ask in run.asks]

    def told(self, answer: Answer) -> Run:
        """Return a run whose summarisers give these answers."""
        return self._perform(self._new_run(answer=answer))

    def asked_again(self, asked: Asked) -> list[Asked]:
        """Repeat a call on the strategy, and on equal ones with another past or none."""
        with self.subject.forgotten():
            at_first = self._new_spy().ask_again(asked)
        spies = (self._spy, self._new_spy(), *self._seasoned, self._distracted)
        return [at_first, *(spy.ask_again(asked) for spy in spies)]

    def cancelled(self, asked: Asked) -> BaseException | None:
        """Cancel the strategy while a model answers, and return what it raises."""
        return self._new_spy().cancel(asked)

    @cached_property
    def _seasoned(self) -> list[Spy]:
        """Equal strategies, each of which has served another conversation."""
        spies = [self._new_spy() for _ in elsewhere()]
        for spy, requests in zip(spies, elsewhere(), strict=True):
            spy.serve(requests)
        return spies

    @cached_property
    def _distracted(self) -> Spy:
        """An equal strategy that serves another conversation while a model answers."""
        spy = self._new_spy()
        other = Spy(spy.strategy, self._known)
        spy.distraction = lambda: other.serve(elsewhere()[0])
        return spy

    def _new_spy(self) -> Spy:
        return Spy(self.subject.strategy(), self._known)

    def spoilt(self) -> Run:
        """Return a new run whose messages the caller changes after it appended them."""
        run = self._perform(self._new_run())
        for wire in run.given:
            wire["spoilt"] = True
        return run

    def counted(self) -> tuple[Run, Counter[str]]:
        """Return a new run, and how often each message was counted on its own."""
        counter, asked = recording(self.case.counter)
        return self._perform(self._new_run(counter=counter)), asked

    def interfered(self) -> tuple[Run, bool]:
        """Return a run in which another thread writes during a hook, and whether it had to wait."""
        run = self._new_run()
        waited: list[bool] = []

        def write() -> None:
            lock = run.ctx._keeper.lock  # noqa: SLF001 - the kit knows the manager from inside
            if not lock.acquire(blocking=False):
                waited.append(True)
                return
            lock.release()
            try:
                run.ctx.append(MEANWHILE)
                run.log.append(MEANWHILE)
                run.ctx.pin(1)
                run.pinned.add(0)
            except Exception as error:  # noqa: BLE001 - whatever it raises is a finding
                run.crash = error

        def interfere() -> None:
            thread = Thread(target=write, daemon=True)
            thread.start()
            thread.join(LOCK_SECONDS)
            waited.append(thread.is_alive())

        self._spy.interfere = interfere
        self._perform(run)
        return run, any(waited)

    def _new_run(
        self,
        *,
        counter: TokenCounter | None = None,
        answer: Answer | None = None,
        later: bool = False,
    ) -> Run:
        asked = self._spy.begin(answer=answer, later=later)
        others = [spy.begin() for spy in self._others]
        ctx = self._bare.manager(["drop-oldest"], counter)
        ctx._chain = self._chain  # noqa: SLF001 - building a chain takes longer than a run
        return Run(ctx, asked, others)

    def _perform(self, run: Run, *, plan: bool = False) -> Run:
        """Append the messages of the case and call `messages()` as it says, or `plan()` first."""
        for place, wire, asks in self.case.steps():
            if place in self.case.pinned:
                run.pinned.add(len(run.log))
            run.log.append(copy_json(wire))
            run.given.append(wire)
            run.ctx.append(wire, pinned=place in self.case.pinned)
            if asks:
                self._ask(run, plan=plan)
            if run.crash is not None:
                break
        return run

    def _ask(self, run: Run, *, plan: bool) -> None:
        """Call `messages()` and record what happened."""
        ctx = run.ctx
        ask = Ask(before=tuple(ctx))
        earlier, receipt = len(run.asked), ctx.last_receipt
        try:
            if plan and len(ctx) and ctx.total_tokens > ctx.max_tokens:
                state = ctx.to_dict()
                with suppress(BudgetError):
                    ask.planned = ctx.plan()
                ask.plan_is_free = ctx.to_dict() == state
            ask.window, ask.error = _window(ctx, prune_first=self.case.prune_first)
            if ask.window is None:
                ask.rejected = _rejections(ctx)
        except Exception as error:  # noqa: BLE001 - whatever it raises is a finding
            run.crash = error
            return
        ask.after = tuple(ctx)
        if ctx.last_receipt is not receipt and ctx.last_receipt is not None:
            ask.receipt = ctx.last_receipt
            ask.rejected = ask.receipt.rejected
        ask.asked = tuple(run.asked[earlier:])
        ask.log, ask.pinned = tuple(run.log), frozenset(run.pinned)
        ask.ids = tuple(message.id for message in ctx.conversation_history)
        ask.protected = self.case.protected | _protected(run)
        run.asks.append(ask)

    def faults(self, ask: Ask) -> list[Broken]:
        """Return the faults that the independent judge finds in a window."""
        if id(ask) not in self._faults:
            self._faults[id(ask)] = self._judge(ask)
        return self._faults[id(ask)]

    def _judge(self, ask: Ask) -> list[Broken]:
        if ask.window is None:
            return []
        # `Message.sources` says which messages were written; plain messages cannot say it.
        marked = [
            (wire, bool(message.sources))
            for message, wire in zip(ask.after, ask.window, strict=True)
        ]
        case = self.case
        protected = positions(ask.ids, ask.protected)
        knobs = {"pinned": ask.pinned, "protected": protected, "edits": True}
        knobs["question_edits"] = case.allow_question_edit
        faults = marked_faults(ask.log, marked, case.budget, case.counter, **knobs)
        # The judge knows no ids of summaries; one that a plugin protects may stand first.
        free = any(message.sources and message.id in ask.protected for message in ask.after)
        return [fault for fault in faults if fault.law != "L17" or not free]


def _protected(run: Run) -> set[int]:
    """Return the ids of the messages that the strategies of a run have asked to protect so far."""
    found: set[int] = set()
    for asked in (asked for calls in (run.asked, *run.others) for asked in calls):
        answer: Any = asked.answer if asked.hook == "protect" else None
        for unit in answer or ():
            found.update(unit.ids if isinstance(unit, Unit) else ())
    return found


def _window(
    ctx: ContextManager, *, prune_first: bool
) -> tuple[list[Wire] | None, BudgetError | None]:
    """Return the window or the `BudgetError`; with `prune_first`, after a prune by hand."""
    try:
        if prune_first:
            ctx.prune_history()
        return ctx.messages(), None
    except BudgetError as error:
        return None, error


def _rejections(ctx: ContextManager) -> tuple[Rejection, ...]:
    """Return what is rejected in a prune that ends in a `BudgetError`, and so has no receipt."""
    conversation = ctx._keeper.conversation  # noqa: SLF001 - the kit knows it from inside
    draft = Draft(Snapshot.of(conversation), conversation.costs)
    drive(call_chain(draft, ctx._chain, ctx, frozenset(), Tally()))  # noqa: SLF001
    return tuple(draft.rejected)
