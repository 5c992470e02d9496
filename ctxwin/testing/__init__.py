"""
Test that a strategy keeps the laws (`pip install 'ctxwin[testing]'`).

    from ctxwin.testing import StrategyContract
    from my_package import DropLongest

    class TestDropLongest(StrategyContract):
        def strategy(self):
            return DropLongest()

`check_strategy(DropLongest())` does the same without pytest. `HistoryMachine` tries sequences of
calls on a manager. `assert_valid_window` judges any window, whoever made it.
`CallContract` and `check_plugin` test a plugin around the call, on a `Script` of turns.
`ctxwin.testing.strategies` generates histories. `StoreContract` and `check_store` test a session
store.
"""

from importlib.util import find_spec as _find_spec

if _find_spec("hypothesis") is None:
    raise ImportError("ctxwin.testing needs Hypothesis: pip install 'ctxwin[testing]'")

from ctxwin.testing.calls.contract import CallContract, check_plugin
from ctxwin.testing.calls.script import Played, Script, Turn, Witness
from ctxwin.testing.data.cases import Case
from ctxwin.testing.data.fakes import (
    FailingSummarizer,
    Folding,
    OddCounter,
    Protecting,
    ScriptedSummarizer,
    SlowSummarizer,
    WordCounter,
)
from ctxwin.testing.judge.windows import InvalidWindowError, assert_valid_window
from ctxwin.testing.stores.contract import StoreContract, check_store
from ctxwin.testing.trials.contract import StrategyContract, check_strategy
from ctxwin.testing.trials.hostile import HostilePlugin, HostileStrategy
from ctxwin.testing.trials.machine import HistoryMachine
from ctxwin.testing.trials.reports import ContractError, Finding

__all__ = [
    "CallContract",
    "Case",
    "ContractError",
    "FailingSummarizer",
    "Finding",
    "Folding",
    "HistoryMachine",
    "HostilePlugin",
    "HostileStrategy",
    "InvalidWindowError",
    "OddCounter",
    "Played",
    "Protecting",
    "Script",
    "ScriptedSummarizer",
    "SlowSummarizer",
    "StoreContract",
    "StrategyContract",
    "Turn",
    "Witness",
    "WordCounter",
    "assert_valid_window",
    "check_plugin",
    "check_store",
    "check_strategy",
]
