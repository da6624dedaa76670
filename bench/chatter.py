"""Pairs of people on two servers who talk at a given pace, and count what arrives."""

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
_SETTLE_S = 1.0
_TICK_S = 0.01
_LOSS = 0.01
"""The share of messages that may be on their way when counting ends."""


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
    pairs = talk.pairs
    async with aiohttp.ClientSession() as http, AsyncExitStack() as stack:
        clients = [
            (
                await stack.enter_async_context(_Client(http, here, pair.speaks, talk)),
                await stack.enter_async_context(_Client(http, there, pair.listens, talk)),
            )
            for pair in pairs
        ]
        loop = asyncio.get_running_loop()
        began, said = loop.time(), 0
        while (passed := loop.time() - began) < seconds:
            while said < passed * per_s:
                speaker, _ = clients[said % len(pairs)]
                name, data = pairs[said % len(pairs)].says(said)
                await speaker.send(f"42{json.dumps([name, data], separators=(',', ':'))}")
                said += 1
            await asyncio.sleep(_TICK_S)
        took = loop.time() - began
        await asyncio.sleep(_SETTLE_S)
        heard = sum(listener.heard for _, listener in clients)
    if heard < said * (1 - _LOSS):
        raise CannotMeasureError(f"of {said} messages {heard} arrived on the other server")
    return heard / took


class _Client:
    """A client of Socket.IO that counts one event."""

    def __init__(self, http: aiohttp.ClientSession, server: Server, auth: str, talk: Talk) -> None:
        """Be about to connect."""
        self._http = http
        self._url = f"{server.url}/socket.io/?EIO=4&transport=websocket"
        self._auth = auth
        self._ready = f'42["{talk.ready}"' if talk.ready else "40"
        self._hears = f'42["{talk.hears}"'
        self.heard = 0

    async def __aenter__(self) -> Self:
        """Come in."""
        self._socket = await self._http.ws_connect(self._url)
        self._reader = asyncio.create_task(self._read())
        self._in = asyncio.Event()
        await self.send(f"40{self._auth}")
        await asyncio.wait_for(self._in.wait(), _IN_WITHIN_S)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Go."""
        self._reader.cancel()
        await self._socket.close()

    async def send(self, packet: str) -> None:
        """Send a packet."""
        await self._socket.send_str(packet)

    async def _read(self) -> None:
        async for message in self._socket:
            packet = str(message.data)
            if packet.startswith(self._hears):
                self.heard += 1
            elif packet == "2":
                await self.send("3")
            elif packet.startswith(self._ready):
                self._in.set()
