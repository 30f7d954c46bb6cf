"""Free local ports that stay free until somebody of ours listens on them.

A port that is merely looked up and released may be given to another process meanwhile, as its listening port or as
the source port of any outgoing connection. One that is held by a bound, not listening socket with SO_REUSEADDR
cannot, while a server that sets SO_REUSEADDR too (asyncio, gRPC, and Envoy do) can still listen on it.
"""

from __future__ import annotations

import socket


class HeldPorts:
    """Takes free TCP ports of one address and holds them until closed."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self._address = address
        self._held: list[socket.socket] = []

    def take(self) -> int:
        """A free port, different from all others that were taken."""
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((self._address, 0))
        self._held.append(held)
        return int(held.getsockname()[1])

    def close(self) -> None:
        """Give all of them back."""
        for held in self._held:
            held.close()
        self._held.clear()
