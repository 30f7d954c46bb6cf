"""State-of-the-world ADS: requests carry all names, and responses of LDS and CDS all resources."""

from __future__ import annotations

from protos.envoy.service.discovery.v3_pb2 import DiscoveryRequest
from xds import framing
from xds.ledger import Batch
from xds.stream import Stream
from xds.substream import SubStream
from xds.view import combined_version


class SotwStream(Stream):
    """Reads ``DiscoveryRequest``, writes ``DiscoveryResponse``."""

    protocol = "sotw"

    def _resumes(self, request: DiscoveryRequest) -> bool:
        return bool(request.version_info)

    def _subscribe(self, sub: SubStream, request: DiscoveryRequest) -> None:
        """A stale request is not answered: the client repeats its names in the answer to the newer response.

        Before anything was sent no nonce is stale: older Envoys begin with the last one of an earlier stream.
        """
        nonce = request.response_nonce
        if nonce and sub.last_nonce and nonce != sub.last_nonce:
            sub.foresee(request.resource_names)
            return
        sub.demand(sub.subscription.replace(request.resource_names), {})

    def _prefix(self, type_url: str) -> bytes:
        return framing.sotw_prefix(type_url, self._identifier)

    def _frame(self, sub: SubStream, batch: Batch, nonce: str) -> list[bytes]:
        """Removed names have no place here: of LDS and CDS absence says it, of the others nothing does."""
        if sub.policy.full_state:
            state = sub.full_state()
            version, content = state.version, [part.sotw for part in state.parts]
        elif not batch.resources:
            return []
        else:
            version = combined_version(batch.resources)
            content = [part for each in batch.resources for part in (each.sotw_header, each.body)]
        return [sub.prefix, framing.nonce_field(nonce), framing.version_field(version), *content]
