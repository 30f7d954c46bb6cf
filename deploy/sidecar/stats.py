"""Which statistics a sidecar keeps, how they are labelled, and how latency is bucketed.

In: who the sidecar is. Out: the `stats_config` of its bootstrap. Envoy makes dozens of statistics per
cluster and listener; with a service port per cluster, keeping all of them would cost more memory than the
configuration itself.
"""

from __future__ import annotations

from protos.envoy.config.metrics.v3_pb2 import HistogramBucketSettings, StatsConfig, TagSpecifier
from protos.envoy.type.matcher.v3_pb2 import RegexMatcher, StringMatcher

TRAFFIC_PREFIX = "tulle"
"""The `stat_prefix` of the stats access logger: requests, bytes and latency of the mesh live below it."""

_KEPT_PREFIXES = (f"{TRAFFIC_PREFIX}.", "listener_manager.", "cluster_manager.", "control_plane.")

_KEPT_EXACTLY = (
    "server.concurrency",
    "server.days_until_first_cert_expiring",
    "server.live",
    "server.memory_allocated",
    "server.memory_heap_size",
    "server.memory_physical_size",
    "server.state",
    "server.uptime",
    "server.version",
)

_KEPT_PATTERNS = (
    # Listeners are named by address or by stat_prefix; the same gauges per worker thread are left out.
    r"listener\.[^.]+(\.\d+\.\d+\.\d+_\d+)?\.downstream_(cx_active|global_cx_overflow)",
    # `.+`, since a cluster name such as outbound/bookstore/bookstore/80 may hold any character, dots
    # included.
    r"cluster\..+\.upstream_cx_(active|total|connect_fail)",
    r"cluster\..+\.membership_(healthy|total)",
    r"(cluster|listener)\..+\.ssl\.(handshake|connection_error|fail_verify_(error|san))",
    r"(http\..+\.|.*\.)?rbac\.(.+\.)?(allowed|denied)",
)

_LATENCY_BUCKETS_MS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000)
"""The buckets that Prometheus' own client libraries use, one finer step below and one coarser above."""


def local_labels(namespace: str, workload: str) -> dict[str, str]:
    """The labels that tell this sidecar's statistics from those of others."""
    return {"local_namespace": namespace, "local_workload": workload}


def environment_labels(namespace: str, workload: str) -> dict[str, str]:
    """The same values as environment variables of Envoy, where shared listeners find them.

    An access log format reads them as `%ENVIRONMENT(TULLE_NS)%`, `%ENVIRONMENT(TULLE_WL)%`. The names are short
    because every listener has them.
    """
    return {"TULLE_NS": namespace, "TULLE_WL": workload}


def stats_config(namespace: str, workload: str) -> StatsConfig:
    """The statistics settings of the sidecar of `namespace`/`workload`.

    The labels are called `local_*`, not `source_*`: on inbound traffic this sidecar is the destination. Envoy puts
    them on all its own statistics, but not on those of the stats access logger (tried with 1.40): there a tag with
    the value `%ENVIRONMENT(...)%` gives the same label, in bytes that are equal for every sidecar.
    """
    config = StatsConfig(
        stats_tags=[
            TagSpecifier(tag_name=name, fixed_value=value) for name, value in local_labels(namespace, workload).items()
        ],
        histogram_bucket_settings=[
            HistogramBucketSettings(
                # Not `suffix`: Envoy matches the name with the access logger's tags appended.
                match=StringMatcher(contains="duration_milliseconds"),
                buckets=_LATENCY_BUCKETS_MS,
            )
        ],
    )
    kept = config.stats_matcher.inclusion_list.patterns
    kept.extend(StringMatcher(prefix=prefix) for prefix in _KEPT_PREFIXES)
    kept.extend(StringMatcher(exact=name) for name in _KEPT_EXACTLY)
    kept.extend(StringMatcher(safe_regex=RegexMatcher(regex=pattern)) for pattern in _KEPT_PATTERNS)
    return config
