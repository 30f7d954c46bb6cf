"""Which gRPC methods there are: a name to a handler that takes and gives bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc

ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"

Call = Callable[[bytes, Any], Awaitable[bytes]]
"""Answers a request; gets the bytes and gRPC's context."""
_Handler = Callable[[Any, Any], Any]


class Services(grpc.GenericRpcHandler):
    """Maps method names to handlers. ``streams`` take a context; ``calls`` take a request and a context and return a
    response. Everything else of Envoy's services is UNIMPLEMENTED, with a hint.
    """

    def __init__(
        self,
        streams: Mapping[str, Callable[[Any], Awaitable[None]]],
        calls: Mapping[str, Call],
    ) -> None:
        self._streams = {method: _without_iterator(serve) for method, serve in streams.items()}
        self._calls = dict(calls)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = handler_call_details.method
        serve = self._streams.get(method)
        if serve is not None:
            return grpc.stream_stream_rpc_method_handler(serve)
        answer = self._calls.get(method)
        if answer is not None:
            return grpc.unary_unary_rpc_method_handler(answer)
        if method.startswith("/envoy.service."):
            return grpc.stream_stream_rpc_method_handler(_unimplemented(method))
        return None


def _without_iterator(serve: Callable[[Any], Awaitable[None]]) -> _Handler:
    async def handler(_requests: Any, context: Any) -> None:
        await serve(context)

    return handler


def _unimplemented(method: str) -> _Handler:
    async def handler(_requests: Any, context: Any) -> None:
        await context.abort(
            grpc.StatusCode.UNIMPLEMENTED,
            f"{method} is not served: use ADS, {ADS}DeltaAggregatedResources",
        )

    return handler
