"""The servers of Redis that a node talks to: found, connected, each channel where it belongs."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from itertools import count

from server.config import RedisSettings
from server.logs import get_logger
from server.realtime.bus.layout import Finder, Layout, NoServerError
from server.realtime.bus.shard import Shard
from server.realtime.bus.speaking import Letter, Lost, Speaking
from server.realtime.bus.wire import FAILURES, Server, is_refusal

_LOOK_EVERY_S = 5.0
"""How often is looked where servers are that come and go without a word."""

_LOOK_AGAIN_S = 0.5

log = get_logger("server.bus")

Arrived = Callable[[Server, bytes, bytes], None]
"""Where a message goes: who served it, its channel, and what it brings."""

Certain = asyncio.Future[None]


class Servers:
    """Where every channel is heard and spoken on, wherever it moves."""

    def __init__(
        self,
        settings: RedisSettings,
        *,
        arrived: Arrived,
        lost: Lost,
        doubt: Callable[[], None],
        spoke: Callable[[], None],
    ) -> None:
        """Know no server yet.

        `doubt` is called whenever something may have been missed, `spoke` whenever a server can be
        spoken to again, or has been told all that waited.
        """
        self._settings = settings
        self._arrived = arrived
        self._lost = lost
        self._doubt = doubt
        self._spoke = spoke
        self._finder = Finder(settings)
        self._layout = Layout(())
        self._shards: dict[Server, Shard] = {}
        self._wanted: dict[bytes, Shard | None] = {}
        # Other programs publish on it to all servers at once.
        self._emitter = settings.emitter_channel.encode()
        self._node = ""
        self._troubled = asyncio.Event()
        self._risen = asyncio.Event()
        self._is_lost = False
        self._refusal = ""
        self._looking: asyncio.Task[None] | None = None

    # Beginning and end

    async def open(self, node: str, *, within_s: float) -> None:
        """Connect as a node; servers that are away for longer are looked for until they come."""
        self._node = node
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._find()
                await self._risen.wait()
        self._looking = asyncio.get_running_loop().create_task(self._look())

    async def close(self, *, within_s: float) -> None:
        """Publish what waits, if it goes that quickly, and end."""
        speaking = [shard.speaking.settled() for shard in self._shards.values()]
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*speaking), within_s)
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await asyncio.gather(*(shard.close() for shard in self._shards.values()))

    @property
    def is_up(self) -> bool:
        """Return whether all servers hear this node and are heard by it."""
        return bool(self._shards) and all(shard.is_up for shard in self._shards.values())

    @property
    def refusal(self) -> str:
        """Return what a server said that let nobody in."""
        said = [self._refusal, *(shard.refusal for shard in self._shards.values())]
        return next(filter(None, said), "")

    @property
    def waiting(self) -> int:
        """Return how much waits to be published."""
        return sum(shard.speaking.waiting for shard in self._shards.values())

    # Channels

    def want(self, channel: bytes) -> bool:
        """Hear a channel from now on; return whether it was not wanted before."""
        if channel in self._wanted:
            return False
        self._hear(channel)
        return True

    def give_up(self, channel: bytes) -> None:
        """Hear a channel no longer."""
        shard = self._wanted.pop(channel, None)
        if shard is not None:
            shard.hearing.give_up(channel)

    def uncertain(self, channels: Collection[bytes]) -> list[Certain]:
        """Return what will be done when these channels are heard, where it is not certain yet.

        Servers that are away are left out: once they are back, there is doubt.
        """
        shards = {self._wanted.get(channel) for channel in channels}
        waited = [shard.hearing.certain() for shard in shards if shard is not None and shard.is_up]
        return [one for one in waited if one is not None]

    def speaking_on(self, channel: bytes) -> Speaking | None:
        """Return where to publish on a channel, if there it can be published now."""
        shard = self._shard_of(channel)
        return shard.speaking if shard is not None and shard.speaking.is_up else None

    def _hear(self, channel: bytes) -> None:
        shard = self._wanted[channel] = self._shard_of(channel)
        if shard is not None:
            shard.hearing.want(channel)

    def _shard_of(self, channel: bytes) -> Shard | None:
        # One of the servers is enough for what is published to all.
        is_everywhere = channel == self._emitter
        server = self._layout.first if is_everywhere else self._layout.server_of(channel)
        return None if server is None else self._shards.get(server)

    # Looking for servers

    def look(self) -> None:
        """Look at once where the servers are."""
        self._troubled.set()

    async def _look(self) -> None:
        while True:
            with suppress(TimeoutError):
                every = _LOOK_EVERY_S if self._finder.moves else None
                await asyncio.wait_for(self._troubled.wait(), every)
            self._troubled.clear()
            await self._find()
            self._spoke()
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _find(self) -> None:
        """Find the servers, and go where they are now."""
        try:
            layout = await self._finder.find()
        except (*FAILURES, NoServerError) as error:
            self._cannot_find(error)
            return
        self._is_lost = False
        if layout == self._layout:
            return
        self._layout = layout
        gone = [server for server, shard in self._shards.items() if not self._is_there(shard)]
        closing = [self._shards.pop(server) for server in gone]
        for server in layout.servers:
            if server not in self._shards:
                self._shards[server] = self._begin(layout, server)
        self._move()
        await asyncio.gather(*(shard.close() for shard in closing))

    def _cannot_find(self, error: Exception) -> None:
        self._troubled.set()
        cause = error.__cause__ or error
        self._refusal = str(cause) if is_refusal(cause) else ""
        if not self._is_lost:
            self._is_lost = True
            log.warning("redis cannot be found", error=str(error) or repr(error))

    def _is_there(self, shard: Shard) -> bool:
        """Return whether a server is still one, and of its own pulse."""
        served = self._layout.server_of(shard.pulse.channel)
        return shard.server in self._layout.servers and served == shard.server

    def _begin(self, layout: Layout, server: Server) -> Shard:
        shard = Shard(
            self._settings,
            self._finder,
            server,
            pulse=Letter(self._pulse_channel(layout, server), b""),
            take=partial(self._arrived, server),
            lost=self._lost,
        )
        shard.start(heard=self._heard, spoke=self._speaks, troubled=self._troubled.set)
        return shard

    def _heard(self) -> None:
        self._rise()
        self._doubt()

    def _speaks(self) -> None:
        self._rise()
        self._spoke()

    def _rise(self) -> None:
        if self.is_up:
            self._risen.set()

    def _pulse_channel(self, layout: Layout, server: Server) -> bytes:
        """Return a channel that this server serves, and nobody else needs."""
        name = f"{self._settings.prefix}:node:{self._node}".encode()
        numbered = (b"%b:%d" % (name, number) for number in count())
        return next(channel for channel in numbered if layout.server_of(channel) == server)

    def _move(self) -> None:
        """Hear every channel where it is now; what was said on the way is looked for."""
        for channel, shard in self._wanted.items():
            if shard is not None and shard is not self._shard_of(channel):
                shard.hearing.give_up(channel)
            self._hear(channel)
        for shard in self._shards.values():
            certain = shard.hearing.certain() if shard.hearing.is_up else None
            if certain is not None:
                certain.add_done_callback(self.doubt_if_done)

    def doubt_if_done(self, certain: Certain) -> None:
        """Doubt once something is certain at last; if its connection ended, the next one does."""
        if not certain.cancelled():
            self._doubt()
