"""A JSON value with something odd in one place, for each place; and what an error says of it."""

from collections.abc import Iterator
from typing import Any

from ctxwin.values.errors import LONGEST_QUOTE

SECRET = " ".join(f"{number:05x}" for number in range(20_000))  # no part of it comes twice


def replaced(value: Any, other: Any) -> Iterator[Any]:
    """Yield copies of a value, each with `other` in one place, its own place first; and keys."""
    yield other
    if isinstance(value, dict):
        for key, item in value.items():
            for copy in replaced(item, other):
                yield {**value, key: copy}
            yield {name: item for name, item in value.items() if name != key}
        if isinstance(other, str):
            yield {**value, other: 1}
    elif isinstance(value, list):
        for place, item in enumerate(value):
            for copy in replaced(item, other):
                yield [*value[:place], copy, *value[place + 1 :]]


def quotes_too_much(text: str) -> bool:
    """Whether more than eighty characters of the secret stand in a row in a text."""
    longer = LONGEST_QUOTE + 1
    return any(text[start : start + longer] in SECRET for start in range(len(text) - longer + 1))
