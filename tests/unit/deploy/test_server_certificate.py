"""The control plane's certificate, as clients see it in handshakes: its names, and how it changes without a restart."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from ca.bundle import TrustBundle
from ca.identity import CONTROL_PLANE_NAME, SpiffeId, control_plane_id
from ca.rotation import Step
from ca.state import CaState
from ca.svid import X509Svid
from deploy.server_certificate import LIFETIME, ServerCertificate

HOUR = timedelta(hours=1)


def now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def ports(certificate: ServerCertificate) -> AsyncIterator[tuple[int, int]]:
    """The token port and the mTLS port of a server."""
    server = grpc.aio.server()
    pair = (certificate.credentials(), certificate.mtls_credentials())
    first, second = (server.add_secure_port("127.0.0.1:0", each) for each in pair)
    await server.start()
    try:
        yield first, second
    finally:
        await server.stop(0)


def client(svid: X509Svid, folder: Path) -> tuple[Path, Path]:
    """Files with its chain and its key."""
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(svid.certificate_chain_pem)
    key.write_bytes(svid.private_key_pem)
    return chain, key


async def presented(
    port: int, bundle: TrustBundle, held: tuple[Path, Path] | None = None, version: ssl.TLSVersion | None = None
) -> x509.Certificate:
    """The server's certificate, verified by name and roots. Raises OSError where the server does not want us."""
    context = ssl.create_default_context(cadata=bundle.own_pem.decode())
    context.set_alpn_protocols(["h2"])
    if held is not None:
        context.load_cert_chain(*held)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=CONTROL_PLANE_NAME)
    try:
        tls = writer.get_extra_info("ssl_object")
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        # With TLS 1.3, the verdict on our certificate comes after the handshake.
        if not await reader.read(1):
            raise ConnectionResetError("the server has hung up")
        return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))
    finally:
        writer.transport.abort()


async def test_its_names_and_its_life(state: CaState) -> None:
    async with ports(ServerCertificate(state)) as (port, _):
        leaf = await presented(port, state.bundle)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert list(names) == [
            x509.UniformResourceIdentifier(str(control_plane_id(state.trust_domain))),
            x509.DNSName(CONTROL_PLANE_NAME),
        ]
        assert abs(leaf.not_valid_after_utc - now() - LIFETIME) < timedelta(minutes=1)
        assert await presented(port, state.bundle) == leaf, "one for all connections"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_versions(state: CaState, version: ssl.TLSVersion) -> None:
    async with ports(ServerCertificate(state)) as (port, _):
        await presented(port, state.bundle, version=version)


async def test_it_is_renewed_on_both_ports(state: CaState, tmp_path: Path) -> None:
    held = client(state.authority(now()).issue(SpiffeId(state.trust_domain, "/a"), HOUR, now()), tmp_path)
    certificate = ServerCertificate(state, lifetime=timedelta(seconds=3))
    async with ports(certificate) as (port, mtls_port):
        first, first_mtls = await presented(port, state.bundle), await presented(mtls_port, state.bundle, held)
        assert first == first_mtls
        async with asyncio.timeout(10):
            while await presented(port, state.bundle) == first:
                await asyncio.sleep(0.1)
            while await presented(mtls_port, state.bundle, held) == first:
                await asyncio.sleep(0.1)


async def test_it_follows_the_rotation_of_the_root(state: CaState, tmp_path: Path) -> None:
    """Clients of both roots are let in while both are trusted, and afterwards those of the new one."""
    name = SpiffeId(state.trust_domain, "/a")
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
    old_roots = state.bundle
    old = client(state.authority(now()).issue(name, HOUR, now()), tmp_path / "old")
    async with ports(ServerCertificate(state)) as (port, mtls_port):
        first = await presented(mtls_port, old_roots, old)
        state.advance(Step.BEGIN, now())
        await presented(mtls_port, old_roots, old)
        state.advance(Step.ACTIVATE, now())
        for each in (port, mtls_port):
            activated = await presented(each, state.bundle, old)
            assert activated.issuer != first.issuer, "a leaf of the new root, at once"
        new = client(state.authority(now()).issue(name, HOUR, now()), tmp_path / "new")
        await presented(mtls_port, state.bundle, new)
        state.advance(Step.RETIRE, now())
        await presented(mtls_port, state.bundle, new)
        with pytest.raises(OSError):  # noqa: PT011  # the alert depends on the version of TLS
            await presented(mtls_port, state.bundle, old)
        with pytest.raises(ssl.SSLCertVerificationError):
            await presented(port, old_roots)


async def test_without_a_certificate(state: CaState) -> None:
    async with ports(ServerCertificate(state)) as (_, mtls_port):
        with pytest.raises(OSError):  # noqa: PT011
            await presented(mtls_port, state.bundle)
