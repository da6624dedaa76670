"""The house put together: settings, database, bus, realtime, REST; how it starts and stops."""

import asyncio
import errno
import gc
import hashlib
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from server import __version__, database, demo, handlers, pages
from server.actions.keys import Keyring
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
from server.metrics import Metrics, Parts
from server.middleware import Manners
from server.readiness import Readiness
from server.realtime import drain
from server.realtime.activity import Activity
from server.realtime.board import Board, MemoryBoard
from server.realtime.bus import Bus, MemoryBus, RedisBus
from server.realtime.connection import Entrance
from server.realtime.doorstep import Doorstep
from server.realtime.emitter import Emitter
from server.realtime.feed import Feed
from server.realtime.hub import Hub
from server.realtime.limits import Buckets
from server.realtime.lobby import Lobby
from server.realtime.plain import Plain
from server.realtime.presence import Presence
from server.realtime.shared_board import SharedBoard
from server.realtime.sockets import Sockets
from server.realtime.teller import Teller
from server.realtime.websocket import Turn
from server.rest import BASE, Rest
from server.uploads import Uploads

_SETTLE_S = 2.0
"""How long a stop waits for what was accepted; longer work than that has no answer to give."""

_NEW_OBJECTS = 20_000
"""After so many objects more than were freed, the collector of cycles looks for garbage."""

_LEAST_S = 1.0
"""How long HTTP requests may take to end, however long everything else took."""

_SILENT_S = 20.0
"""How long a connection may stay that asks for nothing, at first and between requests."""

_SAME_S = 1.0
"""For so long after the first signal another one is the same, told to a worker twice."""

_GONE_S = 14.5
"""After so long the process ends, whatever still hangs; a supervisor kills it soon after."""

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
    sockets: Sockets
    drain: Callable[[], Awaitable[None]]


def serve(settings: Settings, *, demo: bool, worker: int = 0) -> None:
    """Serve until a signal comes; with `demo`, bring people and print their links.

    As a `worker`, which has a number from 1 on, share the port with others, and stop when the
    parent is gone.
    """
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(settings, with_demo=demo, worker=worker))


def prepare(settings: Settings) -> None:
    """Make the database ready for those who start; raises `SettingsError` when nobody could."""

    async def work() -> None:
        async with database.opened(settings):
            await _look_over(settings)

    asyncio.run(work())


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


async def _look_over(settings: Settings) -> None:
    """Make the database ready, or raise `SettingsError`."""
    if settings.database.require_durable:
        await database.require_durable()
    if settings.database.migrate_on_start:
        await database.migrate()
    else:
        await database.require_schema()


async def _serve(settings: Settings, *, with_demo: bool, worker: int) -> None:
    stop = asyncio.Event()
    _stop_by_signal(stop, again_after_s=_SAME_S if worker else 0)
    if worker:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _parent_is_gone, stop)
    async with running(settings, worker=worker) as node:
        if with_demo:
            await demo.fill(node.dispatcher, node.intake)
            demo.print_links(settings, node.port)
        _collect_less()
        shown = {"worker": worker} if worker else {}
        log.info("serving", version=__version__, host=settings.http.host, port=node.port, **shown)
        await stop.wait()
        log.info("stopping")
        _end_in(_GONE_S)
        await node.drain()


def _stop_by_signal(stop: asyncio.Event, *, again_after_s: float) -> None:
    """Let the first signal stop the server, and a second one end the process at once.

    What comes within `again_after_s` is the same one again: a supervisor that tells all processes
    to stop tells a worker twice, by its parent too.
    """
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def restore() -> None:
        for name in signals:
            loop.remove_signal_handler(name)
            signal.signal(name, signal.SIG_DFL)

    def first() -> None:
        if stop.is_set():
            return
        stop.set()
        if again_after_s:
            loop.call_later(again_after_s, restore)
        else:
            restore()

    for name in signals:
        loop.add_signal_handler(name, first)


def _parent_is_gone(stop: asyncio.Event) -> None:
    """Stop: nothing is ever written to a worker, so that there is something to read at the end."""
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    log.warning("the parent is gone")
    stop.set()


def _end_in(seconds: float) -> None:
    """End the process then, unless it has ended: a thread or a disk may hang for ever."""

    def end() -> None:
        log.error("the stop took too long, and what hangs is given up", seconds=seconds)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def _collect_less() -> None:
    """Spare the collector of cycles what lives as long as the process.

    What a request or a connection makes is freed without it: there are no circles in it. With
    Python's own thresholds it looked at everything that is connected again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 20, 20)


@asynccontextmanager
async def running(settings: Settings, *, worker: int = 0) -> AsyncIterator[Node]:
    """Run a node; port 0 takes a free one. Raises `SettingsError` when it cannot start."""
    async with database.opened(settings):
        await _look_over(settings)
        house = _House(settings, worker)
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
                house.sockets,
                house.drain,
            )
        finally:
            await house.close()


class _House:
    """Everything that serves, in the order in which it depends on each other."""

    _uploads: Uploads | None = None
    _doorstep: Doorstep | None = None
    _runner: web.AppRunner | None = None
    _metrics_runner: web.AppRunner | None = None
    _watch: asyncio.Task[None] | None = None

    def __init__(self, settings: Settings, worker: int) -> None:  # noqa: PLR0915 (what depends on what, in order)
        self._settings, self._worker = settings, worker
        self._tokens = Tokens(settings.auth)
        self._registry = handlers.registry()
        turn = Turn()
        hub = self._hub = Hub(turn, coalesce_s=settings.realtime.coalesce_ms / 1_000)
        self.bus: Bus = RedisBus(settings.redis) if settings.redis.url else MemoryBus()
        self.feed = Feed(settings, hub, self.bus)
        self._met = Acquaintances()
        self._keyring = Keyring()
        self._recency = Recency(settings.limits.broadcast_members)
        for listener in (self._met.notice, self._recency.notice, self.feed.accept):
            self.bus.listen(listener)
        self._teller = Teller(settings.limits, self.bus)
        if isinstance(self.bus, RedisBus):
            _hear_others(settings, self.bus, hub, self._teller)
        self._store = _store(settings)
        self.images = _images(settings)
        self._sweeper = Sweeper(settings.files, self._store)
        self._journal = Journal(
            settings.database, tell=self._teller.tell, doubt=self.feed.doubt, stored=hub.measure
        )
        self.dispatcher = Dispatcher(
            settings,
            self._registry,
            self._teller,
            self._journal,
            Buckets(settings.limits, settings.keys),
            self._sweeper,
        )
        self.intake = Intake(self._store, self.images, self._sweeper)
        self.presence = Presence(settings, _board(settings, self.bus), hub)
        self.feed.on_move(self.presence.followers.moved)
        self.activity = Activity(settings.limits, hub)
        lobby = Lobby(self.dispatcher, self._tokens, hub, self.feed, self.presence, self.activity)
        self._entrance = Entrance(settings, lobby, self._teller, turn)
        self.sockets = Sockets(settings, self._entrance, self.bus)
        self._plain = Plain(self._entrance)
        self._readiness = Readiness()
        self._metrics = Metrics(settings)

    async def open(self) -> int:
        """Serve, and return the port."""
        settings, http = self._settings, self._settings.http
        manners = Manners(settings)
        app = web.Application(
            middlewares=[manners.middleware],
            client_max_size=settings.limits.event_bytes,
        )
        rest = self._attach(app)
        self._doorstep = Doorstep(self.sockets.take, manners.allows, wait_s=_SILENT_S)
        self._runner = Listener(
            app,
            lambda others: rest.before(others, manners),
            doorman=self._doorstep.before,
            access_log=None,
            shutdown_timeout=1.0,
            keepalive_timeout=_SILENT_S,
        )
        await self._runner.setup()
        self.feed.forgets(self._met.forget)
        await self.feed.open()
        await self._journal.open()
        await self.bus.open(await database.file_key())
        await self.presence.board.open()
        self._recency.start()
        await _claim(settings, self._sweeper)
        self._watch = asyncio.create_task(self.feed.watch())
        self._metrics.start()
        if settings.metrics.enabled and settings.metrics.port:
            await self._open_metrics(settings.metrics.port + max(0, self._worker - 1))
        is_shared = bool(self._worker)
        return await _listen(self._runner, http.host, http.port, "http.port", is_shared=is_shared)

    def _attach(self, app: web.Application) -> Rest:
        """Hang all doors into an application; return the one that may stand before it."""
        settings = self._settings
        bearer = Bearer(self.dispatcher, self._tokens, self._keyring, self._met)
        uploads = self._uploads = Uploads(self.dispatcher, bearer, self.intake)
        uploads.attach(app, BASE)
        Downloads(self.dispatcher, bearer, self._store).attach(app, BASE)
        rest = Rest(settings, self.dispatcher, bearer, uploads)
        rest.attach(app, self._registry)
        self._readiness.need("database", _database_answers)
        if isinstance(self.bus, RedisBus):
            self._readiness.tell("bus", self._bus_answers)
        pages.attach(app, self._registry, self._readiness, settings)
        self.sockets.attach(app)
        self._plain.attach(app)
        self._metrics.add_parts(self._parts(uploads))
        # Of several workers at one port, nobody could choose whose numbers to read.
        if not settings.metrics.port and not self._worker:
            self._metrics.attach(app)
        return rest

    async def _bus_answers(self) -> None:
        """Raise while other nodes are out of reach, which makes hearing them slow, not wrong."""
        if not self.bus.is_up:
            message = "other nodes are out of reach"
            raise ConnectionError(message)

    def _parts(self, uploads: Uploads) -> Parts:
        return Parts(
            self._registry,
            self.dispatcher,
            self._journal,
            self._hub,
            self.feed,
            self.bus,
            self._entrance,
            self.sockets,
            self._plain,
            uploads,
        )

    async def _open_metrics(self, port: int) -> None:
        """Serve the metrics, and nothing else, at a port of their own."""
        app = web.Application(middlewares=[Manners(self._settings).middleware])
        self._metrics.attach(app)
        self._metrics_runner = web.AppRunner(app, access_log=None, shutdown_timeout=_LEAST_S)
        await self._metrics_runner.setup()
        host = self._settings.http.host
        await _listen(self._metrics_runner, host, port, "metrics.port", is_shared=False)

    async def drain(self) -> None:
        """Let nobody in any more, let everybody go in their time, finish what was accepted."""
        settings, loop = self._settings.drain, asyncio.get_running_loop()
        spread_s = max(settings.notice_s, settings.spread_s + drain.GRACE_S)
        finished_by = loop.time() + spread_s + settings.finish_s
        self._readiness.is_draining = self._entrance.is_stopping = True
        everybody = (*self.sockets.everybody, *self._plain.everybody)
        await asyncio.gather(asyncio.sleep(settings.notice_s), drain.let_go(everybody, settings))
        await self._stop_listening()
        if self._uploads is not None:
            await self._uploads.settle(max(_LEAST_S, finished_by - loop.time()))
        if self._runner is not None and self._runner.server is not None:
            # It reads nothing more from here on, and finishes what it writes.
            self._runner.server.pre_shutdown()
            await self._runner.server.shutdown(max(_LEAST_S, finished_by - loop.time()))

    async def _stop_listening(self) -> None:
        if self._runner is not None:
            for site in list(self._runner.sites):
                await site.stop()
        if self._doorstep is not None:
            self._doorstep.close()

    async def close(self) -> None:
        """Let nobody in any more, send everybody away, finish what was accepted, and stop."""
        await self._stop_listening()
        self._readiness.is_draining = self._entrance.is_stopping = True
        await asyncio.gather(self.sockets.close(), self._plain.close())
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
        await self.bus.close()
        await self._recency.close()
        await self._keyring.close()
        await self._journal.close()
        await self._sweeper.close()
        await self.images.close()
        await self._tokens.close()
        self._metrics.close()
        if self._metrics_runner is not None:
            await self._metrics_runner.cleanup()

    async def _settle(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.dispatcher.settle(), _SETTLE_S)


def _hear_others(settings: Settings, bus: RedisBus, hub: Hub, teller: Teller) -> None:
    """Let this node take notice of what is done and said elsewhere."""
    bus.listen(teller.typists.notice)
    if settings.redis.emitter_channel:
        Emitter(settings.limits, bus, hub)


def _board(settings: Settings, bus: Bus) -> Board:
    return SharedBoard(settings, bus) if isinstance(bus, RedisBus) else MemoryBoard()


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


async def _listen(runner: web.AppRunner, host: str, port: int, key: str, *, is_shared: bool) -> int:
    site = web.TCPSite(runner, host, port, reuse_address=True, reuse_port=is_shared)
    try:
        await site.start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            hint = f", for example make run PORT={port + 1}" if key == "http.port" else ""
            message = f"{key}: {port} is in use by another program; choose another one{hint}"
        else:
            message = f"http.host: cannot listen on {host}:{port} ({error.strerror})"
        raise SettingsError(message) from error
    return int(runner.addresses[0][1])
