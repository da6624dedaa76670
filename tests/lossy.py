"""What may stand between a node and Valkey: it loses messages, or replaces connections silently."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from tests.services import LOOPBACK

Loses = Callable[[bytes, bytes], bool]

_LIMIT = 2**24


class _Relay:
    """One connection of a node, whatever it is connected to on the other side."""

    def __init__(self, near: asyncio.StreamWriter) -> None:
        self.near = near
        self.far: asyncio.StreamWriter | None = None


class Lossy:
    """A proxy that loses what it is told to; `seen` is what it let through, by channel."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._relays: set[_Relay] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self.loses: Loses = lambda *_: False
        self.seen: list[tuple[bytes, bytes]] = []

    async def open(self, encryption: ssl.SSLContext | None) -> None:
        self._server = await asyncio.start_server(
            self._serve, LOOPBACK, 0, limit=_LIMIT, ssl=encryption
        )
        scheme = "redis" if encryption is None else "rediss"
        self.url = f"{scheme}://{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def freeze(self) -> None:
        """Let nothing through, and tell nobody."""
        self._flows.clear()

    def thaw(self) -> None:
        """Let everything through again, and what waited."""
        self._flows.set()

    async def replace(self) -> None:
        """Give each connection another one on the side of Valkey, which has asked for nothing."""
        for relay in list(self._relays):
            await self._reach(relay)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        relay = _Relay(writer)
        self._relays.add(relay)
        try:
            with suppress(OSError):
                await self._reach(relay)
                while part := await reader.read(65_536):
                    await self._flows.wait()
                    assert relay.far is not None
                    relay.far.write(part)
        finally:
            self._relays.discard(relay)
            self._tasks.discard(task)
            for end in (relay.near, relay.far):
                if end is not None:
                    end.close()

    async def _reach(self, relay: _Relay) -> None:
        before = relay.far
        reader, relay.far = await asyncio.open_connection(LOOPBACK, self._port, limit=_LIMIT)
        if before is not None:
            before.close()
        task = asyncio.create_task(self._answer(reader, relay, relay.far))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(
        self, reader: asyncio.StreamReader, relay: _Relay, far: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                raw, parts = await _reply(reader)
                await self._flows.wait()
                if parts[:1] in ([b"message"], [b"smessage"]):
                    if self.loses(parts[1], parts[2]):
                        continue
                    self.seen.append((parts[1], parts[2]))
                relay.near.write(raw)
        if relay.far is far:
            relay.near.close()


async def _reply(reader: asyncio.StreamReader) -> tuple[bytes, list[bytes]]:
    """Read one answer as it is, and the texts in it, in the second version of Redis' protocol."""
    line = await reader.readuntil(b"\r\n")
    if line[:1] == b"$" and int(line[1:]) >= 0:
        text = await reader.readexactly(int(line[1:]) + 2)
        return line + text, [text[:-2]]
    if line[:1] != b"*":
        return line, []
    raw, parts = line, list[bytes]()
    for _ in range(int(line[1:])):
        one, texts = await _reply(reader)
        raw += one
        parts += texts
    return raw, parts


@asynccontextmanager
async def between(port: int, encryption: ssl.SSLContext | None = None) -> AsyncIterator[Lossy]:
    """Stand before a Valkey; with `encryption` a node has to speak that."""
    proxy = Lossy(port)
    await proxy.open(encryption)
    try:
        yield proxy
    finally:
        await proxy.close()
