"""The clients: they call the bookstore in a loop, and as often as they are told.

A client has an HTTP page of its own: `GET /` shows what became of the calls of its loop, and `POST /calls` makes calls
now and tells what became of them. They go where all calls of the application go: to the bookstore, by its sidecar.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

_PAUSE_SECONDS = 0.02
_MOST_CALLS = 10_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call: an HTTP status and what the answering server said of itself, or status 0 and an error."""

    status: int
    version: str | None = None
    error: str | None = None


class Client:
    """Calls `path` of the server at the URL `upstream`, again and again."""

    def __init__(self, name: str, upstream: str, path: str) -> None:
        self._name = name
        self._upstream = upstream
        self._path = path
        self._outcomes: Counter[Outcome] = Counter()

    def application(self) -> web.Application:
        application = web.Application()
        application.cleanup_ctx.append(self._looping)
        application.router.add_get("/", self._status)
        application.router.add_post("/calls", self._calls)
        return application

    async def _looping(self, _application: web.Application) -> AsyncIterator[None]:
        loop = asyncio.create_task(self._loop())
        yield
        loop.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loop

    async def _loop(self) -> None:
        async with _session(1) as session:
            while True:
                outcome, _ = await self._call(session, "GET", self._path)
                self._outcomes[outcome] += 1
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _status(self, _request: web.Request) -> web.Response:
        return web.json_response({"name": self._name, "upstream": self._upstream, "outcomes": _counted(self._outcomes)})

    async def _calls(self, request: web.Request) -> web.Response:
        """Makes `count` calls of `method` and `path` over at most `connections` connections at a time."""
        wanted = await request.json()
        count = min(int(wanted["count"]), _MOST_CALLS)
        outcomes: Counter[Outcome] = Counter()
        async with _session(int(wanted["connections"])) as session:
            calls = (self._call(session, str(wanted["method"]), str(wanted["path"])) for _ in range(count))
            answers = await asyncio.gather(*calls)
        outcomes.update(outcome for outcome, _ in answers)
        example = next((content for outcome, content in answers if outcome.status == 200), None)
        return web.json_response({"outcomes": _counted(outcomes), "example": example})

    async def _call(self, session: aiohttp.ClientSession, method: str, path: str) -> tuple[Outcome, Any]:
        try:
            async with session.request(method, URL(f"{self._upstream}{path}", encoded=True)) as answer:
                body = await answer.read()
                content = await answer.json() if answer.status == 200 else body.decode(errors="replace")
                return Outcome(answer.status, answer.headers.get("server-version")), content
        except (aiohttp.ClientError, TimeoutError) as error:
            return Outcome(0, error=type(error).__name__), None


def _session(connections: int) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=connections)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=10))


def _counted(outcomes: Counter[Outcome]) -> list[dict[str, Any]]:
    return [{**asdict(outcome), "count": count} for outcome, count in outcomes.items()]
