"""What the server counts, for Prometheus, on a registry of its own.

Every push counts several things, so counting is adding to plain numbers; Prometheus's own objects are made of them
when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from xds.resource import TypeUrl
from xds.stream import Response

_NAMES: dict[str, str] = {url: url.rpartition(".")[2] for url in TypeUrl}
_OTHER = "other"
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_COUNTERS = (
    ("responses", "Responses sent"),
    ("resources_sent", "Resources in responses sent"),
    ("bytes_sent", "Bytes of responses sent"),
    ("acks", "Responses that proxies accepted"),
    ("nacks", "Responses that proxies rejected"),
)


def type_name(type_url: str) -> str:
    """The last word of a type URL that is served; "other" for those that are not, since clients choose them."""
    return _NAMES.get(type_url, _OTHER)


class _Tally:
    """The numbers of one resource type. ``pushes`` counts per bucket of ``_SECONDS``, the last one beyond it."""

    __slots__ = ("acks", "bytes_sent", "nacks", "push_seconds", "pushes", "resources_sent", "responses")

    def __init__(self) -> None:
        self.responses = self.resources_sent = self.bytes_sent = self.acks = self.nacks = 0
        self.pushes = [0] * (len(_SECONDS) + 1)
        self.push_seconds = 0.0


class Metrics(Collector):
    """The counters of one server. ``connected`` is the number of open streams; ``delayed`` tells how many refusals wait
    to be answered.
    """

    def __init__(self) -> None:
        self.connected = 0
        self.registry = CollectorRegistry()
        self.registry.register(self)
        # Known types appear with 0 from the start, so that a rate over them has no gaps.
        self._tallies = {url: _Tally() for url in _NAMES}
        self._other = _Tally()
        self._refused: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self.delayed: Callable[[], int] = lambda: 0

    def _of(self, type_url: str) -> _Tally:
        return self._tallies.get(type_url, self._other)

    def sent(self, response: Response, size: int) -> None:
        tally = self._of(response.type_url)
        tally.responses += 1
        tally.resources_sent += response.resources
        tally.bytes_sent += size

    def acknowledged(self, type_url: str, seconds: float | None) -> None:
        """``seconds`` since the change; None when the client had asked for the response."""
        tally = self._of(type_url)
        tally.acks += 1
        if seconds is not None:
            tally.pushes[bisect_left(_SECONDS, seconds)] += 1
            tally.push_seconds += seconds

    def rejected(self, type_url: str) -> None:
        self._of(type_url).nacks += 1

    def refused(self, reason: str) -> None:
        self._refused[reason] += 1

    def failed(self, reason: str) -> None:
        """A peer did not prove who it is."""
        self._failed[reason] += 1

    def exposition(self) -> bytes:
        """The text format of Prometheus."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """The present numbers, as Prometheus takes them."""
        yield GaugeMetricFamily("tulle_xds_connected_proxies", "Open streams", self.connected)
        tallies = {_NAMES[url]: tally for url, tally in self._tallies.items()}
        if self._other.responses or self._other.acks or self._other.nacks:
            tallies[_OTHER] = self._other
        for name, text in _COUNTERS:
            counter = CounterMetricFamily(f"tulle_xds_{name}", text, labels=("type",))
            for type_, tally in tallies.items():
                counter.add_metric((type_,), getattr(tally, name))
            yield counter
        refused = CounterMetricFamily(
            "tulle_xds_streams_refused", "Streams refused or ended, by gRPC status", labels=("reason",)
        )
        for reason, count in self._refused.items():
            refused.add_metric((reason,), count)
        yield refused
        failed = CounterMetricFamily(
            "tulle_xds_authentication_failures", "Peers that did not prove to be what they say", labels=("reason",)
        )
        for reason, count in self._failed.items():
            failed.add_metric((reason,), count)
        yield failed
        yield GaugeMetricFamily("tulle_xds_refusals_delayed", "Peers that wait for their refusal", self.delayed())
        push = HistogramMetricFamily(
            "tulle_xds_push_seconds", "From a change to its acknowledgement by one proxy", labels=("type",)
        )
        bounds = [*map(str, _SECONDS), "+Inf"]
        for type_, tally in tallies.items():
            if any(tally.pushes):
                push.add_metric((type_,), list(zip(bounds, accumulate(tally.pushes), strict=True)), tally.push_seconds)
        yield push
