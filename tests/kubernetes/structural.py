"""Whether a schema is structural: what API servers demand of apiextensions.k8s.io/v1, and one rule of our own.

Source: the page "Extend the Kubernetes API with CustomResourceDefinitions", section "Specifying a structural schema",
and the verdicts of a real server. Our own rule: whatever `kubectl explain` shows has a description.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import re2

from tests.kubernetes.manifests import Schema

_INT_OR_STRING = "x-kubernetes-int-or-string"
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_TYPES = {"object", "array", "string", "integer", "number", "boolean"}
_JUNCTORS = ("allOf", "anyOf", "oneOf", "not")
_ONLY_OUTSIDE_JUNCTORS = {"description", "default", "additionalProperties", "nullable", "title"}
_VALUE = {
    "enum", "exclusiveMaximum", "exclusiveMinimum", "format", "maxItems", "maxLength", "maxProperties", "maximum",
    "minItems", "minLength", "minProperties", "minimum", "multipleOf", "pattern", "required", "uniqueItems",
    "properties", "items", "type", *_JUNCTORS,
}  # fmt: skip
_EXTENSIONS = {
    _INT_OR_STRING, _PRESERVE, "x-kubernetes-list-map-keys", "x-kubernetes-list-type", "x-kubernetes-map-type",
    "x-kubernetes-validations",
}  # fmt: skip
_KNOWN = _VALUE | _ONLY_OUTSIDE_JUNCTORS | _EXTENSIONS
_UNEXPLAINED = {("apiVersion",), ("kind",), ("metadata",)}

Path = tuple[str, ...]


def violations(schema: Schema) -> list[str]:
    """What is wrong with the schema of a version; empty when a server accepts it."""
    found = list(_node(schema, ()))
    if schema.get("type") != "object":
        found.append("root: type must be object")
    return found


def _node(schema: Schema, path: Path) -> Iterator[str]:
    where = ".".join(path) or "root"
    yield from (f"{where}: {key} is not allowed" for key in schema.keys() - _KNOWN)
    yield from (f"{where}: {problem}" for problem in (*_type(schema), *_values(schema), *_list(schema)))
    if path not in _UNEXPLAINED and path[-1:] != ("items",) and not schema.get("description"):
        yield f"{where}: has no description"
    if path == ("metadata",) and schema.get("properties", {}).keys() - {"name", "generateName"}:
        yield f"{where}: only name and generateName can be restricted"
    for junctor in _JUNCTORS:
        inner = schema.get(junctor, [])
        for part in inner if isinstance(inner, list) else [inner]:
            yield from _inside_junctor(part, schema, f"{where}.{junctor}")
    for name, child in schema.get("properties", {}).items():
        yield from _node(child, (*path, name))
    if "items" in schema:
        yield from _node(schema["items"], (*path, "items"))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _node(schema["additionalProperties"], (*path, "*"))


def _type(schema: Schema) -> Iterator[str]:
    if schema.get(_INT_OR_STRING):
        if "type" in schema:
            yield "int-or-string has no type"
    elif "type" not in schema:
        if not schema.get(_PRESERVE):
            yield "has no type"
    elif schema["type"] not in _TYPES:
        yield f"type {schema['type']!r} does not exist"
    if _PRESERVE in schema and schema[_PRESERVE] is not True:
        yield f"{_PRESERVE} can only be true"
    if "properties" in schema and "additionalProperties" in schema:
        yield "properties and additionalProperties exclude each other"
    if schema.get("additionalProperties") is False:
        yield "additionalProperties cannot be false"
    if schema.get("type") == "array" and "items" not in schema:
        yield "an array has items"


def _values(schema: Schema) -> Iterator[str]:
    if schema.get("uniqueItems"):
        yield "uniqueItems cannot be true"
    if "pattern" in schema:
        try:
            re2.compile(schema["pattern"])
        except re2.error:
            yield "pattern is no RE2 expression"
    for name in schema.get("required", ()):
        if name not in schema.get("properties", {}):
            yield f"{name} is required and not declared"
    for rule in schema.get("x-kubernetes-validations", ()):
        if not rule.get("rule") or not rule.get("message"):
            yield "a rule needs a message for people"
        if "type" not in schema and not schema.get(_INT_OR_STRING):
            yield "a rule needs a typed value"


def _list(schema: Schema) -> Iterator[str]:
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys", [])
    if (kind is not None or keys) and schema.get("type") != "array":
        yield "only arrays have a list type"
    if (kind == "map") != bool(keys):
        yield "a list of type map has keys, and no other has"
    items: dict[str, Any] = schema.get("items", {})
    for key in keys:
        field = items.get("properties", {}).get(key, {})
        if field.get("type") not in {"string", "integer", "number", "boolean"}:
            yield f"the list key {key} is no scalar"
        if key not in items.get("required", ()) and "default" not in field:
            yield f"the list key {key} is not required"


def _inside_junctor(part: Schema, outside: Schema, where: str) -> Iterator[str]:
    forbidden = _ONLY_OUTSIDE_JUNCTORS | _EXTENSIONS
    yield from (f"{where}: {key} is not allowed here" for key in part.keys() & forbidden)
    if "type" in part and not (outside.get(_INT_OR_STRING) and part.keys() == {"type"}):
        yield f"{where}: type is not allowed here"
    for name, child in part.get("properties", {}).items():
        if name not in outside.get("properties", {}):
            yield f"{where}: {name} is not declared outside"
        else:
            yield from _inside_junctor(child, outside["properties"][name], f"{where}.{name}")
