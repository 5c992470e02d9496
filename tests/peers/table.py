"""
ctxwin beside its peers: how often a window is invalid although a valid one exists.

All get the same generated histories and the same costs, and one judge checks the laws for every
window. L1: it fits. L2: calls and results stay together. L3: system messages stay. L4: the current
question and the newest unit stay. L5: everything else comes from the history, in order. A peer that
raises an error for such a history has failed too.

    python tests/peers/table.py [--histories 1000]
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.corpus import print_table
from ctxwin.counting import TokenCounter
from ctxwin.testing.judge.grouping import kept_messages
from ctxwin.testing.judge.windows import count_request, window_faults
from peers.histories import FULL_COST, Case, TextCost, Wire, draw_cases
from peers.libraries import (
    Trim,
    agent_framework,
    autogen,
    composed,
    ctxwin,
    langchain,
    llama_buffer,
    llama_memory,
    llama_text,
    truncation,
)

LAWS = ("L1", "L2", "L3", "L4", "L5")
HEADER = ["library and configuration", "version", "invalid", "n", *LAWS, "error", "last turn fits"]
NOTES = """\
invalid: the share of invalid windows among the n histories for which a valid window exists.
L1 to L5: the share that breaks the law. A window may break several; of a window that breaks L5,
only what is missing altogether counts as L3 or L4. error: the share that raised an error.
last turn fits: the share of invalid windows among the histories (how many) where the system message
and everything from the current question on fit, so that keeping a tail of whole turns is enough.

If the extension point of a peer shows it only text (llama-index), its texts are stand-ins that give
the full cost. The two rows that count text show what a plain tokenizer gives: "judged by text",
where budget and window are measured by what the tokenizer sees, and "judged by full cost", with
calls and the overhead of messages.
`TokenBudgetComposedStrategy` first runs `SelectiveToolCallCompactionStrategy` and
`TruncationStrategy`.
"""


@dataclass(frozen=True)
class Contender:
    """
    A library in one configuration.

    Attributes:
        package: the distribution, whose version is shown.
        setting: the configuration, as it is shown.
        trim: makes the window.
        system: whether its histories hold system messages.
        counter: what budget and window are measured with.
    """

    package: str
    setting: str
    trim: Trim
    system: bool = True
    counter: TokenCounter = FULL_COST


def contenders() -> list[Contender]:
    """Return all contenders, in the order of the table."""
    recipe = langchain(start_on="human", end_on=("human", "tool"))
    buffer, text = "`ChatMemoryBuffer`", TextCost()
    return [
        Contender("ctxwin", "drop-oldest", ctxwin("drop-oldest")),
        Contender(
            "ctxwin",
            "clear-tool-results, clamp-oversized, drop-oldest",
            ctxwin("clear-tool-results", "clamp-oversized", "drop-oldest"),
        ),
        Contender("langchain-core", "`trim_messages`, documented recipe", recipe),
        Contender("langchain-core", "`trim_messages`, `include_system` only", langchain()),
        Contender("llama-index-core", f"{buffer}, system message inside", llama_buffer),
        Contender("llama-index-core", f"{buffer}, no system messages", llama_buffer, system=False),
        Contender(
            "llama-index-core",
            f"{buffer}, counts text, judged by text",
            llama_text,
            system=False,
            counter=text,
        ),
        Contender(
            "llama-index-core",
            f"{buffer}, counts text, judged by full cost",
            llama_text,
            system=False,
        ),
        Contender("llama-index-core", "`Memory`, no system messages", llama_memory, system=False),
        Contender("autogen-core", "`TokenLimitedChatCompletionContext`", autogen),
        Contender("agent-framework-core", "`TruncationStrategy`", agent_framework(truncation)),
        Contender(
            "agent-framework-core", "`TokenBudgetComposedStrategy`", agent_framework(composed)
        ),
    ]


@dataclass
class Tally:
    """
    What became of the histories for which a valid window exists.

    Attributes:
        feasible: how many there were.
        invalid: for how many the window was invalid, or none came back.
        errors: for how many an error was raised instead.
        laws: for how many windows each law was broken; one may break several.
        easy: for how many the system message and the whole last turn fit, with every step since the
            question.
        easy_invalid: how many of these were invalid.
    """

    feasible: int = 0
    invalid: int = 0
    errors: int = 0
    laws: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LAWS, 0))
    easy: int = 0
    easy_invalid: int = 0


def judge(contender: Contender, cases: Sequence[Case]) -> Tally:
    """Run a contender on the cases for which a valid window exists."""
    tally = Tally()
    for given_case in cases:
        case = given_case if contender.system else given_case.without_system()
        budget = case.budget(contender.counter)
        if count_request(contender.counter, kept_messages(case.history)) > budget:
            continue
        broken = _outcome(contender, case, budget)
        easy = count_request(contender.counter, list(_last_turn(case.history))) <= budget
        tally.feasible += 1
        tally.invalid += bool(broken)
        tally.errors += "error" in broken
        tally.easy += easy
        tally.easy_invalid += easy and bool(broken)
        for law in broken & tally.laws.keys():
            tally.laws[law] += 1
    return tally


def _outcome(contender: Contender, case: Case, budget: int) -> set[str]:
    """Return the laws that the window breaks, or `error` if there is no window."""
    try:
        window = contender.trim(case.history, budget)
    except Exception:
        return {"error"}
    # Every library may shorten what need not stay byte for byte; only ctxwin's chain does.
    return {
        fault.law
        for fault in window_faults(case.history, window, budget, contender.counter, edits=True)
    }


def _last_turn(history: Sequence[Wire]) -> Iterator[Wire]:
    """Yield the system message, and all from the current question on."""
    question = max(place for place, wire in enumerate(history) if wire["role"] == "user")
    yield from (
        wire for place, wire in enumerate(history) if wire["role"] == "system" or place >= question
    )


def summary(cases: Sequence[Case]) -> str:
    """Return a sentence that describes the histories."""
    sizes = fmean(len(case.history) for case in cases)
    over = sum(FULL_COST.count_request(case.history) > case.budget(FULL_COST) for case in cases)
    return (
        f"{len(cases):,} histories of {sizes:.1f} messages on average; "
        f"{over:,} cost more than their budget."
    )


def row(contender: Contender, tally: Tally) -> list[object]:
    """Return a contender's row of the table."""
    shown = f"{contender.package}: {contender.setting}"
    laws = [_share(count, tally.feasible) for count in tally.laws.values()]
    easy = f"{_share(tally.easy_invalid, tally.easy)} ({tally.easy:,})"
    invalid, errors = _share(tally.invalid, tally.feasible), _share(tally.errors, tally.feasible)
    return [shown, version(contender.package), invalid, f"{tally.feasible:,}", *laws, errors, easy]


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if part else "0"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description="Invalid windows of ctxwin and its peers.")
    parser.add_argument("--histories", type=int, default=1000)
    arguments = parser.parse_args()
    cases = draw_cases(arguments.histories)
    print(
        "## Invalid windows where a valid one exists\n\n"
        f"{summary(cases)} hypothesis {version('hypothesis')}.\n"
    )
    print_table(HEADER, [row(contender, judge(contender, cases)) for contender in contenders()])
    print(NOTES)


if __name__ == "__main__":
    main()
