"""
The text that a model reads for declared tools and for the format of its answer.

OpenAI's models do not see a tool's JSON schema. They see a TypeScript namespace made from it, in
the system message. The rendering here was fitted to recorded requests: for all flat schemas among
them, and for most nested ones, it gives the billed figure to the token. A format, however, is shown
as JSON, without the keys that only a validator needs.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

HEADING = "# Tools\n\n## functions\n\n"
# The keys that a format's schema loses on its way to the model. Measured: among the recorded
# requests these were missing, and no others.
VALIDATION_ONLY = frozenset(
    {"additionalProperties", "required", "default", "minimum", "maximum", "maxItems"}
)
# References can turn a small schema into a huge type. A type that is nested deeper, or has grown by
# more than this factor, is rendered as `any`.
DEEPEST = 64
MOST_GROWTH = 20
# Tokens that the rendered text lacks, fitted: the exact form that a model reads is not known.
PER_LIST_OF_OBJECTS = 2
PER_NULLABLE = 2
PER_GRAMMAR = 30  # a custom tool's grammar, beside its JSON; from the one recorded request

Schema = Mapping[str, Any]


def render_tools(tools: Iterable[Schema]) -> tuple[str, int]:
    """
    Return the namespace that a model reads, and the tokens to add to those of its text.

    Args:
        tools: schemas as they are sent: of chat completions (`{"type": "function", "function":
            {...}}`), of the Responses API (flat), or legacy functions.
    """
    renderers = [_Renderer(definition_of(tool)) for tool in tools]
    namespace = "".join(renderer.render() for renderer in renderers)
    text = f"{HEADING}namespace functions {{\n\n{namespace}}} // namespace functions"
    return text, sum(renderer.correction for renderer in renderers)


def definition_of(tool: Schema) -> Schema:
    """Return the part of a tool's schema that holds its name, description and parameters."""
    for key in ("function", "custom"):
        if isinstance(tool.get(key), Mapping):
            inner: Schema = tool[key]
            return inner
    return tool


def is_format(schema: Schema) -> bool:
    """Return whether a schema is a `response_format` (or Responses' `text.format`), not a tool."""
    return schema.get("type") == "json_schema"


def render_format(schema: Schema, *, ascii_only: bool) -> tuple[str, str]:
    """Return the text that a model reads for a JSON schema format, and the format's name."""
    given = _mapping(schema.get("json_schema", schema))
    name = str(given.get("name") or "")
    described = _comment(given.get("description"))
    body = json.dumps(_shown(given.get("schema")), ensure_ascii=ascii_only, separators=(",", ":"))
    return f"# Response Formats\n\n## {name}\n\n{described}{body}", name


def _shown(schema: Any, *, names: bool = False) -> Any:
    """
    Return the schema without the keys that only a validator needs.

    Args:
        schema: a schema, or a part of one.
        names: whether its keys are names of properties: these stay, even if one is `default`.
    """
    if isinstance(schema, Mapping):
        kept = (
            schema
            if names
            else {key: value for key, value in schema.items() if key not in VALIDATION_ONLY}
        )
        return {
            key: _shown(value, names=not names and key in ("properties", "$defs"))
            for key, value in kept.items()
        }
    if isinstance(schema, Sequence) and not isinstance(schema, str):
        return [_shown(item) for item in schema]
    return schema


def _comment(text: object) -> str:
    """Return the text as comment lines, without blank lines and indentation."""
    lines = text.splitlines() if isinstance(text, str) else []
    return "".join(f"// {line.strip()}\n" for line in lines if line.strip())


class _Renderer:
    """
    Renders one function.

    Attributes:
        correction: the tokens to add to those of the rendered text, or to subtract if negative: the
            exact form that a model reads is not known.
    """

    def __init__(self, function: Schema) -> None:
        self.function = function
        self.parameters = _mapping(function.get("parameters", function.get("input_schema")))
        self.definitions = {
            **_mapping(self.parameters.get("definitions")),
            **_mapping(self.parameters.get("$defs")),
        }
        self.correction = 0
        self._open: list[str] = []  # the references that are being followed: a guard against cycles
        self._depth = 0
        self._room = MOST_GROWTH * (_size(function) + 100)  # characters that may still be rendered

    def render(self) -> str:
        """Return the function's description and type; a server-side tool is shown as JSON."""
        if "name" not in self.function:
            return f"{json.dumps(self.function)}\n\n"
        described = _comment(self.function.get("description"))
        takes = f"(_: {self._named(self.parameters)})" if _properties(self.parameters) else "()"
        text = f"{described}type {self.function['name']} = {takes} => any;\n\n"
        if "format" not in self.function:
            return text
        self.correction += PER_GRAMMAR
        return text + json.dumps(self.function["format"])

    def _type(self, schema: Any) -> str:
        """Return the type of a schema, or `any` if it is too deep or there is no room left."""
        if not isinstance(schema, Mapping) or self._depth == DEEPEST or self._room < 0:
            return "any"
        self._depth += 1
        rendered = self._rendered(schema)
        self._depth -= 1
        self._room -= len(rendered)
        return rendered

    def _rendered(self, schema: Schema) -> str:
        if isinstance(schema.get("$ref"), str):
            return self._referred(schema["$ref"])
        if isinstance(schema.get("enum"), list):
            return " | ".join(map(_literal, schema["enum"]))
        if "const" in schema:
            return _literal(schema["const"])
        for union in ("anyOf", "oneOf", "allOf"):
            if isinstance(schema.get(union), list):
                return self._union([self._type(variant) for variant in schema[union]])
        return self._plain(schema, schema.get("type"))

    def _referred(self, reference: str) -> str:
        """Return the type that a reference names; `any` for a reference inside itself."""
        if reference in self._open:
            return "any"
        self._open.append(reference)
        found = _mapping(self.definitions.get(reference.rsplit("/", 1)[-1]))
        rendered = self._named(found) if _properties(found) else self._type(found)
        self._open.pop()
        return rendered

    def _named(self, schema: Schema) -> str:
        """Return the type of the parameters or of a referenced object, with its title."""
        return _comment(schema.get("title")) + self._object(schema)

    def _plain(self, schema: Schema, kind: object) -> str:
        """Return the type of a schema that is not a reference, a choice or a union."""
        if isinstance(kind, list):
            # Each variant repeats the description. A very long list would multiply it without
            # bound, so there it is left out.
            told = _comment(schema.get("description")) if len(kind) < DEEPEST else ""
            return self._union(
                [told + self._type({**schema, "type": one}) for one in kind if isinstance(one, str)]
            )
        if kind == "array":
            item = self._type(schema.get("items"))
            self.correction += PER_LIST_OF_OBJECTS * item.endswith("}")
            return f"{item}[]"
        if kind == "object":
            return self._object(schema) if _properties(schema) else "object"
        if kind in ("integer", "number"):
            return "number"
        if kind == "string" and isinstance(schema.get("format"), str):
            return _comment(f"format: {schema['format']}") + "string"
        return str(kind) if kind in ("string", "boolean", "null") else "any"

    def _union(self, types: Sequence[str]) -> str:
        self.correction += PER_NULLABLE * any(one.endswith("null") for one in types)
        return " | ".join(types)

    def _object(self, schema: Schema) -> str:
        """Return a braced type: one line per property, with its comments above it."""
        required = schema.get("required")
        names = required if isinstance(required, list) else ()
        lines: list[str] = []
        for name, given in _properties(schema).items():
            described = _mapping(given)
            told = _told(described)
            # Fitted: one token less if the first property is required and has no comment.
            self.correction -= not lines and not told and name in names
            ending = (
                f" // default: {_literal(described['default'])}" if "default" in described else ""
            )
            lines.append(
                f"{told}{name}{'' if name in names else '?'}: {self._type(described)},{ending}\n"
            )
        return f"{{\n{''.join(lines)}}}"


def _size(value: object) -> int:
    """Return about how many characters a JSON value has."""
    size, rest = 0, [value]  # no recursion: a value may be nested deeper than Python's stack
    while rest:
        one = rest.pop()
        if isinstance(one, Mapping):
            size += sum(len(str(key)) for key in one)
            rest += one.values()
        elif isinstance(one, list):
            rest += one
        else:
            size += len(str(one))
    return size


def _mapping(value: object) -> Schema:
    return value if isinstance(value, Mapping) else {}


def _properties(schema: Schema) -> Schema:
    return _mapping(schema.get("properties"))


def _told(schema: Schema) -> str:
    """Return the comments above a property: title and description, an empty one between them."""
    title, description = _comment(schema.get("title")), _comment(schema.get("description"))
    return f"{title}//\n{description}" if title and description else title + description


_literal: Callable[[object], str] = json.JSONEncoder(ensure_ascii=False).encode
