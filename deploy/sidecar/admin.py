"""Asks the admin interface of the sidecar's own Envoy."""

from __future__ import annotations

import asyncio
import http.client

from deploy.sidecar.metrics_listener import METRICS_STAT_PREFIX

_NOT_TRAFFIC = ("listener.admin.", f"listener.{METRICS_STAT_PREFIX}.")


async def is_ready(port: int) -> bool:
    """Whether Envoy has its first configuration and serves; False too while nothing listens on `port`."""
    return await asyncio.to_thread(_ask, port, "GET", "/ready") is not None


async def begin_drain(port: int) -> None:
    """Makes Envoy close each HTTP connection after its next answer, while it still accepts new ones.

    Not by `/drain_listeners?graceful`: that closes with a probability that grows over the drain time of 60 s.
    """
    await asyncio.to_thread(_ask, port, "POST", "/healthcheck/fail")


async def open_connections(port: int) -> int:
    """The number of open downstream connections, those for metrics aside; 0 when Envoy does not answer.

    Summed over the listeners, since `server.total_connections` is only brought up to date every 5 s.
    """
    answer = await asyncio.to_thread(_ask, port, "GET", "/stats?filter=downstream_cx_active$")
    lines = [line.rpartition(": ") for line in (answer or "").splitlines()]
    return sum(int(count) for name, _, count in lines if not name.startswith(_NOT_TRAFFIC))


def _ask(port: int, method: str, path: str) -> str | None:
    """The body of a 200 answer; None for any other, or none at all."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read().decode()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if response.status == http.HTTPStatus.OK else None
