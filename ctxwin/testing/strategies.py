"""
Hypothesis strategies for chat histories as real logs hold them, nasty ones included.

Messages are plain dicts, as a caller appends them. Everything shrinks towards few, short, plain
messages. All options are keyword-only. Without any, every nasty case is reached: parallel,
interleaved, late, pending and dead calls, repeated ids, results without a call, tool-only runs,
giant messages, empty, missing and list content, several system messages, pins anywhere, CJK, emoji
sequences, lone surrogates, JSON, reasoning blocks, odd counters.
"""

from collections.abc import Sequence
from itertools import product
from math import ceil

from hypothesis import strategies as st

from ctxwin.counting import TokenCounter
from ctxwin.testing.data import drawing
from ctxwin.testing.data.cases import Case
from ctxwin.testing.data.fakes import OddCounter, WordCounter
from ctxwin.testing.judge.grouping import costs_left, current_positions
from ctxwin.values.budget import Budget
from ctxwin.values.message import Message
from ctxwin.values.wire import SYSTEM_ROLES, Wire, copy_json


def texts(*, max_size: int = 12) -> st.SearchStrategy[str]:
    """
    Generate texts: known troublemakers, JSON documents, and random ones.

    Args:
        max_size: the most characters of a random text; known troublemakers have up to some
            thousand.
    """
    return drawing.texts(st.text(max_size=max_size))


def messages(
    *,
    roles: Sequence[str] = drawing.ROLES,
    texts: st.SearchStrategy[str] | None = None,
    plain: bool = False,
) -> st.SearchStrategy[Wire]:
    """
    Generate messages that neither call a tool nor answer a call.

    Args:
        roles: the roles to choose from.
        texts: generates their texts.
        plain: whether content is always text, and `role` and `content` are the only keys.
    """
    kinds = drawing.Table(product(drawing.PLAIN if plain else drawing.FORMS, roles))
    return drawing.messages(kinds, _given(texts))


def tool_exchanges(
    *, texts: st.SearchStrategy[str] | None = None, max_calls: int = 3, valid: bool = False
) -> st.SearchStrategy[list[Wire]]:
    """
    Generate messages with calls, each with all its results.

    Calls may be parallel or legacy, ids may repeat or be missing, results may come in any order.

    Args:
        texts: generates the texts of the results.
        max_calls: the most parallel calls.
        valid: whether to generate only what every provider accepts: each call has an id of its own,
            and results come in the order of the calls.
    """
    text = _given(texts)
    if valid:
        return drawing.exchanges(drawing.distinct_ids(max_calls), ("in place",), text)
    ids = drawing.Table(found for found in drawing.IDS if len(found) <= max_calls)
    return drawing.exchanges(ids, ("in place", "in place", "lists", "reversed"), text)


def histories(
    *,
    texts: st.SearchStrategy[str] | None = None,
    roles: Sequence[str] = drawing.ROLES,
    min_size: int = 0,
    max_size: int = 12,
    tools: bool = True,
    valid: bool = False,
) -> st.SearchStrategy[list[Wire]]:
    """
    Generate whole logs: messages and tool exchanges.

    Results may come late, interleaved, twice, without a call, or never.

    Args:
        texts: generates their texts.
        roles: the roles of messages that neither call nor answer.
        min_size: the fewest messages and exchanges.
        max_size: the most messages and exchanges; an exchange has up to four messages.
        tools: whether there are calls and results at all.
        valid: whether to generate only what every provider accepts: a system message only at the
            start, exchanges complete and in place, no id twice, at least one user message, and text
            content that is not empty.
    """
    text = _given(texts)
    if valid:
        return drawing.valid_histories(text.filter(str.strip), min_size, max_size, tools=tools)
    calls = drawing.Table(product(drawing.FATES, drawing.IDS)) if tools else ()
    items = drawing.items(drawing.talk(roles), calls, text)
    return st.lists(items, min_size=min_size, max_size=max_size).map(drawing.laid_out)


def budgets(
    *, min_tokens: int = 1, max_tokens: int = 400, lows: Sequence[float] = (1.0, 0.7, 0.3)
) -> st.SearchStrategy[Budget]:
    """
    Generate budgets, some so small that next to nothing fits.

    Args:
        min_tokens: the smallest input budget.
        max_tokens: the largest input budget.
        lows: the low marks to choose from; 1.0 prunes to just fit.
    """
    tokens = st.one_of(
        st.integers(min_tokens, max_tokens),
        st.integers(min_tokens, min(max_tokens, min_tokens + 12)),
    )
    low = st.sampled_from(lows)
    reserved = st.builds(
        Budget, tokens.map(lambda value: value + 7), reserve_output=st.just(7), low=low
    )
    return st.one_of(st.builds(Budget, tokens, low=low), reserved)


def counters(*, odd: bool = True) -> st.SearchStrategy[TokenCounter]:
    """
    Generate counters that need no vocabulary.

    Args:
        odd: whether to include some that are zero for some texts, constant, superlinear or not
            additive.
    """
    usual: list[TokenCounter] = [WordCounter(), WordCounter(exact=True), OddCounter("characters")]
    strange = [OddCounter(kind) for kind in OddCounter.KINDS[1:]]
    return st.sampled_from([*usual, *strange] if odd else usual)


def cases(
    *,
    histories: st.SearchStrategy[list[Wire]] | None = None,
    counters: st.SearchStrategy[TokenCounter] | None = None,
    lows: Sequence[float] = (1.0, 0.7, 0.3),
) -> st.SearchStrategy[Case]:
    """
    Generate everything that decides the windows of a conversation.

    A case is a history with pins anywhere, a counter, and a budget chosen for both. Off-by-one
    errors live at the edge, so dropping the oldest units just reaches the target of a cut, or
    misses it by a few tokens. Neither the question nor the newest unit is pinned or protected when
    `messages()` is called, so it is clear which law a plan breaks that drops one of them.

    Args:
        histories: generates the histories.
        counters: generates the counters.
        lows: the low marks of the budgets; 1.0 prunes to just fit.
    """
    logs = _HISTORIES if histories is None else histories
    return _cases(logs, _COUNTERS if counters is None else counters, lows)


@st.composite
def _cases(
    draw: st.DrawFn,
    histories: st.SearchStrategy[list[Wire]],
    counters: st.SearchStrategy[TokenCounter],
    lows: Sequence[float],
) -> Case:
    history = draw(histories)
    counter = draw(counters)
    ask_every = draw(st.sampled_from([0, 0, 1, 3] if len(history) <= 12 else [0, 0, 5, 9]))
    free = set(range(len(history))) - current_positions(history, ask_every)
    places = st.integers(0, max(0, len(history) - 1))
    pinned, protected = (draw(st.frozensets(places, max_size=size)) & free for size in (2, 4))
    if draw(st.integers(0, 11)) == 11:
        pinned = frozenset(free)
    low, by_hand = draw(st.sampled_from(lows)), draw(st.integers(0, 3)) == 3
    left, floor = (
        costs_left(counter, history, pinned | protected),
        costs_left(counter, history, pinned)[-1],
    )
    target = left[draw(st.integers(0, 19)) % len(left)] + draw(st.sampled_from(_ASIDE))
    if not by_hand and _tokens(target, floor, low) >= left[0]:
        low, target = max(lows), min(target, left[0] - 1)  # otherwise nothing would be cut
    return Case(
        history=tuple(history),
        budget=Budget(max(1, _tokens(target, floor, low)), low=low),
        counter=counter,
        pinned=pinned,
        protected=frozenset(place + 1 for place in protected),
        ask_every=ask_every,
        allow_question_edit=draw(st.integers(0, 3)) == 3,
        prune_first=by_hand,
        folded=draw(st.integers(0, 3)) == 3,
    )


def _tokens(target: int, floor: int, low: float) -> int:
    """Return the budget whose low mark is at a target."""
    # The low mark is a share of the room above the floor; at or below the floor there is none.
    return target if target <= floor else floor + ceil((target - floor) / low)


def talk() -> st.SearchStrategy[list[Wire]]:
    """Generate what is said next: a message, an exchange, or some ordinary turns."""
    return st.one_of(histories(max_size=1), histories(max_size=2, texts=_BRIEF), _TURNS)


def library_messages() -> st.SearchStrategy[Message]:
    """Generate `Message` objects of a log, pinned or not, for `st.from_type(Message)`."""
    wires = st.one_of(messages(), tool_exchanges().flatmap(st.sampled_from))
    return st.builds(
        lambda number, wire, pinned: Message(number, wire, pinned or wire["role"] in SYSTEM_ROLES),
        st.integers(1, 10**6),
        wires,
        st.booleans(),
    )


def _given(texts_: st.SearchStrategy[str] | None) -> st.SearchStrategy[str]:
    return texts() if texts_ is None else texts_


def _run(question: Wire, steps: list[Wire]) -> list[Wire]:
    return [question, *steps]


def _repeated(history: list[Wire], times: int) -> list[Wire]:
    return [copy_json(wire) for _ in range(times) for wire in history]


_SHORT, _LONG = histories(min_size=2, max_size=4), histories(min_size=10, max_size=20)
# A question, and an agent that works on it.
_RUN = st.builds(_run, messages(roles=["user"]), histories(roles=["assistant"], min_size=1))
# The same messages again, as when a client appends a history that it was given, or a long repeated
# conversation.
_AGAIN = st.builds(_repeated, histories(min_size=2, max_size=8), st.sampled_from([1, 2, 2, 4]))
_HISTORIES = st.one_of(_SHORT, histories(min_size=4, max_size=9), _LONG, _RUN, _AGAIN)
_COUNTERS = counters()
_ASIDE = (-1, 0, -1, 1, -1, -2, -1, 0, 2, -9, 9, -9999)  # tokens; the last one leaves a budget of 1

# Ordinary turns, and budgets that hold a given number of them. They are reached and cut again and
# again, which random texts and budgets seldom are.
WORDS = "a few words more"
ROOM = st.sampled_from([12, 25, 40, 6, 3, None])
_BRIEF = st.sampled_from(
    ["", "ok", WORDS, "您好，我的订单在哪里？", "👨‍👩‍👧 y\u0301", '{"n": [1]}', "word " * 12]  # noqa: RUF001 - Chinese
)
_TURNS = st.sampled_from([2, 5, 9]).map(
    lambda size: [{"role": role, "content": WORDS} for role in drawing.ROLES[:2] * size]
)
