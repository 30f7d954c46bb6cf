"""Decodes TrafficSplit (split.smi-spec.io/v1alpha4). A split with any error is not in force as a whole."""

from __future__ import annotations

from smi import codes
from smi.fields import Fields
from smi.names import is_label
from smi.objects import Backend, MatchRef, Meta, TrafficSplit
from smi.tree import Value

MAX_WEIGHT = 2**31 - 1


def decode_traffic_split(root: Fields, meta: Meta) -> TrafficSplit | None:
    """The split in `root`; None when a part of it is wrong, since the rest would be another split."""
    before = root.report.left_out
    spec = root.child("spec", required=True)
    if spec is None:
        return None
    service = _service(spec, meta.namespace)
    backends = tuple(_backend(entry, meta.namespace) for entry in spec.children("backends"))
    if not backends:
        spec.missing("backends")
    matches = tuple(_match(entry) for entry in spec.children("matches"))
    spec.close(limiting=("matches",))
    root.close()
    if root.report.left_out > before:
        return None
    return TrafficSplit(meta=meta, service=service, backends=backends, matches=matches)


def _backend(entry: Fields, namespace: str) -> Backend:
    service = _service(entry, namespace)
    weight = entry.raw("weight")
    if weight is None:
        entry.missing("weight")
    elif not _is_weight(weight):
        hint = "Write it without quotes." if isinstance(weight, str) and weight.isdecimal() else ""
        entry.wrong(codes.BAD_WEIGHT, "weight", f"a whole number from 0 to {MAX_WEIGHT}", hint)
    entry.close()
    return Backend(service, weight if isinstance(weight, int) else 0)


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
