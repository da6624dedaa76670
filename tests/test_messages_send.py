"""Sending: stored once, told to everybody who is in, to nobody else."""

import pytest

from tests.people import Person, Refused, Town


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


async def test_an_outsider_cannot_send_and_nobody_hears_of_it(
    ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his, outside = await bob.connects(), await eve.connects()

    with pytest.raises(Refused) as refused:
        await outside.says(talk, "Let me in")

    assert refused.value.code == "not_found"
    await his.hears_nothing()
    await outside.hears_nothing()
