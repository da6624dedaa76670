"""A network between people and a server that can be cut, frozen and restored.

A browser's own offline switch leaves an open WebSocket open; a cable does not.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import cast

from tests.services import LOOPBACK

_PART = 65_536


class Proxy:
    """Passes TCP on to a port of this machine, while it may."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._asks, self._answers = asyncio.Event(), asyncio.Event()
        self._is_cut = False
        self.restore()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://{LOOPBACK}:{self.port}"

    async def close(self) -> None:
        self.restore()
        self.cut()
        self._server.close()
        await self._server.wait_closed()

    def cut(self) -> None:
        """Reset what is open, without a goodbye, and everything that comes until `restore`."""
        self._is_cut = True
        for writer in self._writers:
            cast("asyncio.Transport", writer.transport).abort()

    def freeze(self) -> None:
        """Let nothing through; nobody is told."""
        self._asks.clear()
        self._answers.clear()

    def withhold(self) -> None:
        """Let through what people ask for, and nothing that the server says."""
        self._answers.clear()

    def restore(self) -> None:
        """Let everything through that comes, and what was held back."""
        self._is_cut = False
        self._asks.set()
        self._answers.set()

    async def _serve(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        self._writers.add(to_near)
        try:
            if not self._is_cut:
                await self._join(near, to_near)
        except OSError:
            pass  # one side is gone; the other goes with it
        finally:
            self._writers.discard(to_near)
            cast("asyncio.Transport", to_near.transport).abort()

    async def _join(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        far, to_far = await self._far()
        self._writers.add(to_far)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on(near, to_far, self._asks))
                both.create_task(self._pass_on(far, to_near, self._answers))
        finally:
            self._writers.discard(to_far)
            cast("asyncio.Transport", to_far.transport).abort()

    async def _far(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(LOOPBACK, self._target)

    async def _pass_on(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, flows: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while part := await source.read(_PART):
                await flows.wait()
                target.write(part)
                await target.drain()
            target.write_eof()


@asynccontextmanager
async def proxied(port: int) -> AsyncIterator[Proxy]:
    """Put a network before a port."""
    proxy = Proxy(port)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
