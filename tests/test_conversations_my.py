"""What a person changes for themselves: archive, pin, mute, mark as unread."""

import asyncio
from typing import Any

import pytest

from server import clock
from tests.frames import personal, spoken
from tests.people import Device, Person, Refused

UNREAD = "my:unread"


async def mine(person: Person, talk: dict[str, Any]) -> dict[str, Any]:
    my: dict[str, Any] = (await person.get(f"conversations/{talk['id']}/"))["my"]
    return my


async def changes(device: Device, talk: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer = await device.asks("conversation:update_my", conversation_id=talk["id"], **fields)
    my: dict[str, Any] = answer["my"]
    return my


@pytest.mark.parametrize(
    "fields",
    [
        {"is_archived": True},
        {"is_pinned": True},
        {"muted_until": "2099-01-01T00:00:00.000Z"},
        {"marked_unread": True},
        {"is_pinned": True, "is_archived": True},
    ],
)
async def test_a_change_reaches_all_own_devices_and_nobody_else(
    ada: Person, bob: Person, eve: Person, fields: dict[str, Any]
) -> None:
    talk = await ada.creates("direct", bob)
    phone, laptop = await ada.connects(), await ada.connects()
    his, outside = await bob.connects(), await eve.connects()

    my = await changes(phone, talk, **fields)

    mark = talk["last_seq"] if "is_archived" in fields else None
    expected = {**talk["my"], **fields, "archived_seq": mark, "user_seq": 2}
    assert my == await mine(ada, talk) == expected
    waiting = 1 if "marked_unread" in fields else 0
    told = [
        personal("my:updated", 2, conversation_id=talk["id"], my=my),
        (UNREAD, {"total": 0, "conversations": waiting}),
    ]
    assert await phone.heard() == await laptop.heard() == told
    await his.hears_nothing()
    await outside.hears_nothing()


async def test_what_stays_as_it_is_is_not_told(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    her = await ada.connects()

    my = await changes(
        her, talk, is_archived=False, is_pinned=False, muted_until=None, marked_unread=False
    )

    assert my == talk["my"]
    await her.hears_nothing()


async def test_a_change_can_be_taken_back(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    her = await ada.connects()

    await changes(her, talk, is_archived=True, is_pinned=True, muted_until="2099-01-01T00:00Z")
    my = await changes(her, talk, is_archived=False, is_pinned=False, muted_until=None)

    assert my == {**talk["my"], "user_seq": 3}
    assert await her.heard_names() == ["my:updated", UNREAD] * 2


async def test_archiving_by_rest_is_for_the_caller_only(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    path = f"conversations/{talk['id']}/archive/"
    her, his = await ada.connects(), await bob.connects()

    archived = await ada.post(path)
    assert archived == {**talk["my"], "is_archived": True, "archived_seq": 0, "user_seq": 2}
    assert (await ada.post(path, {"archived": True})) == archived
    assert not (await mine(bob, talk))["is_archived"]
    assert not (await ada.post(path, {"archived": False}))["is_archived"]
    assert await her.heard_names() == ["my:updated", UNREAD] * 2
    await his.hears_nothing()


async def test_the_archive_mark_is_void_after_another_persons_message(
    ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    her = await ada.connects()
    await changes(her, talk, is_archived=True)
    await her.heard()

    own = await her.says(talk, "A note to the archive")
    assert (await mine(ada, talk))["is_archived"]
    answer = await bob.says(talk, "Are you there?")

    assert not (await mine(ada, talk))["is_archived"]
    assert await her.heard() == [spoken(own), spoken(answer)]
    assert (await changes(her, talk, is_archived=True))["is_archived"]
    assert await her.heard_names() == ["my:updated", UNREAD]


async def test_neither_system_lines_nor_reading_bring_it_out_of_the_archive(
    ada: Person, bob: Person
) -> None:
    talk = await ada.creates("group", bob)
    await ada.post(f"conversations/{talk['id']}/archive/")

    await ada.patch(f"conversations/{talk['id']}/", {"title": "New"})
    await ada.post(f"conversations/{talk['id']}/mark_read/")

    assert (await mine(ada, talk))["is_archived"]


async def test_while_muted_nothing_brings_it_out_of_the_archive(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    her = await ada.connects()
    await changes(her, talk, is_archived=True, muted_until="2099-01-01T00:00:00Z")

    await bob.says(talk, "One")
    await her.says(talk, "Mine")
    assert (await mine(ada, talk))["is_archived"]
    my = await changes(her, talk, muted_until=None)

    assert (my["is_archived"], my["muted_until"]) == (False, None)
    messages = ["message:created"] * 2
    assert await her.heard_names() == ["my:updated", UNREAD, *messages, "my:updated", UNREAD]


async def test_muting_what_a_message_brought_out_of_the_archive_does_not_put_it_back(
    ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    her = await ada.connects()
    await changes(her, talk, is_archived=True)
    await bob.says(talk, "Hello")

    my = await changes(her, talk, muted_until="2099-01-01T00:00:00Z")

    assert (my["is_archived"], my["archived_seq"]) == (False, None)
    assert not (await mine(ada, talk))["is_archived"]
    await her.heard()


async def test_a_mute_that_is_over_protects_no_archive(
    ada: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = await ada.creates("direct", bob)
    her = await ada.connects()
    in_an_hour = clock.to_text(clock.now_ms() + 3_600_000)
    await changes(her, talk, is_archived=True, muted_until=in_an_hour)
    await bob.says(talk, "Hello")
    assert (await mine(ada, talk))["is_archived"]

    later = clock.now_ms() + 3_600_001
    monkeypatch.setattr("server.actions.views.now_ms", lambda: later)
    assert not (await mine(ada, talk))["is_archived"]
    monkeypatch.undo()
    await her.heard()


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("2099-06-01T12:00:00+02:00", "2099-06-01T10:00:00.000Z"),
        ("2099-06-01T12:00:00.5-05:30", "2099-06-01T17:30:00.500Z"),
        ("2099-06-01T12:00:00Z", "2099-06-01T12:00:00.000Z"),
    ],
)
async def test_a_mute_may_be_given_with_any_offset(
    ada: Person, bob: Person, given: str, stored: str
) -> None:
    talk = await ada.creates("direct", bob)
    her = await ada.connects()

    assert (await changes(her, talk, muted_until=given))["muted_until"] == stored
    assert await her.heard_names() == ["my:updated", UNREAD]


@pytest.mark.parametrize("given", ["2099-06-01T12:00:00", "tomorrow", "", 4_083_998_400, True])
async def test_a_mute_without_an_offset_or_a_time_is_refused(
    ada: Person, bob: Person, given: Any
) -> None:
    talk = await ada.creates("direct", bob)
    her = await ada.connects()

    with pytest.raises(Refused) as no:
        await changes(her, talk, muted_until=given)

    assert (no.value.code, no.value.fields) == ("validation_failed", ["muted_until"])
    await her.hears_nothing()


@pytest.mark.parametrize("door", ["receipt:read", "mark_read", "message"])
async def test_reading_clears_the_unread_mark(ada: Person, bob: Person, door: str) -> None:
    said = await bob.says(talk := await ada.creates("direct", bob), "Hello")
    her = await ada.connects()
    await ada.post(f"conversations/{talk['id']}/mark_read/")
    my = await changes(her, talk, marked_unread=True)
    assert (my["marked_unread"], my["unread_count"]) == (True, 0)
    assert (await ada.get("me/unread/")) == {"total": 0, "conversations": 1}
    await her.heard()

    if door == "receipt:read":
        await her.asks("receipt:read", conversation_id=talk["id"], up_to_seq=1)
    elif door == "mark_read":
        await ada.post(f"conversations/{talk['id']}/mark_read/")
    else:
        await ada.post(f"messages/{said['id']}/mark_read/")

    unmarked = {**my, "marked_unread": False, "user_seq": my["user_seq"] + 1}
    number = unmarked["user_seq"]
    assert await her.heard() == [
        personal("my:updated", number, conversation_id=talk["id"], my=unmarked),
        (UNREAD, {"total": 0, "conversations": 0}),
    ]
    assert await ada.get("me/unread/") == {"total": 0, "conversations": 0}


async def test_outsiders_and_the_backend_have_nothing_of_their_own_there(
    ada: Person, bob: Person, eve: Person, root: Person, backend: Person
) -> None:
    talk = await ada.creates("direct", bob)
    codes = []

    for person in (eve, root, backend):
        device = await person.connects()
        for id_ in (talk["id"], "nowhere"):
            with pytest.raises(Refused) as no:
                await changes(device, {"id": id_}, is_pinned=True)
            codes.append(no.value.error)
        status, answer, _ = await person.call("POST", f"conversations/{talk['id']}/archive/")
        assert (status, answer["error"]) == (404, codes[0])
        await device.hears_nothing()

    assert all(code == codes[0] for code in codes)


async def test_a_person_who_only_reads_may_still_archive_pin_and_mute(
    ada: Person, bob: Person
) -> None:
    talk = await ada.creates("group", bob)
    await ada.patch(f"conversations/{talk['id']}/participants/bob/", {"role": "read_only"})
    his = await bob.connects()

    my = await changes(his, talk, is_archived=True, is_pinned=True)

    assert (my["role"], my["is_archived"], my["is_pinned"]) == ("read_only", True, True)
    assert await his.heard_names() == ["my:updated", UNREAD]


async def test_changes_made_at_once_all_hold(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    phone, laptop = await ada.connects(), await ada.connects()

    await asyncio.gather(
        changes(phone, talk, is_pinned=True),
        changes(laptop, talk, muted_until="2099-01-01T00:00:00Z"),
        ada.post(f"conversations/{talk['id']}/archive/"),
        phone.asks("receipt:read", conversation_id=talk["id"], up_to_seq=0),
    )

    my = await mine(ada, talk)
    assert (my["is_pinned"], my["is_archived"], my["user_seq"]) == (True, True, 4)
    numbers = [data["user_seq"] for name, data in await phone.heard() if name == "my:updated"]
    assert numbers == [2, 3, 4]
    await laptop.heard()
