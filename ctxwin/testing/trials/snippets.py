"""The code that a finding prints: pasted, it fails in the same way."""

from collections import defaultdict
from collections.abc import Iterable

from ctxwin.testing.data.code import code_of, import_of
from ctxwin.testing.trials.subjects import Capabilities
from ctxwin.testing.trials.trials import Trial


def snippet_of(trial: Trial) -> str:
    """Return Python that tries the case of a trial again, with all checks of the kit."""
    claims = trial.subject.capabilities
    strategy, before, named = _strategies(trial)
    arguments = [
        strategy,
        "cases=[case]",
        *([f"before={before}"] if trial.subject.before else []),
        *(
            f"{claim}={value!r}"
            for claim, value in vars(claims).items()
            if value != getattr(Capabilities(), claim)
        ),
    ]
    lines = [
        *_imports([*named, trial.case.counter]),
        "",
        f"case = {trial.case.code()}",
        f"check_strategy({', '.join(arguments)})",
    ]
    return "\n".join(lines)


def _strategies(trial: Trial) -> tuple[str, str, list[object]]:
    """Return the strategy and those before it as code, and whose classes that names."""
    contract = trial.subject.contract
    if contract is not None:
        return f"{contract.__name__}().strategy()", f"{contract.__name__}.before", [contract]
    # A new one: what the trial has done to its own is no part of how it was made.
    plugin, before = trial.subject.strategy().plugin, trial.subject.before
    # What cannot be written as code is named like the argument that it was given as.
    strategy = code_of(plugin) or "strategy"
    earlier = [code_of(one) for one in before]
    chain = "before" if None in earlier else f"[{', '.join(map(str, earlier))}]"
    return strategy, chain, [plugin, *(one for one in before if not isinstance(one, str))]


def _imports(named: Iterable[object]) -> list[str]:
    names = defaultdict(set, {"ctxwin": {"Budget"}, "ctxwin.testing": {"Case", "check_strategy"}})
    for found in filter(None, map(import_of, named)):
        names[found[0]].add(found[1])
    return [
        f"from {module} import {', '.join(sorted(names[module]))}" if module else "import " + name
        for module in sorted(names)
        for name in (sorted(names[module]) if not module else [""])
    ]
