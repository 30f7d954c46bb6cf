"""A host of the private network as its application sees it: plain sockets, which know nothing of a mesh."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.envoy.network_namespace import NetworkNamespace

WORDS = b"ping, and no TLS"
"""Enough bytes for a listener to see what they are not: with fewer than five it waits for more, as it must."""
PATIENCE = 5.0
"""Seconds that any one call may take."""


@dataclass(frozen=True)
class Answer:
    """What came back of an HTTP request; `told` is the JSON of a 200."""

    status: int
    told: dict[str, Any]


@dataclass(frozen=True)
class Host:
    """A workload's network namespace, and its address there."""

    address: str
    namespace: NetworkNamespace

    @contextlib.contextmanager
    def dial(self, address: str, port: int) -> Iterator[socket.socket]:
        """A connection from here. Raises OSError when it is refused."""
        with self.namespace.run(socket.create_connection, (address, port), PATIENCE) as connection:
            yield connection

    def http(
        self,
        address: str,
        port: int = 80,
        path: str = "/",
        *,
        method: str = "GET",
        host: str | None = None,
        version: str = "HTTP/1.1",
    ) -> Answer:
        """One HTTP request on a connection of its own; `host` is the whole Host header, "" for none at all.

        Raises OSError or HTTPException when there is no answer.
        """
        connection = http.client.HTTPConnection(address, port, timeout=PATIENCE)
        connection._http_vsn_str = version
        with self.dial(address, port) as connection.sock, contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=host is not None, skip_accept_encoding=True)
            if host:
                connection.putheader("host", host)
            connection.endheaders()
            response = connection.getresponse()
            body = response.read()
            return Answer(response.status, json.loads(body) if response.status == 200 else {})

    def status(self, *arguments: Any, **named: Any) -> int | None:
        """The status of an HTTP request, None when the connection is refused, reset, or ended without an answer."""
        try:
            return self.http(*arguments, **named).status
        except (OSError, http.client.HTTPException):
            return None

    def echo(self, address: str, port: int, data: bytes = WORDS) -> bytes:
        """What a server sends back of `data`; empty when the connection is refused, or ends before."""
        with contextlib.suppress(ConnectionError), self.dial(address, port) as connection:
            connection.sendall(data)
            return received(connection, len(data))
        return b""

    def greeting(self, address: str, port: int) -> tuple[bytes, float]:
        """What a server says that speaks first, and the seconds until it did."""
        start = time.monotonic()
        with contextlib.suppress(ConnectionError), self.dial(address, port) as connection:
            return connection.recv(100), time.monotonic() - start
        return b"", time.monotonic() - start

    def datagram(self, address: str, port: int, data: bytes) -> bytes:
        """What a UDP server sends back."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.namespace.run(socket.socket, family, socket.SOCK_DGRAM) as sending:
            sending.settimeout(PATIENCE)
            sending.sendto(data, (address, port))
            return sending.recv(65536)

    def refuses(self, address: str, port: int) -> bool:
        """Whether the connection itself is refused."""
        try:
            with self.dial(address, port):
                return False
        except ConnectionRefusedError:
            return True


def received(connection: socket.socket, length: int) -> bytes:
    """The next `length` bytes, fewer when the connection ends before."""
    data = b""
    while len(data) < length and (more := connection.recv(length - len(data))):
        data += more
    return data
