"""Rejected resources -> the objects that they were made from."""

from __future__ import annotations

import pytest

from deploy import rejections as codes
from deploy.rejections import rejection_diagnostics
from smi.codes import CODES, Code
from smi.diagnostics import Diagnostic, Location
from smi.index import MeshIndex, Upsert
from smi.model import WorkloadKey
from smi.objects import (
    AccessRule,
    Backend,
    HTTPMatch,
    HTTPRouteGroup,
    Meta,
    Service,
    ServiceAccount,
    ServicePort,
    Subject,
    TCPRoute,
    TrafficSplit,
    TrafficTarget,
    Workload,
    WorkloadPort,
)
from smi.resolve import resolve
from xds.rejections import RejectedResource, RejectedVersion
from xds.resource import TypeUrl

NS = "shop"


def meta(name: str, line: int = 0, **labels: str) -> Meta:
    return Meta(namespace=NS, name=name, labels=labels, location=Location("mesh.yaml", line) if line else None)


OBJECTS = (
    Service(meta=meta("cart", 1), ports=(ServicePort("http", 80, 80),), selector={"app": "cart"}),
    Service(meta=meta("till", 2), ports=(ServicePort("tcp-x", 90, 90),), selector={"app": "cart"}),
    Service(meta=meta("plain", 3), ports=(ServicePort("http", 80, 80),), selector={"app": "plain"}),
    Workload(
        meta=meta("cart-1", 4, app="cart"),
        service_account="cart",
        address="10.0.0.1",
        ports=(WorkloadPort("http", 80), WorkloadPort("tcp", 90)),
    ),
    ServiceAccount(meta=meta("cart")),
    TrafficSplit(meta=meta("one", 5), service="cart", backends=(Backend("plain", 1),)),
    TrafficSplit(meta=meta("two", 6), service="till", backends=(Backend("plain", 1),)),
    HTTPRouteGroup(meta=meta("routes"), matches=(HTTPMatch("all", "/.*"),)),
    TCPRoute(meta=meta("port"), ports=(90,)),
    TrafficTarget(
        meta=meta("browse", 7),
        destination=Subject("ServiceAccount", NS, "cart"),
        rules=(AccessRule("HTTPRouteGroup", "routes"),),
        sources=(Subject("ServiceAccount", NS, "client"),),
    ),
    TrafficTarget(
        meta=meta("pay", 8),
        destination=Subject("ServiceAccount", NS, "cart"),
        rules=(AccessRule("TCPRoute", "port"),),
        sources=(Subject("ServiceAccount", NS, "client"),),
    ),
)
INDEX = MeshIndex()
INDEX.apply(map(Upsert, OBJECTS))
MESH = resolve(INDEX.snapshot())
CLASS = MESH.proxies[WorkloadKey(NS, "cart-1")].class_name


def rejected(type_url: TypeUrl, name: str, *proxies: str, message: str = "no") -> RejectedResource:
    return RejectedResource(RejectedVersion(type_url, name, "v1"), proxies or ("shop/cart-1",), message, 1.0)


def found(*given: RejectedResource, holders: int = 5) -> list[Diagnostic]:
    return rejection_diagnostics(given, MESH, INDEX, lambda _type, _name: holders)


@pytest.mark.parametrize(
    ("type_url", "name", "code", "objects"),
    [
        (TypeUrl.ROUTE, "outbound/shop/cart/80", codes.OUTBOUND_REJECTED, ["TrafficSplit shop/one"]),
        (TypeUrl.EXTENSION, "outbound/shop/till/90", codes.OUTBOUND_REJECTED, ["TrafficSplit shop/two"]),
        (TypeUrl.ROUTE, "outbound/shop/plain/80", codes.OUTBOUND_REJECTED, ["Service shop/plain"]),
        (TypeUrl.LISTENER, "outbound/shop/cart/80", codes.OUTBOUND_REJECTED, ["Service shop/cart"]),
        (TypeUrl.LISTENER, "outbound/shop/cart/80/10.0.0.1:80", codes.OUTBOUND_REJECTED, ["Service shop/cart"]),
        (TypeUrl.CLUSTER, "outbound/shop/cart/80/direct", codes.OUTBOUND_REJECTED, ["Service shop/cart"]),
        (TypeUrl.ENDPOINT, "outbound/shop/cart/80", codes.OUTBOUND_REJECTED, ["Service shop/cart"]),
        (TypeUrl.ROUTE, f"inbound/{CLASS}/80", codes.ACCESS_REJECTED, ["TrafficTarget shop/browse"]),
        (TypeUrl.EXTENSION, f"inbound/{CLASS}/90", codes.ACCESS_REJECTED, ["TrafficTarget shop/pay"]),
        (TypeUrl.EXTENSION, f"inbound/{CLASS}/90/gate", codes.ACCESS_REJECTED, ["TrafficTarget shop/pay"]),
        (TypeUrl.ROUTE, f"inbound/{CLASS}/81", codes.INBOUND_REJECTED, ["Workload shop/cart-1"]),
        (TypeUrl.LISTENER, f"inbound/{CLASS}", codes.INBOUND_REJECTED, ["Workload shop/cart-1"]),
        (TypeUrl.CLUSTER, f"inbound/{CLASS}/80", codes.INBOUND_REJECTED, ["Workload shop/cart-1"]),
        (TypeUrl.LISTENER, "local/127.0.0.1:31001", codes.LOCAL_REJECTED, ["Workload shop/cart-1"]),
        (TypeUrl.SECRET, "identity", codes.GENERAL_REJECTED, [""]),
        (TypeUrl.LISTENER, "virtual-outbound", codes.GENERAL_REJECTED, [""]),
    ],
)
def test_a_name_says_whose_it_is(type_url: TypeUrl, name: str, code: Code, objects: list[str]) -> None:
    diagnostics = found(rejected(type_url, name))
    assert {each.code for each in diagnostics} == {code.code}
    assert [str(each.object or "") for each in diagnostics] == objects


def test_it_points_at_the_object_and_counts_proxies() -> None:
    (one,) = found(rejected(TypeUrl.ROUTE, "outbound/shop/cart/80", "a/1", "a/2", "a/3", "a/4", message="bad\nregex"))
    assert one.location == Location("mesh.yaml", 5)
    assert one.message == (
        "RouteConfiguration outbound/shop/cart/80 is rejected by 4 of 5 proxies (a/1, a/2, a/3, ...): bad regex"
    )


def test_proxies_that_have_just_gone_are_no_nonsense() -> None:
    (one,) = found(rejected(TypeUrl.LISTENER, "local/127.0.0.1:31001"), holders=0)
    assert "rejected by 1 of 1 proxies" in one.message


def test_objects_that_are_gone_have_no_place() -> None:
    (one,) = found(rejected(TypeUrl.LISTENER, "outbound/shop/gone/80"))
    assert (str(one.object), one.location) == ("Service shop/gone", None)


def test_long_reasons_are_cut() -> None:
    (one,) = found(rejected(TypeUrl.SECRET, "trust", message="x" * 4000))
    assert len(one.message) < 500


def test_the_codes_are_known() -> None:
    assert [CODES[f"TL300{number}"].code for number in range(1, 6)]


def test_a_proxy_that_rejects_everything_does_not_make_all_others_be_counted_for_everything() -> None:
    asked: list[str] = []
    versions = [RejectedVersion(TypeUrl.LISTENER, f"outbound/shop/s{number:03}/80", "1") for number in range(300)]
    rejected = [RejectedResource(each, ("shop/cart-1",), "no", 0.0) for each in versions]
    found = rejection_diagnostics(rejected, MESH, INDEX, lambda _, name: asked.append(name) or 9)
    assert len(found) == 300
    assert len(asked) <= 50
    assert "by 1 of 9 proxies (shop/cart-1): no" in found[0].message
    assert "by 1 proxy (shop/cart-1): no" in found[-1].message
