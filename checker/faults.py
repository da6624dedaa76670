"""Everything that goes wrong: what is broken, for how long, and how it is made whole again.

Nodes are ended at named points by what passes on the network, so that the server has no hooks for
it: the bytes of a send on their way to the database, the database's word that it is stored, the
first delivery on its way to a client.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from checker import truth
from checker.history import Fault, History
from checker.nodes import Node
from checker.people import SAID
from checker.stage import Stage
from checker.truth import Life
from tests.proxy import Fate, Proxy, Watcher, Way
from tests.services import LOOPBACK, Valkey

_STORED = b"Z\x00\x00\x00\x05I"
"""How PostgreSQL says that it is idle again: what was asked is committed."""
_COMMIT = b"COMMIT"
_CREATED = b'"message:created"'
_TRAP_S = 4.0


class Track(Enum):
    """Faults of one track come one after the other; those of different ones may overlap."""

    DATABASE = "database"
    NODES = "nodes"
    BUS = "bus"
    CLIENTS = "clients"


@dataclass(slots=True)
class Weather:
    """What faults need to happen."""

    stage: Stage
    history: History
    chance: Random
    lives: list[Life]
    busy: set[str] = field(default_factory=set)
    """Nodes that are in trouble: one is always left in peace by faults of nodes."""

    def begin(self, kind: str, target: str, *, stops_storing: bool = False) -> Fault:
        """Write down that something breaks now."""
        fault = Fault(kind, target, time.time(), stops_storing=stops_storing)
        self.history.faults.append(fault)
        return fault

    def node(self) -> Node:
        """Choose a node that is not in trouble already."""
        free = [node for node in self.stage.nodes if node.name not in self.busy]
        return self.chance.choice(free or list(self.stage.nodes))


Happening = Callable[[Weather, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault: its track, about how long it takes, and how it happens."""

    track: Track
    takes_s: float
    happens: Happening


# Nodes


async def _dies(weather: Weather, kind: str) -> None:
    node = weather.node()
    fault = weather.begin(kind, node.name)
    node.kill()
    await _comes_back(weather, node, fault)


async def _comes_back(weather: Weather, node: Node, fault: Fault) -> None:
    weather.busy.add(node.name)
    try:
        await asyncio.sleep(0.2)
        with suppress(TimeoutError):
            await node.serves()
    finally:
        weather.busy.discard(node.name)
        fault.ended_at = time.time()


def _dies_at(place: str, first: bytes, then: bytes, fate: Fate) -> Happening:
    """Return the end of a node at the moment when something passes on one of its networks."""

    async def happen(weather: Weather, kind: str) -> None:
        node = weather.node()
        link: Proxy = getattr(node, place)
        way = Way.ANSWERED if place == "door" else Way.ASKED
        sprung = await _sprung(link, _Trap(way, first, then, fate, node.kill))
        if sprung:
            fault = weather.begin(kind, node.name)
            await _comes_back(weather, node, fault)

    return happen


class _Trap:
    """Watches a network until something passes, and then decides what becomes of it, once."""

    def __init__(
        self, way: Way, first: bytes, then: bytes, fate: Fate, springs: Callable[[], object]
    ) -> None:
        """Wait for `first` that way and, if given, for `then` as the answer to it."""
        self._way, self._first, self._then = way, first, then
        self._fate = fate
        self._springs = springs
        self._asked: set[object] = set()
        self.sprung = asyncio.Event()

    def __call__(self, wire: object, way: Way, part: bytes) -> Fate:
        """Look at a part."""
        if self.sprung.is_set():
            return Fate.PASSES
        if way is self._way and self._first in part:
            if not self._then:
                return self._spring()
            self._asked.add(wire)
        elif self._then and wire in self._asked and part.endswith(self._then):
            return self._spring()
        return Fate.PASSES

    def _spring(self) -> Fate:
        self.sprung.set()
        self._springs()
        return self._fate


async def _sprung(link: Proxy, trap: _Trap) -> bool:
    """Set a trap and return whether anything walked into it in time."""
    watcher: Watcher = trap
    link.watcher = watcher
    try:
        await asyncio.wait_for(trap.sprung.wait(), _TRAP_S)
    except TimeoutError:
        return False
    finally:
        link.watcher = None
    return True


async def _freezes(weather: Weather, kind: str) -> None:
    node = weather.node()
    fault = weather.begin(kind, node.name, stops_storing=True)
    weather.busy.add(node.name)
    node.send(signal.SIGSTOP)
    try:
        await asyncio.sleep(weather.chance.uniform(1.5, 4))
    finally:
        node.send(signal.SIGCONT)
        weather.busy.discard(node.name)
        fault.ended_at = time.time()


async def _clock_steps(weather: Weather, kind: str) -> None:
    node = weather.node()
    fault = weather.begin(kind, node.name)
    there = weather.chance.choice([signal.SIGUSR1, signal.SIGUSR2])
    back = signal.SIGUSR2 if there is signal.SIGUSR1 else signal.SIGUSR1
    node.send(there)
    try:
        await asyncio.sleep(weather.chance.uniform(1, 3))
    finally:
        node.send(back)
        fault.ended_at = time.time()


async def _loses_database(weather: Weather, kind: str) -> None:
    """Cut a node off from the database, which everybody else still reaches."""
    node = weather.node()
    fault = weather.begin(kind, node.name, stops_storing=True)
    weather.busy.add(node.name)
    silent = weather.chance.random() < 0.5
    fault.note = "silent" if silent else "reset"
    (node.database.freeze if silent else node.database.cut)()
    try:
        await asyncio.sleep(weather.chance.uniform(1.5, 4))
    finally:
        node.database.reset()
        node.database.restore()
        weather.busy.discard(node.name)
        fault.ended_at = time.time()


# Database


async def _restarts(weather: Weather, kind: str) -> None:
    fault = weather.begin(kind, "postgres", stops_storing=True)
    postgres = weather.stage.postgres
    await asyncio.to_thread(postgres.kill)
    await asyncio.sleep(weather.chance.uniform(0.3, 2))
    await asyncio.to_thread(postgres.start)
    fault.ended_at = time.time()


async def _stalls(weather: Weather, kind: str) -> None:
    fault = weather.begin(kind, "postgres", stops_storing=True)
    for node in weather.stage.nodes:
        node.database.freeze()
    await asyncio.sleep(weather.chance.uniform(1.5, 5))
    for node in weather.stage.nodes:
        node.database.restore()
    fault.ended_at = time.time()


async def _goes_back(weather: Weather, kind: str) -> None:
    """Replace the database by an older copy of itself, as somebody who restores a backup does.

    What is lost is read before it goes: until then it was true.
    """
    stage, postgres = weather.stage, weather.stage.postgres
    fault = weather.begin(kind, "postgres", stops_storing=True)
    for node in stage.nodes:
        node.database.cut()
    await asyncio.to_thread(postgres.stop)
    await asyncio.to_thread(postgres.copy)
    await asyncio.to_thread(postgres.start)
    for node in stage.nodes:
        node.database.restore()
    await asyncio.sleep(weather.chance.uniform(1.5, 3))
    for node in stage.nodes:
        node.database.cut()
    async with stage.connected() as connection:
        await connection.execute(_END_OTHERS)
        await truth.read(connection, weather.lives[-1])
    await asyncio.to_thread(postgres.kill)
    await asyncio.to_thread(postgres.go_back)
    weather.lives[-1].ended_at = time.time()
    weather.lives.append(Life(time.time()))
    await asyncio.to_thread(postgres.start)
    for node in stage.nodes:
        node.database.restore()
    fault.ended_at = time.time()


_END_OTHERS = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


async def _outcome_unknown(weather: Weather, kind: str) -> None:
    """Take away a send on its way to the database, or the word that it is stored."""
    node = weather.node()
    is_stored = weather.chance.random() < 0.5
    then = _STORED if is_stored else b""
    trap = _Trap(Way.ASKED, SAID.encode(), then, Fate.IS_LOST, lambda: None)
    if await _sprung(node.database, trap):
        fault = weather.begin(kind, node.name)
        fault.note = "stored" if is_stored else "not stored"
        fault.ended_at = time.time()


# Bus


def _valkey(weather: Weather) -> Valkey:
    assert weather.stage.valkey is not None  # noqa: S101 (these happen only with a bus)
    return weather.stage.valkey


async def _bus_restarts(weather: Weather, kind: str) -> None:
    fault = weather.begin(kind, "valkey")
    await asyncio.to_thread(_valkey(weather).kill)
    await asyncio.sleep(weather.chance.uniform(0.5, 4))
    await asyncio.to_thread(_valkey(weather).start)
    fault.ended_at = time.time()


async def _bus_stops(weather: Weather, kind: str) -> None:
    fault = weather.begin(kind, "valkey")
    _valkey(weather).freeze()
    await asyncio.sleep(weather.chance.uniform(2, 5))
    _valkey(weather).thaw()
    fault.ended_at = time.time()


async def _bus_goes_deaf(weather: Weather, kind: str) -> None:
    """Let nothing through between a node and the bus, with no reset that would tell of it."""
    node = weather.chance.choice(weather.stage.nodes)
    fault = weather.begin(kind, node.name)
    node.bus.freeze()
    await asyncio.sleep(weather.chance.uniform(3, 6))
    # What was on its way is gone, as with a router that has forgotten the connection.
    node.bus.reset()
    node.bus.restore()
    fault.ended_at = time.time()


async def _bus_connections_end(weather: Weather, kind: str) -> None:
    """End every subscription at the server, which takes the next connection at once."""
    fault = weather.begin(kind, "valkey")
    reader, writer = await asyncio.open_connection(LOOPBACK, _valkey(weather).port)
    writer.write(b"CLIENT KILL TYPE pubsub\r\n")
    await reader.readline()
    writer.close()
    fault.ended_at = time.time()


async def _loses_bus(weather: Weather, kind: str) -> None:
    node = weather.chance.choice(weather.stage.nodes)
    fault = weather.begin(kind, node.name)
    node.bus.cut()
    await asyncio.sleep(weather.chance.uniform(2, 5))
    node.bus.restore()
    fault.ended_at = time.time()


# Clients


async def _everybody_falls_off(weather: Weather, kind: str) -> None:
    node = weather.chance.choice(weather.stage.nodes)
    fault = weather.begin(kind, node.name)
    node.door.reset()
    await asyncio.sleep(0.5)
    fault.ended_at = time.time()


async def _nothing_is_read(weather: Weather, kind: str) -> None:
    """Let the clients of a node be slow: nothing it says arrives, though nobody has gone."""
    node = weather.chance.choice(weather.stage.nodes)
    fault = weather.begin(kind, node.name, stops_storing=True)
    node.door.withhold()
    await asyncio.sleep(weather.chance.uniform(2, 5))
    node.door.restore()
    fault.ended_at = time.time()


async def _network_is_slow(weather: Weather, kind: str) -> None:
    node = weather.chance.choice(weather.stage.nodes)
    fault = weather.begin(kind, node.name)
    node.door.delay_s = weather.chance.uniform(0.05, 0.15)
    await asyncio.sleep(weather.chance.uniform(2, 5))
    node.door.delay_s = 0.0
    fault.ended_at = time.time()


NEEDS_BUS = (
    "bus restarted, empty",
    "bus stopped",
    "bus connection frozen without a reset",
    "bus connections killed and replaced",
    "node cut off from the bus",
    "node killed as it publishes",
    "node killed when it has published",
)

KINDS: dict[str, Kind] = {
    "node killed": Kind(Track.NODES, 3, _dies),
    "node killed before the insert": Kind(
        Track.NODES, 3, _dies_at("database", SAID.encode(), b"", Fate.IS_LOST)
    ),
    "node killed before the commit": Kind(
        Track.NODES, 3, _dies_at("database", _COMMIT, b"", Fate.IS_LOST)
    ),
    "node killed between commit and publish": Kind(
        Track.NODES, 3, _dies_at("database", SAID.encode(), _STORED, Fate.IS_LOST)
    ),
    "node killed between publish and acknowledgement": Kind(
        Track.NODES, 3, _dies_at("door", _CREATED, b"", Fate.IS_LAST)
    ),
    "node frozen": Kind(Track.NODES, 3, _freezes),
    "clock stepped": Kind(Track.NODES, 2, _clock_steps),
    "node cut off from the database": Kind(Track.NODES, 3, _loses_database),
    "database restarted": Kind(Track.DATABASE, 2.5, _restarts),
    "database stalled": Kind(Track.DATABASE, 3.5, _stalls),
    "commit outcome unknown": Kind(Track.DATABASE, 0.5, _outcome_unknown),
    "database rolled back to an older copy": Kind(Track.DATABASE, 6, _goes_back),
    "bus restarted, empty": Kind(Track.BUS, 2.5, _bus_restarts),
    "bus stopped": Kind(Track.BUS, 3.5, _bus_stops),
    "bus connection frozen without a reset": Kind(Track.BUS, 4.5, _bus_goes_deaf),
    "bus connections killed and replaced": Kind(Track.BUS, 0.2, _bus_connections_end),
    "node cut off from the bus": Kind(Track.BUS, 3.5, _loses_bus),
    "node killed as it publishes": Kind(
        Track.NODES, 3, _dies_at("bus", b"message:created", b"", Fate.IS_LOST)
    ),
    "node killed when it has published": Kind(
        Track.NODES, 3, _dies_at("bus", b"message:created", b"", Fate.IS_LAST)
    ),
    "all clients of a node cut": Kind(Track.CLIENTS, 0.5, _everybody_falls_off),
    "slow consumers": Kind(Track.CLIENTS, 3.5, _nothing_is_read),
    "slow network": Kind(Track.CLIENTS, 3.5, _network_is_slow),
}
