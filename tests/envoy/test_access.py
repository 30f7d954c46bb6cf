"""Who may call what, enforced by real Envoys: identities, paths, methods, headers, and connections of plain TCP."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from ca.authority import Authority, create_intermediate, create_root
from ca.identity import SpiffeId
from ca.issuer import Issuer
from deploy.demo.waiting import eventually
from tests.envoy.http_wire import PATIENCE, HttpConnection, ask, statuses
from tests.envoy.mesh_certificates import DOMAIN, certificate_files, copied_authority, mesh_tls
from tests.envoy.running_mesh import RunningMesh, running_mesh
from tests.envoy.steady_load import steady_load
from tests.envoy.timing import PROMPTLY, seconds_until

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

Headers = Mapping[str, str] | None
SHOP, BUYER, THIEF = "shop/shop-0", "buyer/buyer-0", "thief/thief-0"
BUYER_ID = SpiffeId(DOMAIN, "/ns/buyer/sa/buyer")

OBJECTS = """
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: shop}
spec:
  selector: {app: shop}
  ports:
    - {name: http, port: 80, targetPort: http}
    - {name: tcp-ledger, port: 7000, targetPort: ledger}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: shop-0, namespace: shop, labels: {app: shop}}
spec:
  serviceAccountName: shop
  address: 127.0.0.1
  ports:
    - {name: http, port: $shop_http, appPort: $shop_http_app}
    - {name: ledger, port: $shop_ledger, appPort: $shop_ledger_app}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: buyer-0, namespace: buyer}
spec:
  serviceAccountName: buyer
  address: 127.0.0.1
  upstreams:
    - {service: shop.shop, port: 80, localPort: $buyer_http}
    - {service: shop.shop, port: 7000, localPort: $buyer_ledger}
    - {service: vault.shop, port: 80, localPort: $buyer_vault}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: thief-0, namespace: thief}
spec:
  serviceAccountName: thief
  address: 127.0.0.1
  upstreams:
    - {service: shop.shop, port: 80, localPort: $thief_http}
    - {service: shop.shop, port: 7000, localPort: $thief_ledger}
---
# A workload whose sidecar never starts: in its place tests listen themselves.
apiVersion: v1
kind: Service
metadata: {name: vault, namespace: shop}
spec:
  selector: {app: vault}
  ports:
    - {name: http, port: 80, targetPort: http}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: vault-0, namespace: shop, labels: {app: vault}}
spec:
  serviceAccountName: vault
  address: 127.0.0.1
  ports:
    - {name: http, port: $vault_http, appPort: $vault_http_app}
"""

NAMESPACE = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {tulle.dev/traffic-policy: %s}}
"""

ROUTES = """
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: routes, namespace: shop}
spec:
  matches:
    - {name: a, pathRegex: /a, methods: [GET]}
    - {name: b, pathRegex: /b, methods: [GET]}
    - {name: staff, pathRegex: /c, headers: {x-role: ^staff$$}}
    - {name: any}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: ledger, namespace: shop}
spec: {matches: {ports: [7000]}}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: web, namespace: shop}
spec: {matches: {ports: [80]}}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: all-ports, namespace: shop}
spec: {matches: {ports: []}}
"""


def target(source: str, *rules: str) -> str:
    """A TrafficTarget that lets `source` use the shop; rules such as `http a b`, or `tcp ledger`."""
    lines = []
    for rule in rules:
        kind, *names = rule.split()
        if kind == "http":
            lines.append(f"    - {{kind: HTTPRouteGroup, name: routes, matches: [{', '.join(names)}]}}")
        else:
            lines.append(f"    - {{kind: TCPRoute, name: {names[0]}}}")
    rules_text = "\n".join(lines)
    return f"""
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {{name: {source}-to-shop, namespace: shop}}
spec:
  destination: {{kind: ServiceAccount, name: shop, namespace: shop}}
  sources:
    - {{kind: ServiceAccount, name: {source}, namespace: {source}}}
  rules:
{rules_text}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningMesh]:
    applications = [
        (SHOP, "http_echo $shop_http_app --version shop"),
        (SHOP, "tcp_echo $shop_ledger_app --version shop"),
    ]
    objects = {"mesh.yaml": OBJECTS, "routes.yaml": ROUTES}
    work_dir = tmp_path_factory.mktemp("access")
    async with running_mesh(work_dir, objects, applications, [SHOP, BUYER, THIEF]) as running:
        yield running


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def clean_policy(mesh: RunningMesh) -> None:
    """Each test starts from no TrafficTarget, and no policy but the default: nobody gets in."""
    mesh.withdraw("buyer.yaml", "thief.yaml", "namespace.yaml")
    for client in ("buyer", "thief"):
        await http_becomes(mesh, client, 403, "/a")
        await http(mesh, client, 403, "/b")
        await tcp_becomes(mesh, client, b"")


async def http(
    mesh: RunningMesh, client: str, status: int, path: str, method: str = "GET", headers: Headers = None
) -> None:
    """Fails unless every request of `client` is answered with `status`."""
    assert await statuses(mesh.port[f"{client}_http"], path, method, headers) == Counter({status: 8})


async def http_becomes(mesh: RunningMesh, client: str, status: int, path: str, headers: Headers = None) -> float:
    """Waits until all requests of `client` are answered with `status`, twice; the seconds until the first time."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    first: float | None = None

    async def twice() -> bool:
        nonlocal first
        if await statuses(mesh.port[f"{client}_http"], path, headers=headers) != Counter({status: 8}):
            first = None
            return False
        if first is None:
            first = loop.time() - start
            return False
        return True

    await eventually(twice, f"{client} to be answered {status} at {path}")
    assert first is not None
    return first


async def tcp(port: int) -> bytes:
    """What comes back for a line over a new connection; empty when it is closed without an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"hello\n")
        async with asyncio.timeout(10):
            return await reader.readline()
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


async def tcp_becomes(mesh: RunningMesh, client: str, answer: bytes) -> float:
    async def is_so() -> bool:
        found = await asyncio.gather(*(tcp(mesh.port[f"{client}_ledger"]) for _ in range(8)))
        return set(found) == {answer}

    return await seconds_until(is_so, f"{client}'s connections to be answered {answer!r}")


# HTTP


async def test_without_any_traffic_target_nobody_gets_in(mesh: RunningMesh) -> None:
    for client in ("buyer", "thief"):
        await http_becomes(mesh, client, 403, "/a")
        await tcp_becomes(mesh, client, b"")


async def test_identity_path_and_method_must_all_fit(mesh: RunningMesh) -> None:
    mesh.apply("buyer.yaml", target("buyer", "http a"))
    await http_becomes(mesh, "buyer", 200, "/a")
    await http(mesh, "buyer", 200, "/a/deeper?and=more")
    await http(mesh, "buyer", 403, "/b")
    await http(mesh, "buyer", 403, "/")
    await http(mesh, "buyer", 403, "/a", "POST")
    await http(mesh, "thief", 403, "/a")
    seen = (await ask(mesh.port["buyer_http"], "/a")).json
    assert f"URI={BUYER_ID}" in seen["headers"]["x-forwarded-client-cert"]


async def test_sources_and_rules_of_two_targets_do_not_mix(mesh: RunningMesh) -> None:
    mesh.apply("buyer.yaml", target("buyer", "http a"))
    mesh.apply("thief.yaml", target("thief", "http b", "tcp all-ports"))
    await http_becomes(mesh, "buyer", 200, "/a")
    await http_becomes(mesh, "thief", 200, "/b")
    await http(mesh, "buyer", 403, "/b")
    await http(mesh, "thief", 403, "/a")
    assert await tcp(mesh.port["buyer_ledger"]) == b""
    await tcp_becomes(mesh, "thief", b"shop hello\n")


async def test_routes_of_tcp_and_http_in_one_target_must_both_fit(mesh: RunningMesh) -> None:
    mesh.apply("buyer.yaml", target("buyer", "http a", "tcp ledger"))
    mesh.apply("thief.yaml", target("thief", "http a", "tcp web"))
    await http_becomes(mesh, "thief", 200, "/a")
    await tcp_becomes(mesh, "buyer", b"shop hello\n")
    await http(mesh, "thief", 403, "/b")
    assert await tcp(mesh.port["thief_ledger"]) == b""
    await http(mesh, "buyer", 403, "/a")


async def test_headers_must_fit_and_lookalikes_do_not_pass(mesh: RunningMesh) -> None:
    mesh.apply("buyer.yaml", target("buyer", "http staff"))
    await http_becomes(mesh, "buyer", 200, "/c", headers={"x-role": "staff"})
    await http(mesh, "buyer", 403, "/c")
    await http(mesh, "buyer", 403, "/c", headers={"x-role": "guest"})
    await http(mesh, "buyer", 403, "/a", headers={"x-role": "staff"})
    for sent in ({"x_role": "staff"}, {"x-role": "staff", "x_role": "admin"}, {"X_Role": "admin", "X-Role": "staff"}):
        await http(mesh, "buyer", 403, "/c", headers=sent)


async def test_what_a_client_says_of_itself_is_not_believed(mesh: RunningMesh) -> None:
    mesh.apply("buyer.yaml", target("buyer", "http any"))
    await http_becomes(mesh, "buyer", 200, "/a")
    forged = {"x-forwarded-client-cert": "URI=spiffe://cluster.local/ns/shop/sa/owner"}
    await http(mesh, "thief", 403, "/a", headers=forged)
    seen = (await ask(mesh.port["buyer_http"], "/a", headers=forged)).json["headers"]["x-forwarded-client-cert"]
    assert "owner" not in seen
    assert f"URI={BUYER_ID}" in seen


# TCP


async def test_tcp_is_allowed_or_closed_by_connection(mesh: RunningMesh) -> None:
    mesh.apply("buyer.yaml", target("buyer", "tcp ledger"))
    assert await tcp_becomes(mesh, "buyer", b"shop hello\n") < PROMPTLY
    assert await tcp(mesh.port["thief_ledger"]) == b""
    await http(mesh, "buyer", 403, "/a")  # the TCPRoute names another port
    mesh.withdraw("buyer.yaml")
    assert await tcp_becomes(mesh, "buyer", b"") < PROMPTLY


# While connections are open


async def test_a_revoked_target_is_enforced_on_open_connections(mesh: RunningMesh) -> None:
    mesh.apply("buyer.yaml", target("buyer", "http a"))
    await http_becomes(mesh, "buyer", 200, "/a")
    async with await HttpConnection.open(mesh.port["buyer_http"]) as connection:
        assert (await connection.request("/a")).status == 200
        before = await sidecar_connections(mesh, BUYER)

        async def answered(status: int) -> bool:
            return (await connection.request("/a")).status == status

        for _ in range(3):
            mesh.withdraw("buyer.yaml")
            assert await seconds_until(lambda: answered(403), "the revoked target to be enforced") < PROMPTLY
            mesh.apply("buyer.yaml", target("buyer", "http a"))
            assert await seconds_until(lambda: answered(200), "the target to be granted again") < PROMPTLY
        assert await sidecar_connections(mesh, BUYER) == before


async def sidecar_connections(mesh: RunningMesh, workload: str) -> dict[str, int]:
    """How many connections the sidecar of `workload` has made to others, by service port."""
    stats = await mesh.admin(workload, "/stats?usedonly&filter=upstream_cx_total")
    return {name: int(value) for name, value in (line.split(": ") for line in stats.splitlines()) if "shop" in name}


async def test_a_granted_target_cuts_no_connection(mesh: RunningMesh) -> None:
    mesh.apply("buyer.yaml", target("buyer", "http a", "tcp all-ports"))
    await http_becomes(mesh, "buyer", 200, "/a")
    await tcp_becomes(mesh, "buyer", b"shop hello\n")
    modified = await mesh.counter(SHOP, "listener_manager.listener_modified")
    reader, writer = await asyncio.open_connection("127.0.0.1", mesh.port["buyer_ledger"])
    try:
        async with await HttpConnection.open(mesh.port["buyer_http"]) as connection:
            assert (await connection.request("/a")).status == 200
            before = await sidecar_connections(mesh, BUYER)
            mesh.apply("thief.yaml", target("thief", "http a", "tcp all-ports"))
            assert await http_becomes(mesh, "thief", 200, "/a") < PROMPTLY
            await tcp_becomes(mesh, "thief", b"shop hello\n")
            for number in range(10):
                writer.write(b"%d\n" % number)
                assert await reader.readline() == b"shop %d\n" % number
                assert (await connection.request("/a")).status == 200
            assert await sidecar_connections(mesh, BUYER) == before
    finally:
        writer.transport.abort()
    assert await mesh.counter(SHOP, "listener_manager.listener_modified") == modified


async def test_the_policy_changes_live_without_a_failure_for_who_is_allowed(mesh: RunningMesh) -> None:
    mesh.apply("buyer.yaml", target("buyer", "http a"))
    await http_becomes(mesh, "buyer", 200, "/a")
    async with steady_load(mesh.port["buyer_http"], target="/a"):
        for _ in range(2):
            mesh.apply("namespace.yaml", NAMESPACE % "permissive")
            assert await http_becomes(mesh, "thief", 200, "/b") < PROMPTLY
            await tcp_becomes(mesh, "thief", b"shop hello\n")
            mesh.apply("namespace.yaml", NAMESPACE % "smi")
            assert await http_becomes(mesh, "thief", 403, "/b") < PROMPTLY
            await tcp_becomes(mesh, "thief", b"")


# Without a certificate of the mesh


async def straight_in(port: int, tls: ssl.SSLContext | None) -> str:
    """How a request straight to a sidecar's inbound port ends: its status, or that the connection was refused."""
    try:
        async with await HttpConnection.open(port, tls=tls) as connection:
            return str((await connection.request("/a")).status)
    except ConnectionResetError:
        return "reset"
    except (ssl.SSLError, BrokenPipeError, asyncio.IncompleteReadError):
        return "refused"


async def alert(port: int, tls: ssl.SSLContext) -> str:
    """The TLS alert with which a sidecar answers to a client that says nothing but what the handshake asks for."""
    with pytest.raises(ssl.SSLError) as caught:  # noqa: PT012 - in TLS 1.3 it comes after the client's handshake
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        try:
            async with asyncio.timeout(PATIENCE):
                await reader.read()
        finally:
            writer.transport.abort()
    return str(caught.value.reason)


@pytest.fixture
def own_authority(mesh: RunningMesh, tmp_path: Path) -> Issuer:
    return copied_authority(mesh, tmp_path)


async def test_without_a_certificate_of_the_mesh_nothing_is_answered(
    mesh: RunningMesh, own_authority: Issuer, tmp_path: Path
) -> None:
    mesh.apply("buyer.yaml", target("buyer", "http any", "tcp all-ports"))
    await http_becomes(mesh, "buyer", 200, "/a")
    port = mesh.port["shop_http"]
    # What follows is refused for the missing certificate alone: with it, the same client gets in.
    assert await straight_in(port, mesh_tls(mesh, certificate_files(own_authority, tmp_path, BUYER_ID))) == "200"

    assert await straight_in(port, None) == "reset"
    nameless = mesh_tls(mesh, None)
    assert await straight_in(port, nameless) in {"reset", "refused"}
    assert await alert(port, nameless) == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    now = datetime.now(UTC)
    root = create_root(DOMAIN, now)
    foreign = mesh_tls(mesh, certificate_files(Authority(root, create_intermediate(root, now)), tmp_path, BUYER_ID))
    assert await straight_in(port, foreign) in {"reset", "refused"}
    assert await alert(port, foreign) == "SSLV3_ALERT_CERTIFICATE_UNKNOWN"
    assert await tcp(mesh.port["shop_ledger"]) == b""
    assert await alert(mesh.port["shop_ledger"], foreign) == "SSLV3_ALERT_CERTIFICATE_UNKNOWN"


async def test_a_permissive_policy_still_asks_for_a_certificate(mesh: RunningMesh) -> None:
    mesh.apply("namespace.yaml", NAMESPACE % "permissive")
    await http_becomes(mesh, "thief", 200, "/a")
    assert await straight_in(mesh.port["shop_http"], None) == "reset"
    assert await alert(mesh.port["shop_http"], mesh_tls(mesh, None)) == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    assert await tcp(mesh.port["shop_ledger"]) == b""


@asynccontextmanager
async def pretender(mesh: RunningMesh, certificate: tuple[Path, Path]) -> AsyncIterator[None]:
    """Something that listens where the vault's sidecar would, shows `certificate`, and answers every request."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=mesh.state / "join" / BUYER / "bundle.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(*certificate)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", mesh.port["vault_http"], ssl=context)
    try:
        yield
    finally:
        server.close()


async def test_a_server_with_another_identity_is_not_talked_to(
    mesh: RunningMesh, own_authority: Issuer, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    vault = SpiffeId(DOMAIN, "/ns/shop/sa/vault")
    root = create_root(DOMAIN, now)
    foreign = Authority(root, create_intermediate(root, now))
    async with pretender(mesh, certificate_files(own_authority, tmp_path, SpiffeId(DOMAIN, "/ns/thief/sa/thief"))):
        assert await statuses(mesh.port["buyer_vault"]) == Counter({503: 8})
    async with pretender(mesh, certificate_files(foreign, tmp_path, vault)):
        assert await statuses(mesh.port["buyer_vault"]) == Counter({503: 8})
    async with pretender(mesh, certificate_files(own_authority, tmp_path, vault)):
        assert await statuses(mesh.port["buyer_vault"]) == Counter({200: 8})
