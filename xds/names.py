"""Large sets of names that many streams hold, kept once.

Most proxies of a mesh subscribe to the same thousand names; a Python set of them takes 32 to 64 kB. A ``NameSet`` is a
frozen set from a pool, and the few names by which it differs. It is compared with the pool again when it differs by
too many, so that one name costs amortised O(1), and streams that drift together share again.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from typing import Final
from weakref import WeakValueDictionary, ref

_NOTHING: Final[frozenset[str]] = frozenset()
_FEW = 32
"""Names by which a set may differ from its base, or one of 64 of its size if that is more."""
_RECENT = 4
"""How many of the latest bases a new set is compared with."""


class _Pool:
    """The bases that some set uses. One that nobody uses goes by itself."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[int, frozenset[str]] = WeakValueDictionary()
        self._recent: deque[ref[frozenset[str]]] = deque(maxlen=_RECENT)

    def base_for(self, names: frozenset[str]) -> frozenset[str]:
        """The same names, or nearly the same where others have those already."""
        known = self._known.get(hash(names))
        if known == names:
            return known
        near = _allowance(len(names)) // 2
        for each in reversed(self._recent):
            base = each()
            if base and abs(len(base) - len(names)) <= near and len(base ^ names) <= near:
                return base
        self._known[hash(names)] = names
        self._recent.append(ref(names))
        return names


_pool = _Pool()


def _allowance(size: int) -> int:
    return max(_FEW, size // 64)


class NameSet:
    """A mutable set of names. ``base`` is shared; ``added`` is what is not in it, ``gone`` what only it has."""

    __slots__ = ("_added", "_base", "_gone")

    def __init__(self) -> None:
        self._base = _NOTHING
        self._added = _NOTHING
        self._gone = _NOTHING

    def __contains__(self, name: object) -> bool:
        return (name in self._base and name not in self._gone) or name in self._added

    def has_all(self, names: Collection[str]) -> bool:
        """Whether each of ``names`` is a member."""
        if not self._gone and self._base.issuperset(names):
            return True
        return all(name in self for name in names)

    def __len__(self) -> int:
        return len(self._base) - len(self._gone) + len(self._added)

    def __iter__(self) -> Iterator[str]:
        for name in self._base:
            if name not in self._gone:
                yield name
        yield from self._added

    def change(self, add: Iterable[str], remove: Iterable[str]) -> None:
        """Add names, then remove names."""
        new, old, base = set(add), set(remove), self._base
        added, gone = (self._added | (new - base)) - old, (self._gone - new) | (base & old)
        if len(added) + len(gone) > _allowance(len(base)):
            names = (base - gone) | added
            base = self._base = _pool.base_for(names)
            added, gone = names - base, base - names
        self._added = frozenset(map(sys.intern, added)) if added else _NOTHING
        self._gone = gone or _NOTHING
