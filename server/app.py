"""The house put together: settings, database, bus, realtime, REST; how it starts and stops."""

import asyncio
import errno
import gc
import hashlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from server import __version__, database, demo, handlers, pages
from server.actions.people import Acquaintances
from server.actions.recency import Recency
from server.auth import Tokens
from server.bearer import Bearer
from server.config import Settings
from server.dispatch import Dispatcher
from server.downloads import Downloads
from server.errors import SettingsError
from server.files.images import ImageLimits, Images
from server.files.store import Store
from server.intake import Intake
from server.jobs import Sweeper
from server.journal import Journal
from server.listener import Listener
from server.logs import get_logger
from server.middleware import Manners
from server.realtime.activity import Activity
from server.realtime.board import MemoryBoard
from server.realtime.bus import Bus, MemoryBus
from server.realtime.connection import Entrance
from server.realtime.feed import Feed
from server.realtime.hub import Hub
from server.realtime.limits import Buckets
from server.realtime.lobby import Lobby
from server.realtime.plain import Plain
from server.realtime.presence import Presence
from server.realtime.sockets import Sockets
from server.realtime.teller import Teller
from server.realtime.websocket import Turn
from server.rest import BASE, Rest
from server.uploads import Uploads

_SETTLE_S = 2.0
"""How long a stop waits for what was accepted; longer work than that has no answer to give."""

_NEW_OBJECTS = 20_000
"""After so many objects more than were freed, the collector of cycles looks for garbage."""

log = get_logger("server")


@dataclass(frozen=True, slots=True)
class Node:
    """A server that is running."""

    settings: Settings
    port: int
    bus: Bus
    feed: Feed
    dispatcher: Dispatcher
    presence: Presence
    activity: Activity
    images: Images
    intake: Intake


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


def begin_epoch(settings: Settings) -> None:
    """Tell nodes and clients that the database was replaced by an older copy of itself."""

    async def work() -> str:
        async with database.opened(settings):
            return await database.begin_epoch()

    log.info("a new epoch begins", epoch=asyncio.run(work()))


async def _serve(settings: Settings, *, with_demo: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    async with running(settings) as node:
        if with_demo:
            await demo.fill(node.dispatcher, node.intake)
            demo.print_links(settings, node.port)
        _collect_less()
        log.info("serving", version=__version__, host=settings.http.host, port=node.port)
        await stop.wait()
        log.info("stopping")


def _collect_less() -> None:
    """Spare the collector of cycles what lives as long as the process.

    What a request or a connection makes is freed without it: there are no circles in it. With
    Python's own thresholds it looked at everything that is connected again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 20, 20)


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
            yield Node(
                settings,
                port,
                house.bus,
                house.feed,
                house.dispatcher,
                house.presence,
                house.activity,
                house.images,
                house.intake,
            )
        finally:
            await house.close()


class _House:
    """Everything that serves, in the order in which it depends on each other."""

    def __init__(self, settings: Settings) -> None:  # noqa: PLR0915 (what depends on what, in order)
        self._settings = settings
        self._tokens = Tokens(settings.auth)
        self._registry = handlers.registry()
        turn = Turn()
        hub = Hub(turn, coalesce_s=settings.realtime.coalesce_ms / 1_000)
        self.bus = MemoryBus()
        self.feed = Feed(settings, hub)
        self._met = Acquaintances()
        self.bus.listen(self._met.notice)
        self._recency = Recency(settings.limits.broadcast_members)
        self.bus.listen(self._recency.notice)
        self.bus.listen(self.feed.accept)
        self._teller = Teller(settings.limits, self.bus)
        self._store = _store(settings)
        self.images = _images(settings)
        self._sweeper = Sweeper(settings.files, self._store)
        self._journal = Journal(settings.database, tell=self._teller.tell, doubt=self.feed.doubt)
        self.dispatcher = Dispatcher(
            settings,
            self._registry,
            self._teller,
            self._journal,
            Buckets(settings.limits),
            self._sweeper,
        )
        self.intake = Intake(self._store, self.images, self._sweeper)
        self.presence = Presence(settings, MemoryBoard(), hub)
        self.feed.on_move(self.presence.followers.moved)
        self.activity = Activity(settings.limits, hub)
        lobby = Lobby(self.dispatcher, self._tokens, hub, self.feed, self.presence, self.activity)
        self._entrance = Entrance(settings, lobby, self._teller, turn)
        self._sockets = Sockets(settings, self._entrance)
        self._plain = Plain(self._entrance)
        self._watch: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None

    async def open(self) -> int:
        """Serve, and return the port."""
        settings = self._settings
        manners = Manners(settings)
        app = web.Application(
            middlewares=[manners.middleware],
            client_max_size=settings.limits.event_bytes,
        )
        bearer = Bearer(self.dispatcher, self._tokens, self._met)
        uploads = Uploads(self.dispatcher, bearer, self.intake)
        uploads.attach(app, BASE)
        Downloads(self.dispatcher, bearer, self._store).attach(app, BASE)
        rest = Rest(settings, self.dispatcher, bearer, uploads)
        rest.attach(app, self._registry)
        pages.attach(app, self._registry, _database_answers, settings)
        self._sockets.attach(app)
        self._plain.attach(app)
        self._runner = Listener(
            app,
            lambda others: rest.before(others, manners),
            access_log=None,
            shutdown_timeout=1.0,
            keepalive_timeout=20,
        )
        await self._runner.setup()
        self.feed.forgets(self._met.forget)
        await self.feed.open()
        await self._journal.open()
        self._recency.start()
        await _claim(settings, self._sweeper)
        self._watch = asyncio.create_task(self.feed.watch())
        return await _listen(self._runner, settings)

    async def close(self) -> None:
        """Let nobody in any more, let everybody go, finish what was accepted, and stop."""
        if self._runner is not None:
            for site in list(self._runner.sites):
                await site.stop()
        self._entrance.is_stopping = True
        await asyncio.gather(self._sockets.close(), self._plain.close())
        self._entrance.watch.wheel.stop()
        await self._settle()
        await self.presence.close()
        self.activity.close()
        if self._watch is not None:
            self._watch.cancel()
        self.feed.close()
        self._teller.typists.close()
        if self._runner is not None:
            await self._runner.cleanup()
        # What uploads asked for while everybody else was being let go.
        await self._settle()
        await self._recency.close()
        await self._journal.close()
        await self._sweeper.close()
        await self.images.close()
        await self._tokens.close()

    async def _settle(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.dispatcher.settle(), _SETTLE_S)


def _store(settings: Settings) -> Store:
    try:
        return Store(Path(settings.files.folder), keep_free=settings.files.keep_free_bytes)
    except OSError as error:
        raise _no_folder(settings, error) from error


def _no_folder(settings: Settings, error: OSError) -> SettingsError:
    return SettingsError(
        f"files.folder: {settings.files.folder} cannot be written ({error.strerror})"
    )


def _images(settings: Settings) -> Images:
    files = settings.files
    limits = ImageLimits(
        pixels=settings.limits.image_pixels,
        frames=files.image_frames,
        timeout_s=files.image_timeout_s,
        cpu_s=files.image_cpu_s,
        memory_bytes=files.image_memory_bytes,
    )
    return Images(limits, workers=files.image_workers)


async def _claim(settings: Settings, sweeper: Sweeper) -> None:
    """Begin to sweep the folder of files as the folder of this database."""
    secret = await database.file_key()
    try:
        await sweeper.start(hashlib.sha256(f"folder {secret}".encode()).hexdigest())
    except OSError as error:
        raise _no_folder(settings, error) from error


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
