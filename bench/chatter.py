"""Pairs of people on two servers who talk at a given pace, and count what arrives.

Servers that cannot keep that pace are talked to as fast as they can: nobody is far ahead of what
the other of the pair has heard.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Self

import aiohttp

from bench.machine import CannotMeasureError
from bench.servers import Server

_IN_WITHIN_S = 30.0
_TICK_S = 0.01
_ARRIVES_TICKS = 1_000
"""How long what is on its way at the end may take to arrive."""
_AHEAD = 50
"""How many messages of a pair may be on their way."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What the two of a pair show at the door, and what the first says; `n` counts."""

    speaks: str
    listens: str
    says: Callable[[int], tuple[str, object]]


@dataclass(frozen=True, slots=True)
class Talk:
    """Who talks, the event that lets a client in (empty: CONNECT), and the one that is heard."""

    pairs: Sequence[Pair]
    ready: str
    hears: str


def chat(here: Server, there: Server, talk: Talk, *, per_s: float, seconds: float) -> float:
    """Let the first of each pair talk here to the other there; return how many arrived a second."""
    return asyncio.run(_chat(here, there, talk, per_s, seconds))


async def _chat(here: Server, there: Server, talk: Talk, per_s: float, seconds: float) -> float:
    async with aiohttp.ClientSession() as http, AsyncExitStack() as stack:
        pairs = [
            (
                pair,
                await stack.enter_async_context(_Client(http, here, pair.speaks, talk)),
                await stack.enter_async_context(_Client(http, there, pair.listens, talk)),
            )
            for pair in talk.pairs
        ]
        loop = asyncio.get_running_loop()
        began = loop.time()
        while (passed := loop.time() - began) < seconds:
            due = passed * per_s / len(pairs)
            for pair, speaker, listener in pairs:
                while speaker.said < min(due, listener.heard + _AHEAD):
                    await speaker.say(*pair.says(speaker.said))
            await asyncio.sleep(_TICK_S)
        took = loop.time() - began
        heard = sum(listener.heard for _, _, listener in pairs)
        missing = 0
        for _ in range(_ARRIVES_TICKS):
            missing = sum(speaker.said - listener.heard for _, speaker, listener in pairs)
            if not missing:
                break
            await asyncio.sleep(_TICK_S)
    if missing:
        raise CannotMeasureError(f"{missing} messages did not arrive on the other server")
    return heard / took


class _Client:
    """A client of Socket.IO that counts what it says, and one event."""

    def __init__(self, http: aiohttp.ClientSession, server: Server, auth: str, talk: Talk) -> None:
        """Be about to connect."""
        self._http = http
        self._url = f"{server.url}/socket.io/?EIO=4&transport=websocket"
        self._auth = auth
        self._ready = f'42["{talk.ready}"' if talk.ready else "40"
        self._hears = f'42["{talk.hears}"'
        self.said = self.heard = 0

    async def __aenter__(self) -> Self:
        """Come in."""
        self._socket = await self._http.ws_connect(self._url)
        self._reader = asyncio.create_task(self._read())
        self._in = asyncio.Event()
        await self._send(f"40{self._auth}")
        await asyncio.wait_for(self._in.wait(), _IN_WITHIN_S)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Go."""
        self._reader.cancel()
        await self._socket.close()

    async def say(self, name: str, data: object) -> None:
        """Send an event."""
        self.said += 1
        await self._send(f"42{json.dumps([name, data], separators=(',', ':'))}")

    async def _send(self, packet: str) -> None:
        await self._socket.send_str(packet)

    async def _read(self) -> None:
        async for message in self._socket:
            packet = str(message.data)
            if packet.startswith(self._hears):
                self.heard += 1
            elif packet == "2":
                await self._send("3")
            elif packet.startswith(self._ready):
                self._in.set()
