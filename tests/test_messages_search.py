"""Searching: over everything the caller may read, and nothing else."""

import sqlite3
from contextlib import closing
from typing import Any

import asyncpg
import pytest

from tests.people import Person, Town
from tests.refusals import refused


async def found(person: Person, query: str = "") -> list[str]:
    page = await person.get(f"messages/?{query}")
    return [message["content"] for message in page["results"]]


COLUMNS = [
    *("id", "conversation_id", "seq", "event_seq", "sender_id"),
    *("type", "content", "countable", "created_at"),
]


async def store(town: Town, talk: dict[str, Any], count: int) -> None:
    """Put old messages of ada into the database, behind the server's back: sending takes long."""
    id_, head, url = talk["id"], talk["head"], town.settings.database.url
    rows = [
        (f"00000000-{n:012}", id_, n, head + n, "ada", "text", f"old {n}", n, 1)
        for n in range(1, count + 1)
    ]
    counters = "UPDATE conversations SET last_seq = $1, head = head + $1, countable = $1"
    if url.startswith("sqlite"):
        insert = "INSERT INTO messages ($) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        with closing(sqlite3.connect(url.removeprefix("sqlite://"))) as file, file:
            file.executemany(insert.replace("$", ", ".join(COLUMNS)), rows)
            file.execute(counters.replace("$1", "?1"), (count,))
        return
    connection = await asyncpg.connect(url)
    await connection.copy_records_to_table("messages", records=rows, columns=COLUMNS)
    await connection.execute(counters, count)
    await connection.close()


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("Hello Bob", "hello"),
        ("hello bob", "LO B"),
        ("Été à la MER", "éTÉ"),
        ("été", "ÉTÉ"),
        ("ΑΘΗΝΑ", "αθηνα"),
        ("Straße", "STRASSE"),
        ("100% sure_thing [x]", "0% sure_t"),
        ('it\'s "quoted" \\ here', '\'S "QUOTED" \\'),
        ("\U0001f600 emoji", "\U0001f600"),
    ],
)
async def test_a_text_is_found_whatever_its_case(
    ada: Person, bob: Person, said: str, asked: str
) -> None:
    talk = await ada.creates("direct", bob)
    await ada.says(talk, said)
    await ada.says(talk, "100 percent sure-thing x")

    page = await bob.get(f"messages/?q={_quoted(asked)}")

    assert [message["content"] for message in page["results"]] == [said]
    assert (page["next"], page["next_cursor"], page["truncated"]) == (None, None, False)


def _quoted(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


async def test_only_ones_own_conversations_are_searched(
    ada: Person, bob: Person, cleo: Person, eve: Person
) -> None:
    await ada.says(await ada.creates("direct", bob), "word for Bob")
    await ada.says(await ada.creates("direct", cleo), "word for Cleo")

    assert await found(ada, "q=word") == ["word for Cleo", "word for Bob"]
    assert await found(bob, "q=word") == ["word for Bob"]
    assert await found(cleo, "q=word") == ["word for Cleo"]
    assert await found(eve, "q=word") == await found(eve) == []


async def test_a_conversation_one_has_left_is_not_searched(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    await ada.says(talk, "word")
    await bob.post(f"conversations/{talk['id']}/leave/")
    await ada.delete(f"conversations/{talk['id']}/participants/cleo/")

    for person in (bob, cleo):
        assert await found(person, "q=word") == []
        assert await found(person, f"conversation_id={talk['id']}") == []
    await ada.post(f"conversations/{talk['id']}/participants/", {"user_ids": ["bob"]})
    assert await found(bob, "q=word") == ["word"]


async def test_filters_narrow_the_search(ada: Person, bob: Person, cleo: Person) -> None:
    pair, group = await ada.creates("direct", bob), await ada.creates("group", bob, cleo)
    one = await ada.says(pair, "one")
    await bob.says(pair, "two")
    three = await bob.says(group, "three")

    assert await found(bob, f"conversation_id={pair['id']}") == ["two", "one"]
    assert await found(bob, "sender_id=bob") == ["three", "two"]
    assert await found(bob, "sender_id=bob&q=t&type=text") == ["three", "two"]
    assert await found(bob, f"sender_id=bob&q=t&conversation_id={pair['id']}") == ["two"]
    assert await found(bob, "sender_id=nobody") == []
    assert await found(bob, "type=text") == ["three", "two", "one"]
    assert len(await found(bob, "type=system")) == 1
    assert await found(bob, "has_attachment=true") == []
    assert len(await found(bob, "has_attachment=false")) == 4
    assert await found(bob, f"type=text&until={one['created_at']}") == []
    assert "three" in await found(bob, f"since={three['created_at']}")
    assert await found(bob, "since=2100-01-01T00:00:00%2B02:00") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=2026-01-02T03:04:05", "since"),
        ("until=yesterday", "until"),
        ("type=poem", "type"),
        ("has_attachment=maybe", "has_attachment"),
        ("q=", "q"),
        ("limit=101", "limit"),
        ("cursor=", "cursor"),
        ("query=x", "query"),
        ("q=a&q=b", "q"),
    ],
)
async def test_a_search_is_held_to_its_fields(ada: Person, query: str, field: str) -> None:
    no = await refused(found(ada, query))
    assert (no.status, no.code, no.fields) == (400, "validation_failed", [field])


async def test_deleted_words_are_not_found_and_edited_ones_are(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    gone, changed = await ada.says(talk, "word one"), await ada.says(talk, "word two")
    await ada.delete(f"messages/{gone['id']}/")
    await ada.patch(f"messages/{changed['id']}/", {"content": "verb two"})

    assert await found(bob, "q=word") == []
    assert await found(bob, "q=verb") == ["verb two"]


async def test_pages_follow_each_other_without_holes(
    town: Town, ada: Person, bob: Person, cleo: Person
) -> None:
    pair, group = await ada.creates("direct", bob), await ada.creates("group", bob, cleo)
    for number in range(7):
        await ada.says(pair if number % 2 else group, f"word {number}")
    for query in ("q=word&limit=3", "q=WORD&limit=7", "type=text&limit=2", "limit=1&q=word"):
        path: str | None = f"messages/?{query}"
        read, pages = [], 0
        while path is not None:
            page = await bob.get(path)
            read += [message["content"] for message in page["results"]]
            assert (page["next"] is None) == (page["next_cursor"] is None)
            path, pages = page["next"] and page["next"].removeprefix(town.url), pages + 1
        assert read == [f"word {number}" for number in reversed(range(7))]
        assert pages == -(-7 // int(query.split("limit=")[1][0]))


async def test_what_was_found_looks_as_in_the_history(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    await ada.says(talk, "word")
    await bob.says(talk, "word too")

    results = (await bob.get("messages/?q=word"))["results"]
    page = await bob.get(f"conversations/{talk['id']}/messages/")

    assert results == page["results"][::-1]


async def test_a_search_says_when_it_did_not_look_at_everything(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    await store(town, talk, 10_000)
    everything = await bob.get("messages/?q=nowhere")
    assert (everything["results"], everything["truncated"]) == ([], False)
    assert await found(bob, "q=old%201&limit=2") == ["old 10000", "old 1999"]

    await bob.says(talk, "one more")
    partly = await bob.get("messages/?q=nowhere")
    assert (partly["results"], partly["truncated"]) == ([], True)
    assert await found(bob, "q=one%20more") == ["one more"]
    assert (await bob.get("messages/?q=nowhere&sender_id=ada"))["truncated"] is False
    last = await bob.get("messages/?limit=100")
    assert (len(last["results"]), last["truncated"]) == (100, False)
