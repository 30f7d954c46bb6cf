"""Makes the calls of a scenario for real, from the network namespace of whoever calls."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Callable

from tests.simulator import Call, Connection
from tests.simulator.clusters import Place

PATIENCE = 10.0
"""Seconds that a call may take."""
Ending = tuple[int, str]
"""The status that the client sees, 0 for none, and which application answered, if any."""
Run = Callable[..., socket.socket]
"""Runs a function on a host."""


def ending(asked: Connection, place: Place, run: Run) -> Ending:
    """How one call of `place` ends, on a connection of its own."""
    with (
        contextlib.suppress(OSError, http.client.HTTPException),
        run(socket.create_connection, place, PATIENCE) as wire,
    ):
        if isinstance(asked, Call):
            return _request(asked, wire)
        wire.sendall(b"who are you?\n")
        return 0, wire.makefile("rb").readline().decode().strip()
    return 0, ""


def _request(call: Call, wire: socket.socket) -> Ending:
    named = {name.lower() for name, _ in call.headers}
    lines = [f"{call.method} {call.path} HTTP/1.1", *(f"{name}: {value}" for name, value in call.headers)]
    if "host" not in named:
        lines.insert(1, f"host: {call.host or 'in.the.mesh'}")
    wire.sendall("\r\n".join([*lines, "", ""]).encode())
    response = http.client.HTTPResponse(wire, method=call.method)
    response.begin()
    return response.status, response.getheader("answered-by", "")
