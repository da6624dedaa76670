"""The Socket.IO door, as a client sees it.

The packets are written by hand (Engine.IO 4, Socket.IO 5): the library tells that a connection
failed, not why, and why is all that an operator wants to know.
"""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any, Self

import aiohttp
import orjson
from yarl import URL

from server.check import problem
from server.check.patience import Patience
from server.check.problem import Problem

_PATH = "/socket.io/?EIO=4&transport=websocket"
_CLOSE_S = 1.0
_CLOSED = "the log of the server or of the proxy says why"
_NOT_SOCKETIO = "something else than Palabre answers WebSockets at this address"

Event = tuple[str, dict[str, Any]]


class Connection:
    """One person's socket, which remembers everything it hears."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse, patience: Patience) -> None:
        """Speak over a WebSocket that is open; `open()` is the way to get one."""
        self._websocket = websocket
        self._patience = patience
        self._ids = count(1)
        self._answers: dict[int, Any] = {}
        self._heard: list[Event] = []
        self._refusal: object = None
        self._end: tuple[str, str] | None = None
        self._news = asyncio.Event()
        self._reader = asyncio.create_task(self._read())
        self.ready: dict[str, Any] = {}

    @classmethod
    async def open(
        cls, http: aiohttp.ClientSession, url: str, auth: dict[str, Any], patience: Patience
    ) -> Self:
        """Connect and return when the server has said `session:ready`."""
        websocket = await _upgraded(http, URL(url + _PATH), patience)
        connection = cls(websocket, patience)
        try:
            await connection._enter(auth)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _enter(self, auth: dict[str, Any]) -> None:
        await self._write("40" + orjson.dumps(auth).decode())
        self.ready = await self._hear("session:ready", lambda _: True, "session:ready")

    async def close(self) -> None:
        """Hang up."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._websocket.close()

    async def ask(self, name: str, data: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return the data of its acknowledgement."""
        number, expected = next(self._ids), f"an acknowledgement of {name}"
        async with self._patience.awaits(expected):
            await self._write(f"42{number}{orjson.dumps([name, data]).decode()}")
            while number not in self._answers:
                await self._until_news(expected)
        answer = self._answers.pop(number)
        if isinstance(answer, dict) and isinstance(answer.get("data"), dict) and answer.get("ok"):
            reply: dict[str, Any] = answer["data"]
            return reply
        refused = answer.get("error") if isinstance(answer, dict) else answer
        raise problem.of_refusal(expected, refused)

    async def hears(
        self, name: str, fits: Callable[[dict[str, Any]], bool], *, expected: str, hint: str
    ) -> dict[str, Any]:
        """Return the event that fits, which may have been heard already or has to come soon."""
        async with self._patience.awaits_live(expected, hint):
            return await self._hear(name, fits, expected)

    def newest(self, conversation_id: str) -> int:
        """Return the highest number of a conversation that this socket knows of."""
        newest: int = self.ready["joined"][conversation_id]
        for _, data in self._heard:
            if data.get("conversation_id") == conversation_id:
                newest = max(newest, data.get("event_seq", 0))
        return newest

    async def _hear(
        self, name: str, fits: Callable[[dict[str, Any]], bool], expected: str
    ) -> dict[str, Any]:
        async with self._patience.awaits(expected):
            while True:
                for heard, data in self._heard:
                    if heard == name and fits(data):
                        return data
                await self._until_news(expected)

    async def _until_news(self, expected: str) -> None:
        if self._refusal is not None:
            raise problem.of_refusal(expected, self._refusal)
        if self._end is not None:
            raise Problem(expected, *self._end)
        self._news.clear()
        await self._news.wait()

    async def _write(self, packet: str) -> None:
        try:
            await self._websocket.send_str(packet)
        except (aiohttp.ClientError, OSError):
            # The reader knows more about the end.
            self._news.set()

    async def _read(self) -> None:
        try:
            async for message in self._websocket:
                await self._take(message.data)
                self._news.set()
            code = self._websocket.close_code
            self._end = (f"the connection was closed (code {code})", _CLOSED)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            self._end = ("what came is not Socket.IO", _NOT_SOCKETIO)
        finally:
            self._news.set()

    async def _take(self, packet: str) -> None:
        """Take a packet; what no server of Socket.IO sends raises one of many errors."""
        if packet == "2":
            await self._write("3")
        elif packet[:2] == "42":
            name, data = orjson.loads(packet[2:])
            self._heard.append((name, dict(data)))
        elif packet[:2] == "43":
            start = packet.index("[")
            self._answers[int(packet[2:start])] = orjson.loads(packet[start:])[0]
        elif packet[:2] == "44":
            refused = orjson.loads(packet[2:])
            self._refusal = refused.get("data", refused)
        elif packet[:1] not in set("0146"):
            raise ValueError(packet)


async def _upgraded(
    http: aiohttp.ClientSession, url: URL, patience: Patience
) -> aiohttp.ClientWebSocketResponse:
    expected = "a WebSocket at /socket.io/"
    try:
        async with patience.awaits(expected):
            return await http.ws_connect(url, timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S))
    except aiohttp.WSServerHandshakeError as error:
        raise problem.of_upgrade(expected, error.status) from error
    except (aiohttp.ClientError, OSError) as error:
        raise problem.of_network(expected, error, host=url.authority) from error
