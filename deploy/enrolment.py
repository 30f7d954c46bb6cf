"""Enrolment: a proxy exchanges its single-use join token for a client certificate, and later that for the next one.

In: a signing request (see `deploy.enrolment_messages`) from a peer with a join token, on the token port, or with a
certificate, on the mTLS port. Out: a certificate, or a refusal of one line. The request gives a public key and nothing
else: which names are signed, and for how long, is settled here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from ca.authority import AuthorityError
from ca.csr import CsrError, requested_key
from ca.identity import proxy_id
from ca.private_file import StateError
from ca.spent import SpentTokens
from ca.state import CaState
from deploy.admission import PeerCertificate, TokenAuthenticator, TokenCredential, workload_refusal
from deploy.clock import now
from deploy.enrolment_messages import ENROL, EnrolmentAnswer, MessageError, decode_request, encode_answer
from smi.model import Mesh, WorkloadKey
from xds.authentication import Credential
from xds.opening import authenticated, peer_of
from xds.refusal import Refused
from xds.services import Call

_AT_ONCE = 16
"""Exchanges; the others wait for the disk and for us."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gate:
    """Who proves what: certificates on the one port, single-use tokens and which are spent on the other."""

    certificates: PeerCertificate
    join_tokens: TokenAuthenticator
    spent: SpentTokens


class Enrolment(Collector):
    """Answers `ENROL`. A Prometheus collector.

    ``mtls_port`` tells where certificates are good for a stream; ``on_spent`` hears of workloads whose token was used,
    before the answer goes out, and gives them another.
    """

    def __init__(
        self,
        state: CaState,
        gate: Gate,
        mesh: Callable[[], Mesh],
        mtls_port: Callable[[], int],
        on_spent: Callable[[WorkloadKey], None],
        *,
        lifetime: timedelta | None = None,
    ) -> None:
        """``lifetime``: of certificates; None: what the mesh says."""
        self._state = state
        self._gate = gate
        self._mesh = mesh
        self._mtls_port = mtls_port
        self._on_spent = on_spent
        self._lifetime = lifetime
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._counts: Counter[tuple[str, str]] = Counter()

    @property
    def calls(self) -> dict[str, Call]:
        """For ``XdsServer``."""
        return {ENROL: self.enrol}

    async def enrol(self, request: bytes, context: Any) -> bytes:
        """One exchange. Raises Refused."""
        proof = "certificate" if peer_of(context).certificates else "token"
        try:
            async with self._places:
                answer = await self._exchange(request, context, proof)
        except Refused:
            self._counts[proof, "refused"] += 1
            raise
        self._counts[proof, "issued"] += 1
        return answer

    async def _exchange(self, request: bytes, context: Any, proof: str) -> bytes:
        gate = self._gate
        credential = await authenticated(gate.certificates if proof == "certificate" else gate.join_tokens, context)
        # All that can be wrong with a request is found before the token is spent.
        key = _requested_key(request)
        reason = workload_refusal(self._mesh(), credential.workload, credential.subject)
        if reason is not None:
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, reason, failure="node")
        if isinstance(credential, TokenCredential):
            await self._spend(credential)
        return encode_answer(self._issued(credential, key))

    async def _spend(self, credential: TokenCredential) -> None:
        expires_at = datetime.fromtimestamp(credential.expires_at or 0, UTC)
        try:
            first = await asyncio.to_thread(self._gate.spent.spend, credential.token_id, expires_at, now())
        except StateError as error:
            _log.error("cannot exchange a join token: %s", error)  # a person's disk, not our bug
            raise Refused(
                grpc.StatusCode.UNAVAILABLE, "the control plane cannot write down that the token is used"
            ) from None
        if not first:
            raise Refused(
                grpc.StatusCode.UNAUTHENTICATED,
                f"the join token of {credential.workload} has been used already",
                failure="spent",
            )
        namespace, _, name = credential.workload.partition("/")
        self._on_spent(WorkloadKey(namespace, name))

    def _issued(self, credential: Credential, key: ec.EllipticCurvePublicKey) -> EnrolmentAnswer:
        mesh = self._mesh()
        namespace, _, name = credential.workload.partition("/")
        proxy = mesh.proxies.get(WorkloadKey(namespace, name))
        if proxy is None:  # since a moment ago
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, f"there is no Workload {credential.workload} any more")
        lifetime = self._lifetime or timedelta(seconds=mesh.certificate_lifetime)
        try:
            authority = self._state.authority(now())
            chain = authority.sign(proxy_id(proxy.identity, name), key, lifetime, now())
        except (StateError, AuthorityError) as error:
            _log.error("cannot sign the certificate of %s: %s", credential.workload, error)  # not our bug
            raise Refused(grpc.StatusCode.UNAVAILABLE, "the control plane cannot sign certificates now") from None
        ends = x509.load_pem_x509_certificate(chain).not_valid_after_utc
        _log.info("%s got a client certificate until %s", credential.workload, ends)
        return EnrolmentAnswer(chain, self._state.bundle.own_pem, self._mtls_port(), ends)

    def collect(self) -> Iterator[Metric]:
        """What came of the exchanges."""
        counter = CounterMetricFamily(
            "tulle_enrolments", "Exchanges for a client certificate, by proof and outcome", labels=("proof", "outcome")
        )
        for proof in ("token", "certificate"):
            for outcome in ("issued", "refused"):
                counter.add_metric((proof, outcome), self._counts[proof, outcome])
        yield counter


def _requested_key(request: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return requested_key(decode_request(request))
    except (MessageError, CsrError) as error:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"enrolment: {error}") from None
