"""Metrics with the labels people ask by: source, destination service, backend, response code.

Envoy's own statistics know clusters and listeners, not who called; the `stats` access logger counts each finished
request or connection under labels made from it. A sidecar knows its own name from its environment (Envoy's fixed
tags do not reach this logger), so that the bytes of a listener stay the same for every proxy; who called, a server
knows by the SPIFFE ID that the client proved.

Every listener carries its logger, so the latency of calls has only the labels that tell one of a sidecar's series
from another: the namespace and port of a destination are those of its backend, and whose sidecar it is, its own
statistics say (`local_namespace`, `local_workload`), as does whoever scrapes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from google.protobuf.wrappers_pb2 import UInt32Value

from protos.envoy.config.accesslog import v3_pb2 as accesslog
from protos.envoy.extensions.access_loggers.stats import v3_pb2 as stats
from protos.envoy.type import v3_pb2 as scope
from smi.model import PortKey
from translators.packing import pack

STAT_PREFIX = "tulle"
_MOST_SERIES = 2000
"""Series of one kind that one logger may make: a client that finds new labels for ever must not fill memory."""
_SCOPE = scope.Scope(prefix=STAT_PREFIX, max_counters=UInt32Value(value=_MOST_SERIES))
"""Histograms of calls need no limit: their labels are the mesh's own. Codes are the server's to choose."""
_LIMITED_SCOPE = scope.Scope(
    prefix=STAT_PREFIX,
    max_counters=UInt32Value(value=_MOST_SERIES),
    max_histograms=UInt32Value(value=_MOST_SERIES),
)
_MOST_PORTS = 1024
"""Ports of namespaces whose logs are remembered."""
_PEER = "%DOWNSTREAM_PEER_URI_SAN%"
_OWN_NAMESPACE = "%ENVIRONMENT(TULLE_NS)%"
_OWN_WORKLOAD = "%ENVIRONMENT(TULLE_WL)%"
_OUTBOUND = {"direction": "outbound", "backend": "%UPSTREAM_CLUSTER%"}
"""Labels of all traffic that a client's sidecar sends."""

Tags = Mapping[str, str]


def outbound_http_log(key: PortKey) -> accesslog.AccessLog:
    """Counts the requests that a client's sidecar sends to a service port."""
    return _log(_to_service(_outbound_http(key.namespace, key.port), key.service))


def outbound_tcp_log(key: PortKey) -> accesslog.AccessLog:
    """Counts the connections that a client's sidecar opens to a service port."""
    return _log(_to_service(_outbound_tcp(key.namespace, key.port), key.service))


def inbound_http_log(port: int) -> accesslog.AccessLog:
    """Counts the requests that a server's sidecar receives on a target port."""
    tags = _inbound(port)
    return _log(_http(tags, tags, _LIMITED_SCOPE))


def inbound_tcp_log(port: int | None) -> accesslog.AccessLog:
    """Counts the connections that a server's sidecar receives on a target port, or on those that no Service names."""
    return _log(_tcp(_inbound(port)))


def _inbound(port: int | None) -> Tags:
    return {
        "direction": "inbound",
        "destination_namespace": _OWN_NAMESPACE,
        "destination_workload": _OWN_WORKLOAD,
        "destination_port": "%DOWNSTREAM_LOCAL_PORT%" if port is None else str(port),
        "source": _PEER,
    }


@lru_cache(maxsize=_MOST_PORTS)
def _outbound_http(namespace: str, port: int) -> stats.Config:
    return _http(_outbound(namespace, port), _OUTBOUND, _SCOPE)


@lru_cache(maxsize=_MOST_PORTS)
def _outbound_tcp(namespace: str, port: int) -> stats.Config:
    return _tcp(_outbound(namespace, port))


def _outbound(namespace: str, port: int) -> Tags:
    """Labels of traffic that a client's sidecar sends, without the one that differs most: the service."""
    return {
        **_OUTBOUND,
        "source_namespace": _OWN_NAMESPACE,
        "source_workload": _OWN_WORKLOAD,
        "destination_namespace": namespace,
        "destination_port": str(port),
    }


def _to_service(base: stats.Config, service: str) -> stats.Config:
    made = stats.Config()
    made.CopyFrom(base)
    for stat in (*(each.stat for each in made.counters), *(each.stat for each in made.histograms)):
        stat.tags.add(name="destination_service", value_format=service)
    return made


def _http(counted: Tags, measured: Tags, limits: scope.Scope) -> stats.Config:
    """Counts requests by response code, and measures how long they took."""
    return stats.Config(
        stats_scope=limits,
        counters=[_counter("requests_total", {**counted, "response_code": "%RESPONSE_CODE%"})],
        histograms=[
            stats.Config.Histogram(
                stat=_stat("request_duration_milliseconds", measured),
                unit=stats.Config.Histogram.Milliseconds,
                value_format="%DURATION%",
            )
        ],
    )


def _tcp(tags: Tags) -> stats.Config:
    """Counts connections and the bytes that went through them."""
    return stats.Config(
        stats_scope=_SCOPE,
        counters=[
            _counter("connections_total", {**tags, "flags": "%RESPONSE_FLAGS%"}),
            _counter("received_bytes_total", tags, "%BYTES_RECEIVED%"),
            _counter("sent_bytes_total", tags, "%BYTES_SENT%"),
        ],
    )


def _log(config: stats.Config) -> accesslog.AccessLog:
    made = accesslog.AccessLog()
    pack(config, made.typed_config)
    return made


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
