"""Rest for strategies that keep failing: a breaker by growth, not by clock."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

FAILURES_BEFORE_REST = 3
GROWTH_BEFORE_RETRY = 1.2


@dataclass(slots=True)
class Failures:
    """How often a strategy failed in a row, and the length of the log until which it rests."""

    in_a_row: int = 0
    rests_until: int = 0


class Breaker:
    """
    Sends a strategy to rest after three failures in a row, until the log has grown by a fifth.

    Attributes:
        failures: strategy name -> its failures; a success forgets them.
    """

    def __init__(self) -> None:
        self.failures: dict[str, Failures] = {}

    def note(self, asked: Collection[str], failed: Collection[str], log_length: int) -> None:
        """Take notice of who was asked in a prune and who failed; lengths are in messages."""
        for name in sorted(asked):
            if name not in failed:
                self.failures.pop(name, None)
                continue
            record = self.failures.setdefault(name, Failures())
            record.in_a_row += 1
            if record.in_a_row >= FAILURES_BEFORE_REST:
                record.rests_until = math.ceil(log_length * GROWTH_BEFORE_RETRY)

    def dump(self) -> dict[str, list[int]]:
        """Return what is known of each strategy, as JSON."""
        return {
            name: [record.in_a_row, record.rests_until] for name, record in self.failures.items()
        }

    def load(self, figures: Mapping[str, Sequence[int]]) -> None:
        """Take over what `dump` returned."""
        self.failures = {name: Failures(*record) for name, record in figures.items()}

    def resting(self, log_length: int) -> frozenset[str]:
        """Return the names of the strategies that rest."""
        return frozenset(
            name for name, record in self.failures.items() if record.rests_until > log_length
        )
