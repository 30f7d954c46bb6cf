"""TrafficTarget: fields at the root in v1alpha1; since v1alpha3 no `destination.port`, rules of kind UDPRoute, and no
meaning for a target without rules other than that it allows nothing.
"""

from __future__ import annotations

from typing import Any

from smi.conversion.draft import Draft, own
from smi.conversion.layout import to_root, to_spec
from smi.kept import restore_udp_rules

VERSIONS = ("v1alpha1", "v1alpha2", "v1alpha3")
_PLACES = {"destination": "destination", "sources": "sources", "specs": "rules"}


def to_newest(draft: Draft, version: str) -> None:
    """From `version` to v1alpha3."""
    if version == "v1alpha1":
        to_spec(draft, _PLACES)
    spec = own(draft.root, "spec")
    if spec is None:
        return
    destination = own(spec, "destination")
    if version == "v1alpha3":
        if destination is not None and destination.get("port") is not None:
            draft.kept.pop("port", None)
        if not _has_no_rules(spec):
            draft.kept.pop("emptyRules", None)
        if isinstance(spec.get("rules"), list):
            draft.kept.pop("udpRules", None)
        return
    _restore_udp_rules(draft, spec)
    _settle_empty_rules(draft, spec)
    draft.kept.pop("port", None)
    if destination is not None and _is_port(destination.get("port")) and draft.keep("port", destination["port"]):
        del destination["port"]


def from_newest(draft: Draft, version: str) -> None:
    """From v1alpha3 to `version`."""
    spec = own(draft.root, "spec")
    if version == "v1alpha3":
        return
    if spec is not None:
        destination = own(spec, "destination")
        if destination is not None and "port" in draft.kept:
            destination["port"] = draft.kept.pop("port")
        if _has_no_rules(spec) and not draft.kept.pop("emptyRules", False):
            draft.keep("emptyRules", False)
        _take_udp_rules(draft, spec)
    if version == "v1alpha1":
        to_root(draft, _PLACES)


def _restore_udp_rules(draft: Draft, spec: dict[str, Any]) -> None:
    rules = spec.get("rules")
    if "udpRules" in draft.kept and (rules is None or isinstance(rules, list)):
        spec["rules"] = restore_udp_rules(rules or [], draft.kept.pop("udpRules"))


def _settle_empty_rules(draft: Draft, spec: dict[str, Any]) -> None:
    """Say of a target without rules whether an older version allowed that, unless it came from the newest one."""
    denies = draft.kept.pop("emptyRules", None) is False
    if _has_no_rules(spec) and not denies:
        draft.keep("emptyRules", True)


def _take_udp_rules(draft: Draft, spec: dict[str, Any]) -> None:
    rules = spec.get("rules")
    if not isinstance(rules, list):
        return
    taken = [[position, rule] for position, rule in enumerate(rules) if _is_udp(rule)]
    if taken and draft.keep("udpRules", taken):
        spec["rules"] = [rule for rule in rules if not _is_udp(rule)]


def _has_no_rules(spec: dict[str, Any]) -> bool:
    return spec.get("rules") in (None, [])


def _is_udp(rule: object) -> bool:
    return isinstance(rule, dict) and rule.get("kind") == "UDPRoute"


def _is_port(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535
