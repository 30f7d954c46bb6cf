"""A server of everything, as it would be without a mesh: `python application.py NAME BIND KIND:PORT...`.

Kinds: `http` tells in JSON what arrived; `echo` sends back what it gets; `greet` speaks first, then sends back what it
gets; `udp` sends back datagrams. It ends with SIGTERM.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME, BIND = sys.argv[1:3]
FAMILY = socket.AF_INET6 if ":" in BIND else socket.AF_INET


class Telling(BaseHTTPRequestHandler):
    """Answers every request with what arrived of it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        told = {
            "name": NAME,
            "path": self.path,
            "version": self.request_version,
            "host": self.headers.get("host"),
            "client": self.headers.get("x-forwarded-client-cert"),
            "peer": self.client_address[0].removeprefix("::ffff:"),
        }
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_DELETE = do_GET  # noqa: N815  # the name is the standard library's

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class Server(ThreadingHTTPServer):
    """Listens on any address, with IPv6 on both families."""

    address_family = FAMILY
    daemon_threads = True

    def server_bind(self) -> None:
        if FAMILY == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = BIND, self.server_address[1]


def http(port: int) -> None:
    Server((BIND, port), Telling).serve_forever()


def stream(port: int, greeting: bytes) -> None:
    with socket.create_server((BIND, port), family=FAMILY, dualstack_ipv6=FAMILY == socket.AF_INET6) as server:
        while True:
            threading.Thread(target=echo, args=(server.accept()[0], greeting), daemon=True).start()


def echo(connection: socket.socket, greeting: bytes) -> None:
    with connection:
        connection.sendall(greeting)
        while data := connection.recv(65536):
            connection.sendall(data)


def udp(port: int) -> None:
    with socket.socket(FAMILY, socket.SOCK_DGRAM) as server:
        server.bind((BIND, port))
        while True:
            data, peer = server.recvfrom(65536)
            server.sendto(data, peer)


KINDS: dict[str, Callable[[int], None]] = {
    "http": http,
    "echo": partial(stream, greeting=b""),
    "greet": partial(stream, greeting=f"220 {NAME}\r\n".encode()),
    "udp": udp,
}

threads = [
    threading.Thread(target=KINDS[kind], args=(int(port),), daemon=True)
    for kind, _, port in (argument.partition(":") for argument in sys.argv[3:])
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
