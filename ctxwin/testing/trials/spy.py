"""A stand-in for a strategy in a chain: it passes every call on, and records it."""

import asyncio
import inspect
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType
from typing import Any, TypeAlias

from ctxwin.hooks.chain import Hook, Strategy
from ctxwin.hooks.specs import hookimpl
from ctxwin.pruning.chunks import in_chunks
from ctxwin.pruning.driving import MAX_EFFECTS, drive, run_flow
from ctxwin.testing.data.clocks import ahead
from ctxwin.values.errors import SummarizerError, describe
from ctxwin.values.message import Message
from ctxwin.values.plan import Plan, PruneRequest, Summarize, Unit, message_tokens
from ctxwin.values.receipt import Receipt

Answer = Callable[[Summarize], str]
Told: TypeAlias = str | SummarizerError
Asking: TypeAlias = tuple[int, tuple[Message, ...], str | None, int]
"""A question to a summariser: its number in the plan, messages, previous summary, `max_tokens`."""


@dataclass
class Asked:
    """
    One call of a hook.

    Attributes:
        hook: `protect`, `prune` or `pruned`.
        shown: the request or receipt that it was given, and may have changed.
        pristine: an equal copy that it never saw.
        answer: what it returned; for a generator, what that returned at its end.
        error: what it raised.
        effects: the summaries that it asked for, each with what it got: a text, or the error that
            was thrown.
    """

    hook: str
    shown: Any
    pristine: Any
    answer: object = None
    error: BaseException | None = None
    effects: list[tuple[Summarize, Told]] = field(default_factory=list)

    @property
    def outcome(self) -> tuple[object, ...]:
        """The answer and the type of error, to compare with another call."""
        answer = self.answer if isinstance(self.answer, Plan | list | None) else type(self.answer)
        return answer, type(self.error)

    @property
    def told_errors_only(self) -> bool:
        """Whether every summary that it asked for failed."""
        return all(isinstance(told, SummarizerError) for _, told in self.effects)


class _Ended(Exception):  # noqa: N818 - never leaves this module
    """The generator of a strategy has returned."""

    def __init__(self, value: object) -> None:
        self.value = value


class Spy:
    """
    Stands in for a strategy.

    Args:
        strategy: the strategy, adapted: its name, and its hooks as callables.
        known: the answers of its summarisers so far. They give the same answer to the same
            question, because the law about determinism holds for the same answers.

    Attributes:
        interfere: called once, in the next hook.
        distraction: called when a summary is first asked for, as another conversation may go on
            while a model answers.
    """

    def __init__(self, strategy: Strategy, known: dict[Asking, Told] | None = None) -> None:
        self.name = strategy.name
        self.interfere: Callable[[], None] | None = None
        self.distraction: Callable[[], None] | None = None
        self.strategy = strategy
        self._known = {} if known is None else known
        self._asked: list[Asked] = []
        self._answer: Answer | None = None
        self._later = False

    def begin(self, *, answer: Answer | None = None, later: bool = False) -> list[Asked]:
        """
        Begin a run, and return the list in which its calls will be recorded.

        Args:
            answer: answers in place of the strategy's summarisers; None for their own answers.
            later: whether every clock runs a day ahead while the strategy is called.
        """
        self._asked, self._answer, self._later, self.interfere = [], answer, later, None
        return self._asked

    def __repr__(self) -> str:
        return repr(self.strategy.plugin)

    @hookimpl
    def ctxwin_protect(self, request: PruneRequest) -> list[Unit]:
        """Pass the call on."""
        if self.strategy.protect is None:
            return []
        asked = Asked("protect", request, copy_request(request))
        units: list[Unit] = self._call(
            asked, lambda hook: list(hook(request=request) or ()), self.strategy.protect
        )
        asked.answer = units
        return units

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Any:
        """Pass the call on, and what a generator yields."""
        if self.strategy.prune is None:
            return None
        asked = Asked("prune", request, copy_request(request))
        answer = self._call(asked, lambda hook: hook(request=request), self.strategy.prune)
        if isinstance(answer, Generator):
            return self._flow(asked, answer)
        asked.answer = answer
        return answer

    @hookimpl
    def ctxwin_pruned(self, receipt: Receipt) -> None:
        """Pass the call on."""
        if self.strategy.pruned is not None:
            asked = Asked("pruned", receipt, receipt.clone())
            self._call(asked, lambda hook: hook(receipt=receipt), self.strategy.pruned)

    def ask_again(self, asked: Asked) -> Asked:
        """Repeat a call with an equal request; summarisers give the same answers."""
        again = self.begin()
        self._ask(asked.hook, asked.pristine)
        return again[-1]

    def serve(self, requests: Sequence[PruneRequest]) -> None:
        """Make the calls of another conversation."""
        self.begin()
        for request in requests:
            self._ask("protect", request)
            self._ask("prune", request)

    def _ask(self, hook: str, pristine: PruneRequest) -> None:
        """Call a hook as a manager would, with a copy of a request."""
        request = copy_request(pristine)
        with suppress(Exception):  # what it raises is recorded
            answer = (
                self.ctxwin_protect(request) if hook == "protect" else self.ctxwin_prune(request)
            )
            if isinstance(answer, Generator):
                drive(
                    run_flow(
                        answer,
                        self,
                        partial(
                            in_chunks, tokens=message_tokens(request.units), count=request.count
                        ),
                    )
                )
            elif inspect.iscoroutine(answer):
                answer.close()

    def cancel(self, asked: Asked) -> BaseException | None:
        """Repeat a call, close it where it first asks for a summary, and return what it raises."""
        request, prune = copy_request(asked.pristine), self.strategy.prune
        flow = prune(request=request) if prune is not None else None
        if isinstance(flow, Generator):
            try:
                next(flow)
                flow.close()
            except StopIteration:
                pass
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is a finding
                # A generator that yields in place of ending must be closed again and again.
                for _ in range(MAX_EFFECTS):
                    with suppress(BaseException):
                        flow.close()
                        break
                return error
        return None

    def _call(self, asked: Asked, call: Callable[[Hook], Any], hook: Hook) -> Any:
        """Call a hook, and record the call and what it raises."""
        self._asked.append(asked)
        if self.interfere is not None:
            interfere, self.interfere = self.interfere, None
            interfere()
        with self._guarded(asked):
            return call(hook)

    def _flow(self, asked: Asked, flow: Generator[Any, Any, Any]) -> Generator[Any, Any, object]:
        """Pass on what a generator yields, and what it is sent or thrown."""
        try:
            effect = self._step(asked, partial(next, flow))
            while True:
                try:
                    told: str | SummarizerError = yield self._noted(asked, effect)
                except SummarizerError as error:
                    told = error
                asked.effects.append((effect, told))
                tell = flow.throw if isinstance(told, SummarizerError) else flow.send
                effect = self._step(asked, partial(tell, told))
        except _Ended as ended:
            asked.answer = ended.value
            return ended.value
        finally:
            flow.close()

    def _step(self, asked: Asked, step: Callable[[], Any]) -> Any:
        """Run a generator to its next yield; raise `_Ended` if it returns."""
        # A StopIteration raised in `_flow`, itself a generator, would become a RuntimeError.
        with self._guarded(asked):
            try:
                return step()
            except StopIteration as stop:
                ended = _Ended(stop.value)
        raise ended

    @contextmanager
    def _guarded(self, asked: Asked) -> Iterator[None]:
        """Record what is raised; an error that would end the process must not end the search."""
        try:
            with ahead(*names_of(self.strategy.plugin)) if self._later else nullcontext():
                yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            asked.error = error
            if isinstance(error, Exception):
                raise
            raise RuntimeError(f"{type(error).__name__} in a strategy") from error

    def _noted(self, asked: Asked, effect: object) -> object:
        """Return the effect with a summariser that answers as this spy was told to."""
        if not isinstance(effect, Summarize):
            return effect
        answer = self._answer
        if answer is not None:
            return replace(effect, summarizer=lambda *_: answer(effect))
        return replace(effect, summarizer=partial(self._ask_once, effect, len(asked.effects)))

    def _ask_once(self, effect: Summarize, number: int, *asking: Any) -> str:
        """Return the answer of a summariser, sync or async; the known one to a known question."""
        if self.distraction is not None and number == 0:
            self.distraction()
        key: Asking = (number, tuple(asking[0]), *asking[1:])
        if key not in self._known:
            try:
                self._known[key] = _settled(effect.summarizer(*asking))
            except Exception as error:  # noqa: BLE001 - it fails in the same way the next time
                self._known[key] = SummarizerError(describe(error))
        told = self._known[key]
        if isinstance(told, SummarizerError):
            raise told
        return told


def copy_request(request: PruneRequest) -> PruneRequest:
    """Return an equal request that shares no message with the given one."""
    messages = {message.id: message.clone() for unit in request.units for message in unit.messages}
    units = tuple(
        replace(unit, messages=tuple(messages[message.id] for message in unit.messages))
        for unit in request.units
    )
    return replace(
        request,
        units=units,
        droppable=tuple(units[unit.index] for unit in request.droppable),
        editable=tuple(messages[message.id] for message in request.editable),
    )


def names_of(plugin: object) -> Iterator[dict[str, Any]]:
    """Yield the globals of a strategy's module, and the strategy's own attributes."""
    module = plugin if isinstance(plugin, ModuleType) else sys.modules.get(type(plugin).__module__)
    if module is not None:
        yield vars(module)
    if isinstance(getattr(plugin, "__dict__", None), dict) and plugin is not module:
        yield vars(plugin)


def _settled(answer: Any) -> Any:
    """Return the answer of a summariser; an async one runs in a thread with its own loop."""
    if not inspect.isawaitable(answer):
        return answer

    async def wait() -> Any:
        return await answer

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, wait()).result()
