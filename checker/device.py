"""A device: raw frames over a WebSocket, written down as they come, and the client's rule behind.

It comes back for ever, each time to a node drawn by lot, and asks `sync` as the protocol says.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any

import aiohttp
import orjson

from checker.history import Frame, History, Line, Shown, Step
from checker.judge import Believer
from checker.nodes import Node
from checker.rule import Rule

ANSWER_S = 6.0
"""How long an answer is waited for: a second longer than the server promises."""

_BACK_S = (0.1, 0.6)
_OPEN_S = 8.0
_SYNC_AGAIN_S = 0.3


class LostError(Exception):
    """Nobody knows what became of a request: its answer never came."""


@dataclass(slots=True)
class Circumstances:
    """What all devices of a run share."""

    http: aiohttp.ClientSession
    history: History
    nodes: Sequence[Node]
    chance: Random


class Device:
    """One device of a person."""

    def __init__(
        self, name: str, user_id: str, token: str, around: Circumstances, rule: type[Rule]
    ) -> None:
        """Begin offline."""
        self.name = name
        self.user_id = user_id
        self._token = token
        self._around = around
        self.rule = rule(user_id, self._took)
        self.line = Line(name, user_id, "")
        self._ids = count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._ws: aiohttp.ClientWebSocketResponse | None = None
        self._online = asyncio.Event()
        self._behind = asyncio.Event()
        self._resync_at = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Come online, and stay as well as the network lets it."""
        self._tasks = [asyncio.create_task(self._live()), asyncio.create_task(self._catch_up())]

    async def close(self) -> None:
        """Go offline for good."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def is_online(self) -> bool:
        """Return whether there is a connection that has said hello."""
        return self._online.is_set()

    async def online(self) -> None:
        """Wait until it is."""
        await self._online.wait()

    def believes(self) -> Believer:
        """Return what it has."""
        return Believer(self.name, self.user_id, self.rule.talks)

    async def leaves(self) -> None:
        """Hang up; it comes back by itself."""
        if self._ws is not None:
            await self._ws.close()

    # Asking

    async def ask(self, name: str, data: dict[str, Any]) -> dict[str, Any]:
        """Return the whole answer; raises `LostError`."""
        ws = self._ws
        if ws is None or not self.is_online:
            raise LostError
        number = next(self._ids)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        try:
            async with asyncio.timeout(ANSWER_S):
                await ws.send_str(f"42{number}{orjson.dumps([name, data]).decode()}")
                answer: dict[str, Any] = await future
        except (TimeoutError, ConnectionError, aiohttp.ClientError) as error:
            raise LostError from error
        finally:
            self._answers.pop(number, None)
        return answer

    async def sync(self) -> None:
        """Ask for everything after what it has, although nothing may be missing."""
        cursors = self.rule.cursors()
        await self._sync({"cursors": cursors, "epoch": self.rule.epoch})

    async def _sync(self, asked: dict[str, Any]) -> dict[str, Any]:
        asked_at, line = time.time(), self.line
        self.rule.is_syncing = True
        try:
            answer = await self.ask("sync", asked)
        finally:
            self.rule.is_syncing = False
        if not answer["ok"]:
            raise LostError
        data: dict[str, Any] = answer["data"]
        self._show(asked_at, line, data)
        # It was read in an epoch that has ended meanwhile.
        if data["epoch"] == asked["epoch"] != self.rule.epoch:
            raise LostError
        self.rule.apply_sync(data)
        return data

    # Being online

    async def _live(self) -> None:
        chance = self._around.chance
        while True:
            node = chance.choice(self._around.nodes)
            self.line = Line(self.name, self.user_id, node.name)
            with suppress(aiohttp.ClientError, OSError, TimeoutError, LostError):
                await self._stay(node)
            self._online.clear()
            self.line.closed_at = time.time()
            for future in self._answers.values():
                if not future.done():
                    future.set_exception(LostError())
                    future.exception()
            await asyncio.sleep(chance.uniform(*_BACK_S))

    async def _stay(self, node: Node) -> None:
        """Be connected to a node until that ends."""
        url = f"{node.door.url}/socket.io/?EIO=4&transport=websocket"
        async with asyncio.timeout(_OPEN_S) as limit:
            ws = await self._around.http.ws_connect(url, autoping=False, max_msg_size=0)
            self._ws = ws
            try:
                hello = {
                    "token": self._token,
                    "epoch": self.rule.epoch,
                    "cursors": self.rule.cursors(),
                    "user_seq": self.rule.user_cursor or 0,
                }
                asked_at = time.time()
                await ws.send_str("40" + orjson.dumps(hello).decode())
                async for message in ws:
                    if not isinstance(message.data, str):
                        break
                    await self._read(ws, message.data, asked_at)
                    if self.is_online:
                        limit.reschedule(None)
            finally:
                self._ws = None
                with suppress(aiohttp.ClientError, OSError, TimeoutError):
                    await asyncio.wait_for(ws.close(), 1)

    async def _read(
        self, ws: aiohttp.ClientWebSocketResponse, packet: str, asked_at: float
    ) -> None:
        kind = packet[:2]
        if packet == "2":
            await ws.send_str("3")
        elif kind == "42":
            name, data = orjson.loads(packet[2:])
            self._heard(name, data, asked_at)
        elif kind == "43":
            start = packet.index("[")
            future = self._answers.pop(int(packet[2:start]), None)
            if future is not None and not future.done():
                future.set_result(orjson.loads(packet[start:])[0])
                # Whoever asked takes it before anything that came after it is read.
                await asyncio.sleep(0)
        elif kind in ("44", "41"):
            raise LostError

    def _heard(self, name: str, data: dict[str, Any], asked_at: float) -> None:
        at = time.time()
        if name == "session:ready":
            self.line.ready_at, self.line.epoch = at, data["epoch"]
            self._around.history.lines.append(self.line)
            if "sync" in data:
                self._show(asked_at, self.line, data["sync"])
            self.rule.ready(data)
            self._online.set()
        else:
            self._around.history.frames.append(Frame.read(at, self.line, name, data))
            self.rule.hear(name, data)
        # Who waits already waits no longer because of another.
        if name == "session:resync" and self._resync_at <= at:
            within_s = data["within_ms"] / 1_000
            self._resync_at = at + self._around.chance.uniform(0, within_s)
        if self.is_behind:
            self._behind.set()

    def _show(self, asked_at: float, line: Line, answer: dict[str, Any]) -> None:
        """Write down what an answer shows of each conversation."""
        at = time.time()
        for entry in answer["conversations"]:
            bodies = (*entry["messages"], *entry["participants"])
            numbers = [body["event_seq"] for body in bodies]
            shown = Shown(asked_at, at, line, entry["id"], numbers)
            self._around.history.shown.append(shown)

    def _took(self, conversation_id: str, cursor: int) -> None:
        steps = self._around.history.steps.setdefault((self.name, conversation_id), [])
        steps.append(Step(time.time(), cursor, self.line))

    # Catching up

    @property
    def is_behind(self) -> bool:
        """Return whether it has heard of something that it does not have."""
        rule = self.rule
        if rule.user_cursor is not None and (rule.user_owed or rule.user_heard > rule.user_cursor):
            return True
        return bool(rule.behind())

    async def _catch_up(self) -> None:
        """Ask `sync`, one at a time, until nothing that was heard is missing; for ever."""
        while True:
            await self._behind.wait()
            self._behind.clear()
            while self.is_behind:
                await self.online()
                await asyncio.sleep(max(0.0, self._resync_at - time.time()))
                try:
                    await self._sync(self._missing())
                except LostError:
                    await asyncio.sleep(_SYNC_AGAIN_S)

    def _missing(self) -> dict[str, Any]:
        rule = self.rule
        asked: dict[str, Any] = {"cursors": rule.behind(), "epoch": rule.epoch}
        if rule.user_owed or rule.user_heard > (rule.user_cursor or 0):
            asked["user_seq"] = rule.user_cursor
        return asked
