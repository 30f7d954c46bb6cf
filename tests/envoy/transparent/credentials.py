"""TLS as a sidecar speaks it, for clients without one: with a certificate that the mesh's own authority signs."""

from __future__ import annotations

import shutil
import ssl
from datetime import timedelta
from pathlib import Path

from ca.identity import TrustDomain, WorkloadIdentity
from ca.state import load_or_create
from deploy.clock import now
from translators.names import MESH_ALPN


def mesh_client(state: Path, directory: Path, service_account: str) -> ssl.SSLContext:
    """A client with the identity of a service account of `shop`. `state` is the control plane's own directory."""
    domain = TrustDomain("cluster.local")
    # A copy: the control plane holds the lock of its own.
    copy = directory / f"state-{service_account}"
    shutil.copytree(state, copy, ignore=shutil.ignore_patterns("lock"))
    with load_or_create(copy, domain, now()) as opened:
        identity = WorkloadIdentity(domain, "shop", service_account)
        svid = opened.authority(now()).issue(identity.spiffe_id, timedelta(hours=1), now())
    file = directory / f"{service_account}.pem"
    file.write_bytes(svid.private_key_pem + svid.certificate_chain_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([MESH_ALPN])
    context.load_cert_chain(file)
    return context
