"""One server of Redis as a node knows it: a connection that hears, one that speaks, and a pulse.

Every second a node says something to itself by one and listens for it by the other. That tells a
connection that is silent from one that is deaf, which TCP does not: frozen, or replaced behind a
proxy by one that has asked for nothing.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from server.config import RedisSettings
from server.logs import get_logger
from server.realtime.bus.hearing import Hearing, Take
from server.realtime.bus.layout import Finder
from server.realtime.bus.speaking import Letter, Lost, Speaking
from server.realtime.bus.wire import Server, Wire, is_refusal

PULSE_S = 1.0
UNHEARD = 3
"""After so many pulses in a row that were not heard, both connections are given up."""

_AGAIN_S = 0.1
_AGAIN_MOST_S = 1.0

log = get_logger("server.bus")

Live = Callable[[Wire, Callable[[], None]], Awaitable[None]]


class Shard:
    """Two connections to one server, for as long as the node knows of it."""

    def __init__(  # noqa: PLR0913 (what it is made of)
        self,
        settings: RedisSettings,
        finder: Finder,
        server: Server,
        *,
        pulse: Letter,
        take: Take,
        lost: Lost,
    ) -> None:
        """Be about to connect; `pulse` is what it says to itself."""
        self.server = server
        self.pulse = pulse
        self._finder = finder
        self._take = take
        sharded, everywhere = finder.is_sharded, [settings.emitter_channel.encode()]
        self.hearing = Hearing(self._arrived, sharded=sharded, everywhere=everywhere)
        self.hearing.want(pulse.channel)
        self.speaking = Speaking(settings, lost, sharded=sharded)
        self._unheard = 0
        self._wires: dict[str, Wire] = {}
        self._tasks: list[asyncio.Task[None]] = []
        # Of which it is known already, and was said, that they fail.
        self._failing: set[str] = set()
        # What the server said when it let nobody in.
        self.refusal = ""

    def start(
        self, *, heard: Callable[[], None], spoke: Callable[[], None], troubled: Callable[[], None]
    ) -> None:
        """Connect, again and again.

        `heard` is called whenever the connection that hears has come up, `spoke` whenever the one
        that speaks has, or has sent all that waited, `troubled` whenever one has failed.
        """
        loop = asyncio.get_running_loop()
        hearing = self._keep("hears", self.hearing.live, heard, troubled)
        speaking = self._keep("speaks", self.speaking.live, spoke, troubled)
        self._tasks = [loop.create_task(work) for work in (hearing, speaking, self._beat())]

    @property
    def is_up(self) -> bool:
        """Return whether this node hears here and is heard."""
        return self.hearing.is_up and self.speaking.is_up and self._unheard < UNHEARD

    def _arrived(self, channel: bytes, data: bytes) -> None:
        if channel == self.pulse.channel:
            self._unheard = 0
        else:
            self._take(channel, data)

    async def _beat(self) -> None:
        """Say something every second, and notice when it is not heard."""
        while True:
            await asyncio.sleep(PULSE_S)
            if self._unheard >= UNHEARD:
                log.warning("redis is deaf", server=self._name)
                self._unheard = 0
                for wire in list(self._wires.values()):
                    wire.cut()
            self._unheard += 1
            self.speaking.put(self.pulse)

    async def _keep(
        self, what: str, live: Live, risen: Callable[[], None], troubled: Callable[[], None]
    ) -> None:
        """Live by one connection after the other; never in step with other nodes."""
        pause = _AGAIN_S
        loop = asyncio.get_running_loop()
        while True:
            wire = self._wires[what] = self._finder.wire(self.server)
            since = loop.time()
            try:
                await wire.open()
                # What was missed before says nothing of this one.
                self._unheard = 0
                await live(wire, partial(self._rose, what, risen))
            except Exception as error:  # noqa: BLE001 (whatever it is, another connection is next)
                self._fell(what, error)
            finally:
                with suppress(Exception):
                    await wire.close()
            troubled()
            pause = _AGAIN_S if loop.time() - since > 2 * _AGAIN_MOST_S else pause
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 (not a secret)
            pause = min(2 * pause, _AGAIN_MOST_S)

    def _rose(self, what: str, risen: Callable[[], None]) -> None:
        if what in self._failing:
            self._failing.discard(what)
            log.info("redis is back", server=self._name, way=what)
        risen()

    def _fell(self, what: str, error: Exception) -> None:
        if what in self._failing:
            return
        self._failing.add(what)
        cause: BaseException = error
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        self.refusal = str(cause) if is_refusal(cause) else ""
        log.warning("redis is away", server=self._name, way=what, error=str(cause) or repr(cause))

    @property
    def _name(self) -> str:
        return "{}:{}".format(*self.server)

    async def close(self) -> None:
        """End both connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
