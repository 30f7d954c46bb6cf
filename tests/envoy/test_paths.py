"""No spelling of a path gets past a rule for another path, whether through the client's sidecar or straight in.

What counts in the end is what the application saw: read in the most generous way that servers are known to, it must lie
inside of what the rule allows.
"""

from __future__ import annotations

import posixpath
import ssl
from collections.abc import AsyncIterator
from urllib.parse import unquote

import pytest
import pytest_asyncio

from ca.identity import SpiffeId
from deploy.demo.waiting import eventually
from tests.envoy.http_wire import Answer, HttpConnection, ask
from tests.envoy.mesh_certificates import DOMAIN, certificate_files, copied_authority, mesh_tls
from tests.envoy.running_mesh import RunningMesh, running_mesh

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

WayIn = tuple[int, ssl.SSLContext | None]
"""The port to send to, and the TLS to do it with."""
SERVER, CLIENT = "site/site-0", "reader/reader-0"

OBJECTS = """
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
  serviceAccountName: site
  address: 127.0.0.1
  ports: [{name: http, port: $site, appPort: $site_app}]
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: reader-0, namespace: reader}
spec:
  serviceAccountName: reader
  address: 127.0.0.1
  upstreams: [{service: site.site, port: 80, localPort: $reader}]
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: routes, namespace: site}
spec:
  matches: [{name: public, pathRegex: /public/.*}]
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: reader, namespace: site}
spec:
  destination: {kind: ServiceAccount, name: site, namespace: site}
  rules: [{kind: HTTPRouteGroup, name: routes}]
  sources: [{kind: ServiceAccount, name: reader, namespace: reader}]
"""

HARMLESS = (
    "/public/",
    "/public/page",
    "/public/a/../page",
    "/public//a///page",
    "/public/%70age",
    "/public/a%2Fpage",
    "/public/..page/...",
    "/public/page;v=1",
    "/public/.well-known/page",
    "/public/page?then=/../../admin&or=%2e%2e",
    "/elsewhere/../public/page",
    "/%70ublic/page",
    "http://any.host/public/page",
)

MADE_PLAIN = (
    "/public//../admin",
    "/public//..//../admin",
    "/public/%2F..%2Fadmin",
    "/public/;/../admin",
    "/public/;x/..;y/admin",
    "/public/\\../admin",
    "/public/%5c..%5cadmin",
)
"""Tricks that fail in another way: their `..` leaves nothing but an empty segment, or one of a mere parameter. They go
on as what they mean by then, `/public/admin`, so that the application cannot read anything else into them."""

TRICKS = (
    "/admin",
    "/public",
    "/public/..",
    "/public/../",
    "/public/../admin",
    "/public/./../admin",
    "/public/a/../../admin",
    "/public/a/b/../../../admin?x=/public/",
    "/public/../../../../admin",
    "//admin",
    "///public/..//admin",
    "/public/..//admin",
    "/./public/../admin",
    "/public/%2e%2e/admin",
    "/public/%2E%2E/admin",
    "/public/%2e%2E/admin",
    "/public/.%2e/admin",
    "/public/%2E./admin",
    "/public/%2e/%2e%2e/admin",
    "/public/%2e%2e",
    "/public%2F..%2Fadmin",
    "/public/..%2Fadmin",
    "/public/..%2fadmin",
    "/public%2f%2e%2E%2Fadmin",
    "/public/%2f%2e%2e%2f%2e%2e/admin",
    "/public/..%2F..%2F../admin",
    "/public/%252e%252e/admin",
    "/public/%252E%252E%252Fadmin",
    "/public/..%252fadmin",
    "/public/%25252e%25252e/admin",
    "/public/%25%32%65%25%32%65/admin",
    "/public/%252F..%252Fadmin",
    "/public/..;/admin",
    "/public/..;x=y/admin",
    "/public/..%3B/admin",
    "/public/..%3bx=y/admin",
    "/public/%2e%2e;/admin",
    "/public/..%253b/admin",
    "/public/.;/..;/admin",
    "/public\\..\\admin",
    "/public/..\\admin",
    "/public/..%5Cadmin",
    "/public/..%5cadmin",
    "/public%5c..%5cadmin",
    "/public/..%255cadmin",
    "\\public\\..\\admin",
    "/public/..%c0%afadmin",
    "/public/%c0%ae%c0%ae/admin",
    "/public/..%00/admin",
    "/public/%00/../../admin",
    "/admin%00/public/",
    "/admin?/public/",
    "/admin;/public/",
    "/admin/%2e%2e;/public/..;/",
    "/admin#/public/",
    "/public/..#/",
    "/PUBLIC/page",
    "public/../admin",
    "*",
    "?/public/",
    "",
    "http://any.host/admin",
    "http://any.host/public/../admin",
    "http://any.host/public/%2e%2e/admin",
    "http://any.host/public/..;/admin",
    "http://any.host/public%2f..%2fadmin",
    "http://any.host//public/..//admin",
    "http://any.host",
    "http://any.host/public/../..//any.host/admin",
    "http://user@any.host/public/../admin",
    "http:/public/../admin",
    "HTTP://any.host/public/../admin",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningMesh]:
    work_dir = tmp_path_factory.mktemp("paths")
    applications = [(SERVER, "http_echo $site_app --version site")]
    async with running_mesh(work_dir, {"site.yaml": OBJECTS}, applications, [SERVER, CLIENT]) as running:
        yield running


@pytest.fixture(scope="module")
def reader(mesh: RunningMesh, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """TLS with a certificate of the client that is allowed in."""
    folder = tmp_path_factory.mktemp("reader")
    identity = SpiffeId(DOMAIN, "/ns/reader/sa/reader")
    return mesh_tls(mesh, certificate_files(copied_authority(mesh, folder), folder, identity))


@pytest.fixture(params=["through the client's sidecar", "straight to the server's"])
def way_in(request: pytest.FixtureRequest, mesh: RunningMesh, reader: ssl.SSLContext) -> WayIn:
    return (mesh.port["site"], reader) if "straight" in request.param else (mesh.port["reader"], None)


async def send(way_in: WayIn, target: str, *headers: str) -> Answer:
    port, tls = way_in
    lines = [f"GET {target} HTTP/1.1", "host: any.host", *headers, "", ""]
    async with await HttpConnection.open(port, tls=tls) as connection:
        return await connection.send("\r\n".join(lines).encode("latin-1"))


def as_read_generously(target: str) -> str:
    """The path that a server may take `target` for, if it decodes as often as it can, and knows parameters of
    segments, backslashes, and texts that end with a zero.
    """
    path = target.partition("?")[0]
    while (decoded := unquote(path, "latin-1")) != path:
        path = decoded
    path = path.partition("\0")[0].replace("\\", "/")
    segments = [segment.partition(";")[0] for segment in path.split("/")]
    return posixpath.normpath("/" + "/".join(segment for segment in segments if segment)) + "/"


@pytest.mark.parametrize("target", HARMLESS)
async def test_the_rule_lets_its_own_paths_in(mesh: RunningMesh, way_in: WayIn, target: str) -> None:
    async def allowed() -> bool:
        return (await send(way_in, target)).version == "site"

    await eventually(allowed, f"{target} to be allowed")
    assert as_read_generously((await send(way_in, target)).json["path"]).startswith("/public/")


@pytest.mark.parametrize("target", TRICKS)
async def test_tricks_do_not_pass(mesh: RunningMesh, way_in: WayIn, target: str) -> None:
    answer = await send(way_in, target)
    assert answer.status in {400, 403}, answer
    assert answer.version is None


@pytest.mark.parametrize("target", MADE_PLAIN)
async def test_what_is_made_plain_goes_on_plain(mesh: RunningMesh, way_in: WayIn, target: str) -> None:
    assert (await send(way_in, target)).json["path"] == "/public/admin"


async def test_headers_that_speak_of_paths_change_nothing(mesh: RunningMesh, way_in: WayIn) -> None:
    for name in ("x-envoy-original-path", "x-original-url", "x-rewrite-url", "x-forwarded-prefix", "x-envoy-path"):
        answer = await send(way_in, "/admin", f"{name}: /public/page")
        assert (answer.version, answer.status) == (None, 403), name


async def test_a_request_behind_an_allowed_one_is_judged_by_itself(mesh: RunningMesh, way_in: WayIn) -> None:
    port, tls = way_in
    hidden = b"GET /admin HTTP/1.1\r\nhost: any.host\r\n\r\n"
    for framing in (
        b"content-length: %d\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" % (5 + len(hidden)),
        b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
        b"content-length: 0\r\ncontent-length: %d\r\n\r\n" % len(hidden),
        b"content-length: 0\r\n\r\n",
    ):
        async with await HttpConnection.open(port, tls=tls) as connection:
            await connection.send(b"POST /public/page HTTP/1.1\r\nhost: any.host\r\n" + framing + hidden)
    assert await seen_outside(mesh) == []


async def seen_outside(mesh: RunningMesh) -> list[str]:
    """The targets that the application has seen so far and should not have."""
    seen: list[str] = (await ask(mesh.port["site_app"], "/targets-seen")).json
    return [target for target in seen if not as_read_generously(target).startswith("/public/")]


async def test_the_application_has_seen_nothing_else(mesh: RunningMesh, way_in: WayIn) -> None:
    for target in (*HARMLESS, *MADE_PLAIN, *TRICKS):
        await send(way_in, target)
    assert len((await ask(mesh.port["site_app"], "/targets-seen")).json) >= len(HARMLESS) + len(MADE_PLAIN)
    assert await seen_outside(mesh) == []
