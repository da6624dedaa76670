"""What somebody with a good token of an agent tries with what is not theirs, and does not get.

`tests/test_messages_not_found.py` asks for everything by its id; here are the other ways in.
"""

from typing import Any

import pytest

from server.ids import new_id
from server.schemas.values import UserRole
from tests.people import Person, Town, all_conversations, all_messages
from tests.refusals import refused

SEND = "conversations/{}/send/"
BOB = "conversations/{}/participants/bob/"
CREATE = "conversations/create_with_participants/"


async def test_the_cursors_of_others_open_nothing(
    ada: Person, bob: Person, cleo: Person, dan: Person, root: Person
) -> None:
    for talk in [await ada.creates("group", other, cleo) for other in (bob, cleo)]:
        for text in ("one", "two"):
            await ada.says(talk, text)
    talk = await ada.creates("group", bob, cleo)
    of_members = f"conversations/{talk['id']}/participants/"
    lists = ("conversations/", "messages/", "messages/?q=o")

    for path in lists:
        mark = "&" if "?" in path else "?"
        page = await ada.get(f"{path}{mark}limit=1")
        cursor = page["next_cursor"]
        assert (await ada.get(f"{path}{mark}cursor={cursor}"))["results"] != []
        for stranger in (dan, root):
            got = await stranger.get(f"{path}{mark}cursor={cursor}")
            assert (got["results"], got["next_cursor"]) == ([], None)
    cursor = (await ada.get(f"{of_members}?limit=1"))["next_cursor"]
    for stranger in (dan, root):
        no = await refused(stranger.get(f"{of_members}?cursor={cursor}"))
        assert no.code == "not_found"
    # In a conversation of their own it brings nobody of the other one.
    own = await dan.creates("group", root)
    page = await dan.get(f"conversations/{own['id']}/participants/?cursor={cursor}")
    assert {one["user"]["id"] for one in page["results"]} <= {"dan", "root"}


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", SEND, {"content": "x", "sender_id": "bob"}, "sender_id"),
        ("POST", SEND, {"content": "x", "seq": 1}, "seq"),
        ("POST", SEND, {"content": "x", "system": {"event": "notice", "params": {}}}, "system"),
        ("POST", SEND, {"content": "x", "created_at": "2026-01-02T03:04:05Z"}, "created_at"),
        ("PATCH", "conversations/{}/", {"external_id": "order 8"}, "external_id"),
        ("PATCH", "conversations/{}/", {"type": "direct"}, "type"),
        ("PATCH", "conversations/{}/", {"created_by": "bob"}, "created_by"),
        ("PATCH", "conversations/{}/", {"head": 1}, "head"),
        ("PATCH", BOB, {"role": "member", "read_seq": 9}, "read_seq"),
        ("PATCH", BOB, {"role": "service"}, "role"),
        ("POST", "conversations/{}/participants/", {"user_ids": ["x"], "role": "owner"}, "role"),
        ("POST", CREATE, {"type": "group", "participant_ids": ["x"], "role": "owner"}, "role"),
        ("POST", CREATE, {"type": "group", "participant_ids": ["x"], "id": "y"}, "id"),
        ("POST", "conversations/{}/mark_read/", {"user_id": "bob"}, "user_id"),
        ("POST", "conversations/{}/archive/", {"user_id": "bob"}, "user_id"),
    ],
)
async def test_nobody_sets_what_the_server_gives_out(
    ada: Person, bob: Person, method: str, path: str, body: dict[str, Any], field: str
) -> None:
    # An owner, so that nothing but the field is in the way.
    talk = await ada.creates("group", bob)
    his = await bob.connects()

    status, answer, _ = await ada.call(method, path.format(talk["id"]), body)

    assert (status, answer["error"]["code"]) == (400, "validation_failed")
    assert [one["field"] for one in answer["error"]["details"]] == [field]
    await his.hears_nothing()
    assert (await bob.get(f"conversations/{talk['id']}/"))["head"] == talk["head"]


async def test_an_agent_does_nothing_of_what_the_backend_does(
    town: Town, ada: Person, bob: Person, dan: Person, root: Person, backend: Person
) -> None:
    talk = await backend.creates("client_agent", ada, bob, external_id="order 7")
    his = await bob.connects()
    one = f"conversations/{talk['id']}/"
    line = {"content": "Pay here", "type": "system"}

    for agent in (dan, root):
        for work, code in (
            (agent.post(f"{one}send/", line), "not_found"),
            (agent.patch(one, {"is_active": False}), "not_found"),
            (agent.post(f"{one}participants/", {"user_ids": [agent.id]}), "not_found"),
            (agent.delete(f"{one}participants/bob/"), "not_found"),
            (agent.creates("client_agent", bob, external_id="order 7"), "validation_failed"),
            (agent.put("users/bob/", {"name": "Robert"}), "forbidden"),
            (agent.put(f"users/{agent.id}/", {"role": "service"}), "forbidden"),
        ):
            assert (await refused(work)).code == code
    # Nor where she is a member, and an admin of it.
    assert (await refused(ada.post(f"{one}send/", line))).code == "forbidden"
    form_of_it = ada.call("POST", f"{one}send/", {"type": "system", "content": "", "metadata": {}})
    assert (await form_of_it)[0] in (400, 403)
    await his.hears_nothing()
    assert (await bob.get("me/"))["name"] == "Bob"


async def test_a_file_that_was_never_sent_is_only_its_owners(
    ada: Person, bob: Person, dan: Person, backend: Person
) -> None:
    talk = await dan.creates("group", bob)
    his = await bob.connects()
    file = await ada.upload(b"for nobody else")

    for person in (dan, bob, backend):
        assert (await person.post("files/sign/", {"ids": [file["id"]]}))["urls"] == {}
        assert (await refused(person.get(f"files/{file['id']}/"))).code == "not_found"
    taken = {"content": "Look", "attachment_ids": [file["id"]], "client_msg_id": new_id()}
    no = await refused(dan.post(SEND.format(talk["id"]), taken))
    assert (no.code, no.fields) == ("validation_failed", ["attachment_ids.0"])
    await his.hears_nothing()


async def test_whoever_adds_the_backend_before_it_came_takes_no_right_from_it(
    town: Town, ada: Person, bob: Person
) -> None:
    crm = town.person("late", role=None)
    talk = await ada.creates("group", bob, crm)
    hers = await ada.connects()
    said = await ada.says(talk, "Private")
    await hers.heard()

    crm = town.person("late", name="", role=UserRole.SERVICE)
    await crm.get("me/")
    await hers.heard()

    assert (await refused(crm.says(talk, "As a member"))).code == "forbidden"
    assert (await refused(crm.delete(f"messages/{said['id']}/"))).code == "not_found"
    await crm.delete(f"conversations/{talk['id']}/participants/bob/")
    await crm.patch(f"conversations/{talk['id']}/", {"is_active": False})

    names = await hers.heard_names()
    assert "participant:removed" in names
    assert "conversation:updated" in names
    assert await all_conversations(bob) == {}
    assert [m["content"] for m in await all_messages(ada, talk["id"]) if m["content"]] == [
        "Private"
    ]
