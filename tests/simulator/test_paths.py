"""Paths are made plain exactly as Envoy does it, and odd requests end as they do there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from deploy.directory import read_directory
from smi.model import WorkloadKey
from tests.envoy.http_wire import HttpConnection
from tests.envoy.running_mesh import RunningMesh, running_mesh
from tests.simulator import Call, World
from tests.simulator.paths import BadPathError, normalised

OBJECTS = """
apiVersion: v1
kind: Namespace
metadata: {name: site, annotations: {tulle.dev/traffic-policy: permissive}}
---
apiVersion: v1
kind: Service
metadata: {name: site, namespace: site}
spec:
  selector: {app: site}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: site-0, namespace: site, labels: {app: site}}
spec:
  address: 127.0.0.1
  ports: [{name: http, port: $site, appPort: $site_app}]
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: reader-0, namespace: site}
spec:
  address: 127.0.0.1
  upstreams: [{service: site.site, port: 80, localPort: $reader}]
"""


def plain(target: str) -> str | None:
    """What the application sees; None if nothing."""
    try:
        return normalised(target, unescape_slashes=True, canonical=True, merge_slashes=True)
    except BadPathError:
        return None


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        ("/", "/"),
        ("/a/../b", "/b"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/..", "/"),
        ("/a/.", "/a/"),
        ("/../../a", "/a"),
        ("/a//b", "/a/b"),
        ("/a//../b", "/a/b"),
        ("/a%2F..%2fb", "/b"),
        ("/a\\..\\b", "/b"),
        ("/a%5cb", "/a/b"),
        ("/%61b%2Dc%7e", "/ab-c~"),
        ("/a%3B%3d", "/a%3B%3d"),
        ("/a%zz%", "/a%zz%"),
        ("/a%252e", "/a%252e"),
        ("/a%%61b", "/a%25ab"),
        ("/a%2%61", "/a%252a"),
        ("/a%%67b", "/a%gb"),
        ("/a<b", "/a%3Cb"),
        ("/a?b/../c//d%2F", "/a?b/../c//d%2F"),
        ("/a/..?x", "/?x"),
        ("/...", "/..."),
        ("/a/..b", "/a/..b"),
        ("/a/..;x=1/b", "/b"),
        ("/a/.;\\c/b", "/a/b"),
        ("/a/..x;/b", "/a/..x;/b"),
        ("/a/..%3b/b", "/a/..%3b/b"),
        ("/a/%2e.;/b", "/a/..;/b"),
        ("/a%00", None),
    ],
)
def test_paths_are_made_plain(target: str, seen: str | None) -> None:
    assert plain(target) == seen


def test_each_step_is_a_setting() -> None:
    target = "/a%2F..//b"
    assert normalised(target, unescape_slashes=False, canonical=False, merge_slashes=False) == target
    assert normalised(target, unescape_slashes=False, canonical=False, merge_slashes=True) == "/a%2F../b"
    assert normalised(target, unescape_slashes=False, canonical=True, merge_slashes=False) == target
    assert normalised(target, unescape_slashes=True, canonical=True, merge_slashes=False) == "//b"
    assert normalised("//", unescape_slashes=False, canonical=False, merge_slashes=True) == "//"


PIECES = (
    "/",
    "/",
    "/",
    ".",
    "..",
    "%2e",
    "%2E",
    "%2f",
    "%5C",
    "\\",
    "a",
    "b",
    "%61",
    "%",
    "%2",
    ";",
    "%25",
    "%252e",
    "~",
)


def targets() -> list[str]:
    """Every byte, written out and escaped, in the middle and at the end; and many mixtures of what is difficult."""
    printable = [chr(code) for code in range(0x21, 0x7F) if chr(code) != "#"]
    found = [f"/a{text}{rest}" for text in [*printable, *(f"%{code:02x}" for code in range(256))] for rest in ("", "b")]
    random = Random(7)
    return found + ["/" + "".join(random.choices(PIECES, k=random.randint(1, 9))) for _ in range(4000)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningMesh]:
    work_dir: Path = tmp_path_factory.mktemp("paths")
    applications = [("site/site-0", "http_echo $site_app")]
    async with running_mesh(
        work_dir, {"mesh.yaml": OBJECTS}, applications, ["site/site-0", "site/reader-0"]
    ) as running:
        yield running


@pytest.mark.envoy
@pytest.mark.asyncio(loop_scope="module")
async def test_envoy_makes_the_same_of_them(mesh: RunningMesh) -> None:
    different = {}
    async with await HttpConnection.open(mesh.port["reader"]) as connection:
        for target in targets():
            answer = await connection.request(target)
            seen = answer.json["path"] if answer.status == 200 else None
            assert answer.status in (200, 400), (target, answer.status)
            if seen != plain(target):
                different[target] = (seen, plain(target))
    assert not different


ODD = [
    *(
        (method, "/")
        for method in ("get", "GETS", "TRACE", "PATCH", "OPTIONS", "PURGE", "M-SEARCH", "QUERY", "MSEARCH")
    ),
    ("OPTIONS", "*"),
    ("GET", "*"),
    ("CONNECT", "any.host:80"),
    ("CONNECT", "/"),
    ("GET", "page"),
    ("GET", "/page#part"),
    ("GET", "http://any.host"),
    ("GET", "http://any.host/a/../b"),
    ("GET", "https://any.host/a"),
    ("GET", "http:///a"),
    ("GET", "ftp://any.host/a"),
]


@pytest.mark.envoy
@pytest.mark.asyncio(loop_scope="module")
async def test_odd_requests_end_as_envoy_ends_them(mesh: RunningMesh) -> None:
    reading = read_directory(mesh.directory)
    world = World.of(reading.configuration, reading.mesh)
    different = {}
    for method, target in ODD:
        async with await HttpConnection.open(mesh.port["reader"]) as connection:
            status = (await connection.request(target, method)).status
        call = Call(source=WorkloadKey("site", "reader-0"), service="site/site", method=method, path=target)
        if world.call(call).statuses != {status}:
            different[method, target] = (status, world.call(call).statuses)
    assert not different
