"""A root whose key is not in the state directory: taking the key out, and using it where it is needed.

In: paths. Out: files, each replaced in one step and none overwritten that holds another key. StateError says in
one line what is wrong.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from ca.authority import AuthorityError, create_intermediate
from ca.opening import ROTATION, read_record
from ca.private_file import StateError, require_private_directory, write_private
from ca.root_files import INTERMEDIATE, ROOT, read_signing_certificate, root_folder
from ca.signer import Signer, load_private_key, new_private_key, private_key_pem


def store_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write `key` to `path` as PEM, mode 0600. StateError when there is another file already."""
    if path.exists():
        # After an interrupted attempt the same key lies there.
        if _read_key(path).public_key() != key.public_key():
            raise StateError(f"{path} holds another key: choose a path where there is no file")
        return
    write_private(path, private_key_pem(key), durable=True)


def key_for_new_root(path: Path, used: CertificatePublicKeyTypes) -> ec.EllipticCurvePrivateKey:
    """The key at `path`, which may be one that a person made, or a fresh one that is stored there first.

    Raises StateError when the key there is `used` already, or cannot be read or written.
    """
    if not path.exists():
        store_key(path, new_private_key())
    key = _read_key(path)
    if key.public_key() == used:
        raise StateError(f"{path} holds the key of the present root: a new root needs a new key")
    return key


def renew_intermediate(state_dir: Path, root_key: Path, now: datetime) -> Path:
    """Make a new intermediate with the root key in the file `root_key`; return the file that was replaced.

    Works beside a running control plane, which notices: it writes no intermediate of a root whose key it lacks.
    """
    folder = state_dir / "ca"
    require_private_directory(folder)
    record = read_record(folder)
    if record is None:
        raise StateError(f"{folder / ROTATION} is missing: start tulle serve once, or choose another state directory")
    key = _read_key(root_key)
    for root_id in reversed(record.roots):
        path = root_folder(folder, root_id) / ROOT
        root = read_signing_certificate(path)
        if root is None or root.certificate.public_key() != key.public_key():
            continue
        if isinstance(root, Signer):
            raise StateError(f"{path} has its key: its intermediate is renewed without being asked")
        try:
            intermediate = create_intermediate(Signer(root.certificate, key), now)
        except AuthorityError as error:
            raise StateError(f"cannot use {path}: {error}") from error
        target = root_folder(folder, root_id) / INTERMEDIATE
        write_private(target, intermediate.to_pem(), durable=True)
        return target
    raise StateError(f"the key in {root_key} is not that of a root in {folder}")


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        return load_private_key(path.read_bytes())
    except OSError as error:
        raise StateError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise StateError(f"cannot use {path} as a root key: {error}") from error
