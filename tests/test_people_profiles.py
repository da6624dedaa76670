"""Profiles: mirrored from tokens and written by the backend, heard by those who share a room."""

import asyncio
from typing import Any

import pytest

from server.schemas.values import UserRole
from tests.people import Person, Refused, Town


def now_called(person: Person, name: str) -> Person:
    """Let a person carry a token that gives them another name."""
    person.name = name
    person.token = person.fresh_token()
    return person


async def test_a_new_name_in_a_token_is_heard_by_the_rooms_and_own_devices(
    ada: Person, bob: Person, cleo: Person, eve: Person
) -> None:
    await ada.creates("direct", bob)
    await ada.creates("group", cleo)
    her, his = await ada.connects(), await bob.connects()
    theirs, outside = await cleo.connects(), await eve.connects()

    profile = await now_called(ada, "Ada Lovelace").get("me/")

    expected: dict[str, Any] = {
        "id": "ada",
        "name": "Ada Lovelace",
        "avatar_url": None,
        "role": "agent",
        "metadata": {},
    }
    assert profile == expected
    told = ("user:updated", {"user": expected})
    # Once for her own devices and once in each of her two rooms.
    assert await her.heard() == [told] * 3
    assert await his.heard() == await theirs.heard() == [told]
    await outside.hears_nothing()


async def test_a_profile_that_stays_as_it_is_is_not_told(ada: Person, bob: Person) -> None:
    await ada.creates("direct", bob)
    his = await bob.connects()

    await ada.get("me/")
    second = await ada.connects()

    await his.hears_nothing()
    await second.hears_nothing()


async def test_connecting_with_another_name_is_enough(ada: Person, bob: Person) -> None:
    await ada.creates("direct", bob)
    his = await bob.connects()

    her = await now_called(ada, "Ada L.").connects()

    assert her.ready["user"]["name"] == "Ada L."
    assert [data["user"]["name"] for _, data in await his.heard()] == ["Ada L."]


async def test_the_backend_writes_profiles_of_people_who_never_came(
    town: Town, ada: Person, backend: Person, eve: Person
) -> None:
    body = {
        "name": "Zoé",
        "avatar_url": "https://example.org/z.png",
        "role": "client",
        "metadata": {"city": "Lyon"},
    }

    made = await backend.put("users/z-1/", body)

    assert made == {"id": "z-1", **body}
    assert (await ada.get("users/?q=zoe"))["results"] == [made]
    assert await town.person("z-1", name="Zoé").get("me/") == made


async def test_a_profile_written_by_the_backend_is_heard_and_only_what_is_named_changes(
    town: Town, ada: Person, backend: Person, eve: Person
) -> None:
    zoe = Person(town, "z-1", name="Zoé")
    await backend.put("users/z-1/", {"name": "Zoé", "metadata": {"a": 1}})
    await ada.creates("direct", zoe)
    her, theirs, outside = await ada.connects(), await zoe.connects(), await eve.connects()

    changed = await backend.put("users/z-1/", {"metadata": {"b": 2}})

    assert (changed["name"], changed["metadata"]) == ("Zoé", {"b": 2})
    told = ("user:updated", {"user": changed})
    assert await her.heard() == [told]
    assert await theirs.heard() == [told] * 2
    await backend.put("users/z-1/", {"metadata": {"b": 2}, "name": "Zoé"})
    await her.hears_nothing()
    await theirs.hears_nothing()
    await outside.hears_nothing()


async def test_only_the_backend_writes_profiles(ada: Person, bob: Person, root: Person) -> None:
    await ada.creates("direct", bob)
    his = await bob.connects()

    for person in (ada, bob, root):
        with pytest.raises(Refused) as no:
            await person.put("users/ada/", {"name": "Somebody else"})
        assert no.value.code == "forbidden"

    assert (await ada.get("me/"))["name"] == "Ada"
    await his.hears_nothing()


async def test_who_left_hears_no_more_of_those_who_stayed(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    await cleo.post(f"conversations/{talk['id']}/leave/")
    his, theirs = await bob.connects(), await cleo.connects()

    await now_called(ada, "Ada L.").get("me/")
    assert await his.heard_names() == ["user:updated"]
    await theirs.hears_nothing()
    await now_called(cleo, "Cleopatra").get("me/")
    await his.hears_nothing()
    assert await theirs.heard_names() == ["user:updated"]


@pytest.mark.settings(limits={"broadcast_members": 2})
async def test_profiles_are_not_told_in_large_conversations(
    ada: Person, bob: Person, cleo: Person
) -> None:
    await ada.creates("group", bob, cleo)
    await ada.creates("direct", bob)
    her, his, theirs = await ada.connects(), await bob.connects(), await cleo.connects()

    await now_called(ada, "Ada L.").get("me/")

    assert await her.heard_names() == ["user:updated"] * 2
    assert await his.heard_names() == ["user:updated"]
    await theirs.hears_nothing()


async def test_a_message_shows_its_sender_as_they_are_now(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "Hello")

    await now_called(ada, "Ada L.").get("me/")

    sender = (await bob.get(f"messages/{said['id']}/"))["sender"]
    assert sender == {"id": "ada", "name": "Ada L.", "avatar_url": None, "role": "agent"}


async def test_many_first_requests_at_once_make_one_profile(town: Town, ada: Person) -> None:
    zoe = town.person("zoe", role=UserRole.CLIENT)

    profiles = await asyncio.gather(*(zoe.get("me/") for _ in range(8)))

    assert all(profile == profiles[0] for profile in profiles)
    assert [user["id"] for user in (await ada.get("users/?q=zoe"))["results"]] == ["zoe"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x" * 201}, "name"),
        ({"role": "king"}, "role"),
        ({"avatar_url": "javascript:alert(1)"}, "avatar_url"),
        ({"metadata": {"a": "x" * 20_000}}, "metadata"),
        ({"nmae": "Ada"}, "nmae"),
    ],
)
async def test_a_profile_that_is_none_is_refused(
    backend: Person, body: dict[str, Any], field: str
) -> None:
    with pytest.raises(Refused) as no:
        await backend.put("users/ada/", body)

    assert (no.value.code, no.value.fields) == ("validation_failed", [field])
