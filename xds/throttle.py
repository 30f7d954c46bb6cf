"""Answers to peers that fail to prove who they are come late, and later with each failure of the same address.

In: an address that has failed. Out: a delay. Only refusals are delayed, never success, so a proxy that shares its
address with an attacker loses nothing. All is bounded: the delay, how many addresses are remembered, and how many
answers are delayed at once; who comes then is refused at once, because holding them would cost more than they do.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import unquote

FIRST_DELAY = 0.1
LONGEST_DELAY = 5.0
MEMORY = 300.0
"""Seconds without a failure after which an address is forgotten."""
MOST_DELAYED = 256
MOST_ADDRESSES = 4096
_IPV6_NETWORK = 64
"""Bits of an IPv6 address that belong to one customer, who may use any of the others."""


class Throttle:
    """See the module. Times are in seconds, ``clock`` is monotonic."""

    def __init__(
        self,
        *,
        first: float = FIRST_DELAY,
        longest: float = LONGEST_DELAY,
        memory: float = MEMORY,
        most_delayed: int = MOST_DELAYED,
        most_addresses: int = MOST_ADDRESSES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.delayed = 0
        """How many answers wait now."""
        self._first = first
        self._longest = longest
        self._memory = memory
        self._most_delayed = most_delayed
        self._most_addresses = most_addresses
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """Of each address the number of failures and the time of the last, the latest at the end."""

    def failed(self, origin: str) -> float:
        """Remember a failure of ``origin`` (see ``origin_of``). Returns how long to wait with the answer."""
        now = self._clock()
        failures, last = self._failures.pop(origin, (0, now))
        if now - last > self._memory:
            failures = 0
        self._failures[origin] = (failures + 1, now)
        if len(self._failures) > self._most_addresses:
            self._failures.popitem(last=False)
        # Of a large exponent only the limit is left; 2.0**1024 would be an error.
        return min(self._longest, self._first * 2.0 ** min(failures, 32))

    async def delay(self, origin: str) -> None:
        """Wait before a failure of ``origin`` is answered."""
        seconds = self.failed(origin)
        if self.delayed >= self._most_delayed:
            return
        self.delayed += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self.delayed -= 1


def origin_of(peer: str) -> str:
    """Whom the failures of a peer count for, from what gRPC calls it (``ipv4:10.0.0.1:4711``): the address without
    its port, and of an IPv6 address the network. Other texts, such as those of Unix sockets, are returned as they are.
    """
    family, _, rest = unquote(peer).partition(":")
    if family not in {"ipv4", "ipv6"}:
        return peer
    text = rest.rpartition(":")[0].removeprefix("[").removesuffix("]").partition("%")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _IPV6_NETWORK), strict=False))
    return str(address)
