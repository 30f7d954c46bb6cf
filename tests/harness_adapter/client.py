"""A client with the habits of the public xDS test harness, for tests of the adapter without the original.

The habits: the node in its own requests, not in answers; one stream for all types; in SotW, every answer carries the
names and the type of the first subscription, whatever it answers. Where the original waits for 3 s or 15 s, this one
waits for what must come, and ``QUIET`` seconds where nothing may. It also waits until the server knows of what it
unsubscribed from; for the original, the adapter waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.wrappers_pb2 import StringValue

from protos.envoy.service.discovery import v3_pb2 as discovery_v3
from tests.harness_adapter.messages import MESSAGES, METHODS
from tests.server.plane import until
from xds.resource import TypeUrl
from xds.server import XdsServer

QUIET = 0.3
TYPES = {"CDS": TypeUrl.CLUSTER, "LDS": TypeUrl.LISTENER, "RDS": TypeUrl.ROUTE, "EDS": TypeUrl.ENDPOINT}


class AdapterClient:
    """The harness's side of the adapter API, for one node."""

    def __init__(self, channel: grpc.aio.Channel, node: str) -> None:
        self._channel = channel
        self._node = node

    async def call(self, method: str, **fields: Any) -> Any:
        request, response = METHODS[method]
        call = self._channel.unary_unary(
            f"/adapter.Adapter/{method}",
            request_serializer=MESSAGES[request].SerializeToString,
            response_deserializer=MESSAGES[response].FromString,
        )
        return await call(MESSAGES[request](node=self._node, **fields))

    async def set_state(self, services: Sequence[str], names: str, version: str = "1") -> None:
        # The name is field 1 of all these types, as is the value of a StringValue.
        resources = [
            AnyMessage(type_url=TYPES[service], value=StringValue(value=name).SerializeToString())
            for service in services
            for name in names
        ]
        assert (await self.call("SetState", version=version, resources=resources)).success

    async def edit(self, method: str, service: str, name: str, version: str = "") -> None:
        answer = await self.call(method, typeUrl=TYPES[service], resourceName=name, version=version)
        assert answer.success


@dataclass(frozen=True)
class Seen:
    version: str
    nonce: str
    body: bytes = b""


@dataclass
class Client:
    """The harness's xDS client: answers everything by itself until ``ends``."""

    server: XdsServer
    delta: bool
    node: str
    adapter: AdapterClient
    stream: Any
    seen: dict[str, dict[str, Seen]] = field(default_factory=lambda: {service: {} for service in TYPES})
    removed: dict[str, set[str]] = field(default_factory=lambda: {service: set() for service in TYPES})
    requests: int = 0
    responses: int = 0
    answering: bool = True
    subscription: Any = None
    news: asyncio.Event = field(default_factory=asyncio.Event)

    # -- what it asks

    async def _send(self, service: str, **fields: Any) -> None:
        request = discovery_v3.DeltaDiscoveryRequest if self.delta else discovery_v3.DiscoveryRequest
        await self._write(request(type_url=TYPES[service], **fields))

    async def _write(self, request: Any) -> None:
        self.requests += 1
        await self.stream.write(request.SerializeToString())

    async def subscribe(self, service: str, names: str = "") -> None:
        """No names is the wildcard."""
        fields = {"resource_names_subscribe" if self.delta else "resource_names": list(names)}
        if self.subscription is None:
            self.subscription = {"service": service, "names": list(names)}
        await self._send(service, node={"id": self.node}, **fields)

    async def narrow(self, service: str, names: Sequence[str], *, version: bool = True) -> None:
        last = next(reversed(self.seen[service].values()))
        self.subscription = {"service": service, "names": list(names)}
        before = list(self.seen[service])
        self.seen[service].clear()
        await self._send(
            service, resource_names=names, response_nonce=last.nonce, version_info=last.version if version else ""
        )
        await self._forgotten(service, [name for name in before if name not in names])

    async def unsubscribe(self, service: str, name: str) -> None:
        del self.seen[service][name]
        await self._send(service, resource_names_unsubscribe=[name])
        await self._forgotten(service, [name])

    async def _forgotten(self, service: str, names: Sequence[str]) -> None:
        status = self.server.proxies.of(self.node)
        assert status is not None
        subscription = status.stream.substreams[TYPES[service]].subscription
        await until(lambda: not any(map(subscription.covers, names)))

    async def listen(self) -> None:
        """Take responses and answer them, until cancelled."""
        while (data := await self.stream.read()) is not grpc.aio.EOF:
            self.responses += 1
            if self.delta:
                response: Any = discovery_v3.DeltaDiscoveryResponse.FromString(data)
                service = self._service(response)
                for each in response.resources:
                    self._see(service, each.name, response.system_version_info, response, each.resource.value)
                self.removed[service].update(response.removed_resources)
                answer: Any = discovery_v3.DeltaDiscoveryRequest(type_url=response.type_url)
            else:
                response = discovery_v3.DiscoveryResponse.FromString(data)
                service = self._service(response)
                for each in response.resources:
                    name = StringValue.FromString(each.value).value
                    self._see(service, name, response.version_info, response, each.value)
                answer = discovery_v3.DiscoveryRequest(
                    type_url=TYPES[self.subscription["service"]],
                    resource_names=self.subscription["names"],
                    version_info=response.version_info,
                )
            answer.response_nonce = response.nonce
            if self.answering:
                await self._write(answer)
            self.news.set()

    @staticmethod
    def _service(response: Any) -> str:
        return next(service for service, type_url in TYPES.items() if type_url == response.type_url)

    def _see(self, service: str, name: str, version: str, response: Any, body: bytes) -> None:
        self.seen[service].pop(name, None)
        self.seen[service][name] = Seen(version, response.nonce, body)
        self.removed[service].discard(name)

    # -- what it checks

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self.news.clear()
                await self.news.wait()

    async def receives(self, service: str, names: str, version: str = "1") -> None:
        seen = self.seen[service]
        await self.until(lambda: all(name in seen and seen[name].version == version for name in names))

    def at_once(self, service: str, names: str) -> None:
        """These came in a single response."""
        assert len({self.seen[service][name].nonce for name in names}) == 1

    def alone(self, service: str, name: str, *, same_version: bool = False) -> None:
        """No other resource came with it, or has its version."""
        chosen = self.seen[service][name]
        others = [seen for other, seen in self.seen[service].items() if other != name]
        assert all(seen.nonce != chosen.nonce for seen in others)
        assert same_version or all(seen.version != chosen.version for seen in others)

    async def told_removed(self, service: str, name: str) -> None:
        await self.until(lambda: name in self.removed[service])

    async def silence(self, service: str, *names: str) -> None:
        """None of these come; nothing at all, if there are no names."""
        before, responses = dict(self.seen[service]), self.responses
        await asyncio.sleep(QUIET)
        assert all(name not in self.seen[service] for name in names)
        if not names:
            assert (self.seen[service], self.responses) == (before, responses)

    async def ends(self) -> None:
        """It stops answering, and nothing more is said: more requests than responses."""
        self.answering = False
        await asyncio.sleep(QUIET)
        assert self.requests > self.responses
