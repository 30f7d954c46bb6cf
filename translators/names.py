"""Every name that Envoy sees, in one place. Names come from what a thing is, never from its position in a list."""

from __future__ import annotations

import ipaddress

from smi.model import HeadlessEndpoint, LocalListener, PortKey

IDENTITY_SECRET = "identity"
"""The proxy's own certificate: the same name for every proxy, another content on each stream."""

TRUST_SECRET = "trust"
"""Whom to believe: Envoy's SPIFFE validator with the roots of each trust domain."""

MESH_ALPN = "tulle"
"""What sidecars offer to each other in the TLS handshake, so that mesh traffic is told from other TLS."""

PASSTHROUGH_CLUSTER = "passthrough"
BLACKHOLE_CLUSTER = "blackhole"
VIRTUAL_OUTBOUND_LISTENER = "virtual-outbound"
OTHER_PORTS = "other"


def outbound(key: PortKey) -> str:
    """The listener, routes, cluster, and endpoints of a service port."""
    return f"outbound/{key}"


def outbound_endpoint(headless: HeadlessEndpoint) -> str:
    """The listener of one endpoint of a headless service port. One host may have several, told apart by port."""
    return f"outbound/{headless.key}/{host_port(headless.endpoint.address, headless.endpoint.port)}"


def outbound_direct(key: PortKey) -> str:
    """The cluster that sends to whichever endpoint of a headless service port was called."""
    return f"outbound/{key}/direct"


def local(listener: LocalListener) -> str:
    """An explicit listener on the client's host."""
    return f"local/{host_port(listener.address, listener.port)}"


def inbound(class_name: str) -> str:
    """The listener of a workload class behind the redirect."""
    return f"inbound/{class_name}"


def inbound_port(class_name: str, port: int | None) -> str:
    """What belongs to one target port of a class; to all ports that no Service names, with None."""
    return f"inbound/{class_name}/{OTHER_PORTS if port is None else port}"


def gate(class_name: str, port: int | None) -> str:
    """Who gets a connection to one target port, or to the ports that no Service names."""
    return f"{inbound_port(class_name, port)}/gate"


def host_port(address: str, port: int) -> str:
    """`address:port`, with brackets where IPv6 needs them."""
    return f"[{address}]:{port}" if ipaddress.ip_address(address).version == 6 else f"{address}:{port}"


def stat_prefix(name: str) -> str:
    """`name` as one level of a statistic's name: dots would make more of it."""
    return name.replace(".", "_")
