from __future__ import annotations

import re

import pytest
from google.protobuf import struct_pb2

from protos.envoy.config.cluster import v3_pb2 as cluster_v3
from protos.envoy.config.core import v3_pb2 as core_v3
from protos.envoy.config.endpoint import v3_pb2 as endpoint_v3
from protos.envoy.config.listener import v3_pb2 as listener_v3
from protos.envoy.config.route import v3_pb2 as route_v3
from protos.envoy.extensions.transport_sockets.tls import v3_pb2 as tls_v3
from xds.placeholder import placeholder
from xds.resource import TypeUrl, named, resource

CLASSES = {
    TypeUrl.CLUSTER: cluster_v3.Cluster,
    TypeUrl.ENDPOINT: endpoint_v3.ClusterLoadAssignment,
    TypeUrl.SECRET: tls_v3.Secret,
    TypeUrl.EXTENSION: core_v3.TypedExtensionConfig,
    TypeUrl.LISTENER: listener_v3.Listener,
    TypeUrl.ROUTE: route_v3.RouteConfiguration,
}


def test_type_urls_are_the_types_in_push_order() -> None:
    assert {url: cls.DESCRIPTOR.full_name for url, cls in CLASSES.items()} == {
        url: url.rpartition("/")[2] for url in TypeUrl
    }
    assert list(TypeUrl) == list(CLASSES)


def test_a_version_is_the_content_and_nothing_else() -> None:
    """Maps have no order, so serialization must give them one."""
    keys = [f"key{number}" for number in range(50)]

    def with_keys(order: list[str]) -> cluster_v3.Cluster:
        message = cluster_v3.Cluster(name="a")
        for key in order:
            message.metadata.filter_metadata[key].CopyFrom(struct_pb2.Struct())
        return message

    one = resource(TypeUrl.CLUSTER, "a", with_keys(keys))
    other = resource(TypeUrl.CLUSTER, "a", with_keys(keys[::-1]), rank=3)
    assert one.version == other.version
    assert re.fullmatch("[A-Za-z0-9_-]{11}", one.version), "64 bits, printable"
    assert one.version != resource(TypeUrl.CLUSTER, "a", cluster_v3.Cluster(name="a")).version


def test_a_message_must_be_of_its_type() -> None:
    with pytest.raises(ValueError, match=r"resource 'a': a envoy.config.listener.v3.Listener is not a"):
        resource(TypeUrl.CLUSTER, "a", listener_v3.Listener(name="a"))


def test_a_resource_has_a_name() -> None:
    with pytest.raises(ValueError, match="has no name"):
        resource(TypeUrl.CLUSTER, "", cluster_v3.Cluster())


@pytest.mark.parametrize(
    ("cluster", "endpoints"),
    [
        (cluster_v3.Cluster(name="a", type=cluster_v3.Cluster.EDS), "a"),
        (
            cluster_v3.Cluster(
                name="a",
                type=cluster_v3.Cluster.EDS,
                eds_cluster_config=cluster_v3.Cluster.EdsClusterConfig(service_name="b"),
            ),
            "b",
        ),
        (cluster_v3.Cluster(name="a", type=cluster_v3.Cluster.STATIC), ""),
    ],
    ids=["own name", "service name", "static"],
)
def test_the_endpoints_of_a_cluster(cluster: cluster_v3.Cluster, endpoints: str) -> None:
    assert resource(TypeUrl.CLUSTER, "a", cluster).endpoints == endpoints


def test_a_message_names_itself() -> None:
    for type_url, kind in CLASSES.items():
        field = "cluster_name" if type_url is TypeUrl.ENDPOINT else "name"
        assert named(kind(**{field: "a"})) == (type_url, "a")
    with pytest.raises(KeyError):
        named(struct_pb2.Struct())


def test_content_is_not_printed() -> None:
    secret = tls_v3.Secret(name="identity", generic_secret=tls_v3.GenericSecret())
    secret.generic_secret.secret.inline_string = "s3cret"
    made = resource(TypeUrl.SECRET, "identity", secret)
    assert made.secret
    assert "s3cret" not in repr(made)


@pytest.mark.parametrize("url", list(TypeUrl), ids=lambda url: url.name)
def test_placeholders_exist_where_absence_is_not_understood(url: TypeUrl) -> None:
    made = placeholder(url, "a")
    assert (made is not None) == (url in {TypeUrl.ENDPOINT, TypeUrl.ROUTE})
    assert placeholder(url, "") is None
