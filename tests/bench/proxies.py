"""A proxy without a network: the real stream state machine, and a client that subscribes to all it sees and ACKs."""

from __future__ import annotations

from collections.abc import Sequence

from protos.envoy.service.discovery.v3_pb2 import DeltaDiscoveryRequest
from smi.model import WorkloadKey
from xds.delta import DeltaStream
from xds.resource import TypeUrl
from xds.store import Store
from xds.view import Change

_WILDCARD = (TypeUrl.CLUSTER, TypeUrl.LISTENER)


class BenchProxy:
    """One connected proxy: counts the bytes that are sent to it."""

    def __init__(self, store: Store, key: WorkloadKey) -> None:
        record = store.record(str(key))
        store.attach(str(key), self)
        self._stream = DeltaStream(record)
        for type_url in TypeUrl:
            names = [] if type_url in _WILDCARD else [made.name for made in record.listing(type_url).resources]
            self._stream.receive(DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names), 0.0)

    def offer(self, changes: Sequence[Change]) -> None:
        self._stream.offer(changes, 0.0)

    def revoke(self, reason: str) -> None:
        raise AssertionError(reason)

    def drain(self) -> int:
        """Take and acknowledge everything there is to send. Gives the bytes it took."""
        total = 0
        while responses := self._stream.poll(0.0):
            for response in responses:
                total += len(response.encode())
                self._stream.receive(
                    DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce), 0.0
                )
        return total
