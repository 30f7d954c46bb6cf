"""Small pure parts: exit codes, connection limits, and the redirect as text."""

from __future__ import annotations

import resource
import signal

import pytest

from deploy.sidecar.ports import SidecarPorts
from deploy.sidecar.process import connection_limit, exit_code
from deploy.sidecar.redirect import RedirectError, RedirectSettings, ruleset


@pytest.mark.parametrize(("returncode", "expected"), [(0, 0), (1, 1), (-signal.SIGKILL, 137), (-signal.SIGTERM, 143)])
def test_exit_code(returncode: int, expected: int) -> None:
    assert exit_code(returncode) == expected


@pytest.mark.parametrize(
    ("descriptors", "expected"), [(4096, 1792), (1_000_000, 50_000), (resource.RLIM_INFINITY, 50_000), (100, 1)]
)
def test_connection_limit_leaves_room_for_upstreams(descriptors: int, expected: int) -> None:
    assert connection_limit(descriptors) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("fd77::2", "[fd77::2]")],
)
def test_metrics_url(host: str, expected: str) -> None:
    assert SidecarPorts(1, host, 2).metrics_url == f"http://{expected}:2/metrics"


def test_ruleset_without_ipv6_names_no_ipv6() -> None:
    text = ruleset(RedirectSettings(excluded_outbound_cidrs=("10.0.0.0/8", "fd00::/8"), ipv6=False))
    assert "ip6" not in text
    assert "inet" not in text
    assert "ip daddr 10.0.0.0/8 return" in text


def test_ruleset_writes_networks_in_canonical_form() -> None:
    text = ruleset(RedirectSettings(excluded_outbound_cidrs=("10.1.2.3/8", "fd00::1/8")))
    assert "ip daddr 10.0.0.0/8 return" in text
    assert "ip6 daddr fd00::/8 return" in text


def test_what_is_no_network() -> None:
    with pytest.raises(RedirectError, match=r"invalid network to exclude: .*; drop"):
        RedirectSettings(excluded_outbound_cidrs=("10.0.0.0/8; drop",))
