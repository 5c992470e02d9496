"""`summarize-history`: replace the oldest units by a summary, keep the newest turns as they are."""

from collections.abc import Generator, Sequence
from operator import index

from ctxwin import Plan, PruneRequest, Summarize, Unit, hookimpl
from ctxwin.summarizers import Digest, Summarizer

# "The room" is what a cut leaves of the budget for the units that it may drop.
SHARE = 3  # a summary takes at most three quarters of the room
LONGEST_SUMMARY = 4000  # tokens; a longer summary would be a history of its own
LEAST_GAIN = 8  # a fold frees at least an eighth of the room if it can: it costs a model call


class SummarizeHistory:
    """
    Replace the oldest units by a summary, written by a model or by the embedded digest.

    The previous summary is merged into the new one: there is only one at a time, and it never
    exceeds its bound. If the summariser fails or writes too much, nothing changes and the next
    strategy of the chain is asked.

    A summary takes at most three quarters of the room that a cut leaves for the units that it may
    drop, so that it is not dropped as soon as it is written. The bounds below apply within that.
    Use a budget with a low mark (`low=0.7`): with `low=1.0` the summariser is called again and
    again, for little gain each time.

    Args:
        summarizer: `(messages, previous_summary, max_tokens) -> str`, sync or async; None for the
            embedded `ctxwin.summarizers.Digest`.
        keep_last_turns: how many of the newest turns stay as they are, as long as they cost no more
            than `keep_tokens`. A turn is a user message and everything up to the next one.
        keep_tokens: how much these turns may cost; None for what the summary leaves of the room.
        keep_user_messages: whether the user's own messages stay: the newest of them, up to half of
            the room.
        max_summary_tokens: how long a summary may be; None for 4,000 tokens.
        max_source_tokens: how much the summariser can read at once, the previous summary included;
            None for no bound. Longer sources are summarised in chunks, and a summary takes at most
            half of this.
        role: the role of the summary: `user`, `assistant`, `system` or `developer`. In place of
            `assistant` it is `user` where the summary would begin the window: many providers refuse
            a request that begins with a model's message.

    Raises:
        TypeError: the summariser cannot be called, or a number is not an integer.
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
        if not (summarizer is None or _is_summarizer(summarizer)):
            raise TypeError(
                f"summarizer must be a function or a callable object, not {summarizer!r}"
            )
        if index(keep_last_turns) < 0 or index(keep_tokens or 0) < 0:
            raise ValueError(f"must not be negative: {keep_last_turns=}, {keep_tokens=}")
        if max_summary_tokens is not None and index(max_summary_tokens) < 1:
            raise ValueError(f"max_summary_tokens must be at least 1, it is {max_summary_tokens}")
        if max_source_tokens is not None and index(max_source_tokens) <= (max_summary_tokens or 1):
            raise ValueError(
                f"{max_source_tokens=} must be above {max_summary_tokens=}: the next summariser "
                "call reads the summary as well"
            )
        if role not in ("user", "assistant", "system", "developer"):
            raise ValueError(f"role must be user, assistant, system or developer, not {role!r}")
        self.summarizer = summarizer
        self.keep_last_turns = keep_last_turns
        self.keep_tokens = keep_tokens
        self.keep_user_messages = keep_user_messages
        self.max_summary_tokens = max_summary_tokens or LONGEST_SUMMARY
        self.max_source_tokens = max_source_tokens
        self.role = role

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Generator[Summarize, str, Plan | None]:
        """Have the units that leave summarised, together with the previous summary."""
        if not request.droppable:
            return None
        overhead = _overhead(request)
        room = request.target_tokens - request.used_tokens + _cost(request.droppable) - overhead
        may_go = self._may_go(request, room)
        room -= _cost(request.droppable) - _cost(may_go)
        bound = self._bound(room)
        keep_tokens = (
            room - bound if self.keep_tokens is None else min(self.keep_tokens, room - bound)
        )
        may_go = self._older(request, may_go, keep_tokens)
        # What stays costs at most `room - bound`. So what leaves costs more than a summary of
        # `bound` tokens, and folding frees something.
        leaving = _oldest(may_go, max(request.excess_tokens, room // LEAST_GAIN) + bound + overhead)
        return (yield from self._folded(request, leaving, bound)) if bound > 0 else None

    def _folded(
        self, request: PruneRequest, leaving: list[Unit], bound: int
    ) -> Generator[Summarize, str, Plan | None]:
        """Have units summarised in at most `bound` tokens."""
        previous = (
            "\n".join(str(unit.messages[0].content) for unit in leaving if unit.written) or None
        )
        told = [unit for unit in leaving if not unit.written]
        if not told:
            return None
        limit = self.max_source_tokens
        if previous and limit is not None and request.count(previous) > limit // 2:
            # The summary was written under a larger bound: now it is read in chunks like the rest.
            told, previous = leaving, None
        text = yield Summarize(
            self.summarizer or Digest(request.count),
            tuple(message for unit in told for message in unit.messages),
            previous,
            max_tokens=bound,
            max_source_tokens=limit,
        )
        role = self._role(request, leaving)
        return Plan.replace(leaving, text, role=role, reason="summarised")

    def _role(self, request: PruneRequest, leaving: Sequence[Unit]) -> str:
        """Return the role of the summary: a model's message does not begin a window."""
        earlier = request.units[: min(unit.index for unit in leaving)]
        behind_user = any(unit.role == "user" for unit in earlier)
        return self.role if behind_user or self.role != "assistant" else "user"

    def _bound(self, room: int) -> int:
        """Return how long the summary may be, given the room."""
        bound = min(self.max_summary_tokens, room * SHARE // 4)
        if self.keep_tokens is not None:
            # The turns to keep come first, but leave the summary a quarter of the room.
            bound = min(bound, max(room // 4, room - self.keep_tokens))
        return bound if self.max_source_tokens is None else min(bound, self.max_source_tokens // 2)

    def _may_go(self, request: PruneRequest, room: int) -> list[Unit]:
        """Return the droppable units, without the user's newest messages if they are to stay."""
        kept, tokens = set(), 0
        for unit in reversed(request.droppable if self.keep_user_messages else ()):
            if unit.role == "user" and not unit.written:
                tokens += unit.tokens
                if tokens > room // 2:
                    break
                kept.add(unit.index)
        return [unit for unit in request.droppable if unit.index not in kept]

    def _older(self, request: PruneRequest, may_go: list[Unit], keep_tokens: int) -> list[Unit]:
        """
        Return the units before the newest turns that stay.

        The turns that stay are at most `keep_last_turns`, and cost at most `keep_tokens`.
        """
        going = {unit.index for unit in may_go}
        turns, tokens, newest = 0, 0, len(request.units)
        for unit in reversed(request.units):
            tokens += unit.tokens if unit.index in going else 0
            if (
                turns < self.keep_last_turns
                and tokens <= keep_tokens
                and not unit.written
                and newest == unit.index + 1
            ):
                newest = unit.index
                turns += unit.role == "user"
        return [unit for unit in may_go if unit.written or unit.index < newest]


def _is_summarizer(value: object) -> bool:
    return callable(value) and not isinstance(value, type)


def _oldest(units: Sequence[Unit], tokens: int) -> list[Unit]:
    """Return all summaries, and the oldest units, until together they cost `tokens`."""
    leaving = [unit for unit in units if unit.written]
    cost = _cost(leaving)
    for unit in units:
        if not unit.written:
            leaving.append(unit)
            cost += unit.tokens
            if cost >= tokens:
                break
    return sorted(leaving, key=lambda unit: unit.index)


def _cost(units: Sequence[Unit]) -> int:
    return sum(unit.tokens for unit in units)


def _overhead(request: PruneRequest) -> int:
    """
    Return about what a message costs beside its text, a little too much.

    The figure is taken from the shortest message that is only text.
    """
    costs = [
        (len(message.content), tokens, message.content)
        for unit in request.droppable
        for message, tokens in zip(unit.messages, unit.message_tokens, strict=True)
        if isinstance(message.content, str) and not (message.tool_calls or message.extra)
    ]
    if not costs:
        return 16
    _, tokens, text = min(costs)
    return max(0, tokens - request.count(text)) + 2
