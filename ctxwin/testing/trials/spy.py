"""A stand-in for a strategy in a chain: it passes everything on, and notes what passed."""

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
"""What a summariser is asked: the how-manieth question, messages, the previous summary, how long the answer may be."""


@dataclass
class Asked:
    """
    One call of a hook.

    Attributes:
        hook: `protect`, `prune` or `pruned`.
        shown: what it was shown, and may have changed.
        pristine: an equal copy that it never saw.
        answer: what it returned; of a generator, what that returned in the end.
        error: what it raised.
        effects: the summaries that it asked for, with what it was told: a text, or the error
            thrown.
    """

    hook: str
    shown: Any
    pristine: Any
    answer: object = None
    error: BaseException | None = None
    effects: list[tuple[Summarize, Told]] = field(default_factory=list)

    @property
    def outcome(self) -> tuple[object, ...]:
        """What can be compared with another call: the answer, and the kind of error."""
        answer = self.answer if isinstance(self.answer, Plan | list | None) else type(self.answer)
        return answer, type(self.error)

    @property
    def told_errors_only(self) -> bool:
        """Whether every summary that it asked for failed."""
        return all(isinstance(told, SummarizerError) for _, told in self.effects)


class _Ended(Exception):
    """A strategy's generator has returned."""

    def __init__(self, value: object) -> None:
        self.value = value


class Spy:
    """
    Stands in for a strategy.

    Args:
        strategy: the strategy, adapted: its name, and its hooks as callables.
        known: what its summarisers have answered so far: to the same question they answer the same,
            since a law about determinism speaks of the same answers.

    Attributes:
        interfere: called once, in the next hook.
        distraction: called when a summary is first asked for, as other conversations go on while a
            model answers.
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
        Begin a run; returns the list in which its calls will be noted.

        Args:
            answer: answers for the strategy's summarisers; None for their own answers.
            later: whether every clock runs a day ahead while the strategy is asked.
        """
        self._asked, self._answer, self._later, self.interfere = [], answer, later, None
        return self._asked

    def __repr__(self) -> str:
        return repr(self.strategy.plugin)

    @hookimpl
    def ctxwin_protect(self, request: PruneRequest) -> list[Unit]:
        """Pass on."""
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
        """Pass on; what a generator yields too."""
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
        """Pass on."""
        if self.strategy.pruned is not None:
            asked = Asked("pruned", receipt, receipt.clone())
            self._call(asked, lambda hook: hook(receipt=receipt), self.strategy.pruned)

    def ask_again(self, asked: Asked) -> Asked:
        """Ask what was asked before, by an equal request; summarisers give the same answers."""
        again = self.begin()
        self._ask(asked.hook, asked.pristine)
        return again[-1]

    def serve(self, requests: Sequence[PruneRequest]) -> None:
        """Ask what was asked in another conversation."""
        self.begin()
        for request in requests:
            self._ask("protect", request)
            self._ask("prune", request)

    def _ask(self, hook: str, pristine: PruneRequest) -> None:
        """Ask a hook as a manager would, with a copy of a request."""
        request = copy_request(pristine)
        with suppress(Exception):  # what it raises is noted
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
        """Ask what was asked before, and close the answer where it asks for a summary; returns what it raises."""
        request, prune = copy_request(asked.pristine), self.strategy.prune
        flow = prune(request=request) if prune is not None else None
        if isinstance(flow, Generator):
            try:
                next(flow)
                flow.close()
            except StopIteration:
                pass
            except BaseException as error:
                for _ in range(MAX_EFFECTS):
                    with suppress(BaseException):
                        flow.close()
                        break
                return error
        return None

    def _call(self, asked: Asked, call: Callable[[Hook], Any], hook: Hook) -> Any:
        """Call a hook, noting the call and what it raises."""
        self._asked.append(asked)
        if self.interfere is not None:
            interfere, self.interfere = self.interfere, None
            interfere()
        with self._guarded(asked):
            return call(hook)

    def _flow(self, asked: Asked, flow: Generator[Any, Any, Any]) -> Generator[Any, Any, object]:
        """Pass on what a generator yields and is told."""
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
        """Take one step of a generator; that it ends is no error."""
        with self._guarded(asked):
            try:
                return step()
            except StopIteration as stop:
                ended = _Ended(stop.value)
        raise ended

    @contextmanager
    def _guarded(self, asked: Asked) -> Iterator[None]:
        """Note what is raised; what would end the process must not end the proof."""
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
        """Return the effect with a summariser of either colour that answers as this spy is told to."""
        if not isinstance(effect, Summarize):
            return effect
        answer = self._answer
        if answer is not None:
            return replace(effect, summarizer=lambda *_: answer(effect))
        return replace(effect, summarizer=partial(self._ask_once, effect, len(asked.effects)))

    def _ask_once(self, effect: Summarize, number: int, *asking: Any) -> str:
        """Return what a summariser of either colour says, or said when it was asked just this before, as often."""
        if self.distraction is not None and number == 0:
            self.distraction()
        key: Asking = (number, tuple(asking[0]), *asking[1:])
        if key not in self._known:
            try:
                self._known[key] = _settled(effect.summarizer(*asking))
            except Exception as error:
                self._known[key] = SummarizerError(describe(error))
        told = self._known[key]
        if isinstance(told, SummarizerError):
            raise told
        return told


def copy_request(request: PruneRequest) -> PruneRequest:
    """Return an equal request that shares no message with this one."""
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
    """Yield the globals of the module in which a strategy is written, and its own attributes."""
    module = plugin if isinstance(plugin, ModuleType) else sys.modules.get(type(plugin).__module__)
    if module is not None:
        yield vars(module)
    if isinstance(getattr(plugin, "__dict__", None), dict) and plugin is not module:
        yield vars(plugin)


def _settled(answer: Any) -> Any:
    """Return what a summariser says; an async one runs in a thread with a loop of its own."""
    if not inspect.isawaitable(answer):
        return answer

    async def wait() -> Any:
        return await answer

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, wait()).result()
