"""All laws over any sequence of calls, with strategies that help, write, fail and misbehave."""

from typing import Any

from hypothesis import seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from ctxwin import ContextManager, Plan, PruneRequest, Summarize, hookimpl
from ctxwin.testing import HistoryMachine, HostilePlugin, HostileStrategy
from ctxwin_plugins.summarize_history import SummarizeHistory
from openai_rules import refusals


class Summarizer:
    """A generator strategy whose model answers now and then, and fails otherwise."""

    name = "summarizer"

    def __init__(self) -> None:
        self.calls = 0

    def _answer(self, messages: object, previous: str | None, max_tokens: int) -> str:
        self.calls += 1
        if self.calls % 3 == 0:
            raise TimeoutError("the model is away")
        return "" if self.calls % 5 == 0 else "s"

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Any:
        units = [unit for unit in request.droppable if unit.tokens][:4]
        if not units:
            return None
        return self._flow(units, request.previous_summary)

    def _flow(self, units: list[Any], previous: str | None) -> Any:
        text = yield Summarize(self._answer, units[0].messages, previous, max_tokens=10)
        return Plan.replace(units, text, reason="older turns")


class RequestsMachine(HistoryMachine):
    """Each window is a request that OpenAI takes."""

    def _check_window(self, window: Any) -> None:
        super()._check_window(window)
        faults = refusals(window)
        assert not faults, faults


class EditorsMachine(RequestsMachine):
    """With strategies that shorten."""

    def strategies(self) -> list[object]:
        return ["clamp-oversized", "clear-tool-results"]


class PlainMachine(RequestsMachine):
    """With drop-oldest alone: every message is byte for byte of the log, and counted once."""

    edits = False


class SummariesMachine(RequestsMachine):
    """With tool results cleared and older turns quoted by the digest."""

    def strategies(self) -> list[object]:
        return [
            "clear-tool-results",
            SummarizeHistory(keep_last_turns=1, max_summary_tokens=30, max_source_tokens=90),
        ]


class HostileMachine(RequestsMachine):
    """With a strategy that writes, a model that sometimes fails, and hostile strategies."""

    deterministic = False

    def strategies(self) -> list[object]:
        self.number = 0
        self.managers: list[ContextManager] = []
        return [Summarizer(), "clear-tool-results"]

    @rule(kind=st.sampled_from(sorted(HostileStrategy.KINDS)))
    def register_hostile(self, kind: str) -> None:
        """Have another hostile strategy asked first."""
        self.number += 1
        self.managers[:] = [self.ctx]
        strategy: Any = HostileStrategy(kind, self.managers)
        strategy.name = f"{kind}-{self.number}"
        self._register(strategy)

    @rule()
    def register_hostile_plugin(self) -> None:
        """Have a plugin fail at sparing and at observing."""
        self.number += 1
        plugin: Any = HostilePlugin()
        plugin.name = f"plugin-{self.number}"
        self._register(plugin)

    def _restored(self) -> ContextManager:
        """Restore a manager, which its own strategies attack, and no other's."""
        self.managers[:] = [super()._restored()]
        return self.managers[0]

    def _register(self, strategy: Any) -> None:
        self.ctx.register(strategy, before=self.ctx._chain.strategies[0].name)
        self.options["strategies"] = [strategy, *self.options["strategies"]]


# Left to itself Hypothesis mostly varies its first examples: beginning anew tries more.
SEEDS = 10


def prove(machine: type[HistoryMachine], least: int) -> None:
    profile = settings()
    examples = max(least, profile.max_examples // 2) // SEEDS
    steps = settings(
        profile, max_examples=examples, stateful_step_count=40, report_multiple_bugs=False
    )
    for number in range(SEEDS):
        run_state_machine_as_test(seed(number)(machine), settings=steps)


def test_plain_machine() -> None:
    """Any sequence of calls keeps the laws."""
    prove(PlainMachine, 50)


def test_editors_machine() -> None:
    """Nor do edits change that."""
    prove(EditorsMachine, 50)


def test_summaries_machine() -> None:
    """Nor do summaries, made at once or ahead."""
    prove(SummariesMachine, 50)


def test_hostile_machine() -> None:
    """Nor whatever strategies do."""
    prove(HostileMachine, 50)
