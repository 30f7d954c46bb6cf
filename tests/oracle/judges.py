"""Everybody whose verdict must be that of the oracle: each takes declared objects, and decides calls as it does.

`Envoys`: what sidecars are sent, in the traffic simulator. `Policy`: what `tulle policy check` says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Protocol

from deploy.configuration import Configuration, Translation
from smi import policy
from smi.index import Key, MeshObjects
from smi.model import PortKey, WorkloadKey
from smi.protocol import protocol_of
from smi.resolve.mesh import MeshModel, ModelChange
from tests import simulator
from tests.oracle.calls import PASSED_THROUGH, Answer, Call, Place, Verdict
from tests.oracle.oracle import Oracle


class Judge(Protocol):
    """Decides calls in the mesh that it was made for."""

    def decide(self, call: Call) -> Verdict | None:
        """None for a call that it is not asked about."""


Court = Callable[[MeshObjects], Judge]


class Envoys:
    """Translated configuration, and what Envoys do with it."""

    def __init__(self, objects: MeshObjects) -> None:
        mesh, change = _model(objects)
        configuration = Configuration()
        configuration.take(Translation(mesh).follow(change))
        self._objects = objects
        self._workloads: dict[str, Key] = {each.address: key for key, each in objects.workloads.items()}
        self._world = simulator.World.of(configuration, objects)

    def decide(self, call: Call) -> Verdict:
        request = call.request
        outcome = self._world.call(
            simulator.Call(
                source=WorkloadKey(*call.source) if call.source else None,
                service="/".join(call.service),
                port=call.port,
                method=request.method,
                path=request.path,
                headers=request.headers,
                host=request.host,
            )
        )
        if call.source is None:
            # Kubernetes knows workloads that do not serve such a port, and finds nobody listening there.
            serving = [r for r in outcome.reached if r.kind is not simulator.Kind.NO_BACKEND and self._guarded(r)]
            return Verdict({call.service[1]: Fraction(1)}, {call.service[1]: self._answers(serving)})
        if outcome.kind in (simulator.Kind.INVALID, simulator.Kind.NO_ROUTE, simulator.Kind.PASSTHROUGH):
            return Verdict({f"{outcome.kind}": Fraction(1)}, {})
        shares = {each.service: share for each, share in outcome.weights.items() if isinstance(each, PortKey)}
        return Verdict(
            shares,
            {
                name: self._answers(
                    [r for r in outcome.reached if isinstance(r.cluster, PortKey) and r.cluster.service == name]
                )
                for name in shares
            },
        )

    def _guarded(self, reached: simulator.Reached) -> bool:
        return self._objects.workloads[self._workloads[reached.address]].sidecar

    def _answers(self, reached: Iterable[simulator.Reached]) -> dict[Place, Answer]:
        found: dict[Place, Answer] = {}
        for each in reached:
            if each.address:
                # Whether an application listens is not asked here: one without a sidecar has whatever ports it has.
                silent = each.kind is simulator.Kind.NO_BACKEND and each.workload is None
                answer = _ANSWERS.get(each.kind, each.kind)
                found[self._workloads[each.address], each.port] = answer if self._guarded(each) or not silent else True
        return found


_ANSWERS: dict[simulator.Kind, Answer] = {simulator.Kind.ALLOWED: True, simulator.Kind.DENIED: False}


class Policy:
    """What people are told, from the mesh model. It knows clients of the mesh only, by their account, and takes it that
    on a port that is not HTTP nobody speaks HTTP.
    """

    def __init__(self, objects: MeshObjects) -> None:
        mesh, _ = _model(objects)
        self._policy = policy.Policy(mesh)
        self._oracle = Oracle(objects)

    def decide(self, call: Call) -> Verdict | None:
        if call.source is None or not self._is_clear(call):
            return None
        source = policy.Account(call.source[0], self._oracle.objects.workloads[call.source].service_account)
        request = call.request
        headers = (("host", request.host), *((name.lower(), value) for name, value in request.headers))
        decision = self._policy.decide(
            policy.Call(source, PortKey(*call.service, call.port), request.method, request.path, headers)
        )
        if decision.unrouted is not None:
            unrouted = {policy.Outcome.FAILED: Verdict({}, {}), policy.Outcome.ALLOWED: PASSED_THROUGH}
            return unrouted.get(decision.unrouted, Verdict({"refused": Fraction(1)}, {}))
        return Verdict(
            {backend.key.service: backend.share for backend in decision.backends},
            {
                backend.key.service: {
                    (tuple(workload), server.target_port): _OUTCOMES.get(server.outcome, server.outcome)
                    for server in backend.servers
                    for workload in server.workloads
                }
                for backend in decision.backends
            },
        )

    def _is_clear(self, call: Call) -> bool:
        """Whether account and port tell all that the workload and the bytes would."""
        objects = self._oracle.objects
        assert call.source is not None
        me = objects.workloads[call.source]
        same = [
            each
            for key, each in objects.workloads.items()
            if (key[0], each.service_account) == (call.source[0], me.service_account)
        ]
        if len({each.capture for each in same}) > 1 and not objects.services[call.service].selector:
            return False
        port = self._oracle.port_of(call.service, call.port)
        if port is not None and protocol_of(port)[0].is_http:
            return True
        places = [
            p for name in self._oracle.shares(call) for p in self._oracle.places((call.service[0], name), call.port)
        ]
        leading = [self._oracle.leading_to(place) for place in places]
        return not any(ports and protocol_of(ports[0])[0].is_http for ports in leading)


_OUTCOMES: dict[policy.Outcome, Answer] = {policy.Outcome.ALLOWED: True, policy.Outcome.DENIED: False}


def _model(objects: MeshObjects) -> tuple[MeshModel, ModelChange]:
    mesh = MeshModel()
    change = mesh.apply(objects.events())
    assert change is not None, "nothing is declared"
    return mesh, change
