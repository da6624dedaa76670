"""Nodes are killed, frozen, cut off, and have their clocks set.

They are killed at named points by what passes on the network, so that the server has no hooks for
it: the bytes of a send on their way to the database, the database's word that it is stored, an
event on its way to the bus, the first delivery on its way to a client.
"""

import asyncio
import signal
import time
from contextlib import suppress

from checker.history import Fault
from checker.nodes import Bus, Node
from checker.people import SAID
from checker.traps import STORED, TRIES, Trap, sprung
from checker.weather import Happening, Kind, Track, Weather
from tests.proxy import Fate, Proxy, Way

_SAID = SAID.encode()
_COMMIT = b"COMMIT"
_TOLD = b"message:created"


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
        way = Way.ANSWERED if place == "door" else Way.ASKED
        # Nothing passes where something else is broken already.
        for _ in range(TRIES):
            node = weather.node()
            link: Proxy = getattr(node, place)
            if await sprung(link, Trap(way, first, then, fate, node.kill)):
                fault = weather.begin(kind, node.name)
                await _comes_back(weather, node, fault)
                return

    return happen


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


KINDS = {
    "node killed": Kind(Track.NODES, 4, _dies),
    "node killed before the insert": Kind(
        Track.NODES, 4, _dies_at("database", _SAID, b"", Fate.IS_LOST)
    ),
    "node killed before the commit": Kind(
        Track.NODES, 4, _dies_at("database", _COMMIT, b"", Fate.IS_LOST)
    ),
    "node killed between commit and publish": Kind(
        Track.NODES, 4, _dies_at("database", _SAID, STORED, Fate.IS_LOST)
    ),
    "node killed between publish and acknowledgement": Kind(
        Track.NODES, 4, _dies_at("door", _TOLD, b"", Fate.IS_LAST)
    ),
    "node killed as it publishes": Kind(
        Track.NODES, 4, _dies_at("bus", _TOLD, b"", Fate.IS_LOST), (Bus.SINGLE,)
    ),
    "node killed when it has published": Kind(
        Track.NODES, 4, _dies_at("bus", _TOLD, b"", Fate.IS_LAST), (Bus.SINGLE,)
    ),
    "node frozen": Kind(Track.TROUBLE, 3, _freezes),
    "clock stepped": Kind(Track.TROUBLE, 2, _clock_steps),
    "node cut off from the database": Kind(Track.TROUBLE, 3, _loses_database),
}
