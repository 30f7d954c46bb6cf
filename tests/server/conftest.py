"""Certificates and servers for the tests of this folder; see ``plane``."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.server.plane import PROXY, MakePlane, Plane, Tokens, Visits, cluster
from xds.server import XdsServer
from xds.store import Store
from xds.view import View


@pytest.fixture(scope="session")
def key_pair() -> tuple[bytes, bytes]:
    """A key and its self-signed certificate for 127.0.0.1, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "control plane")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_pem = certificate.public_bytes(serialization.Encoding.PEM)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key_pem, certificate_pem


@pytest.fixture(scope="session")
def root_pem(key_pair: tuple[bytes, bytes]) -> bytes:
    return key_pair[1]


@pytest.fixture(scope="session")
def tls(key_pair: tuple[bytes, bytes]) -> tuple[grpc.ServerCredentials, grpc.ChannelCredentials]:
    return grpc.ssl_server_credentials([key_pair]), grpc.ssl_channel_credentials(key_pair[1])


@pytest.fixture
async def make_plane(tls: Any) -> AsyncIterator[MakePlane]:
    planes: list[Plane] = []

    async def make(
        *,
        ready: bool = True,
        clusters: tuple[str, ...] = ("a", "b"),
        address: str = "127.0.0.1:0",
        **settings: Any,
    ) -> Plane:
        store, tokens, visits = Store(), Tokens(), Visits()
        refusals: dict[str, str] = {}
        server = XdsServer(
            store,
            tokens,
            lambda node, _metadata, _credential: refusals.get(node),
            tls[0],
            address,
            observer=visits,
            **settings,
        )
        plane = Plane(store, server, tokens, visits, await server.start(), tls[1], refusals)
        store.set_view(PROXY, View(("all",)))
        plane.put(*map(cluster, clusters))
        if ready:
            store.mark_ready()
        planes.append(plane)
        return plane

    yield make
    for plane in planes:
        await plane.server.stop(1)


@pytest.fixture
async def plane(make_plane: MakePlane) -> Plane:
    return await make_plane()
