"""TrafficSplit: quantities as weights in v1alpha1, whole numbers since v1alpha2, `matches` since v1alpha3."""

from __future__ import annotations

from typing import Any

from smi.conversion.draft import Draft, own
from smi.quantities import MAX_WEIGHT, weights_of

VERSIONS = ("v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4")
_WITHOUT_MATCHES = VERSIONS[:2]


def to_newest(draft: Draft, version: str) -> None:
    """From `version` to v1alpha4, with valid quantities among what is kept."""
    spec = own(draft.root, "spec")
    quantities = draft.kept.pop("weights", None)
    if spec is not None:
        if version == "v1alpha1":
            _to_whole_numbers(draft, spec)
        elif _stand_for(quantities, _weights(spec)):
            draft.kept["weights"] = quantities
    if version not in _WITHOUT_MATCHES:
        draft.kept.pop("matches", None)
    elif spec is not None and "matches" in draft.kept:
        matches = draft.kept.pop("matches")
        if not spec.get("matches"):
            spec["matches"] = matches


def from_newest(draft: Draft, version: str) -> None:
    """From v1alpha4 to `version`."""
    spec = own(draft.root, "spec")
    if spec is None:
        return
    if version == "v1alpha1":
        _to_quantities(draft, spec)
    if version in _WITHOUT_MATCHES and "matches" in spec and draft.keep("matches", spec["matches"]):
        del spec["matches"]


def _to_whole_numbers(draft: Draft, spec: dict[str, Any]) -> None:
    quantities = _weights(spec)
    weights = weights_of(quantities)
    if weights is None:
        return
    if quantities == _canonical(weights) or draft.keep("weights", quantities):
        _set_weights(spec, weights)


def _to_quantities(draft: Draft, spec: dict[str, Any]) -> None:
    quantities = draft.kept.pop("weights", None)
    weights = _weights(spec)
    if all(_is_weight(weight) for weight in weights):
        _set_weights(spec, quantities if quantities is not None else _canonical(weights))


def _weights(spec: dict[str, Any]) -> list[Any]:
    """The weights of the backends, of whatever type; None stands for one that is missing."""
    backends = spec.get("backends")
    if not isinstance(backends, list):
        return []
    return [backend.get("weight") if isinstance(backend, dict) else None for backend in backends]


def _set_weights(spec: dict[str, Any], weights: list[Any]) -> None:
    if weights:
        pairs = zip(spec["backends"], weights, strict=True)
        spec["backends"] = [{**backend, "weight": weight} for backend, weight in pairs]


def _canonical(weights: list[int]) -> list[str]:
    return [str(weight) for weight in weights]


def _stand_for(quantities: list[Any] | None, weights: list[Any]) -> bool:
    """Whether kept quantities are still what the weights are made from, and no mere repetition of them."""
    if not quantities or not all(_is_weight(weight) for weight in weights):
        return False
    return weights_of(quantities) == weights and quantities != _canonical(weights)


def _is_weight(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_WEIGHT
