"""A proxy without a network: the real stream state machine, and a client that asks for what Envoy would ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from protos.envoy.service.discovery.v3_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from smi.model import WorkloadKey
from tests.bench.references import references
from xds.delta import DeltaStream
from xds.resource import TypeUrl
from xds.store import Store
from xds.view import Change

_WILDCARD = (TypeUrl.CLUSTER, TypeUrl.LISTENER)
_SECRETS = ("identity", "trust")


class BenchProxy:
    """One connected proxy: subscribes to what its resources refer to, acknowledges everything, counts the bytes."""

    def __init__(self, store: Store, key: WorkloadKey) -> None:
        store.attach(str(key), self)
        self._stream = DeltaStream(store.record(str(key)))
        self._asked: set[tuple[str, str]] = set()
        for type_url in _WILDCARD:
            self._request(type_url)
        self._ask((TypeUrl.SECRET, name) for name in _SECRETS)

    def offer(self, changes: Sequence[Change]) -> None:
        self._stream.offer(changes, 0.0)

    def revoke(self, reason: str) -> None:
        raise AssertionError(reason)

    def drain(self) -> int:
        """Take and acknowledge everything there is to send, and what is asked for because of it. Gives the bytes."""
        total = 0
        while responses := self._stream.poll(0.0):
            for response in responses:
                data = response.encode()
                total += len(data)
                self._request(response.type_url, response_nonce=response.nonce)
                self._ask(_references(DeltaDiscoveryResponse.FromString(data)))
        return total

    def _ask(self, names: Iterator[tuple[str, str]]) -> None:
        wanted: dict[str, list[str]] = {}
        for type_url, name in names:
            if (type_url, name) not in self._asked:
                self._asked.add((type_url, name))
                wanted.setdefault(type_url, []).append(name)
        for type_url, new in wanted.items():
            self._request(type_url, resource_names_subscribe=new)

    def _request(self, type_url: str, **fields: object) -> None:
        self._stream.receive(DeltaDiscoveryRequest(type_url=type_url, **fields), 0.0)  # type: ignore[arg-type]


def _references(response: DeltaDiscoveryResponse) -> Iterator[tuple[str, str]]:
    for each in response.resources:
        yield from references(response.type_url, each.resource.value)
