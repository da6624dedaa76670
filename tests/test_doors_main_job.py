"""One story through every door: the main job, with somebody who came in by another one."""

import pytest

from tests.doors import DOORS, Talk, door
from tests.frames import spoken
from tests.people import Device, Person, Refused, Town


@pytest.mark.settings(realtime={"transports": ["websocket", "polling"]})
@pytest.mark.parametrize("name", DOORS)
async def test_people_behind_different_doors_talk_and_an_outsider_hears_nothing(
    town: Town, ada: Person, bob: Person, cleo: Person, eve: Person, name: str
) -> None:
    talk, apart = await ada.creates("direct", bob), await eve.creates("direct", cleo)
    before = await bob.says(talk, "Are you there?")
    async with door(name) as enter:
        hers, his, eves = await enter(ada, talk), await bob.connects(), await enter(eve, apart)
        assert hers.ready["user"]["id"] == "ada"
        assert hers.ready["joined"] == {talk["id"]: before["event_seq"]}
        page = await hers.asks("message:list", conversation_id=talk["id"])
        assert [message["id"] for message in page["messages"]] == [before["id"]]

        await they_talk(talk, hers, his)
        await they_type_and_read(talk, hers, his)
        await she_takes_it_back(talk, hers, his)
        back = await she_goes_and_comes_back(talk, hers, his)

        with pytest.raises(Refused) as refused:
            await eves.asks("message:list", conversation_id=talk["id"])
        assert refused.value.code == "not_found"
        await eves.hears_nothing()
        await town.must_agree()
        await back.close()
        await eves.close()


async def they_talk(talk: Talk, hers: Device, his: Device) -> None:
    for one in (hers, his):
        said = await one.says(talk, "I am here")
        assert await his.heard() == await hers.heard() == [spoken(said)]


async def they_type_and_read(talk: Talk, hers: Device, his: Device) -> None:
    here = {"conversation_id": talk["id"]}
    for one, other in ((hers, his), (his, hers)):
        await one.asks("typing:start", **here)
        assert (await other.hears("typing:started"))["user_id"] == one.person.id
        await one.asks("typing:stop", **here)
        assert (await other.hears("typing:stopped"))["user_id"] == one.person.id
        await one.heard()
    await hers.asks("receipt:delivered", items=[{**here, "up_to_seq": 2}])
    await hers.asks("receipt:read", **here, up_to_seq=3)
    marks = [(name, data["user_id"], data["up_to_seq"]) for name, data in await his.heard()]
    assert marks == [("receipt:read", "ada", 3)]
    await hers.heard()


async def she_takes_it_back(talk: Talk, hers: Device, his: Device) -> None:
    said = await hers.says(talk, "I am hear")
    edited = await hers.asks("message:edit", message_id=said["id"], content="I am here")
    deleted = await hers.asks("message:delete", message_id=said["id"])

    heard = [(name, data["message"]["content"]) for name, data in await his.heard()]
    assert heard == [
        ("message:created", "I am hear"),
        ("message:updated", "I am here"),
        ("message:deleted", ""),
    ]
    assert [name for name, _ in await hers.heard()] == [name for name, _ in heard]
    assert (edited["message"]["version"], deleted["message"]["is_deleted"]) == (2, True)


async def she_goes_and_comes_back(talk: Talk, hers: Device, his: Device) -> Device:
    await hers.asks("typing:start", conversation_id=talk["id"])
    assert (await his.hears("typing:started"))["user_id"] == "ada"
    await hers.close()
    assert (await his.hears("typing:stopped"))["user_id"] == "ada"
    missed = await his.says(talk, "Where did you go?")

    back = await hers.reconnects()

    (entry,) = back.ready["sync"]["conversations"]
    assert [message["id"] for message in entry["messages"]] == [missed["id"]]
    said = await back.says(talk, "Back again")
    assert await back.heard() == [spoken(said)]
    assert await his.heard() == [spoken(missed), spoken(said)]
    return back
