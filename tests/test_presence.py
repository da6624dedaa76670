"""Presence: who is there is told to those who asked and may see it, and to nobody else."""

import asyncio
from typing import Any

import pytest

from server.models import sql
from server.realtime import followers, presence
from server.schemas.values import UserRole
from tests.doors import PlainDevice, fields
from tests.eventually import becomes, is_gone
from tests.people import Device, Person, Refused, Town


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for what spares people a flicker; those waits have tests of their own."""
    monkeypatch.setattr(presence, "PARTED_S", 0.02)
    monkeypatch.setattr(followers, "REST_S", 0.0)


def seen(who: str, status: str, at: str | None = None) -> dict[str, Any]:
    return {"user_id": who, "status": status, "last_active_at": at}


async def looks(device: Device, *people: Person | str) -> list[dict[str, Any]]:
    """Subscribe to people, and return how they are."""
    ids = [person if isinstance(person, str) else person.id for person in people]
    answer = await device.asks("presence:subscribe", user_ids=ids)
    found: list[dict[str, Any]] = answer["presence"]
    return found


async def sets(device: Device, status: str) -> str:
    return str((await device.asks("presence:set", status=status))["status"])


async def hears_change(device: Device, who: str, status: str) -> str | None:
    """Hear of a change, and return when the person was last active."""
    told = await device.hears("presence:changed")
    assert (told["user_id"], told["status"]) == (who, status)
    at: str | None = told["last_active_at"]
    return at


async def leaves(town: Town, device: Device) -> None:
    """End a connection and wait until everybody may know."""
    await device.close()
    await is_gone(town, device.person.id)
    await becomes(lambda: town.node.presence.board.look(device.person.id) is None)


async def bystander(device: Device) -> Device:
    """Let a device follow somebody more, who is away already."""
    town = device.person.town
    other = await town.known(f"bystander-{len(town.devices)}")
    await device.person.creates("direct", other)
    there = await other.connects()
    await sets(there, "away")
    (found,) = await looks(device, other)
    assert found["status"] == "away"
    await device.heard()
    return there


async def hears_nothing_before(device: Device, there: Device) -> None:
    """Let a bystander leave: it is told after all that was to be told, and here it comes first."""
    await there.close()
    await hears_change(device, there.person.id, "offline")
    await device.hears_nothing()


async def stored(user_id: str) -> Any:
    rows = await sql.fetch("SELECT * FROM presences WHERE user_id = $1", user_id)
    return rows[0] if rows else None


# Who sees whom


async def test_who_shares_a_conversation_sees_the_other_come_and_go(
    town: Town, bob: Person, cleo: Person
) -> None:
    await bob.creates("direct", cleo)
    his = await bob.connects()
    assert await looks(his, cleo) == [seen("cleo", "offline")]

    hers = await cleo.connects()
    assert await hears_change(his, "cleo", "active") is None
    await hers.close()

    at = await hears_change(his, "cleo", "offline")
    assert at is not None
    assert await looks(his, cleo) == [seen("cleo", "offline", at)]
    await his.hears_nothing()


async def test_nobody_hears_of_people_they_did_not_ask_for(bob: Person, cleo: Person) -> None:
    await bob.creates("direct", cleo)
    his, other = await bob.connects(), await bob.connects()
    await looks(his, cleo)

    await cleo.connects()

    await hears_change(his, "cleo", "active")
    await other.hears_nothing()


async def test_strangers_and_nobodies_are_offline_for_ever_and_not_told_apart(
    town: Town, bob: Person, cleo: Person, eve: Person
) -> None:
    await bob.creates("direct", cleo)
    hers = await cleo.connects()
    outside = await eve.connects()
    once = await bob.connects()
    await leaves(town, once)

    answered = await looks(outside, bob, cleo, "nobody")
    assert answered == [seen(id_, "offline") for id_ in ("bob", "cleo", "nobody")]

    his = await bob.connects()
    await looks(hers, bob)
    await sets(his, "away")
    await hears_change(hers, "bob", "away")
    await sets(his, "invisible")
    await hears_change(hers, "bob", "offline")
    await outside.hears_nothing()
    assert await looks(outside, bob, cleo, "nobody") == answered


async def test_agents_see_everyone_and_clients_do_not_see_every_agent(
    ada: Person, bob: Person, eve: Person, root: Person
) -> None:
    hers, his, outside, roots = [await one.connects() for one in (ada, bob, eve, root)]

    everybody = [seen("bob", "active"), seen("eve", "active")]
    assert await looks(hers, bob, eve) == await looks(roots, bob, eve) == everybody
    assert await looks(his, ada, eve) == [seen("ada", "offline"), seen("eve", "offline")]

    await sets(outside, "away")
    await hears_change(hers, "eve", "away")
    await hears_change(roots, "eve", "away")
    await his.hears_nothing()


@pytest.mark.settings(users={"directory": "contacts"})
async def test_where_the_directory_shows_contacts_agents_see_contacts(
    ada: Person, bob: Person, eve: Person
) -> None:
    await ada.creates("direct", bob)
    hers = await ada.connects()
    await bob.connects()
    await eve.connects()

    assert await looks(hers, bob, eve) == [seen("bob", "active"), seen("eve", "offline")]


@pytest.mark.settings(users={"directory": "everyone"})
async def test_where_the_directory_shows_everyone_everyone_is_seen(
    bob: Person, eve: Person
) -> None:
    outside = await eve.connects()
    await bob.connects()

    assert await looks(outside, bob) == [seen("bob", "active")]


@pytest.mark.settings(users={"directory": "nobody"})
async def test_without_a_directory_those_who_talk_still_see_each_other(
    ada: Person, bob: Person, eve: Person
) -> None:
    await ada.creates("direct", bob)
    hers, his = await ada.connects(), await bob.connects()
    await eve.connects()

    assert await looks(hers, bob, eve) == [seen("bob", "active"), seen("eve", "offline")]
    assert await looks(his, ada) == [seen("ada", "active")]


async def test_the_embedding_application_is_seen_by_nobody_and_sees_everyone(
    ada: Person, bob: Person, backend: Person
) -> None:
    its, hers = await backend.connects(), await ada.connects()

    assert await looks(hers, "backend") == [seen("backend", "offline")]
    assert await looks(its, ada, bob) == [seen("ada", "active"), seen("bob", "offline")]


@pytest.mark.settings(limits={"joined": 2, "members": 10})
async def test_people_in_more_conversations_than_they_hear_see_the_same(
    town: Town, bob: Person, cleo: Person, eve: Person
) -> None:
    for _ in range(3):
        await bob.creates("group", cleo)
    his = await bob.connects()
    await cleo.connects()
    await eve.connects()

    assert await looks(his, cleo, eve) == [seen("cleo", "active"), seen("eve", "offline")]


# Losing and gaining sight


async def test_who_is_removed_from_the_last_shared_conversation_hears_no_more(
    ada: Person, bob: Person, cleo: Person
) -> None:
    first = await ada.creates("group", bob, cleo)
    last = await ada.creates("group", bob, cleo)
    his, hers = await bob.connects(), await cleo.connects()
    other = await bystander(his)
    assert await looks(his, cleo) == [seen("cleo", "active")]

    await ada.delete(f"conversations/{first['id']}/participants/bob/")
    await his.heard()
    await sets(hers, "away")
    assert await hears_change(his, "cleo", "away") is not None
    await ada.delete(f"conversations/{last['id']}/participants/bob/")
    await becomes(lambda: "presence:changed" in [name for name, _ in his.frames])

    # As if they had asked again.
    assert dict(await his.heard())["presence:changed"] == seen("cleo", "offline")
    await hers.heard()
    for status in ("active", "away", "invisible", "active"):
        await sets(hers, status)
    await hers.close()
    await hears_nothing_before(his, other)
    assert await looks(his, cleo) == [seen("cleo", "offline")]


async def test_when_the_seen_person_is_removed_they_are_offline_for_those_who_stay(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    his, hers = await bob.connects(), await cleo.connects()
    other = await bystander(his)
    await looks(his, cleo)

    await ada.delete(f"conversations/{talk['id']}/participants/cleo/")

    await becomes(lambda: "presence:changed" in [name for name, _ in his.frames])
    assert dict(await his.heard())["presence:changed"] == seen("cleo", "offline")
    await hers.heard()
    await sets(hers, "away")
    await hears_nothing_before(his, other)


async def test_who_comes_to_share_a_conversation_begins_to_hear(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob)
    his, hers = await bob.connects(), await cleo.connects()
    assert await looks(his, cleo) == [seen("cleo", "offline")]

    await ada.post(f"conversations/{talk['id']}/participants/", {"user_ids": ["cleo"]})

    await becomes(lambda: "presence:changed" in [name for name, _ in his.frames])
    assert dict(await his.heard())["presence:changed"] == seen("cleo", "active")
    await hers.heard()


# Devices


async def test_active_beats_away_beats_offline(town: Town, bob: Person, cleo: Person) -> None:
    await bob.creates("direct", cleo)
    his = await bob.connects()
    other = await bystander(his)
    await looks(his, cleo)

    phone, laptop = await cleo.connects(), await cleo.connects()
    await hears_change(his, "cleo", "active")
    await sets(phone, "away")
    await hears_nothing_before(his, other)
    await sets(laptop, "away")
    since = await hears_change(his, "cleo", "away")
    await sets(phone, "active")
    await hears_change(his, "cleo", "active")
    await phone.close()
    later = await hears_change(his, "cleo", "away")
    await laptop.close()
    last = await hears_change(his, "cleo", "offline")

    assert since is not None
    assert later is not None
    assert since <= later == last


async def test_who_comes_right_back_was_never_gone(
    town: Town, bob: Person, cleo: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    parting = town.node.presence._parting
    monkeypatch.setattr(parting, "_seconds", 3_600.0)
    await bob.creates("direct", cleo)
    his, hers = await bob.connects(), await cleo.connects()
    await looks(his, cleo)

    await hers.close()
    await is_gone(town, "cleo")
    assert "cleo" in parting
    await cleo.connects()

    assert "cleo" not in parting
    await his.hears_nothing()


async def test_one_person_may_be_asked_for_by_several_devices(bob: Person, cleo: Person) -> None:
    await bob.creates("direct", cleo)
    phone, laptop = await bob.connects(), await bob.connects()
    await looks(phone, cleo)
    await looks(laptop, cleo)

    hers = await cleo.connects()
    await hears_change(phone, "cleo", "active")
    await hears_change(laptop, "cleo", "active")
    await phone.close()
    await sets(hers, "away")

    await hears_change(laptop, "cleo", "away")


# Falling quiet


@pytest.mark.settings(limits={"presence_away_s": 1})
async def test_who_does_nothing_is_away_until_they_do_something(bob: Person, cleo: Person) -> None:
    talk = await bob.creates("direct", cleo)
    his = await bob.connects()
    other = await bystander(his)
    await looks(his, cleo)
    hers = await cleo.connects()
    await hears_change(his, "cleo", "active")

    assert await hears_change(his, "cleo", "away") is not None
    # What clients ask for by themselves wakes nobody.
    await hers.asks("sync", cursors={})
    items = [{"conversation_id": talk["id"], "up_to_seq": 0}]
    await hers.asks("receipt:delivered", items=items)
    await looks(hers, bob)
    await hears_nothing_before(his, other)

    await hers.asks("message:list", conversation_id=talk["id"])
    assert await hears_change(his, "cleo", "active") is None
    await his.close()  # before she falls quiet again
    await hers.heard()


@pytest.mark.settings(limits={"presence_away_s": 1})
async def test_who_keeps_doing_something_is_never_away(
    bob: Person, cleo: Person, dan: Person
) -> None:
    talk = await bob.creates("direct", cleo)
    await bob.creates("direct", dan)
    his, hers, theirs = await bob.connects(), await cleo.connects(), await dan.connects()
    await looks(his, cleo, dan)

    # Dan came last and is away first, twice.
    for _ in range(2):
        while not his.frames:
            await hers.asks("message:list", conversation_id=talk["id"])
        await hears_change(his, "dan", "away")
        await sets(theirs, "active")
        await hears_change(his, "dan", "active")
    await his.close()  # before they fall quiet again


@pytest.mark.settings(limits={"presence_away_s": 1})
async def test_who_says_they_are_away_stays_so_whatever_the_device_asks(
    bob: Person, cleo: Person
) -> None:
    talk = await bob.creates("direct", cleo)
    his = await bob.connects()
    other = await bystander(his)
    await looks(his, cleo)
    hers = await cleo.connects()
    await hears_change(his, "cleo", "active")

    assert await sets(hers, "away") == "away"
    await hears_change(his, "cleo", "away")
    await hers.asks("message:list", conversation_id=talk["id"])
    await hears_nothing_before(his, other)

    assert await sets(hers, "active") == "active"
    await hears_change(his, "cleo", "active")
    await his.close()  # before she falls quiet again


# Not being seen


async def test_who_is_invisible_is_for_others_as_if_they_had_left(
    town: Town, ada: Person, bob: Person, cleo: Person
) -> None:
    await bob.creates("direct", cleo)
    his, agents = await bob.connects(), await ada.connects()
    hers, phone = await cleo.connects(), await cleo.connects()
    await looks(his, cleo)
    await looks(agents, cleo)
    await looks(phone, cleo)

    assert await sets(hers, "invisible") == "invisible"
    at = await hears_change(his, "cleo", "offline")
    assert await hears_change(agents, "cleo", "offline") == at
    assert await hears_change(phone, "cleo", "invisible") is None

    # Nothing they do or leave undone is seen, and time stands still.
    assert await sets(phone, "away") == "invisible"
    await hers.close()
    await leaves(town, phone)
    again = await cleo.connects()
    assert await looks(again, cleo) == [seen("cleo", "invisible")]
    await his.hears_nothing()
    await agents.hears_nothing()
    assert await looks(his, cleo) == [seen("cleo", "offline", at)]

    assert await sets(again, "active") == "active"
    await hears_change(his, "cleo", "active")
    await hears_change(agents, "cleo", "active")
    await hears_change(again, "cleo", "active")


async def test_being_invisible_twice_is_being_it_once(bob: Person, cleo: Person) -> None:
    await bob.creates("direct", cleo)
    his, hers = await bob.connects(), await cleo.connects()
    other = await bystander(his)
    await looks(his, cleo)
    await sets(hers, "invisible")
    at = await hears_change(his, "cleo", "offline")

    await sets(hers, "invisible")

    await hears_nothing_before(his, other)
    assert await looks(his, cleo) == [seen("cleo", "offline", at)]


# Asking


async def test_who_unsubscribes_hears_no_more(bob: Person, cleo: Person) -> None:
    await bob.creates("direct", cleo)
    his, hers = await bob.connects(), await cleo.connects()
    other = await bystander(his)
    await looks(his, cleo)

    assert await his.asks("presence:unsubscribe", user_ids=["cleo", "nobody"]) == {"presence": []}
    await sets(hers, "away")

    await hears_nothing_before(his, other)


async def test_people_are_answered_once_and_in_the_order_in_which_they_were_named(
    ada: Person, bob: Person, cleo: Person
) -> None:
    hers = await ada.connects()
    await bob.connects()

    answered = await looks(hers, cleo, "nobody", bob, ada, cleo)

    assert [one["user_id"] for one in answered] == ["cleo", "nobody", "bob", "ada"]
    assert [one["status"] for one in answered] == ["offline", "offline", "active", "active"]


@pytest.mark.settings(limits={"presence_ids": 3, "presence_subscriptions": 4})
async def test_too_many_people_are_refused_and_none_of_them_is_followed(
    ada: Person, bob: Person, cleo: Person
) -> None:
    hers = await ada.connects()
    with pytest.raises(Refused) as no:
        await looks(hers, "a", "b", "cleo", "bob")
    assert (no.value.code, no.value.fields) == ("validation_failed", ["user_ids"])
    await looks(hers, "a", "b", "cleo")

    with pytest.raises(Refused) as no:
        await looks(hers, "c", "d", "bob")

    assert (no.value.code, no.value.fields) == ("validation_failed", ["user_ids"])
    await bob.connects()
    await cleo.connects()
    await hears_change(hers, "cleo", "active")
    await hers.hears_nothing()
    await hers.asks("presence:unsubscribe", user_ids=["a"])
    assert await looks(hers, "d", "bob") == [seen("d", "offline"), seen("bob", "active")]


@pytest.mark.parametrize(
    ("name", "data", "field"),
    [
        ("presence:subscribe", {}, "user_ids"),
        ("presence:subscribe", {"user_ids": []}, "user_ids"),
        ("presence:subscribe", {"user_ids": "bob"}, "user_ids"),
        ("presence:subscribe", {"user_ids": [7]}, "user_ids.0"),
        ("presence:subscribe", {"user_ids": ["bob\x00"]}, "user_ids.0"),
        ("presence:subscribe", {"user_ids": ["bob"], "users": []}, "users"),
        ("presence:unsubscribe", {"user_ids": [None]}, "user_ids.0"),
        ("presence:set", {}, "status"),
        ("presence:set", {"status": "offline"}, "status"),
        ("presence:set", {"status": None}, "status"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_its_field(
    ada: Person, name: str, data: dict[str, Any], field: str
) -> None:
    hers = await ada.connects()

    with pytest.raises(Refused) as no:
        await hers.asks(name, **data)

    assert (no.value.code, no.value.fields) == ("validation_failed", [field])


async def test_the_plain_websocket_hears_the_same(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    plain = PlainDevice(bob, talk["id"])
    await plain.open(fields(bob))
    assert await looks(plain, ada) == [seen("ada", "offline")]

    hers = await ada.connects()
    assert await looks(hers, bob) == [seen("bob", "active")]

    await hears_change(plain, "ada", "active")


async def test_who_comes_and_goes_all_the_time_is_told_of_now_and_then(
    town: Town, bob: Person, cleo: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "REST_S", 3_600.0)
    await bob.creates("direct", cleo)
    his, hers = await bob.connects(), await cleo.connects()
    first, second = await bystander(his), await bystander(his)
    await looks(his, cleo)

    await sets(hers, "away")
    await hears_change(his, "cleo", "away")
    await sets(hers, "active")
    await hears_nothing_before(his, first)
    await sets(hers, "away")
    await sets(hers, "active")
    await hears_nothing_before(his, second)

    # An hour passes.
    town.node.presence.followers._rested["cleo"] = asyncio.get_running_loop().time()
    await hears_change(his, "cleo", "active")
    await his.hears_nothing()


# What is kept


async def test_when_somebody_was_last_there_is_written_when_they_leave_and_not_before(
    town: Town, bob: Person, cleo: Person
) -> None:
    talk = await bob.creates("direct", cleo)
    phone, laptop = await cleo.connects(), await cleo.connects()
    await phone.says(talk, "Hello")
    await sets(phone, "away")
    await sets(phone, "active")
    await phone.close()
    await becomes(lambda: len(town.node.feed._hub.devices_of("cleo")) == 1)
    assert await stored("cleo") is None

    await laptop.heard()
    await leaves(town, laptop)

    assert (await stored("cleo"))["last_active_at"] is not None
    assert await stored("bob") is None


async def test_a_stop_writes_when_people_were_last_there(
    town: Town, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(town.node.presence._parting, "_seconds", 3_600.0)
    his = await bob.connects()
    await his.close()
    await is_gone(town, "bob")
    assert await stored("bob") is None

    await town.node.presence.close()

    assert (await stored("bob"))["last_active_at"] is not None


async def test_nothing_is_kept_of_connections_that_have_ended(
    town: Town, ada: Person, bob: Person
) -> None:
    hers = await ada.connects()
    await looks(hers, bob, "nobody")
    his = await bob.connects()
    await hears_change(hers, "bob", "active")

    await leaves(town, his)
    await leaves(town, hers)

    here = town.node.presence
    assert not here.followers._followed
    assert not here.followers._followers
    assert not here._away
    assert not here._last
    assert not here._unwritten
    assert not len(here._lively) + len(here._quiet) + len(here._parting)


async def test_a_person_with_another_role_sees_as_the_new_role_does(
    town: Town, ada: Person, eve: Person
) -> None:
    outside = await eve.connects()
    await looks(outside, ada)
    agent = Person(town, "eve", role=UserRole.AGENT)

    await outside.asks("auth:refresh", token=agent.token)
    await ada.connects()

    await hears_change(outside, "ada", "active")


@pytest.mark.logs_errors
async def test_what_fails_leaves_subscriptions_as_they_were(
    ada: Person, bob: Person, cleo: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    hers = await ada.connects()
    assert await looks(hers, bob) == [seen("bob", "offline")]

    async def fails(_: object) -> object:
        message = "no database"
        raise RuntimeError(message)

    with monkeypatch.context() as broken:
        broken.setattr("server.actions.presence.seen", fails)
        with pytest.raises(Refused) as no:
            await looks(hers, bob, cleo)
    assert no.value.code == "internal"

    await cleo.connects()
    await bob.connects()
    await hears_change(hers, "bob", "active")
    await hers.hears_nothing()
