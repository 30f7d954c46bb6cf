"""Small meshes at random: few names, so that objects often meet, collide, or point at nothing."""

from __future__ import annotations

import dataclasses

from hypothesis import strategies as st

from smi.objects import (
    AccessRule,
    Allowance,
    CaptureMode,
    HTTPMatch,
    MeshObject,
    MtlsMode,
    Service,
    ServicePort,
    TrafficPolicy,
    TrafficTarget,
    UDPRoute,
    Upstream,
    Workload,
    WorkloadPort,
)
from tests.unit.resolve.conftest import (
    http_rule,
    mk_config,
    mk_meta,
    mk_namespace,
    mk_routes,
    mk_split,
    mk_target,
    mk_tcp_route,
    tcp_rule,
)

NAMES = ("a", "b", "c")
AGES = ("", "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z")
namespaces = st.sampled_from(("ns", "far"))
names = st.sampled_from(NAMES)
ages = st.sampled_from(AGES)
labels = st.fixed_dictionaries({"app": names}, optional={"track": st.sampled_from(("x", "y"))})
service_ports = st.sampled_from(
    (
        ServicePort("http", 80, 8080),
        ServicePort("http", 80, "web"),
        ServicePort("tcp", 80, 8080),
        ServicePort("grpc", 90, 8080),
        ServicePort("", 5432, 5432),
        ServicePort("dns", 53, 53, "UDP"),
        ServicePort("web", 81, 9090),
    )
)
workload_ports = st.sampled_from(
    (
        (),
        (WorkloadPort("web", 8080, 14001),),
        (WorkloadPort("web", 8081, 14001), WorkloadPort("db", 5432, 14002)),
        (WorkloadPort("web", 8080),),
    )
)
settings = st.dictionaries(
    st.sampled_from(("traffic_policy", "mtls")), st.sampled_from(("smi", "strict", "permissive", "wrong")), max_size=2
)
reaches = st.sampled_from(({}, {"reaches": "far"}, {"reaches": "ns/a, far/b"}, {"reaches": "nowhere"}))
matches = st.builds(
    HTTPMatch,
    name=st.sampled_from(("m", "n")),
    path_regex=st.sampled_from(("", "/x", "/y$", "^/z|/w")),
    methods=st.sampled_from(((), ("GET",), ("GET", "POST"))),
    headers=st.sampled_from(((), (("x-role", "^admin$"),))),
)


def _service(**given: object) -> Service:
    service = Service(**given)  # type: ignore[arg-type]
    return dataclasses.replace(service, cluster_ips=()) if service.headless else service


services = st.builds(
    _service,
    meta=st.builds(mk_meta, names, namespace=namespaces, created=ages),
    ports=st.lists(service_ports, min_size=1, max_size=3, unique_by=lambda port: (port.port, port.transport)).map(
        tuple
    ),
    selector=st.one_of(labels, st.just({})),
    cluster_ips=st.sampled_from(((), ("10.96.0.1",), ("10.96.0.2",), ("10.96.0.2", "fd00::2"))),
    headless=st.booleans(),
    external_name=st.sampled_from(("", "", "", "example.com")),
)
upstreams = st.lists(
    st.builds(Upstream, namespaces, names, st.sampled_from((80, 90)), st.sampled_from((31001, 31002, 31003))),
    max_size=2,
    unique_by=lambda upstream: upstream.local_port,
).map(tuple)


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    capture = draw(st.sampled_from(CaptureMode))
    given = {f"tulle.dev/{key.replace('_', '-')}": value for key, value in draw(settings).items()}
    given |= {f"tulle.dev/{key}": value for key, value in draw(reaches).items()}
    name = draw(st.sampled_from(("w0", "w1", "w2", "w3")))
    return Workload(
        meta=mk_meta(name, namespace=draw(namespaces), labels=draw(labels), annotations=given),
        service_account=draw(names),
        address=draw(st.sampled_from(("10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::9"))),
        ports=draw(workload_ports),
        upstreams=draw(upstreams) if capture is CaptureMode.EXPLICIT else (),
        sidecar=draw(st.sampled_from((True, True, True, False))),
        capture=capture,
    )


def _target(target: TrafficTarget, port: int | None, optional: bool) -> TrafficTarget:
    """As another version than the newest might have it: with a port, and perhaps without rules."""
    return dataclasses.replace(target, port=port, ruleless=optional and not target.rules)


targets = st.builds(
    _target,
    st.builds(
        mk_target,
        st.sampled_from(("t", "u")),
        st.lists(
            st.sampled_from(
                (
                    http_rule("r"),
                    http_rule("r", "m"),
                    http_rule("missing"),
                    tcp_rule("all"),
                    tcp_rule("missing"),
                    AccessRule("UDPRoute", "udp"),
                )
            ),
            max_size=2,
        ).map(tuple),
        to=names,
        sources=st.lists(names, max_size=2).map(tuple),
    ),
    st.sampled_from((None, None, 80, 8080, 5432, 7000)),
    st.booleans(),
)
policy_objects = st.one_of(
    st.builds(
        mk_split,
        names,
        st.dictionaries(st.sampled_from((*NAMES, "missing")), st.sampled_from((0, 1, 90, 2**32)), max_size=3),
        name=st.sampled_from(("s", "t")),
        matches=st.lists(st.sampled_from(("r", "q", "missing")), max_size=2, unique=True).map(tuple),
        created=ages,
    ),
    targets,
    st.builds(lambda name, made: mk_routes(name, *made), st.sampled_from(("r", "q")), st.lists(matches, max_size=2)),
    st.builds(mk_tcp_route, st.just("all"), st.sampled_from((80, 8080, 5432))),
    st.builds(mk_tcp_route, st.just("all")),
    st.builds(UDPRoute, meta=st.just(mk_meta("udp")), ports=st.sampled_from(((), (8080,)))),
    st.builds(lambda name, given: mk_namespace(name, **given), namespaces, st.one_of(settings, reaches)),
    st.builds(
        mk_config,
        traffic_policy=st.sampled_from(TrafficPolicy),
        mtls=st.sampled_from(MtlsMode),
        egress=st.sampled_from(Allowance),
        plaintext_upstreams=st.sampled_from(Allowance),
        empty_rules=st.sampled_from(Allowance),
    ),
)
objects: st.SearchStrategy[MeshObject] = st.one_of(services, services, workloads(), workloads(), policy_objects)
declarations = st.lists(objects, min_size=2, max_size=16, unique_by=lambda one: one.ref)
"""Objects that could be declared together: no two of one kind and name."""
