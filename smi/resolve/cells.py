"""Derived values that follow what they were computed from: nothing is computed again that nothing has changed for.

A *cell* is one key of one table. Tables are made in an order, and a derived table reads only tables made before it, so
one pass over the dirty cells of each table in that order settles everything. What a cell reads is written down while
it is computed; a cell whose new value equals the old one dirties nobody. The result is that of a computation from
scratch, whatever the history was, because each cell is a pure function of what it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from smi.diagnostics import Diagnostic
from smi.resolve.findings import Findings

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Follower = Callable[[Any, Any, Any], None]
"""Told of each change of a table: (key, value before, value now); None is absence."""


class Graph:
    """The tables in their order, and what was found while their cells were computed."""

    def __init__(self) -> None:
        self.findings = CellFindings()
        self.reads: list[Any] | None = None
        self._derived: list[Derived[Any, Any]] = []

    def add(self, table: Derived[Any, Any]) -> None:
        self._derived.append(table)

    def settle(self) -> None:
        """Compute every dirty cell, and those that are dirty because of it."""
        for table in self._derived:
            table.settle()

    def invalidate(self) -> None:
        """Make every cell dirty: something changed that all of them depend on."""
        for table in self._derived:
            table.invalidate()


class Source(Generic[K, V]):
    """A table whose values come from outside: `values` is read, and whoever changes it calls `changed`."""

    def __init__(self, graph: Graph, values: Mapping[K, V]) -> None:
        self.values = values
        self._graph = graph
        self._readers: dict[K, dict[tuple[Derived[Any, Any], Any], None]] = {}
        self._followers: list[Follower] = []

    def get(self, key: K) -> V | None:
        """The value of `key`, or None; the cell that is being computed depends on it from now on."""
        reads = self._graph.reads
        if reads is not None:
            reads.append(self)
            reads.append(key)
        return self.values.get(key)

    def __contains__(self, key: K) -> bool:
        return self.get(key) is not None

    def follow(self, follower: Follower) -> None:
        """Call `follower` at each change, before anything that reads this table is computed."""
        self._followers.append(follower)

    def changed(self, key: K, old: V | None, new: V | None) -> None:
        """Tell whoever depends on `key`."""
        if key in self._readers:
            for table, cell in self._readers[key]:
                table.dirty[cell] = None
        for follower in self._followers:
            follower(key, old, new)

    def register(self, key: K, cell: tuple[Derived[Any, Any], Any]) -> None:
        readers = self._readers.get(key)
        if readers is None:
            self._readers[key] = {cell: None}
        else:
            readers[cell] = None

    def unregister(self, key: K, cell: tuple[Derived[Any, Any], Any]) -> None:
        readers = self._readers.get(key)
        if readers is not None:
            readers.pop(cell, None)
            if not readers:
                del self._readers[key]


class Members(Source[K, dict[V, None]]):
    """Sets by key: a reverse index. An empty set is absent."""

    def __init__(self, graph: Graph) -> None:
        self._sets: dict[K, dict[V, None]] = {}
        super().__init__(graph, self._sets)

    def add(self, key: K, member: V) -> None:
        members = self._sets.get(key)
        if members is None:
            members = self._sets[key] = {}
        members[member] = None
        if self._readers or self._followers:
            self.changed(key, members, members)

    def discard(self, key: K, member: V) -> None:
        members = self._sets.get(key)
        if members is not None and member in members:
            del members[member]
            if not members:
                del self._sets[key]
            self.changed(key, members, members)

    def of(self, key: K) -> Iterable[V]:
        """The members of a set, in no particular order; reading it counts as `get`."""
        return self.get(key) or ()


class Derived(Source[K, V]):
    """A table whose cells are computed: `compute(key, findings)` gives the value, None for none."""

    def __init__(self, graph: Graph, compute: Callable[[K, Findings], V | None], *, output: bool = False) -> None:
        self._cells: dict[K, V] = {}
        super().__init__(graph, self._cells)
        graph.add(self)
        self.dirty: dict[K, None] = {}
        self._compute = compute
        self._reads: dict[K, tuple[Any, ...]] = {}
        self._troubled: set[K] = set()
        self._outdated: dict[K, V | None] | None = {} if output else None

    def touch(self, key: K, _old: object = None, _new: object = None) -> None:
        """Make `key` dirty: the follower for tables with equal keys."""
        self.dirty[key] = None

    def invalidate(self) -> None:
        """Make every cell dirty, also one that came to nothing, as long as it read or reported something."""
        for known in (self._cells, self._reads, self._troubled):
            self.dirty.update(dict.fromkeys(known))

    def drain(self) -> dict[K, V | None]:
        """Which cells changed since the last call, and what they were then. Of output tables only."""
        outdated = self._outdated
        if outdated is None:
            raise TypeError("not an output table")
        self._outdated = {}
        cells = self._cells
        return {
            key: old
            for key, old in outdated.items()
            if (key in cells if old is None else key not in cells or cells[key] != old)
        }

    def settle(self) -> None:  # noqa: C901  # the one hot loop of the model: no calls that can be spared
        if not self.dirty:
            return
        graph, cells, found, compute = self._graph, self._cells, Findings(), self._compute
        dirty, self.dirty = self.dirty, {}
        for key in dirty:
            reads: list[Any] = []
            graph.reads = reads
            new = compute(key, found)
            graph.reads = None
            if reads or key in self._reads:
                self._remember(key, reads)
            if found or key in self._troubled:
                self._report(key, found)
            old = cells.get(key)
            if new is None:
                if old is None:
                    continue
                del cells[key]
            elif new == old:
                continue
            else:
                cells[key] = new
            if self._outdated is not None:
                self._outdated.setdefault(key, old)
            if self._readers or self._followers:
                self.changed(key, old, new)
        if self.dirty:
            raise RuntimeError("a cell depends on its own table")

    def _report(self, key: K, found: Findings) -> None:
        self._graph.findings.replace((self, key), found)
        if (self, key) in self._graph.findings:
            self._troubled.add(key)
        else:
            self._troubled.discard(key)

    def _remember(self, key: K, reads: list[Any]) -> None:
        """Let what a cell has just read know of it, and forget what it read before. Both are table, key, table, ..."""
        known = self._reads.get(key)
        now = tuple(reads)
        if now == known:
            return
        cell = (self, key)
        if known is not None:
            for at in range(0, len(known), 2):
                known[at].unregister(known[at + 1], cell)
        for at in range(0, len(now), 2):
            now[at].register(now[at + 1], cell)
        if now:
            self._reads[key] = now
        else:
            del self._reads[key]


class CellFindings:
    """What is wrong, by the cell that found it. Equal findings of several cells are one.

    `appeared` gathers what was not known before, until somebody clears it.
    """

    def __init__(self) -> None:
        self._by_cell: dict[tuple[object, object], tuple[Diagnostic, ...]] = {}
        self._count: dict[Diagnostic, int] = {}
        self.appeared: dict[Diagnostic, None] = {}

    def replace(self, cell: tuple[object, object], found: Findings) -> None:
        """`cell` has found exactly what is in `found`, which is emptied."""
        known = self._by_cell.get(cell)
        if not found and known is None:
            return
        now = found.take()
        if now == (known or ()):
            return
        for each in now:
            self._count[each] = self._count.get(each, 0) + 1
            if self._count[each] == 1:
                self.appeared[each] = None
        for each in known or ():
            self._count[each] -= 1
            if not self._count[each]:
                del self._count[each]
                self.appeared.pop(each, None)
        if now:
            self._by_cell[cell] = now
        else:
            del self._by_cell[cell]

    def __contains__(self, cell: tuple[object, object]) -> bool:
        return cell in self._by_cell

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(self._count)
