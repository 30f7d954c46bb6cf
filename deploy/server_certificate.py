"""The control plane's own certificate: sidecars accept this one identity and no other, and it changes without a
restart.
"""

from __future__ import annotations

import logging
import random
from datetime import datetime, timedelta

import grpc

from ca.identity import control_plane_id
from ca.state import CaState
from ca.svid import renew_at
from deploy.clock import now

_log = logging.getLogger(__name__)
_LIFETIME = timedelta(hours=24)


class ServerCertificate:
    """Issues the certificate, and a new one with the first handshake after it is due."""

    def __init__(self, state: CaState) -> None:
        self._state = state
        self._renew_at: datetime = now()
        self._initial = self._issue()

    def credentials(self) -> grpc.ServerCredentials:
        """TLS for the xDS port. Clients prove who they are by token, not by certificate."""
        # The stub leaves out None, by which gRPC understands: no change.
        return grpc.dynamic_ssl_server_credentials(self._initial, self._fetch)  # type: ignore[arg-type]

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Called by gRPC for each handshake; None leaves the certificate as it is."""
        if now() < self._renew_at:
            return None
        _log.info("renewed the certificate of the control plane")
        return self._issue()

    def _issue(self) -> grpc.ServerCertificateConfiguration:
        moment = now()
        authority = self._state.authority(moment)
        svid = authority.issue(control_plane_id(self._state.trust_domain), _LIFETIME, moment)
        self._renew_at = renew_at(svid, random.random())  # noqa: S311  # spreads load, hides nothing
        return grpc.ssl_server_certificate_configuration([(svid.private_key_pem, svid.certificate_chain_pem)])
