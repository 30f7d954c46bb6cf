"""A way past the transparent redirect for clients that cannot mark their own connections, as gRPC's cannot.

In: where to, and the mark. Out: a port of loopback, which the redirect leaves alone; what is sent there goes on over a
connection that carries the mark. The bytes are TLS and not looked at.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

_SO_MARK = 36  # Linux, asm-generic/socket.h
_CONNECT_SECONDS = 5.0


@contextlib.contextmanager
def marked_relay(host: str, port: int, mark: int) -> Iterator[int]:
    """Relays every connection to the port it yields to `host`:`port`, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        relaying = threading.Thread(target=_accept, args=(listening, host, port, mark), daemon=True)
        relaying.start()
        try:
            yield listening.getsockname()[1]
        finally:
            # Wakes `accept`; closing alone would not.
            listening.shutdown(socket.SHUT_RDWR)
            relaying.join()


def _accept(listening: socket.socket, host: str, port: int, mark: int) -> None:
    while True:
        try:
            near, _ = listening.accept()
        except OSError:
            return
        threading.Thread(target=_relay, args=(near, host, port, mark), daemon=True).start()


def _relay(near: socket.socket, host: str, port: int, mark: int) -> None:
    with near, contextlib.suppress(OSError), _connected(host, port, mark) as far:
        back = threading.Thread(target=_copy, args=(far, near), daemon=True)
        back.start()
        _copy(near, far)
        back.join()


def _connected(host: str, port: int, mark: int) -> socket.socket:
    """A connection with the mark. Raises OSError: the last one, where `host` has several addresses."""
    problem = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        far = socket.socket(family, kind, protocol)
        try:
            far.setsockopt(socket.SOL_SOCKET, _SO_MARK, mark)
            far.settimeout(_CONNECT_SECONDS)
            far.connect(address)
            far.settimeout(None)
        except OSError as error:
            far.close()
            problem = error
        else:
            return far
    raise problem


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
