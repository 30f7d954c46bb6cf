"""Delta ADS: requests change the subscription, responses carry what changed."""

from __future__ import annotations

from collections.abc import Mapping

from protos.envoy.service.discovery.v3_pb2 import DeltaDiscoveryRequest
from xds import framing
from xds.ledger import Batch
from xds.stream import Stream
from xds.substream import SubStream


class DeltaStream(Stream):
    """Reads ``DeltaDiscoveryRequest``, writes ``DeltaDiscoveryResponse``."""

    protocol = "delta"

    def _subscribe(self, sub: SubStream, request: DeltaDiscoveryRequest) -> None:
        """The nonce is for answers only: a stale one never costs the client a change of subscription."""
        first = not sub.subscription.requested
        initial: Mapping[str, str] = dict(request.initial_resource_versions) if first else {}
        demand = sub.subscription.update(request.resource_names_subscribe, request.resource_names_unsubscribe)
        sub.demand(demand, initial)

    def _frame(self, sub: SubStream, batch: Batch, nonce: str) -> list[bytes]:
        parts = [framing.delta_envelope(sub.type_url, nonce, self._identifier)]
        if batch.listing is not None:
            parts += (part.delta for part in batch.listing.parts)
        else:
            for resource in batch.resources:
                parts += (resource.delta_header, resource.body)
        parts += map(framing.delta_removed, batch.removed)
        return parts
