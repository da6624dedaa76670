"""Read marks: they go forward only, clear what is unread, and are heard by the room."""

from typing import Any

import pytest

from tests.people import Frame, Person

UNREAD = "my:unread"


def receipt(name: str, talk: dict[str, Any], who: str, seq: int, at: str) -> Frame:
    body = {"conversation_id": talk["id"], "user_id": who, "up_to_seq": seq, "at": at}
    return f"receipt:{name}", body


async def member(person: Person, talk: dict[str, Any]) -> tuple[int, int]:
    """Return how far a person has read and received, as the others see it."""
    my = (await person.get(f"conversations/{talk['id']}/"))["my"]
    return my["read_seq"], my["delivered_seq"]


async def test_all_members_hear_how_far_somebody_has_read(
    ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("direct", bob)
    for word in ("One", "Two", "Three"):
        await ada.says(talk, word)
    her, outside = await ada.connects(), await eve.connects()
    phone, laptop = await bob.connects(), await bob.connects()

    answer = await phone.asks("receipt:read", conversation_id=talk["id"], up_to_seq=2)

    assert answer == {"read_seq": 2, "unread_count": 1, "unread_total": 1}
    (told,) = await her.heard()
    assert told == receipt("read", talk, "bob", 2, told[1]["at"])
    own = [told, (UNREAD, {"total": 1, "conversations": 1})]
    assert await phone.heard() == await laptop.heard() == own
    await outside.hears_nothing()


@pytest.mark.parametrize("door", ["receipt:read", "mark_read", "message", "whole"])
async def test_reading_by_each_door_says_and_does_the_same(
    ada: Person, bob: Person, door: str
) -> None:
    talk = await ada.creates("direct", bob)
    said = [await ada.says(talk, word) for word in ("One", "Two")]
    her, his = await ada.connects(), await bob.connects()
    path = f"conversations/{talk['id']}/mark_read/"

    if door == "receipt:read":
        answer = await his.asks("receipt:read", conversation_id=talk["id"], up_to_seq=2)
    elif door == "mark_read":
        answer = await bob.post(path, {"up_to_seq": 2})
    elif door == "message":
        answer = await bob.post(f"messages/{said[1]['id']}/mark_read/")
        assert answer.pop("conversation_id") == talk["id"]
        answer["unread_total"] = 0
    else:
        answer = await bob.post(path)

    assert answer == {"read_seq": 2, "unread_count": 0, "unread_total": 0}
    (told,) = await her.heard()
    assert told == receipt("read", talk, "bob", 2, told[1]["at"])
    assert await his.heard() == [told, (UNREAD, {"total": 0, "conversations": 0})]
    assert (await ada.get(f"messages/{said[1]['id']}/"))["status"] == "read"


async def test_a_read_mark_never_goes_back(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    said = [await ada.says(talk, word) for word in ("One", "Two", "Three")]
    await bob.post(f"conversations/{talk['id']}/mark_read/")
    her, his = await ada.connects(), await bob.connects()
    expected = {"read_seq": 3, "unread_count": 0, "unread_total": 0}

    for seq in (0, 1, 3):
        assert await his.asks("receipt:read", conversation_id=talk["id"], up_to_seq=seq) == expected
    await bob.post(f"messages/{said[0]['id']}/mark_read/")

    assert await member(bob, talk) == (3, 3)
    await her.hears_nothing()
    await his.hears_nothing()


async def test_reading_beyond_the_last_message_reads_the_last_one(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob, initial_message={"content": "Hello"})
    her, his = await ada.connects(), await bob.connects()

    answer = await his.asks("receipt:read", conversation_id=talk["id"], up_to_seq=2**53 - 1)

    assert answer["read_seq"] == 1
    assert [data["up_to_seq"] for _, data in await her.heard()] == [1]
    await ada.says(talk, "Unread")
    assert (await bob.get("me/unread/"))["total"] == 1
    assert await his.heard_names() == ["receipt:read", UNREAD, "message:created"]
    await her.heard()


async def test_reading_implies_having_received(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob, initial_message={"content": "Hello"})

    await bob.post(f"conversations/{talk['id']}/mark_read/")

    assert await member(bob, talk) == (1, 1)


async def test_sending_moves_the_senders_own_marks(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    await ada.says(talk, "One")

    await bob.says(talk, "Two")

    assert await member(bob, talk) == (2, 2)
    assert (await bob.get("me/unread/"))["total"] == 0
    assert await member(ada, talk) == (1, 1)


async def test_a_message_is_read_when_every_other_present_member_has_read_it(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    said = await ada.says(talk, "Hello")
    path = f"conversations/{talk['id']}/mark_read/"

    async def status() -> str:
        found: str = (await ada.get(f"messages/{said['id']}/"))["status"]
        return found

    assert await status() == "sent"
    await bob.post(path)
    assert await status() == "sent"
    assert (await bob.get(f"messages/{said['id']}/"))["is_read"]
    assert not (await cleo.get(f"messages/{said['id']}/"))["is_read"]
    await cleo.post(f"conversations/{talk['id']}/leave/")
    assert await status() == "read"


async def test_nobody_marks_read_where_they_are_not(
    ada: Person, bob: Person, eve: Person, root: Person, backend: Person
) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "Hello")
    her = await ada.connects()

    answers = []
    for person in (eve, root, backend):
        device = await person.connects()
        for id_ in (talk["id"], "nowhere"):
            answer = await device.answer("receipt:read", {"conversation_id": id_, "up_to_seq": 1})
            answers.append(answer["error"])
        for path in (f"conversations/{talk['id']}", f"messages/{said['id']}", "messages/nowhere"):
            status, refusal, _ = await person.call("POST", f"{path}/mark_read/")
            assert status == 404
            answers.append(refusal["error"])
        await device.hears_nothing()
    assert answers[0]["code"] == "not_found"
    assert all(answer == answers[0] for answer in answers)
    await her.hears_nothing()


@pytest.mark.settings(limits={"broadcast_members": 2})
async def test_in_a_large_conversation_only_own_devices_hear(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    said = await ada.says(talk, "Hello")
    her, phone, laptop = await ada.connects(), await bob.connects(), await bob.connects()

    await phone.asks("receipt:read", conversation_id=talk["id"], up_to_seq=said["seq"])

    await her.hears_nothing()
    frames = await phone.heard()
    assert frames == await laptop.heard()
    assert [name for name, _ in frames] == ["receipt:read", UNREAD]
    assert (frames[0][1]["user_id"], frames[0][1]["up_to_seq"]) == ("bob", said["seq"])
