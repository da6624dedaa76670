"""Changing a conversation for all: what is told, and what a closed one still allows."""

from typing import Any

import pytest

from server.schemas.values import UserRole
from tests.frames import durable, spoken
from tests.people import Person, Refused, Town, all_messages

MOVING = ("my", "participants", "last_message")


async def last_line(person: Person, talk: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = (await all_messages(person, talk["id"]))[-1]
    return message


def after_the_change(answer: dict[str, Any], lines: int) -> dict[str, Any]:
    """Return the conversation as the room got it, before the lines about the change."""
    shared = {name: value for name, value in answer.items() if name not in MOVING}
    return {
        **shared,
        "head": answer["head"] - lines,
        "last_seq": answer["last_seq"] - lines,
    }


async def test_a_new_title_is_told_to_all_members_with_a_line(
    town: Town, ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("group", bob, title="Before")
    her, his, outside = await ada.connects(), await bob.connects(), await eve.connects()

    answer = await her.asks("conversation:update", conversation_id=talk["id"], title="After")

    changed = answer["conversation"]
    assert (changed["title"], changed["head"]) == ("After", talk["head"] + 2)
    line = await last_line(bob, talk)
    assert line["system"] == {
        "event": "conversation_renamed",
        "params": {"actor_id": "ada", "title": "After"},
    }
    told = [
        durable(
            "conversation:updated",
            talk,
            talk["head"] + 1,
            "ada",
            conversation=after_the_change(changed, lines=1),
        ),
        spoken(line),
    ]
    assert await her.heard() == await his.heard() == told
    await outside.hears_nothing()


async def test_what_needs_no_line_is_told_in_one_event(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob, title="Kept", metadata={"old": 1, "both": 1})
    his = await bob.connects()
    fields = {
        "avatar_url": "https://example.org/a.png",
        "client": "c-2",
        "property": "p-2",
        "metadata": {"both": 2},
    }

    changed = await ada.patch(f"conversations/{talk['id']}/", fields)

    assert {name: changed[name] for name in ("title", *fields)} == {"title": "Kept", **fields}
    body = after_the_change(changed, lines=0)
    number = talk["head"] + 1
    assert body["event_seq"] == number
    assert await his.heard() == [
        durable("conversation:updated", talk, number, "ada", conversation=body)
    ]


async def test_nothing_is_told_when_nothing_changes(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob, title="Same", metadata={"a": 1})
    his = await bob.connects()

    fields = {"title": "Same", "metadata": {"a": 1}, "is_active": True, "client": None}
    answer = await ada.patch(f"conversations/{talk['id']}/", fields)

    assert answer == await ada.get(f"conversations/{talk['id']}/")
    assert answer["head"] == talk["head"]
    await his.hears_nothing()


async def test_an_update_that_names_nothing_is_refused(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob)

    with pytest.raises(Refused) as no:
        await ada.patch(f"conversations/{talk['id']}/", {})

    assert no.value.code == "validation_failed"


async def test_closing_and_reopening_are_told_with_their_lines(
    ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("group", bob)
    his, outside = await bob.connects(), await eve.connects()

    for is_active, word in ((False, "conversation_closed"), (True, "conversation_reopened")):
        changed = await ada.patch(f"conversations/{talk['id']}/", {"is_active": is_active})
        line = await last_line(bob, talk)
        assert line["system"] == {"event": word, "params": {"actor_id": "ada"}}
        updated = durable(
            "conversation:updated",
            talk,
            changed["head"] - 1,
            "ada",
            conversation=after_the_change(changed, lines=1),
        )
        assert await his.heard() == [updated, spoken(line)]
    await outside.hears_nothing()


async def test_a_closed_conversation_is_read_but_not_written(
    ada: Person, bob: Person, cleo: Person, backend: Person
) -> None:
    talk = await ada.creates("group", bob, initial_message={"content": "Hello"})
    path = f"conversations/{talk['id']}/"
    await ada.patch(path, {"is_active": False})
    her, his = await ada.connects(), await bob.connects()

    refusals = []
    for work in (
        his.says(talk, "Too late"),
        her.says(talk, "Also for the owner"),
        bob.says(talk, "By the other door"),
        backend.says(talk, "Maintenance", type="system"),
        his.asks("typing:start", conversation_id=talk["id"]),
        ada.post(f"{path}participants/", {"user_ids": ["cleo"]}),
    ):
        with pytest.raises(Refused) as no:
            await work
        refusals.append(no.value.code)

    assert set(refusals) == {"conversation_closed"}
    await his.hears_nothing()
    assert [m["content"] for m in await all_messages(bob, talk["id"])][1] == "Hello"
    assert (await bob.post(f"{path}mark_read/"))["unread_count"] == 0
    assert await his.heard_names() == ["receipt:read", "my:unread"]
    assert await her.heard_names() == ["receipt:read"]
    await ada.patch(path, {"is_active": True})
    await bob.says(talk, "Open again")
    expected = ["conversation:updated", "message:created", "message:created"]
    assert await his.heard_names() == await her.heard_names() == expected


async def test_a_first_message_into_a_closed_conversation_is_refused(
    ada: Person, bob: Person, backend: Person
) -> None:
    talk = await ada.creates("direct", bob)
    await backend.patch(f"conversations/{talk['id']}/", {"is_active": False})
    his = await bob.connects()

    with pytest.raises(Refused) as no:
        await ada.creates("direct", bob, initial_message={"content": "Hello"})

    assert no.value.code == "conversation_closed"
    assert (await ada.creates("direct", bob))["id"] == talk["id"]
    await his.hears_nothing()


@pytest.mark.parametrize("field", ["title", "avatar_url"])
async def test_nobody_renames_a_direct_conversation(
    ada: Person, bob: Person, root: Person, backend: Person, field: str
) -> None:
    talk = await ada.creates("direct", root)
    her = await ada.connects()

    for person in (ada, root, backend):
        with pytest.raises(Refused) as no:
            await person.patch(f"conversations/{talk['id']}/", {field: "/mine"})
        assert no.value.code == "forbidden"
    await her.hears_nothing()


async def test_only_the_backend_closes_a_direct_conversation_and_writes_its_keys(
    ada: Person, bob: Person, backend: Person
) -> None:
    talk = await ada.creates("direct", bob)
    path = f"conversations/{talk['id']}/"
    his = await bob.connects()

    answer: dict[str, Any] = {}
    for fields in ({"is_active": False}, {"client": "c-1"}, {"metadata": {"a": 1}}):
        with pytest.raises(Refused) as no:
            await bob.patch(path, fields)
        assert no.value.code == "forbidden"
        answer = await backend.patch(path, fields)
        assert {name: answer[name] for name in fields} == fields
    assert (answer["my"], answer["last_message"]) == (None, None)
    told = ["conversation:updated", "message:created"] + ["conversation:updated"] * 2
    assert await his.heard_names() == told


async def test_an_outsider_learns_nothing_from_updating(
    town: Town, ada: Person, bob: Person, eve: Person, root: Person
) -> None:
    talk = await ada.creates("group", bob)
    outside, nowhere = await eve.connects(), "0" * 36

    answers = [
        await person.call("PATCH", f"conversations/{id_}/", {"title": "Mine"})
        for person in (eve, root)
        for id_ in (talk["id"], nowhere)
    ]

    assert [status for status, _, _ in answers] == [404] * 4
    assert all(answer == answers[0][1] for _, answer, _ in answers)
    await outside.hears_nothing()
    assert (await ada.get(f"conversations/{talk['id']}/"))["title"] is None


async def test_an_agent_who_became_admin_in_the_application_acts_as_owner_where_they_are_in(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("group", bob)
    promoted = town.person("bob", role=UserRole.ADMIN)

    assert (await promoted.patch(f"conversations/{talk['id']}/", {"title": "Mine"}))["title"]
    with pytest.raises(Refused) as no:
        await town.person("bob", role=UserRole.CLIENT).patch(
            f"conversations/{talk['id']}/", {"title": "Again"}
        )
    assert no.value.code == "forbidden"
