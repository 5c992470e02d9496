"""What a failure shows: the law, a table of what happened, and code that repeats it."""

from collections.abc import Sequence
from dataclasses import dataclass

from ctxwin.laws.laws import LAWS
from ctxwin.testing.data.cases import Case
from ctxwin.testing.trials.trials import Ask, Trial
from ctxwin.values.message import Message
from ctxwin.values.plan import Drop, Edit, Plan, Replace
from ctxwin.values.wire import Wire

STATEMENTS = {law.id: f"{law.id} {law.title}: {law.statement}" for law in LAWS}
WIDTH = 48


@dataclass(frozen=True)
class Finding:
    """
    A law that a strategy breaks, with the smallest history found on which it does.

    Attributes:
        law: `L1` to `L17`.
        strategy: the strategy's name.
        reason: what is wrong.
        case: the shrunk case.
        table: the window before and after, as text.
        snippet: Python that repeats it.
        searched: the law that was searched for. It differs from `law` if the fault did not happen
            again on the same history, which breaks L10.
    """

    law: str
    strategy: str
    reason: str
    case: Case
    table: str
    snippet: str
    searched: str

    def __str__(self) -> str:
        return "\n".join(
            [
                f"{self.strategy} breaks {STATEMENTS[self.law]}",
                f"  {self.reason}",
                "",
                *(f"  {line}" for line in self.table.splitlines()),
                "",
                "Repeat it:",
                "",
                *(f"  {line}".rstrip() for line in self.snippet.splitlines()),
            ]
        )


class ContractError(AssertionError):
    """
    A strategy breaks laws.

    Attributes:
        violations: a `Finding` for each broken law.
    """

    def __init__(self, violations: Sequence[Finding]) -> None:
        self.violations = tuple(violations)
        super().__init__("\n\n".join(map(str, self.violations)))


def table_of(ask: Ask | None, trial: Trial) -> str:
    """Return a table of the log: the window before and after a call, and what the plan proposed."""
    if ask is None:
        length, tokens = len(trial.case.history), trial.case.budget.max_tokens
        return f"after {length} messages, budget {tokens} tokens"
    before = {message.id: message for message in ask.before}
    after = {message.id: message for message in ask.after}
    plan = _proposals(ask)
    cost = trial.case.counter.count_message
    rows = [("id", "role", "tokens", "before", "plan", "after", "content")]
    for number, message in sorted({**after, **before, **_log(trial, ask)}.items()):
        shown = after.get(number) or before.get(number) or message
        kind = "written" if message.sources else message.role
        rows.append(
            (
                str(number),
                f"{kind}{' pinned' if shown.pinned else ''}",
                str(cost(shown.to_dict())),
                "yes" if number in before else "-",
                plan.get(number, ""),
                "-"
                if number not in after
                else "yes"
                if after[number].content == message.content
                else "edited",
                _content(message.to_dict()),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True))
        for row in rows
    ]
    size = len(ask.after)
    outcome = (
        f"no window, since what must be kept costs {ask.error.required_tokens}"
        if ask.error
        else f"a window of {size} message{'s' * (size != 1)}"
    )
    return "\n".join(
        [
            *(line.rstrip() for line in lines),
            f"budget {trial.case.budget.max_tokens} tokens: {outcome}",
        ]
    )


def _log(trial: Trial, ask: Ask) -> dict[int, Message]:
    history = trial.plain.ctx.conversation_history[: len(ask.log)]
    return {message.id: message for message in history}


def _proposals(ask: Ask) -> dict[int, str]:
    """Return message id -> the step of the strategy's last plan that names it."""
    plans = [asked.answer for asked in ask.asked if isinstance(asked.answer, Plan)]
    steps = plans[-1].steps if plans else ()
    return {number: type(step).__name__.lower() for step in steps for number in touched(step)}


def touched(step: object) -> tuple[int, ...]:
    """Return the ids of the messages that a step of a plan names; the step may be junk."""
    if isinstance(step, Edit):
        return (step.message.id,)
    return (
        tuple(number for unit in step.units for number in unit.ids)
        if isinstance(step, Drop | Replace)
        else ()
    )


def _content(wire: Wire) -> str:
    content = wire.get("content")
    text = (
        repr(content)
        if content is not None
        else repr(wire.get("tool_calls") or wire.get("function_call"))
    )
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."
