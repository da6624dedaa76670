"""Two nodes that hear nothing of each other: what one stores, the other finds by comparing heads.

So is an installation whose Redis is down: everything works, two seconds later.
"""

import asyncio
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from server.config import Settings
from server.realtime import feed, heads, mender
from tests.eventually import becomes
from tests.people import Device, Frame, Person, Town
from tests.process import finished

pytestmark = pytest.mark.many_nodes


@pytest.fixture
def installation(settings: Settings) -> Settings:
    """The settings of each node: it knows of no Redis."""
    return settings


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare heads often."""
    monkeypatch.setattr(heads, "HEADS_EVERY_S", 0.05)


async def hear(device: Device, number: int) -> list[Frame]:
    """Wait until a device has heard so many frames, and return them."""
    await becomes(lambda: len(device.frames) >= number)
    return await device.heard()


async def heard_of(device: Device, message: dict[str, Any]) -> None:
    """Wait until a device has heard a message."""

    def is_it(data: dict[str, Any]) -> bool:
        return bool(data.get("message", {}).get("id") == message["id"])

    await becomes(lambda: any(is_it(data) for _, data in device.frames))


async def reaches(device: Device, user_seq: int) -> None:
    """Wait until a device has heard of everything personal up to a number."""
    await becomes(lambda: device.reference.user_cursor == user_seq)


async def hears_only(device: Device, talk: dict[str, Any]) -> None:
    """Wait until a node has told everything, and only one conversation is heard there."""
    lines = device.person.town.node.feed._conversations
    head = talk["head"]
    await becomes(lambda: {id_: at.position for id_, at in lines.items()} == {talk["id"]: head})


async def twin(person: Person, town: Town) -> Device:
    """Connect somebody to another node, too."""
    return await (await town.known(person.id)).connects()


def numbers(frames: list[Frame], kind: str = "event") -> list[tuple[int, int]]:
    before, at = f"prev_{kind}_seq", f"{kind}_seq"
    return [(data[before], data[at]) for _, data in frames if before in data]


async def test_a_message_is_heard_within_two_seconds_and_by_nobody_else(
    comparisons: Counter[heads.Heads], ada: Person, bob: Person, eve: Person
) -> None:
    assert heads.HEADS_EVERY_S + heads._DOUBTED_AGAIN_S + feed.PATIENCE_S < 2
    talk = await ada.creates("direct", bob)
    hers, his, outside = await ada.connects(), await bob.connects(), await eve.connects()

    comparisons.clear()
    said = await hers.says(talk, "Is anybody there?")
    heard = await his.hears("message:created")
    # By the next of each node; one may have been under way.
    assert max(comparisons.values()) <= 2

    assert heard["message"]["id"] == said["id"]
    assert heard["prev_event_seq"] == talk["head"]
    assert await hers.heard_names() == ["message:created"]
    await outside.hears_nothing()


@pytest.mark.usefixtures("quick")
async def test_both_nodes_say_everything_in_one_order(
    north: Town, ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    devices = [await ada.connects(), await bob.connects(), await cleo.connects()]
    devices.append(await twin(bob, north))

    async def talks(device: Device, name: str) -> None:
        for number in range(20):
            await device.says(talk, f"{name} {number}")

    await asyncio.gather(*(talks(device, str(n)) for n, device in enumerate(devices[:3])))

    first, *others = [await hear(device, 60) for device in devices]
    said = [data["message"]["content"] for _, data in first]
    assert numbers(first) == [(talk["head"] + n, talk["head"] + n + 1) for n in range(60)]
    for other in others:
        assert [data["message"]["content"] for _, data in other] == said
        assert numbers(other) == numbers(first)


@pytest.mark.usefixtures("quick")
async def test_who_is_added_on_one_node_is_in_the_room_on_every_node(
    north: Town, ada: Person, bob: Person, cleo: Person, eve: Person
) -> None:
    talk = await ada.creates("group", cleo)
    hers = await cleo.connects()
    his, his_other = await bob.connects(), await twin(bob, north)
    outside = await eve.connects()

    await ada.post(f"conversations/{talk['id']}/participants/", {"user_ids": ["bob"]})

    for device in (his, his_other):
        names = [name for name, _ in await hear(device, 3)]
        assert sorted(names) == ["conversation:added", "message:created", "participant:added"]
    await hear(hers, 2)
    await his.says(talk, "Here I am")
    for device in (his, his_other, hers):
        assert [name for name, _ in await hear(device, 1)] == ["message:created"]
    await outside.hears_nothing()


@pytest.mark.usefixtures("quick")
async def test_nothing_after_a_removal_reaches_the_removed_person_on_any_node(
    north: Town, ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    hers = await cleo.connects()
    his, his_other = await bob.connects(), await twin(bob, north)
    for number in range(3):
        await ada.says(talk, f"for him {number}")
    reply = await ada.delete(f"conversations/{talk['id']}/participants/bob/")
    removed_at = reply["participants"][0]["event_seq"]
    for number in range(3):
        await ada.says(talk, f"without him {number}")

    # Three messages, two tellings of the removal; whoever stays hears its line in between, too.
    heard = {device: await hear(device, 5) for device in (his, his_other)}
    last = await hear(hers, 8)
    for device, first in heard.items():
        frames = [*first, *await device.heard()]
        assert numbers(frames)[-1][1] == removed_at
        assert sorted(name for name, _ in frames) == [
            "conversation:removed",
            *["message:created"] * 3,
            "participant:removed",
        ]
    assert numbers(last)[-1][1] == removed_at + 4


@pytest.mark.usefixtures("quick")
async def test_removed_on_one_node_and_back_from_the_other(
    north: Town, south: Town, ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    deputy = await twin(ada, south)
    devices = [await bob.connects(), await twin(bob, north)]
    path = f"conversations/{talk['id']}/participants/"

    for _ in range(3):
        await ada.delete(f"{path}bob/")
        await deputy.asks("participant:add", conversation_id=talk["id"], user_ids=["bob"])
    said = await deputy.says(talk, "At last")

    for device in devices:
        await heard_of(device, said)
        await reaches(device, 7)
        chain = numbers(device.frames)
        assert all(after[0] >= before[1] for before, after in pairwise(chain))
        await device.heard()
    await deputy.heard()


@pytest.mark.usefixtures("quick")
async def test_personal_events_come_in_the_order_of_their_numbers_on_every_node(
    north: Town, ada: Person, bob: Person
) -> None:
    talks = [await ada.creates("group", bob) for _ in range(3)]
    there = await south_and_north(bob, north)
    for talk in talks:
        await bob.post(f"conversations/{talk['id']}/archive/")
        await ada.delete(f"conversations/{talk['id']}/participants/bob/")
    last = await ada.creates("group", bob)

    for device in there:
        await reaches(device, 10)
        await hears_only(device, last)
        chain = numbers(await device.heard(), "user")
        assert chain[0][0] == 3
        assert chain[-1][1] == 10
        assert all(after[0] == before[1] for before, after in pairwise(chain))


async def south_and_north(person: Person, other: Town) -> list[Device]:
    return [await person.connects(), await twin(person, other)]


@pytest.mark.usefixtures("no_heads")
async def test_more_than_can_be_replayed_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, south: Town, ada: Person, bob: Person, eve: Person
) -> None:
    monkeypatch.setattr(mender, "MOST_REPAIRED", 3)
    talk = await ada.creates("direct", bob)
    his, outside = await bob.connects(), await eve.connects()
    hers = await ada.connects()

    await asyncio.gather(*(hers.says(talk, str(number)) for number in range(20)))
    south.node.feed.doubt()

    resync = await his.hears("session:resync")
    assert resync == {"conversation_ids": [talk["id"]], "within_ms": 2_000}
    await his.catches_up()
    await becomes(lambda: his.reference.talks[talk["id"]].cursor >= talk["head"] + 20)
    await his.heard()
    assert await hers.heard_names() == ["message:created"] * 20
    await outside.hears_nothing()


@pytest.mark.usefixtures("quick")
async def test_an_epoch_that_an_operator_begins_reaches_every_node(
    ada: Person, bob: Person, settings: Settings, tmp_path: Path
) -> None:
    talk = await ada.creates("direct", bob)
    devices = [await ada.connects(), await bob.connects()]

    environment = {"PALABRE_DATABASE__URL": settings.database.url}
    status, _, err = await finished("migrate", "--new-epoch", cwd=tmp_path, environment=environment)
    assert status == 0, err

    (epoch,) = {(await device.hears("session:resync"))["epoch"] for device in devices}
    for device in devices:
        await device.catches_up()
        assert device.reference.epoch == epoch
    await ada.says(talk, "And on")
    for device in devices:
        await device.hears("message:created")
