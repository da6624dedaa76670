"""Unread: other people's messages after the read mark, by arithmetic."""

from typing import Any

import pytest
from tortoise.connection import get_connection

from server.actions import recency
from server.models import sql
from tests.people import Person, Town


async def unread(person: Person, talk: dict[str, Any]) -> int:
    count: int = (await person.get(f"conversations/{talk['id']}/"))["my"]["unread_count"]
    return count


async def total(person: Person) -> tuple[int, int]:
    counters = await person.get("me/unread/")
    return counters["total"], counters["conversations"]


async def copied() -> None:
    """Let everything be copied that was said or read until now."""
    copier = recency._RECENCIES[get_connection("default")]
    while copier.noted():
        await copier._begin()


async def behind(user_id: str) -> set[str]:
    """Return the conversations in which something is said to be unread."""
    rows = await sql.fetch(
        "SELECT conversation_id FROM participants WHERE user_id = $1 AND is_behind", user_id
    )
    return {row["conversation_id"] for row in rows}


async def test_only_what_others_said_after_the_mark_is_unread(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob)
    assert (await unread(ada, talk), await unread(bob, talk)) == (0, 0)

    for word in ("One", "Two", "Three"):
        await ada.says(talk, word)
    assert (await unread(ada, talk), await unread(bob, talk)) == (0, 3)
    await bob.post(f"conversations/{talk['id']}/mark_read/", {"up_to_seq": 3})
    assert await unread(bob, talk) == 1
    await bob.says(talk, "Four")
    assert (await unread(ada, talk), await unread(bob, talk)) == (1, 0)


async def test_system_lines_are_not_unread(
    ada: Person, bob: Person, cleo: Person, backend: Person
) -> None:
    talk = await ada.creates("group", bob)
    await ada.says(talk, "Before")

    await ada.patch(f"conversations/{talk['id']}/", {"title": "New"})
    await ada.post(f"conversations/{talk['id']}/participants/", {"user_ids": ["cleo"]})
    await backend.says(talk, "Maintenance", type="system")

    assert (await unread(bob, talk), await unread(cleo, talk)) == (1, 0)
    await ada.says(talk, "After")
    assert (await unread(bob, talk), await unread(cleo, talk)) == (2, 1)
    await bob.post(f"conversations/{talk['id']}/mark_read/", {"up_to_seq": 3})
    assert await unread(bob, talk) == 1


async def test_what_was_deleted_for_everyone_is_not_unread(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    said = [await ada.says(talk, str(number)) for number in range(5)]
    his = await bob.connects()

    for place in (1, 3):
        await ada.delete(f"messages/{said[place]['id']}/")
    assert await unread(bob, talk) == 3
    await bob.post(f"conversations/{talk['id']}/mark_read/", {"up_to_seq": 2})
    assert await unread(bob, talk) == 2
    # What is deleted behind the mark was counted as read before.
    await ada.delete(f"messages/{said[0]['id']}/")
    assert await unread(bob, talk) == 2
    await bob.post(f"conversations/{talk['id']}/mark_read/")
    assert await total(bob) == (0, 0)
    assert len(await his.heard()) == 7


async def test_deleting_a_system_line_changes_no_counter(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob)
    await ada.says(talk, "Hello")
    await ada.patch(f"conversations/{talk['id']}/", {"title": "New"})
    line = (await ada.get(f"conversations/{talk['id']}/"))["last_message"]

    await ada.delete(f"messages/{line['id']}/")

    assert await unread(bob, talk) == 1


async def test_the_total_leaves_archived_conversations_out(
    town: Town, ada: Person, bob: Person, cleo: Person
) -> None:
    with_bob, with_cleo = await ada.creates("direct", bob), await ada.creates("direct", cleo)
    for talk, sender in ((with_bob, bob), (with_bob, bob), (with_cleo, cleo)):
        await sender.says(talk, "Hello")
    her = await ada.connects()
    assert her.ready["unread_total"] == 3
    assert await total(ada) == (3, 2)

    await ada.post(f"conversations/{with_bob['id']}/archive/")
    assert await total(ada) == (1, 1)
    assert (await her.heard())[-1] == ("my:unread", {"total": 1, "conversations": 1})
    assert await unread(ada, with_bob) == 2
    answer = await ada.post(f"conversations/{with_cleo['id']}/mark_read/")
    assert answer["unread_total"] == 0
    await bob.says(with_bob, "Come back")
    assert await total(ada) == (3, 1)
    await her.heard()


async def test_a_conversation_that_was_left_is_in_no_total(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob)
    await ada.says(talk, "Hello")
    assert await total(bob) == (1, 1)

    await bob.post(f"conversations/{talk['id']}/leave/")

    assert await total(bob) == (0, 0)


@pytest.mark.settings(limits={"unread_max": 2})
async def test_above_the_maximum_a_counter_says_only_that_there_is_more(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talk, other = await ada.creates("direct", bob), await cleo.creates("direct", bob)
    counts = []
    for number in range(5):
        await ada.says(talk, str(number))
        counts.append((await unread(bob, talk), (await total(bob))[0]))
    assert counts == [(1, 1), (2, 2), (3, 3), (3, 3), (3, 3)]

    await cleo.says(other, "Hello")
    assert await total(bob) == (3, 2)
    answer = await bob.post(f"conversations/{talk['id']}/mark_read/", {"up_to_seq": 1})
    assert answer == {"read_seq": 1, "unread_count": 3, "unread_total": 3}
    answer = await bob.post(f"conversations/{talk['id']}/mark_read/", {"up_to_seq": 4})
    assert answer == {"read_seq": 4, "unread_count": 1, "unread_total": 2}


async def test_numbers_may_be_read_between_messages_and_lines_alike(
    ada: Person, bob: Person
) -> None:
    talk = await ada.creates("group", bob)
    expected = {}
    for number in range(3):
        await ada.says(talk, str(number))
        await ada.patch(f"conversations/{talk['id']}/", {"title": str(number)})
    # 1 the creation, then a message and a line in turn.
    for seq, left in ((2, 2), (3, 2), (4, 1), (5, 1), (6, 0), (7, 0)):
        path = f"conversations/{talk['id']}/mark_read/"
        expected[seq] = left
        assert (await bob.post(path, {"up_to_seq": seq}))["unread_count"] == left


async def test_a_counter_is_exact_whatever_is_copied_already(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talks = [await ada.creates("group", bob, cleo) for _ in range(3)]
    assert await total(bob) == (0, 0)

    for talk in talks:
        await ada.says(talk, "Hello")
    assert await total(bob) == (3, 3)
    await copied()
    assert await total(bob) == (3, 3)
    assert await behind("bob") == await behind("cleo") == {talk["id"] for talk in talks}
    assert await behind("ada") == set()

    # Some are copied, one has moved since, one was read.
    await ada.says(talks[0], "Are you there?")
    await bob.post(f"conversations/{talks[1]['id']}/mark_read/")
    assert await total(bob) == (3, 2)
    await copied()
    assert await total(bob) == (3, 2)
    assert await behind("bob") == {talks[0]["id"], talks[2]["id"]}
    await bob.says(talks[2], "I am")
    assert await total(bob) == (2, 1)
    await copied()
    assert await total(bob) == (2, 1)
    assert await behind("bob") == {talks[0]["id"]}


async def test_too_many_new_things_to_name_are_counted_all_the_same(
    ada: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recency, "MERGED", 1)
    talks = [await ada.creates("group", bob) for _ in range(3)]
    await copied()
    for talk in talks:
        await ada.says(talk, "Hello")
    assert len(recency.noted()) > 1

    assert await total(bob) == (3, 3)
    assert (await bob.connects()).ready["unread_total"] == 3


@pytest.mark.settings(limits={"broadcast_members": 2})
async def test_large_conversations_are_counted_without_a_copy(
    ada: Person, bob: Person, cleo: Person
) -> None:
    large = await ada.creates("group", bob, cleo)
    await ada.says(large, "Hello")
    await copied()

    assert await total(bob) == (1, 1)
    await bob.post(f"conversations/{large['id']}/mark_read/")
    assert await total(bob) == (0, 0)


@pytest.mark.settings(limits={"unread_max": 2})
async def test_behind_in_very_many_conversations_is_more(
    ada: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recency, "MERGED", 0)
    talks = [await ada.creates("group", bob) for _ in range(5)]
    for talk in talks:
        await ada.says(talk, "Hello")

    assert await total(bob) == (3, 3)
    await copied()
    assert await total(bob) == (3, 3)
    his = await bob.connects()
    assert his.ready["unread_total"] == 3
    await his.close()

    for talk in talks[:4]:
        await bob.post(f"conversations/{talk['id']}/mark_read/")
    assert await total(bob) == (1, 1)
    await copied()
    assert await total(bob) == (1, 1)
