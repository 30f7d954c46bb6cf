"""The two local ports of a sidecar, and how others learn them.

In: wished ports, 0 for any. Out: ports held by this process until Envoy has bound them. A port that is
merely looked up and released may be taken meanwhile; one held by a bound, not listening socket with
SO_REUSEADDR cannot, while Envoy, which sets SO_REUSEADDR too, can still bind and listen on it.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from deploy.sidecar.errors import SidecarError
from deploy.sidecar.join import replace_file


@dataclass(frozen=True, slots=True)
class SidecarPorts:
    """Where the admin interface (always 127.0.0.1) and the metrics listener are."""

    admin: int
    metrics_host: str
    metrics: int

    @property
    def metrics_url(self) -> str:
        wildcard = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
        host = wildcard.get(self.metrics_host, self.metrics_host)
        return f"http://{f'[{host}]' if ':' in host and '[' not in host else host}:{self.metrics}/metrics"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin}"


def hold_port(what: str, host: str, port: int) -> socket.socket:
    """A socket bound to `host`:`port` that keeps the port for Envoy; close it once Envoy is up.

    `what` names the port in the error. Raises SidecarError when it cannot be had.
    """
    held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        held.bind((host, port))
    except OSError as error:
        held.close()
        raise SidecarError(f"{what} {host}:{port} cannot be used: {os.strerror(error.errno or 0)}") from None
    return held


def write_ports_file(path: Path, ports: SidecarPorts) -> None:
    """Writes `{"admin": N, "metrics": N}` to `path` by rename."""
    replace_file(path, json.dumps({"admin": ports.admin, "metrics": ports.metrics}) + "\n")
