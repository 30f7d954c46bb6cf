"""Where calls of a service go: splits, their weights, and all the classes of workloads behind each backend."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from smi.model import PortKey
from smi.policy import Call, Outcome
from tests.unit.policy.meshes import BUYER, SHOP, call, is_allowed, leaf, outcomes, policy_of, second, split, told

CANARY = """
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: canary, namespace: shop}
spec: {matches: [{name: beta, pathRegex: "/b", headers: {x-beta: "1"}}]}
"""


def test_shares_follow_the_weights(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, SHOP, leaf("v1", account="web"), leaf("next"), split(v1=3, next=1))
    decision = policy.decide(call())
    assert outcomes(decision) == {"next:next": "denied 1/4", "v1:web": "allowed 3/4"}
    assert decision.share_of(Outcome.DENIED) == Fraction(1, 4)
    assert not decision.allowed
    assert "TrafficSplit shop/split" in told(decision)
    assert "no TrafficTarget has the destination shop/next" in told(decision)


def test_weight_0_receives_nothing(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, SHOP, leaf("v1", account="web"), leaf("next"), split(v1=1, next=0))
    assert outcomes(policy.decide(call())) == {"v1:web": "allowed 1"}


def test_all_weights_0_fail(tmp_path: Path) -> None:
    decision = policy_of(tmp_path, SHOP, leaf("v1", account="web"), split(v1=0)).decide(call())
    assert decision.unrouted is Outcome.FAILED
    assert "none of its backends can take traffic" in told(decision)


def test_a_missing_backend_gives_its_share_away(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, SHOP, leaf("v1", account="web"), split(v1=1, gone=9))
    assert outcomes(policy.decide(call())) == {"v1:web": "allowed 1"}


def test_the_root_may_be_its_own_backend(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, SHOP, leaf("next"), split(web=1, next=1))
    assert outcomes(policy.decide(call())) == {"web:web": "allowed 1/2", "next:next": "denied 1/2"}


@pytest.mark.parametrize(
    ("path", "beta", "goes"),
    [
        ("/books", "1", "v2"),
        ("/books", "0", "v1"),
        ("/a/../books", "1", "v1"),  # the client's sidecar takes the path as it is written
    ],
)
def test_matches_choose_the_rule(tmp_path: Path, path: str, beta: str, goes: str) -> None:
    leaves = (leaf("v1", account="web"), leaf("v2", account="web"))
    splits = (split(v1=1), split("beta", matches="canary", v2=1))
    decision = policy_of(tmp_path, SHOP, *leaves, CANARY, *splits).decide(call(path, x_beta=beta))
    assert [backend.key for backend in decision.backends] == [PortKey("shop", goes, 80)]
    assert is_allowed(decision)
    assert ('TrafficSplit shop/beta match "beta"' in told(decision)) is (goes == "v2")


def test_one_line_of_a_header_is_enough_for_a_split(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, SHOP, leaf("v2"), CANARY.replace('"1"', '"^1$"'), split(matches="canary", v2=1))
    asked = Call(BUYER, PortKey("shop", "web", 80), path="/b", headers=(("x-beta", "1"), ("x-beta", "0")))
    assert [backend.key.service for backend in policy.decide(asked).backends] == ["v2"]


def test_what_no_match_takes_goes_to_the_roots_own_endpoints(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, SHOP, leaf("v2"), CANARY, split(matches="canary", v2=1))
    decision = policy.decide(call())
    assert outcomes(decision) == {"web:web": "allowed 1"}
    assert "the service's own endpoints" in told(decision)


def test_each_class_behind_a_backend_is_judged(tmp_path: Path) -> None:
    others = (
        second(2, account="elder"),
        second(3, account="open", annotation="tulle.dev/traffic-policy: permissive"),
        second(4, account="plain", more=", sidecar: false"),
        second(5),
    )
    decision = policy_of(tmp_path, SHOP, *others).decide(call())
    assert outcomes(decision) == {
        "web:web": "allowed 2/5",
        "web:elder": "denied 1/5",
        "web:open": "allowed 1/5",
        "web:plain": "allowed 1/5",
    }
    assert [str(key) for key in decision.servers[0].workloads] == ["shop/web-0", "shop/web-5"]


def test_endpoints_without_sidecar_may_be_forbidden(tmp_path: Path) -> None:
    config = """
apiVersion: tulle.dev/v1alpha1
kind: MeshConfig
metadata: {name: default}
spec: {plaintextUpstreams: deny}
"""
    decision = policy_of(tmp_path, SHOP, second(4, account="plain", more=", sidecar: false"), config).decide(call())
    assert outcomes(decision) == {"web:web": "allowed 1"}


def test_a_tcp_split_ignores_matches(tmp_path: Path) -> None:
    db = leaf("db", protocol="tcp").replace("port: 80,", "port: 5432,")
    decision = policy_of(tmp_path, SHOP, db, CANARY, split(matches="canary", db=1)).decide(call(port=5432))
    assert [backend.key.service for backend in decision.backends] == ["web"]
    decision = policy_of(tmp_path, SHOP, db, CANARY, split(db=1)).decide(call(port=5432))
    assert [backend.key.service for backend in decision.backends] == ["db"]


def test_an_http_service_with_an_opaque_backend(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, SHOP, leaf("raw", account="web", protocol="tcp"), split(raw=1))
    decision = policy.decide(call())
    assert not is_allowed(decision)
    assert "the port is not HTTP: a TCPRoute can allow it" in told(decision)


def test_headless_services_ignore_splits(tmp_path: Path) -> None:
    headless = SHOP.replace("clusterIP: 10.96.0.1", "clusterIP: None")
    decision = policy_of(tmp_path, headless, leaf("next"), split(next=1)).decide(call())
    assert outcomes(decision) == {"web:web": "allowed 1"}
    assert "no split applies" in told(decision)


@pytest.mark.parametrize(("egress", "outcome"), [("allow", Outcome.ALLOWED), ("deny", Outcome.DENIED)])
def test_a_service_without_selector_is_outside(tmp_path: Path, egress: str, outcome: Outcome) -> None:
    config = f"""
apiVersion: tulle.dev/v1alpha1
kind: MeshConfig
metadata: {{name: default}}
spec: {{egress: {egress}}}
"""
    decision = policy_of(tmp_path, SHOP.replace("selector: {app: web}", "selector: {}"), config).decide(call())
    assert decision.unrouted is outcome
    assert "the service has no selector and no split" in told(decision)


def test_a_service_without_selector_fails_where_a_sidecar_serves_its_address(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, SHOP.replace("selector: {app: web}", "selector: {}"), split(web=1))
    served = call().to in policy.mesh.addresses
    decision = policy.decide(call())
    assert decision.share_of(Outcome.FAILED if served else Outcome.ALLOWED) == 1


@pytest.mark.parametrize(
    ("replaced", "by", "says"),
    [
        ("serviceAccountName: buyer", "serviceAccountName: other", "no workload has the service account people/buyer"),
        ("address: 10.0.0.9", "address: 10.0.0.9, sidecar: false", "people/buyer-0 has no sidecar"),
        ("labels: {app: buyer}", "annotations: {tulle.dev/reaches: people}", "outside the reach of people/buyer-0"),
        ("  clusterIP: 10.96.0.1\n", "", "give it a clusterIP"),
    ],
)
def test_notes(tmp_path: Path, replaced: str, by: str, says: str) -> None:
    assert replaced in SHOP
    decision = policy_of(tmp_path, SHOP.replace(replaced, by)).decide(call())
    assert any(says in note for note in decision.notes), decision.notes
    assert is_allowed(decision), "notes do not change the decision"


def test_no_notes_where_all_is_well(tmp_path: Path) -> None:
    assert policy_of(tmp_path, SHOP).decide(call()).notes == ()
