"""Clients are cut off, do not read, and have a slow network."""

import asyncio
import time

from checker.weather import Kind, Track, Weather


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


KINDS = {
    "all clients of a node cut": Kind(Track.CLIENTS, 0.5, _everybody_falls_off),
    "slow consumers": Kind(Track.CLIENTS, 3.5, _nothing_is_read),
    "slow network": Kind(Track.CLIENTS, 3.5, _network_is_slow),
}
