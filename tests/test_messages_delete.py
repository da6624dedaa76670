"""Deleting: for everyone, which leaves a tombstone, or for oneself, which nobody else notices."""

from typing import Any

import pytest

from tests.people import Person, Town, all_messages
from tests.refusals import refused
from tests.test_messages_edit import Wait, after, edits, texts

__all__ = ["after"]


async def deletes(person: Person, message: dict[str, Any]) -> Any:
    return await person.delete(f"messages/{message['id']}/")


async def hides(person: Person, message: dict[str, Any]) -> Any:
    return await person.delete(f"messages/{message['id']}/?scope=me")


async def unread(person: Person, talk: dict[str, Any]) -> int:
    my = (await person.get(f"conversations/{talk['id']}/"))["my"]
    return int(my["unread_count"])


async def test_a_deleted_message_leaves_a_tombstone_with_its_numbers(
    ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "Secret", metadata={"a": 1}, client_msg_id="k")
    her, his, outside = await ada.connects(), await bob.connects(), await eve.connects()

    tombstone = (await her.asks("message:delete", message_id=said["id"]))["message"]

    changed = {"content", "metadata", "is_deleted", "deleted_at", "event_seq"}
    assert {name for name in said if said[name] != tombstone[name]} == changed
    assert (tombstone["content"], tombstone["metadata"]) == ("", {})
    frame = (
        "message:deleted",
        {
            "conversation_id": talk["id"],
            "event_seq": said["event_seq"] + 1,
            "prev_event_seq": said["event_seq"],
            "actor_id": "ada",
            "message": {k: v for k, v in tombstone.items() if k != "status"},
        },
    )
    assert await her.heard() == [frame]
    assert await his.heard() == [frame]
    await outside.hears_nothing()
    assert await all_messages(ada, talk["id"]) == [tombstone]


async def test_of_a_deleted_message_no_word_is_left(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "Secret one")
    await edits(ada, said, "Secret two")
    await deletes(ada, said)

    assert await texts(bob, said) == [(2, "")]
    assert (await bob.get("messages/?q=secret"))["results"] == []
    assert (await bob.get(f"conversations/{talk['id']}/"))["last_message"]["content"] == ""


async def test_deleting_again_changes_nothing(ada: Person, bob: Person, after: Wait) -> None:
    said = await ada.says(await ada.creates("direct", bob), "Oops")
    his = await bob.connects()

    first = await deletes(ada, said)
    after(2_000)
    again = await deletes(ada, said)

    assert first == again
    assert await his.heard_names() == ["message:deleted"]


async def test_a_message_deleted_unread_is_no_longer_waiting(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    one, two = await ada.says(talk, "one"), await ada.says(talk, "two")
    await bob.post(f"messages/{one['id']}/mark_read/")
    before = (await unread(bob, talk), await unread(cleo, talk), await unread(ada, talk))

    await deletes(ada, one)
    between = (await unread(bob, talk), await unread(cleo, talk), await unread(ada, talk))
    await deletes(ada, two)
    after_both = (await unread(bob, talk), await unread(cleo, talk), await unread(ada, talk))

    assert [before, between, after_both] == [(1, 2, 0), (1, 1, 0), (0, 0, 0)]
    assert await cleo.get("me/unread/") == {"total": 0, "conversations": 0}


async def test_a_member_deletes_their_own_for_ten_minutes(
    ada: Person, bob: Person, after: Wait
) -> None:
    talk = await ada.creates("direct", bob)
    one, two = await ada.says(talk, "one"), await ada.says(talk, "two")
    her, his = await ada.connects(), await bob.connects()

    after(595)
    await deletes(ada, one)
    after(605)
    late = await refused(deletes(ada, two))
    asked = her.asks("message:delete", message_id=two["id"], scope="everyone")

    assert (late.status, late.code) == (409, "edit_window_closed")
    assert (await refused(asked)).error == late.error
    assert await her.heard_names() == await his.heard_names() == ["message:deleted"]


async def test_owners_and_admins_delete_anybodys_message_at_any_time(
    ada: Person, bob: Person, cleo: Person, root: Person, after: Wait
) -> None:
    talk = await ada.creates("group", bob, cleo, root)
    await ada.patch(f"conversations/{talk['id']}/participants/cleo/", {"role": "admin"})
    said = [await bob.says(talk, f"{n}") for n in range(3)]
    his = await bob.connects()

    after(2_000)
    for person, message in zip((ada, cleo, root), said, strict=True):
        await deletes(person, message)

    heard = [(name, data["actor_id"]) for name, data in await his.heard()]
    assert heard == [("message:deleted", who) for who in ("ada", "cleo", "root")]


async def test_an_admin_deletes_a_line_of_the_system(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob)
    line = (await all_messages(ada, talk["id"]))[0]
    his = await bob.connects()

    assert (await refused(deletes(bob, line))).code == "forbidden"
    tombstone = await deletes(ada, line)

    assert (tombstone["type"], tombstone["system"]) == ("system", None)
    assert await his.heard_names() == ["message:deleted"]
    assert await unread(bob, talk) == 0


async def test_others_delete_nothing(
    ada: Person, bob: Person, cleo: Person, eve: Person, backend: Person
) -> None:
    talk, pair = await ada.creates("group", bob, cleo), await ada.creates("direct", bob)
    said, aside = await bob.says(talk, "Mine"), await bob.says(pair, "Mine too")
    his, hers, outside = await bob.connects(), await cleo.connects(), await eve.connects()

    assert (await refused(deletes(cleo, said))).code == "forbidden"
    assert (await refused(deletes(ada, aside))).code == "forbidden"
    assert (await refused(deletes(eve, said))).code == "not_found"
    assert (await refused(deletes(backend, said))).code == "not_found"

    for device in (his, hers, outside):
        await device.hears_nothing()


async def test_who_may_only_read_deletes_nothing_for_others(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob)
    said = await bob.says(talk, "Mine")
    await ada.patch(f"conversations/{talk['id']}/participants/bob/", {"role": "read_only"})
    her = await ada.connects()

    assert (await refused(deletes(bob, said))).code == "forbidden"

    await her.hears_nothing()


# For oneself


async def test_a_message_hidden_by_ada_is_hidden_from_ada_only(
    ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("direct", bob)
    kept, said = await bob.says(talk, "Kept words"), await bob.says(talk, "Hidden words")
    phone, laptop = await ada.connects(), await ada.connects()
    his, outside = await bob.connects(), await eve.connects()

    reply = await phone.asks("message:delete", message_id=said["id"], scope="me")

    assert (reply["message"]["content"], reply["message"]["is_deleted"]) == ("Hidden words", False)
    number = phone.reference.user_cursor
    assert number is not None
    frame = (
        "my:message_hidden",
        {
            "user_seq": number,
            "prev_user_seq": number - 1,
            "conversation_id": talk["id"],
            "message_ids": [said["id"]],
        },
    )
    assert await phone.heard() == [frame]
    assert await laptop.heard() == [frame]
    await his.hears_nothing()
    await outside.hears_nothing()
    assert [m["id"] for m in await all_messages(ada, talk["id"])] == [kept["id"]]
    assert [m["id"] for m in await all_messages(bob, talk["id"])] == [kept["id"], said["id"]]


async def test_a_hidden_message_is_in_no_preview_and_no_search(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    kept, said = await bob.says(talk, "Kept words"), await bob.says(talk, "Hidden words")
    await hides(ada, said)

    for person, ids in ((ada, [kept["id"]]), (bob, [said["id"], kept["id"]])):
        listed = (await person.get("conversations/"))["results"][0]
        one = await person.get(f"conversations/{talk['id']}/")
        assert listed["last_message"]["id"] == one["last_message"]["id"] == ids[0]
        for query in ("?q=words", "", f"?conversation_id={talk['id']}"):
            found = (await person.get(f"messages/{query}"))["results"]
            assert [message["id"] for message in found] == ids


async def test_hiding_changes_nothing_for_the_room(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    said = await bob.says(talk, "Words")
    before = await bob.get(f"conversations/{talk['id']}/")

    await hides(ada, said)

    assert await bob.get(f"conversations/{talk['id']}/") == before
    assert await bob.get(f"messages/{said['id']}/") == said
    assert (await ada.says(talk, "Next"))["event_seq"] == said["event_seq"] + 1


async def test_hiding_again_says_nothing_new(ada: Person, bob: Person) -> None:
    said = await bob.says(await ada.creates("direct", bob), "Words")
    her = await ada.connects()

    assert await hides(ada, said) == await hides(ada, said)

    assert await her.heard_names() == ["my:message_hidden"]


async def test_a_device_that_was_away_learns_what_was_hidden(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    said = await bob.says(talk, "Words")
    phone = await ada.connects()
    await phone.close()

    await hides(ada, said)
    phone = await phone.reconnects()

    assert phone.reference.hidden == {said["id"]}
    assert phone.reference.shown_messages(talk["id"]) == []


async def test_anybodys_message_can_be_hidden_at_any_time_by_who_is_in(
    ada: Person, bob: Person, eve: Person, after: Wait
) -> None:
    talk = await ada.creates("group", bob)
    said = await ada.says(talk, "Words")
    await ada.patch(f"conversations/{talk['id']}/participants/bob/", {"role": "read_only"})
    await ada.patch(f"conversations/{talk['id']}/", {"is_active": False})
    her = await ada.connects()

    after(2_000)
    await hides(bob, said)

    assert said["id"] not in [m["id"] for m in await all_messages(bob, talk["id"])]
    assert (await refused(hides(eve, said))).code == "not_found"
    await her.hears_nothing()


async def test_a_message_hidden_and_then_deleted_for_everyone(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "Words")
    her, his = await ada.connects(), await bob.connects()

    await hides(ada, said)
    await deletes(ada, said)

    assert await her.heard_names() == ["my:message_hidden", "message:deleted"]
    assert await his.heard_names() == ["message:deleted"]
    assert await all_messages(ada, talk["id"]) == []


@pytest.mark.settings(limits={"delete_seconds": 0})
async def test_deleting_for_everyone_can_be_switched_off(ada: Person, bob: Person) -> None:
    said = await ada.says(await ada.creates("direct", bob), "Words")
    assert (await refused(deletes(ada, said))).code == "edit_window_closed"
    await hides(ada, said)
