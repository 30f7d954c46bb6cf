"""The control plane's own certificate: sidecars accept this one identity and no other, and it changes without a
restart.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from datetime import datetime, timedelta

import grpc

from ca.authority import AuthorityError
from ca.identity import CONTROL_PLANE_NAME, control_plane_id
from ca.state import CaState, StateError
from ca.svid import renew_at
from deploy.clock import now

_log = logging.getLogger(__name__)
LIFETIME = timedelta(hours=24)


class ServerCertificate:
    """Issues the certificate, and a new one with the first handshake after it is due, or after the roots have changed.

    It names the control plane by SPIFFE ID for Envoy, and by `CONTROL_PLANE_NAME` for clients that only check names.
    """

    def __init__(self, state: CaState, lifetime: timedelta = LIFETIME) -> None:
        self._state = state
        self._lifetime = lifetime
        # gRPC asks from a thread for each port. Both may renew at once; then one certificate more is made than needed.
        self._current = self._issue()

    def credentials(self) -> grpc.ServerCredentials:
        """TLS for the token port: clients prove who they are by token, not by certificate."""
        return self._credentials(mutual=False)

    def mtls_credentials(self) -> grpc.ServerCredentials:
        """TLS for the mTLS port: clients need a certificate of the mesh's own roots, whichever those are."""
        return self._credentials(mutual=True)

    def _credentials(self, *, mutual: bool) -> grpc.ServerCredentials:
        used = initial = self._current

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            """Called by gRPC for each handshake; None leaves the certificate as it is."""
            nonlocal used
            current = self._up_to_date()
            if current is used:
                return None
            used = current
            return current.configuration

        # The stub leaves out None, by which gRPC understands: no change.
        return grpc.dynamic_ssl_server_credentials(
            initial.configuration,
            fetch,  # type: ignore[arg-type]
            require_client_authentication=mutual,
        )

    def renew(self) -> None:
        """Have a new one with the next handshake. Raises StateError and AuthorityError."""
        self._current = self._issue()
        _log.info("renewed the certificate of the control plane")

    def _up_to_date(self) -> _Issued:
        try:
            moment = now()
            changed = (self._state.bundle.own_pem, self._state.issuing_root) != self._current.roots
            if changed or moment >= self._current.renew_at:
                self.renew()
        except (StateError, AuthorityError) as error:
            # A person's disk or root, not our bug; until then the old one is better than none.
            _log.error("cannot renew the certificate of the control plane: %s", error)
        return self._current

    def _issue(self) -> _Issued:
        moment = now()
        # Before the certificate: should the root change meanwhile, then the next handshake gets another one.
        issuing_root = self._state.issuing_root
        authority = self._state.authority(moment)
        identity = control_plane_id(self._state.trust_domain)
        svid = authority.issue(identity, self._lifetime, moment, dns_names=(CONTROL_PLANE_NAME,))
        roots = self._state.bundle.own_pem
        pair = (svid.private_key_pem, svid.certificate_chain_pem)
        return _Issued(
            grpc.ssl_server_certificate_configuration([pair], root_certificates=roots),
            (roots, issuing_root),
            renew_at(svid, random.random()),  # noqa: S311  # spreads load, hides nothing
        )


@dataclass(frozen=True, slots=True)
class _Issued:
    configuration: grpc.ServerCertificateConfiguration
    roots: tuple[bytes, str]
    """Those that clients are verified with, and the id of the one it comes from."""
    renew_at: datetime
