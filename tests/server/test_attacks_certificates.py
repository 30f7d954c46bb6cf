"""Attacks by certificate, on the mTLS port. What TLS can tell is refused in the handshake, by gRPC, which says so to
the peer and to nobody else; what it cannot tell, because our own authority has signed it, is refused with a reason.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import grpc
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ca.authority import create_intermediate, create_root
from ca.csr import signing_request
from ca.identity import TrustDomain
from deploy.enrolment_messages import ENROL, decode_answer, encode_request
from tests.server.siege import HONEST, OTHER, Siege, besieged
from xds.resource import TypeUrl

pytestmark = pytest.mark.asyncio(loop_scope="module")
DOMAIN = TrustDomain("cluster.local")
PROXY = "spiffe://cluster.local/tulle/proxy/shop/web/sa/web"
NO_SPIFFE_ID = "the URI name of the leaf is not a SPIFFE ID"
HOUR = dt.timedelta(hours=1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def siege(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Siege]:
    async with besieged(tmp_path_factory.mktemp("siege") / "work") as started:
        yield started


@dataclass(frozen=True)
class Signer:
    """A key that signs, its certificate, and what stands between that and a root, in PEM."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    chain: bytes


def authority(siege: Siege) -> Signer:
    """The intermediate of the control plane itself, as if somebody had got hold of it."""
    (file,) = (siege.work / "state" / "ca").rglob("intermediate.pem")
    return signer(file.read_bytes())


def signer(pem: bytes) -> Signer:
    certificate = x509.load_pem_x509_certificate(pem)
    key = serialization.load_pem_private_key(pem[pem.index(b"-----BEGIN PRIVATE KEY") :], None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return Signer(key, certificate, certificate.public_bytes(serialization.Encoding.PEM))


def foreign_authority() -> Signer:
    """Another root, with an intermediate for the same trust domain."""
    root = create_root(DOMAIN, dt.datetime.now(dt.UTC))
    made = create_intermediate(root, dt.datetime.now(dt.UTC))
    return Signer(made.private_key, made.certificate, made.certificate.public_bytes(serialization.Encoding.PEM))


def issued(
    by: Signer | None,
    *uris: str,
    begins: dt.timedelta = -dt.timedelta(minutes=1),
    ends: dt.timedelta = HOUR,
    ca: bool = False,
) -> Signer:
    """A leaf with these names; self-signed without `by`. The library writes whatever a URI holds."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if by is None else by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris]), False)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), True)
        .add_extension(x509.KeyUsage(True, False, False, False, False, ca, False, False, False), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key((by.key if by else key).public_key()), False)
        .sign(key if by is None else by.key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    return Signer(key, certificate, pem + (by.chain if by else b""))


def presenting(siege: Siege, leaf: Signer) -> grpc.ChannelCredentials:
    key = leaf.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return grpc.ssl_channel_credentials((siege.join(HONEST) / "bundle.pem").read_bytes(), key, leaf.chain)


IN_HANDSHAKE: dict[str, Callable[[Siege], Signer]] = {
    "expired": lambda siege: issued(authority(siege), PROXY, begins=-2 * HOUR, ends=-dt.timedelta(minutes=5)),
    "not yet valid": lambda siege: issued(authority(siege), PROXY, begins=HOUR, ends=2 * HOUR),
    "self-signed": lambda _: issued(None, PROXY),
    "a leaf used as a CA": lambda siege: issued(issued(authority(siege), PROXY), PROXY),
    "a foreign root that signs our trust domain": lambda _: issued(foreign_authority(), PROXY),
}


@pytest.mark.parametrize("forged", IN_HANDSHAKE.values(), ids=IN_HANDSHAKE)
async def test_what_tls_can_tell_ends_in_the_handshake(siege: Siege, forged: Callable[[Siege], Signer]) -> None:
    async with siege.stream(credentials=presenting(siege, forged(siege))) as client:
        await client.send(node=HONEST)
        code, _ = await client.ending()
        assert code == "UNAVAILABLE"
    assert siege.told("got a client certificate") == []
    await siege.delay()


async def test_no_certificate_is_no_connection(siege: Siege) -> None:
    only_trust = grpc.ssl_channel_credentials((siege.join(HONEST) / "bundle.pem").read_bytes())
    async with siege.stream(siege.token(HONEST), credentials=only_trust) as client:
        assert (await client.ending())[0] == "UNAVAILABLE", "a good token makes no difference here"


@dataclass(frozen=True)
class Forged:
    """Signed by our own authority: who it says to be, what it is told, and how that is counted."""

    uris: tuple[str, ...]
    reason: str
    counted: str
    code: str = "UNAUTHENTICATED"


SIGNED: dict[str, Forged] = {
    "a second URI": Forged((PROXY, PROXY + "x"), "the leaf has 2 URI names instead of one", "certificate"),
    "a NUL byte in the URI": Forged(
        (PROXY + "\0.evil.test",), "the URI name of the leaf is not a SPIFFE ID", "certificate"
    ),
    "a newline in the URI": Forged((PROXY + "\n",), NO_SPIFFE_ID, "certificate"),
    "wrong trust domain": Forged(
        (PROXY.replace("cluster.local", "evil.test"),), "trust domain evil.test is not trusted", "certificate"
    ),
    "a workload certificate as xDS client": Forged(
        ("spiffe://cluster.local/ns/shop/sa/web",),
        "spiffe://cluster.local/ns/shop/sa/web is an identity for the data plane, and opens no stream",
        "not-a-proxy",
    ),
    "the control plane's own name": Forged(
        ("spiffe://cluster.local/tulle/control-plane",),
        "spiffe://cluster.local/tulle/control-plane is not the identity of a proxy",
        "not-a-proxy",
    ),
    "another workload's node id": Forged(
        (PROXY.replace("web", "cart"),),
        "node id 'shop/web' is not 'shop/cart', which the credential belongs to",
        "node",
        "PERMISSION_DENIED",
    ),
    "another service account": Forged(
        (PROXY.replace("sa/web", "sa/root"),),
        "Workload shop/web is spiffe://cluster.local/ns/shop/sa/web, and the credential is for"
        " spiffe://cluster.local/ns/shop/sa/root",
        "node",
        "PERMISSION_DENIED",
    ),
}


@pytest.mark.parametrize("forged", SIGNED.values(), ids=SIGNED)
async def test_what_our_authority_signed_is_judged_again(siege: Siege, forged: Forged) -> None:
    reason = forged.reason if forged.counted == "node" else f"client certificate refused: {forged.reason}"
    before = await siege.metric("tulle_xds_authentication_failures_total", reason=forged.counted)
    for _ in range(2):
        async with siege.stream(credentials=presenting(siege, issued(authority(siege), *forged.uris))) as client:
            await client.send(node=HONEST)
            assert await client.ending() == (forged.code, reason)
    assert await siege.metric("tulle_xds_authentication_failures_total", reason=forged.counted) == before + 2
    assert len(siege.told(f"stream refused: {forged.code}: {reason}")) == 1
    await siege.delay()


async def test_a_good_certificate_is_let_in(siege: Siege) -> None:
    """Or the refusals above would prove nothing."""
    leaf = issued(authority(siege), PROXY.replace("web", "cart"))
    async with siege.stream(credentials=presenting(siege, leaf)) as client:
        await client.send(node=OTHER, type_url=TypeUrl.CLUSTER)
        await client.receive()


async def enrol(siege: Siege, token: str) -> bytes:
    request = encode_request(signing_request(ec.generate_private_key(ec.SECP256R1())))
    async with siege.channel() as channel:
        call = channel.unary_unary(ENROL)
        return bytes(await call(request, metadata=(("authorization", f"Bearer {token}"),)))


async def test_a_join_token_is_good_once_and_for_nothing_else(siege: Siege) -> None:
    token = (siege.join(OTHER) / "token").read_text().strip()
    async with siege.stream(token) as client:
        await client.send(node=OTHER)
        assert (await client.ending())[0] == "UNAUTHENTICATED"
    answer = decode_answer(await enrol(siege, token))
    leaf = x509.load_pem_x509_certificate(answer.certificate_pem)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [each.value for each in names] == ["spiffe://cluster.local/tulle/proxy/shop/cart/sa/cart"]
    for stolen, counted in ((token, "spent"), (siege.token(OTHER), "use")):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await enrol(siege, stolen)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert stolen not in str(caught.value)
        assert await siege.metric("tulle_xds_authentication_failures_total", reason=counted) >= 1
    assert token not in siege.log()


async def test_a_request_for_a_certificate_is_bounded(siege: Siege) -> None:
    token = (siege.join(HONEST) / "token").read_text().strip()
    async with siege.channel() as channel:
        call = channel.unary_unary(ENROL)
        headers = (("authorization", f"Bearer {token}"),)
        for request in (b"", b"{", b"[" * 100_000, json.dumps({"csr": "x" * 20_000}).encode(), b"\0" * (1 << 20)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(request, metadata=headers)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert decode_answer(await enrol(siege, token)).certificate_pem, "none of them has spent the token"
    await siege.delay()
