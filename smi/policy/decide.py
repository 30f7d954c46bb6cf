"""The decision: where a call goes, and what each workload that may get it says.

It is what sidecars do with the mesh model: the client's takes the first rule of the frontend that means the request,
as it was written; the server's reads the path in its own way, and asks the access table of the target port.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from ca.identity import WorkloadIdentity, workload_identity
from smi import paths
from smi.model import Access, Frontend, PortKey, Rule, WeightedPort, WorkloadKey
from smi.objects import Allowance, CaptureMode
from smi.policy.decision import (
    BackendDecision,
    Call,
    Decision,
    Outcome,
    Reason,
    ServerDecision,
)
from smi.policy.ground import Ground, Server, cite
from smi.policy.notes import calls, notes_on
from smi.policy.reasons import Asked, denied, granted, permissive
from smi.policy.requests import Request, headers_of, misses, misses_at_server, shown
from smi.resolve.mesh import MeshModel

_OWN_ENDPOINTS = Reason("no split applies: the service's own endpoints")
_HEADLESS = Reason("headless: clients call its endpoints by their own addresses, and no split applies")


def decide(mesh: MeshModel, call: Call) -> Decision:
    """What happens to `call` in `mesh`. KeyError: its service port is not part of the mesh."""
    return Policy(mesh).decide(call)


class Policy:
    """The decisions of one mesh, which must not change meanwhile."""

    def __init__(self, mesh: MeshModel) -> None:
        self.mesh = mesh
        self.ground = Ground(mesh.objects)

    def decide(self, call: Call) -> Decision:
        """What happens to `call`. KeyError: its service port is not part of the mesh."""
        frontend = self.mesh.frontends[call.to]
        request = _request(call) if frontend.protocol.is_http else None
        route, rule, unrouted = self._route(call, frontend, request)
        backends = tuple(self._backends(call, rule, request)) if rule else ()
        notes = notes_on(call, self.mesh, self.ground)
        return Decision(call, frontend.protocol, route, backends, unrouted, notes)

    def _route(
        self, call: Call, frontend: Frontend, request: Request | None
    ) -> tuple[Reason, Rule | None, Outcome | None]:
        """Why the call goes where it does, and the rule that sends it there, or what comes of it otherwise."""
        service = self.ground.objects.services[call.to.namespace, call.to.service]
        if frontend.protocol.is_http and (refusal := _refused_by_client(call)):
            return refusal[1], None, refusal[0]
        explicit = self._calls_explicitly(call)
        if service.headless and not explicit:
            return _HEADLESS, _own(call.to), None
        splits = list(self.ground.splits(call.to, frontend.protocol))
        # A sidecar serves an address only if somebody is known behind it; a split out of force may leave one.
        passed = bool(service.cluster_ips) or frontend.rules == (_own(call.to),)
        if not service.selector and not explicit and call.to not in self.mesh.addresses and passed:
            return self._passed_through()
        for split, rule in splits:
            match = next((each for each in rule.matches if request and not misses(each, request)), None)
            if rule.matches and match is None:
                continue
            cited = (cite(split, match.name if match else ""),)
            if not rule.backends:
                return Reason("none of its backends can take traffic: calls fail", cited), None, Outcome.FAILED
            return Reason("", cited), rule, None
        return _OWN_ENDPOINTS, _own(call.to), None

    def _calls_explicitly(self, call: Call) -> bool:
        """Whether all workloads that call have sidecars with declared local ports."""
        found = [each.workload.capture for each in self.ground.members if each.identity and calls(each, call)]
        return bool(found) and all(capture is CaptureMode.EXPLICIT for capture in found)

    def _passed_through(self) -> tuple[Reason, None, Outcome]:
        """A service whose endpoints nobody here knows."""
        if self.mesh.settings.egress is Allowance.ALLOW:
            text = "the service has no selector and no split: calls pass through to whatever serves its address, and"
            return Reason(f"{text} no policy applies"), None, Outcome.ALLOWED
        text = "the service has no selector and no split, and what the mesh does not know is refused (egress: deny)"
        return Reason(text, (cite(self.ground.objects.config),)), None, Outcome.DENIED

    def _backends(self, call: Call, rule: Rule, request: Request | None) -> Iterator[BackendDecision]:
        total = sum(backend.weight for backend in rule.backends)
        for backend in rule.backends:
            share = Fraction(backend.weight, total)
            servers = tuple(self._servers(call, backend.key, share, request))
            yield BackendDecision(backend.key, backend.weight, share, servers)

    def _servers(
        self, call: Call, backend: PortKey, share: Fraction, request: Request | None
    ) -> Iterator[ServerDecision]:
        """What each class of workloads behind a service port says. Endpoints are taken in turn: each has its part."""
        plain_too = self.ground.objects.config.plaintext_upstreams is Allowance.ALLOW
        servers = [each for each in self.ground.servers(backend) if each.workload.sidecar or plain_too]
        groups: dict[tuple[str, str, int], list[Server]] = {}
        for server in servers:
            groups.setdefault((server.member.class_name, server.account.name, server.port), []).append(server)
        for (class_name, _, port), group in groups.items():
            first, part = group[0], share * Fraction(len(group), len(servers))
            outcome, reasons, seen = self._judge(call, first, request)
            workloads = tuple(WorkloadKey(each.workload.meta.namespace, each.workload.meta.name) for each in group)
            yield ServerDecision(first.account, class_name, port, workloads, part, outcome, reasons, seen)

    def _judge(self, call: Call, server: Server, request: Request | None) -> tuple[Outcome, tuple[Reason, ...], str]:
        """What one workload says, why, and the path as its sidecar reads it if that is another one."""
        if not server.workload.sidecar:
            return Outcome.ALLOWED, (Reason("no sidecar: nothing is enforced there, and the way is not encrypted"),), ""
        found = self.mesh.classes[server.member.class_name]
        access = next((each for each in found.access if each.port == server.port), None)
        if access is None:
            text = f"its sidecar has no port {server.port}: the workload does not declare it with an appPort"
            return Outcome.FAILED, (Reason(text, (cite(server.workload),)),), ""
        seen = ""
        if access.protocol.is_http and request is not None:
            read = paths.as_read(request.path)
            if read is None:
                text = f"the sidecar refuses path {shown(request.path)} with 400: it holds a byte 0"
                return Outcome.DENIED, (Reason(text),), ""
            seen = read if read != request.path else ""
            request = request.at_server(read)
        asked = Asked(call.source, self._identity(call), request if access.protocol.is_http else None)
        reason = self._allowance(access, asked, server)
        if reason is not None:
            return Outcome.ALLOWED, (reason,), seen
        return Outcome.DENIED, denied(server, asked, access.protocol, self.ground), seen

    def _allowance(self, access: Access, asked: Asked, server: Server) -> Reason | None:
        """What in the access table allows it, the oldest first; None if nothing does."""
        if access.everyone:
            return permissive(server, self.ground)
        for grant in access.grants:
            if asked.identity not in grant.principals:
                continue
            if grant.http is None:
                if grant.ports is None or server.port in grant.ports:
                    return granted(grant, None, self.ground)
            elif asked.request is not None:
                for match in grant.http:
                    if not misses_at_server(match, asked.request):
                        return granted(grant, match, self.ground)
        return None

    def _identity(self, call: Call) -> WorkloadIdentity:
        return workload_identity(self.mesh.settings.trust_domain, call.source.namespace, call.source.name)


def _own(key: PortKey) -> Rule:
    return Rule((WeightedPort(key, 1),))


def _request(call: Call) -> Request:
    headers = headers_of(call.headers, f"{call.to.service}.{call.to.namespace}")
    return Request(call.method, paths.without_query(call.path), headers)


def _refused_by_client(call: Call) -> tuple[Outcome, Reason] | None:
    """What the client's own sidecar answers to requests that it takes for none."""
    if call.method == "CONNECT":
        return Outcome.FAILED, Reason("the client's sidecar has no route for CONNECT, and answers 404")
    if call.method == "OPTIONS" and call.path == "*":
        return Outcome.FAILED, Reason("the client's sidecar has no route for *, and answers 404")
    if not paths.can_be_sent(call.path):
        return Outcome.DENIED, Reason(f"the client's sidecar refuses path {shown(call.path)} with 400")
    return None
