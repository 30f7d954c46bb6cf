"""A gRPC server with handlers of bytes: unary, both ways streaming, and one that fails with a status of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio

UNARY, STREAM, FAIL = "/echo.Echo/Unary", "/echo.Echo/Stream", "/echo.Echo/Fail"


class _Echo(grpc.GenericRpcHandler):
    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        match details.method:
            case "/echo.Echo/Unary":
                return grpc.unary_unary_rpc_method_handler(_unary)
            case "/echo.Echo/Stream":
                return grpc.stream_stream_rpc_method_handler(_stream)
            case "/echo.Echo/Fail":
                return grpc.unary_unary_rpc_method_handler(_fail)
        return None


async def _unary(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
    context.set_trailing_metadata((("x-length", str(len(request))),))
    return request


async def _stream(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    count = 0
    async for request in requests:
        count += 1
        yield request
    context.set_trailing_metadata((("x-count", str(count)),))


async def _fail(_request: bytes, context: grpc.aio.ServicerContext) -> bytes:
    context.set_trailing_metadata((("x-reason", "empty"),))
    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the shelf is empty: 100 %")
    return b""


@asynccontextmanager
async def grpc_server(port: int) -> AsyncIterator[None]:
    """Serve `port` of loopback until the end of the block."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((_Echo(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)
