"""A balancer of the simplest kind: it gives each connection to a node that says it is ready."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.proxy import Proxy
from tests.services import LOOPBACK

_ASK = b"GET /readyz HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Balancer(Proxy):
    """Passes TCP on to several ports in turn, and leaves out those that are not ready."""

    def __init__(self, *ports: int) -> None:
        super().__init__(0)
        self._ports = list(ports)

    async def _far(self) -> Streams:
        for port in list(self._ports):
            self._ports.append(self._ports.pop(0))
            with suppress(OSError):
                if await _is_ready(port):
                    return await asyncio.open_connection(LOOPBACK, port)
        message = "nobody is ready"
        raise OSError(message)


async def _is_ready(port: int) -> bool:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        writer.write(_ASK)
        return (await reader.read()).startswith(b"HTTP/1.1 200")
    finally:
        writer.close()


@asynccontextmanager
async def balanced(*ports: int) -> AsyncIterator[Balancer]:
    """Put a balancer before some ports."""
    balancer = Balancer(*ports)
    await balancer.open()
    try:
        yield balancer
    finally:
        await balancer.close()
