"""Whatever happens to Valkey or on the way to it, people on another node have everything soon."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from server.config import Settings
from server.realtime import heads
from server.realtime.bus import redis as redis_bus
from server.realtime.bus import shard, speaking, wire
from tests import nodes
from tests.eventually import becomes
from tests.lossy import Lossy
from tests.nodes import bus
from tests.people import Device, Person, Town
from tests.services import Valkey

pytestmark = pytest.mark.many_nodes


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits as long for what is noticed by itself; asked for before the nodes start."""
    monkeypatch.setattr(heads, "HEADS_EVERY_S", 0.4)
    monkeypatch.setattr(redis_bus, "OPEN_S", 0.3)
    monkeypatch.setattr(shard, "PULSE_S", 0.3)
    monkeypatch.setattr(shard, "_AGAIN_MOST_S", 0.3)


@pytest.fixture
def south_settings(installation: Settings, way: Lossy) -> Settings:
    """Something stands between the south and Valkey."""
    return nodes.connected(installation, way.url)


class Scene:
    """Ada in the north and Bob in the south, who talk; Eve, who is there and hears nothing."""

    hers: Device
    his: Device
    outside: Device
    talk: dict[str, Any]

    def __init__(self) -> None:
        self._said: list[str] = []

    async def says(self, count: int = 5) -> None:
        """Let Ada say something, and be answered at once."""
        # Whoever waited for Valkey would wait longer, and each time.
        async with asyncio.timeout(wire.ANSWER_S * max(count, 2) / 2):
            for _ in range(count):
                text = str(len(self._said))
                await self.hers.says(self.talk, text)
                self._said.append(text)

    async def all_heard(self) -> None:
        """Hold what both heard against what was said: all of it, once, in order."""
        for device in (self.his, self.hers):
            await device._until(lambda device=device: len(device.frames) >= len(self._said))
            frames = [data for _, data in await device.heard()]
            assert [data["message"]["content"] for data in frames] == self._said
            numbers = [data["event_seq"] for data in frames]
            assert numbers == sorted(set(numbers))
            assert all(
                data["prev_event_seq"] == before
                for before, data in zip(numbers, frames[1:], strict=False)
            )
        self._said.clear()
        await self.outside.hears_nothing()


@pytest.fixture
async def scene(ada: Person, bob: Person, eve: Person) -> AsyncIterator[Scene]:
    scene = Scene()
    scene.talk = await ada.creates("direct", bob)
    scene.hers, scene.his = await ada.connects(), await bob.connects()
    scene.outside = await eve.connects()
    yield scene
    await scene.all_heard()


async def test_what_is_said_while_valkey_is_gone_is_heard_and_again_at_once_when_it_is_back(
    scene: Scene, north: Town, south: Town, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.says()
    await scene.all_heard()

    valkey.kill()
    await scene.says()
    await scene.all_heard()
    assert not bus(north).is_up

    # Heads are compared no more: what is heard from now on comes over the bus.
    monkeypatch.setattr(heads, "HEADS_EVERY_S", 3_600)
    await asyncio.to_thread(valkey.start)
    await becomes(lambda: bus(north).is_up and bus(south).is_up)
    await scene.says()
    await scene.all_heard()


async def test_a_frozen_valkey_delays_no_answer_and_nothing_for_longer_than_a_moment(
    scene: Scene, north: Town, south: Town, valkey: Valkey
) -> None:
    valkey.freeze()
    await scene.says()
    await scene.all_heard()
    await becomes(lambda: not bus(north).is_up and not bus(south).is_up)
    cleo = await south.known("cleo")
    async with asyncio.timeout(2):
        await (await cleo.connects()).close()
    await scene.says()
    await scene.all_heard()

    valkey.thaw()
    await becomes(lambda: bus(north).is_up and bus(south).is_up)
    await scene.says()
    await scene.all_heard()


async def test_who_connects_while_valkey_hangs_waits_no_longer_than_a_moment(
    scene: Scene, south: Town, valkey: Valkey
) -> None:
    cleo = await south.known("cleo")
    valkey.freeze()
    async with asyncio.timeout(4 * redis_bus.CERTAIN_S + 1):
        hers = await cleo.connects()
    await hers.close()
    valkey.thaw()


async def test_a_node_that_cannot_reach_valkey_starts_and_joins_when_it_can(
    installation: Settings, valkey: Valkey
) -> None:
    valkey.kill()
    async with nodes.town(installation) as north, nodes.town(installation) as south:
        ada, bob = await north.known("ada"), await south.known("bob")
        talk = await ada.creates("direct", bob)
        hers, his = await ada.connects(), await bob.connects()
        await hers.says(talk, "Alone")
        await his.hears("message:created")

        await asyncio.to_thread(valkey.start)
        await becomes(lambda: bus(north).is_up and bus(south).is_up)
        await hers.asks("typing:start", conversation_id=talk["id"])
        await his.hears("typing:started")


async def test_a_connection_that_is_killed_is_opened_again_and_what_was_missed_is_found(
    no_heads: None, scene: Scene, north: Town, south: Town, valkey: Valkey
) -> None:
    for kind in ("pubsub", "normal"):
        await _kill_connections(valkey, kind)
        # One alone: nothing that follows shows that it is missing.
        await scene.says(1)
        await scene.all_heard()
        await becomes(lambda: bus(north).is_up and bus(south).is_up)


async def _kill_connections(valkey: Valkey, kind: str) -> None:
    async with redis.asyncio.Redis.from_url(valkey.url) as client:
        await client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


async def test_a_connection_that_is_silently_replaced_is_noticed(
    no_heads: None, scene: Scene, south: Town, way: Lossy
) -> None:
    await way.replace()
    await scene.says()
    # Nothing told the node; only its own pulse is missing.
    await scene.all_heard()
    await becomes(lambda: bus(south).is_up)
    await scene.says()
    await scene.all_heard()


async def test_a_connection_that_freezes_without_a_word_is_noticed(
    scene: Scene, south: Town, way: Lossy
) -> None:
    way.freeze()
    await scene.says()
    await scene.all_heard()
    await becomes(lambda: not bus(south).is_up)

    way.thaw()
    await becomes(lambda: bus(south).is_up)
    await scene.says()
    await scene.all_heard()


async def test_messages_that_get_lost_on_the_way_are_found_by_their_successors_and_by_heads(
    scene: Scene, way: Lossy
) -> None:
    fates = iter(["lost", "arrives", "lost", "lost", "arrives", "lost"])
    lost = list[bytes]()

    def loses(channel: bytes, data: bytes) -> bool:
        if b":c:" not in channel or next(fates, "arrives") == "arrives":
            return False
        lost.append(data)
        return True

    way.loses = loses
    await scene.says(6)
    await scene.all_heard()
    assert len(lost) == 4


async def test_memberships_whose_announcements_are_lost_are_found(
    ada: Person, bob: Person, cleo: Person, way: Lossy
) -> None:
    his, hers = await bob.connects(), await cleo.connects()
    way.loses = lambda *_: True

    talk = await ada.creates("group", bob, cleo)
    await ada.says(talk, "Welcome")
    for device in (his, hers):
        await _hears_last(device, "Welcome")
        assert (await device.heard_names())[:2] == ["conversation:added", "participant:added"]

    await ada.delete(f"conversations/{talk['id']}/participants/bob/")
    await ada.says(talk, "Without Bob")
    await _hears_last(hers, "Without Bob")
    await hers.heard()
    await his._until(lambda: len(his.frames) >= 2)
    assert sorted(await his.heard_names()) == ["conversation:removed", "participant:removed"]
    await his.hears_nothing()


async def _hears_last(device: Device, content: str) -> None:
    def is_last() -> bool:
        name, data = device.frames[-1] if device.frames else ("", {})
        return name == "message:created" and data["message"]["content"] == content

    await device._until(is_last)


@pytest.mark.settings(redis={"waiting_events": 3, "unpublished": 1_000})
async def test_what_finds_no_room_in_line_is_announced_when_there_is_room_again(
    no_heads: None, scene: Scene, north: Town, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing fails, it only takes long.
    monkeypatch.setattr(speaking, "ANSWER_S", 60)
    monkeypatch.setattr(shard, "UNHEARD", 60)
    valkey.freeze()
    await scene.says(20)
    assert bus(north).counts["unpublished"] > 0
    valkey.thaw()
    await scene.all_heard()
