"""Decodes TrafficSplit (split.smi-spec.io), with the same meaning in every version.

A split with any error is not in force as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smi import codes
from smi.decode_kept import PLACE, kept_in
from smi.fields import Fields
from smi.names import is_label
from smi.objects import Backend, MatchRef, Meta, TrafficSplit
from smi.quantities import MAX_WEIGHT, parse, weights_of
from smi.tree import Value


@dataclass(frozen=True, slots=True)
class SplitShape:
    """What a version has. `quantities`: weights are Kubernetes quantities, not whole numbers."""

    matches: bool = True
    quantities: bool = False


TRAFFIC_SPLITS: Mapping[str, SplitShape] = {
    "v1alpha4": SplitShape(),
    "v1alpha3": SplitShape(),
    "v1alpha2": SplitShape(matches=False),
    "v1alpha1": SplitShape(matches=False, quantities=True),
}


def decode_traffic_split(root: Fields, meta: Meta, shape: SplitShape) -> TrafficSplit | None:
    """The split in `root`; None when a part of it is wrong, since the rest would be another split."""
    before = root.report.left_out
    kept = {} if shape.matches else kept_in(root)
    spec = root.child("spec", required=True)
    if spec is None:
        return None
    service = _service(spec, meta.namespace)
    backends = _backends(spec, meta.namespace, shape)
    matches = tuple(_match(entry) for entry in _holder_of_matches(spec, shape, kept).children("matches"))
    spec.close(limiting=("matches",))
    root.close(limiting=("matches",))
    if root.report.left_out > before:
        return None
    return TrafficSplit(meta=meta, service=service, backends=backends, matches=matches)


def _holder_of_matches(spec: Fields, shape: SplitShape, kept: Mapping[str, Any]) -> Fields:
    """What holds `matches`: `spec`, or the annotation for versions that have none."""
    if shape.matches:
        return spec
    if spec.raw("matches") not in (None, []):
        message = "spec.matches does not exist in this version: without it the split would apply to all requests"
        hint = "Write apiVersion: split.smi-spec.io/v1alpha4, or remove matches to split all requests."
        spec.report.add(codes.UNKNOWN_LIMIT, spec.at("matches"), message, hint)
    return Fields(spec.report, PLACE, kept)


def _backends(spec: Fields, namespace: str, shape: SplitShape) -> tuple[Backend, ...]:
    services: list[str] = []
    written: list[Value] = []
    before = spec.report.left_out
    for entry in spec.children("backends"):
        services.append(_service(entry, namespace))
        written.append(entry.raw("weight"))
        _check_weight(entry, written[-1], shape)
        entry.close()
    if not services:
        spec.missing("backends")
    if spec.report.left_out > before:
        return ()
    weights = weights_of(written)
    if weights is None:
        raise AssertionError("weights are checked one by one")
    return tuple(map(Backend, services, weights))


def _check_weight(entry: Fields, weight: Value, shape: SplitShape) -> None:
    if weight is None:
        entry.missing("weight")
    elif shape.quantities:
        number = parse(weight)
        if number is None or number < 0:
            hint = "Put fractions in quotes, or write 500m for a half." if isinstance(weight, float) else ""
            entry.wrong(codes.BAD_WEIGHT, "weight", "a quantity of 0 or more, such as 1, 90 or 500m", hint)
    elif not _is_weight(weight):
        hint = ""
        if isinstance(weight, str) and weight.isdecimal():
            hint = "Write it without quotes."
        elif isinstance(weight, str) and parse(weight) is not None:
            hint = "Only v1alpha1 has quantities as weights; write whole numbers of the same ratio."
        entry.wrong(codes.BAD_WEIGHT, "weight", f"a whole number from 0 to {MAX_WEIGHT}", hint)


def _is_weight(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_WEIGHT


def _match(entry: Fields) -> MatchRef:
    kind = entry.text("kind", required=True)
    if kind and kind != "HTTPRouteGroup":
        entry.wrong(codes.BAD_VALUE, "kind", "'HTTPRouteGroup'")
    name = entry.subdomain("name", required=True)
    entry.ignore("apiGroup")
    entry.close()
    return MatchRef(kind, name)


def _service(fields: Fields, namespace: str) -> str:
    """The Service named by the field `service`: its name, or its host name as long as that stays in the namespace.

    SMI calls it "the FQDN that applications will use to communicate", and tools such as Flagger write host names.
    """
    text = fields.text("service", required=True)
    name, _, rest = text.partition(".")
    in_namespace = rest in ("", namespace, f"{namespace}.svc") or rest.startswith(f"{namespace}.svc.")
    if text and not (is_label(name) and in_namespace):
        fields.wrong(codes.BAD_NAME, "service", f"the name of a Service in namespace {namespace}")
    return name
