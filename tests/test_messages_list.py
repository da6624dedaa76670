"""Reading back: pages of history, the same by both doors, and what is true at their edges."""

import json
from typing import Any

import pytest

from tests.people import Person, all_messages
from tests.refusals import refused

BOUND = 524_288
TINY = {
    "message_chars": 900,
    "message_metadata_bytes": 0,
    "conversation_metadata_bytes": 0,
    "event_bytes": 1_024,
    "sync_bytes": 1_024,
}


async def ten(ada: Person, bob: Person) -> dict[str, Any]:
    """Make a conversation in which ada said 1 to 10."""
    talk = await ada.creates("direct", bob)
    for number in range(1, 11):
        await ada.says(talk, str(number))
    return talk


async def page(person: Person, talk: dict[str, Any], query: str = "") -> Any:
    return await person.get(f"conversations/{talk['id']}/messages/?{query}")


def shows(found: dict[str, Any]) -> tuple[list[int], bool, bool]:
    messages = found.get("results", found.get("messages"))
    assert messages is not None
    return [m["seq"] for m in messages], found["has_more_before"], found["has_more_after"]


EDGES: list[tuple[dict[str, int], tuple[list[int], bool, bool]]] = [
    ({}, ([*range(1, 11)], False, False)),
    ({"limit": 10}, ([*range(1, 11)], False, False)),
    ({"limit": 9}, ([*range(2, 11)], True, False)),
    ({"limit": 1}, ([10], True, False)),
    ({"before_seq": 11}, ([*range(1, 11)], False, False)),
    ({"before_seq": 99, "limit": 2}, ([9, 10], True, False)),
    ({"before_seq": 4}, ([1, 2, 3], False, True)),
    ({"before_seq": 4, "limit": 3}, ([1, 2, 3], False, True)),
    ({"before_seq": 4, "limit": 2}, ([2, 3], True, True)),
    ({"before_seq": 1}, ([], False, True)),
    ({"before_seq": 0}, ([], False, True)),
    ({"after_seq": 0}, ([*range(1, 11)], False, False)),
    ({"after_seq": 0, "limit": 3}, ([1, 2, 3], False, True)),
    ({"after_seq": 7}, ([8, 9, 10], True, False)),
    ({"after_seq": 7, "limit": 2}, ([8, 9], True, True)),
    ({"after_seq": 10}, ([], True, False)),
    ({"after_seq": 99}, ([], True, False)),
    ({"around_seq": 5, "limit": 4}, ([3, 4, 5, 6], True, True)),
    ({"around_seq": 5, "limit": 5}, ([3, 4, 5, 6, 7], True, True)),
    ({"around_seq": 5, "limit": 1}, ([5], True, True)),
    ({"around_seq": 1, "limit": 4}, ([1, 2, 3, 4], False, True)),
    ({"around_seq": 2, "limit": 4}, ([1, 2, 3, 4], False, True)),
    ({"around_seq": 10, "limit": 4}, ([8, 9, 10], True, False)),
    ({"around_seq": 99, "limit": 4}, ([9, 10], True, False)),
    ({"around_seq": 99, "limit": 1}, ([], True, False)),
    ({"around_seq": 5}, ([*range(1, 11)], False, False)),
]


async def test_both_doors_show_the_same_pages(ada: Person, bob: Person) -> None:
    talk = await ten(ada, bob)
    his = await bob.connects()
    for asked, expected in EDGES:
        by_rest = await page(bob, talk, "&".join(f"{k}={v}" for k, v in asked.items()))
        by_socket = await his.asks("message:list", conversation_id=talk["id"], **asked)
        assert shows(by_rest) == expected, asked
        assert by_rest == {"results": by_socket.pop("messages"), **by_socket}, asked
    await his.hears_nothing()


async def test_an_empty_conversation_has_an_empty_page(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    for query in ("", "before_seq=5", "after_seq=5", "around_seq=5", "after_seq=0"):
        found = await page(bob, talk, query)
        assert shows(found) == ([], False, False), query
        assert (found["last_seq"], found["event_seq"]) == (0, talk["head"])


async def test_a_page_brings_the_numbers_receipts_and_profiles(ada: Person, bob: Person) -> None:
    talk = await ten(ada, bob)
    await bob.post(f"conversations/{talk['id']}/mark_read/", {"up_to_seq": 4})

    found = await page(bob, talk, "limit=1")

    assert (found["last_seq"], found["event_seq"]) == (10, talk["head"] + 10)
    assert found["receipts"] == [
        {"user_id": "ada", "read_seq": 10, "delivered_seq": 10},
        {"user_id": "bob", "read_seq": 4, "delivered_seq": 4},
    ]
    assert [user["id"] for user in found["users"]] == ["ada", "bob"]


@pytest.mark.settings(limits={"page": 3, "page_max": 5})
async def test_pages_are_as_long_as_the_settings_say(ada: Person, bob: Person) -> None:
    talk = await ten(ada, bob)
    assert shows(await page(bob, talk))[0] == [8, 9, 10]
    assert shows(await page(bob, talk, "limit=5"))[0] == [6, 7, 8, 9, 10]
    assert (await refused(page(bob, talk, "limit=6"))).fields == ["limit"]
    assert (await refused(page(bob, talk, "limit=0"))).fields == ["limit"]


@pytest.mark.parametrize(
    "query",
    ["before_seq=5&after_seq=2", "around_seq=5&before_seq=9", "before_seq=-1", "after_seq=x"],
)
async def test_a_page_has_one_position(ada: Person, bob: Person, query: str) -> None:
    talk = await ten(ada, bob)
    no = await refused(page(bob, talk, query))
    assert (no.status, no.code) == (400, "validation_failed")
    assert any(word in no.error["message"] for word in query.replace("=", "&").split("&"))


async def test_hidden_messages_take_no_place_in_a_page(ada: Person, bob: Person) -> None:
    talk = await ten(ada, bob)
    for message in (await all_messages(bob, talk["id"]))[:2] + [
        m for m in await all_messages(bob, talk["id"]) if m["seq"] in (6, 10)
    ]:
        await bob.delete(f"messages/{message['id']}/?scope=me")

    assert shows(await page(bob, talk, "limit=3")) == ([7, 8, 9], True, False)
    assert shows(await page(bob, talk, "before_seq=7&limit=3")) == ([3, 4, 5], False, True)
    assert shows(await page(bob, talk, "before_seq=3")) == ([], False, True)
    assert shows(await page(bob, talk, "after_seq=9")) == ([], True, False)
    assert shows(await page(bob, talk, "after_seq=4&limit=2")) == ([5, 7], True, True)
    assert shows(await page(bob, talk, "around_seq=6&limit=2")) == ([5, 7], True, True)
    assert shows(await page(ada, talk))[0] == [*range(1, 11)]


async def test_tombstones_keep_their_place(ada: Person, bob: Person) -> None:
    talk = await ten(ada, bob)
    await ada.delete(f"messages/{(await all_messages(bob, talk['id']))[4]['id']}/")

    found = await page(bob, talk)

    assert shows(found) == ([*range(1, 11)], False, False)
    assert [m["seq"] for m in found["results"] if m["is_deleted"]] == [5]


async def long_talk(ada: Person, bob: Person) -> dict[str, Any]:
    """Make a conversation of thirty messages of some 40 KB each."""
    talk = await ada.creates("direct", bob)
    body = json.dumps({"content": "\U0001f600" * 10_000}, ensure_ascii=False).encode()
    for _ in range(30):
        await ada.post(f"conversations/{talk['id']}/send/", body)
    return talk


async def test_a_page_of_long_messages_ends_at_half_a_megabyte(ada: Person, bob: Person) -> None:
    talk = await long_talk(ada, bob)
    expected = {
        "": ([*range(19, 31)], True, False),
        "before_seq=20": ([*range(8, 20)], True, True),
        "after_seq=0": ([*range(1, 13)], False, True),
        "after_seq=10": ([*range(11, 23)], True, True),
    }
    for query, shown in expected.items():
        found = await page(bob, talk, f"{query}&limit=100")
        assert shows(found) == shown, query
        assert len(json.dumps(found["results"], ensure_ascii=False).encode()) <= BOUND


async def test_a_page_around_a_message_holds_it_however_long_all_are(
    ada: Person, bob: Person
) -> None:
    talk = await long_talk(ada, bob)
    for seq in (1, 2, 15, 29, 30):
        found = await page(bob, talk, f"around_seq={seq}&limit=100")
        shown, before, after = shows(found)
        assert shown == [*range(shown[0], shown[-1] + 1)]
        assert seq in shown
        assert (before, after) == (shown[0] > 1, shown[-1] < 30)
        assert len(json.dumps(found["results"], ensure_ascii=False).encode()) <= BOUND


@pytest.mark.settings(limits=TINY)
async def test_a_message_larger_than_a_page_is_shown_alone(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    for _ in range(3):
        await ada.says(talk, "x" * 900)
    assert shows(await page(bob, talk)) == ([3], True, False)
    assert shows(await page(bob, talk, "after_seq=0")) == ([1], False, True)
    assert shows(await page(bob, talk, "around_seq=2")) == ([2], True, True)


async def test_a_new_member_reads_what_was_said_before(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob)
    await ada.says(talk, "Before")
    dan = ada.town.person("dan")
    await dan.get("me/")

    assert (await refused(page(dan, talk))).code == "not_found"
    await ada.post(f"conversations/{talk['id']}/participants/", {"user_ids": ["dan"]})

    assert "Before" in [m["content"] for m in (await page(dan, talk))["results"]]


async def test_a_closed_conversation_can_be_read(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob)
    await ada.says(talk, "Read me")
    await ada.patch(f"conversations/{talk['id']}/", {"is_active": False})
    assert "Read me" in [m["content"] for m in (await page(bob, talk))["results"]]
