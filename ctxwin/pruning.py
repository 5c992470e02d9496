"""
One prune: who is asked, in which order, and what becomes of the answers.

`prune` is a generator. It looks at the conversation, lets the chain work on a draft, and has the conversation adopt
that; where the conversation moved on meanwhile, the accepted plans are replayed on the newer window. It yields every
`Summarize` that a strategy yields and is sent the text, or thrown the error; who drives it decides how a model is
called. `drive` does so with a sync summariser, `adrive` with either colour.

Strategies are foreign code: each is called inside a guard, and whatever it raises or returns ends up in the receipt.
`KeyboardInterrupt`, `SystemExit` and cancellation pass through; the draft is then thrown away.
"""

import inspect
from collections.abc import Callable, Collection, Generator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from ctxwin.conversation import Conversation
from ctxwin.draft import Draft, Snapshot, describe
from ctxwin.errors import BudgetError, StrategyError, SummarizerError
from ctxwin.plan import Plan, Receipt, Summarize, Unit
from ctxwin.registry import Chain, Hook, Strategy

MAX_EFFECTS = 1000  # a history of a million tokens in chunks of a thousand; beyond that a strategy runs away

T = TypeVar("T")
Steps: TypeAlias = Generator[Summarize, str, T]


class Mark:
    """Says that a hook of the owner runs; a task that the hook starts inherits the mark, but not its being active."""

    def __init__(self, owner: object) -> None:
        self.owner: object | None = owner


_inside: ContextVar[tuple[Mark, ...]] = ContextVar("ctxwin_inside_hook", default=())


def call_hook(owner: object, hook: Callable[..., T], *args: object, **arguments: object) -> T:
    """
    Call foreign code, marked so that it cannot change the owner that it is asked about.

    What it raises comes out as an `Exception`, a Rust panic (a `BaseException`) included; only `KeyboardInterrupt`
    and `SystemExit` pass through as they are.
    """
    mark = Mark(owner)
    token = _inside.set((*_inside.get(), mark))
    try:
        return hook(*args, **arguments)
    except (Exception, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise RuntimeError(describe(error)) from error
    finally:
        mark.owner = None
        _inside.reset(token)


def refuse_inside_hook(owner: object, method: str) -> None:
    """Raise `StrategyError` where a hook of the owner runs: it must not change what it is asked about."""
    marks = _inside.get()
    if marks and any(mark.owner is owner for mark in marks):
        raise StrategyError(f"{method}() was called from inside a hook: return a plan instead, the manager applies it")


@dataclass(slots=True)
class Tally:
    """Which strategies were asked in a prune, and which of them failed."""

    asked: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)


def prune(
    conversation: Conversation, chain: Chain, lock: AbstractContextManager[object], *, owner: object, dry: bool
) -> Steps[Receipt]:
    """
    Prune a conversation; the steps are the summaries that strategies ask for.

    The lock is held to look and to adopt, never while foreign code runs. A dry prune adopts nothing.
    """
    with lock:
        snapshot, resting = conversation.snapshot(), conversation.breaker.resting(conversation.history.appended)
        draft = Draft(snapshot, conversation.costs)
        if conversation.nothing_new:
            return conversation.receipt(draft)
    tally = Tally()
    yield from ask_chain(draft, chain, owner, resting, tally)
    with lock:
        if dry:
            conversation.verify(draft)
            return conversation.receipt(draft)
        conversation.breaker.note(tally.asked, tally.failed, conversation.history.appended)
        if conversation.version != snapshot.version:
            draft = draft.replay(conversation.snapshot())
            draft.drop_what_is_needed()
        adjustment = conversation.verify(draft)
        receipt = conversation.receipt(draft)
        conversation.adopt(draft, adjustment, receipt)
    _tell(chain, receipt, owner)
    return receipt


def can_fit(conversation: Conversation, chain: Chain, snapshot: Snapshot, *, owner: object) -> bool:
    """Return whether the chain, without any summary, gets a snapshot within the budget."""
    draft = Draft(snapshot, conversation.costs)
    resting = conversation.breaker.resting(conversation.history.appended)
    drive(ask_chain(draft, chain, owner, resting, Tally()), refuse_model)
    try:
        conversation.verify(draft)
    except BudgetError:
        return False
    return True


def _tell(chain: Chain, receipt: Receipt, owner: object) -> None:
    """Show observers the receipt; what they raise is logged."""
    for strategy in chain.strategies:
        if strategy.pruned is not None:
            try:
                call_hook(owner, strategy.pruned, receipt=receipt.clone())
            except Exception:
                import logging  # noqa: PLC0415 - rarely needed, and slow to import

                logging.getLogger("ctxwin").exception("ctxwin_pruned of strategy %r failed", strategy.name)


def ask_chain(draft: Draft, chain: Chain, owner: object, resting: Collection[str], tally: Tally) -> Steps[None]:
    """Ask the chain, left to right and each strategy once, until the draft costs no more than its target."""
    for strategy in chain.strategies:
        if strategy.protect is not None:
            _spare(draft, strategy, strategy.protect, owner)
    for strategy in chain.strategies:
        if strategy.prune is None or not draft.over_target:
            continue
        if strategy.name in resting:
            draft.reject(strategy.name, "", "rests after three failures in a row, until the log has grown by a fifth")
            continue
        tally.asked.add(strategy.name)
        rejected = len(draft.rejected)
        yield from _ask(draft, strategy.name, strategy.prune, owner)
        if len(draft.rejected) > rejected:
            tally.failed.add(strategy.name)
    draft.drop_what_is_needed()


def _spare(draft: Draft, strategy: Strategy, protect: Hook, owner: object) -> None:
    """Protect the units that a plugin names."""
    try:
        units = call_hook(owner, lambda: tuple(protect(request=draft.request()) or ()))
        if not all(isinstance(unit, Unit) for unit in units):
            raise TypeError("ctxwin_protect must return units of the request")
        draft.spare(strategy.name, units)
    except Exception as error:  # noqa: BLE001 - whatever foreign code raises goes into the receipt
        draft.reject(strategy.name, "L8", describe(error))


def _ask(draft: Draft, name: str, hook: Hook, owner: object) -> Steps[None]:
    """Ask one strategy, and apply its plan if it keeps the laws."""
    try:
        answer = call_hook(owner, hook, request=draft.request())
        if isinstance(answer, Generator):
            answer = yield from run_flow(answer, owner, draft.count)
        if inspect.iscoroutine(answer):
            answer.close()
        if answer is not None and type(answer) is not Plan:
            raise TypeError(f"ctxwin_prune must return a Plan, a generator or None, not {type(answer).__name__}")
    except Exception as error:  # noqa: BLE001 - whatever foreign code raises goes into the receipt
        draft.reject(name, "L8", describe(error))
        return
    if answer is not None:
        draft.accept(name, answer)


def run_flow(flow: Generator[Any, Any, Any], owner: object, count: Callable[[str], int]) -> Steps[object]:
    """Carry effects from a strategy's generator outwards, and answers or errors back in."""
    try:
        effect = call_hook(owner, next, flow)
        for _ in range(MAX_EFFECTS):
            if not isinstance(effect, Summarize):
                raise TypeError(f"a strategy may yield Summarize only, not {type(effect).__name__}")
            try:
                text = _bounded((yield effect), effect.max_tokens, count)
            except SummarizerError as error:
                effect = call_hook(owner, flow.throw, error)
            else:
                effect = call_hook(owner, flow.send, text)
        raise RuntimeError(f"a strategy may yield {MAX_EFFECTS} effects at most")
    except StopIteration as stop:
        return stop.value
    finally:
        call_hook(owner, flow.close)


def _bounded(text: str, max_tokens: int, count: Callable[[str], int]) -> str:
    """Return a summary that says something in no more tokens than were asked for."""
    if not text.strip():
        raise SummarizerError("the summariser returned a blank text")
    tokens = count(text)
    if tokens > max_tokens:
        raise SummarizerError(f"the summary is {tokens} tokens long, {max_tokens} were asked for")
    return text


def call_model(effect: Summarize) -> object:
    """Call the summariser; what it raises becomes a `SummarizerError`."""
    try:
        return effect.summarizer(effect.messages, effect.previous_summary, effect.max_tokens)
    except Exception as error:
        raise SummarizerError(f"the summariser raised {describe(error)}") from error


def refuse_model(effect: Summarize) -> object:
    """Answer for a summariser where none may be called: a preview is free."""
    raise SummarizerError(f"a preview does not call {effect.summarizer!r}")


def drive(steps: Steps[T], call: Callable[[Summarize], object] = call_model) -> T:
    """Run a prune with sync summarisers."""
    try:
        effect = next(steps)
        while True:
            effect = _resume(steps, _answer(effect, call))
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()


async def adrive(steps: Steps[T]) -> T:
    """Run a prune with summarisers of either colour."""
    try:
        effect = next(steps)
        while True:
            effect = _resume(steps, await _aanswer(effect))
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()


def _resume(steps: Steps[T], answer: str | SummarizerError) -> Summarize:
    """Hand an answer back, or throw the error that came in its place; returns the next effect."""
    return steps.throw(answer) if isinstance(answer, SummarizerError) else steps.send(answer)


def _answer(effect: Summarize, call: Callable[[Summarize], object]) -> str | SummarizerError:
    try:
        answer = call(effect)
    except SummarizerError as error:
        return error
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        return SummarizerError("the summariser is async: call amessages() or aprune_history(), or give a sync one")
    return _text(answer)


async def _aanswer(effect: Summarize) -> str | SummarizerError:
    try:
        answer = call_model(effect)
        return _text(await answer if inspect.isawaitable(answer) else answer)
    except SummarizerError as error:
        return error
    except Exception as error:  # noqa: BLE001 - the caller's own callable may raise anything
        return SummarizerError(f"the summariser raised {describe(error)}")


def _text(answer: object) -> str | SummarizerError:
    if isinstance(answer, str):
        return answer
    return SummarizerError(f"the summariser returned {type(answer).__name__}, not a string")
