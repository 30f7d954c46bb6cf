"""The files of the roots: `STATE/ca/roots/<id>/root.pem` and `intermediate.pem`.

In: the folder STATE/ca. Out: authorities. A certificate and its key share a file, so there is no half of a pair;
whether a directory here counts at all is for `rotation.json` to say.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from ca.authority import Authority, AuthorityError, create_intermediate
from ca.identity import TrustDomain
from ca.private_file import StateError, make_private_directory, read_private, remove_private_tree, write_private
from ca.signer import Signer, SigningCertificate, load_signing_certificate

ROOTS = "roots"
ROOT = "root.pem"
INTERMEDIATE = "intermediate.pem"
_ID = re.compile(r"[0-9a-f]{32}")


def root_folder(folder: Path, root: str) -> Path:
    """Where the files of a root lie."""
    return folder / ROOTS / root


def write_root(folder: Path, root: SigningCertificate, intermediate: Signer | None) -> None:
    """Store a root. It counts from when `rotation.json` names it."""
    place = root_folder(folder, root.id)
    make_private_directory(place)
    write_private(place / ROOT, root.to_pem(), durable=True)
    if intermediate is not None:
        write_private(place / INTERMEDIATE, intermediate.to_pem(), durable=True)


def read_root(place: Path, trust_domain: TrustDomain) -> SigningCertificate:
    """The root in the directory `place`, a Signer unless its key is offline. Raises StateError when it is
    missing, damaged, of another trust domain, or, below `roots`, another one than its directory says.
    """
    path = place / ROOT
    root = read_signing_certificate(path)
    if root is None:
        # A new root would silently cut off every proxy that trusts this one.
        raise StateError(f"{path} is missing: restore it from a backup")
    if root.trust_domain != trust_domain:
        raise StateError(
            f"{path} belongs to trust domain {root.trust_domain}, not {trust_domain}:"
            " keep that trust domain, or choose another state directory"
        )
    if place.parent.name == ROOTS and place.name != root.id:
        raise StateError(f"{path} is damaged: it is another root than its directory says; restore it from a backup")
    return root


def read_authority(folder: Path, root_id: str, trust_domain: TrustDomain, now: datetime) -> Authority:
    """The authority of one root; a missing intermediate is made and stored if the root's key is here.

    Raises StateError for whatever is missing, damaged, or does not fit.
    """
    place = root_folder(folder, root_id)
    root = read_root(place, trust_domain)
    return read_intermediate(place, root) or renew(folder, root, now)


def read_intermediate(place: Path, root: SigningCertificate) -> Authority | None:
    """`root` with the intermediate in `place`; None when there is none. StateError when it is unusable."""
    path = place / INTERMEDIATE
    intermediate = read_signing_certificate(path)
    if intermediate is None:
        return None
    if not isinstance(intermediate, Signer):
        raise StateError(f"{path} is damaged: it has no private key; {_replacement(root)}")
    try:
        return Authority(root, intermediate)
    except ValueError as error:
        raise StateError(f"{path} does not fit {place / ROOT}: {error}; {_replacement(root)}") from error


def renew(folder: Path, root: SigningCertificate, now: datetime) -> Authority:
    """A new intermediate below `root`, stored. Raises StateError when the root's key is offline, or its
    certificate not valid.
    """
    place = root_folder(folder, root.id)
    if not isinstance(root, Signer):
        raise StateError(
            f"the intermediate in {place} is missing or has ended, and the root's key is offline:"
            f" run tulle ca renew-intermediate --state {folder.parent} --root-key FILE"
        )
    try:
        intermediate = create_intermediate(root, now)
    except AuthorityError as error:
        raise StateError(f"cannot use {place / ROOT}: {error}") from error
    write_private(place / INTERMEDIATE, intermediate.to_pem(), durable=True)
    return Authority(root, intermediate)


def stored_roots(folder: Path) -> list[Path]:
    """The directories that are named as those of roots are; what else a person put beside them is left alone."""
    return sorted(place for place in (folder / ROOTS).glob("*/") if _ID.fullmatch(place.name))


def forget_other_roots(folder: Path, kept: tuple[str, ...]) -> None:
    """Remove the files of all roots but those in `kept`: what a rotation left, or an interrupted one."""
    for place in stored_roots(folder):
        if place.name not in kept:
            remove_private_tree(place)


def read_signing_certificate(path: Path) -> SigningCertificate | None:
    """What `path` holds, or None when it does not exist. Raises StateError when it is damaged."""
    pem = read_private(path)
    if pem is None:
        return None
    try:
        found = load_signing_certificate(pem)
        _ = found.trust_domain
    except ValueError as error:
        raise StateError(f"{path} is damaged: {error}; restore it from a backup") from error
    return found


def _replacement(root: SigningCertificate) -> str:
    if isinstance(root, Signer):
        return "remove it to get a new one"
    return "replace it with tulle ca renew-intermediate"
