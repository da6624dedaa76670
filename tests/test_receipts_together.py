"""What many read at the same moment is stored together, and each is answered for themselves."""

import asyncio
from typing import Any

from tests.people import Device, Person, Refused, Town


async def talk_of_four(ada: Person, *others: Person) -> dict[str, Any]:
    talk = await ada.creates("group", *others)
    for word in ("One", "Two", "Three"):
        talk["last_seq"] = (await ada.says(talk, word))["seq"]
    return talk


async def read(device: Device, talk: dict[str, Any], seq: int) -> dict[str, Any]:
    return await device.asks("receipt:read", conversation_id=talk["id"], up_to_seq=seq)


async def delivered(device: Device, talk: dict[str, Any], seq: int) -> int:
    items = [{"conversation_id": talk["id"], "up_to_seq": seq}]
    accepted: int = (await device.asks("receipt:delivered", items=items))["accepted"]
    return accepted


async def marks(person: Person, talk: dict[str, Any]) -> tuple[int, int]:
    my = (await person.get(f"conversations/{talk['id']}/"))["my"]
    return my["read_seq"], my["delivered_seq"]


async def test_what_many_read_at_once_is_stored_and_heard_of_each_of_them(
    town: Town, ada: Person, bob: Person, cleo: Person, eve: Person
) -> None:
    dan = await town.known("dan")
    talk = await talk_of_four(ada, bob, cleo, dan)
    last = talk["last_seq"]
    hers, outside = await ada.connects(), await eve.connects()
    phone, laptop, cleos, dans = [await person.connects() for person in (bob, bob, cleo, dan)]

    answers = await asyncio.gather(
        read(phone, talk, last - 2),
        read(laptop, talk, last),
        delivered(phone, talk, last - 1),
        read(cleos, talk, last - 1),
        delivered(dans, talk, last + 7),
        read(outside, talk, last),
        delivered(outside, talk, last),
        return_exceptions=True,
    )

    unread = {"read_seq": last, "unread_count": 0, "unread_total": 0}
    assert answers[1] == unread
    assert answers[2:5] == [1, {"read_seq": last - 1, "unread_count": 1, "unread_total": 1}, 1]
    assert isinstance(answers[5], Refused)
    assert answers[5].code == "not_found"
    assert answers[6] == 0
    assert await marks(bob, talk) == (last, last)
    assert await marks(cleo, talk) == (last - 1, last - 1)
    assert (await marks(dan, talk))[1] == last
    heard = [(name, data["user_id"], data["up_to_seq"]) for name, data in await hers.heard()]
    assert {
        ("receipt:read", "bob", last),
        ("receipt:read", "cleo", last - 1),
        ("receipt:delivered", "dan", last),
    } <= set(heard)
    assert {who for _, who, _ in heard} == {"bob", "cleo", "dan"}
    for device in (phone, laptop, cleos, dans):
        await device.heard()
    await outside.hears_nothing()


async def test_reading_takes_away_ones_own_mark_while_others_read(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await talk_of_four(ada, bob, cleo)
    last = talk["last_seq"]
    his, hers = await bob.connects(), await cleo.connects()
    await his.asks("conversation:update_my", conversation_id=talk["id"], marked_unread=True)

    await asyncio.gather(read(his, talk, last), read(hers, talk, last))

    for person in (bob, cleo):
        my = (await person.get(f"conversations/{talk['id']}/"))["my"]
        assert (my["read_seq"], my["marked_unread"]) == (last, False)
    for device in (his, hers):
        await device.heard()
