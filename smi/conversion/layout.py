"""Fields at the root of an object, as in the oldest versions, to fields of its `spec` and back.

Fields of `spec` that the older layout has no place for are kept as `rest: {spec: ...}`, and fields of the root that
would mean something in the other layout as `rest: {root: ...}`, so that neither is lost, nor begins to mean anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smi.conversion.draft import Draft, as_mapping


def to_spec(draft: Draft, names: Mapping[str, str]) -> None:
    """Move the fields of the root that `names` has to `spec`, under the names that it has for them."""
    root = draft.root
    rest = draft.kept.pop("rest", {})
    strays = {key: value for key, value in as_mapping(rest.get("root")).items() if key in names}
    moved = {names[key]: value for key, value in root.items() if key in names}
    foreign = root.get("spec")
    if foreign is not None and not isinstance(foreign, dict) and not moved:
        root.update(strays)
        return
    known = frozenset(names.values())
    spec = moved | _without(as_mapping(rest.get("spec")), known)
    if foreign is not None and not draft.keep("rest", {"root": {"spec": foreign}}):
        spec |= _without(as_mapping(foreign), known)
    _replace(draft, {"spec": spec}, leaving=names)
    draft.root.update(strays)


def to_root(draft: Draft, names: Mapping[str, str]) -> None:
    """Undo `to_spec`, given the same names."""
    root = draft.root
    rest = draft.kept.pop("rest", {})
    spec = root.get("spec")
    strays = {key: value for key, value in root.items() if key in names}
    places = {inner: outer for outer, inner in names.items()}
    fields = as_mapping(spec)
    moved = {places[key]: value for key, value in fields.items() if key in places}
    unplaced = _without(fields, places)
    if spec is not None and not isinstance(spec, dict):
        moved["spec"] = spec
    elif "spec" in as_mapping(rest.get("root")):
        moved["spec"] = rest["root"]["spec"]
    leftover = {key: value for key, value in (("spec", unplaced), ("root", strays)) if value}
    if leftover and not draft.keep("rest", leftover) and "spec" not in moved:
        moved["spec"] = strays | unplaced
    _replace(draft, moved, leaving=names)


def _without(fields: Mapping[str, Any], names: Mapping[str, str] | frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in names}


def _replace(draft: Draft, fields: dict[str, Any], *, leaving: Mapping[str, str]) -> None:
    """Put `fields` where `spec` or the first of the fields in `leaving` is, or else at the end; take these away."""
    root: dict[str, Any] = {}
    for key, value in draft.root.items():
        if key == "spec" or key in leaving:
            root |= fields
        else:
            root[key] = value
    draft.root = root | fields
