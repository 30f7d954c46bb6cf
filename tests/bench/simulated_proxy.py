"""One simulated proxy: a gRPC delta-ADS client on a connection of its own that asks and answers as Envoy does.

Until it has everything, it parses what it gets, to find the names to ask for. After that it reads the head of each
response and acknowledges it; only clusters and listeners are still looked into, for they name other resources.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import grpc

from protos.envoy.service.discovery.v3_pb2 import DeltaDiscoveryResponse
from tests.bench.crowd import Crowd
from tests.bench.wire import (
    node_field,
    nonce_field,
    read_head,
    subscribe_fields,
    type_field,
    unsubscribe_fields,
    version_fields,
)
from xds.resource import TypeUrl

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
_FIRST_BACKOFF, _LAST_BACKOFF = 0.5, 30.0
_SECRETS = ("identity", "trust")
_TYPE_FIELDS = {each.encode(): type_field(each) for each in TypeUrl}
_LOOKED_INTO = frozenset({TypeUrl.CLUSTER.encode(), TypeUrl.LISTENER.encode()})
_REFERRING: frozenset[str] = frozenset({TypeUrl.CLUSTER, TypeUrl.LISTENER})


class SimulatedProxy:
    """See the module. ``index`` counts within the crowd; the proxy of index 0 remembers all versions for the others."""

    def __init__(self, crowd: Crowd, index: int, node_id: str) -> None:
        self._crowd = crowd
        self._index = index
        self._node = node_field(node_id, crowd.node)
        self._greeting = b""
        self._call: Any = None
        self._asked: dict[str, set[str]] = {}
        self._missing: set[tuple[str, str]] = set()
        self._complete = False

    async def run(self, target: str) -> None:
        """Stay connected, with Envoy's backoff, until cancelled."""
        failures = 0
        async with grpc.aio.secure_channel(target, self._crowd.credentials, self._crowd.options) as channel:
            while True:
                began = self._crowd.responses
                try:
                    await self._stream(channel)
                except grpc.aio.AioRpcError as error:
                    self._crowd.failed(f"{error.code().name}: {error.details()}")
                except asyncio.InvalidStateError as error:
                    self._crowd.failed(str(error))  # written to when it had just failed
                failures = 0 if self._crowd.responses > began else failures + 1
                await asyncio.sleep(random.random() * min(_LAST_BACKOFF, _FIRST_BACKOFF * 2**failures))

    async def _stream(self, channel: Any) -> None:
        self._call = channel.stream_stream(METHOD)()
        self._greeting = self._node
        self._complete = False
        self._missing = {(TypeUrl.SECRET, "identity")}
        if self._crowd.warm:
            await self._ask_again()
        else:
            self._missing |= {(TypeUrl.SECRET, "trust"), (TypeUrl.CLUSTER, "*"), (TypeUrl.LISTENER, "*")}
            self._asked = {TypeUrl.SECRET: set(_SECRETS)}
            await self._send(TypeUrl.CLUSTER)
            await self._send(TypeUrl.LISTENER)
            await self._send(TypeUrl.SECRET, subscribe_fields(_SECRETS))
        while (data := await self._call.read()) is not grpc.aio.EOF:
            type_url, nonce = read_head(data)
            await self._call.write(_TYPE_FIELDS[type_url] + nonce_field(nonce))
            self._crowd.got(self._index, type_url, data)
            if not self._complete or not self._index or type_url in _LOOKED_INTO:
                await self._look_into(type_url.decode(), data)

    async def _send(self, type_url: str, fields: bytes = b"") -> None:
        greeting, self._greeting = self._greeting, b""
        await self._call.write(b"".join((greeting, _TYPE_FIELDS[type_url.encode()], fields)))

    async def _ask_again(self) -> None:
        """As after a lost connection: all names at once, with the versions that the crowd holds."""
        for type_url in (*(each for each in TypeUrl if each != TypeUrl.SECRET), TypeUrl.SECRET):
            request = self._crowd.warm.get(type_url)
            if request is not None:
                await self._send(type_url, request)

    async def _look_into(self, type_url: str, data: bytes) -> None:
        response = DeltaDiscoveryResponse.FromString(data)
        if not self._index:
            self._crowd.remember(response)
        missing = self._missing
        missing.discard((type_url, "*"))
        missing.difference_update((type_url, each.name) for each in response.resources)
        missing.difference_update((type_url, name) for name in response.removed_resources)
        if type_url in _REFERRING:
            await self._ask_for(type_url, response)
            await self._forget(type_url, response.removed_resources)
        if not missing and not self._complete:
            self._complete = True
            self._crowd.completed(self._index, time.monotonic())

    async def _ask_for(self, type_url: str, response: DeltaDiscoveryResponse) -> None:
        """Subscribe to what is referred to for the first time."""
        wanted: dict[str, list[str]] = {}
        for each in response.resources:
            for kind, name in self._crowd.references(type_url, each):
                asked = self._asked.setdefault(kind, set())
                if name not in asked:
                    asked.add(name)
                    wanted.setdefault(kind, []).append(name)
        for kind, names in wanted.items():
            if not self._complete:
                self._missing.update((kind, name) for name in names)
            await self._send(kind, subscribe_fields(names))

    async def _forget(self, type_url: str, removed: Any) -> None:
        """Let go of what only the removed resources referred to."""
        dropped: dict[str, list[str]] = {}
        for name in removed:
            for kind, referred in self._crowd.references_of(type_url, name):
                asked = self._asked.get(kind, set())
                if referred in asked:
                    asked.discard(referred)
                    dropped.setdefault(kind, []).append(referred)
        for kind, names in dropped.items():
            await self._send(kind, unsubscribe_fields(names))

    def subscription(self, versions: dict[str, dict[str, str]]) -> dict[str, bytes]:
        """What to send for each type when the stream is opened anew, holding these versions."""
        fields = {str(each): version_fields(versions.get(each, {})) for each in (TypeUrl.CLUSTER, TypeUrl.LISTENER)}
        for type_url, names in self._asked.items():
            held = {name: version for name, version in versions.get(type_url, {}).items() if name in names}
            held.pop("identity", None)
            fields[type_url] = subscribe_fields(sorted(names)) + version_fields(held)
        return fields
