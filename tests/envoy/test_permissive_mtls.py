"""Permissive mTLS: beside mesh traffic, one port takes plaintext and an application's own TLS, straight from clients
that know nothing of a mesh. It opens the transport and no more: under the policy `smi` who has no identity is refused.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
import pytest_asyncio

from deploy.demo.waiting import eventually
from tests.envoy.applications.raw_http import RawHttpServer
from tests.envoy.applications.server_first import GREETING, greeting_server
from tests.envoy.certificates import OwnCertificate, own_certificate
from tests.envoy.explicit_mesh import ExplicitMesh, explicit_mesh
from tests.envoy.http1 import exchange

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

OBJECTS = """
# Half of the way into the mesh: everybody may come as they are.
apiVersion: v1
kind: Namespace
metadata:
  name: open
  annotations: {tulle.dev/mtls: permissive, tulle.dev/traffic-policy: permissive}
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: open}
spec:
  selector: {app: server}
  ports:
    - {name: http, port: 80, targetPort: http}
    - {name: tls, port: 443, targetPort: tls}
    - {name: http-in-name-only, port: 444, targetPort: misdeclared}
    - {name: tcp-server-first, port: 25, targetPort: greeting}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: server-0, namespace: open, labels: {app: server}}
spec:
  serviceAccountName: server
  address: 127.0.0.1
  ports:
    - {name: http, port: $http, appPort: $http_app}
    - {name: tls, port: $tls, appPort: $tls_app}
    - {name: misdeclared, port: $misdeclared, appPort: $misdeclared_app}
    - {name: greeting, port: $greeting, appPort: $greeting_app}
---
# The transport is open, the policy is not.
apiVersion: v1
kind: Namespace
metadata:
  name: guarded
  annotations: {tulle.dev/mtls: permissive, tulle.dev/traffic-policy: smi}
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: guarded}
spec:
  selector: {app: server}
  ports:
    - {name: http, port: 80, targetPort: http}
    - {name: tcp, port: 81, targetPort: tcp}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: server-0, namespace: guarded, labels: {app: server}}
spec:
  serviceAccountName: server
  address: 127.0.0.1
  ports:
    - {name: http, port: $guarded_http, appPort: $http_app}
    - {name: tcp, port: $guarded_tcp, appPort: $greeting_app}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: everything, namespace: guarded}
spec:
  matches: [{name: all, pathRegex: /.*, methods: ["*"]}]
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: tcp, namespace: guarded}
spec: {}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: client-to-server, namespace: guarded}
spec:
  destination: {kind: ServiceAccount, name: server, namespace: guarded}
  rules:
    - {kind: HTTPRouteGroup, name: everything}
    - {kind: TCPRoute, name: tcp}
  sources: [{kind: ServiceAccount, name: client, namespace: away}]
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: client-0, namespace: away}
spec:
  serviceAccountName: client
  address: 127.0.0.1
  upstreams:
    - {service: server.open, port: 80, localPort: $to_http}
    - {service: server.open, port: 443, localPort: $to_tls}
    - {service: server.open, port: 25, localPort: $to_greeting}
    - {service: server.guarded, port: 80, localPort: $to_guarded_http}
    - {service: server.guarded, port: 81, localPort: $to_guarded_tcp}
"""
OPEN, GUARDED, CLIENT = "open/server-0", "guarded/server-0", "away/client-0"
CALLER = "URI=spiffe://cluster.local/ns/away/sa/client"
FORGED = {"x-forwarded-client-cert": "URI=spiffe://cluster.local/ns/away/sa/admin"}


@dataclass(frozen=True)
class Permissive:
    running: ExplicitMesh
    certificate: OwnCertificate


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def permissive(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Permissive]:
    work_dir = tmp_path_factory.mktemp("permissive")
    certificate = own_certificate(work_dir)
    async with (
        explicit_mesh(work_dir, OBJECTS, [OPEN, GUARDED, CLIENT]) as running,
        RawHttpServer("plain").serving(running.ports["http_app"]),
        RawHttpServer("own-tls").serving(running.ports["tls_app"], tls=certificate.server(["http/1.1"])),
        RawHttpServer("misdeclared").serving(running.ports["misdeclared_app"], tls=certificate.server()),
        greeting_server(running.ports["greeting_app"]),
    ):
        yield Permissive(running, certificate)


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_rejected(permissive: Permissive) -> AsyncIterator[None]:
    yield
    await permissive.running.assert_nothing_rejected()


async def greeted(port: int) -> tuple[bytes, float]:
    """What a TCP server says before its client has said anything, and after how many seconds."""
    start = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        greeting = await asyncio.wait_for(reader.read(100), 10)
        return greeting, time.monotonic() - start
    finally:
        writer.close()


async def over_own_tls(permissive: Permissive, port: str) -> dict[str, object]:
    """What an application saw of a request in TLS that ends at the application itself, by its own certificate."""
    url = permissive.running.url(port, "/secret").replace("http:", "https:")
    context = permissive.certificate.trusting_client()
    async with permissive.running.http.get(url, ssl=context, server_hostname="localhost") as answer:
        return dict(json.loads(await answer.read()))


async def test_plaintext_http(permissive: Permissive) -> None:
    saw = await permissive.running.seen("http", "/", headers=FORGED)
    assert saw["name"] == "plain"
    assert "x-forwarded-client-cert" not in saw["headers"], "a client without certificate vouches for nobody"


async def test_plaintext_keeps_old_http(permissive: Permissive) -> None:
    answer = await exchange(permissive.running.ports["http"], b"GET /old HTTP/1.0\r\n\r\n")
    assert (answer.status, json.loads(answer.body)["target"]) == (200, "/old")


@pytest.mark.parametrize(("port", "name"), [("tls", "own-tls"), ("misdeclared", "misdeclared")])
async def test_an_applications_own_tls(permissive: Permissive, port: str, name: str) -> None:
    """On a port declared as tls, and on one declared as http: TLS that is not the mesh's is never looked into."""
    saw = await over_own_tls(permissive, port)
    assert (saw["name"], saw["target"]) == (name, "/secret")


async def test_an_applications_own_tls_through_the_mesh(permissive: Permissive) -> None:
    assert (await over_own_tls(permissive, "to_tls"))["name"] == "own-tls"


async def test_plaintext_from_a_server_that_speaks_first(permissive: Permissive) -> None:
    tries = [await greeted(permissive.running.ports["greeting"]) for _ in range(3)]
    assert {greeting for greeting, _ in tries} == {GREETING}
    # The best of three: a busy machine may delay one.
    assert min(seconds for _, seconds in tries) < 0.5


async def test_mesh_clients_still_use_mutual_tls(permissive: Permissive) -> None:
    running = permissive.running
    before = sum((await running.stats(OPEN, r"^listener\..*ssl\.handshake$")).values())
    saw = await running.seen("to_http", "/", headers=FORGED)
    assert CALLER in saw["headers"]["x-forwarded-client-cert"].split(";")
    assert "admin" not in saw["headers"]["x-forwarded-client-cert"]
    assert (await greeted(running.ports["to_greeting"]))[0] == GREETING

    async def counted() -> bool:
        return sum((await running.stats(OPEN, r"^listener\..*ssl\.handshake$")).values()) >= before + 2

    await eventually(counted, "two more handshakes of the mesh")


async def test_under_the_policy_smi_plaintext_is_refused(permissive: Permissive) -> None:
    running = permissive.running
    status, text = await running.get("guarded_http", "/", headers=FORGED)
    assert (status, text) == (403, "RBAC: access denied")
    assert (await greeted(running.ports["guarded_tcp"]))[0] == b""
    with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
        await over_own_tls(permissive, "guarded_http")


async def test_under_the_policy_smi_the_mesh_still_works(permissive: Permissive) -> None:
    running = permissive.running
    saw = await running.seen("to_guarded_http")
    assert CALLER in saw["headers"]["x-forwarded-client-cert"].split(";")
    assert (await greeted(running.ports["to_guarded_tcp"]))[0] == GREETING
