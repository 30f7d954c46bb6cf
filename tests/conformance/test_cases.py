"""Cases of other servers' suites, and of their bug trackers, that the harness does not have; both variants."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.model import CDS, EDS, LDS, RDS, SDS, Sent, Wire, made
from xds.resource import TypeUrl
from xds.store import Store
from xds.stream import PATIENCE, Ack, Nack

both = pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])
by_named_type = pytest.mark.parametrize("url", [EDS, SDS, RDS], ids=lambda url: url.name)
FULL_STATE = (CDS, LDS)


class Client(Wire):
    """Asks for names of one type at a time and acknowledges what it gets."""

    def __init__(self, *, delta: bool, store: Store | None = None) -> None:
        super().__init__(store, delta=delta)
        self.wanted: dict[TypeUrl, list[str]] = {}
        self.nonces: dict[str, str] = {}

    def want(self, url: TypeUrl, *names: str, **fields: Any) -> None:
        """Change what is asked for to ``names``."""
        before, self.wanted[url] = self.wanted.get(url, []), list(names)
        if self.delta:
            more = [name for name in names if name not in before]
            fewer = [name for name in before if name not in names]
            self.request(url, resource_names_subscribe=more, resource_names_unsubscribe=fewer, **fields)
        else:
            nonce = self.nonces.get(url, "")
            self.request(url, **{"resource_names": names, "response_nonce": nonce, **fields})

    def take(self) -> list[tuple[str, list[str]]]:
        """Acknowledge what there is to send; which names of which type it brought."""
        sent = self.poll()
        for each in sent:
            self.nonces[each.type_url] = each.nonce
            self.ack(each, names=self.wanted.get(TypeUrl(each.type_url), []))
        return [(each.type_url, each.names) for each in sent]


@both
@pytest.mark.parametrize("url", [CDS, EDS], ids=lambda url: url.name)
def test_fewer_names_more_names_and_fewer_again(url: TypeUrl, delta: bool) -> None:
    """go-control-plane SotwNonWildcard, #608, #855: versions never change, and yet every new name is answered."""
    client = Client(delta=delta)
    client.put(*(made(url, name) for name in "ABCD"))
    held: set[str] = set()
    for wanted in ("AB", "ABC", "B", "BD", "ABCD", "A"):
        client.want(url, *wanted)
        new = [name for name in wanted if name not in held]
        whole = list(wanted) if url in FULL_STATE and not delta else new
        assert client.take() == ([(url, whole)] if new else [])
        held = set(wanted)
    client.put(*(made(url, name, "2") for name in "ABCD"))
    assert client.take() == [(url, ["A"])]


@both
@by_named_type
def test_what_was_unsubscribed_before_it_was_sent_is_not_sent(url: TypeUrl, delta: bool) -> None:
    """go-control-plane #1498."""
    client = Client(delta=delta)
    client.put(made(url, "A"), made(url, "B"))
    client.want(url, "A", "B")
    client.take()
    client.put(made(url, "A", "2"))
    client.want(url, "B")
    assert client.take() == []


@both
def test_a_set_replaced_in_one_change(delta: bool) -> None:
    """go-control-plane SetResources: one added, one changed, one gone, one the same."""
    client = Client(delta=delta)
    client.put(*(made(LDS, name) for name in ("gone", "changed", "same")))
    client.request(LDS)
    client.take()
    client.change(put=[made(LDS, "added"), made(LDS, "changed", "2"), made(LDS, "same")], drop=[(LDS, "gone")])
    (sent,) = client.poll()
    assert sent.names == (["added", "changed"] if delta else ["added", "changed", "same"])
    assert sent.removed == (["gone"] if delta else [])


@both
def test_gone_and_back_before_anything_was_sent_is_nothing(delta: bool) -> None:
    client = Client(delta=delta)
    client.put(made(LDS, "A"))
    client.request(LDS)
    client.take()
    client.drop((LDS, "A"))
    client.put(made(LDS, "A"))
    assert client.poll() == []


@both
@pytest.mark.parametrize("url", [CDS, EDS], ids=lambda url: url.name)
def test_one_of_a_hundred(url: TypeUrl, delta: bool) -> None:
    names = [f"n{number:02}" for number in range(100)]
    client = Client(delta=delta)
    client.put(*(made(url, name) for name in names))
    client.want(url, *(() if url is CDS else names))
    client.take()
    client.put(made(url, "n42", "2"))
    assert client.take() == [(url, names if url is CDS and not delta else ["n42"])]


@both
def test_a_name_twice_in_a_request_is_one(delta: bool) -> None:
    client = Client(delta=delta)
    client.put(made(EDS, "A"))
    client.want(EDS, "A", "A")
    assert client.take() == [(EDS, ["A"])]


@both
def test_a_rejection_may_carry_a_subscription(delta: bool) -> None:
    client = Client(delta=delta)
    client.put(made(RDS, "A"), made(RDS, "B"))
    client.want(RDS, "A")
    client.take()
    client.put(made(RDS, "A", "2"))
    (sent,) = client.poll()
    wanted = {"resource_names_subscribe": ["B"]} if delta else {"resource_names": ["A", "B"]}
    assert client.nack(sent, "A: bad", **wanted).names == ("A",)
    assert [each.names for each in client.poll()] == [["B"]]


@both
def test_answers_may_come_in_any_order_and_late(delta: bool) -> None:
    """Of each type the latest answer counts for what it answers; one of another type counts for nothing."""
    client = Client(delta=delta)
    client.put(made(CDS, "A"), made(LDS, "A"))
    client.request(CDS)
    client.request(LDS)
    clusters, listeners = client.poll()
    client.put(made(CDS, "A", "2"))
    (newer,) = client.poll()
    assert isinstance(client.request(LDS, response_nonce=listeners.nonce), Ack)
    assert isinstance(client.request(CDS, response_nonce=newer.nonce), Ack)
    assert client.request(CDS, response_nonce=newer.nonce) is None
    assert isinstance(client.request(CDS, response_nonce=clusters.nonce), Ack)
    assert client.stream.settled
    assert client.poll() == []


def test_versions_of_what_is_not_wanted_are_ignored() -> None:
    client = Client(delta=True)
    client.put(made(RDS, "A", "2"), made(RDS, "B", "2"))
    held = {name: made(RDS, name).version for name in ("A", "B", "gone")}
    client.request(RDS, resource_names_subscribe=["A"], initial_resource_versions=held)
    assert [(each.names, each.removed) for each in client.poll(after=PATIENCE)] == [(["A"], [])]


def test_another_replica_has_nothing_to_send() -> None:
    """Versions are content: a client that moves to a replica that was fed in another order holds it all already."""
    one, other = Client(delta=True), Client(delta=True)
    content = [made(url, name) for url in (CDS, LDS, RDS) for name in "ABC"]
    one.put(*content)
    for each in reversed(content):
        other.put(each)
    held: dict[str, dict[str, str]] = {}
    for client in (one, other):
        for url in (CDS, EDS, LDS, RDS):
            names = list("ABC") if url is RDS else []
            versions = held.get(url, {})
            client.request(url, resource_names_subscribe=names, initial_resource_versions=versions)
        responses = client.poll()
        if client is one:
            held = {each.type_url: each.versions for each in responses}
    assert {each.type_url: each.names for each in responses} == {CDS: [], LDS: []}


# -- whole stories


def story(wire: Wire, responses: list[Sent]) -> list[tuple[str, list[str], list[str]]]:
    return [(TypeUrl(each.type_url).name, each.names, each.removed) for each in responses]


@both
def test_rename_of_a_service_on_one_virtual_address(delta: bool) -> None:
    """The new cluster with its endpoints, then the address changes hands in one response; the old cluster outlives
    the connections of the old listener. What the client unsubscribes from because of it is not spoken of again.
    """
    client = Client(delta=delta)
    old, new = ([made(url, name) for url in (CDS, EDS, LDS, RDS)] for name in ("old", "new"))
    client.put(*old)
    for url, wanted in ((CDS, ()), (LDS, ()), (EDS, ("old",)), (RDS, ("old",))):
        client.want(url, *wanted)
        client.take()
    client.change(put=new, drop=[(each.type_url, each.name) for each in old])
    responses = client.poll()
    assert story(client, responses) == [
        ("CLUSTER", ["new"] if delta else ["new", "old"], []),
        ("ENDPOINT", ["new"], []),
        ("LISTENER", ["new"], ["old"] if delta else []),
    ]
    clusters, endpoints, listeners = responses
    # Envoy takes in the clusters, and asks for endpoints before it has seen those that follow.
    client.want(EDS, "old", "new")
    client.ack(clusters, names=[])
    client.ack(endpoints, names=["old", "new"])
    client.nonces = {each.type_url: each.nonce for each in responses} | {RDS: client.nonces[RDS]}
    client.want(RDS, "old", "new")
    client.ack(listeners, names=[])
    (routes,) = client.poll()
    assert routes.names == ["new"]
    client.nonces[RDS] = routes.nonce
    client.ack(routes, names=["old", "new"])
    client.want(RDS, "new")
    assert client.poll(after=64.9) == []
    removal, stand_in = client.poll(after=0.1)
    assert story(client, [removal, stand_in]) == [
        ("CLUSTER", [] if delta else ["new"], ["old"] if delta else []),
        ("ENDPOINT", ["old"], []),
    ]
    client.ack(removal, names=[])
    client.nonces[EDS] = stand_in.nonce
    client.want(EDS, "new", response_nonce=stand_in.nonce)
    assert client.poll(after=1000.0) == []
    assert client.stream.settled


@both
def test_a_bind_conflict_heals_by_itself(delta: bool) -> None:
    """Whoever held the port outside of the mesh lets go of it: no change of ours tells, time does."""
    client = Client(delta=delta)
    client.put(made(LDS, "fine"))
    client.request(LDS)
    client.take()
    client.put(made(LDS, "new"))
    tries = 0
    for _ in range(5):
        (sent,) = client.poll()
        assert "new" in sent.names
        assert isinstance(client.nack(sent, "new: cannot bind '10.0.0.1:80': Address already in use"), Nack)
        tries += 1
        assert not client.stream.settled
        due = client.stream.deadline()
        assert due is not None
        client.now = due
    (sent,) = client.poll()
    assert "new" in sent.names
    client.ack(sent, names=[])
    assert tries == 5
    assert client.now <= 1 + 2 + 4 + 8 + 16
    assert client.stream.settled
    assert client.poll(after=1000.0) == []


@both
def test_a_proxy_that_rejects_everything_costs_little_and_disturbs_nobody(delta: bool) -> None:
    """An hour of it: each change and each retry is one response, and nothing piles up."""
    sour = Client(delta=delta)
    sweet = Client(delta=delta, store=sour.store)
    content = [made(url, name) for url in (CDS, LDS) for name in "ABC"]
    sour.put(*content)
    for client in (sour, sweet):
        client.request(CDS)
        client.request(LDS)
    assert len(sweet.take()) == 2
    responses, changes = 0, 0
    while sour.now < 3600.0:
        for _ in range(10):
            sent = sour.poll()
            responses += len(sent)
            for each in sent:
                sour.nack(each, "no")
            if not sent:
                break
        else:
            pytest.fail("a loop without time passing")
        if sour.now >= 600.0 * changes:
            changes += 1
            sour.put(made(LDS, "A", str(changes)))
            assert [url for url, _ in sweet.take()] == [LDS]
            assert sweet.stream.settled
            continue
        due = sour.stream.deadline()
        assert due is not None
        sour.now = max(due, sour.now)
    # Six resources, each tried a dozen times in an hour, or both types at once; and the changes.
    assert responses < 6 * 24 + 10 * changes
    assert all(len(sub.held) <= 3 and not sub.unacked for sub in sour.stream.substreams.values())
    assert sweet.take() == []


def test_both_variants_end_equal() -> None:
    """One world, a client of each variant: what they hold in the end is the same."""
    delta = Client(delta=True)
    sotw = Client(delta=False, store=delta.store)
    held: dict[bool, dict[tuple[str, str], str]] = {True: {}, False: {}}

    def settle() -> None:
        for client in (delta, sotw):
            for _ in range(4):
                for each in client.poll():
                    client.nonces[each.type_url] = each.nonce
                    client.ack(each, names=client.wanted[TypeUrl(each.type_url)])
                    holds = held[client.delta]
                    full = not client.delta and each.type_url in FULL_STATE
                    gone = [key for key in holds if key[0] == each.type_url and key[1] not in each.versions]
                    for key in gone if full else [(each.type_url, name) for name in each.removed]:
                        holds.pop(key, None)
                    holds.update({(each.type_url, name): version for name, version in each.versions.items()})

    delta.put(*(made(url, name) for url in (CDS, EDS, LDS, RDS) for name in "AB"))
    for client in (delta, sotw):
        for url, wanted in ((CDS, ()), (LDS, ()), (EDS, "ABZ"), (RDS, "A")):
            client.want(url, *wanted)
    settle()
    steps = [
        ([made(CDS, "A", "2"), made(EDS, "C")], [(LDS, "A")]),
        ([made(LDS, "A", "3"), made(RDS, "A", "2")], [(CDS, "B")]),
        ([made(EDS, "Z", "1")], [(RDS, "B")]),
        ([made(CDS, "B", "4")], []),
    ]
    for put, drop in steps:
        delta.change(put=put, drop=drop)
        settle()
        delta.now += 100.0
        sotw.now += 100.0
        settle()
        assert held[True] == held[False]
    assert len(held[True]) == 2 + 3 + 2 + 1
