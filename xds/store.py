"""All resources, and who may see which: the one mutable thing between what feeds ``xds`` and the streams.

In: atomic changes of scopes, views and own resources of proxies, from one event loop. Out: to exactly the streams
concerned, the changes of what they see. Nothing here walks all proxies or all resources: a change costs the proxies
that see its scope and have a stream. Of a proxy without one, only its view is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from weakref import WeakValueDictionary

from xds.changes import Changes
from xds.resource import Resource
from xds.view import Change, Holders, Listing, Scope, SharedView, View

_Key = tuple[str, str]
_Edits = dict[_Key, Resource | None]


@dataclass(frozen=True, slots=True)
class ScopeChange:
    """What changes in one scope: removals of (type, name) first, then upserts."""

    scope: str
    upserts: tuple[Resource, ...] = ()
    removals: tuple[_Key, ...] = ()


class Sink(Protocol):
    """Whoever wants to know what changes for one proxy: a stream."""

    def offer(self, changes: Sequence[Change]) -> None:
        """What the proxy sees has changed."""

    def revoke(self, reason: str) -> None:
        """The proxy has no view any more."""


@dataclass(eq=False, slots=True, weakref_slot=True)
class ProxyRecord:
    """What one proxy sees, always current. It is a stream's ``World``.

    ``shared`` is set while the proxy has a stream; a view that nobody listens to is looked up scope by scope.
    """

    proxy: str
    peek: Callable[[View], SharedView]
    view: View | None
    own: dict[str, dict[str, Resource]]
    sinks: list[Sink] = field(default_factory=list)
    shared: SharedView | None = None

    def _sees(self) -> SharedView | None:
        return self.shared if self.shared is not None or self.view is None else self.peek(self.view)

    def lookup(self, type_url: str, name: str) -> Resource | None:
        """The resource this proxy sees under a name; its own before those of its view."""
        if type_url in self.own and (found := self.own[type_url].get(name)) is not None:
            return found
        view = self.shared or self._sees()
        return None if view is None else view.lookup(type_url, name)

    def listing(self, type_url: str) -> Listing:
        """All resources of a type that this proxy sees."""
        own = self.own.get(type_url)
        view = self._sees()
        listing = Listing(()) if view is None else view.listing(type_url)
        if not own:
            return listing
        return Listing.of([*own.values(), *(each for each in listing if each.name not in own)])

    def unhidden(self, changes: Changes) -> Sequence[Change]:
        """Those of the changes of its view that this proxy sees."""
        own = self.own
        if own.keys().isdisjoint(changes.owed):
            return changes
        return [each for each in changes if each.name not in own.get(each.type_url, ())]

    def offer(self, changes: Sequence[Change]) -> None:
        if changes:
            for sink in tuple(self.sinks):
                sink.offer(changes)


class Store:
    """Scopes, views and proxies. Every method is one atomic change; none of them waits."""

    def __init__(self) -> None:
        self._scopes: dict[str, Scope] = {}
        self._holders: Holders = {}
        self._views: dict[str, View] = {}
        self._own: dict[str, dict[str, dict[str, Resource]]] = {}
        self._records: WeakValueDictionary[str, ProxyRecord] = WeakValueDictionary()
        self._connected: dict[str, ProxyRecord] = {}
        self._shared: dict[View, SharedView] = {}
        self._ready = False

    @property
    def ready(self) -> bool:
        """Whether the first full sync is done. Before, nothing may be served: an empty answer wipes an Envoy."""
        return self._ready

    def mark_ready(self) -> None:
        self._ready = True

    # -- resources

    def apply(self, changes: Iterable[ScopeChange]) -> None:
        """Change scopes. A resource with the version it already has is no change."""
        edits = self._effective(changes)
        before: dict[SharedView, _Edits] = {}
        for scope, scope_edits in edits.items():
            for view in scope.views:
                seen = before.setdefault(view, {})
                for key in scope_edits:
                    if key not in seen:
                        seen[key] = view.lookup(*key)
        for scope, scope_edits in edits.items():
            for key, resource in scope_edits.items():
                self._write(scope, key, resource)
            self._drop_if_unused(scope)
        for view, seen in before.items():
            for type_url in {type_url for type_url, _ in seen}:
                view.forget_listing(type_url)
            changed = _differences(seen, view.lookup)
            for record in tuple(view.proxies):
                record.offer(record.unhidden(changed))

    def _effective(self, changes: Iterable[ScopeChange]) -> dict[Scope, _Edits]:
        """What the changes come to, without what changes nothing."""
        edits: dict[Scope, _Edits] = {}
        for change in changes:
            scope_edits = edits.setdefault(self._scope(change.scope), {})
            scope_edits.update(dict.fromkeys(change.removals))
            for resource in change.upserts:
                scope_edits[resource.type_url, resource.name] = resource
        for scope, scope_edits in edits.items():
            for key in [key for key, edit in scope_edits.items() if edit == scope.get(*key)]:
                del scope_edits[key]
        return edits

    def _write(self, scope: Scope, key: _Key, resource: Resource | None) -> None:
        if resource is not None:
            if scope.get(*key) is None:
                self._holders[key] = (*self._holders.get(key, ()), scope)
            scope.put(resource)
            return
        scope.discard(*key)
        left = tuple(each for each in self._holders.get(key, ()) if each is not scope)
        if left:
            self._holders[key] = left
        else:
            self._holders.pop(key, None)

    def _scope(self, name: str) -> Scope:
        scope = self._scopes.get(name)
        if scope is None:
            scope = self._scopes[name] = Scope(name)
        return scope

    def _drop_if_unused(self, scope: Scope) -> None:
        if not scope.resources and not scope.views:
            self._scopes.pop(scope.name, None)

    # -- views

    def set_view(self, proxy: str, view: View | None) -> None:
        """Set, change or (None) remove what a proxy may see. Removing it ends the proxy's streams.

        Of a proxy without a stream only the view is kept, so this costs next to nothing.
        """
        if view is None:
            self._views.pop(proxy, None)
        else:
            self._views[proxy] = view
        record = self._records.get(proxy)
        if record is None:
            return
        record.view = view
        if view is None:
            self._share(record, None)
            for sink in tuple(record.sinks):
                sink.revoke(f"proxy {proxy} is no longer known")
        elif record.sinks:
            old, new = record.shared, self._shared_view(view)
            if old is not new:
                seen = {key: record.lookup(*key) for key in _keys_that_differ(old, new)}
                self._share(record, new)
                record.offer(_differences(seen, record.lookup))

    def _share(self, record: ProxyRecord, new: SharedView | None) -> None:
        """Let a connected proxy follow another view, or (None) none any more."""
        old, record.shared = record.shared, new
        if new is not None:
            new.proxies.add(record)
        if old is not None and old is not new:
            old.proxies.discard(record)
            self._release(old)

    def _shared_view(self, view: View) -> SharedView:
        """The one object of all connected proxies with this view."""
        view = View(tuple(dict.fromkeys(view.scopes)))
        shared = self._shared.get(view)
        if shared is None:
            shared = self._shared[view] = SharedView(tuple(map(self._scope, view.scopes)), self._holders)
            for scope in shared.scopes:
                scope.views.add(shared)
        return shared

    def _peek(self, view: View) -> SharedView:
        """What a view shows now, to be looked at and thrown away."""
        found = (self._scopes.get(name) for name in dict.fromkeys(view.scopes))
        return SharedView(tuple(scope for scope in found if scope is not None), self._holders)

    def _release(self, shared: SharedView) -> None:
        if shared.proxies:
            return
        self._shared.pop(View(tuple(scope.name for scope in shared.scopes)), None)
        for scope in shared.scopes:
            scope.views.discard(shared)
            self._drop_if_unused(scope)

    def set_own(self, proxy: str, resources: tuple[Resource, ...]) -> None:
        """Replace the resources that only this proxy sees; they hide equally named ones of its view."""
        own: dict[str, dict[str, Resource]] = {}
        for resource in resources:
            own.setdefault(resource.type_url, {})[resource.name] = resource
        old = self._own.pop(proxy, {})
        if own:
            self._own[proxy] = own
        record = self._records.get(proxy)
        if record is not None:
            keys = dict.fromkeys(
                (type_url, name) for owned in (old, own) for type_url in owned for name in owned[type_url]
            )
            seen = {key: record.lookup(*key) for key in keys} if record.sinks else {}
            record.own = own
            record.offer(_differences(seen, record.lookup))

    # -- proxies and their streams

    def has_view(self, proxy: str) -> bool:
        return proxy in self._views

    def proxies(self) -> Iterator[str]:
        """The proxies that have a view."""
        return iter(self._views)

    def record(self, proxy: str) -> ProxyRecord:
        """What a proxy sees, always current: one object for as long as anybody has it."""
        record = self._records.get(proxy)
        if record is None:
            record = ProxyRecord(proxy, self._peek, self._views.get(proxy), self._own.get(proxy, {}))
            self._records[proxy] = record
        return record

    def attach(self, proxy: str, sink: Sink) -> None:
        """Tell ``sink`` from now on what changes for a proxy."""
        record = self._connected[proxy] = self.record(proxy)
        record.sinks.append(sink)
        if record.shared is None and record.view is not None:
            self._share(record, self._shared_view(record.view))

    def detach(self, proxy: str, sink: Sink) -> None:
        record = self._connected.get(proxy)
        if record is not None and sink in record.sinks:
            record.sinks.remove(sink)
            if not record.sinks:
                del self._connected[proxy]
                self._share(record, None)


def _differences(before: _Edits, lookup: Callable[[str, str], Resource | None]) -> Changes:
    changed = Changes()
    for (type_url, name), old in before.items():
        new = lookup(type_url, name)
        if old is not new and (old is None or new is None or old.version != new.version):
            changed.append(Change(type_url, name, old, new))
    return changed


def _keys_that_differ(old: SharedView | None, new: SharedView) -> dict[_Key, None]:
    """The names of the scopes that are not in both views, or not at the same place."""
    if old is None:
        differing = new.scopes
    else:
        before, after = set(old.scopes), set(new.scopes)
        kept_order = [s for s in old.scopes if s in after] == [s for s in new.scopes if s in before]
        differing = tuple(before ^ after) if kept_order else (*old.scopes, *new.scopes)
    return dict.fromkeys(key for scope in differing for key in scope)
