"""The embedding backend: it provisions for others, and reads and joins nothing itself."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.people import Person, Refused, Town, all_conversations, all_members, all_messages


async def test_two_who_never_connected_find_their_conversation(town: Town, backend: Person) -> None:
    zoe, yan = town.person("z-1", name="Zoé"), town.person("y-1", name="Yan")
    await backend.put("users/z-1/", {"name": "Zoé", "role": "client"})

    talk = await backend.creates("client_agent", zoe, yan, external_id="order 7", client="z-1")

    assert (talk["my"], talk["last_message"], talk["created_by"]) == (None, None, "backend")
    theirs = await zoe.connects()
    assert list(theirs.ready["joined"]) == [talk["id"]]
    assert theirs.ready["unread_total"] == 0
    assert set(await all_conversations(yan)) == {talk["id"]}
    said = await theirs.says(talk, "Hello")
    assert [m["id"] for m in await all_messages(yan, talk["id"])][-1] == said["id"]
    await theirs.heard()


async def test_the_backend_is_no_participant(ada: Person, bob: Person, backend: Person) -> None:
    device = await backend.connects()

    talk = await backend.creates("group", ada, bob)

    members = [member["user"]["id"] for member in await all_members(backend, talk["id"])]
    assert members == ["ada", "bob"]
    assert await all_conversations(backend) == {}
    await ada.says(talk, "Hello")
    await device.hears_nothing()


async def test_the_backend_reads_no_messages_and_has_no_my(
    ada: Person, bob: Person, backend: Person
) -> None:
    talk = await backend.creates("direct", ada, bob)
    said = await ada.says(talk, "Private")
    one = f"conversations/{talk['id']}/"

    for method, path in (
        ("GET", f"{one}messages/"),
        ("GET", f"messages/{said['id']}/"),
        ("GET", f"messages/{said['id']}/history/"),
        ("GET", f"messages/{said['id']}/read_by/"),
        ("DELETE", f"messages/{said['id']}/"),
        ("POST", f"{one}mark_read/"),
        ("POST", f"messages/{said['id']}/mark_read/"),
        ("POST", f"{one}archive/"),
    ):
        status, answer, _ = await backend.call(method, path)
        assert (path, status, answer["error"]["code"]) == (path, 404, "not_found")
    assert (await backend.get("messages/?q=private"))["results"] == []
    seen = await backend.get(one)
    assert (seen["my"], seen["last_message"]) == (None, None)


async def test_the_backend_adds_removes_closes_and_reopens(
    ada: Person, bob: Person, cleo: Person, eve: Person, backend: Person
) -> None:
    talk = await backend.creates("group", ada, bob)
    one = f"conversations/{talk['id']}/"
    her, outside = await ada.connects(), await eve.connects()

    await backend.post(f"{one}participants/", {"user_ids": ["cleo"]})
    await backend.delete(f"{one}participants/bob/")
    await backend.patch(f"{one}participants/cleo/", {"role": "admin"})
    await backend.patch(one, {"is_active": False})
    await backend.patch(one, {"is_active": True, "title": "Again"})

    frames = await her.heard()
    lines = [data["message"]["system"] for name, data in frames if name == "message:created"]
    assert [line["event"] for line in lines] == [
        "participant_joined",
        "participant_removed",
        "conversation_closed",
        "conversation_renamed",
        "conversation_reopened",
    ]
    assert {line["params"]["actor_id"] for line in lines} == {"backend"}
    assert {data["actor_id"] for _, data in frames} == {"backend"}
    numbers = [data["event_seq"] for _, data in frames]
    assert numbers == list(range(talk["head"] + 1, talk["head"] + 11))
    assert [data["prev_event_seq"] for _, data in frames] == [n - 1 for n in numbers]
    await outside.hears_nothing()


@pytest.mark.parametrize("fields", [{}, {"type": "text"}])
async def test_the_backend_says_nothing_but_system_messages(
    ada: Person, bob: Person, backend: Person, fields: dict[str, Any]
) -> None:
    talk = await backend.creates("group", ada, bob)
    her = await ada.connects()

    with pytest.raises(Refused) as no:
        await backend.says(talk, "As if I were somebody", **fields)

    assert no.value.code == "forbidden"
    await her.hears_nothing()
    said = await backend.says(talk, "Maintenance tonight", type="system")
    (frame,) = await her.heard()
    assert frame[1]["message"] == {k: v for k, v in said.items() if k != "status"}
    assert said["system"] == {"event": "notice", "params": {}}
    assert (await ada.get("me/unread/"))["total"] == 0


async def test_the_backend_of_a_token_is_not_that_of_a_profile(
    town: Town, ada: Person, bob: Person, backend: Person
) -> None:
    talk = await ada.creates("group", bob)

    # The profile says service; this token does not.
    pretender = town.person("backend", name="CRM")

    for work in (
        pretender.get(f"conversations/{talk['id']}/"),
        pretender.patch(f"conversations/{talk['id']}/", {"title": "Mine"}),
    ):
        with pytest.raises(Refused) as no:
            await work
        assert no.value.code == "not_found"


async def test_what_the_backend_names_must_exist(backend: Person) -> None:
    for method, path, body in (
        ("GET", "conversations/nowhere/", None),
        ("PATCH", "conversations/nowhere/", {"title": "x"}),
        ("POST", "conversations/nowhere/participants/", {"user_ids": ["x"]}),
        ("DELETE", "conversations/nowhere/participants/x/", None),
    ):
        status, answer, _ = await backend.call(method, path, body)
        assert (status, answer["error"]["code"]) == (404, "not_found")


async def test_one_asks_for_oneself(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob, initial_message={"content": "Hello"})
    await ada.says(talk, "Are you there?")

    me = await bob.get("me/")

    assert me == {"id": "bob", "name": "Bob", "avatar_url": None, "role": "client", "metadata": {}}
    assert await bob.get("me/unread/") == {"total": 2, "conversations": 1}
    assert await ada.get("me/unread/") == {"total": 0, "conversations": 0}


@pytest.mark.parametrize("id_", ["zoe@example.org", "a/b", "Zoé", "50%", "a b+c", "x?y#z"])
async def test_an_id_of_the_application_may_hold_any_sign(
    town: Town, ada: Person, backend: Person, id_: str
) -> None:
    name = quote(id_, safe="")
    talk = await backend.creates("group", ada)
    members = f"conversations/{talk['id']}/participants/"

    assert (await backend.put(f"users/{name}/", {"name": "Zoé"}))["id"] == id_
    await backend.post(members, {"user_ids": [id_]})
    await backend.patch(f"{members}{name}/", {"role": "admin"})
    assert set(await all_conversations(town.person(id_))) == {talk["id"]}
    await backend.delete(f"{members}{name}/")

    assert [m["user"]["id"] for m in await all_members(ada, talk["id"])] == ["ada"]
