"""`summarize-history`: fold the oldest units into one summary, and keep the newest turns as they were said."""

from collections.abc import Generator

from ctxwin import Plan, PruneRequest, Summarize, Unit, hookimpl
from ctxwin.summarizers import Digest, Summarizer

SHARE = 3  # quarters
LONGEST_SUMMARY = 4000  # tokens: beyond that a summary is a history of its own


class SummarizeHistory:
    """
    Replace the oldest units by a summary that a model, or the embedded digest, writes.

    The summary before it goes into the new one: there is one at a time, and it grows no longer than its bound. Where
    the summariser fails, or writes too much, nothing changes and the next strategy of the chain is asked.

    Args:
        summarizer: `(messages, previous_summary, max_tokens) -> str`, sync or async; None for the embedded
            `ctxwin.summarizers.Digest`.
        keep_last_turns: how many of the newest turns stay as they are (a turn is a user message and all up to the
            next), as far as they cost no more than
        keep_tokens: so much; None for what the summary leaves of the room that a cut makes.
        keep_user_messages: whether what the user said stays in the user's own words.
        max_summary_tokens: how long a summary may be; None for two thirds of that room, at most 4,000.
        max_source_tokens: how much the summariser takes at once, the summary before included; more is folded in
            chunks. None for no bound.
        role: the role of the summary: `user`, `assistant`, `system` or `developer`.

    Raises:
        TypeError: the summariser cannot be called.
        ValueError: a number is out of range, or there is no such role.
    """

    def __init__(
        self,
        summarizer: Summarizer | None = None,
        *,
        keep_last_turns: int = 2,
        keep_tokens: int | None = None,
        keep_user_messages: bool = False,
        max_summary_tokens: int | None = None,
        max_source_tokens: int | None = None,
        role: str = "user",
    ) -> None:
        if summarizer is not None and not callable(summarizer):
            raise TypeError(f"summarizer must be callable, not {type(summarizer).__name__}")
        if keep_last_turns < 0 or (keep_tokens or 0) < 0:
            raise ValueError(f"must not be negative: {keep_last_turns=}, {keep_tokens=}")
        if max_summary_tokens is not None and max_summary_tokens < 1:
            raise ValueError(f"max_summary_tokens must be at least 1, it is {max_summary_tokens}")
        if max_source_tokens is not None and max_source_tokens <= (max_summary_tokens or 1):
            raise ValueError(f"{max_source_tokens=} must be above {max_summary_tokens=}: a summary is a source too")
        if role not in ("user", "assistant", "system", "developer"):
            raise ValueError(f"role must be user, assistant, system or developer, not {role!r}")
        self.summarizer = summarizer
        self.keep_last_turns = keep_last_turns
        self.keep_tokens = keep_tokens
        self.keep_user_messages = keep_user_messages
        self.max_summary_tokens = max_summary_tokens
        self.max_source_tokens = max_source_tokens
        self.role = role

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Generator[Summarize, str, Plan | None]:
        """Have what leaves summarised, together with the summary before it."""
        if not request.droppable:
            return None
        overhead = _overhead(request)
        room = request.target_tokens - request.used_tokens + sum(unit.tokens for unit in request.droppable) - overhead
        bound = self._bound(room)
        keep_tokens = room - bound if self.keep_tokens is None else self.keep_tokens
        leaving = self._leaving(request, bound + overhead, keep_tokens)
        bound = min(bound, sum(unit.tokens for unit in leaving) - overhead - 1)
        summary = next((unit for unit in reversed(leaving) if unit.written), None)
        messages = [message for unit in leaving if unit is not summary for message in unit.messages]
        if not messages or bound < 1:
            return None
        text = yield Summarize(
            self.summarizer or Digest(request.count),
            tuple(messages),
            str(summary.messages[0].content) if summary else None,
            max_tokens=bound,
            max_source_tokens=self.max_source_tokens,
        )
        return Plan.replace(leaving, text, role=self.role, reason="summarised")

    def _bound(self, room: int) -> int:
        """Return how long the summary may be, given the room that a cut leaves for what can go."""
        if self.max_summary_tokens is not None:
            return self.max_summary_tokens
        share = min(room * SHARE // 4, LONGEST_SUMMARY)
        return share if self.max_source_tokens is None else min(share, self.max_source_tokens // 2)

    def _leaving(self, request: PruneRequest, summary_tokens: int, keep_tokens: int) -> list[Unit]:
        """Return the oldest units that may go, as many as free enough; the summary before them goes too."""
        newest = self._newest(request, keep_tokens)
        leaving = [unit for unit in request.droppable if unit.written]
        freed = sum(unit.tokens for unit in leaving) - summary_tokens
        for unit in request.droppable:
            stays = unit.index >= newest or (self.keep_user_messages and unit.role == "user")
            if unit.written or stays:
                continue
            leaving.append(unit)
            freed += unit.tokens
            if freed >= request.excess_tokens:
                break
        return sorted(leaving, key=lambda unit: unit.index)

    def _newest(self, request: PruneRequest, keep_tokens: int) -> int:
        """Return the index of the oldest unit that stays as it is: what cannot go anyway costs nothing here."""
        turns, tokens, newest = 0, 0, len(request.units)
        for unit in reversed(request.units):
            tokens += 0 if unit.protected else unit.tokens
            if turns == self.keep_last_turns or tokens > keep_tokens or unit.written:
                break
            newest = unit.index
            turns += unit.role == "user"
        return newest


def _overhead(request: PruneRequest) -> int:
    """Return what a message costs beside its text, read off the shortest that is text alone, and a little more."""
    costs = [
        (len(message.content), tokens, message.content)
        for unit in request.droppable
        for message, tokens in zip(unit.messages, unit.message_tokens, strict=True)
        if isinstance(message.content, str) and not message.tool_calls
    ]
    if not costs:
        return 16
    _, tokens, text = min(costs)
    return max(0, tokens - request.count(text)) + 2
