"""Valkey is killed, stops, goes silent, ends its connections; a cluster moves its slots."""

import asyncio
import time

from checker.nodes import Bus
from checker.weather import Kind, Track, Weather
from tests.services import LOOPBACK, Valkey
from tests.valkeys import ask


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


async def _slot_moves(weather: Weather, kind: str) -> None:
    """Give the slot of a channel that is listened to to another member of the cluster."""
    cluster = weather.stage.cluster
    assert cluster is not None  # noqa: S101 (it happens only with one)
    channels = [
        channel.decode()
        for member in cluster.members
        for channel in await ask(member, "PUBSUB", "SHARDCHANNELS")
    ]
    if channels:
        fault = weather.begin(kind, "valkey")
        await cluster.move(weather.chance.choice(sorted(channels)))
        fault.ended_at = time.time()


KINDS = {
    "bus restarted, empty": Kind(Track.BUS, 2.5, _bus_restarts, (Bus.SINGLE,)),
    "bus stopped": Kind(Track.BUS, 3.5, _bus_stops, (Bus.SINGLE,)),
    "bus connection frozen without a reset": Kind(Track.BUS, 4.5, _bus_goes_deaf, (Bus.SINGLE,)),
    "bus connections killed and replaced": Kind(
        Track.BUS, 0.2, _bus_connections_end, (Bus.SINGLE,)
    ),
    "node cut off from the bus": Kind(Track.BUS, 3.5, _loses_bus, (Bus.SINGLE,)),
    "cluster slot moved": Kind(Track.BUS, 0.5, _slot_moves, (Bus.CLUSTER,)),
}
