"""What goes before what, and what waits: additions at once, endpoints after their cluster, removals last."""

from __future__ import annotations

import pytest

from protos.envoy.config.cluster import v3_pb2 as cluster_v3
from tests.conformance.model import CDS, ECDS, EDS, LDS, RDS, SDS, Sent, Wire, made
from xds.resource import Resource, TypeUrl, resource
from xds.stream import PATIENCE

both = pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])


class Envoy(Wire):
    """A client that holds everything and wants the names it was given."""

    def __init__(self, *, delta: bool, wanted: dict[TypeUrl, list[str]], put: list[Resource]) -> None:
        super().__init__(delta=delta)
        self.wanted = wanted
        self.put(*put)
        for url, names in wanted.items():
            self.want(url, names)
        self.ack_all(self.poll())
        assert self.stream.settled

    def want(self, url: TypeUrl, names: list[str], **fields: str) -> None:
        self.wanted[url] = names
        self.request(url, **{"resource_names_subscribe" if self.delta else "resource_names": names}, **fields)

    def ack_all(self, responses: list[Sent]) -> None:
        for each in responses:
            self.ack(each, names=self.wanted[TypeUrl(each.type_url)])


def envoy(delta: bool, *names: str) -> Envoy:
    """Holds all six types of each name."""
    wanted = {CDS: [], EDS: list(names), SDS: list(names), ECDS: list(names), LDS: [], RDS: list(names)}
    return Envoy(delta=delta, wanted=wanted, put=[made(url, name) for url in TypeUrl for name in names])


def kinds(responses: list[Sent]) -> list[str]:
    return [TypeUrl(each.type_url) for each in responses]


@both
def test_additions_go_out_at_once_in_order(delta: bool) -> None:
    wire = envoy(delta, "A")
    wire.put(*(made(url, "A", "2") for url in reversed(TypeUrl)))
    assert kinds(wire.poll()) == [CDS, EDS, SDS, ECDS, LDS, RDS]


@both
def test_an_unanswered_type_delays_no_other_and_not_itself(delta: bool) -> None:
    wire = envoy(delta, "A")
    wire.put(made(CDS, "A", "2"))
    assert kinds(wire.poll()) == [CDS, EDS]
    wire.put(made(CDS, "A", "3"), made(RDS, "A", "3"))
    assert kinds(wire.poll(after=10.0)) == [CDS, EDS, RDS]


@both
def test_endpoints_of_exactly_the_changed_clusters_follow(delta: bool) -> None:
    """Those of a new cluster unasked, and before routes: a route to a cluster that warms answers 503."""
    wire = envoy(delta, "A", "B", "C")
    wire.put(made(CDS, "B", "2"), made(CDS, "new"), made(EDS, "new"), made(RDS, "A", "2"))
    clusters, endpoints, routes = wire.poll()
    assert set(clusters.names) == ({"B", "new"} if delta else {"A", "B", "C", "new"})
    assert (endpoints.type_url, endpoints.names) == (EDS, ["B", "new"])
    assert routes.type_url == RDS


@both
def test_endpoints_go_by_their_service_name(delta: bool) -> None:
    cluster = cluster_v3.Cluster(name="A", type=cluster_v3.Cluster.EDS)
    cluster.eds_cluster_config.service_name = "E"
    wire = Envoy(
        delta=delta,
        wanted={CDS: [], EDS: ["E", "A"]},
        put=[resource(CDS, "A", cluster), made(EDS, "E"), made(EDS, "A")],
    )
    cluster.alt_stat_name = "changed"
    wire.put(resource(CDS, "A", cluster))
    assert [each.names for each in wire.poll()] == [["A"], ["E"]]


@both
def test_endpoints_alone_are_sent_alone(delta: bool) -> None:
    wire = envoy(delta, "A", "B")
    wire.put(made(EDS, "A", "2"))
    assert [(each.type_url, each.names) for each in wire.poll()] == [(EDS, ["A"])]


def test_after_a_reconnect_endpoints_of_changed_clusters_are_sent_again() -> None:
    """Requests come in any order then; a cluster that warms would stay without hosts."""
    wire = Wire()
    wire.put(made(CDS, "A", "2"), made(EDS, "A"))
    held = {"A": made(EDS, "A").version}
    wire.request(EDS, resource_names_subscribe=["A"], initial_resource_versions=held)
    assert kinds(wire.poll()) == [EDS]
    wire.request(CDS, initial_resource_versions={"A": made(CDS, "A").version})
    assert kinds(wire.poll()) == [CDS, EDS]


def resuming(delta: bool, url: TypeUrl, *names: str) -> dict[str, object]:
    """The fields of a first request that says the client holds something already."""
    if delta:
        return {"resource_names_subscribe": names, "initial_resource_versions": {"A": made(url, "A").version}}
    return {"resource_names": names, "version_info": "held"}


@both
@pytest.mark.parametrize("last", [CDS, EDS], ids=lambda url: url.name)
def test_who_resumes_gets_routes_when_it_has_asked_for_what_they_lead_to(delta: bool, last: TypeUrl) -> None:
    """What is new since it was last connected goes in order: a route to a cluster it does not have answers 503."""
    wire = Wire(delta=delta)
    wire.put(*(made(url, "A") for url in (CDS, EDS)), *(made(url, "A", "2") for url in (ECDS, LDS, RDS)))
    for url in (RDS, ECDS, LDS):
        wire.request(url, **resuming(delta, url, "A"))
    first = CDS if last is EDS else EDS
    wire.request(first, **resuming(delta, first, "A"))
    assert kinds(wire.poll()) == ([] if first is CDS and delta else [first])
    assert wire.stream.deadline() == PATIENCE
    assert wire.poll(after=0.5) == []
    wire.request(last, **resuming(delta, last, "A"))
    answers = kinds(wire.poll())
    assert answers[-3:] == [ECDS, LDS, RDS]
    assert wire.stream.deadline() is None


@both
def test_who_resumes_and_never_asks_for_clusters_gets_routes_after_a_second(delta: bool) -> None:
    wire = Wire(delta=delta)
    wire.put(made(RDS, "A", "2"))
    wire.request(RDS, **resuming(delta, RDS, "A"))
    assert wire.poll(after=0.9) == []
    assert kinds(wire.poll(after=0.1)) == [RDS]
    wire.put(made(RDS, "A", "3"))
    assert kinds(wire.poll()) == [RDS]


@both
def test_endpoints_of_a_cluster_sent_before_the_client_spoke_of_endpoints_follow_it(delta: bool) -> None:
    """Then a cluster may be newer than the names the client asks for first."""
    wire = Wire(delta=delta)
    wire.put(*(made(url, name) for url in (CDS, EDS) for name in "AB"))
    wire.request(CDS)
    assert kinds(wire.poll()) == [CDS]
    wire.request(EDS, **{"resource_names_subscribe" if delta else "resource_names": ["A"]})
    assert [each.names for each in wire.poll()] == [["A", "B"]]


# -- endpoints that came unasked, and the subscription to them


def brought(delta: bool) -> tuple[Envoy, Sent]:
    """A client that is being sent a new cluster and, unasked, its endpoints."""
    wire = envoy(delta, "A")
    wire.put(made(CDS, "new"), made(EDS, "new"))
    clusters, endpoints = wire.poll()
    wire.ack_all([clusters])
    assert endpoints.names == ["new"]
    return wire, endpoints


def subscribe(wire: Envoy, *names: str, nonce: str = "") -> None:
    """Ask for endpoints of A, and of others besides."""
    if not wire.delta:
        nonce = nonce or "stale"
    wire.wanted[EDS] = ["A", *names]
    wire.want(EDS, ["A", *names] if not wire.delta else list(names), response_nonce=nonce)


@both
def test_who_subscribes_before_it_answers_needs_no_second_copy(delta: bool) -> None:
    """It takes the response in with the subscription in force."""
    wire, endpoints = brought(delta)
    subscribe(wire, "new")
    assert wire.poll() == []
    wire.ack(endpoints, names=["A", "new"])
    assert wire.poll() == []
    assert wire.stream.settled
    wire.put(made(EDS, "new", "2"))
    assert [each.names for each in wire.poll()] == [["new"]]


@both
def test_who_subscribes_with_its_answer_or_later_may_have_dropped_the_first(delta: bool) -> None:
    wire, endpoints = brought(delta)
    subscribe(wire, "new", nonce=endpoints.nonce)
    (again,) = wire.poll()
    assert again.names == ["new"]
    wire, endpoints = brought(delta)
    wire.ack(endpoints, names=["A"])
    assert wire.poll() == []
    subscribe(wire, "new", nonce=endpoints.nonce)
    assert [each.names for each in wire.poll()] == [["new"]]


@both
def test_what_changed_meanwhile_is_sent(delta: bool) -> None:
    wire, endpoints = brought(delta)
    wire.put(made(EDS, "new", "2"))
    assert wire.poll() == []
    subscribe(wire, "new")
    if not delta:
        wire.ack(endpoints, names=["A", "new"])
    assert [each.versions for each in wire.poll()] == [{"new": made(EDS, "new", "2").version}]


@both
def test_what_came_unasked_and_is_rejected_is_held_back(delta: bool) -> None:
    wire, endpoints = brought(delta)
    subscribe(wire, "new")
    wire.nack(endpoints, "new: bad", **({} if delta else {"resource_names": ["A", "new"]}))
    sent = wire.poll()
    if not delta:
        # Here the subscription came with the rejection: it is answered once more.
        (again,) = sent
        wire.nack(again, "new: bad", resource_names=["A", "new"])
    assert wire.poll() == []
    assert set(wire.stream.substreams[EDS].held) == {"new"}
    assert [each.names for each in wire.poll(after=1.0)] == [["new"]]


def test_asking_a_second_time_is_answered() -> None:
    wire, _ = brought(True)
    subscribe(wire, "new")
    assert wire.poll() == []
    subscribe(wire, "new")
    assert [each.names for each in wire.poll()] == [["new"]]


def rename(wire: Wire) -> None:
    """A service gets another name: one change set."""
    wire.change(
        put=[made(url, "new") for url in (CDS, EDS, LDS, RDS)],
        drop=[(url, "old") for url in (CDS, EDS, LDS, RDS)],
    )


@both
@pytest.mark.parametrize("rejects", [False, True], ids=["ACK", "NACK"])
def test_a_cluster_goes_when_its_users_are_answered(delta: bool, rejects: bool) -> None:
    wire = envoy(delta, "old")
    wire.change(put=[made(CDS, "new"), made(RDS, "old", "2")], drop=[(CDS, "old")])
    clusters, endpoints, routes = wire.poll()
    assert kinds([clusters, endpoints, routes]) == [CDS, EDS, RDS]
    assert "new" in clusters.names
    assert clusters.removed == []
    if not delta:
        assert clusters.names == ["new", "old"]
    wire.ack(clusters, names=[])
    wire.ack(endpoints, names=["old"])
    assert wire.poll(after=1.0) == []
    if rejects:
        wire.nack(routes, "old: bad route")
    else:
        wire.ack(routes, names=[])
    (removal,) = wire.poll()
    assert removal.type_url == CDS
    assert removal.names == ([] if delta else ["new"])
    assert removal.removed == (["old"] if delta else [])


@both
def test_a_cluster_goes_after_five_seconds_at_the_latest(delta: bool) -> None:
    wire = envoy(delta, "old")
    wire.change(put=[made(CDS, "new"), made(RDS, "old", "2")], drop=[(CDS, "old")])
    assert kinds(wire.poll()) == [CDS, EDS, RDS]
    assert wire.stream.deadline() == 5.0
    assert wire.poll(after=4.9) == []
    assert CDS in kinds(wire.poll(after=0.1))


@both
def test_a_cluster_outlives_the_connections_of_a_listener_that_goes(delta: bool) -> None:
    wire = envoy(delta, "old")
    rename(wire)
    clusters, endpoints, listeners = wire.poll()
    # The listener that goes frees its address for the one that comes: one response.
    assert listeners.names == ["new"]
    assert listeners.removed == (["old"] if delta else [])
    wire.ack(clusters, names=[])
    wire.ack(endpoints, names=["old"])
    wire.ack(listeners, names=[])
    assert wire.poll(after=64.0) == []
    assert CDS in kinds(wire.poll(after=1.0))


@both
def test_a_listener_that_comes_drains_nothing(delta: bool) -> None:
    wire = envoy(delta, "old")
    wire.change(put=[made(LDS, "new")], drop=[(CDS, "old")])
    (listeners,) = wire.poll()
    wire.ack(listeners, names=[])
    assert kinds(wire.poll()) == [CDS]


@both
def test_a_cluster_waits_for_every_user_sent_until_then(delta: bool) -> None:
    wire = envoy(delta, "A", "B")
    wire.put(made(RDS, "B", "2"), made(ECDS, "B", "2"))
    users = wire.poll()
    assert kinds(users) == [ECDS, RDS]
    wire.drop((CDS, "A"))
    assert wire.poll() == []
    for each in users:
        assert wire.poll() == []
        wire.ack_all([each])
    assert kinds(wire.poll()) == [CDS]


@both
def test_a_cluster_nobody_uses_goes_at_once(delta: bool) -> None:
    wire = envoy(delta, "A", "B")
    wire.drop((CDS, "A"))
    (sent,) = wire.poll()
    assert sent.removed == (["A"] if delta else [])
    assert sent.names == ([] if delta else ["B"])


@both
def test_a_cluster_that_comes_back_in_time_never_went(delta: bool) -> None:
    wire = envoy(delta, "old")
    rename(wire)
    wire.poll()
    wire.put(made(CDS, "old"))
    wire.ack(*wire.poll(after=10.0), names=[])
    assert "old" not in [name for each in wire.poll() for name in each.removed]
    assert not wire.stream.substreams[CDS].leaving


@pytest.mark.parametrize("url", [EDS, RDS], ids=lambda url: url.name)
@both
def test_endpoints_and_routes_that_go_are_left_to_unsubscribing(url: TypeUrl, delta: bool) -> None:
    wire = envoy(delta, "A", "B")
    wire.drop((url, "A"))
    assert wire.poll() == []
    if delta:
        wire.request(url, resource_names_unsubscribe=["A"])
    else:
        wire.want(url, ["B"])
    assert wire.poll(after=10.0) == []
    assert wire.stream.settled


@pytest.mark.parametrize("url", [SDS, ECDS], ids=lambda url: url.name)
@both
def test_secrets_and_extensions_are_never_taken_away(url: TypeUrl, delta: bool) -> None:
    wire = envoy(delta, "A")
    wire.drop((url, "A"))
    assert wire.poll(after=60.0) == []
    assert wire.stream.settled


def test_a_secret_that_is_gone_is_said_so_when_asked() -> None:
    wire = envoy(True, "A")
    wire.drop((SDS, "A"))
    wire.poll()
    wire.request(SDS, resource_names_subscribe=["A"])
    assert wire.poll()[0].removed == ["A"]


@pytest.mark.parametrize("url", [CDS, EDS, RDS], ids=lambda url: url.name)
@both
def test_what_comes_back_different_is_sent(url: TypeUrl, delta: bool) -> None:
    wire = envoy(delta, "A")
    wire.change(put=[made(LDS, "A", "2")], drop=[(url, "A")])
    assert kinds(wire.poll()) == [LDS]
    wire.put(made(url, "A", "2"))
    assert {each.type_url: each.versions["A"] for each in wire.poll()}[url] == made(url, "A", "2").version


@pytest.mark.parametrize("url", [CDS, EDS, RDS], ids=lambda url: url.name)
@both
def test_what_comes_back_the_same_is_silent(url: TypeUrl, delta: bool) -> None:
    wire = envoy(delta, "A")
    wire.change(put=[made(LDS, "A", "2")], drop=[(url, "A")])
    wire.poll()
    wire.put(made(url, "A"))
    assert wire.poll(after=10.0) == []


def test_a_cluster_that_went_unseen_may_come_back() -> None:
    """The client reported a version nobody remembers, so the same name is sent again."""
    wire = Wire()
    wire.request(CDS, initial_resource_versions={"A": made(CDS, "A").version})
    wire.poll()
    wire.put(made(CDS, "A"))
    assert [each.names for each in wire.poll()] == [["A"]]
