"""What a real Envoy exposes on the metrics port with the inclusion list, the fixed labels and the buckets."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ca.authority import Authority
from tests.unit.sidecar.conftest import Sidecar
from tests.unit.sidecar.control_plane import ControlPlane
from tests.unit.sidecar.mesh_resources import FORBIDDEN_PATH, service
from tests.unit.sidecar.waiting import eventually, free_ports, request

pytestmark = pytest.mark.envoy

DURATION = "envoy_tulle_request_duration_milliseconds"
LABELS = 'local_namespace="bookstore"', 'local_workload="v1"'


class _Application(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class Scraped:
    sidecar: Sidecar
    text: str

    @classmethod
    def of(cls, sidecar: Sidecar) -> Scraped:
        return cls(sidecar, request(sidecar.metrics_port, "/metrics")[1])

    def samples(self, name: str) -> list[str]:
        return [line for line in self.text.splitlines() if re.match(rf"{name}[{{ ]", line)]


@pytest.fixture
def scraped(start: Callable[..., Sidecar], join: Path, authority: Authority) -> Iterator[Scraped]:
    """The metrics after three requests through the sidecar, one of them forbidden."""
    application = ThreadingHTTPServer(("127.0.0.1", 0), _Application)
    serving = threading.Thread(target=application.serve_forever)
    serving.start()
    listener_port, _ = free_ports()
    with ControlPlane(authority, service(listener_port, application.server_port)) as server:
        sidecar = start("--join", join, "--xds-address", f"127.0.0.1:{server.port}").wait_ready()
        assert [request(listener_port, path)[0] for path in ("/", "/", FORBIDDEN_PATH)] == [200, 200, 403]
        # Histograms appear when Envoy has merged those of its threads, every 5 s.
        eventually(lambda: _counts(Scraped.of(sidecar).samples(DURATION + "_count")) == [1, 2])
        assert server.rejections == []
        yield Scraped.of(sidecar)
    application.shutdown()
    application.server_close()
    serving.join()


def _counts(lines: list[str]) -> list[int]:
    return sorted(int(line.rpartition(" ")[2]) for line in lines)


def test_metrics(scraped: Scraped) -> None:
    requests = scraped.samples("envoy_tulle_requests_total")
    assert _counts(requests) == [1, 2]
    assert all(label in line for label in LABELS for line in requests)

    buckets = scraped.samples(DURATION + "_bucket")
    bounds = [
        found[1] for line in buckets if 'response_code="200"' in line and (found := re.search(r'le="([^"]+)"', line))
    ]
    assert bounds == [
        "1",
        "2.5",
        "5",
        "10",
        "25",
        "50",
        "100",
        "250",
        "500",
        "1000",
        "2500",
        "5000",
        "10000",
        "30000",
        "+Inf",
    ]

    names = set(re.findall(r"^# TYPE (\w+)", scraped.text, re.MULTILINE))
    families = {
        name
        for name in names
        if not re.match("envoy_(listener_manager|cluster_manager|control_plane|server|tulle)_", name)
    }
    assert families == {
        "envoy_cluster_membership_healthy",
        "envoy_cluster_membership_total",
        "envoy_cluster_ssl_connection_error",
        "envoy_cluster_ssl_fail_verify_error",
        "envoy_cluster_ssl_fail_verify_san",
        "envoy_cluster_ssl_handshake",
        "envoy_cluster_upstream_cx_active",
        "envoy_cluster_upstream_cx_connect_fail",
        "envoy_cluster_upstream_cx_total",
        "envoy_http_rbac_allowed",
        "envoy_http_rbac_denied",
        "envoy_listener_admin_downstream_cx_active",
        "envoy_listener_admin_downstream_global_cx_overflow",
        "envoy_listener_downstream_cx_active",
        "envoy_listener_downstream_global_cx_overflow",
    }
    assert any(line.endswith(" 1") for line in scraped.samples("envoy_http_rbac_denied"))
    connected = scraped.samples("envoy_control_plane_connected_state")
    assert [line.rpartition(" ")[2] for line in connected] == ["1"]
    assert scraped.samples("envoy_server_days_until_first_cert_expiring")
    service_label = 'envoy_cluster_name="outbound/bookstore/bookstore/80"'
    assert any(service_label in line for line in scraped.samples("envoy_cluster_upstream_cx_total"))


def test_metrics_port_serves_nothing_else(running: Sidecar) -> None:
    port = running.metrics_port
    assert request(port, "/ready") == (200, "LIVE\n")
    assert request(port, "/stats/prometheus")[0] == 200
    refused = ["/", "/quitquitquit", "/config_dump", "/stats", "/stats/prometheus/", "/metrics/../config_dump"]
    assert {path: request(port, path)[0] for path in refused} == dict.fromkeys(refused, 404)
    assert [request(port, path, "POST")[0] for path in ("/ready", "/metrics", "/quitquitquit")] == [404, 404, 404]
