"""Coming and going: who hears what from which moment on, and what is left of it."""

import asyncio
from typing import Any

import pytest

from tests.frames import durable, personal, spoken
from tests.people import Person, Refused, all_conversations, all_members, all_messages


def path(talk: dict[str, Any], *person: Person) -> str:
    return "/".join(["conversations", talk["id"], "participants", *(one.id for one in person), ""])


async def last_line(person: Person, talk: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = (await all_messages(person, talk["id"]))[-1]
    return message


async def test_a_person_added_while_connected_hears_exactly_from_there_on(
    ada: Person, bob: Person, cleo: Person, eve: Person
) -> None:
    talk = await ada.creates("group", bob, initial_message={"content": "Before"})
    number = talk["head"] + 1
    her, his = await ada.connects(), await bob.connects()
    new, outside = await cleo.connects(), await eve.connects()

    answer = await her.asks("participant:add", conversation_id=talk["id"], user_ids=["cleo"])

    (member,) = answer["participants"]
    shown = (member["user"]["id"], member["role"], member["event_seq"], member["read_seq"])
    assert shown == ("cleo", "member", number, talk["last_seq"])
    line = await last_line(cleo, talk)
    assert line["system"] == {
        "event": "participant_joined",
        "params": {"actor_id": "ada", "user_ids": ["cleo"], "names": ["Cleo"]},
    }
    seen = await cleo.get(f"conversations/{talk['id']}/")
    assert (seen["my"]["unread_count"], seen["participants_count"]) == (0, 3)
    joined = durable("participant:added", talk, number, "ada", participant=member)
    assert await her.heard() == await his.heard() == [joined, spoken(line)]
    assert await new.heard() == [
        personal("conversation:added", 1, conversation=seen, event_seq=number),
        joined,
        spoken(line),
    ]
    said = await his.says(talk, "Welcome")
    assert await new.heard() == await her.heard() == await his.heard() == [spoken(said)]
    await outside.hears_nothing()
    assert "Before" in [m["content"] for m in await all_messages(cleo, talk["id"])]


async def test_several_people_come_in_together_with_one_line(
    ada: Person, bob: Person, cleo: Person, dan: Person
) -> None:
    talk = await ada.creates("group", bob)
    his = await bob.connects()

    added = await ada.post(path(talk), {"user_ids": ["cleo", "bob", "dan", "cleo"]})

    assert [member["user"]["id"] for member in added["participants"]] == ["cleo", "dan"]
    names = ["participant:added", "participant:added", "message:created"]
    frames = await his.heard()
    assert [name for name, _ in frames] == names
    assert frames[-1][1]["message"]["system"]["params"]["user_ids"] == ["cleo", "dan"]
    assert [data["event_seq"] for _, data in frames] == [talk["head"] + n for n in (1, 2, 3)]


async def test_adding_who_is_in_already_changes_nothing(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob)
    his = await bob.connects()

    assert await ada.post(path(talk), {"user_ids": ["bob", "ada"]}) == {"participants": []}

    assert (await ada.get(f"conversations/{talk['id']}/"))["head"] == talk["head"]
    await his.hears_nothing()


async def test_one_person_added_by_two_at_once_comes_in_once(
    ada: Person, bob: Person, cleo: Person, backend: Person
) -> None:
    talk = await ada.creates("group", bob)
    new = await cleo.connects()

    added = await asyncio.gather(
        *(person.post(path(talk), {"user_ids": ["cleo"]}) for person in (ada, backend, ada))
    )

    assert sorted(len(answer["participants"]) for answer in added) == [0, 0, 1]
    assert await new.heard_names() == ["conversation:added", "participant:added", "message:created"]


async def test_only_agents_join_agents(ada: Person, dan: Person, bob: Person, cleo: Person) -> None:
    among_agents = await ada.creates("agent_agent", dan)
    for_a_client = await ada.creates("client_agent", bob)
    outside = await cleo.connects()

    with pytest.raises(Refused) as no:
        await ada.post(path(among_agents), {"user_ids": ["cleo"]})

    assert (no.value.code, no.value.fields) == ("validation_failed", ["user_ids"])
    await outside.hears_nothing()
    added = await ada.post(path(for_a_client), {"user_ids": ["cleo", "dan"]})
    roles = {member["user"]["id"]: member["role"] for member in added["participants"]}
    assert roles == {"cleo": "member", "dan": "admin"}
    await outside.heard()


async def test_the_removal_is_the_last_that_a_removed_person_hears(
    ada: Person, bob: Person, cleo: Person, eve: Person
) -> None:
    talk = await ada.creates("group", bob, cleo, title="Team")
    her, his = await ada.connects(), await bob.connects()
    phone, laptop, outside = await cleo.connects(), await cleo.connects(), await eve.connects()

    answer = await her.asks("participant:remove", conversation_id=talk["id"], user_id="cleo")

    (member,) = answer["participants"]
    assert (member["is_active"], member["left_at"] is None) == (False, False)
    line = await last_line(ada, talk)
    assert line["system"] == {
        "event": "participant_removed",
        "params": {"actor_id": "ada", "user_ids": ["cleo"], "names": ["Cleo"]},
    }
    number = talk["head"] + 1
    gone = durable("participant:removed", talk, number, "ada", participant=member, reason="removed")
    farewell = {"conversation_id": talk["id"], "event_seq": number, "reason": "removed"}
    last = [gone, personal("conversation:removed", 2, **farewell)]
    assert await phone.heard() == await laptop.heard() == last
    assert await her.heard() == await his.heard() == [gone, spoken(line)]

    said = await his.says(talk, "Without her")
    await his.asks("typing:start", conversation_id=talk["id"])
    await his.asks("typing:stop", conversation_id=talk["id"])
    await her.asks("receipt:read", conversation_id=talk["id"], up_to_seq=said["seq"])
    await ada.patch(f"conversations/{talk['id']}/", {"title": "Renamed"})
    await bob.town.person("bob", name="Bobby").get("me/")
    bob.token = bob.town.person("bob", name="Bobby").token
    for device in (phone, laptop, outside):
        await device.hears_nothing()
    assert await her.heard_names() == [
        "message:created",
        "typing:started",
        "typing:stopped",
        "receipt:read",
        "my:unread",
        "conversation:updated",
        "message:created",
        "user:updated",
    ]
    await his.heard()


async def test_a_removed_person_is_refused_everything_at_once(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo, title="Team")
    said = await bob.says(talk, "A secret word")
    his = await bob.connects()
    theirs = await cleo.connects()

    await ada.delete(path(talk, cleo))

    one = f"conversations/{talk['id']}/"
    reads = [one, f"{one}messages/", f"{one}participants/", f"messages/{said['id']}/"]
    for address in reads:
        assert (await cleo.call("GET", address))[0] == 404
    assert (await cleo.get("messages/?q=secret"))["results"] == []
    assert await all_conversations(cleo) == {}
    assert await cleo.get("me/unread/") == {"total": 0, "conversations": 0}
    await his.heard()
    for name, more in (
        ("message:send", {"client_msg_id": "1", "content": "Hello"}),
        ("message:list", {}),
        ("receipt:read", {"up_to_seq": 1}),
        ("typing:start", {}),
        ("conversation:update", {"title": "Mine"}),
        ("conversation:update_my", {"is_pinned": True}),
        ("participant:add", {"user_ids": ["cleo"]}),
        ("participant:remove", {"user_id": "bob"}),
        ("participant:remove", {"user_id": "cleo"}),
    ):
        with pytest.raises(Refused) as no:
            await theirs.asks(name, conversation_id=talk["id"], **more)
        assert (name, no.value.code) == (name, "not_found")
    await his.hears_nothing()
    assert await theirs.heard_names() == ["participant:removed", "conversation:removed"]


async def test_who_comes_back_begins_at_the_end_and_hears_again(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    await cleo.post(f"conversations/{talk['id']}/archive/")
    await bob.says(talk, "Unread when they went")
    await ada.delete(path(talk, cleo))
    await bob.says(talk, "Said while they were away")
    theirs = await cleo.connects()

    await ada.post(path(talk), {"user_ids": ["cleo"]})

    seen = await cleo.get(f"conversations/{talk['id']}/")
    line = await last_line(cleo, talk)
    my = seen["my"]
    assert (my["unread_count"], my["read_seq"]) == (0, line["seq"] - 1)
    assert (my["is_archived"], my["marked_unread"], my["user_seq"]) == (False, False, 4)
    (member,) = [m for m in await all_members(ada, talk["id"]) if m["user"]["id"] == "cleo"]
    assert (member["left_at"], member["event_seq"]) == (None, line["event_seq"] - 1)
    number = member["event_seq"]
    assert await theirs.heard() == [
        personal("conversation:added", 4, conversation=seen, event_seq=number),
        durable("participant:added", talk, number, "ada", participant=member),
        spoken(line),
    ]
    said = await bob.says(talk, "Welcome back")
    assert await theirs.heard() == [spoken(said)]
    assert (await cleo.get("me/unread/"))["total"] == 1


async def test_leaving_is_told_as_leaving(ada: Person, bob: Person, cleo: Person) -> None:
    talk = await ada.creates("group", bob, cleo)
    her, his = await ada.connects(), await bob.connects()

    answer = await bob.post(f"conversations/{talk['id']}/leave/")

    line = await last_line(ada, talk)
    assert line["system"] == {
        "event": "participant_left",
        "params": {"actor_id": "bob", "user_ids": ["bob"], "names": ["Bob"]},
    }
    number = talk["head"] + 1
    (member,) = answer["participants"]
    gone = durable("participant:removed", talk, number, "bob", participant=member, reason="left")
    farewell = {"conversation_id": talk["id"], "event_seq": number, "reason": "left"}
    assert await his.heard() == [gone, personal("conversation:removed", 2, **farewell)]
    assert await her.heard() == [gone, spoken(line)]
    assert [m["user"]["id"] for m in await all_members(ada, talk["id"])] == ["ada", "cleo"]


async def test_naming_oneself_leaves_too(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob)
    his = await bob.connects()

    await his.asks("participant:remove", conversation_id=talk["id"], user_id="bob")

    assert [data["reason"] for _, data in await his.heard()] == ["left", "left"]


async def test_who_types_and_is_removed_stops_typing_by_the_removal(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    his = await bob.connects()
    theirs = await cleo.connects()
    await theirs.asks("typing:start", conversation_id=talk["id"])
    await ada.delete(path(talk, cleo))
    assert await his.heard_names() == ["typing:started", "participant:removed", "message:created"]

    await theirs.close()

    await his.hears_nothing()


async def test_removing_somebody_who_is_not_in_is_not_found(
    ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("group", bob)
    his = await bob.connects()

    answers = [
        await ada.call(method, f"{path(talk)}{who}/", body)
        for who in ("eve", "nobody")
        for method, body in (("DELETE", None), ("PATCH", {"role": "admin"}))
    ]

    assert [(status, answer["error"]["code"]) for status, answer, _ in answers] == [
        (404, "not_found")
    ] * 4
    await his.hears_nothing()


async def test_the_last_one_can_leave_and_the_backend_can_bring_people_back(
    ada: Person, bob: Person, backend: Person
) -> None:
    talk = await ada.creates("group", bob)
    for person in (bob, ada):
        await person.post(f"conversations/{talk['id']}/leave/")
    assert (await backend.get(f"conversations/{talk['id']}/"))["participants_count"] == 0

    await backend.post(path(talk), {"user_ids": ["bob"]})

    assert list(await all_conversations(bob)) == [talk["id"]]


async def test_members_are_read_page_by_page(
    ada: Person, bob: Person, cleo: Person, dan: Person, eve: Person, backend: Person
) -> None:
    talk = await ada.creates("group", bob, cleo, dan)
    await ada.delete(path(talk, cleo))
    await ada.post(path(talk), {"user_ids": ["late"]})

    pages: list[list[str]] = []
    address: str | None = f"{path(talk)}?limit=2"
    while address is not None:
        page = await ada.get(address)
        pages.append([member["user"]["id"] for member in page["results"]])
        address = page["next"] and page["next"].removeprefix(ada.town.url)

    assert pages == [["ada", "bob"], ["dan", "late"]]
    whole = await backend.get(path(talk))
    assert [member["user"]["id"] for member in whole["results"]] == ["ada", "bob", "dan", "late"]
    assert (whole["next"], whole["next_cursor"]) == (None, None)
    assert (await eve.call("GET", path(talk)))[0] == 404


async def test_a_conversation_shows_fifty_members_and_pages_show_all(
    ada: Person, backend: Person
) -> None:
    people = [Person(ada.town, f"p{number:02}") for number in range(60)]

    talk = await ada.creates("group", *people)

    assert (talk["participants_count"], len(talk["participants"])) == (61, 50)
    assert len(await all_members(ada, talk["id"])) == 61


async def test_who_is_removed_in_the_middle_of_something_is_answered_yes_or_not_found(
    ada: Person, bob: Person, cleo: Person
) -> None:
    for _ in range(5):
        talk = await ada.creates("group", bob, cleo)
        await bob.says(talk, "Hello")
        one = f"conversations/{talk['id']}/"

        answers = await asyncio.gather(
            cleo.call("POST", f"{one}mark_read/"),
            cleo.call("POST", f"{one}archive/"),
            cleo.call("POST", f"{one}send/", {"content": "Wait"}),
            cleo.call("GET", one),
            cleo.call("GET", f"{one}messages/"),
            ada.call("DELETE", path(talk, cleo)),
            cleo.call("POST", f"{one}mark_read/"),
            cleo.call("POST", f"{one}leave/"),
            cleo.call("POST", f"{one}archive/"),
            cleo.call("GET", f"{one}participants/"),
        )

        assert {status for status, _, _ in answers} <= {200, 201, 404}
        assert [m["user"]["id"] for m in await all_members(ada, talk["id"])] == ["ada", "bob"]
