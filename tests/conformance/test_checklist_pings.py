"""Clients may ping as often as Envoy and others do: by default gRPC calls that abuse and ends the connection."""

from __future__ import annotations

import asyncio

import grpc
import h2.connection
import h2.events

from tests.harness_adapter.target import Anybody
from xds.server import XdsServer
from xds.store import Store

PINGS = 20


async def test_pings_are_answered_and_no_abuse() -> None:
    server = XdsServer(Store(), Anybody(), lambda *_: None, grpc.insecure_server_credentials(), "127.0.0.1:0")
    reader, writer = await asyncio.open_connection("127.0.0.1", await server.start())
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    answered = 0
    try:
        async with asyncio.timeout(10):
            while answered < PINGS:
                connection.ping(answered.to_bytes(8, "big"))
                writer.write(connection.data_to_send())
                before = answered
                while answered == before:
                    data = await reader.read(65536)
                    assert data, "the connection has ended"
                    events = connection.receive_data(data)
                    assert not any(isinstance(event, h2.events.ConnectionTerminated) for event in events), events
                    answered += sum(isinstance(event, h2.events.PingAckReceived) for event in events)
    finally:
        writer.close()
        await server.stop(0)
