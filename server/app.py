"""The house put together: settings, database, bus, realtime, REST; how it starts and stops."""

import asyncio
import errno
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from aiohttp import web

from server import __version__, database, demo, handlers, middleware, pages
from server.auth import Tokens
from server.config import Settings
from server.dispatch import Dispatcher
from server.errors import SettingsError
from server.logs import get_logger
from server.realtime.bus import Bus, MemoryBus
from server.realtime.feed import Feed
from server.realtime.hub import Hub
from server.realtime.limits import Buckets
from server.realtime.lobby import Lobby
from server.realtime.sockets import Sockets
from server.realtime.teller import Teller
from server.rest import Rest

_SETTLE_S = 2.0
"""How long a stop waits for what was accepted; longer work than that has no answer to give."""

log = get_logger("server")


@dataclass(frozen=True, slots=True)
class Node:
    """A server that is running."""

    settings: Settings
    port: int
    bus: Bus
    feed: Feed
    dispatcher: Dispatcher


def serve(settings: Settings, *, demo: bool) -> None:
    """Serve until a signal comes; with `demo`, bring people and print their links."""
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(settings, with_demo=demo))


def migrate(settings: Settings) -> None:
    """Bring the tables up to date."""

    async def work() -> None:
        async with database.opened(settings):
            await database.migrate()

    asyncio.run(work())
    log.info("the database is up to date")


async def _serve(settings: Settings, *, with_demo: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    async with running(settings) as node:
        if with_demo:
            await demo.fill(node.dispatcher)
            demo.print_links(settings, node.port)
        log.info("serving", version=__version__, host=settings.http.host, port=node.port)
        await stop.wait()
        log.info("stopping")


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Node]:
    """Run a node; port 0 takes a free one. Raises `SettingsError` when it cannot start."""
    async with database.opened(settings):
        if settings.database.migrate_on_start:
            await database.migrate()
        else:
            await database.require_schema()
        house = _House(settings)
        try:
            port = await house.open()
            yield Node(settings, port, house.bus, house.feed, house.dispatcher)
        finally:
            await house.close()


class _House:
    """Everything that serves, in the order in which it depends on each other."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tokens = Tokens(settings.auth)
        self._registry = handlers.registry()
        hub = Hub()
        self.bus = MemoryBus()
        self.feed = Feed(settings, hub)
        self.bus.listen(self.feed.accept)
        self._teller = Teller(settings.limits, self.bus)
        buckets = Buckets(settings.limits)
        self.dispatcher = Dispatcher(settings, self._registry, self._teller, buckets)
        lobby = Lobby(self.dispatcher, self._tokens, hub, self.feed)
        self._sockets = Sockets(settings, lobby, self._teller)
        self._watch: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None

    async def open(self) -> int:
        """Serve, and return the port."""
        settings = self._settings
        app = web.Application(
            middlewares=middleware.all_of(settings),
            client_max_size=settings.limits.event_bytes,
        )
        Rest(settings, self.dispatcher, self._tokens).attach(app, self._registry)
        pages.attach(app, self._registry, _database_answers, page=settings.web.page)
        self._sockets.attach(app)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=1.0, keepalive_timeout=20
        )
        await self._runner.setup()
        self._watch = asyncio.create_task(self.feed.watch())
        return await _listen(self._runner, settings)

    async def close(self) -> None:
        """Let nobody in any more, let everybody go, finish what was accepted, and stop."""
        if self._runner is not None:
            for site in list(self._runner.sites):
                await site.stop()
        await self._sockets.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.dispatcher.settle(), _SETTLE_S)
        if self._watch is not None:
            self._watch.cancel()
        self.feed.close()
        self._teller.typists.close()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._tokens.close()


async def _database_answers() -> None:
    await database.epoch()


async def _listen(runner: web.AppRunner, settings: Settings) -> int:
    host, port = settings.http.host, settings.http.port
    site = web.TCPSite(runner, host, port, reuse_address=True)
    try:
        await site.start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = (
                f"http.port: {port} is in use by another program; "
                f"choose another one, for example make run PORT={port + 1}"
            )
        else:
            message = f"http.host: cannot listen on {host}:{port} ({error.strerror})"
        raise SettingsError(message) from error
    return int(runner.addresses[0][1])
