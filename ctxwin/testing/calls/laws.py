"""
What holds around the call, judged from what a script came to; no code of the manager is shared.

| law | says |
|---|---|
| R1 | a request costs at most what it says, and that is within its budget |
| R2 | shaping changes no text: roles, order, texts and calls are those of the fitted window |
| R3 | a request to another model leaves the window alone, and each model's window only grows |
| R4 | whatever raises in any hook but `admit`: request and reply are those without that plugin |
| R5 | every request ends in exactly one observation |
| R6 | the order of plugins that implement different hooks changes nothing |
| R7 | tags of concurrent conversations never mix |
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ctxwin import RefusedError, Request
from ctxwin.testing.calls.script import STATUS, Played
from ctxwin.testing.data.fakes import WordCounter

MARK = "cache_control"


def fits(played: Sequence[Played]) -> None:
    """R1; where words are counted, and bills are what was predicted."""
    counter = WordCounter()
    for one in played:
        request = one.request
        if request is not None and request.counter == counter.name:
            counted = counter.count_request(list(request.origin.messages), list(request.tools))
            _hold(counted <= request.tokens, f"R1: {request.tokens} tokens said, {counted} counted")
        if request is not None:
            most = request.budget.max_tokens
            _hold(request.tokens <= most, f"R1: {request.tokens} tokens, the budget is {most}")


def says_the_same(played: Sequence[Played]) -> None:
    """R2."""
    for one in played:
        if one.request is not None:
            said = [_read(wire) for wire in one.request.messages]
            fitted = [_read(wire) for wire in one.request.origin.messages]
            _hold(said == fitted, f"R2: {said} is sent, {fitted} was fitted")
            tools = _unmarked(list(one.request.tools))
            _hold(tools == _unmarked(list(one.request.origin.tools)), "R2: other tools are sent")


def grows(played: Sequence[Played]) -> None:
    """R3."""
    windows: dict[Any, Sequence[Any]] = {}
    own: Sequence[Any] | None = None
    for one in played:
        request = one.request
        if one.before is not None:
            _hold(one.after == one.before, "R3: a request changed the conversation's window")
        if own is not None and one.before is not None and not one.cuts:
            _hold(_begins_with(one.before, own), "R3: the window changed without a cut")
        own = one.before
        if request is None:
            continue
        key = request.model, request.budget
        sent, before = request.origin.messages, windows.get(key, ())
        _hold(one.cuts or _begins_with(sent, before), "R3: a model's window changed without a cut")
        windows[key] = sent


def ends_once(played: Sequence[Played]) -> None:
    """R5."""
    for one in played:
        statuses = [observation.status for observation in one.observations]
        expected: str = STATUS[one.turn.ending]
        if one.request is not None and one.request.answer is not None:
            expected = "cached"
        if isinstance(one.error, RefusedError):
            expected = "refused"
        wanted = [] if one.error is not None and expected != "refused" else [expected]
        _hold(statuses == wanted, f"R5: {one.turn.ending!r} was told as {statuses}, not {wanted}")
        for observation in one.observations:
            named: Any = one.request or getattr(one.error, "request", None)
            _hold(observation.request_id == named.id, "R5: another request was told of")


def tags_are_own(played: Sequence[Played], user: str) -> None:
    """R7."""
    for one in played:
        found = [observation.tags.get("user") for observation in one.observations]
        found += [one.request.tags.get("user")] if one.request is not None else []
        _hold(set(found) <= {user}, f"R7: a request of {user!r} is tagged {found}")


def same(played: Sequence[Played], others: Sequence[Played], law: str) -> None:
    """R4 and R6: two scripts came to the same, but for ids."""
    for one, other in zip(played, others, strict=True):
        _hold(_outcome(one) == _outcome(other), f"{law}: {_outcome(one)} and {_outcome(other)}")


def _outcome(one: Played) -> Any:
    """Return what a caller and an observer see of a turn, without ids."""
    told = [
        replace(seen, request=_nameless(seen.request), request_id=None, reply_id=None, error=None)
        for seen in one.observations
    ]
    return type(one.error), _nameless(one.request), told


def _nameless(request: Request | None) -> Request | None:
    return None if request is None else replace(request, id="")


def _begins_with(window: Sequence[Any], head: Sequence[Any]) -> bool:
    return list(window[: len(head)]) == list(head)


def _unmarked(value: Any) -> Any:
    """Return a JSON value without marks."""
    if isinstance(value, dict):
        return {key: _unmarked(item) for key, item in value.items() if key != MARK}
    return [_unmarked(item) for item in value] if isinstance(value, list) else value


def _read(wire: dict[str, Any]) -> Any:
    """Return what a message says: its text parts joined, whatever else is in it beside them."""
    plain = _unmarked(wire)
    content = plain.get("content")
    if not isinstance(content, list):
        return plain
    texts = [part["text"] for part in content if part.get("type") == "text"]
    rest = [part for part in content if part.get("type") != "text"]
    return {**plain, "content": [*rest, "".join(texts)] if rest else "".join(texts)}


def _hold(holds: object, otherwise: str) -> None:
    """Raise `AssertionError` unless something holds; `assert` would do nothing under `-O`."""
    if not holds:
        raise AssertionError(otherwise)
