"""Who holds back what at this moment: the resources that proxies have rejected, by their bytes.

In: the NACKs of all streams. Out: each rejected version of a resource with the proxies that do not have it in force,
and their words. Kept by event: a proxy that rejects nothing costs nothing here, and nothing ever walks all proxies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from xds.metrics import type_name
from xds.resource import TypeUrl
from xds.status import ProxyStatus


class RejectedVersion(NamedTuple):
    """One version of one resource."""

    type_url: str
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class RejectedResource:
    """A version that ``proxies`` (sorted) have rejected and therefore do without.

    ``message`` is the last rejection's, in the words of the proxy; ``since`` when the first of those now in force
    came, in seconds since the epoch.
    """

    resource: RejectedVersion
    proxies: tuple[str, ...]
    message: str
    since: float


@dataclass(slots=True)
class _Entry:
    message: str
    since: float
    streams: set[ProxyStatus] = field(default_factory=set)


class Rejections(Collector):
    """See the module. ``revision`` grows with every change; ``on_change`` are called after it. A Prometheus
    collector.
    """

    def __init__(self) -> None:
        self.revision = 0
        self.on_change: list[Callable[[], None]] = []
        self._entries: dict[RejectedVersion, _Entry] = {}
        self._of: dict[ProxyStatus, set[RejectedVersion]] = {}

    def __iter__(self) -> Iterator[RejectedResource]:
        for key, entry in self._entries.items():
            proxies = tuple(sorted({status.proxy for status in entry.streams}))
            yield RejectedResource(key, proxies, entry.message, entry.since)

    def __len__(self) -> int:
        return len(self._entries)

    def of(self, status: ProxyStatus) -> dict[tuple[str, str], str]:
        """What one stream holds back: type and name -> the reason."""
        return {(key.type_url, key.name): self._entries[key].message for key in self._of.get(status, ())}

    # -- from the streams

    def add(self, status: ProxyStatus, type_url: str, names: tuple[str, ...], message: str, now: float) -> None:
        """A stream has rejected ``names``. Those of them count that it holds back for it."""
        substream = status.stream.substreams[type_url]
        found = [
            RejectedVersion(type_url, name, held.version)
            for name in names
            if (held := substream.held.get(name)) is not None
        ]
        for key in found:
            entry = self._entries.setdefault(key, _Entry(message, now))
            entry.message = message
            entry.streams.add(status)
            self._of.setdefault(status, set()).add(key)
        if found:
            self._changed()

    def review(self, status: ProxyStatus) -> None:
        """Something has happened on a stream: forget what it does not hold back any more."""
        keys = self._of.get(status)
        if keys is not None:
            self._drop(status, [key for key in keys if not _still_held(status, key)])

    def forget(self, status: ProxyStatus) -> None:
        """The stream is gone."""
        self._drop(status, list(self._of.get(status, ())))

    def _drop(self, status: ProxyStatus, keys: list[RejectedVersion]) -> None:
        for key in keys:
            streams = self._entries[key].streams
            streams.discard(status)
            if not streams:
                del self._entries[key]
            self._of[status].discard(key)
        if keys:
            if not self._of[status]:
                del self._of[status]
            self._changed()

    def _changed(self) -> None:
        self.revision += 1
        for tell in self.on_change:
            tell()

    def collect(self) -> Iterator[Metric]:
        """The metrics of rejections."""
        gauge = GaugeMetricFamily(
            "tulle_xds_rejected_resources", "Resources that some proxy has rejected and does without", labels=("type",)
        )
        counts = Counter(type_name(key.type_url) for key in self._entries)
        for name in dict.fromkeys([*map(type_name, TypeUrl), *counts]):
            gauge.add_metric((name,), counts[name])
        yield gauge


def _still_held(status: ProxyStatus, key: RejectedVersion) -> bool:
    substream = status.stream.substreams.get(key.type_url)
    held = None if substream is None else substream.held.get(key.name)
    return held is not None and held.version == key.version
