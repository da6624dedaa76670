"""A reverse proxy that breaks one thing, with everything else as the server behind it does it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from tests.services import LOOPBACK

Answer = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
Packet = Callable[[str], str | None]

_OF_ONE_HOP = {"host", "connection", "upgrade", "transfer-encoding", "content-length"}


async def _passes_all(_: web.Request) -> None:
    return None


def _same(packet: str) -> str:
    return packet


class Breaking:
    """What stands between a client and a server.

    `answer` may answer a request in the server's place; `packet` may change or swallow what the
    server says on a socket; `sent` is what clients said.
    """

    def __init__(self, target: str, http: aiohttp.ClientSession) -> None:
        self._target = target
        self._http = http
        self.answer: Answer = _passes_all
        self.packet: Packet = _same
        self.sent: list[str] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        answered = await self.answer(request)
        if answered is not None:
            return answered
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._relay(request)
        return await self.forward(request)

    async def forward(self, request: web.Request) -> web.Response:
        """Ask the server the same, without what an upgrade needs."""
        async with self._http.request(
            request.method,
            URL(self._target + request.path_qs, encoded=True),
            data=await request.read(),
            headers=_passed_on(request.headers),
            allow_redirects=False,
        ) as response:
            headers = _passed_on(response.headers)
            headers.pop("Content-Encoding", None)
            return web.Response(body=await response.read(), status=response.status, headers=headers)

    async def _relay(self, request: web.Request) -> web.WebSocketResponse:
        near = web.WebSocketResponse()
        async with self._http.ws_connect(self._target + request.path_qs) as far:
            await near.prepare(request)
            outward = asyncio.create_task(self._outward(far, near))
            async for message in near:
                self.sent.append(message.data)
                await far.send_str(message.data)
            outward.cancel()
            await asyncio.gather(outward, return_exceptions=True)
        return near

    async def _outward(
        self, far: aiohttp.ClientWebSocketResponse, near: web.WebSocketResponse
    ) -> None:
        async for message in far:
            packet = self.packet(message.data)
            if packet is not None:
                await near.send_str(packet)
        await near.close()


def _passed_on(headers: Any) -> dict[str, str]:
    return {name: text for name, text in headers.items() if name.lower() not in _OF_ONE_HOP}


@asynccontextmanager
async def in_front_of(target: str, http: aiohttp.ClientSession) -> AsyncIterator[Breaking]:
    """Run a proxy in front of a server; until it is told what to break it breaks nothing."""
    proxy = Breaking(target, http)
    app = web.Application(client_max_size=0)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, LOOPBACK, 0)
    await site.start()
    try:
        proxy.url = f"http://{LOOPBACK}:{runner.addresses[0][1]}"
        yield proxy
    finally:
        await runner.cleanup()
