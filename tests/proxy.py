"""A network between people and a server that can be cut, frozen, slowed, watched and restored.

A browser's own offline switch leaves an open WebSocket open; a cable does not.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import cast

from tests.services import LOOPBACK

_PART = 65_536


class Way(Enum):
    """Which way a part goes."""

    ASKED = auto()
    ANSWERED = auto()


class Fate(Enum):
    """What becomes of a part, and of the connection it came by."""

    PASSES = auto()
    IS_LAST = auto()
    """It passes, and the connection is reset after it."""
    IS_LOST = auto()
    """It does not pass, and the connection is reset."""


Watcher = Callable[[object, Way, bytes], Fate]
"""Looks at each part with the connection that it comes by, and says what becomes of both."""


class Proxy:
    """Passes TCP on to a port of this machine, while it may."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._writers: set[asyncio.StreamWriter] = set()
        self.watcher: Watcher | None = None
        self.delay_s = 0.0
        """How long each part takes; the next one waits for it."""
        self._asks, self._answers = asyncio.Event(), asyncio.Event()
        self._is_cut = False
        self.restore()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://{LOOPBACK}:{self.port}"

    async def close(self) -> None:
        self.restore()
        self.cut()
        self._server.close()
        await self._server.wait_closed()

    def target(self) -> int:
        """Return the port that the next connection goes to."""
        return self._target

    def cut(self) -> None:
        """Reset what is open, without a goodbye, and everything that comes until `restore`."""
        self._is_cut = True
        self.reset()

    def reset(self) -> None:
        """Reset what is open, without a goodbye."""
        for writer in self._writers:
            cast("asyncio.Transport", writer.transport).abort()

    def freeze(self) -> None:
        """Let nothing through; nobody is told."""
        self._asks.clear()
        self._answers.clear()

    def forget(self) -> None:
        """Let nothing through any more on what is open, and nobody is told; what comes passes."""
        self.freeze()
        self._asks, self._answers = asyncio.Event(), asyncio.Event()
        self.restore()

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
                both.create_task(self._pass_on(near, to_far, to_near, self._asks, Way.ASKED))
                both.create_task(self._pass_on(far, to_near, to_near, self._answers, Way.ANSWERED))
        finally:
            self._writers.discard(to_far)
            cast("asyncio.Transport", to_far.transport).abort()

    async def _far(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(LOOPBACK, self.target())

    async def _pass_on(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        wire: asyncio.StreamWriter,
        flows: asyncio.Event,
        way: Way,
    ) -> None:
        try:
            while part := await source.read(_PART):
                await flows.wait()
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                fate = Fate.PASSES if self.watcher is None else self.watcher(wire, way, part)
                if fate is not Fate.IS_LOST:
                    target.write(part)
                    await target.drain()
                if fate is not Fate.PASSES:
                    break
            else:
                target.write_eof()
                return
        except OSError:
            pass
        # A reset passes on at once, so that no transaction outlives who began it.
        for side in (target, wire):
            cast("asyncio.Transport", side.transport).abort()


@asynccontextmanager
async def proxied(port: int) -> AsyncIterator[Proxy]:
    """Put a network before a port."""
    proxy = Proxy(port)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
