"""Who is told what, and that nobody else is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from protos.envoy.config.cluster import v3_pb2 as cluster_v3
from xds.resource import Resource, TypeUrl, resource
from xds.store import ScopeChange, Store
from xds.view import Change, View

URL = TypeUrl.CLUSTER


def made(name: str, note: str = "", *, rank: int = 0) -> Resource:
    return resource(URL, name, cluster_v3.Cluster(name=name, alt_stat_name=note), rank=rank)


class Told:
    """A sink that writes down what it hears: name -> (old, new) notes per call."""

    def __init__(self) -> None:
        self.heard: list[dict[str, tuple[str | None, str | None]]] = []
        self.revoked = ""

    def offer(self, changes: Sequence[Change]) -> None:
        assert len({each.name for each in changes}) == len(changes)
        self.heard.append({each.name: (_note(each.old), _note(each.new)) for each in changes})

    def revoke(self, reason: str) -> None:
        self.revoked = reason


def _note(one: Resource | None) -> str | None:
    return None if one is None else cluster_v3.Cluster.FromString(one.body).alt_stat_name


def proxy(store: Store, name: str, *scopes: str) -> Told:
    told = Told()
    store.set_view(name, View(scopes))
    store.attach(name, told)
    return told


def seen(store: Store, name: str) -> dict[str, str | None]:
    record = store.record(name)
    listed = {each.name: _note(each) for each in record.listing(URL).resources}
    assert listed == {name: _note(record.lookup(URL, name)) for name in listed}
    return listed


def test_only_those_who_see_it_are_told() -> None:
    store = Store()
    one, both, other = proxy(store, "p/1", "x"), proxy(store, "p/2", "x", "y"), proxy(store, "p/3", "y")
    store.apply([ScopeChange("x", (made("a", "1"),)), ScopeChange("nobody", (made("b"),))])
    assert one.heard == both.heard == [{"a": (None, "1")}]
    assert other.heard == []


def test_one_apply_is_one_change() -> None:
    store = Store()
    told = proxy(store, "p/1", "x", "y")
    store.apply([ScopeChange("x", (made("a"),)), ScopeChange("y", (made("b"),)), ScopeChange("x", (made("c"),))])
    assert told.heard == [{"a": (None, ""), "b": (None, ""), "c": (None, "")}]


def test_equal_content_is_no_change() -> None:
    store = Store()
    told = proxy(store, "p/1", "x")
    store.apply([ScopeChange("x", (made("a"),))])
    store.apply([ScopeChange("x", (made("a"),), ((URL, "never"),))])
    assert len(told.heard) == 1


def test_another_rank_is_no_change_but_counts_next_time() -> None:
    store = Store()
    told = proxy(store, "p/1", "x")
    store.apply([ScopeChange("x", (made("a"), made("b")))])
    store.apply([ScopeChange("x", (made("a", rank=1),))])
    assert len(told.heard) == 1
    assert list(seen(store, "p/1")) == ["b", "a"]


def test_removals_come_before_upserts() -> None:
    store = Store()
    told = proxy(store, "p/1", "x")
    store.apply([ScopeChange("x", (made("a", "1"), made("b", "1")))])
    store.apply([ScopeChange("x", (made("a", "2"),), ((URL, "a"), (URL, "b")))])
    assert told.heard[1:] == [{"a": ("1", "2"), "b": ("1", None)}]


@pytest.mark.parametrize("padding", [0, 10], ids=["few scopes", "many scopes"])
def test_the_first_scope_wins(padding: int) -> None:
    store = Store()
    told = proxy(store, "p/1", *(f"empty{number}" for number in range(padding)), "x", "y")
    store.apply([ScopeChange("y", (made("a", "y1"),))])
    store.apply([ScopeChange("x", (made("a", "x1"),))])
    store.apply([ScopeChange("y", (made("a", "y2"),))])
    assert seen(store, "p/1") == {"a": "x1"}
    store.apply([ScopeChange("x", (), ((URL, "a"),))])
    assert told.heard == [{"a": (None, "y1")}, {"a": ("y1", "x1")}, {"a": ("x1", "y2")}]
    assert seen(store, "p/1") == {"a": "y2"}


@pytest.mark.parametrize(
    ("before", "after", "heard"),
    [
        (("x",), ("x", "y"), [{"b": (None, "y")}]),
        (("x", "y"), ("x",), [{"b": ("y", None)}]),
        (("x",), ("y",), [{"a": ("x", None), "b": (None, "y")}]),
        (("x", "z"), ("z", "x"), [{"a": ("x", "z")}]),
        (("x",), ("x", "z"), []),
        (("x",), ("x", "x"), []),
        (("x",), (), [{"a": ("x", None)}]),
        ((), ("x",), [{"a": (None, "x")}]),
        (("x", "new"), ("x", "newer"), []),
    ],
)
def test_another_view_is_a_difference(before: tuple[str, ...], after: tuple[str, ...], heard: Any) -> None:
    store = Store()
    told = proxy(store, "p/1", *before)
    bystander = proxy(store, "p/2", *before)
    store.apply([ScopeChange("x", (made("a", "x"),)), ScopeChange("y", (made("b", "y"),))])
    store.apply([ScopeChange("z", (made("a", "z"),))])
    told.heard.clear()
    bystander.heard.clear()
    store.set_view("p/1", View(after))
    assert told.heard == heard
    assert bystander.heard == []


def test_no_view_ends_the_streams() -> None:
    store = Store()
    told = proxy(store, "p/1", "x")
    assert store.has_view("p/1")
    store.set_view("p/1", None)
    assert told.revoked == "proxy p/1 is no longer known"
    assert not store.has_view("p/1")
    assert list(store.proxies()) == []


def test_own_resources_are_seen_by_their_proxy_alone_and_hide() -> None:
    store = Store()
    told, other = proxy(store, "p/1", "x"), proxy(store, "p/2", "x")
    store.apply([ScopeChange("x", (made("a", "shared"),))])
    store.set_own("p/1", (made("a", "own"), made("b", "own")))
    store.apply([ScopeChange("x", (made("a", "shared 2"),))])
    assert told.heard[1:] == [{"a": ("shared", "own"), "b": (None, "own")}]
    assert other.heard[1:] == [{"a": ("shared", "shared 2")}]
    assert seen(store, "p/1") == {"a": "own", "b": "own"}
    store.set_own("p/1", (made("b", "own"),))
    assert told.heard[2:] == [{"a": ("own", "shared 2")}]


def test_own_resources_may_come_before_the_view() -> None:
    store = Store()
    store.set_own("p/1", (made("a"),))
    assert not store.has_view("p/1")
    store.set_view("p/1", View(()))
    assert seen(store, "p/1") == {"a": ""}


def test_equal_views_share_their_listing() -> None:
    store = Store()
    proxy(store, "p/1", "x")
    proxy(store, "p/2", "x")
    store.apply([ScopeChange("x", (made("a"),))])
    assert store.record("p/1").listing(URL) is store.record("p/2").listing(URL)


def test_nothing_is_left_of_what_is_gone() -> None:
    store = Store()
    told = proxy(store, "p/1", "x", "never filled")
    store.apply([ScopeChange("x", (made("a"),))])
    store.set_own("p/1", (made("b"),))
    store.set_own("p/1", ())
    store.set_view("p/1", None)
    store.detach("p/1", told)
    store.apply([ScopeChange("x", (), ((URL, "a"),))])
    state: Any = store
    assert not any(
        (state._scopes, state._holders, state._views, state._own, state._shared, state._connected, len(state._records))
    )


def test_a_proxy_without_a_stream_is_only_its_view() -> None:
    store = Store()
    told = proxy(store, "p/1", "x")
    store.set_view("p/2", View(("x", "y")))
    store.set_own("p/2", (made("b", "own"),))
    store.apply([ScopeChange("x", (made("a"),)), ScopeChange("y", (made("b"),))])
    state: Any = store
    assert len(state._shared) == 1
    assert seen(store, "p/2") == {"a": "", "b": "own"}
    record = store.record("p/2")
    store.set_view("p/2", View(("y",)))
    assert record.lookup(URL, "a") is None
    late = Told()
    store.attach("p/2", late)
    assert store.record("p/2") is record
    assert late.heard == []
    store.apply([ScopeChange("y", (made("c", "1"),))])
    assert late.heard == [{"c": (None, "1")}]
    assert len(told.heard) == 1
    store.detach("p/2", late)
    store.apply([ScopeChange("y", (made("c", "2"),))])
    assert len(late.heard) == 1
    assert seen(store, "p/2") == {"b": "own", "c": "2"}
    assert len(state._shared) == 1


@pytest.mark.parametrize("small", [("small",), ("small", "shadowing")], ids=["no name twice", "a name twice"])
def test_views_of_one_scope_share_its_bytes_unless_a_name_is_hidden(small: tuple[str, ...]) -> None:
    store = Store()
    store.apply([ScopeChange("big", tuple(made(f"b{number}", rank=number % 2) for number in range(10)))])
    store.apply([ScopeChange("small", (made("a"), made("z"))), ScopeChange("shadowing", (made("b3", "hides"),))])
    alone, both = proxy(store, "p/1", "big"), proxy(store, "p/2", *small, "big")
    ours, theirs = (store.record(f"p/{number}").listing(URL) for number in (1, 2))
    assert [each.rank for each in theirs] == sorted(each.rank for each in theirs)
    shared = {id(part) for part in ours.parts} & {id(part) for part in theirs.parts}
    assert len(shared) == (0 if "shadowing" in small else 2)
    assert seen(store, "p/2").get("b3") == ("hides" if "shadowing" in small else "")
    assert len(theirs) == 12
    assert alone.heard == both.heard == []


def test_readiness() -> None:
    store = Store()
    assert not store.ready
    store.mark_ready()
    assert store.ready
