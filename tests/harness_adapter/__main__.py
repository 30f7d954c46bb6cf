"""Serves Tulle to the public xDS test harness (ii/xds-test-harness) until interrupted.

    python -m tests.harness_adapter --target 127.0.0.1:18000 --adapter 127.0.0.1:17000
    xds-test-harness -T :18000 -A :17000 -N test/id -V "sotw aggregated" -V "incremental aggregated"

The node must be of the form namespace/workload, as everywhere in Tulle. Only the aggregated variants: the services of
single types answer UNIMPLEMENTED by decision. The harness exits with 0 whatever happens: read its results.json.

Four rows of "incremental aggregated" fail by decision, RDS and EDS of "told if resource does not exist" and of "told
when a resource is removed": there, Tulle says "there is nothing" with an explicit empty resource, because Envoy does
not understand the removal of a route configuration or of endpoints (see xds/placeholder.py).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from typing import NamedTuple

import grpc

from tests.harness_adapter.adapter import SETTLE, Adapter
from tests.harness_adapter.target import HarnessTarget
from xds.server import XdsServer
from xds.store import Store


class Served(NamedTuple):
    server: XdsServer
    target_port: int
    adapter_port: int


@contextlib.asynccontextmanager
async def serving(target: str, adapter: str, *, settle: float = SETTLE) -> AsyncIterator[Served]:
    """Both servers, listening on their addresses. Raises OSError when one cannot be had."""
    store = Store()
    service = Adapter(store, settle)
    store.mark_ready()
    xds_target = HarnessTarget(store, service.labels, target)
    adapter_server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    adapter_server.add_generic_rpc_handlers((service.handler(),))
    try:
        adapter_port = adapter_server.add_insecure_port(adapter)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {adapter}: {error}") from error
    target_port = await xds_target.start()
    await adapter_server.start()
    try:
        yield Served(xds_target.server, target_port, adapter_port)
    finally:
        await adapter_server.stop(None)
        await xds_target.stop()


async def _run(target: str, adapter: str) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with serving(target, adapter):
        print(f"target at {target}, adapter at {adapter}", flush=True)  # noqa: T201  # says that it is ready
        await stopped.wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.harness_adapter", description="Serve Tulle to the public xDS test harness."
    )
    parser.add_argument("--target", default="127.0.0.1:18000", help="address of the xDS server, in plaintext")
    parser.add_argument("--adapter", default="127.0.0.1:17000", help="address of the adapter service")
    arguments = parser.parse_args()
    asyncio.run(_run(arguments.target, arguments.adapter))


if __name__ == "__main__":
    main()
