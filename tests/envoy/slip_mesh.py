"""The mesh for tests of requests that try to slip past a rule: a server with one port for each rule, and an attacker
that the rules let in, with a sidecar or straight with its certificate.

In: rules by name. Out: ways to send anything, and what the application received.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ca.identity import SpiffeId
from tests.envoy.applications.witness import Request, Witness
from tests.envoy.mesh_certificates import DOMAIN, certificate_files, copied_authority, mesh_tls
from tests.envoy.raw_requests import Lines, WayIn, http1, send_http1, send_http2
from tests.envoy.running_mesh import RunningMesh, running_mesh

SERVER, ATTACKER = "site/site-0", "attacker/attacker-0"
WAYS = ("sidecar", "straight")
"""Through the attacker's own sidecar; straight to the server's, with the attacker's certificate."""
PROTOCOLS = ("http1", "http2")
TAG = "tag-of-test"
"""A header by which requests are told apart."""
_tags = itertools.count()

_WORKLOADS = """
apiVersion: v1
kind: Service
metadata: {{name: site, namespace: site}}
spec:
  selector: {{app: site}}
  ports: [{service_ports}]
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {{name: site-0, namespace: site, labels: {{app: site}}}}
spec:
  serviceAccountName: site
  address: 127.0.0.1
  ports: [{ports}]
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {{name: attacker-0, namespace: attacker}}
spec:
  serviceAccountName: attacker
  address: 127.0.0.1
  upstreams: [{upstreams}]
"""
_RULE = """
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {{name: {name}, namespace: site}}
spec:
  matches: [{{name: only, {match}}}]
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {{name: {name}, namespace: site}}
spec: {{matches: {{ports: [{number}]}}}}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {{name: {name}, namespace: site}}
spec:
  destination: {{kind: ServiceAccount, name: site, namespace: site}}
  rules: [{{kind: HTTPRouteGroup, name: {name}}}, {{kind: TCPRoute, name: {name}}}]
  sources: [{{kind: ServiceAccount, name: attacker, namespace: attacker}}]
"""
_SPLIT_SERVICE = """
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: site}}
spec:
  selector: {{app: site}}
  ports: [{{name: http, port: 80, targetPort: {port}}}]
"""
_SPLIT = """
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {{name: split, namespace: site}}
spec:
  matches: [{{name: only, {match}}}]
---
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {{name: split, namespace: site}}
spec:
  service: split
  backends: [{{service: new, weight: 1}}]
  matches: [{{kind: HTTPRouteGroup, name: split}}]
"""


@dataclass(frozen=True)
class Slip:
    """A running mesh. `way in` are names of WAYS, `rule` those of the rules it was made with."""

    mesh: RunningMesh
    witness: Witness
    ways: Mapping[tuple[str, str], WayIn]

    async def send(
        self, rule: str, way: str, protocol: str, method: str, target: str, headers: Lines = ()
    ) -> tuple[list[int], list[Request]]:
        """The statuses of the answers to one request, and what the application saw of it. Many may run at once."""
        tag = str(next(_tags))
        tagged = [*headers, (TAG, tag)]
        if protocol == "http1":
            statuses = await send_http1(self.ways[rule, way], http1(method, target, tagged))
        else:
            pseudo = [(":method", method), (":scheme", "http"), (":path", target)]
            named = [(":authority" if name == "host" else name, value) for name, value in tagged]
            statuses = await send_http2(self.ways[rule, way], [*pseudo, *named])
        return statuses, self.seen(tag)

    async def lets_in(self, rule: str, target: str = "/", headers: Lines = (), method: str = "GET") -> bool:
        """Whether a request that `rule` allows gets in by all ways."""
        sent = headers if any(name == "host" for name, _ in headers) else [("host", "any.host"), *headers]
        ways = [await self.send(rule, way, protocol, method, target, sent) for way in WAYS for protocol in PROTOCOLS]
        return all(saw for _, saw in ways)

    async def send_bytes(
        self, rule: str, way: str, request: bytes, answers: int = 1
    ) -> tuple[list[int], list[Request]]:
        """Like `send`, for bytes of HTTP/1: the statuses of the first answers, and all that the application saw since.
        Alone, since nothing marks what it saw.
        """
        before = len(self.witness.saw)
        statuses = await send_http1(self.ways[rule, way], request, answers=answers)
        return statuses, self.witness.saw[before:]

    async def send_fields(
        self, rule: str, way: str, fields: Lines, *, body: bytes = b"", trailers: Lines = ()
    ) -> tuple[list[int], list[Request]]:
        """Like `send`, for one request of HTTP/2 with its pseudo headers."""
        tag = str(next(_tags))
        statuses = await send_http2(self.ways[rule, way], [*fields, (TAG, tag)], body=body, trailers=trailers)
        return statuses, self.seen(tag)

    def seen(self, tag: str) -> list[Request]:
        """What the application saw with this value in the header TAG."""
        return [each for each in self.witness.saw if tag in each.values(TAG)]


@asynccontextmanager
async def slip_mesh(work_dir: Path, rules: Mapping[str, str], *, split: str = "") -> AsyncIterator[Slip]:
    """A mesh with a port for each of `rules`: name -> the fields of a match in YAML.

    With the fields of a match in `split`, requests to `split`, through the attacker's sidecar, go to the port of the
    rule `new` if they match, and to that of `old` otherwise.
    """
    numbers = {name: 81 + index for index, name in enumerate(rules)}
    objects = _WORKLOADS.format(
        service_ports=", ".join(f"{{name: http-{n}, port: {p}, targetPort: {n}}}" for n, p in numbers.items()),
        ports=", ".join(f"{{name: {n}, port: ${n}, appPort: ${n}_app}}" for n in numbers),
        upstreams=", ".join(f"{{service: site.site, port: {p}, localPort: $to_{n}}}" for n, p in numbers.items()),
    )
    if split:
        objects = objects.replace("upstreams: [", "upstreams: [{service: split.site, port: 80, localPort: $to_split}, ")
        for name, port in (("split", "old"), ("old", "old"), ("new", "new")):
            objects += _SPLIT_SERVICE.format(name=name, port=port)
        objects += _SPLIT.format(match=split)
    for name, match in rules.items():
        objects += _RULE.format(name=name, match=match, number=numbers[name])
    witness = Witness()
    async with (
        running_mesh(work_dir, {"site.yaml": objects}, (), [SERVER, ATTACKER]) as mesh,
        AsyncExitStack() as stack,
    ):
        folder = work_dir / "attacker"
        folder.mkdir()
        identity = SpiffeId(DOMAIN, "/ns/attacker/sa/attacker")
        tls = mesh_tls(mesh, certificate_files(copied_authority(mesh, folder), folder, identity))
        ways: dict[tuple[str, str], WayIn] = {}
        for name in rules:
            await stack.enter_async_context(witness.serving(mesh.port[f"{name}_app"]))
            ways[name, "sidecar"] = WayIn(mesh.port[f"to_{name}"])
            ways[name, "straight"] = WayIn(mesh.port[name], tls)
        if split:
            ways["split", "sidecar"] = WayIn(mesh.port["to_split"])
        yield Slip(mesh, witness, ways)
