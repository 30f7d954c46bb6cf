"""What an API server keeps of a document: fields that the schema does not declare are dropped without a word.

Source: apiextensions.k8s.io/v1, "Field pruning". Below a node that preserves unknown fields, declared fields are
still pruned by their own schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.kubernetes.manifests import Schema, schema_of

_OF_EVERY_OBJECT = ("apiVersion", "kind", "metadata")


def pruned(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as it would be stored at its own version."""
    whole = {key: document[key] for key in _OF_EVERY_OBJECT if key in document}
    rest = {key: value for key, value in document.items() if key not in _OF_EVERY_OBJECT}
    return {**whole, **_pruned(rest, schema_of(document))}


def _pruned(value: Any, schema: Schema) -> Any:
    if isinstance(value, list):
        items = schema.get("items")
        return value if items is None else [_pruned(each, items) for each in value]
    if not isinstance(value, dict):
        return value
    declared = schema.get("properties", {})
    keeps = schema.get("x-kubernetes-preserve-unknown-fields", False)
    return {
        key: _pruned(each, declared[key]) if key in declared else each
        for key, each in value.items()
        if keeps or key in declared
    }
