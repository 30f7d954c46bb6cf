"""The way past the redirect. That its mark is the right one, the transparent demo shows."""

from __future__ import annotations

import socket

import pytest

from deploy.sidecar.relay import marked_relay


@pytest.fixture
def mark() -> int:
    with socket.socket() as trial:
        try:
            trial.setsockopt(socket.SOL_SOCKET, 36, 7)
        except PermissionError:
            pytest.skip("no CAP_NET_ADMIN")
    return 7


def test_bytes_go_both_ways_and_both_ends_are_told(mark: int) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        marked_relay("127.0.0.1", server.getsockname()[1], mark) as port,
        socket.create_connection(("127.0.0.1", port), 5) as near,
    ):
        far, _ = server.accept()
        with far:
            near.sendall(b"to")
            assert far.recv(10) == b"to"
            far.sendall(b"fro")
            assert near.recv(10) == b"fro"
            near.shutdown(socket.SHUT_WR)
            assert far.recv(10) == b""
        assert near.recv(10) == b""


def test_nobody_there(mark: int) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with marked_relay("127.0.0.1", nobody.getsockname()[1], mark) as port:
            for _ in range(2):
                with socket.create_connection(("127.0.0.1", port), 5) as near:
                    assert near.recv(10) == b""


def test_it_ends_with_its_block(mark: int) -> None:
    with marked_relay("127.0.0.1", 1, mark) as port:
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)
