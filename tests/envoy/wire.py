"""The way from sidecars to the control plane, which a test can cut or slow down.

The control plane listens on 127.0.0.1; sidecars that are told to find it on another address of loopback reach it
through a `Wire`: on the same ports, since the control plane tells them one of its ports.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from tests.envoy.running_mesh import RunningMesh


class Wire:
    """Forwards connections from `address` to the same port of 127.0.0.1."""

    def __init__(self, address: str, ports: list[int]) -> None:
        self.address = address
        self.delay = 0.0
        """Seconds that everything takes longer."""
        self._ports = ports
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()

    @property
    def xds_address(self) -> str:
        """For a sidecar's `--xds-address`."""
        return f"{self.address}:{self._ports[0]}"

    async def mend(self) -> None:
        """Let everything through, as at first."""
        self._flows.set()
        if not self._servers:
            self._servers = [
                await asyncio.start_server(partial(self._accept, port), self.address, port) for port in self._ports
            ]

    def stall(self) -> None:
        """Lose everything, silently, until it is mended: connections stay, and what is sent waits."""
        self._flows.clear()

    async def cut(self) -> None:
        """End all connections, and refuse new ones, until it is mended."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        await self.drop()

    async def drop(self) -> None:
        """End all connections; new ones are let through at once."""
        ended = list(self._connections)
        for each in ended:
            each.cancel()
        await asyncio.gather(*ended, return_exceptions=True)

    async def _accept(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        ends = [writer]
        try:
            with suppress(OSError, asyncio.CancelledError):
                other_reader, other_writer = await asyncio.open_connection("127.0.0.1", port)
                ends.append(other_writer)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._copy(reader, other_writer))
                    group.create_task(self._copy(other_reader, writer))
        finally:
            self._connections.discard(task)
            for end in ends:
                end.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await asyncio.sleep(self.delay)
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
            writer.write_eof()


@asynccontextmanager
async def wire(mesh: RunningMesh, address: str) -> AsyncIterator[Wire]:
    """A whole wire from `address`, which must be one of loopback, to the control plane of `mesh`."""
    made = Wire(address, mesh.xds_ports)
    try:
        await made.mend()
        yield made
    finally:
        await made.cut()
