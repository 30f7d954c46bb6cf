"""What a proxy may see: the resources of some scopes, and what changes in them.

``Scope`` and ``SharedView`` are the store's mutable parts. Equal views of connected proxies are one ``SharedView``,
and sorted and joined bytes belong to the scope: they are made once for all views that include it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from itertools import chain
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


class Part:
    """Resources of one type and rank, by name, with their bytes as a response has them, joined when first asked for."""

    def __init__(self, rank: int, resources: Iterable[Resource]) -> None:
        self.rank = rank
        self.resources = tuple(sorted(resources, key=lambda resource: resource.name))

    @cached_property
    def delta(self) -> bytes:
        return b"".join(part for each in self.resources for part in (each.delta_header, each.body))

    @cached_property
    def sotw(self) -> bytes:
        return b"".join(part for each in self.resources for part in (each.sotw_header, each.body))

    @cached_property
    def version(self) -> str:
        return combined_version(self.resources)


def _in_parts(resources: Iterable[Resource]) -> tuple[Part, ...]:
    by_rank: dict[int, list[Resource]] = {}
    for each in resources:
        by_rank.setdefault(each.rank, []).append(each)
    return tuple(Part(rank, by_rank[rank]) for rank in sorted(by_rank))


class Listing:
    """All resources of one type in a view, in the order of a response: by rank, then part by part.

    A part is usually all that a scope has of the type, and then it is the same object in all views of that scope: a
    thousand views of one scope hold its sorted and joined bytes once.
    """

    __slots__ = ("parts",)

    def __init__(self, parts: Iterable[Part]) -> None:
        self.parts = tuple(sorted(parts, key=lambda part: part.rank))

    @classmethod
    def of(cls, resources: Iterable[Resource]) -> Listing:
        """A listing that shares nothing."""
        return cls(_in_parts(resources))

    @property
    def resources(self) -> tuple[Resource, ...]:
        return tuple(self)

    def __iter__(self) -> Iterator[Resource]:
        return chain.from_iterable(part.resources for part in self.parts)

    def __len__(self) -> int:
        return sum(len(part.resources) for part in self.parts)

    @property
    def version(self) -> str:
        """A version of the whole, for SotW: it depends on content and order only."""
        if len(self.parts) == 1:
            return self.parts[0].version
        return blake2b("".join(part.version for part in self.parts).encode(), digest_size=12).hexdigest()


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
    _parts: dict[str, tuple[Part, ...]] = field(default_factory=dict)

    def get(self, type_url: str, name: str) -> Resource | None:
        of_type = self.resources.get(type_url)
        return None if of_type is None else of_type.get(name)

    def put(self, resource: Resource) -> None:
        of_type = self.resources.get(resource.type_url)
        if of_type is None:
            of_type = self.resources[resource.type_url] = {}
            self._tell(resource.type_url)
        of_type[resource.name] = resource
        self._parts.pop(resource.type_url, None)

    def discard(self, type_url: str, name: str) -> None:
        of_type = self.resources.get(type_url)
        if of_type is not None:
            of_type.pop(name, None)
            self._parts.pop(type_url, None)
            if not of_type:
                del self.resources[type_url]
                self._tell(type_url)

    def _tell(self, type_url: str) -> None:
        """The first resource of a type has come, or the last one has gone."""
        for view in self.views:
            view.forget_contents(type_url)

    def parts(self, type_url: str) -> tuple[Part, ...]:
        """All of a type, rank by rank; made on the first call after a change, shared until the next."""
        if type_url not in self.resources:
            return ()
        parts = self._parts.get(type_url)
        if parts is None:
            parts = self._parts[type_url] = _in_parts(self.resources[type_url].values())
        return parts

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
        self._contents: dict[str, tuple[dict[str, Resource], ...]] = {}

    def lookup(self, type_url: str, name: str) -> Resource | None:
        """The resource this view sees under a name. O(scopes that hold the name), never O(scopes of the view)."""
        contents = self._contents_of(type_url)
        if len(contents) <= _FEW_SCOPES:
            for content in contents:
                found = content.get(name)
                if found is not None:
                    return found
            return None
        seen = [scope for scope in self._holders.get((type_url, name), ()) if scope in self._rank]
        return min(seen, key=self._rank.__getitem__).get(type_url, name) if seen else None

    def _contents_of(self, type_url: str) -> tuple[dict[str, Resource], ...]:
        """The scopes that have anything of a type, in order."""
        contents = self._contents.get(type_url)
        if contents is None:
            contents = tuple(scope.resources[type_url] for scope in self.scopes if type_url in scope.resources)
            self._contents[type_url] = contents
        return contents

    def forget_contents(self, type_url: str) -> None:
        self._contents.pop(type_url, None)

    def listing(self, type_url: str) -> Listing:
        """All resources of a type; made on the first call after a change, shared until the next."""
        listing = self._listings.get(type_url)
        if listing is None:
            contents = self._contents_of(type_url)
            if _disjoint(contents):
                listing = Listing(part for scope in self.scopes for part in scope.parts(type_url))
            else:
                listing = Listing.of(
                    {name: each for of_type in reversed(contents) for name, each in of_type.items()}.values()
                )
            self._listings[type_url] = listing
        return listing

    def forget_listing(self, type_url: str) -> None:
        self._listings.pop(type_url, None)


def _disjoint(contents: Sequence[dict[str, Resource]]) -> bool:
    """Whether no name is in two of them. Costs what is in all but the largest."""
    largest = max(contents, key=len, default={})
    rest = [name for each in contents if each is not largest for name in each]
    return len(set(rest)) == len(rest) and largest.keys().isdisjoint(rest)
