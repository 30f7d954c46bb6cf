"""What the simulated proxies of one process share: names, versions, counts, and who is waited for."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping

import grpc

from protos.envoy.service.discovery import v3_pb2 as discovery_v3
from tests.bench.credentials import CLIENT_OPTIONS, Credentials
from tests.bench.references import references
from tests.bench.wire import shared_node

_HEAD = 120
"""Bytes of a response within which its type and nonce are."""
_REMEMBERED = 300
_MARK = re.compile(rb"10\.200\.(\d{1,3})\.(\d{1,3})")
Reference = tuple[str, str]


class Crowd:
    """State of all proxies together. ``warm`` holds, by type, what a proxy sends that comes again with versions."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials: grpc.ChannelCredentials = credentials.of_client()
        self.options = CLIENT_OPTIONS
        self.node = shared_node()
        self.warm: Mapping[str, bytes] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self.responses = 0
        self.bytes = 0
        self.by_type: Counter[bytes] = Counter()
        self.failures: Counter[str] = Counter()
        self.log: list[discovery_v3.DeltaDiscoveryResponse] | None = None
        self.marks: Marks | None = None
        self._references: dict[tuple[str, str], tuple[str, tuple[Reference, ...]]] = {}
        self._waited: dict[bytes, set[int]] = {}
        self._arrived: asyncio.Future[float] | None = None
        self._incomplete: set[int] = set()
        self._all_complete: asyncio.Future[float] | None = None

    # -- what the proxies tell

    def got(self, index: int, type_url: bytes, data: bytes) -> None:
        """A response was read and acknowledged."""
        self.responses += 1
        self.bytes += len(data)
        self.by_type[type_url] += 1
        if self._waited:
            waited = self._waited.get(type_url)
            if waited is not None:
                waited.discard(index)
                if not waited:
                    del self._waited[type_url]
                    if not self._waited and self._arrived is not None:
                        self._arrived.set_result(time.monotonic())
        if self.marks is not None:
            self.marks.seen(index, data)

    def completed(self, index: int, moment: float) -> None:
        self._incomplete.discard(index)
        if not self._incomplete and self._all_complete is not None and not self._all_complete.done():
            self._all_complete.set_result(moment)

    def failed(self, reason: str) -> None:
        """A stream ended; the proxy will open another one."""
        self.failures[reason] += 1

    def references(self, type_url: str, resource: discovery_v3.Resource) -> tuple[Reference, ...]:
        """What Envoy asks for because of a cluster or listener; each version is looked into once."""
        key = (type_url, resource.name)
        known = self._references.get(key)
        if known is None or known[0] != resource.version:
            known = self._references[key] = (resource.version, references(type_url, resource.resource.value))
        return known[1]

    def references_of(self, type_url: str, name: str) -> tuple[Reference, ...]:
        known = self._references.get((type_url, name))
        return () if known is None else known[1]

    def remember(self, response: discovery_v3.DeltaDiscoveryResponse) -> None:
        """Keep the versions, and while recording the content, of what changed; resent versions are no change."""
        held = self.versions.setdefault(response.type_url, {})
        if self.log is not None:
            changed = discovery_v3.DeltaDiscoveryResponse(type_url=response.type_url)
            changed.resources.extend(each for each in response.resources if held.get(each.name) != each.version)
            changed.removed_resources.extend(response.removed_resources)
            self.log.append(changed)
        for each in response.resources:
            held[each.name] = each.version
        for name in response.removed_resources:
            held.pop(name, None)

    # -- what is waited for

    def expect(self, types: Iterable[str], indices: Iterable[int]) -> asyncio.Future[float]:
        """The time at which each of the proxies has acknowledged a response of each type, from now on."""
        members = set(indices)
        self._waited = {type_url.encode(): set(members) for type_url in types}
        self._arrived = asyncio.get_running_loop().create_future()
        return self._arrived

    def expect_completion(self, indices: Iterable[int]) -> asyncio.Future[float]:
        """The time at which each of the proxies has all it asked for."""
        self._incomplete = set(indices)
        self._all_complete = asyncio.get_running_loop().create_future()
        return self._all_complete


class Marks:
    """Numbered changes on their way: endpoint addresses 10.200.x.y say which change they came with.

    Change ``k`` concerns service ``k mod services``; a later change of a service stands for its earlier ones.
    """

    def __init__(self, changes: int, services: int, proxies: int) -> None:
        self._services = services
        self._seen = [bytearray(changes) for _ in range(proxies)]
        self._numbers: dict[bytes, list[int]] = {}
        self.missing = [proxies] * changes
        self.last = [0.0] * changes

    def seen(self, index: int, data: bytes) -> None:
        moment = time.monotonic()
        seen = self._seen[index]
        for newest in self._numbers_in(data):
            number = newest
            while number >= 0 and not seen[number]:
                seen[number] = 1
                self.missing[number] -= 1
                self.last[number] = moment
                number -= self._services

    def _numbers_in(self, data: bytes) -> list[int]:
        """The changes that a response speaks of; read once, since most proxies get the same but for the nonce."""
        content = data[_HEAD:] if len(data) > 2 * _HEAD else data
        found = self._numbers.get(content)
        if found is None:
            if len(self._numbers) >= _REMEMBERED:
                self._numbers.clear()
            found = self._numbers[content] = [int(high) << 8 | int(low) for high, low in _MARK.findall(data)]
        return found
