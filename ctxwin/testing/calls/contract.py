"""
The contract of a plugin around the call: scripts on which it breaks no law, and never fails.

It stands beside plugins that raise, return junk and run away, before and behind them; it is asked
from threads and tasks; and every way in which a call can end is told to it. `check_plugin` needs no
pytest; `CallContract` does the same as a class of tests, one per law.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from hypothesis import given

from ctxwin.testing.calls import laws
from ctxwin.testing.calls.companions import Junk, Observes, Raises, Routes
from ctxwin.testing.calls.script import Played, Script, Turn, scripts

Make = Callable[[], object]

# Every ending, and what callers may ask for, in one script: that is tried first.
EVERY_ENDING = Script(
    [
        Turn("what is new"),
        Turn("what is new", "no-usage", {"model": "gpt-4o"}),
        Turn("prove it", "error", {"feature": "chat"}),
        Turn("what is new", "timeout", {"params": {"seed": 1}}),
        Turn("what is new", "stream", {"fresh": True}),
        Turn("why", "left", {"max_output_tokens": 5}),
        Turn("what is new", "dropped", {"model": "gpt-4o"}),
        Turn("what is new", "broken"),
        Turn("what is new", "twice"),
    ]
)

COMPANIONS = (Raises.name, Junk.name)


def check_plugin(make: Make) -> None:
    """
    Test a plugin against its contract, without pytest.

    Args:
        make: returns a new plugin; called for each conversation, or for several that share it.

    Raises:
        AssertionError: it breaks a law, or one of its hooks failed; the text says which.
    """
    for check in CHECKS:
        check(make)


def fits(make: Make) -> None:
    """R1: what it makes of a request is within the budget."""
    _prove(make, laws.fits)


def says_the_same(make: Make) -> None:
    """R2: it changes no text, only marks, parameters and the cap."""
    _prove(make, laws.says_the_same)


def grows(make: Make) -> None:
    """R3: routing leaves the conversation's window alone."""
    _prove(make, laws.grows)


def fails_nowhere(make: Make) -> None:
    """R4: none of its hooks fails, and beside plugins that do it does what it does without them."""

    @given(scripts())
    def prove(script: Script) -> None:
        alone = _played(script, [make()])
        for others in ([Raises(), make(), Junk()], [Junk(), make(), Raises()]):
            laws.same(alone, _played(script, others), "R4")

    _first(prove)


def ends_once(make: Make) -> None:
    """R5: it leaves every ending to the caller."""
    _prove(make, laws.ends_once)


def stands_anywhere(make: Make) -> None:
    """R6: before or behind plugins with other hooks, it does the same."""

    @given(scripts())
    def prove(script: Script) -> None:
        others = [other for other in (Routes(), Observes()) if not _share_a_hook(make(), other)]
        played = [
            _played(script, [[make(), *others][place] for place in order])
            for order in itertools.permutations(range(len(others) + 1))
        ]
        for one in played[1:]:
            laws.same(played[0], one, "R6")

    _first(prove)


def mixes_nothing(make: Make) -> None:
    """R7: conversations that share it, in threads and tasks, keep their own tags."""
    users = ("ann", "bob", "eve")

    @given(scripts())
    def prove(script: Script) -> None:
        shared, each = [make()], [Script(script.turns, user) for user in users]
        with _watched(), ThreadPoolExecutor(len(each)) as pool:
            played = list(pool.map(lambda one: one.play(shared), each))
        for user, one in zip(users, played, strict=True):
            laws.tags_are_own(one, user)

    _first(prove)
    each = [Script(EVERY_ENDING.turns, user) for user in users]
    for user, one in zip(users, asyncio.run(_together(each, [make()])), strict=True):
        laws.tags_are_own(one, user)


CHECKS = (fits, says_the_same, grows, fails_nowhere, ends_once, stands_anywhere, mixes_nothing)


class CallContract:
    """
    The contract of a plugin as tests, one per law; subclass it and define `plugin()`.

        class TestMyPlugin(CallContract):
            def plugin(self):
                return MyPlugin()
    """

    def plugin(self) -> object:
        """Return a new plugin to test; called for each conversation, or for several at once."""
        raise NotImplementedError(
            f"{type(self).__name__} must define plugin(), which returns the plugin to test"
        )

    def test_r1_fits(self) -> None:
        """R1: a request costs at most what it says, and that is within its budget."""
        fits(self.plugin)

    def test_r2_says_the_same(self) -> None:
        """R2: shaping changes no text. Return the request with marks, `params` or a lower cap."""
        says_the_same(self.plugin)

    def test_r3_grows(self) -> None:
        """R3: a request to another model leaves the window alone."""
        grows(self.plugin)

    def test_r4_fails_nowhere(self) -> None:
        """R4: none of its hooks fails, also beside plugins that do."""
        fails_nowhere(self.plugin)

    def test_r5_ends_once(self) -> None:
        """R5: every request ends in one observation."""
        ends_once(self.plugin)

    def test_r6_stands_anywhere(self) -> None:
        """R6: the order of plugins with other hooks changes nothing."""
        stands_anywhere(self.plugin)

    def test_r7_mixes_nothing(self) -> None:
        """R7: conversations that share it keep their own tags."""
        mixes_nothing(self.plugin)


def _prove(make: Make, law: Callable[[Sequence[Played]], None]) -> None:
    """Play scripts with the plugin, and judge them by a law; the first one awaited, too."""

    @given(scripts())
    def prove(script: Script) -> None:
        law(_played(script, [make()]))

    _first(prove)
    with _watched():
        law(asyncio.run(EVERY_ENDING.aplay([make()])))


def _first(prove: Any) -> None:
    """Run a property, the script with every ending first."""
    prove.hypothesis.inner_test(EVERY_ENDING)
    prove()


def _played(script: Script, plugins: Sequence[object]) -> list[Played]:
    with _watched():
        return script.play(plugins)


async def _together(each: Sequence[Script], plugins: Sequence[object]) -> list[list[Played]]:
    with _watched():
        return await asyncio.gather(*[one.aplay(plugins) for one in each])


def _share_a_hook(one: object, other: object) -> bool:
    return any(hasattr(one, name) for name in dir(other) if name.startswith("ctxwin_"))


class _Handler(logging.Handler):
    """Keeps what is logged."""

    records: list[logging.LogRecord]

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def _watched() -> Iterator[None]:
    """Raise `AssertionError` if a hook of any plugin but a companion failed."""
    records: list[logging.LogRecord] = []
    handler = _Handler(logging.WARNING)
    handler.records = records
    logger = logging.getLogger("ctxwin")
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
    for record in records:
        text = record.getMessage()
        if "plugin" in text and not any(f"'{name}'" in text for name in COMPANIONS):
            cause = record.exc_info[1] if record.exc_info else None
            raise AssertionError(f"R4: {text}: {cause!r}") from cause
