"""What is in a state directory, read without its lock: for people who ask while a control plane runs.

In: a path. Out: certificates and times, no keys. Nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from ca.deadlines import Deadline, deadlines
from ca.opening import ROTATION, read_record
from ca.private_file import StateError, require_private_directory
from ca.root_files import INTERMEDIATE, ROOT, read_signing_certificate, root_folder
from ca.rotation import RootLife
from ca.rotation_record import RotationRecord
from ca.rotation_request import RotationRequest, read_request
from ca.signer import Signer

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class StoredRoot:
    """A trusted root; `intermediate` is None when it is lost, and made again by the control plane or a person."""

    life: RootLife
    certificate: x509.Certificate
    intermediate: x509.Certificate | None

    @property
    def deadlines(self) -> tuple[Deadline, ...]:
        """What must be renewed when."""
        return deadlines(self.life, self.intermediate) if self.intermediate else ()


@dataclass(frozen=True, slots=True)
class Inventory:
    """The roots, the older first, where the rotation is, and a request that was not obeyed yet."""

    record: RotationRecord
    roots: tuple[StoredRoot, ...]
    request: RotationRequest | None


def read_inventory(state_dir: Path) -> Inventory:
    """What `state_dir/ca` holds now. Raises StateError when there is nothing, or it is damaged."""
    folder = state_dir / "ca"
    require_private_directory(folder)
    attempt = 0
    while True:
        attempt += 1
        record = read_record(folder)
        if record is None:
            raise StateError(f"{folder / ROTATION} is missing: tulle serve makes it when it starts")
        try:
            roots = tuple(_stored(folder, root) for root in record.roots)
        except StateError:
            # A root may have been retired between the two looks.
            if attempt < _ATTEMPTS and read_record(folder) != record:
                continue
            raise
        request = read_request(folder)
        obeyed = request is not None and request.id == record.served_request
        return Inventory(record, roots, None if obeyed else request)


def _stored(folder: Path, root_id: str) -> StoredRoot:
    place = root_folder(folder, root_id)
    root = read_signing_certificate(place / ROOT)
    if root is None:
        raise StateError(f"{place / ROOT} is missing: restore it from a backup")
    intermediate = read_signing_certificate(place / INTERMEDIATE)
    life = RootLife(root_id, root.certificate.not_valid_after_utc, offline=not isinstance(root, Signer))
    return StoredRoot(life, root.certificate, intermediate.certificate if intermediate else None)
