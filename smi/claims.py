"""Which file defines which object, when several may: each file claims objects, and the first claim counts."""

from __future__ import annotations

from dataclasses import dataclass

from smi import codes
from smi.diagnostics import Diagnostic, Location, ObjectRef
from smi.index import Delete, ObjectEvent, Upsert
from smi.objects import MeshObject


@dataclass(frozen=True, slots=True)
class Claim:
    """A definition of an object by a file.

    `intact`: no part of it was left out. `kept`: it is from an earlier version of the file, which is broken now.
    """

    object: MeshObject
    intact: bool
    kept: bool = False

    @property
    def ref(self) -> ObjectRef:
        return self.object.ref

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
        self._by_ref: dict[ObjectRef, list[Claim]] = {}
        self._served: dict[ObjectRef, MeshObject] = {}
        self._touched: dict[ObjectRef, None] = {}
        self._contested: dict[ObjectRef, list[Claim]] = {}

    def of_file(self, file: str) -> tuple[Claim, ...]:
        return self._by_file.get(file, ())

    def replace(self, file: str, claims: tuple[Claim, ...]) -> None:
        """From now on `file` claims exactly `claims`."""
        for claim in self._by_file.pop(file, ()):
            self._by_ref[claim.ref].remove(claim)
            self._touched[claim.ref] = None
        if claims:
            self._by_file[file] = claims
        for claim in claims:
            self._by_ref.setdefault(claim.ref, []).append(claim)
            self._touched[claim.ref] = None

    def settle(self) -> tuple[ObjectEvent, ...]:
        """The events that lead from the objects of the last call to those of now."""
        events: list[ObjectEvent] = []
        for ref in self._touched:
            claims = sorted(self._by_ref.get(ref, ()), key=Claim.order)
            self._contest(ref, claims)
            if not claims:
                self._by_ref.pop(ref, None)
                if self._served.pop(ref, None) is not None:
                    events.append(Delete(ref))
            elif not _same_at_same_place(self._served.get(ref), claims[0].object):
                self._served[ref] = claims[0].object
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

    def _contest(self, ref: ObjectRef, claims: list[Claim]) -> None:
        """Remember the definitions of `ref` if it has several; kept ones are no definitions of now."""
        written = [claim for claim in claims if not claim.kept]
        if len(written) > 1:
            self._contested[ref] = written
        else:
            self._contested.pop(ref, None)


def _same_at_same_place(old: MeshObject | None, new: MeshObject) -> bool:
    """Where an object is written is no part of its value, but whoever has the object must know."""
    return old is not None and old == new and old.meta.location == new.meta.location
