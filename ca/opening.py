"""How a state directory comes to its `rotation.json`: read, made at the first start, or taken over from the
older layout, which had one `root.pem` and one `intermediate.pem` in STATE/ca itself.

In: the folder STATE/ca, locked. Out: the record. Whatever a crash left is finished or removed here.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from ca.authority import create_intermediate, create_root
from ca.identity import TrustDomain
from ca.private_file import StateError, read_private, remove_private, remove_unfinished, write_private
from ca.root_files import (
    INTERMEDIATE,
    ROOT,
    ROOTS,
    forget_other_roots,
    read_authority,
    read_intermediate,
    read_root,
    read_signing_certificate,
    root_folder,
    stored_roots,
    write_root,
)
from ca.rotation import Phase
from ca.rotation_record import RotationRecord
from ca.signer import SigningCertificate

ROTATION = "rotation.json"
JOIN_TOKEN_KEY = "join-token.key"


def open_record(
    folder: Path, trust_domain: TrustDomain, now: datetime
) -> tuple[RotationRecord, dict[str, SigningCertificate]]:
    """The record in `folder`, and the roots it names by id, the older first. Raises StateError when it, or one
    of them, is lost or damaged; then nothing is removed.
    """
    for place in (folder, *stored_roots(folder)):
        remove_unfinished(place)
    record = read_record(folder)
    if record is None:
        record = _first_record(folder, trust_domain, now)
        write_record(folder, record)
    roots = {root: read_root(root_folder(folder, root), trust_domain) for root in record.roots}
    _remove_older_layout(folder, record)
    forget_other_roots(folder, record.roots)
    return record, roots


def read_record(folder: Path) -> RotationRecord | None:
    """What `rotation.json` says, or None when there is none. Raises StateError when it is damaged."""
    path = folder / ROTATION
    stored = read_private(path)
    if stored is None:
        return None
    try:
        return RotationRecord.from_json(stored)
    except ValueError as error:
        raise StateError(f"{path} is damaged: {error}; restore it from a backup") from error


def write_record(folder: Path, record: RotationRecord) -> None:
    """Commit: from now on the roots are those of `record`, after a crash too."""
    write_private(folder / ROTATION, record.to_json(), durable=True)


def _first_record(folder: Path, trust_domain: TrustDomain, now: datetime) -> RotationRecord:
    if (folder / ROOT).exists() or (folder / INTERMEDIATE).exists():
        return _taken_over(folder, trust_domain, now)
    # A root is stored before its intermediate, so an empty directory is all that a crash can leave instead.
    stored = [place.name for place in stored_roots(folder) if any(place.iterdir())]
    if len(stored) > 1:
        raise StateError(f"{folder / ROTATION} is missing, and says which root counts: restore it from a backup")
    complete = (folder / JOIN_TOKEN_KEY).exists()
    if stored and complete:
        # The file was lost, but which root counts is clear.
        return _adopted(folder, stored[0], trust_domain, now)
    if stored:
        # The first start was interrupted before anything could be issued.
        return RotationRecord(Phase.STABLE, stored[0], None, now)
    if complete:
        raise StateError(
            f"{folder / ROOTS} is missing, and every proxy trusts what was in it:"
            f" restore it, or remove {folder} to begin with a new root"
        )
    root = create_root(trust_domain, now)
    write_root(folder, root, create_intermediate(root, now))
    return RotationRecord(Phase.STABLE, root.id, None, now)


def _taken_over(folder: Path, trust_domain: TrustDomain, now: datetime) -> RotationRecord:
    if not (folder / ROOT).exists():
        raise StateError(f"{folder / ROOT} is missing: restore it, or remove {folder} to begin with a new root")
    root = read_root(folder, trust_domain)
    found = read_intermediate(folder, root)
    write_root(folder, root, found.intermediate if found else None)
    return _adopted(folder, root.id, trust_domain, now)


def _adopted(folder: Path, root: str, trust_domain: TrustDomain, now: datetime) -> RotationRecord:
    authority = read_authority(folder, root, trust_domain, now)
    # What it has issued, nobody wrote down; but no leaf outlives the intermediate, and those before ended earlier.
    ends = authority.intermediate.certificate.not_valid_after_utc
    return RotationRecord(Phase.STABLE, root, None, now, leaves_end={root: ends})


def _remove_older_layout(folder: Path, record: RotationRecord) -> None:
    path = folder / ROOT
    root = read_signing_certificate(path)
    if root is not None and root.id not in record.roots:
        raise StateError(f"{path} is none of the roots that {folder / ROTATION} names: move it elsewhere")
    for leftover in (path, folder / INTERMEDIATE):
        if leftover.exists():
            remove_private(leftover)
