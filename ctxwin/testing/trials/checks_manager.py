"""The checks of the laws of kind M: how strategy and manager behave over many calls."""

from collections import Counter
from typing import Any

from ctxwin.manager import ContextManager
from ctxwin.testing.data.failures import TELLTALES
from ctxwin.testing.judge.windows import not_extended
from ctxwin.testing.trials.checks_window import Breach, Breaches, blamed
from ctxwin.testing.trials.reports import touched
from ctxwin.testing.trials.spy import Asked
from ctxwin.testing.trials.trials import MEANWHILE, Ask, Run, Trial
from ctxwin.values.errors import CtxwinError, SummarizerError, describe
from ctxwin.values.plan import Edit, Plan, PruneRequest, Replace
from ctxwin.values.receipt import Receipt
from ctxwin.values.wire import Wire


def failure_is_free(trial: Trial) -> Breaches:
    """L8: it raises nothing, returns what it may, and a failing summariser changes nothing."""
    failing = [*trial.failing, trial.faltering] if trial.failing else []
    for run in (trial.plain, *failing):
        yield from _failed(trial, run)
    for asked in (asked for asked in trial.plain.asked if asked.effects):
        error = trial.cancelled(asked)
        if error is not None:
            yield Breach(
                f"cancelled while a model was answering, it raised {describe(error)}",
                _ask_of(trial.plain, asked),
            )
    for run in failing:
        for ask in run.asks:
            yield from (
                Breach(f"after a summariser failed: {fault.reason}", ask)
                for fault in trial.faults(ask)
            )
            written = [str(message.content) for message in ask.after if message.sources]
            if any(telltale in text for text in written for telltale in TELLTALES):
                yield Breach("the text of a summariser's error is in the window", ask)


def _failed(trial: Trial, run: Run) -> Breaches:
    """Yield errors that the strategy raised, and answers that no hook may return."""
    yield from _log_differs(run)
    for ask in run.asks:
        for asked in ask.asked:
            # A strategy may let the error of its summariser pass.
            told = [answer for _, answer in asked.effects if isinstance(answer, SummarizerError)]
            passed_on = bool(told) and isinstance(asked.error, SummarizerError)
            if asked.error is not None and not passed_on:
                yield Breach(f"ctxwin_{asked.hook} raised {describe(asked.error)}", ask)
        raised = any(asked.error for asked in ask.asked)
        for breach in blamed(trial, ask, "L8"):
            if not raised and not breach.reason.startswith(SummarizerError.__name__):
                yield breach


def _log_differs(run: Run) -> Breaches:
    if run.crash is not None:
        yield Breach(f"the manager raised {describe(run.crash)}")
    if [message.to_dict() for message in run.ctx.conversation_history] != run.log:
        yield Breach("the log differs from what was appended")


def no_aliasing(trial: Trial) -> Breaches:
    """L9: the strategy changes nothing that it is shown; changing what it returns does no harm."""
    run = trial.plain
    for asked in (asked for looked in (run, *trial.failing) for asked in looked.asked):
        # `==` says that 1 equals True, and that the order of keys does not matter.
        if asked.shown != asked.pristine or _in_full(asked.shown) != _in_full(asked.pristine):
            yield Breach(f"ctxwin_{asked.hook} changed what it was shown", _ask_of(run, asked))
    spoilt = trial.spoilt()
    ctx, state = spoilt.ctx, spoilt.ctx.to_dict()
    shown = [*ctx.conversation_history, *ctx, *ctx.left_out]
    for wire in [
        *(wire for ask in spoilt.asks for wire in ask.window or ()),
        *(m.to_dict() for m in shown),
    ]:
        spoil(wire)
    for message in shown:
        spoil(message._wire)  # noqa: SLF001 - a strategy can reach it too
    if ctx.to_dict() != state:
        yield Breach("changing what the manager returned changed the manager")
    yield from _log_differs(spoilt)


def _in_full(shown: PruneRequest | Receipt) -> str:
    """Return the messages shown as text, which tells 1 from True, and shows the order of keys."""
    if isinstance(shown, Receipt):
        return repr([message.to_dict() for message in (*shown.evicted, *shown.left_out)])
    return repr([message.to_dict() for unit in shown.units for message in unit.messages])


def deterministic(trial: Trial) -> Breaches:
    """L10: it gives the same answer to an equal request, whatever happened in between."""
    for asked in _sampled([asked for asked in trial.plain.asked if asked.hook != "pruned"]):
        if asked.shown != asked.pristine:
            continue
        for again in trial.asked_again(asked):
            if again.outcome != asked.outcome:
                answers = f"{_said(asked)}; {_said(again)}"
                reason = f"asked the same twice, ctxwin_{asked.hook} gave two answers: {answers}"
                yield Breach(reason, _ask_of(trial.plain, asked))
    yield from _another_day(trial)
    asks = trial.plain.asks
    if asks and asks[-1].window is not None and trial.plain.ctx.messages() != asks[-1].window:
        yield Breach("a second messages() gave another window", asks[-1])


def _sampled(asked: list[Asked]) -> list[Asked]:
    """Return the first, the last, and one in between, because asking again is slow."""
    return [asked[place] for place in sorted({0, len(asked) // 2, len(asked) - 1})] if asked else []


def _another_day(trial: Trial) -> Breaches:
    """Yield what differs if the same calls are made a day later, with `plan()` before each cut."""
    for ask, later in zip(trial.plain.asks, trial.later.asks, strict=False):
        if ask.window != later.window:
            yield Breach("the same calls with the same object gave another window a day later", ask)
        elif ask.receipt != later.receipt:
            yield Breach(f"a day later the same calls gave another receipt: {later.receipt}", ask)
        if not later.plan_is_free:
            yield Breach("plan() changed the manager", ask)
        if later.planned is not None and later.planned != later.receipt:
            yield Breach(f"plan() returned {later.planned}, the prune did {later.receipt}", ask)


def stable_prefix(trial: Trial) -> Breaches:
    """L11: a window is cut only if it is over the budget; otherwise it extends the one before."""
    counter, previous = trial.case.counter, None
    ids = [message.id for message in trial.plain.ctx.conversation_history]
    for ask in trial.plain.asks:
        before = counter.count_request(()) + sum(
            counter.count_message(message.to_dict()) for message in ask.before
        )
        if (
            ask.receipt is not None
            and before <= trial.case.budget.max_tokens
            and not trial.case.prune_first
        ):
            yield Breach(f"a window of {before} tokens was cut", ask)
        if ask.receipt is None and ask.window is not None and previous is not None:
            known = ids[: len(previous.log)]
            for message in not_extended(previous.after, ask.after, ask.log, ids, known):
                yield Breach(f"{message} came, went or changed without a prune", ask)
        previous = ask if ask.window is not None else None


def counted_once(trial: Trial) -> Breaches:
    """L12: the counter counts each message of the log at most once."""
    run, asked = trial.counted()
    answers = [asked.answer for calls in (run.asked, *run.others) for asked in calls]
    plans = [answer for answer in answers if isinstance(answer, Plan)]
    proposed = {repr(wire) for plan in plans for step in plan.steps for wire in _proposed(step)}
    proposed |= {
        repr(message.to_dict()) for ask in run.asks for message in ask.after if message.sources
    }
    # A plan may propose a message that looks like one of the log: then it is counted for the plan.
    appended = Counter(repr(wire) for wire in run.log)
    for wire, times in appended.items():
        if asked[wire] > times and wire not in proposed:
            yield Breach(
                f"{wire} was counted {asked[wire]} times", run.asks[-1] if run.asks else None
            )


def _proposed(step: object) -> list[Wire]:
    """Return the new messages of a step, which are counted for it."""
    if isinstance(step, Edit):
        return [{**step.message.to_dict(), "content": step.content}]
    return [{"role": step.role, "content": step.content}] if isinstance(step, Replace) else []


def nothing_lost(trial: Trial) -> Breaches:
    """L13: the log has everything; a saved and loaded state is equal, and continues equally."""
    run = trial.plain
    yield from _log_differs(run)
    state = run.ctx.to_dict()
    options: dict[str, Any] = {
        "counter": trial.case.counter,
        "budget": trial.case.budget,
        "allow_question_edit": trial.case.allow_question_edit,
    }
    try:
        loaded = ContextManager.from_dict(state, **options)
        again = loaded.to_dict()
        last = run.asks[-1] if run.asks and run.asks[-1].window is not None else None
        window = loaded.messages() if last is not None else None
    except CtxwinError as error:
        yield Breach(f"a saved conversation cannot be restored: {describe(error)}")
        return
    if again != state:
        yield Breach("to_dict() of a restored manager differs")
    if last is not None and window != last.window:
        yield Breach("a restored manager gives another window", last)


def no_lost_update(trial: Trial) -> Breaches:
    """L16: messages that another thread appends or pins while a strategy is asked are kept."""
    run, waited = trial.interfered()
    if waited:
        yield Breach("a lock is held while a strategy is called")
    if run.crash is not None:
        yield Breach(f"with another thread appending, the manager raised {describe(run.crash)}")
    history = [message.to_dict() for message in run.ctx.conversation_history]
    if history != run.log and not waited:
        yield Breach("a message that another thread appended is lost")
    for ask in run.asks:
        if MEANWHILE in ask.log:
            for fault in trial.faults(ask):
                yield Breach(
                    f"with another thread appending and pinning, {fault.law}: {fault.reason}", ask
                )


def _said(asked: Asked) -> str:
    """Return a short text for an answer."""
    if asked.error is not None:
        return f"raised {describe(asked.error)}"
    if isinstance(asked.answer, Plan):
        return ", ".join(map(_step_said, asked.answer.steps)) or "an empty plan"
    if isinstance(asked.answer, list):
        return f"protect {', '.join(repr(unit.first) for unit in asked.answer)}"
    return repr(asked.answer)


def _step_said(step: Any) -> str:
    """Return a short text for a step, which may be junk."""
    content = f" {str(step.content)[:30]!r}" if isinstance(step, Edit | Replace) else ""
    ids = ", ".join(map(str, touched(step)))
    return f"{type(step).__name__.lower()} {ids}{content} ({getattr(step, 'reason', '')})"


def _ask_of(run: Run, asked: Asked) -> Ask | None:
    return next((ask for ask in run.asks if any(asked is other for other in ask.asked)), None)


def spoil(wire: dict[str, Any]) -> None:
    """Change everything in a message that can be changed."""
    if isinstance(wire.get("content"), list):
        wire["content"].append({"type": "text", "text": "evil"})
    for call in wire.get("tool_calls") or ():
        call.get("function", call)["name"] = "evil"
    wire["evil"] = True
