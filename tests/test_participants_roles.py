"""Roles: who gets another one, who hears of it, and how a conversation keeps an owner."""

import asyncio
from typing import Any

import pytest

from tests.frames import durable, spoken
from tests.people import Person, Refused, all_members, all_messages


async def sets(person: Person, talk: dict[str, Any], who: Person, role: str) -> dict[str, Any]:
    path = f"conversations/{talk['id']}/participants/{who.id}/"
    (member,) = (await person.patch(path, {"role": role}))["participants"]
    changed: dict[str, Any] = member
    return changed


async def roles(person: Person, talk: dict[str, Any]) -> dict[str, str]:
    return {m["user"]["id"]: m["role"] for m in await all_members(person, talk["id"])}


async def test_another_role_is_told_to_all_members(
    ada: Person, bob: Person, cleo: Person, eve: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    her, his, outside = await ada.connects(), await bob.connects(), await eve.connects()

    answer = await her.asks(
        "participant:update", conversation_id=talk["id"], user_id="bob", role="admin"
    )

    (member,) = answer["participants"]
    number = talk["head"] + 1
    assert (member["user"]["id"], member["role"], member["event_seq"]) == ("bob", "admin", number)
    told = [durable("participant:updated", talk, number, "ada", participant=member)]
    assert await her.heard() == await his.heard() == told
    await outside.hears_nothing()
    assert (await bob.get(f"conversations/{talk['id']}/"))["my"]["role"] == "admin"


async def test_the_same_role_again_is_not_told(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob)
    his = await bob.connects()

    assert (await sets(ada, talk, bob, "member"))["event_seq"] == 3
    assert (await sets(ada, talk, ada, "owner"))["event_seq"] == 2

    await his.hears_nothing()


async def test_a_role_that_is_none_is_refused(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob)

    with pytest.raises(Refused) as no:
        await sets(ada, talk, bob, "king")

    assert (no.value.code, no.value.fields) == ("validation_failed", ["role"])


async def test_who_only_reads_reads_and_marks_read_and_nothing_else(
    ada: Person, bob: Person
) -> None:
    talk = await ada.creates("group", bob)
    await sets(ada, talk, bob, "read_only")
    her, his = await ada.connects(), await bob.connects()

    for work in (
        his.says(talk, "Hello"),
        his.asks("typing:start", conversation_id=talk["id"]),
        bob.says(talk, "By the other door"),
    ):
        with pytest.raises(Refused) as no:
            await work
        assert no.value.code == "forbidden"
    await her.hears_nothing()
    said = await ada.says(talk, "Read this")
    assert (await bob.get(f"messages/{said['id']}/"))["content"] == "Read this"
    await his.asks("receipt:read", conversation_id=talk["id"], up_to_seq=said["seq"])
    assert await her.heard_names() == ["message:created", "receipt:read"]
    assert await his.heard_names() == ["message:created", "receipt:read", "my:unread"]
    await sets(ada, talk, bob, "member")
    assert (await bob.says(talk, "Thank you"))["seq"] == said["seq"] + 1
    await her.heard()
    await his.heard()


async def test_the_last_owner_stays_one_until_another_is_named(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob)
    his = await bob.connects()

    for role in ("admin", "member", "read_only"):
        with pytest.raises(Refused) as no:
            await sets(ada, talk, ada, role)
        assert no.value.code == "forbidden"
    await his.hears_nothing()
    await sets(ada, talk, bob, "owner")
    await sets(ada, talk, ada, "member")
    assert await roles(bob, talk) == {"ada": "member", "bob": "owner"}
    assert await his.heard_names() == ["participant:updated"] * 2


async def test_two_owners_who_step_back_at_once_leave_one(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob)
    await sets(ada, talk, bob, "owner")

    steps = await asyncio.gather(
        sets(ada, talk, ada, "member"), sets(bob, talk, bob, "member"), return_exceptions=True
    )

    assert sorted(getattr(step, "code", "done") for step in steps) == ["done", "forbidden"]
    assert sorted((await roles(ada, talk)).values()) == ["member", "owner"]


async def test_the_last_owner_who_leaves_passes_it_on_and_all_hear_it(
    ada: Person, bob: Person, cleo: Person, dan: Person
) -> None:
    talk = await ada.creates("group", bob, cleo, dan)
    await sets(ada, talk, cleo, "admin")
    await sets(ada, talk, dan, "admin")
    her, his = await ada.connects(), await bob.connects()
    number = talk["head"] + 3

    (gone,) = (await ada.post(f"conversations/{talk['id']}/leave/"))["participants"]

    heir = {m["user"]["id"]: m for m in await all_members(bob, talk["id"])}["cleo"]
    assert (heir["role"], heir["event_seq"]) == ("owner", number + 1)
    line = (await all_messages(bob, talk["id"]))[-1]
    assert await his.heard() == [
        durable("participant:removed", talk, number, "ada", participant=gone, reason="left"),
        durable("participant:updated", talk, number + 1, "ada", participant=heir),
        spoken(line),
    ]
    assert await her.heard_names() == ["participant:removed", "conversation:removed"]
    assert await roles(bob, talk) == {"bob": "member", "cleo": "owner", "dan": "admin"}


@pytest.mark.parametrize(
    ("given", "heir"),
    [
        ({}, "bob"),
        ({"bob": "read_only"}, "cleo"),
        ({"bob": "read_only", "cleo": "read_only"}, "bob"),
        ({"cleo": "admin"}, "cleo"),
        ({"cleo": "owner"}, None),
    ],
)
async def test_the_oldest_of_the_highest_inherits(
    ada: Person, bob: Person, cleo: Person, given: dict[str, str], heir: str | None
) -> None:
    talk = await ada.creates("group", bob, cleo)
    people = {"bob": bob, "cleo": cleo}
    for who, role in given.items():
        await sets(ada, talk, people[who], role)
    before = await roles(ada, talk)

    await ada.post(f"conversations/{talk['id']}/leave/")

    del before["ada"]
    assert await roles(bob, talk) == before | ({} if heir is None else {heir: "owner"})


async def test_an_owner_whom_the_backend_removes_passes_it_on_too(
    ada: Person, bob: Person, backend: Person
) -> None:
    talk = await ada.creates("group", bob)

    await backend.delete(f"conversations/{talk['id']}/participants/ada/")

    assert await roles(bob, talk) == {"bob": "owner"}


async def test_who_comes_back_has_no_more_rights_than_a_newcomer(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob)
    await sets(ada, talk, bob, "owner")
    await bob.post(f"conversations/{talk['id']}/leave/")

    await ada.post(f"conversations/{talk['id']}/participants/", {"user_ids": ["bob"]})

    assert await roles(ada, talk) == {"ada": "owner", "bob": "member"}


async def test_a_person_of_role_admin_owns_where_they_are_in(
    ada: Person, bob: Person, root: Person
) -> None:
    talk = await ada.creates("group", bob, root)
    assert (await root.get(f"conversations/{talk['id']}/"))["my"]["role"] == "member"

    await sets(root, talk, bob, "owner")
    await root.delete(f"conversations/{talk['id']}/participants/ada/")

    assert await roles(bob, talk) == {"bob": "owner", "root": "member"}
