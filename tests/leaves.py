"""A JSON value with something else in one of its places, for each place."""

from collections.abc import Iterator
from typing import Any


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
