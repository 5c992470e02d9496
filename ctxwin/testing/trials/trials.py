"""A trial: one case, run through a manager with the strategy under test, as often as the laws ask for it."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from threading import Thread

from ctxwin.counting import TokenCounter
from ctxwin.hooks.chain import Chain
from ctxwin.manager import ContextManager
from ctxwin.pruning.draft import Draft, Snapshot
from ctxwin.pruning.driving import drive
from ctxwin.pruning.prune import Tally, call_chain
from ctxwin.testing.data.cases import Case
from ctxwin.testing.data.elsewhere import elsewhere
from ctxwin.testing.data.failures import FAILURES, Faltering
from ctxwin.testing.data.fakes import recording
from ctxwin.testing.judge.windows import marked_faults
from ctxwin.testing.trials.spy import Answer, Asked, Asking, Spy, Told
from ctxwin.testing.trials.subjects import Subject, adapted, fresh
from ctxwin.values.errors import BudgetError
from ctxwin.values.message import Message
from ctxwin.values.receipt import Broken, Receipt, Rejection
from ctxwin.values.wire import Wire, copy_json

LOCK_SECONDS = 5.0  # far longer than an append takes
MEANWHILE: Wire = {"role": "user", "content": "meanwhile"}


@dataclass
class Ask:
    """
    One call of `messages()`.

    Attributes:
        before, after: the window before and after it.
        window: what it returned; None where it raised `BudgetError`.
        error: the `BudgetError`.
        planned: what `plan()` said before it, where it was asked.
        plan_is_free: whether that changed nothing.
        receipt: the receipt of its prune, if it pruned.
        rejected: plans and strategies that were turned down in it.
        asked: the calls of the hooks of the strategy under test.
        log, pinned: the messages appended so far, and the positions of those that are pinned.
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
    pinned: frozenset[int] = frozenset()


@dataclass
class Run:
    """
    A case run once.

    Attributes:
        ctx: the manager.
        asked: the calls of the hooks of the strategy under test.
        others: those of each strategy asked before it.
        asks: the calls of `messages()`, in order.
        log: every message that should be in the log.
        given: the very objects that were appended.
        pinned: positions of those that are pinned.
        crash: what a call raised that it must not raise.
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
    """One case, and the runs that the laws look at: each with its own manager, all with the same strategy objects."""

    def __init__(self, case: Case, subject: Subject) -> None:
        self.case = case
        self.subject = subject
        self.strategy = adapted(subject.make())
        self.before = [fresh(strategy) for strategy in subject.before]
        self._known: dict[Asking, Told] = {}
        self._spy = Spy(self.strategy, self._known)
        self._others = [Spy(adapted(strategy)) for strategy in self.before]
        self._chain: Chain | None = None
        self._faults: dict[int, list[Broken]] = {}

    @property
    def name(self) -> str:
        """The strategy's."""
        return self.strategy.name

    @cached_property
    def plain(self) -> Run:
        """The run that most laws look at."""
        return self._perform(self._new_run())

    @cached_property
    def later(self) -> Run:
        """The same again with the same object, a day later by the clock, each window planned before it is cut."""
        return self._perform(self._new_run(later=True), plan=True)

    @cached_property
    def failing(self) -> list[Run]:
        """Runs in which all summarisers fail: they raise, answer blank, answer too long; none where there are none."""
        if not any(asked.effects for asked in self.plain.asked):
            return []
        runs = [self.told(answer) for answer in FAILURES]
        return [
            run for run in runs if all(asked.told_errors_only for asked in run.asked)
        ]  # too long for its counter

    @cached_property
    def faltering(self) -> Run:
        """A run in which a summariser answers once and then is away."""
        return self.told(Faltering())

    @property
    def asks(self) -> list[Ask]:
        """The calls of `messages()` of the plain run and of the failing ones."""
        return [ask for run in (self.plain, *self.failing) for ask in run.asks]

    def told(self, answer: Answer) -> Run:
        """Return a run whose summarisers answer like this."""
        return self._perform(self._new_run(answer=answer))

    def asked_again(self, asked: Asked) -> list[Asked]:
        """Ask the strategy what it was asked before, by an equal request; and others with another past, or none."""
        with self.subject.forgotten():
            at_first = self._new_spy().ask_again(asked)
        spies = (self._spy, self._new_spy(), *self._seasoned, self._distracted)
        return [at_first, *(spy.ask_again(asked) for spy in spies)]

    def cancelled(self, asked: Asked) -> BaseException | None:
        """Cancel the strategy while a model answers; returns what it raises then."""
        return self._new_spy().cancel(asked)

    @cached_property
    def _seasoned(self) -> list[Spy]:
        """Equal strategies, each with another conversation behind it."""
        spies = [self._new_spy() for _ in elsewhere()]
        for spy, requests in zip(spies, elsewhere(), strict=True):
            spy.serve(requests)
        return spies

    @cached_property
    def _distracted(self) -> Spy:
        """An equal strategy that has another conversation to serve while a model answers."""
        spy = self._new_spy()
        other = Spy(spy.strategy, self._known)
        spy.distraction = lambda: other.serve(elsewhere()[0])
        return spy

    def _new_spy(self) -> Spy:
        return Spy(adapted(self.subject.make()), self._known)

    def spoilt(self) -> Run:
        """Return a run of its own whose messages are spoilt once they are appended."""
        run = self._perform(self._new_run())
        for wire in run.given:
            wire["spoilt"] = True
        return run

    def counted(self) -> tuple[Run, Counter[str]]:
        """Return a run, and how often its counter was asked about each message alone."""
        counter, asked = recording(self.case.counter)
        return self._perform(self._new_run(counter=counter)), asked

    def interfered(self) -> tuple[Run, bool]:
        """Return a run in which another thread appends and pins while a hook runs, and whether it had to wait."""
        run = self._new_run()
        waited: list[bool] = []

        def write() -> None:
            lock = run.ctx._keeper.lock
            if not lock.acquire(blocking=False):
                waited.append(True)
                return
            lock.release()
            try:
                run.ctx.append(MEANWHILE)
                run.log.append(MEANWHILE)
                run.ctx.pin(1)
                run.pinned.add(0)
            except Exception as error:
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
        if self._chain is None:
            ctx = self.case.manager([*self._others, self._spy], counter)
            self._chain = ctx._chain
        else:
            ctx = self.case.manager(["drop-oldest"], counter)
            ctx._chain = self._chain
        return Run(ctx, asked, others)

    def _perform(self, run: Run, *, plan: bool = False) -> Run:
        """Append the case's messages, and call `messages()` where it says so; `plan()` before it on request."""
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
        """Call `messages()`, and note what came of it."""
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
        except Exception as error:
            run.crash = error
            return
        ask.after = tuple(ctx)
        if ctx.last_receipt is not receipt and ctx.last_receipt is not None:
            ask.receipt = ctx.last_receipt
            ask.rejected = ask.receipt.rejected
        ask.asked = tuple(run.asked[earlier:])
        ask.log, ask.pinned = tuple(run.log), frozenset(run.pinned)
        run.asks.append(ask)

    def faults(self, ask: Ask) -> list[Broken]:
        """Return what the independent judge says of a window; what is written must be marked as written."""
        if id(ask) not in self._faults:
            self._faults[id(ask)] = self._judge(ask)
        return self._faults[id(ask)]

    def _judge(self, ask: Ask) -> list[Broken]:
        if ask.window is None:
            return []
        marked = [
            (wire, bool(message.sources))
            for message, wire in zip(ask.after, ask.window, strict=True)
        ]
        case = self.case
        knobs = {"pinned": ask.pinned, "edits": True, "question_edits": case.allow_question_edit}
        return marked_faults(ask.log, marked, case.budget, case.counter, **knobs)


def _window(
    ctx: ContextManager, *, prune_first: bool
) -> tuple[list[Wire] | None, BudgetError | None]:
    """Return the window, or the `BudgetError` in its place; after a prune by hand if that is asked for."""
    try:
        if prune_first:
            ctx.prune_history()
        return ctx.messages(), None
    except BudgetError as error:
        return None, error


def _rejections(ctx: ContextManager) -> tuple[Rejection, ...]:
    """Return what is turned down in a prune that ends in a `BudgetError`, which leaves no receipt."""
    conversation = ctx._keeper.conversation
    draft = Draft(Snapshot.of(conversation), conversation.costs)
    drive(call_chain(draft, ctx._chain, ctx, frozenset(), Tally()))
    return tuple(draft.rejected)
