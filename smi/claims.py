"""Which file defines which object, when several may: each file claims objects, and the first claim counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smi import codes
from smi.diagnostics import Diagnostic, Location, ObjectRef
from smi.index import Delete, ObjectEvent, Upsert
from smi.objects import MeshObject


@dataclass(frozen=True, slots=True)
class Claim:
    """A definition of the object `ref` by a file.

    `intact`: no part of it was left out. `kept`: it is from an earlier version of the file, which is broken now.
    `source` is a digest of the text that it was read from, and `source_line` the line in it, counted from 1; empty
    where the claim cannot be told from that text alone.
    """

    ref: ObjectRef
    object: MeshObject
    intact: bool
    kept: bool = False
    source: bytes = b""
    source_line: int = 0

    @property
    def place(self) -> Location:
        return self.object.meta.location or Location("", 0)

    def order(self) -> tuple[bool, Location]:
        """Claims count in this order: what is written now before what is kept, then by file and line."""
        return (self.kept, self.place)


class Claims:
    """The claims of all files, and the objects that they result in."""

    def __init__(self) -> None:
        self._by_file: dict[str, tuple[Claim, ...]] = {}
        self._by_ref: dict[ObjectRef, tuple[Claim, ...]] = {}
        self._touched: dict[ObjectRef, MeshObject | None] = {}
        self._contested: dict[ObjectRef, list[Claim]] = {}

    def of_file(self, file: str) -> tuple[Claim, ...]:
        """The claims of a file in their order."""
        return self._by_file.get(file, ())

    def replace(self, file: str, claims: tuple[Claim, ...]) -> None:
        """From now on `file` claims exactly `claims`, which are in their order. Those that stay cost nothing."""
        before = self._by_file.pop(file, ())
        if claims:
            self._by_file[file] = claims
        old, new = {id(claim) for claim in before}, {id(claim) for claim in claims}
        for claim in before:
            if id(claim) not in new:
                self._put(claim.ref, tuple(other for other in self._by_ref[claim.ref] if other is not claim))
        for claim in claims:
            if id(claim) not in old:
                others = self._by_ref.get(claim.ref)
                self._put(claim.ref, tuple(sorted((*others, claim), key=Claim.order)) if others else (claim,))

    def settle(self) -> tuple[ObjectEvent, ...]:
        """The events that lead from the objects of the last call to those of now.

        An object that only moved to another place is told too, although it is equal to what it was.
        """
        events: list[ObjectEvent] = []
        for ref, served in self._touched.items():
            claims = self._by_ref.get(ref)
            self._contest(ref, claims or ())
            if not claims:
                if served is not None:
                    events.append(Delete(ref))
            elif served is None or not _same(served, claims[0].object):
                events.append(Upsert(claims[0].object))
        self._touched.clear()
        return tuple(events)

    def diagnostics(self) -> list[Diagnostic]:
        """An error for each definition that does not count because another one does, as of the last `settle()`."""
        found: list[Diagnostic] = []
        for ref, (first, *others) in self._contested.items():
            for other in others:
                message = f"{ref} is defined at {first.place} already; this definition is ignored"
                found.append(codes.DUPLICATE_OBJECT.diagnostic(message, object=ref, location=other.place))
        return found

    def _put(self, ref: ObjectRef, claims: tuple[Claim, ...]) -> None:
        """Let `claims` be those of `ref`, and remember what it was at the last `settle()`."""
        before = self._by_ref.get(ref)
        self._touched.setdefault(ref, before[0].object if before else None)
        if claims:
            self._by_ref[ref] = claims
        else:
            self._by_ref.pop(ref, None)

    def _contest(self, ref: ObjectRef, claims: Sequence[Claim]) -> None:
        """Remember the definitions of `ref` if it has several; kept ones are no definitions of now."""
        written = [claim for claim in claims if not claim.kept] if len(claims) > 1 else []
        if len(written) > 1:
            self._contested[ref] = written
        else:
            self._contested.pop(ref, None)


def _same(one: MeshObject, other: MeshObject) -> bool:
    """Whether two objects are equal and stand at the same place, which their equality leaves out."""
    return one is other or (one.meta.location == other.meta.location and one == other)
