"""What the server counts, for Prometheus, on a registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from xds.resource import TypeUrl
from xds.stream import Response

_NAMES: dict[str, str] = {url: url.rpartition(".")[2] for url in TypeUrl}
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


def type_name(type_url: str) -> str:
    """The last word of a type URL that is served; "other" for those that are not, since clients choose them."""
    return _NAMES.get(type_url, "other")


class Metrics:
    """The counters of one server. ``type`` is a resource type such as ``Cluster``."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.connected = Gauge("tulle_xds_connected_proxies", "Open streams", registry=self.registry)
        self._responses = self._counter("responses", "Responses sent", "type")
        self._resources = self._counter("resources_sent", "Resources in responses sent", "type")
        self._bytes = self._counter("bytes_sent", "Bytes of responses sent", "type")
        self._acks = self._counter("acks", "Responses that proxies accepted", "type")
        self._nacks = self._counter("nacks", "Responses that proxies rejected", "type")
        self._refused = self._counter("streams_refused", "Streams refused or ended, by gRPC status", "reason")
        self._push = Histogram(
            "tulle_xds_push_seconds",
            "From a change to its acknowledgement by one proxy",
            ("type",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        # Known types appear with 0 from the start, so that a rate over them has no gaps.
        for name in _NAMES.values():
            for counter in (self._responses, self._resources, self._bytes, self._acks, self._nacks):
                counter.labels(name)

    def _counter(self, name: str, text: str, label: str) -> Counter:
        return Counter(f"tulle_xds_{name}", text, (label,), registry=self.registry)

    def sent(self, response: Response, size: int) -> None:
        name = type_name(response.type_url)
        self._responses.labels(name).inc()
        self._resources.labels(name).inc(response.resources)
        self._bytes.labels(name).inc(size)

    def acknowledged(self, type_url: str, seconds: float | None) -> None:
        """``seconds`` since the change; None when the client had asked for the response."""
        name = type_name(type_url)
        self._acks.labels(name).inc()
        if seconds is not None:
            self._push.labels(name).observe(seconds)

    def rejected(self, type_url: str) -> None:
        self._nacks.labels(type_name(type_url)).inc()

    def refused(self, reason: str) -> None:
        self._refused.labels(reason).inc()

    def exposition(self) -> bytes:
        """The text format of Prometheus."""
        return generate_latest(self.registry)
