"""People who are connected to different nodes of one installation live as if there were one."""

import asyncio
from typing import Any

import pytest

from server.schemas.values import UserRole
from tests.doors import PlainDevice, fields
from tests.eventually import becomes
from tests.people import Device, Person, Refused, Town

pytestmark = pytest.mark.many_nodes


async def hears_until(device: Device, name: str) -> list[str]:
    """Wait for an event of this name, and return the names of all that were heard with it."""
    await device._until(lambda: any(heard == name for heard, _ in device.frames))
    names = [heard for heard, _ in device.frames]
    device.frames.clear()
    return names


async def test_what_is_said_on_one_node_is_heard_on_the_other_and_by_nobody_else(
    ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers, his, outside = await ada.connects(), await bob.connects(), await eve.connects()

    first = await hers.says(talk, "Is anybody there?")
    heard = await his.hears("message:created")
    assert heard["message"]["id"] == first["id"]
    assert heard == await hers.hears("message:created")
    await his.says(talk, "Yes, in the south")
    data = await hers.hears("message:created")
    assert data["message"]["content"] == "Yes, in the south"
    assert data["prev_event_seq"] == first["event_seq"]
    await his.hears("message:created")
    await outside.hears_nothing()


async def test_both_nodes_hear_one_order_of_what_is_said_on_both(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob)
    hers, his = await ada.connects(), await bob.connects()

    async def chatter(device: Device) -> None:
        for number in range(40):
            await device.says(talk, f"{device.person.id} {number}")

    await asyncio.gather(chatter(hers), chatter(his))

    orders = []
    for device in (hers, his):
        await device._until(lambda device=device: len(device.frames) >= 80)
        frames = [data for name, data in device.frames if name == "message:created"]
        device.frames.clear()
        numbers = [data["event_seq"] for data in frames]
        assert numbers == list(range(numbers[0], numbers[0] + 80))
        orders.append([data["message"]["id"] for data in frames])
    assert orders[0] == orders[1]


async def test_changes_receipts_and_names_reach_the_other_node(
    ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("group", bob)
    hers, his, outside = await ada.connects(), await bob.connects(), await eve.connects()
    said = await hers.says(talk, "Tuseday")
    await hers.hears("message:created")
    await his.hears("message:created")

    await hers.asks("message:edit", message_id=said["id"], content="Tuesday")
    assert (await his.hears("message:updated"))["message"]["content"] == "Tuesday"
    await hers.heard()
    await his.asks("receipt:read", conversation_id=talk["id"], up_to_seq=said["seq"])
    assert (await hers.hears("receipt:read"))["user_id"] == "bob"
    await his.heard()
    bob.name = "Robert"
    bob.token = bob.fresh_token()
    await bob.get("me/")
    assert (await hers.hears("user:updated"))["user"]["name"] == "Robert"
    await his.heard()
    await hers.asks("message:delete", message_id=said["id"])
    assert (await his.hears("message:deleted"))["message"]["is_deleted"]
    await hers.heard()
    await outside.hears_nothing()


async def test_typing_is_seen_on_the_other_node_and_ends_there(
    ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers, his, outside = await ada.connects(), await bob.connects(), await eve.connects()

    await hers.asks("typing:start", conversation_id=talk["id"])
    assert (await his.hears("typing:started"))["user_id"] == "ada"
    await hers.asks("typing:stop", conversation_id=talk["id"])
    await his.hears("typing:stopped")
    await hers.asks("typing:start", conversation_id=talk["id"])
    await his.hears("typing:started")
    await hers.close()
    await his.hears("typing:stopped")
    await outside.hears_nothing()


@pytest.mark.settings(limits={"typing_interval_ms": 50, "typing_expiry_ms": 200})
async def test_typing_ends_by_itself_where_it_began_and_everywhere(
    ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers, his = await ada.connects(), await bob.connects()
    await hers.asks("typing:start", conversation_id=talk["id"])
    await his.hears("typing:started")
    await his.hears("typing:stopped")
    assert await hears_until(hers, "typing:stopped") == ["typing:started", "typing:stopped"]


async def test_who_sends_by_another_node_than_they_type_on_types_no_longer(
    ada: Person, bob: Person, south: Town
) -> None:
    talk = await ada.creates("direct", bob)
    hers, his = await ada.connects(), await bob.connects()
    await hers.asks("typing:start", conversation_id=talk["id"])
    await his.hears("typing:started")

    await Person(south, "ada", role=UserRole.AGENT).says(talk, "By the other node")

    assert sorted(await hears_until(his, "typing:stopped")) == ["message:created", "typing:stopped"]
    await hears_until(hers, "typing:stopped")
    await hers.heard()


async def test_a_person_added_on_one_node_is_in_the_room_on_every_node_they_are_connected_to(
    north: Town, south: Town, ada: Person, bob: Person, eve: Person
) -> None:
    cleo = await south.known("cleo")
    talk = await ada.creates("group", bob)
    hers, his, outside = await ada.connects(), await bob.connects(), await eve.connects()
    there, here = await cleo.connects(), await Person(north, "cleo").connects()

    await ada.post(f"conversations/{talk['id']}/participants/", {"user_ids": ["cleo"]})
    said = await hers.says(talk, "Welcome, Cleo")

    for device in (there, here):
        names = await hears_until(device, "message:created")
        assert names[:2] == ["conversation:added", "participant:added"]
        await device._until(
            lambda device=device: device.reference.cursors()[talk["id"]] >= said["event_seq"]
        )
    await his.settles()
    for device in (hers, his, there, here):
        await device.heard()
    await there.says(talk, "Thank you")
    for device in (hers, his, here, there):
        assert (await device.hears("message:created"))["message"]["content"] == "Thank you"
    await outside.hears_nothing()


async def test_a_person_removed_on_one_node_hears_nothing_after_it_on_any(
    north: Town, south: Town, ada: Person, bob: Person
) -> None:
    cleo = await south.known("cleo")
    talk = await ada.creates("group", bob, cleo)
    hers, his = await ada.connects(), await bob.connects()
    there, here = await cleo.connects(), await Person(north, "cleo").connects()
    plain = PlainDevice(cleo, talk["id"])
    await plain.open(fields(cleo))

    for number in range(5):
        await hers.says(talk, str(number))
    await ada.delete(f"conversations/{talk['id']}/participants/cleo/")
    for number in range(5, 10):
        await hers.says(talk, str(number))

    assert await plain.ended() == 4404
    for device in (hers, his):
        await device._until(lambda device=device: len(device.frames) >= 12)
        await device.heard()
    for device in (there, here):
        names = await hears_until(device, "conversation:removed")
        contents = names.count("message:created")
        assert contents == 5
        await device.hears_nothing()
    with pytest.raises(Refused):
        await there.says(talk, "Hello?")


async def test_what_one_does_for_oneself_reaches_ones_devices_on_both_nodes(
    north: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    there, here = await bob.connects(), await Person(north, "bob").connects()
    hers = await ada.connects()

    await there.asks("conversation:update_my", conversation_id=talk["id"], is_pinned=True)

    for device in (there, here):
        data = await device.hears("my:updated")
        assert data["my"]["is_pinned"]
        await device.hears("my:unread")
    await hers.hears_nothing()


async def test_a_node_hears_only_what_somebody_on_it_needs(
    north: Town, south: Town, ada: Person, bob: Person
) -> None:
    cleo = await north.known("cleo")
    near, far = await ada.creates("direct", cleo), await ada.creates("direct", bob)
    bus: Any = south.node.bus
    before = bus.counts["received"]
    hers = await ada.connects()

    for number in range(20):
        await hers.says(near, str(number))
    await hers.heard()
    his = await bob.connects()
    await hers.says(far, "And now to you")
    await his.hears("message:created")
    await hers.heard()
    assert bus.counts["received"] - before == 1
    assert set(bus._servers._wanted) >= {
        f"{bus._prefix}:c:{far['id']}".encode(),
        f"{bus._prefix}:u:bob".encode(),
    }

    await his.close()
    await becomes(lambda: len(bus._servers._wanted) == 1)
    assert [*bus._servers._wanted] == [bus._library]
