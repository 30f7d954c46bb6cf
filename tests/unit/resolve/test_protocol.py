"""What a service port speaks, from what its Service says."""

import pytest

from smi.objects import ServicePort
from smi.protocol import Protocol, protocol_of
from smi.resolve import codes
from tests.unit.resolve.conftest import mk_mesh, mk_port, mk_service, reported

HTTP, HTTP2, TCP = Protocol.HTTP, Protocol.HTTP2, Protocol.TCP


@pytest.mark.parametrize(
    ("app_protocol", "expected"),
    [
        ("http", HTTP),
        ("HTTP", HTTP),
        ("kubernetes.io/ws", HTTP),
        ("kubernetes.io/h2c", HTTP2),
        ("http2", HTTP2),
        ("grpc", HTTP2),
        ("https", TCP),
        ("kubernetes.io/wss", TCP),
        ("tls", TCP),
        ("tcp", TCP),
        ("mysql", TCP),
    ],
)
def test_app_protocol_comes_before_the_name(app_protocol: str, expected: Protocol) -> None:
    misleading = "tcp-x" if expected.is_http else "http-x"
    assert protocol_of(ServicePort(misleading, 9999, 9999, app_protocol=app_protocol)) == (expected, False)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((prefix, HTTP) for prefix in ("http", "http-web", "HTTP-web")),
        *((prefix, HTTP2) for prefix in ("http2", "http2-api", "grpc", "grpc-api")),
        *(
            (prefix, TCP)
            for prefix in ("tcp", "tcp-x", "tls", "https", "https-web", "tcp-server-first", "mysql", "postgres")
        ),
        *((prefix, TCP) for prefix in ("mongo", "redis-cache", "smtp", "tcp-server-first-x")),
    ],
)
def test_port_name_prefix(name: str, expected: Protocol) -> None:
    assert protocol_of(ServicePort(name, 9999, 9999)) == (expected, False)


def test_unknown_app_protocol_leaves_the_word_to_the_name() -> None:
    assert protocol_of(ServicePort("grpc", 9999, 9999, app_protocol="example.com/own")) == (HTTP2, False)


@pytest.mark.parametrize("number", [25, 3306, 5432, 6379, 27017])
def test_well_known_ports_are_tcp_on_either_side(number: int) -> None:
    assert protocol_of(ServicePort("", number, 8080)) == (TCP, False)
    assert protocol_of(ServicePort("", 8080, number)) == (TCP, False)


def test_a_declaration_comes_before_a_well_known_number() -> None:
    assert protocol_of(ServicePort("http", 6379, 6379)) == (HTTP, False)


@pytest.mark.parametrize("name", ["", "web", "httpapi", "tcpdump"])
def test_everything_else_is_guessed_to_be_http_and_told(name: str) -> None:
    assert protocol_of(ServicePort(name, 9999, 9999)) == (HTTP, True)
    mesh = mk_mesh(mk_service("s", mk_port(9999, name=name)))
    assert ["9999" in found.message for found in reported(mesh, codes.PROTOCOL_GUESSED)] == [True]


def test_a_declared_protocol_is_not_reported() -> None:
    assert not reported(mk_mesh(mk_service("s", mk_port(9999, name="tcp"))), codes.PROTOCOL_GUESSED)
