"""Delta ADS: requests change the subscription, responses carry what changed."""

from __future__ import annotations

from protos.envoy.service.discovery.v3_pb2 import DeltaDiscoveryRequest
from xds import framing
from xds.ledger import Batch
from xds.stream import Stream
from xds.subscription import NOTHING_NEW
from xds.substream import SubStream


class DeltaStream(Stream):
    """Reads ``DeltaDiscoveryRequest``, writes ``DeltaDiscoveryResponse``."""

    protocol = "delta"

    def _resumes(self, request: DeltaDiscoveryRequest) -> bool:
        return bool(request.initial_resource_versions)

    def _subscribe(self, sub: SubStream, request: DeltaDiscoveryRequest) -> None:
        """The nonce is for answers only: a stale one never costs the client a change of subscription."""
        subscription = sub.subscription
        initial = {} if subscription.requested else dict(request.initial_resource_versions)
        demand = subscription.update(request.resource_names_subscribe, request.resource_names_unsubscribe)
        if demand is not NOTHING_NEW:
            sub.foresee(demand.names)
            sub.demand(demand, initial)

    def _prefix(self, type_url: str) -> bytes:
        return framing.delta_prefix(type_url, self._identifier)

    def _frame(self, sub: SubStream, batch: Batch, nonce: str) -> list[bytes]:
        parts = [sub.prefix, framing.nonce_field(nonce)]
        if batch.listing is not None:
            parts += (part.delta for part in batch.listing.parts)
        else:
            for resource in batch.resources:
                parts += (resource.delta_header, resource.body)
        parts += map(framing.delta_removed, batch.removed)
        return parts
