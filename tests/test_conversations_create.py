"""Creating: who is in, once per pair and key, and what everybody hears of it."""

import asyncio
from typing import Any

import pytest

from tests.frames import durable, personal, spoken
from tests.people import Person, Refused, Town, all_conversations, all_members, all_messages


async def sees(person: Person, talk: dict[str, Any]) -> dict[str, Any]:
    """Return the conversation as a person sees it now."""
    seen: dict[str, Any] = await person.get(f"conversations/{talk['id']}/")
    return seen


async def test_each_member_of_a_new_group_hears_of_it_from_where_they_came_in(
    ada: Person, bob: Person, cleo: Person, eve: Person
) -> None:
    devices = [await person.connects() for person in (ada, bob, cleo)]
    outside = await eve.connects()

    made = await devices[0].asks(
        "conversation:create",
        type="group",
        participant_ids=["bob", "cleo"],
        title="Team",
        initial_message={"content": "Welcome", "client_msg_id": "1"},
    )

    assert made["created"]
    talk = made["conversation"]
    assert talk == await sees(ada, talk)
    line, hello = await all_messages(ada, talk["id"])
    assert line["system"] == {
        "event": "conversation_created",
        "params": {"actor_id": "ada", "title": "Team"},
    }
    # The hello moved Ada's cursors; before it, everybody had seen the line.
    members = [{**m, "read_seq": 1, "delivered_seq": 1} for m in await all_members(ada, talk["id"])]
    came_in = [
        durable("participant:added", talk, 2 + i, "ada", participant=member)
        for i, member in enumerate(members)
    ]
    for place, device in enumerate(devices):
        seen = await sees(device.person, talk)
        assert await device.heard() == [
            personal("conversation:added", 1, conversation=seen, event_seq=2 + place),
            *came_in[place:],
            spoken(line),
            spoken(hello),
        ]
    await outside.hears_nothing()


async def test_a_direct_conversation_holds_two_members_and_no_line(
    ada: Person, bob: Person
) -> None:
    his = await bob.connects()

    talk = await ada.creates("direct", bob)

    assert [(m["user"]["id"], m["role"]) for m in talk["participants"]] == [
        ("ada", "member"),
        ("bob", "member"),
    ]
    assert (talk["last_seq"], talk["head"], talk["last_message"]) == (0, 3, None)
    assert await his.heard() == [
        personal("conversation:added", 1, conversation=await sees(bob, talk), event_seq=3),
        durable("participant:added", talk, 3, "ada", participant=talk["participants"][1]),
    ]


async def test_a_direct_conversation_is_made_once_whoever_asks(ada: Person, bob: Person) -> None:
    body = {"type": "direct", "participant_ids": ["bob"]}
    path = "conversations/create_with_participants/"
    status, talk, _ = await ada.call("POST", path, body)
    her, his = await ada.connects(), await bob.connects()

    again = await ada.call("POST", path, body)
    by_bob = await his.asks("conversation:create", type="direct", participant_ids=["ada"])

    assert status == 201
    assert again[:2] == (200, talk)
    assert (by_bob["created"], by_bob["conversation"]["id"]) == (False, talk["id"])
    await her.hears_nothing()
    await his.hears_nothing()


async def test_two_who_write_to_each_other_at_once_meet_in_one_conversation(
    ada: Person, bob: Person
) -> None:
    her, his = await ada.connects(), await bob.connects()

    made = await asyncio.gather(
        *(ada.creates("direct", bob) for _ in range(4)),
        *(bob.creates("direct", ada) for _ in range(4)),
    )

    (id_,) = {talk["id"] for talk in made}
    assert set(await all_conversations(ada)) == {id_}
    heard = [*await her.heard_names(), *await his.heard_names()]
    assert sorted(heard) == ["conversation:added"] * 2 + ["participant:added"] * 3


@pytest.mark.parametrize("others", [["ada"], ["bob", "cleo"], ["ada", "bob", "cleo"], []])
async def test_a_direct_conversation_names_exactly_one_other_person(
    ada: Person, bob: Person, cleo: Person, others: list[str]
) -> None:
    body = {"type": "direct", "participant_ids": others}

    with pytest.raises(Refused) as no:
        await ada.post("conversations/create_with_participants/", body)

    assert (no.value.code, no.value.fields) == ("validation_failed", ["participant_ids"])
    assert await all_conversations(ada) == {}


@pytest.mark.parametrize(
    ("kind", "creator", "others", "roles"),
    [
        ("group", "bob", ["cleo", "ada"], ["owner", "member", "member"]),
        ("client_agent", "ada", ["bob"], ["admin", "member"]),
        ("client_agent", "bob", ["ada", "dan"], ["member", "admin", "admin"]),
        ("client_agent", "root", ["bob"], ["admin", "member"]),
        ("client_agent", "ada", ["somebody new"], ["admin", "member"]),
        ("client_agent", "bob", ["somebody new"], ["member", "member"]),
        ("client_agent", "backend", ["bob", "ada"], ["member", "admin"]),
        ("agent_agent", "ada", ["dan", "root"], ["owner", "member", "member"]),
        ("agent_agent", "ada", ["somebody new"], ["owner", "member"]),
        ("group", "backend", ["bob", "cleo"], ["owner", "member"]),
        ("direct", "backend", ["bob", "cleo"], ["member", "member"]),
    ],
)
async def test_each_type_gives_its_members_their_roles(
    town: Town, kind: str, creator: str, others: list[str], roles: list[str], everybody: Any
) -> None:
    body = {"type": kind, "participant_ids": others}

    talk = await everybody[creator].post("conversations/create_with_participants/", body)

    expected = others if creator == "backend" else [creator, *others]
    assert [member["user"]["id"] for member in talk["participants"]] == expected
    assert [member["role"] for member in talk["participants"]] == roles
    assert (talk["created_by"], talk["participants_count"]) == (creator, len(expected))


@pytest.mark.parametrize(
    ("kind", "creator", "others"),
    [
        ("client_agent", "ada", ["dan"]),
        ("client_agent", "bob", ["cleo"]),
        ("client_agent", "somebody new", ["somebody new"]),
        ("client_agent", "backend", ["bob", "cleo"]),
        ("agent_agent", "ada", ["dan", "bob"]),
        ("agent_agent", "bob", ["ada"]),
        ("agent_agent", "backend", ["ada", "cleo"]),
    ],
)
async def test_a_type_refuses_those_it_is_not_for(
    kind: str, creator: str, others: list[str], everybody: Any
) -> None:
    body = {"type": kind, "participant_ids": others}

    with pytest.raises(Refused) as no:
        await everybody[creator].post("conversations/create_with_participants/", body)

    assert (no.value.code, no.value.fields) == ("validation_failed", ["participant_ids"])
    assert await all_conversations(everybody[others[0]]) == {}


@pytest.fixture
async def everybody(
    town: Town, ada: Person, bob: Person, cleo: Person, dan: Person, root: Person, backend: Person
) -> dict[str, Person]:
    people = (ada, bob, cleo, dan, root, backend, town.person("somebody new"))
    return {person.id: person for person in people}


async def test_an_external_id_leads_members_and_the_backend_to_the_same_conversation(
    ada: Person, bob: Person, eve: Person, backend: Person
) -> None:
    talk = await ada.creates("group", bob, external_id="order 7")
    his = await bob.connects()

    assert (await bob.creates("group", ada, external_id="order 7"))["id"] == talk["id"]
    by_backend = await backend.creates("group", ada, bob, external_id="order 7")
    assert (by_backend["id"], by_backend["my"]) == (talk["id"], None)
    for work in (
        eve.creates("group", ada, external_id="order 7"),
        ada.creates("direct", eve, external_id="order 7"),
    ):
        with pytest.raises(Refused) as no:
            await work
        assert (no.value.code, no.value.fields) == ("validation_failed", ["external_id"])
    assert await all_conversations(eve) == {}
    await his.hears_nothing()


async def test_nobody_catches_what_the_backend_says_by_guessing_an_external_id(
    ada: Person, bob: Person, eve: Person, dan: Person, backend: Person
) -> None:
    trap = await eve.creates("group", dan, external_id="order 7")
    hers = await eve.connects()

    for kind, people in (("client_agent", (ada, bob)), ("group", (ada, bob)), ("group", (dan,))):
        with pytest.raises(Refused) as no:
            await backend.creates(kind, *people, external_id="order 7")
        assert (no.value.code, no.value.fields) == ("validation_failed", ["external_id"])
    # She is in this one, and of another kind than hers it is not either.
    with pytest.raises(Refused):
        await backend.creates("client_agent", eve, dan, external_id="order 7")

    same = await backend.creates("group", eve, ada, external_id="order 7")
    assert same["id"] == trap["id"]
    # What the backend made is found by the backend, whoever is named.
    made = await backend.creates("group", ada, bob, external_id="order 8")
    assert (await backend.creates("group", dan, external_id="order 8"))["id"] == made["id"]
    await hers.hears_nothing()


async def test_two_requests_with_one_external_id_make_one_conversation(
    ada: Person, bob: Person, backend: Person
) -> None:
    his = await bob.connects()

    made = await asyncio.gather(
        *(backend.creates("group", ada, bob, external_id="order 7") for _ in range(4)),
        *(ada.creates("group", bob, external_id="order 7") for _ in range(4)),
    )

    assert len({talk["id"] for talk in made}) == 1
    assert (await his.heard_names()).count("conversation:added") == 1


async def test_of_two_strangers_with_one_external_id_the_second_is_refused(
    ada: Person, bob: Person, cleo: Person, eve: Person
) -> None:
    made = await asyncio.gather(
        ada.creates("group", bob, external_id="order 7"),
        eve.creates("group", cleo, external_id="order 7"),
        return_exceptions=True,
    )

    refusals = [one for one in made if isinstance(one, BaseException)]
    assert [getattr(one, "fields", one) for one in refusals] == [["external_id"]]
    assert len(await all_conversations(bob)) + len(await all_conversations(cleo)) == 1


async def test_a_first_message_is_sent_once_also_into_a_conversation_that_exists(
    ada: Person, bob: Person, eve: Person
) -> None:
    first = {"content": "Hello Bob", "client_msg_id": "1", "metadata": {"from": "profile"}}
    talk = await ada.creates("direct", bob)
    his, outside = await bob.connects(), await eve.connects()

    for _ in range(2):
        again = await ada.creates("direct", bob, initial_message=first)
        assert (again["id"], again["last_message"]["content"]) == (talk["id"], "Hello Bob")

    (said,) = await all_messages(ada, talk["id"])
    assert (said["client_msg_id"], said["metadata"]) == ("1", {"from": "profile"})
    assert await his.heard() == [spoken(said)]
    await outside.hears_nothing()


async def test_another_first_message_under_the_same_id_is_refused(ada: Person, bob: Person) -> None:
    first = {"content": "Hello", "client_msg_id": "1"}
    talk = await ada.creates("direct", bob, initial_message=first)

    with pytest.raises(Refused) as no:
        await ada.creates("direct", bob, initial_message={**first, "content": "Goodbye"})

    assert no.value.code == "idempotency_conflict"
    await ada.creates("direct", bob, initial_message={**first, "client_msg_id": "2"})
    assert [m["content"] for m in await all_messages(bob, talk["id"])] == ["Hello", "Hello"]


@pytest.mark.settings(limits={"message_chars": 20_000})
async def test_a_first_message_may_be_as_long_as_any_other(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob, initial_message={"content": "x" * 20_000})
    assert [len(m["content"]) for m in await all_messages(bob, talk["id"])] == [20_000]


async def test_the_backend_sends_no_first_message_and_then_nothing_is_made(
    ada: Person, bob: Person, backend: Person
) -> None:
    with pytest.raises(Refused) as no:
        await backend.creates("direct", ada, bob, initial_message={"content": "Hello"})

    assert (no.value.code, no.value.fields) == ("validation_failed", ["initial_message"])
    assert await all_conversations(ada) == {}


async def test_somebody_nobody_has_seen_becomes_an_empty_profile(town: Town, ada: Person) -> None:
    talk = await ada.creates("direct", town.person("42"))

    assert talk["participants"][1]["user"] == {
        "id": "42",
        "name": "",
        "avatar_url": None,
        "role": None,
        "metadata": {},
    }
    newcomer = await town.person("42", name="Zoé").connects()
    assert list(newcomer.ready["joined"]) == [talk["id"]]
    assert newcomer.ready["user"]["name"] == "Zoé"


@pytest.mark.settings(users={"accept_unknown": False})
async def test_somebody_nobody_has_seen_can_be_refused(
    town: Town, ada: Person, bob: Person
) -> None:
    nobody = town.person("42")

    with pytest.raises(Refused) as no:
        await ada.creates("group", bob, nobody)

    assert (no.value.code, no.value.fields) == ("validation_failed", ["participant_ids"])
    talk = await ada.creates("group", bob)
    with pytest.raises(Refused) as no:
        await ada.post(f"conversations/{talk['id']}/participants/", {"user_ids": ["42"]})
    assert (no.value.code, no.value.fields) == ("validation_failed", ["user_ids"])
    await nobody.get("me/")
    assert (await ada.creates("direct", nobody))["participants_count"] == 2


@pytest.mark.settings(limits={"members": 3})
async def test_a_conversation_holds_no_more_members_than_the_limit(
    ada: Person, bob: Person, cleo: Person, eve: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    outside = await eve.connects()

    with pytest.raises(Refused) as no:
        await ada.creates("group", bob, cleo, eve)
    assert (no.value.code, no.value.fields) == ("validation_failed", ["participant_ids"])
    with pytest.raises(Refused) as no:
        await ada.post(f"conversations/{talk['id']}/participants/", {"user_ids": ["eve"]})
    assert (no.value.code, no.value.fields) == ("validation_failed", ["user_ids"])
    await outside.hears_nothing()
    await bob.post(f"conversations/{talk['id']}/leave/")
    await ada.post(f"conversations/{talk['id']}/participants/", {"user_ids": ["eve"]})
    assert "conversation:added" in await outside.heard_names()


async def test_a_person_named_twice_is_one_member(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob, ada, bob)

    assert [member["user"]["id"] for member in talk["participants"]] == ["ada", "bob"]


async def test_every_field_of_a_new_conversation_is_kept(ada: Person, bob: Person) -> None:
    fields = {
        "title": "Réunion",
        "avatar_url": "https://example.org/a.png",
        "client": "c-1",
        "property": "p-1",
        "external_id": "x-1",
        "metadata": {"deep": [1, {"er": None}]},
    }

    talk = await ada.creates("group", bob, **fields)

    seen = await sees(bob, talk)
    assert {name: seen[name] for name in fields} == fields
