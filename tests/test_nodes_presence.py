"""Presence of people who are connected to different nodes, and what becomes of it when one dies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from server.config import Settings
from server.ids import new_id
from server.realtime import followers, presence
from tests import nodes
from tests.eventually import becomes
from tests.people import Device, Person, Town
from tests.services import Valkey
from tests.valkeys import cluster, watched

pytestmark = pytest.mark.many_nodes

SHORT = {"presence_lease_s": 2}


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for what spares people a flicker."""
    monkeypatch.setattr(presence, "PARTED_S", 0.02)
    monkeypatch.setattr(followers, "REST_S", 0.0)


async def looks(device: Device, *user_ids: str) -> dict[str, str]:
    """Subscribe to people, and return how they are."""
    answer = await device.asks("presence:subscribe", user_ids=list(user_ids))
    return {one["user_id"]: one["status"] for one in answer["presence"]}


async def sees(device: Device, status: str) -> dict[str, Any]:
    """Wait for the next change of presence, which must be to this status."""
    await becomes(lambda: any(name == "presence:changed" for name, _ in device.frames))
    told = [data for name, data in device.frames if name == "presence:changed"]
    device.frames.clear()
    assert told[-1]["status"] == status
    return told[-1]


async def two(north: Town, south: Town) -> tuple[Person, Person]:
    """Return two people who share a conversation, one for each node."""
    bob, cleo = await north.known("bob"), await south.known("cleo")
    await bob.creates("direct", cleo)
    return bob, cleo


async def bystander(device: Device, town: Town) -> Device:
    """Let a device follow somebody more, who is connected to a node."""
    other = await town.known("bystander")
    await device.person.creates("direct", other)
    there = await other.connects()
    assert await looks(device, other.id) == {other.id: "active"}
    await device.heard()
    return there


async def hears_nothing_before(device: Device, there: Device) -> None:
    """Let a bystander leave: it is told after all that was to be told, and here it comes first."""
    await there.close()
    await becomes(lambda: any(name == "presence:changed" for name, _ in device.frames))
    (told,) = [data for name, data in await device.heard() if name == "presence:changed"]
    assert (told["user_id"], told["status"]) == (there.person.id, "offline")


async def test_people_see_each_other_from_node_to_node_and_an_outsider_sees_nobody(
    north: Town, south: Town
) -> None:
    bob, cleo = await two(north, south)
    eve = await north.known("eve")
    his, outside = await bob.connects(), await eve.connects()
    assert await looks(his, "cleo") == {"cleo": "offline"}
    assert await looks(outside, "cleo") == {"cleo": "offline"}

    hers = await cleo.connects()
    await sees(his, "active")
    await hers.asks("presence:set", status="away")
    assert (await sees(his, "away"))["last_active_at"] is not None
    late = await bob.connects()
    assert await looks(late, "cleo") == {"cleo": "away"}
    await late.close()
    await hers.asks("presence:set", status="invisible")
    await sees(his, "offline")
    await hers.asks("presence:set", status="active")
    await sees(his, "active")
    await hers.close()

    assert (await sees(his, "offline"))["last_active_at"] is not None
    await outside.hears_nothing()


async def test_a_person_on_two_nodes_is_there_until_both_have_lost_them(
    north: Town, south: Town
) -> None:
    bob, cleo = await two(north, south)
    also = await north.known("cleo")
    his = await bob.connects()
    await looks(his, "cleo")
    far, near = await cleo.connects(), await also.connects()
    await sees(his, "active")
    other = await bystander(his, south)

    await far.asks("presence:set", status="away")
    await hears_nothing_before(his, other)
    await near.close()
    await sees(his, "away")
    await far.close()

    await sees(his, "offline")


async def test_a_removal_ends_what_is_seen_on_the_other_node(north: Town, south: Town) -> None:
    bob, cleo = await north.known("bob"), await south.known("cleo")
    ada = await south.known("ada")
    talk = await ada.creates("group", bob, cleo)
    his, hers = await bob.connects(), await cleo.connects()
    other = await bystander(his, south)
    assert await looks(his, "cleo") == {"cleo": "active"}

    await ada.delete(f"conversations/{talk['id']}/participants/cleo/")
    await sees(his, "offline")
    await hers.heard()
    await hers.asks("presence:set", status="away")

    await hears_nothing_before(his, other)


@pytest.mark.settings(limits=SHORT)
async def test_of_a_node_that_dies_nobody_is_left_after_a_lease(north: Town, south: Town) -> None:
    bob, cleo = await two(north, south)
    his, hers = await bob.connects(), await cleo.connects()
    assert await looks(his, "cleo") == {"cleo": "active"}
    died_at = asyncio.get_running_loop().time()

    dies(south)

    await sees(his, "offline")
    assert asyncio.get_running_loop().time() - died_at < 2 * SHORT["presence_lease_s"]
    await hers.heard()


def dies(town: Town) -> None:
    """Let a node renew nothing and say nothing any more, as after a kill."""
    for task in town.node.presence.board._tasks:
        task.cancel()


@pytest.mark.settings(limits=SHORT)
async def test_people_stay_while_leases_are_renewed(
    north: Town, south: Town, installation: Settings
) -> None:
    bob, cleo = await two(north, south)
    his, hers = await bob.connects(), await cleo.connects()
    assert await looks(his, "cleo") == {"cleo": "active"}

    # A lease that began later ends.
    async with nodes.town(installation) as west:
        other = await bystander(his, west)
        dies(west)
        told = await his.hears("presence:changed")
        assert (told["user_id"], told["status"]) == (other.person.id, "offline")
        other.is_checked = False

    await his.hears_nothing()
    await hers.hears_nothing()
    late = await bob.connects()
    assert await looks(late, "cleo") == {"cleo": "active"}


@pytest.mark.settings(limits=SHORT)
async def test_when_redis_comes_back_empty_nobody_is_gone(
    north: Town, south: Town, valkey: Valkey
) -> None:
    bob, cleo = await two(north, south)
    his, hers = await bob.connects(), await cleo.connects()
    assert await looks(his, "cleo") == {"cleo": "active"}

    board = north.node.presence.board
    valkey.kill()
    valkey.start()
    # It doubts what is missing for a lease; then it reads everything again.
    await becomes(lambda: not board._is_trusted)
    await becomes(lambda: board._is_trusted and board._read_again_at > board._trusted_from)
    await becomes(lambda: not board._unread)

    await his.hears_nothing()
    late = await bob.connects()
    assert await looks(late, "cleo") == {"cleo": "active"}
    await hers.asks("presence:set", status="away")
    assert (await his.hears("presence:changed"))["status"] == "away"
    await hers.heard()
    await late.heard()


@pytest.mark.settings(limits=SHORT)
async def test_without_redis_people_of_the_same_node_see_each_other_and_all_work_goes_on(
    north: Town, south: Town, valkey: Valkey
) -> None:
    bob, cleo = await two(north, south)
    near = await north.known("cleo")
    valkey.kill()

    his, hers, far = await bob.connects(), await near.connects(), await cleo.connects()
    assert await looks(his, "cleo") == {"cleo": "active"}
    await hers.close()
    await sees(his, "offline")

    valkey.start()
    await sees(his, "active")
    await far.heard()


async def test_a_node_that_stops_leaves_people_a_moment_to_come_back(
    north: Town, installation: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = await north.known("bob")
    async with nodes.town(installation) as south:
        cleo = await south.known("cleo")
        await bob.creates("direct", cleo)
        his, hers = await bob.connects(), await cleo.connects()
        other = await bystander(his, north)
        assert await looks(his, "cleo") == {"cleo": "active"}
        hers.is_checked = False
    back = await (await north.known("cleo")).connects()

    await hears_nothing_before(his, other)
    await back.hears_nothing()


async def test_who_types_on_a_node_that_dies_stops_on_the_other(
    north: Town, installation: Settings
) -> None:
    bob = await north.known("bob")
    async with nodes.town(installation) as south:
        cleo = await south.known("cleo")
        talk = await bob.creates("direct", cleo)
        his, hers = await bob.connects(), await cleo.connects()
        hers.is_checked = False
        await hers.asks("typing:start", conversation_id=talk["id"])
        assert (await his.hears("typing:started"))["user_id"] == "cleo"

        await hers.close()

        assert (await his.hears("typing:stopped"))["user_id"] == "cleo"


@pytest.mark.settings(limits=SHORT)
async def test_people_on_every_shard_of_a_cluster_see_each_other_and_go_on_when_one_moves(
    settings: Settings, logged: list[dict[str, Any]]
) -> None:
    async with cluster(2) as valkeys, apart(settings, valkeys.url) as (north, south):
        bob = await south.known("bob")
        people = dict[Valkey, Person]()
        while len(people) < len(valkeys.members):
            person = await north.known(f"person{len(people)}-{new_id()}")
            people[await valkeys.owner(_key(north, person))] = person
        one, other = people.values()
        his = await bob.connects()
        for person in (one, other):
            await bob.creates("direct", person)
        assert await looks(his, one.id, other.id) == {one.id: "offline", other.id: "offline"}
        devices = [await person.connects() for person in (one, other)]
        await sees_all(his, {one.id: "active", other.id: "active"})

        await valkeys.move(_key(north, one))
        await devices[0].asks("presence:set", status="away")

        await sees_all(his, {one.id: "away"})
        cleo = await south.known("cleo")
        await cleo.creates("direct", one)
        assert await looks(await cleo.connects(), one.id) == {one.id: "away"}
        await devices[1].close()
        await sees_all(his, {other.id: "offline"})


@pytest.mark.settings(limits=SHORT)
async def test_people_see_each_other_when_a_replica_has_become_the_master(
    settings: Settings, logged: list[dict[str, Any]]
) -> None:
    async with watched() as valkeys, apart(settings, valkeys.url) as (north, south):
        bob, cleo = await two(north, south)
        his, hers = await bob.connects(), await cleo.connects()
        assert await looks(his, "cleo") == {"cleo": "active"}

        valkeys.master.kill()
        await valkeys.follows()
        await becomes(lambda: nodes.bus(north).is_up and nodes.bus(south).is_up)
        await hers.asks("presence:set", status="away")

        await sees_all(his, {"cleo": "away"})
        await hers.close()
        await sees_all(his, {"cleo": "offline"})


@asynccontextmanager
async def apart(settings: Settings, url: str) -> AsyncIterator[tuple[Town, Town]]:
    """Run two nodes with Valkeys of their own."""
    connected = nodes.connected(settings, url)
    async with nodes.town(connected) as north, nodes.town(connected) as south:
        await becomes(lambda: nodes.bus(north).is_up and nodes.bus(south).is_up)
        yield north, south


async def sees_all(device: Device, statuses: dict[str, str]) -> None:
    """Wait until the last that was told of each of these people is this."""
    told: dict[str, str] = {}

    def is_seen() -> bool:
        for name, data in device.frames:
            if name == "presence:changed":
                told[data["user_id"]] = data["status"]
        device.frames.clear()
        return statuses.items() <= told.items()

    await becomes(is_seen)


def _key(town: Town, person: Person) -> str:
    """Return where it is written down on which nodes a person is."""
    return f"{town.settings.redis.prefix}:presence:{person.id}"
