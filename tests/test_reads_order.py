"""The order of lists while it is copied behind the sends, and what is remembered of callers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest
from tortoise.connection import get_connection

from server import clock
from server.actions import recency, views
from server.models import sql
from server.schemas.values import UserRole
from tests.people import Person, Refused, Town

CLOCKS = [f"server.journal.{name}.now_ms" for name in ("numbers", "postgres", "sqlite")]


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never show the same millisecond twice."""
    ticks = count(clock.now_ms())
    for name in CLOCKS:
        monkeypatch.setattr(name, lambda: next(ticks))


def copier() -> recency.Recency:
    return recency._RECENCIES[get_connection("default")]


async def copied() -> None:
    """Let everything be copied that was said until now."""
    while await copier().pending():
        await copier()._begin()


async def copies() -> dict[str, set[int | None]]:
    """Return what stands beside the memberships of each conversation."""
    rows = await sql.fetch("SELECT conversation_id, last_activity_at FROM participants")
    found: dict[str, set[int | None]] = {}
    for row in rows:
        found.setdefault(row["conversation_id"], set()).add(row["last_activity_at"])
    return found


async def true_times() -> dict[str, int]:
    rows = await sql.fetch("SELECT id, last_activity_at FROM conversations")
    return {row["id"]: row["last_activity_at"] for row in rows}


async def listed(person: Person, limit: int = 2) -> list[str]:
    """Return the ids of a whole list, read page by page."""
    ids: list[str] = []
    path: str | None = f"conversations/?limit={limit}"
    while path is not None:
        page = await person.get(path)
        ids += [body["id"] for body in page["results"]]
        path = page["next"] and page["next"].removeprefix(person.town.url)
    return ids


@pytest.mark.usefixtures("ticking")
@pytest.mark.settings(limits={"broadcast_members": 3})
async def test_a_list_is_in_order_whatever_is_copied_already(
    ada: Person, bob: Person, cleo: Person, dan: Person, eve: Person
) -> None:
    talks = [await ada.creates("group", bob, title=str(n)) for n in range(5)]
    # Larger than what copies are made for.
    talks.append(await ada.creates("group", bob, cleo, dan, title="large"))
    order = [talk["id"] for talk in talks]

    async def says(*places: int) -> None:
        for place in places:
            await ada.says(talks[place], "Up")
            order.remove(talks[place]["id"])
            order.append(talks[place]["id"])

    assert await listed(bob) == order[::-1]
    await copied()
    assert await listed(bob) == order[::-1]
    # Some are copied, some have moved since, and a large one lies between.
    await says(1, 5, 0)
    assert await listed(bob) == order[::-1]
    await copied()
    await says(3)
    assert await listed(bob) == order[::-1]

    device = await bob.connects()
    await device.asks("conversation:update_my", conversation_id=order[1], is_pinned=True)
    device.is_checked = False
    assert await listed(bob) == [order[1], *(id_ for id_ in order[::-1] if id_ != order[1])]
    assert await listed(eve) == []


@pytest.mark.usefixtures("ticking")
@pytest.mark.settings(limits={"broadcast_members": 3})
async def test_a_list_is_in_order_when_large_and_small_change_places(
    ada: Person, bob: Person, cleo: Person, dan: Person
) -> None:
    small = await ada.creates("group", bob)
    large = await ada.creates("group", bob, cleo, dan)
    await copied()
    assert await listed(bob) == [large["id"], small["id"]]

    await ada.delete(f"conversations/{large['id']}/participants/dan/")
    path = f"conversations/{small['id']}/participants/"
    await ada.post(path, {"user_ids": ["cleo", "dan"]})

    assert await listed(bob) == [small["id"], large["id"]]
    await copied()
    found, at = await copies(), await true_times()
    assert found == {small["id"]: {None}, large["id"]: {at[large["id"]]}}
    assert await listed(bob) == [small["id"], large["id"]]


async def test_what_a_crash_left_is_mended_at_the_next_start(ada: Person, bob: Person) -> None:
    talks = [await ada.creates("group", bob, title=str(n)) for n in range(3)]
    await copied()
    first, second, third = (talk["id"] for talk in talks)
    await sql.execute(
        "UPDATE participants SET last_activity_at = 1 WHERE conversation_id = $1", third
    )
    await sql.execute(
        "UPDATE participants SET last_activity_at = NULL WHERE conversation_id = $1", second
    )

    another = recency.Recency(100)
    another.start()
    assert another._mending is not None
    await another._mending

    found, at = await copies(), await true_times()
    assert found == {id_: {at[id_]} for id_ in (first, second, third)}
    assert await listed(bob) == [third, second, first]


async def test_more_than_can_be_merged_is_copied_before_a_list_is_read(
    monkeypatch: pytest.MonkeyPatch, ada: Person, bob: Person
) -> None:
    monkeypatch.setattr(recency, "MERGED", 2)
    talks = [await ada.creates("group", bob, title=str(n)) for n in range(4)]

    assert await listed(bob) == [talk["id"] for talk in talks[::-1]]

    assert await copier().pending() == []
    found, at = await copies(), await true_times()
    assert found == {id_: {time} for id_, time in at.items()}


@asynccontextmanager
async def held_by_another(conversation_id: str) -> AsyncIterator[bool]:
    """Hold the memberships of a conversation; SQLite has one writer, who holds nothing for long."""
    if sql.dialect() == "sqlite":
        yield False
        return
    async with get_connection("default").acquire_connection() as other:
        transaction = other.transaction()
        await transaction.start()
        statement = "SELECT 1 FROM participants WHERE conversation_id = $1 FOR UPDATE"
        await other.fetch(statement, conversation_id)
        yield True
        await transaction.rollback()


async def test_a_row_that_somebody_holds_is_copied_later_and_keeps_nobody_waiting(
    ada: Person, bob: Person
) -> None:
    talks = [await ada.creates("group", bob, title=str(n)) for n in range(2)]
    first, second = talks[0]["id"], talks[1]["id"]

    async with held_by_another(first) as is_held:
        await copier()._begin()
        assert (first in await copier().pending()) is is_held
        assert None not in (await copies())[second]
        assert await listed(bob) == [second, first]

    await copied()
    assert None not in (await copies())[first]


async def test_any_number_of_cursors_is_read_in_the_same_steps(
    monkeypatch: pytest.MonkeyPatch, ada: Person, bob: Person, eve: Person
) -> None:
    talks = [await ada.creates("group", bob, title=str(n)) for n in range(12)]
    for talk in talks:
        await ada.says(talk, "News")
    steps = list[int]()
    original = sql.together

    async def counted(values: Any, *statements: str) -> Any:
        steps.append(len(statements))
        return await original(values, *statements)

    monkeypatch.setattr(sql, "together", counted)
    await bob.post("sync/", {"cursors": {talks[0]["id"]: 0}})
    one = steps.copy()
    steps.clear()

    every = await bob.post("sync/", {"cursors": {talk["id"]: 0 for talk in talks}})
    assert steps == one
    contents = [[m["content"] for m in entry["messages"]] for entry in every["conversations"]]
    assert [entry["id"] for entry in every["conversations"]] == [talk["id"] for talk in talks]
    assert all(said[-1] == "News" for said in contents)
    # Whoever is not in them gets nothing, and cannot tell them from what does not exist.
    hers = await eve.post("sync/", {"cursors": {talk["id"]: 0 for talk in talks} | {"none": 0}})
    assert hers["conversations"] == []
    assert {(m["is_active"], m["my"]) for m in hers["memberships"]} == {(False, None)}
    assert hers["users"] == []


@pytest.mark.settings(limits={"sync_total": 5, "sync_messages": 5})
async def test_what_a_sync_has_no_room_for_comes_with_the_next(ada: Person, bob: Person) -> None:
    talks = [await ada.creates("direct", bob), await ada.creates("group", bob)]
    talks.append(await ada.creates("group", bob, title="Third"))
    for talk in talks:
        for n in range(4):
            await ada.says(talk, str(n))
    cursors, heard, turns = {talk["id"]: talk["head"] for talk in talks}, list[str](), 0

    while True:
        answer = await bob.post("sync/", {"cursors": cursors})
        assert sum(len(entry["messages"]) for entry in answer["conversations"]) <= 5
        heard += [m["id"] for entry in answer["conversations"] for m in entry["messages"]]
        cursors = {entry["id"]: entry["event_seq"] for entry in answer["conversations"]}
        turns += 1
        if not any(entry["has_more"] for entry in answer["conversations"]):
            break

    assert turns == 3
    assert len(heard) == len(set(heard)) == 12


@pytest.mark.settings(auth={"leeway_s": 0})
async def test_a_token_that_was_believed_a_moment_ago_still_ends(
    monkeypatch: pytest.MonkeyPatch, town: Town, ada: Person
) -> None:
    now = clock.now_ms()
    token = ada.fresh_token(60)
    person = town.person("ada", token=token, role=UserRole.AGENT)
    await person.get("me/")
    await person.get("me/")

    monkeypatch.setattr("server.auth.clock.now_ms", lambda: now + 61_000)
    with pytest.raises(Refused) as refused:
        await person.get("me/")
    assert refused.value.code == "token_expired"
    # Nor is it believed before it begins, when a clock is set back.
    monkeypatch.setattr("server.auth.clock.now_ms", lambda: now - 60_000)
    with pytest.raises(Refused) as early:
        await person.get("me/")
    assert early.value.code == "unauthorized"


async def test_a_role_that_the_backend_takes_away_is_gone_with_the_next_request(
    town: Town, backend: Person, bob: Person
) -> None:
    await backend.put("users/finn/", {"name": "Finn", "role": "agent"})
    finn = town.person("finn", name="Finn")
    assert [user["id"] for user in (await finn.get("users/?q=bob"))["results"]] == ["bob"]

    await backend.put("users/finn/", {"role": "client"})

    assert (await finn.get("users/?q=bob"))["results"] == []


async def test_a_name_that_a_token_brings_is_stored_though_its_person_is_known(
    town: Town, ada: Person
) -> None:
    await ada.get("me/")
    renamed = town.person("ada", name="Ada Lovelace", role=UserRole.AGENT)

    assert (await renamed.get("me/"))["name"] == "Ada Lovelace"


async def test_people_who_come_at_once_hear_their_own(
    ada: Person, bob: Person, cleo: Person, eve: Person
) -> None:
    talk = await ada.creates("direct", bob)
    other = await ada.creates("direct", cleo)

    devices = {person.id: await person.connects() for person in (bob, cleo, eve)}

    joined = {id_: set(device.ready["joined"]) for id_, device in devices.items()}
    assert joined == {"bob": {talk["id"]}, "cleo": {other["id"]}, "eve": set()}


@pytest.mark.one_database
@pytest.mark.usefixtures("town")
async def test_a_counter_looks_up_what_is_named_and_not_all_that_somebody_is_in() -> None:
    counted = views.unread_total("$1", "$3", unread_max=9)
    plan = await sql.fetch(f"EXPLAIN QUERY PLAN {counted}", "bob", clock.now_ms(), "[]")
    steps = " ".join(row["detail"] for row in plan)
    assert "participants_member (conversation_id=? AND user_id=?)" in steps
    assert "participants_list" not in steps
