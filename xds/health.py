"""gRPC health (``grpc.health.v1``), for probes and load balancers: they carry no token and learn nothing of the mesh.

SERVING means that a stream opened now is served: the first sync is done, and the server does not stop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from xds.services import ADS

SERVICES = ("", ADS.strip("/"))
"""What can be asked for; the empty name is the whole server."""
_LOOK_SECONDS = 0.25
"""How often readiness is looked at, for those who watch and only while it is not there."""

_Response = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):
    """See the module. ``ready`` tells whether the first sync is done."""

    def __init__(self, ready: Callable[[], bool]) -> None:
        self._ready = ready
        self._stopping = False
        self._over = False
        self._changed = asyncio.Event()

    def stop_serving(self) -> None:
        """From now on the answer is NOT_SERVING, and those who watch hear it."""
        self._stopping = True
        self._wake()

    def end(self) -> None:
        """End the streams of those who watch, which would keep the server from stopping."""
        self._over = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _status(self, service: str) -> int:
        if service not in SERVICES:
            return _Response.SERVICE_UNKNOWN
        return _Response.SERVING if self._ready() and not self._stopping else _Response.NOT_SERVING

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> _Response:  # noqa: N802  # gRPC's
        status = self._status(request.service)
        if status == _Response.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return _Response(status=status)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:  # noqa: N802  # gRPC's
        told: int | None = None
        while not self._over:
            changed = self._changed
            status = self._status(request.service)
            if status != told:
                await context.write(_Response(status=status))
                told = status
            not_yet = status == _Response.NOT_SERVING and not self._stopping
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS if not_yet else None):
                    await changed.wait()
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the control plane is shutting down")
