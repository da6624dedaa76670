"""Delivered marks: reported in batches, for one's own conversations only."""

import asyncio
from typing import Any

import pytest

from tests.people import Device, Frame, Person, Refused


async def reports(device: Device, *items: tuple[dict[str, Any], int]) -> int:
    named = [{"conversation_id": talk["id"], "up_to_seq": seq} for talk, seq in items]
    answer = await device.asks("receipt:delivered", items=named)
    assert list(answer) == ["accepted"]
    accepted: int = answer["accepted"]
    return accepted


def shown(frames: list[Frame]) -> list[tuple[str, str, str, int]]:
    return [
        (name, data["conversation_id"], data["user_id"], data["up_to_seq"]) for name, data in frames
    ]


async def test_several_conversations_are_reported_at_once(
    ada: Person, bob: Person, cleo: Person, eve: Person
) -> None:
    with_bob = await ada.creates("direct", bob)
    all_three = await ada.creates("group", bob, cleo)
    for talk in (with_bob, all_three):
        await ada.says(talk, "Hello")
    her, his = await ada.connects(), await bob.connects()
    theirs, outside = await cleo.connects(), await eve.connects()

    assert await reports(his, (with_bob, 1), (all_three, 2)) == 2

    told = {
        ("receipt:delivered", with_bob["id"], "bob", 1),
        ("receipt:delivered", all_three["id"], "bob", 2),
    }
    for device in (her, his):
        heard = shown(await device.heard())
        assert (len(heard), set(heard)) == (2, told)
    heard = shown(await theirs.heard())
    assert heard == [("receipt:delivered", all_three["id"], "bob", 2)]
    await outside.hears_nothing()


async def test_what_is_not_ones_own_is_not_accepted_and_tells_nothing(
    ada: Person, bob: Person, eve: Person
) -> None:
    talk, foreign = await ada.creates("direct", bob), await ada.creates("direct", eve)
    for one in (talk, foreign):
        await ada.says(one, "Hello")
    her, his, theirs = await ada.connects(), await bob.connects(), await eve.connects()

    assert await reports(his, (foreign, 1), (talk, 1), ({"id": "nowhere"}, 1)) == 1
    assert await reports(his, (foreign, 1)) == await reports(his, ({"id": "nowhere"}, 1)) == 0

    only = [("receipt:delivered", talk["id"], "bob", 1)]
    assert shown(await her.heard()) == shown(await his.heard()) == only
    await theirs.hears_nothing()


async def test_a_delivered_mark_never_goes_back_nor_beyond_the_last_message(
    ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    for word in ("One", "Two"):
        await ada.says(talk, word)
    her, his = await ada.connects(), await bob.connects()

    assert await reports(his, (talk, 99)) == 1
    assert await reports(his, (talk, 1)) == await reports(his, (talk, 2)) == 1

    assert [frame[3] for frame in shown(await her.heard())] == [2]
    my = (await bob.get(f"conversations/{talk['id']}/"))["my"]
    assert (my["delivered_seq"], my["read_seq"], my["unread_count"]) == (2, 0, 2)
    await his.heard()


async def test_one_conversation_named_twice_counts_by_its_highest(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    for word in ("One", "Two"):
        await ada.says(talk, word)
    her, his = await ada.connects(), await bob.connects()

    assert await reports(his, (talk, 2), (talk, 1)) == 1

    assert [frame[3] for frame in shown(await her.heard())] == [2]
    await his.heard()


async def test_a_message_is_delivered_when_every_other_member_has_it(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    said = await ada.says(talk, "Hello")
    his, theirs = await bob.connects(), await cleo.connects()

    for device, status in ((his, "sent"), (theirs, "delivered")):
        await reports(device, (talk, said["seq"]))
        assert (await ada.get(f"messages/{said['id']}/"))["status"] == status
    await his.heard()
    await theirs.heard()


@pytest.mark.parametrize("count", [0, 101])
async def test_a_report_holds_one_to_a_hundred_conversations(
    ada: Person, bob: Person, count: int
) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()

    with pytest.raises(Refused) as no:
        await reports(his, *[(talk, 1)] * count)

    assert (no.value.code, no.value.fields) == ("validation_failed", ["items"])
    await his.hears_nothing()


@pytest.mark.settings(limits={"broadcast_members": 2})
async def test_in_a_large_conversation_only_own_devices_hear(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    said = await ada.says(talk, "Hello")
    her, phone, laptop = await ada.connects(), await bob.connects(), await bob.connects()

    assert await reports(phone, (talk, said["seq"])) == 1

    await her.hears_nothing()
    own = [("receipt:delivered", talk["id"], "bob", said["seq"])]
    assert shown(await phone.heard()) == shown(await laptop.heard()) == own


async def test_devices_that_report_at_once_leave_the_highest_mark(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    for number in range(6):
        await ada.says(talk, str(number))
    devices = [await bob.connects() for _ in range(3)]

    await asyncio.gather(
        *(reports(device, (talk, 2 * place)) for place, device in enumerate(devices, 1)),
        *(
            device.asks("receipt:read", conversation_id=talk["id"], up_to_seq=2 * place - 1)
            for place, device in enumerate(devices, 1)
        ),
    )

    my = (await bob.get(f"conversations/{talk['id']}/"))["my"]
    assert (my["delivered_seq"], my["read_seq"], my["unread_count"]) == (6, 5, 1)
    for device in devices:
        await device.heard()
