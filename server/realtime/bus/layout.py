"""Which server of Redis serves which channel: one, the one Sentinels name, or one of a cluster."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from server.config import RedisSettings
from server.realtime.bus.wire import FAILURES, Server, Wire
from server.redis_url import Kind


class NoServerError(Exception):
    """Nobody who could tell where the servers are did so."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The servers, and in a cluster whose each slot is."""

    servers: tuple[Server, ...]
    slots: tuple[Server | None, ...] = ()

    @property
    def first(self) -> Server | None:
        """Return one of the servers, the same for all who know them all."""
        return self.servers[0] if self.servers else None

    def server_of(self, channel: bytes) -> Server | None:
        """Return who serves a channel; None when at the moment nobody does."""
        return self.slots[key_slot(channel)] if self.slots else self.first


class Finder:
    """Finds out where the servers are."""

    def __init__(self, settings: RedisSettings) -> None:
        """Look where the settings say."""
        self._url = settings.address()
        self._sentinel_password = settings.sentinel_password or None
        # Of a cluster: whoever was named last can be asked too.
        self._known: tuple[Server, ...] = ()

    @property
    def is_sharded(self) -> bool:
        """Return whether channels belong to slots."""
        return self._url.kind is Kind.CLUSTER

    @property
    def moves(self) -> bool:
        """Return whether servers come and go without a word to those connected."""
        return self._url.kind is not Kind.SINGLE

    def wire(self, server: Server) -> Wire:
        """Return a connection to be opened."""
        return Wire(self._url, server, password=self._url.password)

    async def find(self) -> Layout:
        """Return where the servers are; raises `NoServerError`."""
        if self._url.kind is Kind.SINGLE:
            return Layout(self._url.hosts)
        find = self._by_sentinel if self._url.kind is Kind.SENTINEL else self._by_member
        why: Exception | None = None
        for host in dict.fromkeys((*self._known, *self._url.hosts)):
            try:
                return await find(host)
            except (*FAILURES, NoServerError) as error:
                why = error
        raise NoServerError(str(why)) from why

    async def _by_sentinel(self, sentinel: Server) -> Layout:
        wire = Wire(self._url.of_sentinel(), sentinel, password=self._sentinel_password)
        async with _opened(wire):
            named = await wire.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._url.service)
        if not named:
            raise NoServerError(f"no master is called {self._url.service}")
        server = (named[0].decode(), int(named[1]))
        # A Sentinel that was cut off may name the one of yesterday.
        wire = self.wire(server)
        async with _opened(wire):
            role = (await wire.ask("ROLE"))[0]
        if role != b"master":
            raise NoServerError(f"{server[0]}:{server[1]} is no master any more")
        return Layout((server,))

    async def _by_member(self, member: Server) -> Layout:
        wire = self.wire(member)
        async with _opened(wire):
            ranges = await wire.ask("CLUSTER", "SLOTS")
        slots: list[Server | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, server in _ranges(ranges, member):
            slots[first : last + 1] = [server] * (last + 1 - first)
        self._known = tuple(sorted({server for server in slots if server is not None}))
        if not self._known:
            raise NoServerError("the cluster serves no slot")
        return Layout(self._known, tuple(slots))


def _ranges(answer: Any, asked: Server) -> Iterable[tuple[int, int, Server]]:
    """Read the answer to CLUSTER SLOTS; a member without an address of its own is who was asked."""
    for first, last, master, *_ in answer:
        host = (master[0] or b"").decode()
        yield first, last, (asked[0] if host in ("", "?") else host, int(master[1]))


@asynccontextmanager
async def _opened(wire: Wire) -> AsyncIterator[None]:
    try:
        await wire.open()
        yield
    finally:
        await wire.close()
