"""Who has read what: `is_read` for the reader, `status` and `read_by` for the sender."""

from typing import Any

from tests.people import Person
from tests.refusals import refused


async def seen(person: Person, message: dict[str, Any]) -> Any:
    """Return what this person is told about reading, by every way there is."""
    talk = message["conversation_id"]
    one = await person.get(f"messages/{message['id']}/")
    page = await person.get(f"conversations/{talk}/messages/")
    listed = (await person.get("conversations/"))["results"][0]["last_message"]
    found = (await person.get(f"messages/?conversation_id={talk}"))["results"][0]
    assert one == page["results"][-1] == listed == found
    return one.get("status", one.get("is_read"))


async def test_the_sender_sees_how_far_a_message_has_come(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "Hello")
    his = await bob.connects()
    item = {"conversation_id": talk["id"], "up_to_seq": said["seq"]}

    steps = [await seen(ada, said)]
    await his.asks("receipt:delivered", items=[item])
    steps.append(await seen(ada, said))
    assert await seen(bob, said) is False
    await his.asks("receipt:read", **item)
    steps.append(await seen(ada, said))

    assert steps == ["sent", "delivered", "read"]
    assert await seen(bob, said) is True
    assert await his.heard_names() == ["receipt:delivered", "receipt:read", "my:unread"]


async def test_a_message_is_read_when_everybody_has_read_it(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    said = await ada.says(talk, "Hello")

    await bob.post(f"messages/{said['id']}/mark_read/")
    assert await seen(ada, said) == "sent"
    assert (await seen(bob, said), await seen(cleo, said)) == (True, False)
    await cleo.post(f"messages/{said['id']}/mark_read/")

    assert await seen(ada, said) == "read"


async def test_who_has_left_is_not_waited_for(ada: Person, bob: Person, cleo: Person) -> None:
    talk = await ada.creates("group", bob, cleo)
    said = await ada.says(talk, "Hello")
    await bob.post(f"messages/{said['id']}/mark_read/")
    await cleo.post(f"conversations/{talk['id']}/leave/")

    one = await ada.get(f"messages/{said['id']}/")

    assert one["status"] == "read"


async def test_who_answers_has_read(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "Hello")
    answered = await bob.says(talk, "Hello yourself")

    assert (await ada.get(f"messages/{said['id']}/"))["status"] == "read"
    assert (await bob.get(f"messages/{said['id']}/"))["is_read"] is True
    assert (await ada.get(f"messages/{answered['id']}/"))["is_read"] is False


async def test_room_events_say_nothing_about_the_viewer(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    her, his = await ada.connects(), await bob.connects()
    said = await her.says(talk, "Hello")
    await her.asks("message:edit", message_id=said["id"], content="Hi")
    await her.asks("message:delete", message_id=said["id"])

    heard = await his.heard()

    assert await her.heard() == heard
    assert [name.partition(":")[2] for name, _ in heard] == ["created", "updated", "deleted"]
    assert all({"is_read", "status"}.isdisjoint(data["message"]) for _, data in heard)


async def test_read_by_names_the_members_who_have_read(
    ada: Person, bob: Person, cleo: Person, eve: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    one, two = await ada.says(talk, "one"), await ada.says(talk, "two")
    await bob.post(f"messages/{one['id']}/mark_read/")

    async def readers(message: dict[str, Any], who: Person) -> list[str]:
        answer = await who.get(f"messages/{message['id']}/read_by/")
        return [user["id"] for user in answer["results"]]

    assert (await readers(one, ada), await readers(two, ada)) == (["bob"], [])
    await cleo.post(f"messages/{two['id']}/mark_read/")
    assert (await readers(one, bob), await readers(two, bob)) == (["bob", "cleo"], ["cleo"])
    await ada.delete(f"conversations/{talk['id']}/participants/cleo/")
    assert (await readers(one, ada), await readers(two, ada)) == (["bob"], [])
    for stranger in (cleo, eve):
        assert (await refused(readers(one, stranger))).code == "not_found"
