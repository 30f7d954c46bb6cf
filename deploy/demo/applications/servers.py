"""The servers: bookstore sells books, and bookwarehouse restocks it.

Each answer is JSON and names the server's version and its caller. The caller is taken from x-forwarded-client-cert,
which a sidecar sets from the certificate that it has verified, and never passes on from a client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

_BOOKS = ("Flatland", "Micrographia", "The Cloth Hall", "Weaving by Hand")
_UPSTREAM = web.AppKey("upstream", str)
_SESSION = web.AppKey("session", aiohttp.ClientSession)


def caller_of(header: str) -> str | None:
    """The SPIFFE ID in the value of x-forwarded-client-cert, whose form is `key=value;key=value`; None without one."""
    for field in header.split(";"):
        key, _, value = field.partition("=")
        if key == "URI":
            return value.strip('"')
    return None


def _answer(request: web.Request, version: str, **facts: object) -> web.Response:
    caller = caller_of(request.headers.get("x-forwarded-client-cert", ""))
    return web.json_response({"version": version, "caller": caller, **facts}, headers={"server-version": version})


class Bookstore:
    """Sells books; for each it asks the warehouse, at the URL `upstream`, for a new one."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._sold = 0

    def application(self, upstream: str) -> web.Application:
        application = web.Application()
        application[_UPSTREAM] = upstream
        application.cleanup_ctx.append(_client_session)
        application.router.add_get("/books", self._books)
        application.router.add_delete("/books", self._burn)
        application.router.add_get("/books-bought", self._bought)
        application.router.add_get("/buy-a-book", self._buy)
        application.router.add_get("/till", self._till)
        return application

    async def _books(self, request: web.Request) -> web.Response:
        return _answer(request, self._version, books=_BOOKS)

    async def _burn(self, request: web.Request) -> web.Response:
        return _answer(request, self._version, burnt=len(_BOOKS))

    async def _bought(self, request: web.Request) -> web.Response:
        return _answer(request, self._version, bought=self._sold)

    async def _till(self, request: web.Request) -> web.Response:
        return _answer(request, self._version, coins=self._sold * 12)

    async def _buy(self, request: web.Request) -> web.Response:
        self._sold += 1
        url = f"{request.app[_UPSTREAM]}/restock-books"
        try:
            async with request.app[_SESSION].post(url, json={"order": 1}) as answer:
                said = await answer.json() if answer.status == 200 else {}
                warehouse = {"status": answer.status, "caller": said.get("caller")}
        except aiohttp.ClientError as error:
            warehouse = {"status": 0, "error": str(error)}
        return _answer(request, self._version, bought=self._sold, warehouse=warehouse)


class Bookwarehouse:
    """Hands out new books."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._restocked = 0

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_post("/restock-books", self._restock)
        return application

    async def _restock(self, request: web.Request) -> web.Response:
        order = await request.json()
        self._restocked += int(order["order"])
        return _answer(request, self._version, restocked=self._restocked)


async def _client_session(application: web.Application) -> AsyncIterator[None]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        application[_SESSION] = session
        yield
