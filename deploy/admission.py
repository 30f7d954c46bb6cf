"""Who may have a stream: certificates and tokens prove a workload, and the mesh must know it as it presents itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509

from ca.bundle import TrustBundle
from ca.identity import IdentityError, ProxyIdentity, SpiffeId, WorkloadIdentity
from ca.tokens import JoinTokens, TokenError, Use
from ca.validation import SvidError, verify_svid
from deploy.clock import now
from smi.model import Mesh, WorkloadKey
from xds.authentication import AuthenticationError, Authenticator, Credential, Peer

_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class TokenCredential(Credential):
    """What a token proves, and which one it was."""

    token_id: str = ""


class TokenAuthenticator:
    """Reads a bearer token for one use: those of streams come from the sidecar's credential injector."""

    def __init__(self, tokens: JoinTokens, use: Use = "stream") -> None:
        self._tokens = tokens
        self._use: Use = use

    async def authenticate(self, peer: Peer) -> TokenCredential:
        """The workload that the peer's token was made for. Raises AuthenticationError; its text holds no token."""
        header = peer.metadata.get("authorization", "")
        if not header.lower().startswith(_SCHEME):
            raise AuthenticationError(
                f"no {self._use} token: the header `authorization: Bearer TOKEN` is missing", "missing"
            )
        try:
            claims = self._tokens.verify(header[len(_SCHEME) :].strip(), now(), use=self._use)
        except TokenError as error:
            raise AuthenticationError(str(error), error.reason) from None
        return TokenCredential(
            str(claims.identity), claims.workload, claims.expires_at.timestamp(), token_id=claims.token_id
        )


class NoStreamTokens:
    """Nobody is let in on the token port."""

    async def authenticate(self, peer: Peer) -> Credential:
        del peer
        raise AuthenticationError(
            "this control plane takes no stream tokens: use `tulle sidecar`, which gets a certificate", "disabled"
        )


class PeerCertificate:
    """Reads the client certificate of a proxy. TLS has verified it, and it is verified again: TLS knows nothing of
    SPIFFE, and resumes sessions with certificates that have expired since, or whose root is gone.
    """

    def __init__(self, bundle: Callable[[], TrustBundle]) -> None:
        self._bundle = bundle

    async def authenticate(self, peer: Peer) -> Credential:
        """The workload whose proxy the peer is. Raises AuthenticationError."""
        bundle = self._bundle()
        try:
            spiffe_id = verify_svid(peer.certificates, bundle, now())
        except SvidError as error:
            raise AuthenticationError(f"client certificate refused: {error}", "certificate") from None
        if spiffe_id.trust_domain != bundle.trust_domain:
            # A federated root speaks for workloads that ours call, and for nobody who asks us for configuration.
            raise AuthenticationError(
                f"client certificate refused: {spiffe_id} is not of trust domain {bundle.trust_domain}", "trust-domain"
            )
        proxy = _proxy(spiffe_id)
        ends = x509.load_pem_x509_certificate(peer.certificates).not_valid_after_utc
        return Credential(str(proxy.serves), proxy.name, ends.timestamp())


class ByCertificateElse:
    """By the client certificate of peers that have one, which those of the mTLS port do; else as ``otherwise`` says."""

    def __init__(self, certificates: PeerCertificate, otherwise: Authenticator) -> None:
        self._certificates = certificates
        self._otherwise = otherwise

    async def authenticate(self, peer: Peer) -> Credential:
        return await (self._certificates if peer.certificates else self._otherwise).authenticate(peer)


def _proxy(spiffe_id: SpiffeId) -> ProxyIdentity:
    try:
        return ProxyIdentity.from_spiffe_id(spiffe_id)
    except IdentityError:
        pass
    try:
        WorkloadIdentity.from_spiffe_id(spiffe_id)
    except IdentityError:
        raise AuthenticationError(
            f"client certificate refused: {spiffe_id} is not the identity of a proxy", "not-a-proxy"
        ) from None
    raise AuthenticationError(
        f"client certificate refused: {spiffe_id} is an identity for the data plane, and opens no stream", "not-a-proxy"
    )


def workload_refusal(mesh: Mesh, workload: str, subject: str) -> str | None:
    """Why ``subject`` may not be the sidecar of ``workload`` (`namespace/name`), or None if it may."""
    namespace, _, name = workload.partition("/")
    proxy = mesh.proxies.get(WorkloadKey(namespace, name))
    if proxy is None:
        return f"there is no Workload {workload} with a sidecar"
    if str(proxy.identity) != subject:
        return f"Workload {workload} is {proxy.identity}, and the credential is for {subject}"
    return None


def authorizer(mesh: Callable[[], Mesh]) -> Callable[[str, Mapping[str, Any], Credential], str | None]:
    """Refuses proxies whose workload is not in the mesh, or is declared to be something else than they claim."""

    def refusal(node_id: str, metadata: Mapping[str, Any], credential: Credential) -> str | None:
        present = mesh()
        reason = workload_refusal(present, node_id, credential.subject)
        if reason is not None:
            return reason
        namespace, _, name = node_id.partition("/")
        proxy = present.proxies[WorkloadKey(namespace, name)]
        claimed = metadata.get("tulle", {})
        capture = claimed.get("capture") if isinstance(claimed, Mapping) else None
        if capture is not None and capture != proxy.capture.value:
            return (
                f"the sidecar of {node_id} runs in {str(capture)[:32]} mode, and is declared {proxy.capture.value}:"
                " start it with or without --transparent, or set spec.capture"
            )
        return None

    return refusal
