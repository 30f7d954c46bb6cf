"""The debug endpoint: what the control plane knows, over plain HTTP, for people and Prometheus.

In: the server's state, and a function that tells of the mesh. Out: JSON, indented and sorted. It shows who talks to
whom in the mesh, so it listens on loopback only, unless it is given a bearer token that every reader must present.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from xds.metrics import Metrics, type_name
from xds.redaction import shown
from xds.rejections import Rejections
from xds.resource import TypeUrl
from xds.status import Answers, Holding, ProxyRegister, ProxyStatus
from xds.store import Store

_INDEX = {
    "/healthz": "whether the process lives",
    "/readyz": "whether the first full sync is done",
    "/metrics": "Prometheus metrics of the control plane",
    "/debug/mesh": "the mesh as it is understood",
    "/debug/proxies": "every proxy and how far it is",
    "/debug/rejections": "what proxies have rejected and do without, and why",
    "/debug/proxies/{namespace}/{workload}": "every resource of a proxy; ?config=1 with its content",
}
# Probes carry no token, and these two say nothing about the mesh.
_OPEN_PATHS = frozenset({"/healthz", "/readyz"})

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class DebugServer:
    """Serves the debug endpoint on ``address`` ("host:port").

    Raises ValueError for an address off loopback without a token, or one that is no address at all.
    """

    def __init__(
        self,
        address: str,
        *,
        store: Store,
        proxies: ProxyRegister,
        metrics: Metrics,
        mesh: Callable[[], Any],
        token: str | None = None,
        rejections: Rejections | None = None,
    ) -> None:
        self._host, self._port = _split(address)
        if token is None and not _is_loopback(self._host):
            raise ValueError(f"the debug endpoint on {address} is off loopback and needs a token")
        self._token = token
        self._store = store
        self._proxies = proxies
        self._metrics = metrics
        self._mesh = mesh
        self._rejections = Rejections() if rejections is None else rejections
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen. Returns the port. Raises OSError when the address cannot be had."""
        runner = web.AppRunner(self.application(), access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self._port)
            await site.start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        return int(runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._guard])
        application.router.add_get("/", self._index)
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._exposition)
        application.router.add_get("/debug/mesh", self._debug_mesh)
        application.router.add_get("/debug/proxies", self._debug_proxies)
        application.router.add_get("/debug/rejections", self._debug_rejections)
        application.router.add_get("/debug/proxies/{namespace}/{workload}", self._debug_proxy)
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Check the token, and give every error the form of the rest."""
        if self._token is not None and request.path not in _OPEN_PATHS:
            presented = request.headers.get("Authorization", "")
            if not hmac.compare_digest(presented.encode(), f"Bearer {self._token}".encode()):
                return _json({"error": "a bearer token is needed"}, status=401)
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _json({"error": error.reason.lower(), "path": request.path}, status=error.status)

    async def _index(self, _request: web.Request) -> web.Response:
        return web.Response(text="".join(f"{path}  {text}\n" for path, text in _INDEX.items()))

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _json({"status": "ok"})

    async def _readyz(self, _request: web.Request) -> web.Response:
        if self._store.ready:
            return _json({"status": "ready"})
        return _json({"error": "the first full sync is not done"}, status=503)

    async def _exposition(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def _debug_mesh(self, _request: web.Request) -> web.Response:
        return _json(self._mesh())

    async def _debug_proxies(self, _request: web.Request) -> web.Response:
        names = sorted({*self._store.proxies(), *(status.proxy for status in self._proxies)})
        return _json([_summary(name, self._proxies.of(name)) for name in names])

    async def _debug_rejections(self, _request: web.Request) -> web.Response:
        """What is rejected now, by whom and why, and how many proxies are to hold it."""
        found = []
        for each in sorted(self._rejections, key=lambda each: each.resource):
            found.append(
                {
                    "type": type_name(each.resource.type_url),
                    "name": each.resource.name,
                    "version": each.resource.version,
                    "proxies": each.proxies,
                    "of": self._proxies.holders(each.resource.type_url, each.resource.name),
                    "reason": each.message,
                    "since": _instant(each.since),
                }
            )
            await asyncio.sleep(0)  # each count asks every connected proxy: nobody else is to wait for all of them
        return _json(found)

    async def _debug_proxy(self, request: web.Request) -> web.Response:
        proxy = "{namespace}/{workload}".format_map(request.match_info)
        status = self._proxies.of(proxy)
        if status is None and not self._store.has_view(proxy):
            return _json({"error": f"no proxy {proxy}"}, status=404)
        with_config = request.query.get("config", "") not in {"", "0", "false"}
        page = _summary(proxy, status)
        if status is None:
            page["resources"] = self._unconnected(proxy, with_config)
        else:
            page["resources"] = _connected(status, with_config)
            for (type_url, name), reason in self._rejections.of(status).items():
                page["resources"][type_name(type_url)][name]["reason"] = reason
        return _json(page)

    def _unconnected(self, proxy: str, with_config: bool) -> dict[str, Any]:
        """What a proxy would get."""
        record = self._store.record(proxy)
        resources: dict[str, Any] = {}
        for type_url in TypeUrl:
            for each in record.listing(type_url).resources:
                entry = {"version": each.version, "sent": None, "acked": None}
                if with_config:
                    entry["config"] = shown(each)
                resources.setdefault(type_name(type_url), {})[each.name] = entry
        return resources


def _summary(proxy: str, status: ProxyStatus | None) -> dict[str, Any]:
    if status is None:
        return {"proxy": proxy, "connected": None, "synced": False}
    types: dict[str, Any] = {}
    for type_url, sub in status.stream.substreams.items():
        answers = status.answers.get(type_url, Answers())
        types[type_name(type_url)] = {
            "held": 0,
            "acked": 0,
            "acks": answers.acks,
            "nacks": answers.nacks,
            "last_nack": _last_nack(answers),
            "held_back": sorted(sub.held),
        }
    for holding in status.holdings():
        counts = types[type_name(holding.type_url)]
        counts["held"] += holding.sent is not None
        counts["acked"] += holding.acked is not None and holding.acked == holding.version
    rejections = [nack for nack in (entry["last_nack"] for entry in types.values()) if nack is not None]
    return {
        "proxy": proxy,
        "connected": _instant(status.connected_at),
        "protocol": status.protocol,
        "address": status.address,
        "user_agent": status.user_agent,
        "subject": status.subject,
        "synced": status.synced,
        "types": types,
        "nacks": sum(entry["nacks"] for entry in types.values()),
        "last_nack": max(rejections, key=lambda nack: str(nack["time"]), default=None),
    }


def _connected(status: ProxyStatus, with_config: bool) -> dict[str, Any]:
    resources: dict[str, Any] = {}
    for holding in status.holdings():
        resources.setdefault(type_name(holding.type_url), {})[holding.name] = _entry(status, holding, with_config)
    return resources


def _entry(status: ProxyStatus, holding: Holding, with_config: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"version": holding.version, "sent": holding.sent, "acked": holding.acked}
    if holding.rejected is not None:
        entry["rejected"] = holding.rejected
    resource = status.resource(holding.type_url, holding.name)
    if with_config and resource is not None:
        entry["config"] = shown(resource)
    return entry


def _last_nack(answers: Answers) -> dict[str, Any] | None:
    nack = answers.last_nack
    if nack is None:
        return None
    return {"message": nack.message, "time": _instant(nack.time), "names": list(nack.names)}


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(data: Any, *, status: int = 200) -> web.Response:
    return web.json_response(
        data, status=status, dumps=lambda value: json.dumps(value, indent=2, sort_keys=True, default=str) + "\n"
    )


def _split(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        raise ValueError(f"{address!r} is not an address of the form host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
