"""Health as probes and load balancers see it."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.server.plane import MakePlane, Plane

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICES = ["", "envoy.service.discovery.v3.AggregatedDiscoveryService"]


async def check(plane: Plane, service: str) -> int:
    async with plane.channel() as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
        return int(answer.status)


@pytest.mark.parametrize("service", SERVICES)
async def test_it_serves_when_the_first_sync_is_done(make_plane: MakePlane, service: str) -> None:
    plane = await make_plane(ready=False)
    assert await check(plane, service) == NOT_SERVING
    plane.store.mark_ready()
    assert await check(plane, service) == SERVING


async def test_who_watches_hears_of_every_change(make_plane: MakePlane) -> None:
    plane = await make_plane(ready=False)
    async with plane.channel() as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        assert (await asyncio.wait_for(watch.read(), 5)).status == NOT_SERVING
        plane.store.mark_ready()
        assert (await asyncio.wait_for(watch.read(), 5)).status == SERVING
        await plane.server.drain()
        assert (await asyncio.wait_for(watch.read(), 5)).status == NOT_SERVING
        assert await check(plane, "") == NOT_SERVING
        began = asyncio.get_running_loop().time()
        await plane.server.stop(5)
        assert asyncio.get_running_loop().time() - began < 2
        assert await watch.code() == grpc.StatusCode.UNAVAILABLE


async def test_other_services_are_unknown(plane: Plane) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await check(plane, "nothing.of.ours")
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    async with plane.channel() as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="nothing.of.ours"))
        unknown = await asyncio.wait_for(watch.read(), 5)
        assert unknown.status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        watch.cancel()
