"""Whoever reaches Valkey without the key can say nothing to anybody, and nothing is heard twice."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from server import events
from server.clock import now_ms
from server.config import Settings
from server.events import Room
from server.realtime.bus import gate
from server.realtime.bus.envelope import Seal
from tests import nodes
from tests.eventually import becomes
from tests.lossy import Lossy
from tests.nodes import bus
from tests.people import Device, Person, Town
from tests.services import Valkey

pytestmark = pytest.mark.many_nodes


@pytest.fixture
def south_settings(installation: Settings, way: Lossy) -> Settings:
    """All that comes to the south can be read on its way."""
    return nodes.connected(installation, way.url)


@pytest.fixture
async def stranger(valkey: Valkey) -> AsyncIterator[redis.asyncio.Redis]:
    """Somebody who can publish."""
    async with redis.asyncio.Redis.from_url(valkey.url) as client:
        yield client


@pytest.fixture
async def pair(ada: Person, bob: Person) -> tuple[Device, Device, dict[str, Any]]:
    talk = await ada.creates("direct", bob)
    return await ada.connects(), await bob.connects(), talk


async def refused(town: Town, reason: str, times: int = 1) -> None:
    await becomes(lambda: bus(town).counts[f"refused_{reason}"] == times)


def typing(talk: dict[str, Any]) -> events.Event:
    return events.typing_started(talk["id"], "ada", "text", 6_000)


async def test_what_is_signed_with_another_key_or_not_at_all_is_heard_by_nobody(
    pair: tuple[Device, Device, dict[str, Any]],
    north: Town,
    south: Town,
    stranger: redis.asyncio.Redis,
    logged: list[dict[str, Any]],
) -> None:
    _, his, talk = pair
    channel = bus(south)._channel(Room.CONVERSATION, talk["id"])

    forged = Seal("a secret that was guessed").event(channel, south.node.feed.epoch, typing(talk))
    for number in range(3):
        await stranger.publish(channel, forged)
        await refused(south, "signature", number + 1)
    for nonsense in (b"", b"x", b"2" + forged[1:], b'{"method": "emit"}'):
        await stranger.publish(channel, nonsense)
    await refused(south, "version", 4)
    await stranger.publish(channel, b"1" + b"x" * 40)
    await refused(south, "signature", 4)
    await refused(north, "signature", 4)

    await his.hears_nothing()
    said = [line["why"] for line in logged if line["event"] == "something on the bus was refused"]
    # Each node says it once.
    assert sorted(said) == ["signature", "signature", "version", "version"]


async def test_what_was_said_to_others_or_before_is_not_said_again(
    pair: tuple[Device, Device, dict[str, Any]],
    south: Town,
    way: Lossy,
    stranger: redis.asyncio.Redis,
) -> None:
    hers, his, talk = pair
    await hers.asks("typing:start", conversation_id=talk["id"])
    await his.hears("typing:started")
    (envelope,) = [data for channel, data in way.seen if talk["id"].encode() in channel]

    await stranger.publish(bus(south)._channel(Room.CONVERSATION, talk["id"]), envelope)
    await refused(south, "repeated")
    await stranger.publish(bus(south)._channel(Room.USER, "bob"), envelope)
    await refused(south, "channel")
    await his.hears_nothing()
    await hers.heard()


async def test_what_belongs_to_another_time_of_the_database_or_is_old_is_refused(
    pair: tuple[Device, Device, dict[str, Any]],
    south: Town,
    stranger: redis.asyncio.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hers, his, talk = pair
    channel = bus(south)._channel(Room.CONVERSATION, talk["id"])
    # As a node signs that was left behind with an older copy.
    seal = Seal("")
    own = bus(south)._seal
    assert own is not None
    seal._key = own._key
    await stranger.publish(channel, seal.event(channel, "yesterday", typing(talk)))
    await refused(south, "epoch")
    await stranger.publish(channel, seal.event(channel, south.node.feed.epoch, typing(talk)))
    await his.hears("typing:started")
    await hers.hears("typing:started")

    monkeypatch.setattr(gate, "now_ms", lambda: now_ms() + gate.LATE_MS + 1)
    await hers.asks("typing:start", conversation_id=talk["id"])
    await refused(south, "late")
    await his.hears_nothing()
    await hers.heard()


async def test_two_installations_in_one_valkey_hear_nothing_of_each_other(
    pair: tuple[Device, Device, dict[str, Any]], installation: Settings, south: Town
) -> None:
    hers, his, talk = pair
    other = nodes.connected(installation, installation.redis.url, prefix="other")
    async with nodes.town(other) as elsewhere:
        twin = await elsewhere.person("bob").connects()
        await hers.asks("typing:start", conversation_id=talk["id"])
        await his.hears("typing:started")
        await twin.hears_nothing()
    await hers.heard()
