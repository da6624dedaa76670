"""What a node publishes on one server of Redis: in line, many at a time; nobody waits for it."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from server.config import RedisSettings
from server.logs import get_logger
from server.realtime.bus.debts import Debt
from server.realtime.bus.wire import ANSWER_S, Wire, is_refusal

_AT_ONCE = 256
_AT_ONCE_BYTES = 1_048_576

log = get_logger("server.bus")


class Letter(NamedTuple):
    """Something to be published; without a debt nobody misses it."""

    channel: bytes
    data: bytes
    debt: Debt | None = None


Lost = Callable[[Sequence[Letter]], None]


class Speaking:
    """The line of what is to be published."""

    def __init__(self, settings: RedisSettings, lost: Lost, *, sharded: bool) -> None:
        """Hand back what could not be published."""
        self._settings = settings
        self._lost = lost
        self._verb = "SPUBLISH" if sharded else "PUBLISH"
        self._line: deque[Letter] = deque()
        self._bytes = 0
        self._sending: list[Letter] = []
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_refused = False
        self.is_up = False

    async def settled(self) -> None:
        """Wait until nothing waits and nothing is on its way."""
        await self._idle.wait()

    @property
    def waiting(self) -> int:
        """Return how many wait."""
        return len(self._line) + len(self._sending)

    def put(self, letter: Letter) -> bool:
        """Put something in line; return whether there was room, and somebody who takes it."""
        size = self._bytes + len(letter.data)
        settings = self._settings
        if not self.is_up or size > settings.waiting_bytes:
            return False
        if len(self._line) >= settings.waiting_events:
            return False
        self._line.append(letter)
        self._bytes = size
        self._idle.clear()
        self._more.set()
        return True

    async def live(self, wire: Wire, risen: Callable[[], None]) -> None:
        """Publish by a connection until it fails; `risen` is called whenever there is room."""
        self.is_up = True
        risen()
        try:
            while True:
                await self._more.wait()
                self._more.clear()
                while self._line:
                    await self._send(wire)
                self._idle.set()
                # What was just refused would be again.
                if not self._is_refused:
                    risen()
        finally:
            self._fall()

    def _fall(self) -> None:
        """Hand back what waits and what may or may not have been published."""
        self.is_up = False
        left = [*self._sending, *self._line]
        self._sending, self._bytes = [], 0
        self._line.clear()
        self._idle.set()
        if left:
            self._lost(left)

    async def _send(self, wire: Wire) -> None:
        batch, size = self._sending, 0
        while self._line and len(batch) < _AT_ONCE and size < _AT_ONCE_BYTES:
            letter = self._line.popleft()
            size += len(letter.data)
            batch.append(letter)
        self._bytes -= size
        refused = []
        async with asyncio.timeout(ANSWER_S):
            await wire.send([(self._verb, letter.channel, letter.data) for letter in batch])
            for letter in batch:
                try:
                    await wire.read()
                except Exception as error:
                    if not is_refusal(error):
                        raise
                    refused.append(letter)
                    self._say(error)
        self._sending = []
        if refused:
            self._lost(refused)
        else:
            self._is_refused = False

    def _say(self, error: Exception) -> None:
        if not self._is_refused:
            self._is_refused = True
            log.warning("redis refuses what is published", error=str(error))
