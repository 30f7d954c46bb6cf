"""TrafficSplits as people and tools write them, from their text to the shares of a service port."""

from __future__ import annotations

import pytest

from smi import codes as reading
from smi.resolve import codes
from tests.unit.resolve.conftest import Written, key, mk_written, shares_of

SERVICES = """
    apiVersion: v1
    kind: Service
    metadata: {name: shop, namespace: ns}
    spec: {clusterIP: 10.96.0.1, selector: {app: shop}, ports: [{name: http, port: 80}]}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: v1, namespace: ns}
    spec: {selector: {app: v1}, ports: [{name: http, port: 80}]}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: v2, namespace: ns}
    spec: {selector: {app: v2}, ports: [{name: http, port: 80}]}
    """
CANARY = """
    apiVersion: specs.smi-spec.io/v1alpha4
    kind: HTTPRouteGroup
    metadata: {name: canary, namespace: ns}
    spec:
      matches:
      - name: canary
        headers: {x-canary: "true"}
    """
WITHOUT_SPLIT = [{"shop": 1}]


def split(spec: str, *more: str) -> Written:
    """A split with `spec`, in YAML's flow style."""
    head = "apiVersion: split.smi-spec.io/v1alpha4\nkind: TrafficSplit\nmetadata: {name: split, namespace: ns}\n"
    return mk_written(SERVICES, f"{head}spec: {spec}\n", *more)


def shares(written: Written) -> list[dict[str, int]]:
    return shares_of(written.mesh.frontends[key("shop")])


@pytest.mark.parametrize("matches", ["", ", matches: []", ", matches: null"])
def test_no_matches_are_all_requests(matches: str) -> None:
    assert shares(split(f"{{service: shop, backends: [{{service: v1, weight: 1}}]{matches}}}", CANARY)) == [{"v1": 1}]


def test_matches_of_a_group() -> None:
    written = split(
        "{service: shop, backends: [{service: v1, weight: 0}, {service: v2, weight: 100}],"
        " matches: [{kind: HTTPRouteGroup, name: canary, apiGroup: specs.smi-spec.io}]}",
        CANARY,
    )
    assert shares(written) == [{"v2": 100}, {"shop": 1}]


def test_matches_of_a_group_with_errors_only_are_none_and_not_all() -> None:
    broken = CANARY.replace('x-canary: "true"', 'x-canary: "("')
    written = split(
        "{service: shop, backends: [{service: v1, weight: 1}], matches: [{kind: HTTPRouteGroup, name: canary}]}", broken
    )
    assert shares(written) == WITHOUT_SPLIT
    assert {reading.BAD_REGEX.code, codes.NOTHING_MATCHED.code} <= written.codes


@pytest.mark.parametrize("kind", ["TCPRoute", "UDPRoute", "HTTPRoute"])
def test_matches_of_another_kind_keep_the_split_out_of_force(kind: str) -> None:
    spec = f"{{service: shop, backends: [{{service: v1, weight: 1}}], matches: [{{kind: {kind}, name: canary}}]}}"
    written = split(spec, CANARY)
    assert shares(written) == WITHOUT_SPLIT
    assert reading.BAD_VALUE.code in written.codes


@pytest.mark.parametrize("root", ["shop", "shop.ns", "shop.ns.svc", "shop.ns.svc.cluster.local", "shop.ns.svc.other."])
@pytest.mark.parametrize("backend", ["v1", "v1.ns", "v1.ns.svc", "v1.ns.svc.cluster.local"])
def test_services_may_be_written_as_host_names(root: str, backend: str) -> None:
    written = split(f"{{service: {root}, backends: [{{service: {backend}, weight: 7}}]}}")
    assert shares(written) == [{"v1": 7}]


@pytest.mark.parametrize(
    ("root", "backend"),
    [("shop.other", "v1"), ("shop", "v1.other.svc.cluster.local"), ("shop.example.com", "v1"), ("shop", "*")],
)
def test_services_of_other_namespaces_are_refused(root: str, backend: str) -> None:
    written = split(f"{{service: {root}, backends: [{{service: '{backend}', weight: 7}}]}}")
    assert shares(written) == WITHOUT_SPLIT
    assert reading.BAD_NAME.code in written.codes


def test_a_backend_written_in_two_ways_is_one() -> None:
    written = split(
        "{service: shop, backends: [{service: v1, weight: 1}, {service: v2, weight: 5},"
        " {service: v1.ns.svc.cluster.local, weight: 3}]}"
    )
    assert shares(written) == [{"v1": 4, "v2": 5}]


@pytest.mark.parametrize("weight", ["-1", "0.5", "1.5", "'many'", "2147483648", ".nan", "true"])
def test_a_weight_that_is_no_whole_number_keeps_the_split_out_of_force(weight: str) -> None:
    written = split(f"{{service: shop, backends: [{{service: v1, weight: {weight}}}, {{service: v2, weight: 1}}]}}")
    assert shares(written) == WITHOUT_SPLIT
    assert reading.BAD_WEIGHT.code in written.codes


def test_the_largest_weights_are_scaled_to_what_envoy_adds_up() -> None:
    most = 2**31 - 1
    written = split(
        f"{{service: shop, backends: [{{service: shop, weight: {most}}}, {{service: v1, weight: {most}}},"
        f" {{service: v2, weight: {most}}}]}}"
    )
    (made,) = shares(written)
    assert sum(made.values()) <= 2**32 - 1
    assert len(set(made.values())) == 1


@pytest.mark.parametrize("backends", ["[]", "null"])
def test_a_split_without_backends_is_not_in_force(backends: str) -> None:
    written = split(f"{{service: shop, backends: {backends}}}")
    assert shares(written) == WITHOUT_SPLIT
    assert reading.MISSING_FIELD.code in written.codes


def test_flagger_begins_with_weight_0_and_an_apex_that_selects_the_primary() -> None:
    written = mk_written(
        SERVICES.replace("{app: shop}", "{app: v1}"),
        """
        apiVersion: split.smi-spec.io/v1alpha4
        kind: TrafficSplit
        metadata: {name: shop, namespace: ns}
        spec:
          service: shop
          backends:
          - {service: v2, weight: 0}
          - {service: v1, weight: 100}
        """,
    )
    assert shares(written) == [{"v1": 100}]


def test_argo_splits_between_the_root_and_a_canary() -> None:
    written = split("{service: shop, backends: [{service: v2, weight: 5}, {service: shop, weight: 95}]}")
    assert shares(written) == [{"shop": 95, "v2": 5}]


def test_a_split_may_come_before_its_backend_as_the_workflow_of_the_specification_has_it() -> None:
    spec = "{service: shop, backends: [{service: v1, weight: 1}, {service: v3, weight: 0}]}"
    written = split(spec)
    assert shares(written) == [{"v1": 1}]
    assert codes.BACKEND_MISSING.code not in written.codes


def test_removing_a_split_returns_to_the_plain_service() -> None:
    assert shares(mk_written(SERVICES)) == WITHOUT_SPLIT
