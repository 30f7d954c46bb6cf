"""The wish for a rotation: `STATE/ca/rotation.request`, made by a person, obeyed by the control plane.

Needs no lock: the file is replaced in one step, and each request has an id of its own.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ca.private_file import StateError, read_private, require_private_directory, write_private

REQUEST = "rotation.request"


@dataclass(frozen=True, slots=True)
class RotationRequest:
    """One request."""

    id: str
    requested_at: datetime
    root_key: Path | None = None
    """Where the key of the new root goes, and nowhere else; None keeps it in the state directory."""


def request_rotation(state_dir: Path, now: datetime, root_key: Path | None = None) -> RotationRequest:
    """Ask for a rotation; one that is under way is finished first. A later request replaces an earlier one.

    `root_key`: an absolute path on the control plane's machine; a P-256 key that is there already is used.
    Raises StateError when there is no state, or the request cannot be written.
    """
    folder = state_dir / "ca"
    require_private_directory(folder)
    if root_key is not None and not (root_key.is_absolute() and root_key.parent.is_dir()):
        raise StateError(f"{root_key} cannot take a key: give an absolute path in a directory that exists")
    request = RotationRequest(secrets.token_hex(16), now, root_key)
    content = {
        "id": request.id,
        "requested_at": now.isoformat(),
        "root_key": None if root_key is None else str(root_key),
    }
    write_private(folder / REQUEST, json.dumps(content).encode() + b"\n", durable=True)
    return request


def read_request(folder: Path) -> RotationRequest | None:
    """The request that lies in `folder` (STATE/ca), or None. Raises StateError when it is damaged."""
    path = folder / REQUEST
    stored = read_private(path)
    if stored is None:
        return None
    try:
        found = json.loads(stored)
        key = found["root_key"]
        moment = datetime.fromisoformat(found["requested_at"])
        return RotationRequest(str(found["id"]), moment, None if key is None else Path(key))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StateError(f"{path} is damaged: remove it, and ask again with tulle ca rotate") from error
