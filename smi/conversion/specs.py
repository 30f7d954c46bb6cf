"""HTTPRouteGroup and TCPRoute.

`matches` of an HTTPRouteGroup are at the root in v1alpha1 and v1alpha2, and have no headers in v1alpha1. A TCPRoute has
no fields in v1alpha1 and v1alpha2, an empty `spec` in v1alpha3, and ports in v1alpha4.
"""

from __future__ import annotations

from smi.conversion.draft import Draft
from smi.conversion.layout import to_root, to_spec
from smi.kept import match_name, restore_headers

VERSIONS = ("v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4")
_WITHOUT_SPEC = VERSIONS[:2]
_PLACES = {"matches": "matches"}


def group_to_newest(draft: Draft, version: str) -> None:
    """An HTTPRouteGroup from `version` to v1alpha4."""
    headers = draft.kept.pop("headers", None)
    if version == "v1alpha1" and headers is not None:
        matches = draft.root.get("matches")
        if isinstance(matches, list):
            draft.root["matches"] = restore_headers(matches, headers)
    if version in _WITHOUT_SPEC:
        to_spec(draft, _PLACES)


def group_from_newest(draft: Draft, version: str) -> None:
    """An HTTPRouteGroup from v1alpha4 to `version`."""
    if version not in _WITHOUT_SPEC:
        return
    root = draft.root
    if root.get("spec") is None and root.get("matches") is not None:
        # Examples of the specification have them at the root in every version, and decoding accepts that.
        draft.root = {key: value for key, value in root.items() if key not in ("spec", "matches")}
        draft.root["spec"] = {"matches": root["matches"]}
    to_root(draft, _PLACES)
    if version == "v1alpha1":
        _take_headers(draft)


def tcp_to_newest(draft: Draft, version: str) -> None:
    """A TCPRoute from `version` to v1alpha4."""
    kept = draft.kept.pop("spec", None)
    if version != "v1alpha4" and draft.root.get("spec") in (None, {}):
        draft.root["spec"] = kept or {}


def tcp_from_newest(draft: Draft, version: str) -> None:
    """A TCPRoute from v1alpha4 to `version`."""
    spec = draft.root.get("spec")
    if version == "v1alpha4" or not (spec is None or isinstance(spec, dict)):
        return
    if spec and not draft.keep("spec", spec):
        return
    draft.root["spec"] = {}
    if version in _WITHOUT_SPEC:
        del draft.root["spec"]


def _take_headers(draft: Draft) -> None:
    """Keep the headers of all matches, with an entry too for each match that one with headers shares its name with."""
    matches = draft.root.get("matches")
    if not isinstance(matches, list):
        return
    with_headers = {
        match_name(match) for match in matches if isinstance(match, dict) and match.get("headers") is not None
    }
    if not with_headers:
        return
    entries = [
        [match_name(match), match.get("headers")]
        for match in matches
        if isinstance(match, dict) and match_name(match) in with_headers
    ]
    if draft.keep("headers", entries):
        draft.root["matches"] = [
            {key: value for key, value in match.items() if key != "headers"} if isinstance(match, dict) else match
            for match in matches
        ]
