"""What a proxy may see: the resources of some scopes, and what changes in them.

``Scope`` and ``SharedView`` are the store's mutable parts. Equal views are one ``SharedView``, however many proxies
have it: its sorted and joined bytes are made once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from xds.resource import Resource

if TYPE_CHECKING:
    from xds.store import ProxyRecord

_FEW_SCOPES = 4


@dataclass(frozen=True, slots=True)
class View:
    """The scopes a proxy sees; where two of them hold one name, the first wins."""

    scopes: tuple[str, ...]


class Change(NamedTuple):
    """One resource as a view saw it before and sees it now; None is absent."""

    type_url: str
    name: str
    old: Resource | None
    new: Resource | None


class Listing:
    """All resources of one type in a view, in the order of a response, with the bytes of that response."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self.resources = tuple(sorted(resources, key=lambda resource: resource.order))

    @cached_property
    def delta(self) -> bytes:
        return b"".join(part for each in self.resources for part in (each.delta_header, each.body))

    @cached_property
    def sotw(self) -> bytes:
        return b"".join(part for each in self.resources for part in (each.sotw_header, each.body))

    @cached_property
    def version(self) -> str:
        return combined_version(self.resources)


def combined_version(resources: Iterable[Resource]) -> str:
    """A version for several resources, which depends on their content only."""
    digest = blake2b(digest_size=12)
    for each in resources:
        digest.update(each.name.encode())
        digest.update(each.version.encode())
    return digest.hexdigest()


@dataclass(eq=False, slots=True)
class Scope:
    """A named, mutable set of resources, by type and name, and the views that include it."""

    name: str
    resources: dict[str, dict[str, Resource]] = field(default_factory=dict)
    views: set[SharedView] = field(default_factory=set)

    def get(self, type_url: str, name: str) -> Resource | None:
        of_type = self.resources.get(type_url)
        return None if of_type is None else of_type.get(name)

    def put(self, resource: Resource) -> None:
        self.resources.setdefault(resource.type_url, {})[resource.name] = resource

    def discard(self, type_url: str, name: str) -> None:
        of_type = self.resources.get(type_url)
        if of_type is not None:
            of_type.pop(name, None)
            if not of_type:
                del self.resources[type_url]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for type_url, of_type in self.resources.items():
            for name in of_type:
                yield type_url, name


Holders = dict[tuple[str, str], tuple[Scope, ...]]


class SharedView:
    """One view, shared by all proxies that have it."""

    def __init__(self, scopes: tuple[Scope, ...], holders: Holders) -> None:
        self.scopes = scopes
        self.proxies: set[ProxyRecord] = set()
        self._rank = {scope: rank for rank, scope in enumerate(scopes)}
        self._holders = holders
        self._listings: dict[str, Listing] = {}

    def lookup(self, type_url: str, name: str) -> Resource | None:
        """The resource this view sees under a name. O(scopes that hold the name), never O(scopes of the view)."""
        if len(self.scopes) <= _FEW_SCOPES:
            for scope in self.scopes:
                found = scope.get(type_url, name)
                if found is not None:
                    return found
            return None
        seen = [scope for scope in self._holders.get((type_url, name), ()) if scope in self._rank]
        return min(seen, key=self._rank.__getitem__).get(type_url, name) if seen else None

    def listing(self, type_url: str) -> Listing:
        """All resources of a type; made on the first call after a change, shared until the next."""
        listing = self._listings.get(type_url)
        if listing is None:
            merged: dict[str, Resource] = {}
            for scope in reversed(self.scopes):
                merged.update(scope.resources.get(type_url, {}))
            listing = self._listings[type_url] = Listing(merged.values())
        return listing

    def forget_listing(self, type_url: str) -> None:
        self._listings.pop(type_url, None)
