"""Objects as Python code, so that what the kit finds can be pasted and run."""

import ast
import inspect
import sys
from contextlib import suppress
from types import ModuleType


def code_of(value: object) -> str | None:
    """Return an expression that makes an equal object, or None if none is found."""
    if isinstance(value, ModuleType):
        return value.__name__.rpartition(".")[2]
    if type(value).__repr__ is not object.__repr__:
        return _checked(repr(value))
    with suppress(Exception):  # foreign code: its constructor may do anything
        return _call_of(value)
    return None


def import_of(value: object) -> tuple[str, str] | None:
    """Return from where to import what, for the class of an object or for a module; or None."""
    if isinstance(value, ModuleType):
        module, _, name = value.__name__.rpartition(".")
        return module, name
    kind = value if isinstance(value, type) else type(value)
    module, name = kind.__module__, kind.__name__
    found = getattr(sys.modules.get(module), name, None)
    if found is not kind or module in ("__main__", "builtins"):
        return None  # it is known only where the code is pasted
    return ("ctxwin.testing" if module.startswith("ctxwin.testing.") else module), name


def _checked(text: str) -> str | None:
    """Return a `repr` if it is code: no `<Strategy at 0x7f>`, no `Strategy(...)`."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError):
        return None
    elided = (isinstance(node, ast.Constant) and node.value is ... for node in ast.walk(tree))
    return None if any(elided) else text


def _call_of(value: object) -> str | None:
    """Return a call of the class, if what its attributes say makes an equal object."""
    held = getattr(value, "__dict__", {})
    arguments: dict[str, object] = {}
    for name, parameter in inspect.signature(type(value)).parameters.items():
        found = [held[key] for key in (name, f"_{name}") if key in held]
        if found and found[0] is not parameter.default and found[0] != parameter.default:
            arguments[name] = found[0]
    codes = {name: code_of(argument) for name, argument in arguments.items()}
    twin = type(value)(**arguments)
    if None in codes.values() or not _alike(vars(twin) if held else {}, held):
        return None
    return f"{type(value).__name__}({', '.join(f'{name}={code}' for name, code in codes.items())})"


def _alike(left: dict[str, object], right: dict[str, object]) -> bool:
    """Return whether the attributes of two objects are equal, or at least of one kind each."""
    return left.keys() == right.keys() and all(
        value == right[name]
        or (type(value) is type(right[name]) and type(value).__eq__ is object.__eq__)
        for name, value in left.items()
    )
