"""Tools as a model reads them, in TypeScript; formats in JSON, without the validators' keys."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxwin.counting import counter_for
from ctxwin.counting.openai import tools
from ctxwin.counting.openai.tools import render_format, render_tools


def _rendered(properties: dict[str, Any], **parameters: Any) -> str:
    """Return what is between the braces of the function's type."""
    schema = {"type": "object", "properties": properties, **parameters}
    text, _ = render_tools([{"name": "f", "parameters": schema}])
    return text.partition("type f = (_: ")[2].rpartition(") => any;")[0]


def test_a_namespace() -> None:
    """The description is above the tool, without indentation; no parameters give no argument."""
    tool = {"name": "now", "description": "Tell the time.\n\n    Returns:\n        ISO 8601"}
    custom = {
        "type": "custom",
        "custom": {"name": "sum", "description": "", "format": {"type": "text"}},
    }
    text, correction = render_tools(
        [{"type": "function", "function": tool}, custom, {"type": "web_search"}]
    )
    assert text == (
        "# Tools\n\n## functions\n\nnamespace functions {\n\n"
        "// Tell the time.\n// Returns:\n// ISO 8601\ntype now = () => any;\n\n"
        'type sum = () => any;\n\n{"type": "text"}'
        '{"type": "web_search"}\n\n'
        "} // namespace functions"
    )
    assert correction == tools.PER_GRAMMAR


@pytest.mark.parametrize(
    ("schema", "rendered"),
    [
        ({"type": "string"}, "string"),
        ({"type": "integer"}, "number"),
        ({"type": "number"}, "number"),
        ({"type": "boolean"}, "boolean"),
        ({"type": "null"}, "null"),
        ({"type": "object"}, "object"),
        ({"type": "array"}, "any[]"),
        ({"type": "array", "items": {"type": "integer"}}, "number[]"),
        ({"type": "string", "format": "date"}, "// format: date\nstring"),
        ({"enum": ["a", "ä", 1]}, '"a" | "ä" | 1'),
        ({"const": "post"}, '"post"'),
        (
            {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
            "string | string[]",
        ),
        ({"oneOf": [{"type": "string"}]}, "string"),
        ({"type": ["string", "number"]}, "string | number"),
        ({"$ref": "#/$defs/Colour"}, '"red" | "blue"'),
        ({"$ref": "#/definitions/Old"}, "string"),
        ({"$ref": "#/$defs/Missing"}, "any"),
        ({"$ref": "#/$defs/Self"}, "any[]"),
        ({}, "any"),
        ("not a schema", "any"),
    ],
)
def test_types(schema: Any, rendered: str) -> None:
    """Each kind of schema as TypeScript; a reference is followed, but not endlessly to itself."""
    definitions = {
        "Colour": {"enum": ["red", "blue"]},
        "Self": {"type": "array", "items": {"$ref": "#/$defs/Self"}},
    }
    old = {"Old": {"type": "string"}}
    assert (
        _rendered({"a": schema}, **{"$defs": definitions, "definitions": old})
        == f"{{\na?: {rendered},\n}}"
    )


def test_comments() -> None:
    """
    Title and description have a line between them.

    Each variant of a type repeats the description; a default follows the type.
    """
    assert _rendered(
        {"a": {"type": "string", "title": "A", "description": "First"}}, required=["a"]
    ) == ("{\n// A\n//\n// First\na: string,\n}")
    assert _rendered({"a": {"type": "string", "title": "A", "default": None}}) == (
        "{\n// A\na?: string, // default: null\n}"
    )
    assert _rendered({"a": {"type": ["string", "null"], "description": "Or not"}}) == (
        "{\n// Or not\na?: // Or not\nstring | // Or not\nnull,\n}"
    )
    inner = {"type": "object", "title": "Inner", "properties": {"b": {"type": "string"}}}
    assert (
        _rendered({"a": inner}, title="Outer") == "// Outer\n{\n// Inner\na?: {\nb?: string,\n},\n}"
    )
    assert _rendered({"a": {"$ref": "#/$defs/Inner"}}, **{"$defs": {"Inner": inner}}) == (
        "{\na?: // Inner\n{\nb?: string,\n},\n}"
    )


@pytest.mark.parametrize(
    ("properties", "correction"),
    [
        ({"a": {"type": "string"}}, -1),
        ({"a": {"type": "string", "description": "said"}}, 0),
        ({"b": {"type": "string"}}, 0),
        ({"b": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, 2),
        ({"b": {"type": "array", "items": {"type": "object", "properties": {"c": {}}}}}, 2),
    ],
)
def test_corrections(properties: dict[str, Any], correction: int) -> None:
    """What the fit gave for required first properties without text, null and lists of objects."""
    schema = {"type": "object", "properties": properties, "required": ["a"]}
    assert render_tools([{"name": "f", "parameters": schema}])[1] == correction


def _doubling(levels: int, last: dict[str, Any]) -> dict[str, Any]:
    """Return a schema in which each definition refers to the next one twice."""
    twice = {
        f"D{level}": {
            "type": "object",
            "properties": {side: {"$ref": f"#/$defs/D{level + 1}"} for side in ("left", "right")},
        }
        for level in range(levels)
    }
    definitions = {**twice, f"D{levels}": last}
    return {"type": "object", "properties": {"root": {"$ref": "#/$defs/D0"}}, "$defs": definitions}


@pytest.mark.parametrize(
    "schema",
    [
        _doubling(60, {"type": "string"}),
        _doubling(14, {"enum": ["some choice or other"] * 200}),
        {
            "type": "object",
            "properties": {"a": {"type": ["string"] * 2000, "description": "word " * 2000}},
        },
        {
            "type": "object",
            "properties": {
                "a": {"type": ["object"] * 1000, "properties": {f"p{i}": {} for i in range(1000)}}
            },
        },
    ],
    ids=["deep", "wide", "described", "listed"],
)
def test_schemas_that_explode_are_cut(schema: dict[str, Any]) -> None:
    """References and lists of types multiply a schema, but only to a multiple of what was sent."""
    text, _ = render_tools([{"name": "f", "parameters": schema}])
    assert len(text) < 3 * tools.MOST_GROWTH * len(json.dumps(schema))


def test_schemas_may_be_deep() -> None:
    """Neither deep nesting nor a long chain of references ends in a RecursionError."""
    nested: dict[str, Any] = {"type": "string"}
    for _ in range(500):
        nested = {"type": "array", "items": nested}
    assert "any[]" in _rendered({"a": nested})
    chain: dict[str, Any] = {
        f"D{level}": {"$ref": f"#/$defs/D{level + 1}"} for level in range(2000)
    }
    assert _rendered({"a": {"$ref": "#/$defs/D0"}}, **{"$defs": chain}) == "{\na?: any,\n}"


def test_formats() -> None:
    """A format loses the validator's keys, but not a property that has the name of one."""
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["required"],
        "properties": {
            "required": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.5, "title": "R"}
        },
        "items": [{"maxItems": 1}],
        "$defs": {"default": {"type": "string"}},
    }
    kept = {
        "type": "object",
        "properties": {"required": {"type": "number", "title": "R"}},
        "items": [{}],
        "$defs": {"default": {"type": "string"}},
    }
    given_format = {
        "type": "json_schema",
        "json_schema": {"name": "é", "description": "What\nfor", "schema": schema},
    }
    text, name = render_format(given_format, ascii_only=False)
    shown = json.dumps(kept, separators=(",", ":"))
    assert (text, name) == (f"# Response Formats\n\n## é\n\n// What\n// for\n{shown}", "é")
    assert render_format({"type": "json_schema"}, ascii_only=True) == (
        "# Response Formats\n\n## \n\nnull",
        "",
    )


_KEYS = [
    "type",
    "properties",
    "items",
    "anyOf",
    "enum",
    "const",
    "$ref",
    "required",
    "title",
    "description",
    "name",
    "function",
    "custom",
    "parameters",
    "$defs",
    "format",
    "default",
    "json_schema",
    "schema",
]
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["name", "parameters", "function", "type"]), _json),
        max_size=3,
    )
)
def test_any_schema_has_a_count(schemas: list[dict[str, Any]]) -> None:
    """Whatever its schema holds, a tool costs something and breaks nothing."""
    counter = counter_for("gpt-4o")
    tokens = counter.count_request((), schemas)
    assert tokens >= counter.count_request(())
    assert counter.count_request((), schemas) == tokens
