"""Paths are read as Envoy reads them: a table, and texts made at random that a real Envoy is asked about."""

from __future__ import annotations

import http.client
import json
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from deploy.sidecar.envoy import find_envoy
from smi import paths


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("/a/../b", "/b"),
        ("/../..", "/"),
        ("/a/b/..", "/a/"),
        ("/a//b/", "/a/b/"),
        ("///", "//"),
        ("/a//../b", "/a/b"),
        ("/a%2fb%5Cc", "/a/b/c"),
        ("/a%2F..%2Fb", "/b"),
        (r"/a\..\b", "/b"),
        ("/a/%2E%2e/b", "/b"),
        ("/a/..;x=1/b", "/b"),
        ("/a/..%3b/b", "/a/..%3b/b"),
        ("/%41%7e%20", "/A~%20"),
        ("/a|b", "/a%7Cb"),
        ("/%252e", "/%252e"),
        ("/%2%41", "/%252A"),
        ("/a%zz%", "/a%zz%"),
        ("/a?b=/../c", "/a"),
        ("/a%00", None),
    ],
)
def test_a_path_is_read_as_envoy_does(path: str, read: str | None) -> None:
    assert paths.as_read(path) == read


@pytest.mark.parametrize(
    ("path", "can"),
    [("/", True), ("/a?b", True), ("a", False), ("", False), ("/a b", False), ("/é", False), ("/#", False)],
)
def test_what_can_be_sent(path: str, can: bool) -> None:
    assert paths.can_be_sent(path) is can


_ATOMS = (
    *("/", "/", "/", ".", "..", "a", "b", ";", "\\", "%2f", "%5C", "%2e", "%2E%2e", ".%2e", "%20", "%00", "%25", "%"),
    *("%2", "%zz", "%41", "%7e", '"', "<", "|", "^", "%c3%a9", "%3b", "//", "/../", "/..;", "x=1", "?", "?q=/../", "`"),
)
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def _listener() -> dict[str, Any]:
    """Says in a header which path a request has once it is normalised as `translators/inbound.py` does."""
    seen = {"header": {"key": "x-seen", "value": "%REQ(:PATH)%"}}
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200}, "response_headers_to_add": [seen]}
    manager = {
        "@type": _MANAGER,
        "stat_prefix": "paths",
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
        "http_filters": [{"name": "router", "typed_config": {"@type": _ROUTER}}],
        "route_config": {"virtual_hosts": [{"name": "any", "domains": ["*"], "routes": [route]}]},
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    return {"name": "paths", "address": address, "filter_chains": [chain]}


@pytest.fixture
def envoy(tmp_path: Path) -> Iterator[int]:
    """The port of an Envoy that tells how it reads paths."""
    admin = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}
    made = {"admin": admin, "static_resources": {"listeners": [_listener()]}}
    told = tmp_path / "admin"
    options = ("--use-dynamic-base-id", "--concurrency", "1", "-l", "error", "--admin-address-path", str(told))
    with subprocess.Popen([str(find_envoy().path), "--config-yaml", json.dumps(made), *options]) as process:
        try:
            deadline = time.monotonic() + 30
            while not told.exists() or ":" not in told.read_text():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            with closing(_connection(int(told.read_text().rpartition(":")[2]))) as connection:
                connection.request("GET", "/listeners?format=json")
                listeners = connection.getresponse().read()
            yield json.loads(listeners)["listener_statuses"][0]["local_address"]["socket_address"]["port_value"]
        finally:
            process.kill()


def _connection(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=10)


@pytest.mark.envoy
def test_random_paths_are_read_as_envoy_does(envoy: int) -> None:
    lots = random.Random(5)
    differing = []
    with closing(_connection(envoy)) as connection:
        for _ in range(3000):
            path = "/" + "".join(lots.choices(_ATOMS, k=lots.randint(1, 8)))
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            seen = None if answer.status == 400 else paths.without_query(answer.headers["x-seen"])
            if seen != paths.as_read(path):
                differing.append((path, seen, paths.as_read(path)))
    assert not differing
