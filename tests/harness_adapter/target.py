"""Tulle's xDS server as the public harness wants it: in plaintext, for anybody, with versions that it dictates.

The harness compares ``version_info`` (SotW) and ``system_version_info`` (delta) with the literal versions that it told
the adapter; Tulle's versions are hashes of content. So the server itself, which is the one that ``tulle serve`` runs,
listens on a port of its own, and the harness speaks to a relay, which passes every message on and writes a label over
the version of each response.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import grpc

from protos.envoy.service.discovery import v3_pb2 as discovery_v3
from xds import framing
from xds.authentication import Credential, Peer
from xds.server import ADS, XdsServer
from xds.store import Store

Labels = Mapping[tuple[str, str], str]
"""The version to report, by (node, type URL)."""

_VERSION = b"\x0a"
"""Field 1 of both responses. A parser keeps the last value of a field that comes twice."""
_MESSAGES: dict[str, tuple[Any, Any]] = {
    f"{ADS}DeltaAggregatedResources": (discovery_v3.DeltaDiscoveryRequest, discovery_v3.DeltaDiscoveryResponse),
    f"{ADS}StreamAggregatedResources": (discovery_v3.DiscoveryRequest, discovery_v3.DiscoveryResponse),
}


class Anybody:
    """An authenticator that believes everybody. For tests on loopback only."""

    async def authenticate(self, _peer: Peer) -> Credential:
        return Credential("spiffe://harness.test/anybody")


class HarnessTarget:
    """The relay at ``address``, and behind it the server."""

    def __init__(self, store: Store, labels: Labels, address: str) -> None:
        self.server = XdsServer(store, Anybody(), lambda *_: None, grpc.insecure_server_credentials(), "127.0.0.1:0")
        self._labels = labels
        self._address = address
        self._relay = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self._relay.add_generic_rpc_handlers((_Relay(self),))
        self._channel: Any = None
        self._readers: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listen. Returns the port of the relay. Raises OSError when the address cannot be had."""
        try:
            port = self._relay.add_insecure_port(self._address)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {self._address}: {error}") from error
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{await self.server.start()}")
        await self._relay.start()
        return port

    async def stop(self) -> None:
        await self._relay.stop(None)
        await self._channel.close()
        await self.server.stop(1)

    async def serve(self, method: str, context: Any) -> None:
        """Relay one stream, and end it as the server does."""
        request_class, response_class = _MESSAGES.get(method, (None, None))
        node = ""
        call = self._channel.stream_stream(method)()

        async def upward() -> None:
            nonlocal node
            # What is over for one side is over for the other, which ``downward`` learns.
            with contextlib.suppress(grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
                while (data := await context.read()) is not grpc.aio.EOF:
                    if not node and request_class is not None:
                        node = request_class.FromString(data).node.id
                    await call.write(data)
                await call.done_writing()

        # Left to end with the stream, because cancelling a pending read leaks in gRPC.
        reader = asyncio.create_task(upward())
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)
        try:
            with contextlib.suppress(grpc.RpcError):
                while (data := await call.read()) is not grpc.aio.EOF:
                    type_url = response_class.FromString(data).type_url
                    label = self._labels.get((node, type_url), "")
                    await context.write(data + framing.field(_VERSION, label.encode()))
            if (code := await call.code()) is not grpc.StatusCode.OK:
                await context.abort(code, await call.details())
        finally:
            call.cancel()


class _Relay(grpc.GenericRpcHandler):
    """Every method there is."""

    def __init__(self, target: HarnessTarget) -> None:
        self._target = target

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = handler_call_details.method

        async def handler(_requests: Any, context: Any) -> None:
            await self._target.serve(method, context)

        return grpc.stream_stream_rpc_method_handler(handler)
