"""People in more conversations than a connection hears are told what goes on in the others."""

from typing import Any

import pytest

from server.actions import recency
from server.realtime import activity
from tests.eventually import becomes
from tests.people import Device, Person, Town

pytestmark = pytest.mark.settings(limits={"joined": 2})


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits a second for each look, nor for each copy of when something was said."""
    monkeypatch.setattr(activity, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(recency, "COPY_AFTER_S", 0.05)


async def talks_of(bob: Person, *others: Person) -> list[dict[str, Any]]:
    """Return four groups of Bob and the others; the last two have the newest activity."""
    made = [await bob.creates("group", *others) for _ in range(4)]
    for talk in made:
        await bob.says(talk, "First")
    # Who comes hears the newest, as far as it was copied to their memberships.
    await becomes(lambda: not recency.noted())
    return made


async def comes(town: Town, person: Person) -> Device:
    """Connect, and wait until it was looked where everything stands."""
    device = await person.connects()
    device.is_checked = False  # it hears two conversations of four
    await becomes(lambda: person.id in town.node.activity._seen)
    return device


async def goes_on(device: Device) -> dict[str, Any]:
    """Wait for the next hint that something was said, and return it."""
    while True:
        await becomes(lambda: bool(device.frames))
        name, data = device.frames.pop(0)
        if name == "conversation:activity":
            return data


async def hears_no_hint_before(device: Device, bob: Person, talk: dict[str, Any]) -> None:
    """Let something be said where a device does not listen, which alone it is told of.

    All hints of one look are sent together.
    """
    said = await bob.says(talk, "Elsewhere")
    told = await goes_on(device)
    assert (told["conversation_id"], told["last_seq"]) == (talk["id"], said["seq"])
    assert "conversation:activity" not in await device.heard_names()


async def test_what_is_said_where_one_does_not_listen_is_told_in_a_line(
    town: Town, bob: Person, cleo: Person
) -> None:
    talks = await talks_of(bob, cleo)
    hers = await comes(town, cleo)
    assert talks[0]["id"] not in hers.ready["joined"]

    said = await bob.says(talks[0], "x" * 500)

    told = await goes_on(hers)
    assert told == {
        "conversation_id": talks[0]["id"],
        "last_seq": said["seq"],
        "event_seq": said["event_seq"],
        "preview": {
            "seq": said["seq"],
            "sender": said["sender"],
            "type": "text",
            "excerpt": "x" * 160,
            "created_at": said["created_at"],
        },
    }


async def test_where_one_listens_nothing_is_told_twice(
    town: Town, bob: Person, cleo: Person
) -> None:
    talks = await talks_of(bob, cleo)
    hers = await comes(town, cleo)

    await bob.says(talks[3], "Hello")

    assert await hers.hears("message:created")
    await hears_no_hint_before(hers, bob, talks[0])


async def test_many_messages_are_one_hint_and_the_last_one_counts(
    town: Town, bob: Person, cleo: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    talks = await talks_of(bob, cleo)
    hers = await comes(town, cleo)
    monkeypatch.setattr(activity, "LOOK_EVERY_S", 2.0)
    # It was looked just now.
    await hears_no_hint_before(hers, bob, talks[1])

    await bob.says(talks[0], "One")
    await bob.says(talks[0], "Two")
    last = await bob.says(talks[0], "Three")
    monkeypatch.setattr(activity, "LOOK_EVERY_S", 0.05)

    told = await goes_on(hers)
    assert (told["last_seq"], told["preview"]["excerpt"]) == (last["seq"], "Three")
    await hears_no_hint_before(hers, bob, talks[1])


async def test_who_hears_everything_they_are_in_is_told_nothing(
    town: Town, bob: Person, cleo: Person, eve: Person
) -> None:
    talks = await talks_of(bob, cleo)
    only = await bob.creates("group", eve)
    outside = await eve.connects()
    hers = await comes(town, cleo)

    await bob.says(only, "Hello")

    assert await outside.hears("message:created")
    await hears_no_hint_before(hers, bob, talks[0])
    await outside.hears_nothing()
    assert "eve" not in town.node.activity._watched


async def test_who_was_removed_is_told_nothing_more(town: Town, bob: Person, cleo: Person) -> None:
    talks = await talks_of(bob, cleo)
    hers = await comes(town, cleo)
    await bob.says(talks[0], "While she is in")
    assert (await goes_on(hers))["conversation_id"] == talks[0]["id"]

    await bob.delete(f"conversations/{talks[0]['id']}/participants/cleo/")
    await bob.says(talks[0], "Behind her back")

    await hears_no_hint_before(hers, bob, talks[1])


@pytest.mark.settings(limits={"joined": 2, "broadcast_members": 2})
async def test_large_conversations_are_told_of_too(
    town: Town, bob: Person, cleo: Person, eve: Person
) -> None:
    talks = await talks_of(bob, cleo, eve)
    hers = await comes(town, cleo)

    await bob.says(talks[1], "Hello everybody")

    assert (await goes_on(hers))["preview"]["excerpt"] == "Hello everybody"


async def test_what_was_deleted_or_hidden_is_not_shown(
    town: Town, bob: Person, cleo: Person
) -> None:
    talks = await talks_of(bob, cleo)
    hers = await comes(town, cleo)
    said = await bob.says(talks[0], "Oops")
    await bob.delete(f"messages/{said['id']}/")

    told = await goes_on(hers)
    while told["preview"] is not None:
        # It was told before it was deleted.
        said = await bob.says(talks[0], "Oops")
        await bob.delete(f"messages/{said['id']}/")
        told = await goes_on(hers)

    assert told["last_seq"] == said["seq"]


async def test_naming_a_conversation_ends_its_hints_and_begins_those_of_another(
    town: Town, bob: Person, cleo: Person
) -> None:
    talks = await talks_of(bob, cleo)
    hers = await comes(town, cleo)

    answer = await hers.asks("sync", cursors={talks[0]["id"]: None})
    (left,) = answer["unseated"]
    await bob.says(talks[0], "Heard")
    await bob.says({"id": left}, "Not heard")

    assert (await goes_on(hers))["conversation_id"] == left


async def test_nothing_is_read_for_people_who_are_not_there(
    town: Town, bob: Person, cleo: Person
) -> None:
    await talks_of(bob, cleo)
    hers = await comes(town, cleo)
    await hers.close()

    await becomes(lambda: town.node.activity._looking is None)
    assert not town.node.activity._seen
    assert not town.node.activity._watched


async def test_who_came_into_more_while_connected_is_told_once_they_cannot_hear_all(
    town: Town, bob: Person, cleo: Person
) -> None:
    first = await bob.creates("group", cleo)
    hers = await cleo.connects()
    hers.is_checked = False
    talks = [first, *[await bob.creates("group", cleo) for _ in range(3)]]
    await becomes(
        lambda: len(town.node.feed._hub.seats_of(town.node.feed._hub.devices_of("cleo")[0])) == 4
    )
    assert "cleo" not in town.node.activity._watched

    answer = await hers.asks("sync", cursors={talks[0]["id"]: None})
    assert set(answer["unseated"]) == {talks[1]["id"], talks[2]["id"]}
    await becomes(lambda: "cleo" in town.node.activity._seen)
    await bob.says(talks[1], "Not heard")

    assert (await goes_on(hers))["conversation_id"] == talks[1]["id"]
