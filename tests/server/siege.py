"""A control plane in a process of its own, an honest proxy, and what an attack on the one costs the other.

The clients here are gRPC's own, with the tokens that the control plane makes for its workloads, and with others made
with its key.
"""

from __future__ import annotations

import asyncio
import re
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import grpc

from ca.identity import CONTROL_PLANE_NAME
from ca.tokens import JoinTokens
from deploy.demo.processes import ManagedProcess, Processes
from deploy.demo.waiting import eventually
from tests.server.plane import Client
from xds.resource import TypeUrl
from xds.server import ADS

OBJECTS = """
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  serviceAccountName: web
  capture: transparent
  address: 10.0.0.1
  ports: [{name: http, port: 8080, appPort: 8081}]
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: cart, namespace: shop, labels: {app: cart}}
spec: {serviceAccountName: cart, address: 10.0.0.2, ports: [{name: http, port: 8080, appPort: 8081}]}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, clusterIP: 10.1.0.1, ports: [{name: http, port: PORT, targetPort: http}]}
"""
HONEST, OTHER = "shop/web", "shop/cart"


@dataclass
class Siege:
    """`work` holds everything of the control plane; `honest` is the stream of workload shop/web."""

    work: Path
    process: ManagedProcess
    xds: str
    mtls: str
    debug_url: str
    http: aiohttp.ClientSession
    honest: Client | None = None
    _ports: int = field(default=1000)

    @property
    def pid(self) -> int:
        return self.process.process.pid

    @property
    def tokens(self) -> JoinTokens:
        """Makes tokens as the control plane would."""
        return JoinTokens(bytes.fromhex((self.work / "state" / "ca" / "join-token.key").read_text()))

    def token(self, workload: str) -> str:
        return (self.join(workload) / "stream-token").read_text().strip()

    def join(self, workload: str) -> Path:
        return self.work / "state" / "join" / workload

    @asynccontextmanager
    async def channel(self, credentials: grpc.ChannelCredentials | None = None) -> AsyncIterator[grpc.aio.Channel]:
        """A connection to the token port, or with `credentials` to the mTLS port."""
        trusting = credentials or grpc.ssl_channel_credentials((self.join(HONEST) / "bundle.pem").read_bytes())
        address = self.xds if credentials is None else self.mtls
        options = [
            ("grpc.ssl_target_name_override", CONTROL_PLANE_NAME),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_retries", 0),
            ("grpc.max_metadata_size", 4 << 20),
            ("grpc.max_receive_message_length", -1),
        ]
        async with grpc.aio.secure_channel(address, trusting, options=options) as channel:
            yield channel

    @asynccontextmanager
    async def stream(
        self, token: str | None = None, *, delta: bool = True, credentials: grpc.ChannelCredentials | None = None
    ) -> AsyncIterator[Client]:
        """A discovery stream with a token, or with a certificate on the mTLS port; on a connection of its own."""
        method = ADS + ("DeltaAggregatedResources" if delta else "StreamAggregatedResources")
        headers = () if token is None else (("authorization", f"Bearer {token}"),)
        async with self.channel(credentials) as channel:
            call = channel.stream_stream(method)(metadata=headers)
            yield Client(call, delta=delta)
            call.cancel()

    async def delay(self) -> float:
        """Seconds from a change of a file to the honest proxy's having it; fails after 20 s."""
        assert self.honest is not None
        self._ports += 1
        name = f"outbound/shop/web/{self._ports}"
        fresh = self.work / "service.new"
        fresh.write_text(SERVICE.replace("PORT", str(self._ports)))
        began = time.monotonic()
        fresh.rename(self.work / "mesh" / "service.yaml")
        async with asyncio.timeout(20):
            while True:
                response = await self.honest.receive()
                await self.honest.acknowledge(response)
                if name in (each.name for each in response.resources):
                    return time.monotonic() - began

    async def delays(self, count: int = 5) -> float:
        """The median of `delay`, one after the other."""
        return statistics.median([await self.delay() for _ in range(count)])

    def log(self) -> str:
        return self.process.log.read_text(errors="replace")

    def told(self, text: str) -> list[str]:
        """The lines of the log that hold `text`."""
        return [line for line in self.log().splitlines() if text in line]

    def memory(self) -> float:
        """Resident memory of the control plane in MB."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1]) / 1000

    async def metric(self, name: str, **labels: str) -> float:
        """The value of a sample of /metrics; 0 where it is not there yet."""
        text = await self.page("/metrics")
        label = ",".join(f'{key}="{value}"' for key, value in labels.items())
        found = re.search(rf"^{name}{re.escape('{' + label + '}') if label else ''} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    async def page(self, path: str) -> str:
        async with self.http.get(self.debug_url + path) as answer:
            return await answer.text()

    async def settled(self, condition: Callable[[], bool], what: str) -> None:
        async def holds() -> bool:
            return condition()

        await eventually(holds, what, within=40)


@asynccontextmanager
async def besieged(work: Path) -> AsyncIterator[Siege]:
    """A control plane with two workloads, of which shop/web is connected and has all its clusters."""
    (work / "mesh").mkdir(parents=True)
    (work / "mesh" / "objects.yaml").write_text(OBJECTS)
    processes = Processes(work)
    xds, mtls, debug = (f"127.0.0.1:{port}" for port in free_ports(3))
    command: list[str | Path] = [sys.executable, "-m", "tests.server.besieged", "serve", work / "mesh"]
    command += ["--state", work / "state", "--xds-address", xds, "--xds-mtls-address", mtls, "--debug-address", debug]
    process = await processes.start("control-plane", command)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        siege = Siege(work, process, xds, mtls, f"http://{debug}", http)

        async def ready() -> bool:
            if not process.running:
                raise process.failure()
            try:
                return "ready" in await siege.page("/readyz")
            except aiohttp.ClientConnectionError:
                return False

        try:
            await eventually(ready, "the control plane to be ready", within=60)
            async with siege.stream(siege.token(HONEST)) as honest:
                await honest.send(node=HONEST, type_url=TypeUrl.CLUSTER)
                siege.honest = honest
                await honest.acknowledge(await honest.receive())
                yield siege
        finally:
            await processes.close()


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
