"""Certificate chains as sidecars present them, and two opinions on them: that of OpenSSL and our own."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca.bundle import TrustBundle
from ca.validation import SvidError, verify_svid
from tests.envoy.mesh_certificates import DOMAIN
from tests.envoy.running_mesh import RunningMesh
from translators.names import MESH_ALPN

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.DOTALL)
_PATIENCE = 20.0


@dataclass(frozen=True)
class Pair:
    """Files with a certificate chain and its key."""

    chain: Path
    key: Path


async def presented(port: int, own: Pair) -> tuple[bytes, ...]:
    """The chain, leaf first, that the sidecar at `port` presents to a client with a certificate: off the wire."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-alpn", MESH_ALPN, "-showcerts"]
    _, shown = await _output(*command, "-cert", str(own.chain), "-key", str(own.key))
    chain = tuple(_CERTIFICATE.findall(shown))
    assert len(chain) >= 2, shown.decode(errors="replace")
    return chain


async def accepted(chain: tuple[bytes, ...], roots: bytes, folder: Path, purpose: str = "sslserver") -> bool:
    """Whether `chain` is valid below `roots` (PEM). OpenSSL and we must be of the same opinion."""
    for name, content in (("leaf", chain[0]), ("others", b"".join(chain[1:])), ("roots", roots)):
        (folder / f"{name}.pem").write_bytes(content)
    command = ["openssl", "verify", "-x509_strict", "-no-CApath", "-no-CAstore", "-purpose", purpose]
    command += ["-CAfile", str(folder / "roots.pem"), "-untrusted", str(folder / "others.pem")]
    code, said = await _output(*command, str(folder / "leaf.pem"))
    try:
        verify_svid(
            b"".join(chain), TrustBundle(DOMAIN, {DOMAIN: tuple(_CERTIFICATE.findall(roots))}), datetime.now(UTC)
        )
        valid = True
    except SvidError:
        valid = False
    assert valid == (code == 0), f"openssl: {said.decode(errors='replace')}; we: {valid}"
    return valid


async def held(mesh: RunningMesh, workload: str) -> dict[str, Any]:
    """The leaf that the Envoy of `workload` has in use, as its admin page describes it."""
    shown = json.loads(await mesh.admin(workload, "/certs"))["certificates"]
    leaves = {
        leaf["serial_number"]: leaf
        for each in shown
        for leaf in each.get("cert_chain", [])[:1]
        if "/tulle/proxy/" not in leaf["subject_alt_names"][0]["uri"]
    }
    [leaf] = leaves.values()
    return dict(leaf)


def serial(chain: tuple[bytes, ...]) -> str:
    """The serial number of the leaf, as Envoy writes it."""
    number = f"{x509.load_pem_x509_certificate(chain[0]).serial_number:x}"
    return number.zfill(len(number) + len(number) % 2)


async def is_served(port: int, own: Pair) -> bool:
    """Whether the sidecar at `port` serves a request of a client with the certificate `own`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([MESH_ALPN])
    context.load_cert_chain(own.chain, own.key)
    async with asyncio.timeout(_PATIENCE):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        except (ssl.SSLError, ConnectionError):
            return False
        try:
            # In TLS 1.3 a client learns only from its first read that the server does not take its certificate.
            writer.write(b"GET / HTTP/1.1\r\nhost: in.the.mesh\r\n\r\n")
            return (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        except (ssl.SSLError, ConnectionError):
            return False
        finally:
            writer.transport.abort()


async def _output(*command: str) -> tuple[int, bytes]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(_PATIENCE):
        printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
