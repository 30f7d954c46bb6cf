"""Metrics with the labels people ask by: source, destination service, backend, response code.

Envoy's own statistics know clusters and listeners, not who called; the `stats` access logger counts each finished
request or connection under labels made from it. A sidecar knows its own name from its environment (Envoy's fixed
tags do not reach this logger), so that the bytes of a listener stay the same for every proxy; who called, a server
knows by the SPIFFE ID that the client proved.
"""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import UInt32Value

from protos.envoy.config.accesslog import v3_pb2 as accesslog
from protos.envoy.extensions.access_loggers.stats import v3_pb2 as stats
from protos.envoy.type import v3_pb2 as scope
from smi.model import PortKey
from translators.packing import packed

STAT_PREFIX = "tulle"
_MOST_SERIES = 2000
"""Series of one kind that one logger may make: a client that finds new labels for ever must not fill memory."""
_PEER = "%DOWNSTREAM_PEER_URI_SAN%"
_OWN_NAMESPACE = "%ENVIRONMENT(TULLE_LOCAL_NAMESPACE)%"
_OWN_WORKLOAD = "%ENVIRONMENT(TULLE_LOCAL_WORKLOAD)%"

Tags = dict[str, str]


def outbound_tags(key: PortKey) -> Tags:
    """Labels of traffic that a client's sidecar sends."""
    return {
        "direction": "outbound",
        "source_namespace": _OWN_NAMESPACE,
        "source_workload": _OWN_WORKLOAD,
        "destination_namespace": key.namespace,
        "destination_service": key.service,
        "destination_port": str(key.port),
        "backend": "%UPSTREAM_CLUSTER%",
    }


def inbound_tags(port: int | None) -> Tags:
    """Labels of traffic that a server's sidecar receives."""
    return {
        "direction": "inbound",
        "destination_namespace": _OWN_NAMESPACE,
        "destination_workload": _OWN_WORKLOAD,
        "destination_port": "%DOWNSTREAM_LOCAL_PORT%" if port is None else str(port),
        "source": _PEER,
    }


def http_log(tags: Tags) -> accesslog.AccessLog:
    """Counts requests by response code, and measures how long they took."""
    return _log(
        stats.Config(
            stats_scope=_scope(),
            counters=[_counter("requests_total", {**tags, "response_code": "%RESPONSE_CODE%"})],
            histograms=[
                stats.Config.Histogram(
                    stat=_stat("request_duration_milliseconds", tags),
                    unit=stats.Config.Histogram.Unit.Milliseconds,
                    value_format="%DURATION%",
                )
            ],
        )
    )


def tcp_log(tags: Tags) -> accesslog.AccessLog:
    """Counts connections and the bytes that went through them."""
    return _log(
        stats.Config(
            stats_scope=_scope(),
            counters=[
                _counter("connections_total", {**tags, "flags": "%RESPONSE_FLAGS%"}),
                _counter("received_bytes_total", tags, "%BYTES_RECEIVED%"),
                _counter("sent_bytes_total", tags, "%BYTES_SENT%"),
            ],
        )
    )


def _scope() -> scope.Scope:
    most = UInt32Value(value=_MOST_SERIES)
    return scope.Scope(prefix=STAT_PREFIX, max_counters=most, max_histograms=most)


def _log(config: stats.Config) -> accesslog.AccessLog:
    return accesslog.AccessLog(name="envoy.access_loggers.stats", typed_config=packed(config))


def _counter(name: str, tags: Tags, value: str = "") -> stats.Config.Counter:
    counter = stats.Config.Counter(stat=_stat(name, tags))
    if value:
        counter.value_format = value
    else:
        counter.value_fixed.value = 1
    return counter


def _stat(name: str, tags: Tags) -> stats.Config.Stat:
    return stats.Config.Stat(
        name=name, tags=[stats.Config.Tag(name=tag, value_format=value) for tag, value in tags.items()]
    )
