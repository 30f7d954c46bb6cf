"""The two ports of the control plane, as a client with a certificate, a token, or neither finds them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from ca import profiles
from ca.authority import Authority, create_intermediate, create_root
from ca.csr import signing_request
from ca.identity import CONTROL_PLANE_NAME, SpiffeId, TrustDomain, control_plane_id
from ca.signer import new_private_key, private_key_pem
from ca.spent import SpentTokens
from ca.state import CaState
from ca.tokens import JoinTokens
from ca.validation import verify_svid
from deploy.admission import ByCertificateElse, NoStreamTokens, PeerCertificate, TokenAuthenticator, authorizer
from deploy.enrolment import Enrolment, Gate
from deploy.enrolment_messages import (
    ENROL,
    MAX_REQUEST_LENGTH,
    EnrolmentAnswer,
    MessageError,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)
from deploy.join_directories import JoinDirectories
from deploy.server_certificate import ServerCertificate
from protos.envoy.service.discovery.v3_pb2 import DeltaDiscoveryRequest
from tests.unit.deploy.conftest import Scene, workload
from xds.authentication import AuthenticationError, Peer
from xds.server import ADS, Port, XdsServer

HOUR = timedelta(hours=1)
DOMAIN = TrustDomain("cluster.local")
PROXY = SpiffeId(DOMAIN, "/tulle/proxy/shop/web/sa/web")
Held = tuple[bytes, bytes]
"""A key and a chain, in PEM."""


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Ports:
    """A control plane that serves the workload shop/web; `join` is its token."""

    scene: Scene
    state: CaState
    server: XdsServer
    spent: SpentTokens
    directory: Path
    port: int

    @property
    def token(self) -> str:
        return (self.directory / "token").read_text()

    @asynccontextmanager
    async def channel(self, held: Held | None = None, port: int | None = None) -> AsyncIterator[grpc.aio.Channel]:
        tls = grpc.ssl_channel_credentials(self.state.bundle.own_pem, *(held or ()))
        options = [("grpc.ssl_target_name_override", CONTROL_PLANE_NAME), ("grpc.use_local_subchannel_pool", 1)]
        number = port or (self.server.mtls_port if held else self.port)
        async with grpc.aio.secure_channel(f"127.0.0.1:{number}", tls, options=options) as channel:
            yield channel

    async def enrol(
        self, token: str | None = None, held: Held | None = None, request: bytes | None = None
    ) -> tuple[EnrolmentAnswer, Held]:
        key = new_private_key()
        metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        async with self.channel(held) as channel:
            data = encode_request(signing_request(key)) if request is None else request
            answer = decode_answer(await channel.unary_unary(ENROL)(data, metadata=metadata, timeout=10))
        return answer, (private_key_pem(key), answer.certificate_pem)

    async def refused(self, **how: Any) -> str:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await self.enrol(**how)
        assert "\n" not in (error.value.details() or "")
        return f"{error.value.code().name}: {error.value.details()}"

    async def stream(self, held: Held | None = None, token: str | None = None) -> str:
        """How a stream of shop/web ends, if it is not served."""
        metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        async with self.channel(held) as channel:
            call: Any = channel.stream_stream(f"{ADS}DeltaAggregatedResources")(metadata=metadata, timeout=10)
            first = DeltaDiscoveryRequest(type_url="type.googleapis.com/envoy.config.cluster.v3.Cluster")
            first.node.id = "shop/web"
            try:
                await call.write(first.SerializeToString())
                if await call.read() is not grpc.aio.EOF:
                    return ""
                return f"{(await call.code()).name}: {await call.details()}"
            except grpc.aio.AioRpcError as error:
                return f"{error.code().name}: {error.details()}"

    def issue(self, spiffe_id: SpiffeId, lifetime: timedelta = HOUR) -> Held:
        svid = self.state.authority(now()).issue(spiffe_id, lifetime, now())
        return svid.private_key_pem, svid.certificate_chain_pem

    def count(self, proof: str, outcome: str) -> float | None:
        labels = {"proof": proof, "outcome": outcome}
        return self.server.metrics.registry.get_sample_value("tulle_enrolments_total", labels)


@asynccontextmanager
async def serving(scene: Scene, state: CaState, folder: Path, *, stream_tokens: bool = True) -> AsyncIterator[Ports]:
    tokens, tls = JoinTokens(state.join_token_key), ServerCertificate(state)
    with SpentTokens(folder / "spent-tokens", now()) as spent:
        joins = JoinDirectories(folder, state, spent, stream_tokens=stream_tokens)
        joins.update(scene.live.mesh.proxies)
        certificates = PeerCertificate(lambda: state.bundle)
        enrolment = Enrolment(
            state,
            Gate(certificates, TokenAuthenticator(tokens, "join"), spent),
            lambda: scene.live.mesh,
            lambda: server.mtls_port,
            lambda key: joins.follow((key,), scene.live.mesh.proxies),
        )
        server = XdsServer(
            scene.store,
            ByCertificateElse(certificates, TokenAuthenticator(tokens) if stream_tokens else NoStreamTokens()),
            authorizer(lambda: scene.live.mesh),
            tls.credentials(),
            "127.0.0.1:0",
            mtls=Port("127.0.0.1:0", tls.mtls_credentials()),
            calls=enrolment.calls,
        )
        server.metrics.registry.register(enrolment)
        port = await server.start()
        try:
            yield Ports(scene, state, server, spent, folder / "join" / "shop" / "web", port)
        finally:
            await server.stop(0)


@pytest.fixture
async def ports(scene: Scene, state: CaState, tmp_path: Path) -> AsyncIterator[Ports]:
    scene.declare(workload("web"))
    scene.store.mark_ready()
    async with serving(scene, state, tmp_path) as running:
        yield running


async def test_a_token_gets_a_certificate_and_that_a_stream_and_the_next_one(ports: Ports) -> None:
    answer, held = await ports.enrol(ports.token)
    assert verify_svid(answer.certificate_pem, ports.state.bundle, now()) == PROXY
    assert (answer.bundle_pem, answer.xds_mtls_port) == (ports.state.bundle.own_pem, ports.server.mtls_port)
    leaf = x509.load_pem_x509_certificate(answer.certificate_pem)
    assert answer.not_after == leaf.not_valid_after_utc
    assert leaf.not_valid_after_utc <= now() + timedelta(seconds=ports.scene.live.mesh.certificate_lifetime)
    assert await ports.stream(held) == ""
    again, next_held = await ports.enrol(held=held)
    assert verify_svid(again.certificate_pem, ports.state.bundle, now()) == PROXY
    assert again.certificate_pem != answer.certificate_pem
    assert await ports.stream(next_held) == ""
    assert (ports.count("token", "issued"), ports.count("certificate", "issued")) == (1, 1)


async def test_a_token_is_used_once_and_another_lies_ready(ports: Ports) -> None:
    token = ports.token
    await ports.enrol(token)
    assert await ports.refused(token=token) == "UNAUTHENTICATED: the join token of shop/web has been used already"
    assert ports.token != token
    await ports.enrol(ports.token)
    assert (ports.count("token", "issued"), ports.count("token", "refused")) == (2, 1)


async def test_of_simultaneous_uses_one_wins(ports: Ports) -> None:
    outcomes = await asyncio.gather(*(ports.enrol(ports.token) for _ in range(12)), return_exceptions=True)
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1


async def test_tokens_are_good_for_their_own_use(ports: Ports) -> None:
    stream_token = (ports.directory / "stream-token").read_text()
    assert await ports.stream(token=stream_token) == ""
    assert "meant for another use" in await ports.stream(token=ports.token)
    assert "meant for another use" in await ports.refused(token=stream_token)
    assert "no join token" in await ports.refused()


async def test_stream_tokens_may_be_off(scene: Scene, state: CaState, tmp_path: Path) -> None:
    scene.declare(workload("web"))
    scene.store.mark_ready()
    async with serving(scene, state, tmp_path) as on:
        stream_token = (on.directory / "stream-token").read_text()
    async with serving(scene, state, tmp_path, stream_tokens=False) as off:
        assert {path.name for path in off.directory.iterdir()} == {"token", "bundle.pem"}
        assert "takes no stream tokens: use `tulle sidecar`" in await off.stream(token=stream_token)
        _, held = await off.enrol(off.token)
        assert await off.stream(held) == ""


async def test_what_is_wrong_with_the_request_does_not_cost_the_token(ports: Ports) -> None:
    p384 = signing_request(ec.generate_private_key(ec.SECP384R1()))
    for request, reason in [
        (b"", "not JSON of the form"),
        (b"[" * 5000, "not JSON of the form"),
        (b'{"csr": 7}', "not JSON of the form"),
        (b'{"csr": "x"}', "not one certificate request in PEM"),
        (encode_request(p384), "the key is not an elliptic curve key on P-256"),
        (b" " * (MAX_REQUEST_LENGTH + 1), "longer than"),
        (b" " * 5_000_000, "longer than"),
    ]:
        assert reason in await ports.refused(token=ports.token, request=request)
    await ports.enrol(ports.token)


async def test_names_come_from_the_mesh_and_not_from_the_request(ports: Ports) -> None:
    key = new_private_key()
    wishes = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(
        x509.BasicConstraints(ca=True, path_length=3), critical=True
    )
    names = [x509.UniformResourceIdentifier(str(control_plane_id(DOMAIN))), x509.DNSName(CONTROL_PLANE_NAME)]
    wishes = wishes.add_extension(x509.SubjectAlternativeName(names), critical=True)
    csr = wishes.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    answer, _ = await ports.enrol(ports.token, request=encode_request(csr))
    assert verify_svid(answer.certificate_pem, ports.state.bundle, now()) == PROXY
    leaf = x509.load_pem_x509_certificate(answer.certificate_pem)
    assert leaf.public_key() == key.public_key()
    assert (
        leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
        == []
    )


async def test_a_workload_that_is_gone_or_another(ports: Ports) -> None:
    token = ports.token
    _, held = await ports.enrol(token)
    late = ports.token
    ports.scene.declare(workload("web", service_account="other"))
    for how in ({"token": late}, {"held": held}):
        assert "Workload shop/web is spiffe://cluster.local/ns/shop/sa/other, and the credential is for" in (
            await ports.refused(**how)
        )
    assert "and the credential is for" in await ports.stream(held)
    ports.scene.withdraw(workload("web"))
    for how in ({"token": late}, {"held": held}):
        assert "there is no Workload shop/web with a sidecar" in await ports.refused(**how)


async def test_a_disk_that_is_full_costs_nothing(ports: Ports) -> None:
    file, ports.spent._file = ports.spent._file, os.open("/dev/full", os.O_WRONLY)
    assert (await ports.refused(token=ports.token)).startswith("UNAVAILABLE: the control plane cannot write")
    os.close(ports.spent._file)
    ports.spent._file = file
    await ports.enrol(ports.token)


# Certificates that are not those of a proxy


async def test_a_certificate_of_the_data_plane_opens_nothing(ports: Ports) -> None:
    held = ports.issue(SpiffeId(DOMAIN, "/ns/shop/sa/web"))
    reason = "is an identity for the data plane, and opens no stream"
    assert reason in await ports.stream(held)
    assert reason in await ports.refused(held=held)


async def test_the_control_planes_own_opens_nothing_either(ports: Ports) -> None:
    assert "is not the identity of a proxy" in await ports.stream(ports.issue(control_plane_id(DOMAIN)))


async def test_without_a_certificate_the_mtls_port_is_closed(ports: Ports) -> None:
    async with ports.channel(port=ports.server.mtls_port) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await channel.unary_unary(ENROL)(b"", timeout=10)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_certificates_of_others_do_not_pass_tls(ports: Ports) -> None:
    root = create_root(DOMAIN, now())
    stranger = Authority(root, create_intermediate(root, now())).issue(PROXY, HOUR, now())
    assert (await ports.stream((stranger.private_key_pem, stranger.certificate_chain_pem))).startswith("UNAVAILABLE")
    early = now() - timedelta(minutes=50)
    expired = ports.state.authority(early).issue(PROXY, timedelta(minutes=10), early)
    assert (await ports.stream((expired.private_key_pem, expired.certificate_chain_pem))).startswith("UNAVAILABLE")


async def test_a_stream_ends_with_its_certificate(ports: Ports) -> None:
    held = ports.issue(PROXY, timedelta(seconds=3))
    async with ports.channel(held) as channel:
        call: Any = channel.stream_stream(f"{ADS}DeltaAggregatedResources")(timeout=20)
        first = DeltaDiscoveryRequest(type_url="type.googleapis.com/envoy.config.cluster.v3.Cluster")
        first.node.id = "shop/web"
        await call.write(first.SerializeToString())
        assert await call.read() is not grpc.aio.EOF
        with contextlib.suppress(grpc.aio.AioRpcError):
            while await call.read() is not grpc.aio.EOF:
                pass
        assert "the credential that opened this stream has expired" in await call.details()
        # On the same connection, which TLS has let in while it was good:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await channel.unary_unary(ENROL)(b"{}", timeout=10)
        assert "client certificate refused: expired at" in (error.value.details() or "")


def chain_of(authority: Authority, spiffe_id: SpiffeId, names: list[x509.GeneralName], *, signs: bool = False) -> bytes:
    """A leaf of `authority` that TLS would let pass, with other names than it issues, or that may sign."""
    moment = now().replace(microsecond=0)
    validity = profiles.Validity(moment - HOUR / 2, moment + HOUR)
    issuer = authority.intermediate
    made = profiles.leaf(spiffe_id, new_private_key().public_key(), validity, issuer.certificate)
    builder = x509.CertificateBuilder(
        issuer_name=issuer.certificate.subject,
        subject_name=x509.Name([]),
        public_key=made._public_key,
        serial_number=x509.random_serial_number(),
        not_valid_before=validity.not_before,
        not_valid_after=validity.not_after,
    )
    for extension in made._extensions:
        value: Any = extension.value
        if isinstance(value, x509.SubjectAlternativeName):
            value = x509.SubjectAlternativeName(names)
        if isinstance(value, x509.BasicConstraints):
            value = x509.BasicConstraints(ca=signs, path_length=None)
        builder = builder.add_extension(value, extension.critical)
    leaf = builder.sign(issuer.private_key, hashes.SHA256())
    return leaf.public_bytes(Encoding.PEM) + issuer.certificate.public_bytes(Encoding.PEM)


PROXY_NAME = x509.UniformResourceIdentifier(str(PROXY))
FORGED: Mapping[str, tuple[list[x509.GeneralName], bool, str]] = {
    "two URIs": ([PROXY_NAME, x509.UniformResourceIdentifier("spiffe://cluster.local/x")], False, "2 URI names"),
    "the same twice": ([PROXY_NAME, PROXY_NAME], False, "2 URI names"),
    "no URI": ([x509.DNSName("web.shop")], False, "0 URI names"),
    "a signer": ([PROXY_NAME], True, "signing certificate"),
    "a NUL byte": ([x509.UniformResourceIdentifier(f"{PROXY}\0.evil")], False, "not a SPIFFE ID"),
    "no SPIFFE ID": ([x509.UniformResourceIdentifier("https://x")], False, "not a SPIFFE ID"),
    "another domain": ([x509.UniformResourceIdentifier("spiffe://other/tulle/proxy/a/b/sa/c")], False, "not trusted"),
    "a longer path": ([x509.UniformResourceIdentifier(f"{PROXY}/more")], False, "not the identity of a proxy"),
}


@pytest.mark.parametrize("case", FORGED)
async def test_what_tls_lets_pass_is_judged_again(case: str) -> None:
    names, signs, reason = FORGED[case]
    root = create_root(DOMAIN, now())
    authority = Authority(root, create_intermediate(root, now()))
    chain = chain_of(authority, PROXY, names, signs=signs)
    with pytest.raises(AuthenticationError, match=reason):
        await PeerCertificate(lambda: authority.bundle).authenticate(Peer({}, str(PROXY), "", chain))
    good = Peer({}, None, "", chain_of(authority, PROXY, [PROXY_NAME]))
    assert (await PeerCertificate(lambda: authority.bundle).authenticate(good)).workload == "shop/web"


async def test_a_federated_domain_has_no_proxies_here() -> None:
    there = create_root(TrustDomain("other"), now())
    theirs = Authority(there, create_intermediate(there, now()))
    here = create_root(DOMAIN, now())
    bundle = Authority(here, create_intermediate(here, now())).bundle.federated(
        {TrustDomain("other"): theirs.bundle.roots[TrustDomain("other")]}
    )
    chain = theirs.issue(SpiffeId(TrustDomain("other"), PROXY.path), HOUR, now()).certificate_chain_pem
    with pytest.raises(AuthenticationError, match=r"is not of trust domain cluster\.local"):
        await PeerCertificate(lambda: bundle).authenticate(Peer({}, None, "", chain))


# Messages


@settings(max_examples=500, deadline=500)
@given(st.binary(max_size=2000) | st.recursive(st.none() | st.text(), st.lists).map(lambda each: repr(each).encode()))
def test_any_message(data: bytes) -> None:
    for decode in (decode_request, decode_answer):
        with pytest.raises(MessageError):
            decode(data)


def test_messages_come_back() -> None:
    answer = EnrolmentAnswer(b"chain", b"roots", 15011, datetime(2027, 3, 1, tzinfo=UTC))
    assert decode_answer(encode_answer(answer)) == answer
    assert decode_request(encode_request(b"csr")) == b"csr"
