"""A running server, and clients that speak to it over TLS on loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc

from protos.envoy.config.cluster import v3_pb2 as cluster_v3
from protos.envoy.service.discovery import v3_pb2 as discovery_v3
from xds.authentication import AuthenticationError, Credential, Peer
from xds.resource import Resource, TypeUrl, resource
from xds.server import ADS, XdsServer
from xds.store import ScopeChange, Store

PROXY = "shop/buyer"


class Tokens:
    """Bearer tokens and what they prove."""

    def __init__(self) -> None:
        self.credentials = {
            "buyer": Credential("spiffe://mesh/ns/shop/sa/buyer", PROXY),
            "thief": Credential("spiffe://mesh/ns/shop/sa/thief", "shop/thief"),
            "anyone": Credential("spiffe://mesh/ns/shop/sa/shared"),
        }

    async def authenticate(self, peer: Peer) -> Credential:
        token = peer.metadata.get("authorization", "").removeprefix("Bearer ")
        try:
            return self.credentials[token]
        except KeyError:
            raise AuthenticationError("the token is unknown") from None


@dataclass
class Visits:
    """An observer that writes down what it hears; ``hold`` makes it wait."""

    heard: list[tuple[str, str]] = field(default_factory=list)
    hold: asyncio.Event | None = None
    on_arrival: Callable[[str], None] | None = None

    async def on_connect(self, proxy: str) -> None:
        self.heard.append(("connect", proxy))
        if self.hold is not None:
            await self.hold.wait()
        if self.on_arrival is not None:
            self.on_arrival(proxy)

    async def on_disconnect(self, proxy: str) -> None:
        self.heard.append(("disconnect", proxy))


def cluster(name: str, note: str = "") -> Resource:
    return resource(TypeUrl.CLUSTER, name, cluster_v3.Cluster(name=name, alt_stat_name=note))


class Client:
    """One ADS stream of a client; answers nothing by itself."""

    def __init__(self, call: Any, *, delta: bool) -> None:
        self.call = call
        self._request = discovery_v3.DeltaDiscoveryRequest if delta else discovery_v3.DiscoveryRequest
        self._response = discovery_v3.DeltaDiscoveryResponse if delta else discovery_v3.DiscoveryResponse

    async def send(self, *, node: str = "", **fields: Any) -> None:
        request = self._request(**{"type_url": TypeUrl.CLUSTER, **fields})
        if node:
            request.node.id = node
            request.node.user_agent_name = "envoy"
        # Where the server has ended the stream already, ``ending`` tells.
        with suppress(grpc.aio.AioRpcError):
            await self.call.write(request.SerializeToString())

    async def receive(self) -> Any:
        data = await asyncio.wait_for(self.call.read(), 10)
        assert data is not grpc.aio.EOF, await self.ending()
        return self._response.FromString(data)

    async def acknowledge(self, response: Any) -> None:
        await self.send(type_url=response.type_url, response_nonce=response.nonce)

    async def ending(self) -> tuple[str, str]:
        """The status the server ends the stream with."""

        async def drained() -> tuple[str, str]:
            try:
                while await self.call.read() is not grpc.aio.EOF:
                    pass
            except grpc.aio.AioRpcError:
                pass
            return (await self.call.code()).name, await self.call.details()

        return await asyncio.wait_for(drained(), 10)


@dataclass
class Plane:
    """A running server with what feeds it."""

    store: Store
    server: XdsServer
    tokens: Tokens
    visits: Visits
    port: int
    trust: grpc.ChannelCredentials
    refusals: dict[str, str]

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[grpc.aio.Channel]:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        async with grpc.aio.secure_channel(f"127.0.0.1:{self.port}", self.trust, options=options) as channel:
            yield channel

    @asynccontextmanager
    async def client(
        self, *, token: str | None = "buyer", delta: bool = True, method: str = ""
    ) -> AsyncIterator[Client]:
        method = method or ADS + ("DeltaAggregatedResources" if delta else "StreamAggregatedResources")
        metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        async with self.channel() as channel:
            call = channel.stream_stream(method)(metadata=metadata)
            yield Client(call, delta=delta)
            call.cancel()

    @asynccontextmanager
    async def connected(self, *, delta: bool = True) -> AsyncIterator[Client]:
        """A client that holds and has acknowledged all clusters."""
        async with self.client(delta=delta) as client:
            await client.send(node=PROXY)
            await client.acknowledge(await client.receive())
            await until(lambda: (status := self.server.proxies.of(PROXY)) is not None and status.synced)
            yield client

    def put(self, *resources: Resource) -> None:
        self.store.apply([ScopeChange("all", resources)])


async def until(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds, at most 10 s."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        await asyncio.sleep(0.005)


MakePlane = Callable[..., Awaitable[Plane]]
