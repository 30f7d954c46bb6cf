"""Certificates that the mesh's own authority has signed, for clients and servers that a test plays itself."""

from __future__ import annotations

import shutil
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ca.identity import SpiffeId, TrustDomain
from ca.issuer import Issuer
from ca.state import load_or_create
from tests.envoy.running_mesh import RunningMesh
from translators.names import MESH_ALPN

DOMAIN = TrustDomain("cluster.local")


def copied_authority(mesh: RunningMesh, folder: Path) -> Issuer:
    """The authority of `mesh` itself: from a copy in `folder`, since the control plane holds the lock."""
    shutil.copytree(mesh.state / "ca", folder / "ca")
    moment = datetime.now(UTC)
    return load_or_create(folder, DOMAIN, moment).authority(moment)  # the copy stays open with its issuer


def certificate_files(authority: Issuer, folder: Path, owner: SpiffeId) -> tuple[Path, Path]:
    """A certificate of `authority` for `owner` and its key, as files in `folder`."""
    svid = authority.issue(owner, timedelta(hours=1), datetime.now(UTC))
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(svid.certificate_chain_pem)
    key.write_bytes(svid.private_key_pem)
    return chain, key


def mesh_tls(mesh: RunningMesh, own: tuple[Path, Path] | None) -> ssl.SSLContext:
    """TLS as the mesh's clients do it, with one's `own` certificate or without any."""
    bundle = next((mesh.state / "join").glob("*/*/bundle.pem"))
    context = ssl.create_default_context(cafile=bundle)
    context.check_hostname = False  # names in the mesh are SPIFFE IDs
    context.set_alpn_protocols([MESH_ALPN])
    if own is not None:
        context.load_cert_chain(*own)
    return context
