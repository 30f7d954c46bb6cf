"""What the demo shows: steps that change the bookstore's objects, and facts that must then hold.

Each step is an async generator of facts, each a claim with what was expected and what real traffic showed.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from deploy.demo import strangers
from deploy.demo.bookstore_mesh import BUYER, THIEF, V1, V2, WORKLOADS, BookstoreMesh, Calls
from deploy.demo.errors import DemoError
from deploy.demo.waiting import eventually

EFFECT_SECONDS = 1.0
"""How soon an edit of a file must steer live traffic."""

_PATIENCE_SECONDS = 10.0
_CALLS = 1000
_SIGMAS = 5
_TRICK = "/books/%2e%2e/till"
"""Begins with what is allowed, and leads to what is not."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A claim, and whether it `holds`. `brief` says what was measured, where that is worth a word at once."""

    claim: str
    expected: str
    found: str
    holds: bool
    brief: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the scenario: its title, and what it does."""

    title: str
    play: Callable[[BookstoreMesh], AsyncIterator[Fact]]


async def permissive(store: BookstoreMesh) -> AsyncIterator[Fact]:
    await _time_until(store, BUYER, lambda calls: calls.count(200) == 8)
    await _time_until(store, THIEF, lambda calls: calls.count(200) == 8)
    yield await _status(store, BUYER, "GET", "/books", 200)
    yield await _status(store, THIEF, "GET", "/books", 200)
    yield await _status(store, BUYER, "GET", "/till", 200)
    yield await _status(store, BUYER, "GET", _TRICK, 200)
    yield await _status(store, BUYER, "DELETE", "/books", 200)


async def deny_by_default(store: BookstoreMesh) -> AsyncIterator[Fact]:
    store.withdraw("permissive.yaml")
    yield await _effect("permissive.yaml removed", store, lambda calls: calls.count(403) == 8)
    yield await _status(store, BUYER, "GET", "/books", 403)
    yield await _status(store, THIEF, "GET", "/books", 403)


async def traffic_target(store: BookstoreMesh) -> AsyncIterator[Fact]:
    store.apply("access.yaml")
    yield await _effect("access.yaml added", store, lambda calls: calls.count(200) == 8)
    yield await _status(store, BUYER, "GET", "/books", 200)
    yield await _status(store, THIEF, "GET", "/books", 403)
    bought = await store.call(BUYER, "GET", "/buy-a-book", count=1)
    restocked = str(bought.example.get("warehouse", {}).get("status"))
    yield _same("bookstore may restock: POST /restock-books", "200", restocked)


async def routes(store: BookstoreMesh) -> AsyncIterator[Fact]:
    yield await _status(store, BUYER, "GET", "/till", 403)
    yield await _status(store, BUYER, "GET", _TRICK, 403)
    yield await _status(store, BUYER, "DELETE", "/books", 403)
    yield await _status(store, BUYER, "GET", "/books", 200)


async def identities(store: BookstoreMesh) -> AsyncIterator[Fact]:
    bought = (await store.call(BUYER, "GET", "/buy-a-book", count=1)).example
    yield _same("bookstore saw as its caller", _spiffe_id("bookbuyer", "bookbuyer"), bought.get("caller"))
    version = bought.get("version")
    seen = bought.get("warehouse", {}).get("caller")
    yield _same("bookwarehouse saw as its caller", _spiffe_id("bookstore", f"bookstore-{version}"), seen)
    for workload, account in ((V1, "bookstore-v1"), (V2, "bookstore-v2")):
        shown = await strangers.identity_shown(_inbound(store, workload), _bundle(store))
        yield _same(f"bookbuyer is shown by {account}", _spiffe_id("bookstore", account), shown)


async def without_identity(store: BookstoreMesh) -> AsyncIterator[Fact]:
    found = await strangers.plaintext(_inbound(store, V1))
    yield _same("plaintext straight to bookstore-v1's sidecar", "connection reset", found)
    found = await strangers.tls_without_certificate(_inbound(store, V1), _bundle(store))
    refused = found.startswith(("connection ", "handshake "))
    yield Fact("TLS without a client certificate", "refused", found, refused)


async def split(store: BookstoreMesh) -> AsyncIterator[Fact]:
    before = await store.loop_of(BUYER)
    for v1, v2 in ((100, 0), (50, 50), (0, 100), (100, 0)):
        store.apply("split.yaml", v1=v1, v2=v2)
        effect = await _effect(f"split {v1}/{v2}", store, partial(_looks_like, v1, v2))
        yield replace(effect, brief="")
        yield await _shares(store, v1 / (v1 + v2), f"{v1}/{v2}", effect.found)
    meanwhile = await store.loop_of(BUYER) - before
    good = meanwhile.count(200)
    holds = good == meanwhile.total > 0
    found = f"{meanwhile.total - good} of {meanwhile.total} failed"
    claim = "bookbuyer's own calls meanwhile"
    yield Fact(claim, "0 failed", found if holds else f"{found}: {meanwhile.statuses}", holds, found)


async def nothing_rejected(store: BookstoreMesh) -> AsyncIterator[Fact]:
    nacks = await store.mesh.nacks()
    yield _same("configurations that an Envoy rejected (NACK)", "0", str(nacks))
    wanted = len(WORKLOADS)

    async def all_synced() -> bool:
        return await store.mesh.synced() == wanted

    with contextlib.suppress(TimeoutError):  # the last edit may still be on its way
        await eventually(all_synced, "every sidecar to be in sync")
    yield _same("sidecars that hold exactly what they should", str(wanted), str(await store.mesh.synced()))


STEPS = (
    Step("permissive mode: everybody may call", permissive),
    Step("deny by default", deny_by_default),
    Step("a TrafficTarget lets bookbuyer in, not bookthief", traffic_target),
    Step("only the paths and methods of the HTTPRouteGroup", routes),
    Step("the SPIFFE ID that each side saw", identities),
    Step("a client without an identity", without_identity),
    Step("a TrafficSplit, four times edited under load", split),
    Step("what the Envoys say", nothing_rejected),
)


async def _status(store: BookstoreMesh, client: str, method: str, path: str, status: int) -> Fact:
    calls = await store.call(client, method, path)
    name = client.partition("/")[0]
    return Fact(f"{name}: {method} {path}", f"8 x {status}", calls.statuses, calls.count(status) == 8)


async def _effect(edit: str, store: BookstoreMesh, fits: Callable[[Calls], bool]) -> Fact:
    seconds = await _time_until(store, BUYER, fits)
    found = f"{seconds:.2f} s" if seconds is not None else f"not within {_PATIENCE_SECONDS:g} s"
    holds = seconds is not None and seconds < EFFECT_SECONDS
    brief = f"in effect after {found}" if holds else ""
    return Fact(f"{edit}: in effect", f"< {EFFECT_SECONDS:g} s", found, holds, brief)


async def _time_until(store: BookstoreMesh, client: str, fits: Callable[[Calls], bool]) -> float | None:
    """The seconds until eight calls at once come to what `fits`, and the next eight too; None if they never do.

    Eight connections reach every worker thread of an Envoy, which do not change over at the same instant.
    """
    start = time.monotonic()
    first: float | None = None
    while (now := time.monotonic() - start) < _PATIENCE_SECONDS:
        store.mesh.processes.require_running()
        if not fits(await store.call(client, "GET", "/books")):
            first = None
        elif first is not None:
            return first
        else:
            first = time.monotonic() - start
        if now > EFFECT_SECONDS:
            await asyncio.sleep(0.05)  # late anyhow: leave the machine to whoever is still busy
    return None


async def _shares(store: BookstoreMesh, share: float, weights: str, after: str) -> Fact:
    """Whether v1 gets its share of many calls, within five standard deviations of what chance allows."""
    calls = await store.call(BUYER, "GET", "/books", count=_CALLS)
    expected, margin = _CALLS * share, _SIGMAS * math.sqrt(_CALLS * share * (1 - share))
    v1, v2 = calls.count(200, "v1"), calls.count(200, "v2")
    holds = v1 + v2 == _CALLS and abs(v1 - expected) <= margin
    found = f"{v1} v1, {v2} v2" if v1 + v2 == _CALLS else calls.statuses
    wanted = f"{expected:.0f} v1, {_CALLS - expected:.0f} v2" + (f" (+-{margin:.0f})" if margin else "")
    return Fact(f"split {weights}: {_CALLS} calls", wanted, found, holds, f"{weights} gave {v1}/{v2} after {after}")


def _looks_like(v1: int, v2: int, calls: Calls) -> bool:
    """Whether exactly the versions with a weight have answered."""
    return [calls.count(200, version) > 0 for version in ("v1", "v2")] == [v1 > 0, v2 > 0]


def _same(claim: str, expected: str, found: object) -> Fact:
    return Fact(claim, expected, str(found or "nobody"), found == expected)


def _spiffe_id(namespace: str, account: str) -> str:
    return f"spiffe://cluster.local/ns/{namespace}/sa/{account}"


def _bundle(store: BookstoreMesh) -> Path:
    """The roots that bookbuyer's sidecar was given to trust."""
    return store.mesh.state / "join" / BUYER / "bundle.pem"


def _inbound(store: BookstoreMesh, workload: str) -> tuple[str, int]:
    address = store.places[workload].sidecar
    if address is None:
        raise DemoError(f"{workload} serves nothing")
    return address
