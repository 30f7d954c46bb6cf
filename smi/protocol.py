"""What protocol a service port speaks, from what its Service says.

Order, as Kubernetes and Istio users know it: `appProtocol`, then the port name's prefix, then well-known TCP ports,
then HTTP.
"""

from __future__ import annotations

import enum

from smi.objects import ServicePort


class Protocol(enum.StrEnum):
    """What the proxies do with a connection: parse HTTP (1 or 2), insist on HTTP/2, or pass bytes."""

    HTTP = "http"
    HTTP2 = "http2"
    TCP = "tcp"

    @property
    def is_http(self) -> bool:
        return self is not Protocol.TCP


_APP_PROTOCOLS = {
    "http": Protocol.HTTP,
    "grpc-web": Protocol.HTTP,
    "kubernetes.io/ws": Protocol.HTTP,
    "kubernetes.io/h2c": Protocol.HTTP2,
    "http2": Protocol.HTTP2,
    "h2c": Protocol.HTTP2,
    "grpc": Protocol.HTTP2,
    "https": Protocol.TCP,
    "kubernetes.io/wss": Protocol.TCP,
    "tls": Protocol.TCP,
    "tcp": Protocol.TCP,
    "tcp-server-first": Protocol.TCP,
    "mysql": Protocol.TCP,
    "postgres": Protocol.TCP,
    "postgresql": Protocol.TCP,
    "mongo": Protocol.TCP,
    "mongodb": Protocol.TCP,
    "redis": Protocol.TCP,
    "smtp": Protocol.TCP,
}
"""`appProtocol` values, and the port name prefixes that mean the same."""

_TCP_PORTS = frozenset({25, 3306, 5432, 6379, 27017})


def declared_protocol(port: ServicePort) -> Protocol | None:
    """The protocol that `appProtocol` or the port's name declares, or None where they say nothing that is known."""
    declared = _APP_PROTOCOLS.get(port.app_protocol.lower())
    if declared:
        return declared
    words = port.name.lower().split("-")
    # Longest first: `grpc-web` is not `grpc`.
    prefixes = ("-".join(words[:length]) for length in range(len(words), 0, -1))
    return next((_APP_PROTOCOLS[prefix] for prefix in prefixes if prefix in _APP_PROTOCOLS), None)


def protocol_of(port: ServicePort) -> tuple[Protocol, bool]:
    """The protocol of `port`, and whether it was guessed: nothing declared it and the port is not a well-known one."""
    declared = declared_protocol(port)
    if declared:
        return declared, False
    if port.port in _TCP_PORTS or port.target_port in _TCP_PORTS:
        return Protocol.TCP, False
    return Protocol.HTTP, True
