"""Editing: by the author, in time, with every earlier version kept."""

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.people import Person, Town
from tests.refusals import refused

Wait = Callable[[int], None]


@pytest.fixture
def after(monkeypatch: pytest.MonkeyPatch) -> Wait:
    """Let so many seconds have passed since the test began."""

    def move(seconds: int) -> None:
        ahead = seconds * 1_000_000_000
        clock = SimpleNamespace(time_ns=lambda: time.time_ns() + ahead)
        monkeypatch.setattr("server.clock.time", clock)

    return move


async def edits(person: Person, message: dict[str, Any], content: str, **more: Any) -> Any:
    return await person.patch(f"messages/{message['id']}/", {"content": content, **more})


async def texts(person: Person, message: dict[str, Any]) -> list[tuple[int, str]]:
    kept = await person.get(f"messages/{message['id']}/history/")
    return [(version["version"], version["content"]) for version in kept["results"]]


async def test_an_edit_is_told_to_the_room_and_kept(
    town: Town, ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "Helo")
    her, his, outside = await ada.connects(), await bob.connects(), await eve.connects()

    reply = await her.asks("message:edit", message_id=said["id"], content="Hello")

    edited = reply["message"]
    changed = {"content", "version", "is_edited", "edited_at", "event_seq"}
    assert {name for name in said if said[name] != edited[name]} == changed
    assert (edited["content"], edited["version"], edited["is_edited"]) == ("Hello", 2, True)
    frame = (
        "message:updated",
        {
            "conversation_id": talk["id"],
            "event_seq": said["event_seq"] + 1,
            "prev_event_seq": said["event_seq"],
            "actor_id": "ada",
            "message": {k: v for k, v in edited.items() if k != "status"},
        },
    )
    assert await her.heard() == [frame]
    assert await his.heard() == [frame]
    await outside.hears_nothing()
    assert await bob.get(f"messages/{said['id']}/") == {
        **{k: v for k, v in edited.items() if k != "status"},
        "is_read": False,
    }


async def test_every_version_can_be_read_by_members_only(
    ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "one")
    await edits(ada, said, "two")
    last = await edits(ada, said, "three")

    kept = (await bob.get(f"messages/{said['id']}/history/"))["results"]

    assert [(v["version"], v["content"]) for v in kept] == [(1, "one"), (2, "two"), (3, "three")]
    assert kept[0]["created_at"] == said["created_at"]
    assert kept[2]["created_at"] == last["edited_at"]
    assert (await refused(texts(eve, said))).code == "not_found"


async def test_a_message_nobody_edited_has_one_version(ada: Person, bob: Person) -> None:
    said = await ada.says(await ada.creates("direct", bob), "one")
    assert await texts(bob, said) == [(1, "one")]


async def test_only_the_author_edits(
    ada: Person, bob: Person, cleo: Person, root: Person, eve: Person, backend: Person
) -> None:
    talk = await ada.creates("group", bob, cleo, root)
    said = await bob.says(talk, "Mine")
    his, hers, outside = await bob.connects(), await cleo.connects(), await eve.connects()

    others = [(await refused(edits(who, said, "Yours"))).code for who in (ada, cleo, root)]
    strangers = [(await refused(edits(who, said, "Yours"))).code for who in (eve, backend)]
    asked = hers.asks("message:edit", message_id=said["id"], content="Yours")

    assert others == ["forbidden"] * 3
    assert strangers == ["not_found"] * 2
    assert (await refused(asked)).code == "forbidden"
    for device in (his, hers, outside):
        await device.hears_nothing()
    assert (await bob.get(f"messages/{said['id']}/")) == said | {"status": "sent"}


async def test_nobody_rewrites_what_the_system_says(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob)
    line = (await ada.get(f"conversations/{talk['id']}/messages/"))["results"][0]
    assert line["type"] == "system"
    assert (await refused(edits(ada, line, "Mine"))).code == "forbidden"


async def test_a_member_edits_for_a_quarter_of_an_hour(
    ada: Person, bob: Person, after: Wait
) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "Helo")
    her, his = await ada.connects(), await bob.connects()

    after(895)
    await edits(ada, said, "Hello")
    after(905)
    late = await refused(edits(ada, said, "Hello!"))
    asked = her.asks("message:edit", message_id=said["id"], content="Hello!")

    assert (late.status, late.code) == (409, "edit_window_closed")
    assert (await refused(asked)).error == late.error
    assert await her.heard_names() == await his.heard_names() == ["message:updated"]


async def test_who_asks_again_after_the_window_learns_that_it_is_done(
    ada: Person, bob: Person, after: Wait
) -> None:
    said = await ada.says(await ada.creates("direct", bob), "Helo")
    edited = await edits(ada, said, "Hello")
    after(905)
    assert await edits(ada, said, "Hello") == edited
    assert await edits(ada, said, "Hello", base_version=1) == edited


async def test_owners_and_admins_edit_their_own_at_any_time(
    ada: Person, bob: Person, root: Person, after: Wait
) -> None:
    talk = await ada.creates("group", bob, root)
    said = [await who.says(talk, "Helo") for who in (ada, root, bob)]

    after(2_000)
    edited = [await edits(who, one, "Hello") for who, one in zip((ada, root), said, strict=False)]

    assert [message["version"] for message in edited] == [2, 2]
    assert (await refused(edits(bob, said[2], "Hello"))).code == "edit_window_closed"


@pytest.mark.settings(limits={"edit_seconds": 0})
async def test_editing_can_be_switched_off_for_members(ada: Person, bob: Person) -> None:
    said = await ada.says(await ada.creates("direct", bob), "Helo")
    assert (await refused(edits(ada, said, "Hello"))).code == "edit_window_closed"


# Two devices of one author


async def test_an_edit_of_an_old_version_is_a_conflict(ada: Person, bob: Person) -> None:
    said = await ada.says(await ada.creates("direct", bob), "one")
    phone, laptop, his = await ada.connects(), await ada.connects(), await bob.connects()
    edit = {"message_id": said["id"], "base_version": 1}

    await phone.asks("message:edit", **edit, content="two")
    no = await refused(laptop.asks("message:edit", **edit, content="other"))
    by_rest = await refused(edits(ada, said, "other", base_version=1))
    ahead = await refused(edits(ada, said, "other", base_version=3))

    assert no.code == ahead.code == "version_conflict"
    assert (by_rest.status, by_rest.error) == (409, no.error)
    for device in (phone, laptop, his):
        assert await device.heard_names() == ["message:updated"]
    assert await texts(bob, said) == [(1, "one"), (2, "two")]


async def test_an_edit_asked_again_succeeds_and_changes_nothing(ada: Person, bob: Person) -> None:
    said = await ada.says(await ada.creates("direct", bob), "one")
    her, his = await ada.connects(), await bob.connects()
    edit = {"message_id": said["id"], "base_version": 1, "content": "two"}

    first, again = await her.asks("message:edit", **edit), await her.asks("message:edit", **edit)

    assert first == again
    assert await her.heard_names() == await his.heard_names() == ["message:updated"]
    assert await texts(ada, said) == [(1, "one"), (2, "two")]


async def test_the_same_content_two_versions_later_is_a_conflict(ada: Person, bob: Person) -> None:
    said = await ada.says(await ada.creates("direct", bob), "one")
    for content in ("two", "three", "two"):
        await edits(ada, said, content)
    assert (await refused(edits(ada, said, "two", base_version=1))).code == "version_conflict"


@pytest.mark.parametrize("base", [{}, {"base_version": 1}])
async def test_an_edit_that_changes_nothing_is_no_change(
    ada: Person, bob: Person, base: dict[str, int]
) -> None:
    said = await ada.says(await ada.creates("direct", bob), "one")
    his = await bob.connects()

    assert await edits(ada, said, "one", **base) == said

    await his.hears_nothing()


async def test_of_ten_edits_at_once_one_wins(ada: Person, bob: Person) -> None:
    said = await ada.says(await ada.creates("direct", bob), "one")
    his = await bob.connects()

    tries = [ada.call("PATCH", f"messages/{said['id']}/", body) for body in _bodies(10)]
    answers = await asyncio.gather(*tries)

    assert sorted(status for status, _, _ in answers) == [200] + [409] * 9
    assert await his.heard_names() == ["message:updated"]
    assert len(await texts(bob, said)) == 2


def _bodies(many: int) -> list[dict[str, Any]]:
    return [{"content": f"by {n}", "base_version": 1} for n in range(many)]


# Where nothing can be written any more


async def test_a_deleted_message_cannot_be_edited(ada: Person, bob: Person) -> None:
    said = await ada.says(await ada.creates("direct", bob), "one")
    await ada.delete(f"messages/{said['id']}/")
    his = await bob.connects()

    assert (await refused(edits(ada, said, "two"))).code == "not_found"

    await his.hears_nothing()


async def test_who_may_only_read_cannot_edit(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob)
    said = await bob.says(talk, "one")
    await ada.patch(f"conversations/{talk['id']}/participants/bob/", {"role": "read_only"})
    her = await ada.connects()

    assert (await refused(edits(bob, said, "two"))).code == "forbidden"

    await her.hears_nothing()


async def test_in_a_closed_conversation_nothing_is_edited(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob)
    said = await ada.says(talk, "one")
    await ada.patch(f"conversations/{talk['id']}/", {"is_active": False})
    his = await bob.connects()

    no = await refused(edits(ada, said, "two"))

    assert (no.status, no.code) == (409, "conversation_closed")
    await his.hears_nothing()


async def test_who_was_removed_edits_nothing(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob)
    said = await bob.says(talk, "one")
    await ada.delete(f"conversations/{talk['id']}/participants/bob/")
    her = await ada.connects()

    assert (await refused(edits(bob, said, "two"))).code == "not_found"
    assert (await refused(texts(bob, said))).code == "not_found"

    await her.hears_nothing()
