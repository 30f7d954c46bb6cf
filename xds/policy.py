"""How the resource types differ: one row per type, each cell a fact about the protocol or about Envoy."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from xds.resource import TypeUrl


class Removal(enum.Enum):
    """When and how a client is told that a resource it holds is gone."""

    AT_ONCE = enum.auto()
    """In the response of the additions: Envoy applies listener removals first, so an address can change owner."""
    AFTER_USERS = enum.auto()
    """When what used it is acknowledged: a route to a cluster that is gone answers 503."""
    PLACEHOLDER = enum.auto()
    """After a while, if it is still subscribed, as an explicit "there is nothing"; usually its user goes first."""
    NEVER = enum.auto()
    """Envoy breaks what still refers to it (ECDS: 5xx, SDS: failing connections); unsubscribing collects it."""


class Missing(enum.Enum):
    """What a client is told that asks for a name that does not exist."""

    REMOVED = enum.auto()
    PLACEHOLDER = enum.auto()
    SILENCE = enum.auto()


@dataclass(frozen=True, slots=True)
class Policy:
    removal: Removal
    missing: Missing
    full_state: bool = False
    """SotW responses hold everything subscribed to; what is absent is deleted. Delta responses are never split,
    because Envoy counts the first one as the whole and declares itself ready."""
    legacy_wildcard: bool = False
    """Asking for nothing, first, means everything."""
    trusts_versions: bool = True
    """Whether versions a client reports on a new stream spare it the resource. Not for EDS and SDS: a cluster that is
    warming reports the version of its predecessor, and would stay without hosts."""
    applies_parts: bool = False
    """Whether the good resources of a rejected response are applied all the same."""


_UNKNOWN = Policy(Removal.AT_ONCE, Missing.REMOVED)

_POLICIES: dict[str, Policy] = {
    TypeUrl.CLUSTER: Policy(
        Removal.AFTER_USERS, Missing.REMOVED, full_state=True, legacy_wildcard=True, applies_parts=True
    ),
    TypeUrl.ENDPOINT: Policy(Removal.PLACEHOLDER, Missing.PLACEHOLDER, trusts_versions=False),
    TypeUrl.SECRET: Policy(Removal.NEVER, Missing.REMOVED, trusts_versions=False),
    TypeUrl.EXTENSION: Policy(Removal.NEVER, Missing.SILENCE),
    TypeUrl.LISTENER: Policy(
        Removal.AT_ONCE, Missing.REMOVED, full_state=True, legacy_wildcard=True, applies_parts=True
    ),
    TypeUrl.ROUTE: Policy(Removal.PLACEHOLDER, Missing.PLACEHOLDER),
}

CLUSTER_USERS = (TypeUrl.LISTENER, TypeUrl.ROUTE, TypeUrl.EXTENSION)
"""The types whose acknowledgement a cluster removal waits for."""


def policy_of(type_url: str) -> Policy:
    """The row of a type. A type nobody serves is an empty one: names are answered as removed."""
    return _POLICIES.get(type_url, _UNKNOWN)
