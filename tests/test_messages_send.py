"""Sending: stored once, numbered without holes, told to everybody who is in, to nobody else."""

import asyncio
from typing import Any

import pytest

from tests.people import Device, Person, Town, all_messages
from tests.refusals import refused


async def test_bob_hears_what_ada_says_and_eve_hears_nothing(
    town: Town, ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("direct", bob)
    her, his, outside = await ada.connects(), await bob.connects(), await eve.connects()

    said = await her.says(talk, "Hello Bob", client_msg_id="1")

    expected = {k: v for k, v in said.items() if k != "status"}
    frame = (
        "message:created",
        {
            "conversation_id": talk["id"],
            "event_seq": said["event_seq"],
            "prev_event_seq": said["event_seq"] - 1,
            "actor_id": "ada",
            "message": expected,
        },
    )
    assert await her.heard() == [frame]
    assert await his.heard() == [frame]
    await outside.hears_nothing()


async def test_a_fresh_message_has_every_field_of_the_contract(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "Hello", client_msg_id="1", metadata={"mood": ["glad"]})

    numbers = {name: said.pop(name) for name in ("id", "event_seq", "created_at")}

    assert numbers["event_seq"] == talk["head"] + 1
    assert said == {
        "conversation_id": talk["id"],
        "seq": 1,
        "client_msg_id": "1",
        "sender": {"id": "ada", "name": "Ada", "avatar_url": None, "role": "agent"},
        "type": "text",
        "content": "Hello",
        "attachments": [],
        "reply_to": None,
        "mentions": [],
        "reactions": [],
        "metadata": {"mood": ["glad"]},
        "system": None,
        "is_pinned": False,
        "is_edited": False,
        "edited_at": None,
        "version": 1,
        "is_deleted": False,
        "deleted_at": None,
        "status": "sent",
    }


@pytest.mark.parametrize(
    "content",
    [
        "  spaces at both ends  ",
        "lines\nand\ttabs\r\n",
        "e\u0301 \u202e 👩‍👩‍👧 \u0007",
        "<b>&amp;</b>",
    ],
)
async def test_a_text_arrives_as_it_was_written(ada: Person, bob: Person, content: str) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()

    await ada.says(talk, content)

    assert (await his.hears("message:created"))["message"]["content"] == content
    assert [m["content"] for m in await all_messages(bob, talk["id"])] == [content]


async def test_an_outsider_cannot_send_and_nobody_hears_of_it(
    ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his, outside = await bob.connects(), await eve.connects()

    assert (await refused(outside.says(talk, "Let me in"))).code == "not_found"
    assert (await refused(eve.says(talk, "Let me in"))).code == "not_found"

    await his.hears_nothing()
    await outside.hears_nothing()
    assert await all_messages(ada, talk["id"]) == []


# Once, for ever


async def test_a_message_sent_twice_is_stored_once(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    her, his = await ada.connects(), await bob.connects()
    fields = {"conversation_id": talk["id"], "client_msg_id": "same", "content": "Once"}

    first = await her.asks("message:send", **fields)
    again = await her.asks("message:send", **fields)

    assert (first["duplicate"], again["duplicate"]) == (False, True)
    assert first["message"] == again["message"]
    assert await his.heard_names() == ["message:created"]
    assert await her.heard_names() == ["message:created"]


async def test_rest_says_201_for_a_new_message_and_200_for_one_it_has(
    ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    path, key = f"conversations/{talk['id']}/send/", {"Idempotency-Key": "k1"}

    first, message, _ = await ada.call("POST", path, {"content": "Once"}, headers=key)
    again, same, _ = await ada.call("POST", path, {"content": "Once"}, headers=key)
    in_body, also, _ = await ada.call("POST", path, {"content": "Once", "client_msg_id": "k1"})

    assert (first, again, in_body) == (201, 200, 200)
    assert message == same == also
    assert message["client_msg_id"] == "k1"
    assert await his.heard_names() == ["message:created"]


async def test_both_doors_know_the_same_ids(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    her = await ada.connects()
    said = await her.says(talk, "Once", client_msg_id="k1")

    status, same, _ = await ada.call(
        "POST", f"conversations/{talk['id']}/send/", {"content": "Once", "client_msg_id": "k1"}
    )

    assert (status, same) == (200, said)
    assert await her.heard_names() == ["message:created"]


async def test_without_an_id_rest_makes_one_each_time(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)

    one, two = await ada.says(talk, "Same"), await ada.says(talk, "Same")

    assert "" not in {one["client_msg_id"], two["client_msg_id"]}
    assert one["client_msg_id"] != two["client_msg_id"]
    assert (one["seq"], two["seq"]) == (1, 2)


async def test_header_and_body_must_name_the_same_id(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    body, path = {"content": "Hi", "client_msg_id": "b"}, f"conversations/{talk['id']}/send/"

    no = await refused(ada.post(path, body, headers={"Idempotency-Key": "h"}))
    assert (no.status, no.code, no.fields) == (400, "validation_failed", ["client_msg_id"])
    empty = await refused(ada.post(path, {"content": "Hi"}, headers={"Idempotency-Key": ""}))
    assert empty.fields == ["client_msg_id"]

    assert await all_messages(ada, talk["id"]) == []


@pytest.mark.parametrize("other", [{"content": "Other"}, {"metadata": {"a": 2}}, {"metadata": {}}])
async def test_the_same_id_for_another_message_is_a_conflict(
    ada: Person, bob: Person, other: dict[str, Any]
) -> None:
    talk = await ada.creates("direct", bob)
    fields: dict[str, Any] = {"client_msg_id": "k", "content": "Once", "metadata": {"a": 1}}
    said = await ada.says(talk, **fields)
    her, his = await ada.connects(), await bob.connects()

    by_rest = await refused(ada.says(talk, **{**fields, **other}))
    by_socket = await refused(her.says(talk, **{**fields, **other}))

    assert (by_rest.status, by_rest.code) == (409, "idempotency_conflict")
    assert by_socket.error == by_rest.error
    await her.hears_nothing()
    await his.hears_nothing()
    assert await all_messages(ada, talk["id"]) == [said]


async def test_metadata_in_another_order_is_the_same_request(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    first = await ada.says(talk, "Hi", client_msg_id="k", metadata={"a": 1, "b": {"c": 2, "d": 3}})
    again = await ada.says(talk, "Hi", client_msg_id="k", metadata={"b": {"d": 3, "c": 2}, "a": 1})
    assert first == again


async def test_a_retry_after_an_edit_gets_the_message_as_it_is_now(
    ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "Helo", client_msg_id="k")
    edited = await ada.patch(f"messages/{said['id']}/", {"content": "Hello"})
    her = await ada.connects()

    retry = {"conversation_id": talk["id"], "client_msg_id": "k", "content": "Helo"}
    again = await her.asks("message:send", **retry)
    conflict = await refused(her.asks("message:send", **{**retry, "content": "Hello"}))

    assert again == {"message": edited, "duplicate": True}
    assert conflict.code == "idempotency_conflict"
    await her.hears_nothing()


async def test_a_retry_after_deleting_gets_the_tombstone(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "Oops", client_msg_id="k")
    tombstone = await ada.delete(f"messages/{said['id']}/")

    assert await ada.says(talk, "Oops", client_msg_id="k") == tombstone
    assert [m["id"] for m in await all_messages(bob, talk["id"])] == [said["id"]]


async def test_a_removed_sender_learns_only_that_it_was_stored(
    town: Town, ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    said = await bob.says(talk, "Mine", client_msg_id="k", metadata={"a": 1})
    await bob.patch(f"messages/{said['id']}/", {"content": "Changed"})
    await ada.delete(f"conversations/{talk['id']}/participants/bob/")
    await ada.delete(f"messages/{said['id']}/")
    await cleo.post(f"conversations/{talk['id']}/mark_read/")
    hers, his = await cleo.connects(), await bob.connects()

    retry = {"conversation_id": talk["id"], "client_msg_id": "k", "content": "Mine"}
    again = await his.asks("message:send", **retry, metadata={"a": 1})
    other = await refused(his.says(talk, "New", client_msg_id="new"))

    blank = {"event_seq": 0, "content": "", "metadata": {}}
    assert again == {"message": {**said, **blank}, "duplicate": True}
    assert other.code == "not_found"
    await hers.hears_nothing()
    await his.hears_nothing()


async def test_a_closed_conversation_answers_retries_and_takes_nothing_new(
    ada: Person, bob: Person, backend: Person
) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "Last words", client_msg_id="k")
    await backend.patch(f"conversations/{talk['id']}/", {"is_active": False})
    her, his = await ada.connects(), await bob.connects()

    again = await her.says(talk, "Last words", client_msg_id="k")
    by_socket = await refused(his.says(talk, "More"))
    by_rest = await refused(bob.says(talk, "More"))

    assert again == said
    assert (by_rest.status, by_rest.code) == (409, "conversation_closed")
    assert by_socket.error == by_rest.error
    kept = await all_messages(bob, talk["id"])
    assert [(m["id"], m["type"]) for m in kept][0:1] == [(said["id"], "text")]
    await her.hears_nothing()
    await his.hears_nothing()


async def test_retries_at_the_same_time_make_one_message(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    phone, laptop, his = await ada.connects(), await ada.connects(), await bob.connects()
    fields = {"conversation_id": talk["id"], "client_msg_id": "k", "content": "Once"}
    by_rest = ("POST", f"conversations/{talk['id']}/send/", {"content": "Once"})
    key = {"Idempotency-Key": "k"}

    rest = [ada.call(*by_rest, headers=key) for _ in range(5)]
    sockets = [one.asks("message:send", **fields) for one in (phone, laptop) for _ in range(5)]
    answers, replies = await asyncio.gather(asyncio.gather(*rest), asyncio.gather(*sockets))

    news = [status == 201 for status, _, _ in answers] + [not r["duplicate"] for r in replies]
    assert news.count(True) == 1
    ids = {body["id"] for _, body, _ in answers} | {r["message"]["id"] for r in replies}
    assert len(ids) == 1
    for device in (phone, laptop, his):
        assert await device.heard_names() == ["message:created"]


async def test_an_id_counts_for_one_sender_in_one_conversation(
    ada: Person, bob: Person, cleo: Person
) -> None:
    here, there = await ada.creates("direct", bob), await ada.creates("direct", cleo)

    said = [
        await ada.says(here, "Hi", client_msg_id="k"),
        await ada.says(there, "Hi", client_msg_id="k"),
        await bob.says(here, "Hi", client_msg_id="k"),
    ]

    assert len({message["id"] for message in said}) == 3
    assert [message["seq"] for message in said] == [1, 1, 2]


# Numbers


async def test_fifty_quick_messages_of_one_socket_keep_their_order(
    ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    her, his = await ada.connects(), await bob.connects()
    texts = [f"Number {n}" for n in range(50)]

    said = await asyncio.gather(*(her.says(talk, text) for text in texts))

    assert [message["content"] for message in said] == texts
    assert [message["seq"] for message in said] == list(range(1, 51))
    for device in (her, his):
        heard = await device.heard()
        assert [name for name, _ in heard] == ["message:created"] * 50
        assert [data["message"]["content"] for _, data in heard] == texts
        assert [d["prev_event_seq"] for _, d in heard] == [d["event_seq"] - 1 for _, d in heard]


async def test_numbers_have_no_holes_when_forty_send_at_once(
    town: Town, ada: Person, bob: Person, cleo: Person, dan: Person
) -> None:
    people = (ada, bob, cleo, dan)
    talk = await ada.creates("group", bob, cleo, dan)
    devices = [await person.connects() for person in people]

    by_socket = [device.says(talk, f"{n}") for n in range(5) for device in devices]
    by_rest = [person.says(talk, f"{n}") for n in range(5) for person in people]
    said = await asyncio.gather(*by_socket, *by_rest)

    by_number = sorted(said, key=lambda message: int(message["seq"]))
    first, head = talk["last_seq"] + 1, talk["head"] + 1
    assert [message["seq"] for message in by_number] == list(range(first, first + 40))
    assert [message["event_seq"] for message in by_number] == list(range(head, head + 40))
    ids = [message["id"] for message in by_number]
    assert [m["id"] for m in await all_messages(bob, talk["id"])][-40:] == ids
    for device in devices:
        assert [data["message"]["id"] for _, data in await device.heard()] == ids


# What only the embedding application may say


async def test_a_system_message_comes_from_the_backend(
    town: Town, ada: Person, bob: Person, eve: Person, backend: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his, outside = await bob.connects(), await eve.connects()
    gate = await backend.connects()

    by_rest = await backend.says(talk, "The visit is at noon", type="system", client_msg_id="1")
    by_socket = await gate.says(talk, "The visit is over", type="system")
    again = await backend.says(talk, "The visit is at noon", type="system", client_msg_id="1")

    assert by_rest["type"] == "system"
    assert by_rest["sender"]["id"] == "backend"
    assert by_rest["system"] == {"event": "notice", "params": {}}
    assert again == by_rest
    heard = [data["message"]["content"] for _, data in await his.heard()]
    assert heard == [by_rest["content"], by_socket["content"]]
    assert (await bob.get(f"conversations/{talk['id']}/"))["my"]["unread_count"] == 0
    await outside.hears_nothing()
    await gate.hears_nothing()


async def test_people_send_no_system_messages_and_the_backend_nothing_else(
    ada: Person, bob: Person, root: Person, backend: Person
) -> None:
    talk = await ada.creates("group", bob, root)
    his, gate = await bob.connects(), await backend.connects()

    refusals = [
        await refused(ada.says(talk, "I am the system", type="system")),
        await refused(root.says(talk, "I am the system", type="system")),
        await refused(his.says(talk, "I am the system", type="system")),
        await refused(backend.says(talk, "I am a person")),
        await refused(gate.says(talk, "I am a person", type="text")),
    ]

    assert [no.code for no in refusals] == ["forbidden"] * 5
    await his.hears_nothing()
    await gate.hears_nothing()


@pytest.mark.parametrize("kind", ["image", "file"])
async def test_pictures_and_files_are_refused_until_they_are_built(
    ada: Person, bob: Person, kind: str
) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()

    no = await refused(ada.says(talk, "A picture", type=kind))

    assert (no.code, no.fields) == ("validation_failed", ["type"])
    await his.hears_nothing()


async def test_who_may_only_read_cannot_write(ada: Person, bob: Person, cleo: Person) -> None:
    talk = await ada.creates("group", bob, cleo)
    await ada.patch(f"conversations/{talk['id']}/participants/bob/", {"role": "read_only"})
    his, hers = await bob.connects(), await cleo.connects()

    assert (await refused(his.says(talk, "May I?"))).code == "forbidden"
    assert (await refused(bob.says(talk, "May I?"))).status == 403

    await his.hears_nothing()
    await hers.hears_nothing()


async def test_the_long_message_that_just_fits_is_taken(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    her: Device = await ada.connects()

    fits = await her.says(talk, "é" * 10_000)
    too_long = await refused(her.says(talk, "é" * 10_001))

    assert len(fits["content"]) == 10_000
    assert (too_long.code, too_long.fields) == ("validation_failed", ["content"])
    assert await her.heard_names() == ["message:created"]
