"""Validates documents by the schema of a CRD, as an API server does, except for rules in CEL.

The `jsonschema` package does the work; this adds what OpenAPI and Kubernetes mean by `nullable`, by lists with keys,
and by a null where none is allowed, and takes patterns as RE2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import re2
from jsonschema import Draft202012Validator, FormatChecker, ValidationError, validators

from tests.kubernetes.manifests import schema_of

_own = Draft202012Validator.VALIDATORS


def _type(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if not (value is None and schema.get("nullable")):
        yield from _own["type"](validator, wanted, value, schema)


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not re2.search(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _list_map_keys(validator: Any, keys: list[str], value: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, list):
        found = [tuple(item.get(key) for key in keys) for item in value if isinstance(item, dict)]
        yield from (ValidationError(f"{key} is given twice") for key in {key for key in found if found.count(key) > 1})


_Validator = validators.extend(
    Draft202012Validator, {"type": _type, "pattern": _pattern, "x-kubernetes-list-map-keys": _list_map_keys}
)


def errors(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the schema of the document's version refuses: the path, such as `spec.backends[0].weight`, and why."""
    validator = _Validator(schema_of(document), format_checker=FormatChecker())
    return [(error.json_path.removeprefix("$").removeprefix("."), error.message)
            for error in validator.iter_errors(document)]  # fmt: skip
