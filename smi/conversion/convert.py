"""Conversion of one object, by way of the newest version of its kind. Pure, and cheap: webhooks call it per object.

What a version cannot say goes into the annotation `smi.tulle.dev/kept`, and comes back from there. A field that cannot
be understood is passed on as it is, so that decoding complains about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from smi.conversion import access, specs, split
from smi.conversion.draft import Draft

_Step = Callable[[Draft, str], None]


class ConversionError(ValueError):
    """There is no such version, or nothing known of such a kind: the reason in one line."""


VERSIONS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("access.smi-spec.io", "TrafficTarget"): access.VERSIONS,
    ("specs.smi-spec.io", "HTTPRouteGroup"): specs.VERSIONS,
    ("specs.smi-spec.io", "TCPRoute"): specs.VERSIONS,
    ("specs.smi-spec.io", "UDPRoute"): specs.VERSIONS[-1:],
    ("split.smi-spec.io", "TrafficSplit"): split.VERSIONS,
}
"""The versions of each kind, by API group and kind, oldest first."""

_STEPS: Mapping[str, tuple[_Step, _Step]] = {
    "TrafficTarget": (access.to_newest, access.from_newest),
    "HTTPRouteGroup": (specs.group_to_newest, specs.group_from_newest),
    "TCPRoute": (specs.tcp_to_newest, specs.tcp_from_newest),
    "TrafficSplit": (split.to_newest, split.from_newest),
}
"""How a kind that has several versions gets from one to the newest, and from the newest to another."""


def convert(document: Mapping[str, Any], version: str) -> dict[str, Any]:
    """The object `document` in `version`, which is one of its kind, such as v1alpha2, or with its API group before it.

    The document is not changed; the result shares with it what is equal in both. Of metadata nothing is changed but
    the annotation. An object that has the version already comes back as it is. Raises ConversionError for kinds and
    versions that do not exist, and nothing for any other mapping.
    """
    api_version, name = document.get("apiVersion"), document.get("kind")
    if not isinstance(api_version, str) or not isinstance(name, str):
        raise ConversionError("an object must have the texts apiVersion and kind")
    group, _, current = api_version.rpartition("/")
    versions = VERSIONS.get((group, name))
    if versions is None:
        raise ConversionError(f"{name[:60]!r} of the group {group[:60]!r} is not a kind of SMI")
    wanted_group, _, wanted = version.rpartition("/")
    for each in (current, wanted):
        if each not in versions:
            raise ConversionError(f"{name} has no version {each[:60]!r}; it has {', '.join(versions)}")
    if wanted_group not in ("", group):
        raise ConversionError(f"{name} is of the group {group}, not of {wanted_group[:60]!r}")
    if current == wanted:
        return dict(document)
    target = f"{group}/{wanted}"
    try:
        return _converted(Draft.of(document), name, current, target)
    except (TypeError, ValueError, RecursionError):
        # What was to be kept is nothing that JSON can hold, such as a date or what contains itself: it stays in place.
        return _converted(Draft(dict(document), {}, can_keep=False), name, current, target)


def _converted(draft: Draft, name: str, current: str, target: str) -> dict[str, Any]:
    to_newest, from_newest = _STEPS[name]
    to_newest(draft, current)
    from_newest(draft, target.rpartition("/")[2])
    draft.root["apiVersion"] = target
    return draft.finished()
