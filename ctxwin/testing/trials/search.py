"""
The search for a case on which a strategy breaks a law.

The strategy runs in a real manager on generated cases, and `checks_window` and `checks_manager`
look at what happened.
"""

import logging
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any, TypeAlias

import hypothesis
from hypothesis import strategies as st
from hypothesis.database import InMemoryExampleDatabase
from hypothesis.errors import Flaky, HypothesisWarning, Unsatisfiable

from ctxwin.testing.data.cases import Case
from ctxwin.testing.strategies import cases as default_cases
from ctxwin.testing.trials import checks_manager, checks_window
from ctxwin.testing.trials.reports import Finding, table_of
from ctxwin.testing.trials.snippets import snippet_of
from ctxwin.testing.trials.subjects import Subject
from ctxwin.testing.trials.trials import Trial
from ctxwin.values.errors import describe

CHECKS: dict[str, Callable[[Trial], Iterator[checks_window.Breach]]] = {
    "L1": checks_window.budget,
    "L2": checks_window.tool_units,
    "L3": checks_window.pins,
    "L4": checks_window.current_question,
    "L5": checks_window.order,
    "L6": checks_window.silent_edits,
    "L7": checks_window.progress,
    "L8": checks_manager.failure_is_free,
    "L9": checks_manager.no_aliasing,
    "L10": checks_manager.deterministic,
    "L11": checks_manager.stable_prefix,
    "L12": checks_manager.counted_once,
    "L13": checks_manager.nothing_lost,
    "L14": checks_window.explained,
    "L15": checks_window.summaries_shrink,
    "L16": checks_manager.no_lost_update,
    "L17": checks_window.first_turn,
}

CASE_BYTES = 2**14  # of randomness: more than the longest case uses
MAX_TRIES = 10  # per case, because `assume` or a filter may reject some


class _Broken(Exception):  # noqa: N818 - never leaves this module
    """A law is broken; raised through Hypothesis, so that it shrinks the case."""

    def __init__(self, law: str, breach: checks_window.Breach, trial: Trial) -> None:
        super().__init__(law)
        self.law, self.breach, self.trial = law, breach, trial

    def finding(self) -> Finding:
        """Return what it shows."""
        return Finding(
            self.law,
            self.trial.name,
            self.breach.reason,
            self.trial.case,
            table_of(self.breach.ask, self.trial),
            snippet_of(self.trial),
            searched=self.law,
        )


Cases: TypeAlias = st.SearchStrategy[Case] | Sequence[Case] | None
"""What a strategy is tried on: generated cases, given ones, or those of the kit."""


def search_all(
    subject: Subject, cases: Cases = None, max_examples: int | None = None
) -> dict[str, Finding]:
    """Return a finding for each law that is broken; what keeps all laws is searched only once."""
    laws = list(CHECKS)
    found: dict[str, Finding] = {}
    while (finding := search(subject, laws, cases, max_examples)) is not None:
        laws.remove(finding.searched)
        found.setdefault(finding.law, finding)
    return {law: found[law] for law in CHECKS if law in found}


def search(
    subject: Subject,
    laws: Sequence[str],
    cases: Cases = None,
    max_examples: int | None = None,
    *,
    shrink: bool = True,
) -> Finding | None:
    """
    Return a case on which one of the laws is broken, or None.

    It is the smallest found; without `shrink`, the first.
    """
    if cases is not None and not isinstance(cases, st.SearchStrategy):
        return _search_given(subject, laws, cases)
    wanted = list(laws)
    broken: list[_Broken] = []  # the last one

    def look(case: Case) -> None:
        trial = Trial(case, subject)
        for law in wanted:
            breach = _first_breach(law, trial)
            if breach is not None:
                wanted[:] = [law]  # from now on only this law counts, and Hypothesis shrinks it
                broken[:] = [_Broken(law, breach, trial)]
                raise broken[0]

    profile = hypothesis.settings()
    proof = _shrinking(profile)(
        hypothesis.given(case=default_cases() if cases is None else cases)(look)
    )
    with _quiet():
        try:
            _explore(
                proof,
                max_examples or profile.max_examples,
                Random(0 if profile.derandomize else None),  # noqa: S311 - not for cryptography
            )
        except _Broken:
            return _shrunk(proof, broken) if shrink else broken[0].finding()
    return None


def _search_given(subject: Subject, laws: Sequence[str], cases: Sequence[Case]) -> Finding | None:
    """Return the first finding on the given cases, none of which is shrunk."""
    with _quiet():
        for case in cases:
            for law in laws:
                trial = Trial(case, subject)  # as at the end of a search, which looks at one law
                breach = _first_breach(law, trial)
                if breach is not None:
                    return _Broken(law, breach, trial).finding()
    return None


def _explore(proof: Any, max_examples: int, chance: Random) -> None:
    """
    Try `max_examples` cases, each independent of the others.

    Left to itself, Hypothesis makes most of a hundred examples by varying a few, and so tries few
    budgets and counters. It keeps a case that fails, and shrinks it when the proof is called.
    """
    tried = 0
    for _ in range(max_examples * MAX_TRIES):
        tried += proof.hypothesis.fuzz_one_input(chance.randbytes(CASE_BYTES)) is not None
        if tried == max_examples:
            return
    raise Unsatisfiable(
        f"only {tried} of {max_examples * MAX_TRIES} cases passed the filters: filter less"
    )


def _shrunk(proof: Any, broken: list[_Broken]) -> Finding:
    """Return the finding on the smallest case, or one of L10 if the case does not fail again."""
    try:
        proof()
    except _Broken:
        return broken[0].finding()
    except Flaky:
        pass
    finding = broken[0].finding()
    reason = f"it did this once, and not again on the same history: {finding.reason}"
    return replace(finding, law="L10", reason=reason)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the log and the warnings of Hypothesis."""
    # Failing observers are logged, but here they are findings; and Hypothesis warns about a case
    # that is long to print.
    logger = logging.getLogger("ctxwin")
    disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HypothesisWarning)
            yield
    finally:
        logger.disabled = disabled


def _shrinking(profile: hypothesis.settings) -> hypothesis.settings:
    """Return the settings of a profile, except for what a search does differently."""
    return hypothesis.settings(
        profile,
        deadline=None,
        database=InMemoryExampleDatabase(),
        phases=[hypothesis.Phase.reuse, hypothesis.Phase.shrink],
        suppress_health_check=list(hypothesis.HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
        verbosity=hypothesis.Verbosity.quiet,
    )


def _first_breach(law: str, trial: Trial) -> checks_window.Breach | None:
    """Return the first breach that a check yields; an error in a check is a breach too."""
    try:
        return next(CHECKS[law](trial), None)
    except Exception as error:  # noqa: BLE001 - no call that a check makes may raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"a call raised {describe(error)} ({where.filename}:{where.lineno})"
        return checks_window.Breach(reason)
