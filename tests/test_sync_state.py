"""Catching up: state and not a replay, in bounds, and without an oracle."""

import asyncio
from typing import Any

import pytest

from server.actions import sync
from tests.people import Person, Town

DOORS = pytest.mark.parametrize("door", ["socket", "rest"])


async def caught_up(person: Person, door: str, **body: Any) -> dict[str, Any]:
    """Ask by one of the doors."""
    if door == "rest":
        answer: dict[str, Any] = await person.post("sync/", body)
        return answer
    device = await person.connects(user_seq=None)
    device.is_checked = False  # it is only here to ask
    answer = await device.asks("sync", **body)
    await device.close()
    return answer


def only(answer: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any]
    (entry,) = answer["conversations"]
    return entry


def changes(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all objects of an entry, of whatever kind."""
    own = [entry["conversation"]] if "conversation" in entry else []
    return [*entry["messages"], *entry["participants"], *own]


@DOORS
async def test_what_overwrote_itself_comes_once_in_its_last_form(
    ada: Person, bob: Person, door: str
) -> None:
    talk = await ada.creates("direct", bob)
    kept, gone = await ada.says(talk, "Frist"), await ada.says(talk, "Oops")
    for text in ("Firts", "First"):
        await ada.patch(f"messages/{kept['id']}/", {"content": text})
    await ada.delete(f"messages/{gone['id']}/")

    answer = await caught_up(bob, door, cursors={talk["id"]: talk["head"]})

    entry = only(answer)
    shown = [(m["seq"], m["content"], m["version"], m["is_deleted"]) for m in entry["messages"]]
    assert shown == [(1, "First", 3, False), (2, "", 1, True)]
    assert (entry["event_seq"], entry["has_more"]) == (talk["head"] + 5, False)
    assert "reset" not in entry
    assert "conversation" not in entry
    assert entry["participants"] == []


@DOORS
async def test_every_kind_of_change_is_in_one_list_cut_at_one_number(
    ada: Person, bob: Person, cleo: Person, dan: Person, door: str
) -> None:
    talk = await ada.creates("group", bob, cleo)
    path = f"conversations/{talk['id']}/"
    await ada.says(talk, "one")
    await ada.patch(path, {"title": "New"})
    await ada.post(f"{path}participants/", {"user_ids": ["dan"]})
    await ada.delete(f"{path}participants/cleo/")
    await ada.patch(f"{path}participants/dan/", {"role": "admin"})
    head = (await bob.get(path))["head"]

    numbers = list[int]()
    cursor = talk["head"]
    for _ in range(20):
        answer = only(await caught_up(bob, door, cursors={talk["id"]: cursor}, limit=1))
        taken = sorted(body["event_seq"] for body in changes(answer))
        assert all(cursor < number <= answer["event_seq"] for number in taken)
        assert len(answer["messages"]) <= 1
        numbers += taken
        cursor = answer["event_seq"]
        if not answer["has_more"]:
            break

    assert cursor == head
    assert len(numbers) == len(set(numbers))
    assert numbers == sorted(numbers)
    whole = only(await bob.post("sync/", {"cursors": {talk["id"]: talk["head"]}}))
    assert whole["conversation"]["title"] == "New"
    assert [(p["user"]["id"], p["is_active"], p["role"]) for p in whole["participants"]] == [
        ("cleo", False, "member"),
        ("dan", True, "admin"),
    ]


@pytest.mark.settings(limits={"sync_messages": 3})
@DOORS
async def test_so_many_messages_of_a_conversation_come_at_a_time(
    ada: Person, bob: Person, door: str
) -> None:
    talk = await ada.creates("direct", bob)
    for number in range(7):
        await ada.says(talk, str(number))

    pages, cursor = list[list[str]](), talk["head"]
    while len(pages) < 5:
        entry = only(await caught_up(bob, door, cursors={talk["id"]: cursor}, limit=100))
        pages.append([message["content"] for message in entry["messages"]])
        cursor = entry["event_seq"]
        if not entry["has_more"]:
            break

    assert pages == [["0", "1", "2"], ["3", "4", "5"], ["6"]]


@pytest.mark.settings(limits={"sync_messages": 3, "sync_total": 4})
async def test_so_many_messages_come_in_all_and_other_cursors_come_back_unmoved(
    ada: Person, bob: Person, cleo: Person, dan: Person
) -> None:
    talks = [await bob.creates("direct", other) for other in (ada, cleo, dan)]
    for talk in talks:
        for number in range(3):
            await bob.says(talk, str(number))

    answer = await bob.post("sync/", {"cursors": {talk["id"]: talk["head"] for talk in talks}})

    found = [
        (len(entry["messages"]), entry["event_seq"] - talk["head"], entry["has_more"])
        for entry, talk in zip(answer["conversations"], talks, strict=True)
    ]
    assert found == [(3, 3, False), (1, 1, True), (0, 0, True)]


@pytest.mark.settings(limits={"sync_bytes": 70_000})
async def test_an_answer_has_so_many_bytes(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    for number in range(12):
        await ada.says(talk, str(number % 10) * 9_000)

    cursor, sizes, got = talk["head"], list[int](), 0
    for _ in range(10):
        entry = only(await bob.post("sync/", {"cursors": {talk["id"]: cursor}}))
        sizes.append(sum(len(message["content"]) for message in entry["messages"]))
        got += len(entry["messages"])
        cursor = entry["event_seq"]
        if not entry["has_more"]:
            break

    assert got == 12
    assert all(0 < size <= 70_000 for size in sizes)
    assert len(sizes) == 2


@pytest.mark.settings(limits={"sync_changes": 4, "page": 2, "page_max": 5})
@DOORS
async def test_who_is_too_far_behind_starts_over_with_the_newest_page(
    ada: Person, bob: Person, cleo: Person, door: str
) -> None:
    talk = await ada.creates("group", bob, cleo)
    for number in range(5):
        await ada.says(talk, str(number))

    near = only(await caught_up(bob, door, cursors={talk["id"]: talk["head"] + 1}))
    far = only(await caught_up(bob, door, cursors={talk["id"]: talk["head"]}))

    assert "reset" not in near
    assert [message["content"] for message in near["messages"]] == ["1", "2", "3", "4"]
    assert far["reset"] is True
    assert [message["content"] for message in far["messages"]] == ["3", "4"]
    assert far["event_seq"] == talk["head"] + 5
    assert far["has_more"] is False
    assert far["conversation"]["head"] == far["event_seq"]
    assert {p["user"]["id"] for p in far["participants"]} == {"ada", "bob", "cleo"}


@DOORS
async def test_a_cursor_above_the_head_starts_over(ada: Person, bob: Person, door: str) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "Hello")

    entry = only(await caught_up(bob, door, cursors={talk["id"]: said["event_seq"] + 1}))

    assert (entry["reset"], entry["event_seq"]) == (True, said["event_seq"])
    assert [message["id"] for message in entry["messages"]] == [said["id"]]


@DOORS
async def test_another_epoch_starts_over_everywhere(ada: Person, bob: Person, door: str) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "Hello")
    body = {"cursors": {talk["id"]: said["event_seq"]}, "user_seq": 1}

    answer = await caught_up(bob, door, **body, epoch="before the backup")
    same = await caught_up(bob, door, **body, epoch=answer["epoch"])

    assert only(answer)["reset"] is True
    assert [message["id"] for message in only(answer)["messages"]] == [said["id"]]
    assert [one["conversation"]["id"] for one in answer["memberships"]] == [talk["id"]]
    assert "reset" not in only(same)
    assert (only(same)["messages"], same["memberships"]) == ([], [])


async def test_the_epoch_is_looked_at_in_the_handshake_too(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)

    his = await bob.connects(cursors={talk["id"]: talk["head"]}, epoch="another")

    assert his.ready["sync"]["conversations"][0]["reset"] is True
    assert his.ready["sync"]["epoch"] == his.ready["epoch"]


@DOORS
async def test_a_conversation_without_a_cursor_begins_at_its_head(
    ada: Person, bob: Person, door: str
) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "Long ago")

    entry = only(await caught_up(bob, door, cursors={talk["id"]: None}))

    assert entry["event_seq"] == said["event_seq"]
    assert entry["messages"] == []
    assert entry["conversation"]["id"] == talk["id"]
    assert "reset" not in entry


@DOORS
async def test_a_strangers_conversation_and_no_conversation_answer_the_same(
    ada: Person, bob: Person, eve: Person, door: str
) -> None:
    talk = await ada.creates("direct", bob)

    answer = await caught_up(eve, door, cursors={talk["id"]: 0, "nowhere": 0})
    above = await caught_up(eve, door, cursors={talk["id"]: 9_999, "nowhere": None})

    expected = [
        {"conversation_id": id_, "is_active": False, "my": None} for id_ in (talk["id"], "nowhere")
    ]
    for each in (answer, above):
        assert each["conversations"] == []
        assert each["memberships"] == expected
        assert each["users"] == []
        assert each["unread_total"] == 0


@DOORS
async def test_who_was_removed_reads_nothing_more(
    ada: Person, bob: Person, cleo: Person, door: str
) -> None:
    talk = await ada.creates("group", bob, cleo)
    await ada.delete(f"conversations/{talk['id']}/participants/bob/")
    await ada.says(talk, "Without him")

    answer = await caught_up(bob, door, cursors={talk["id"]: talk["head"]}, user_seq=1)

    gone = {"conversation_id": talk["id"], "is_active": False, "my": None}
    assert answer["conversations"] == []
    assert gone in answer["memberships"]
    assert all(one == gone for one in answer["memberships"])
    assert answer["user_seq"] == 2


async def test_naming_a_conversation_seats_it_but_only_for_members(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    his = await bob.connects()
    await ada.delete(f"conversations/{talk['id']}/participants/bob/")
    await his.heard()

    answer = await his.asks("sync", cursors={talk["id"]: talk["head"]})
    await ada.says(talk, "Without him")

    assert answer["conversations"] == []
    await his.hears_nothing()


# The personal list


async def test_memberships_come_a_hundred_at_a_time(ada: Person, bob: Person) -> None:
    talks = [(await ada.creates("group", bob))["id"] for _ in range(101)]

    first = await bob.post("sync/", {"user_seq": 0})
    second = await bob.post("sync/", {"user_seq": first["user_seq"]})

    pages = [[one["conversation"]["id"] for one in page["memberships"]] for page in (first, second)]
    assert pages == [talks[:100], talks[100:]]
    assert [page["user_seq"] for page in (first, second)] == [100, 101]
    assert [page["user_has_more"] for page in (first, second)] == [True, False]


async def test_a_new_device_gets_its_first_page_with_the_hello(ada: Person, bob: Person) -> None:
    for _ in range(101):
        await ada.creates("group", bob)

    his = await bob.connects()
    await his.reference.catch_up(lambda name, data: his.asks(name, **data))

    assert his.ready["sync"]["user_has_more"] is True
    assert len(his.reference.talks) == 101


@DOORS
async def test_the_personal_list_is_state_too(
    ada: Person, bob: Person, cleo: Person, door: str
) -> None:
    stays = await ada.creates("group", bob, cleo)
    left = await ada.creates("group", bob, cleo)
    said = await ada.says(stays, "Hide me")
    await bob.post(f"conversations/{stays['id']}/archive/")
    await bob.delete(f"messages/{said['id']}/?scope=me")
    await bob.post(f"conversations/{left['id']}/leave/")

    answer = await caught_up(bob, door, user_seq=0)

    assert [
        (one.get("conversation", one)["id"] if "conversation" in one else one["conversation_id"])
        for one in answer["memberships"]
    ] == [stays["id"], left["id"]]
    assert answer["memberships"][0]["my"]["is_archived"] is True
    assert answer["memberships"][1] == {
        "conversation_id": left["id"],
        "is_active": False,
        "my": None,
    }
    assert answer["hidden_ids"] == [said["id"]]
    assert (answer["user_seq"], answer["user_has_more"]) == (5, False)
    nothing = await caught_up(bob, door, user_seq=5)
    assert (nothing["memberships"], nothing["hidden_ids"]) == ([], [])


async def test_without_a_personal_number_nothing_personal_is_read(ada: Person, bob: Person) -> None:
    await ada.creates("direct", bob)

    answer = await bob.post("sync/", {})

    assert (answer["memberships"], answer["user_seq"]) == ([], None)
    assert answer["user_has_more"] is False


async def test_a_personal_number_above_the_head_starts_over(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)

    answer = await bob.post("sync/", {"user_seq": 999})

    assert [one["conversation"]["id"] for one in answer["memberships"]] == [talk["id"]]
    assert answer["user_seq"] == 1


@DOORS
async def test_receipts_people_and_counters_come_with_it(
    ada: Person, bob: Person, cleo: Person, door: str
) -> None:
    talk = await ada.creates("group", bob, cleo)
    said = await ada.says(talk, "Hello")
    await cleo.post(f"conversations/{talk['id']}/mark_read/")

    answer = await caught_up(bob, door, cursors={talk["id"]: talk["head"]})

    marks = {r["user_id"]: (r["read_seq"], r["delivered_seq"]) for r in only(answer)["receipts"]}
    first = said["seq"] - 1
    assert marks == {
        "ada": (said["seq"], said["seq"]),
        "bob": (first, first),
        "cleo": (said["seq"], said["seq"]),
    }
    assert {user["id"]: user["name"] for user in answer["users"]} == {
        "ada": "Ada",
        "bob": "Bob",
        "cleo": "Cleo",
    }
    assert answer["unread_total"] == 1


@DOORS
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"cursors": {"a": "1"}}, "cursors.a"),
        ({"cursors": {"a": -1}}, "cursors.a"),
        ({"cursors": {str(n): 0 for n in range(501)}}, "cursors"),
        ({"user_seq": "0"}, "user_seq"),
        ({"limit": 0}, "limit"),
        ({"since": 5}, "since"),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    bob: Person, door: str, body: dict[str, Any], field: str
) -> None:
    his = await bob.connects()
    if door == "socket":
        error = (await his.answer("sync", body))["error"]
    else:
        status, answer, _ = await bob.call("POST", "sync/", body)
        error = answer["error"]
        assert status == 400

    assert error["code"] == "validation_failed"
    assert [detail["field"] for detail in error["details"]] == [field]


# Coming back


async def everything_changes(ada: Person, bob: Person, cleo: Person, talk: dict[str, Any]) -> None:
    """Do one of each thing while somebody is away."""
    path = f"conversations/{talk['id']}/"
    edited, deleted = await ada.says(talk, "Frist"), await ada.says(talk, "Oops")
    hidden = await ada.says(talk, "Not for Bob's eyes")
    await ada.patch(f"messages/{edited['id']}/", {"content": "First"})
    await ada.delete(f"messages/{deleted['id']}/")
    await bob.delete(f"messages/{hidden['id']}/?scope=me")
    await ada.patch(path, {"title": "Renamed", "metadata": {"a": 1}})
    await ada.post(f"{path}participants/", {"user_ids": ["dan"]})
    await ada.delete(f"{path}participants/cleo/")
    await ada.patch(f"{path}participants/dan/", {"role": "read_only"})
    await bob.says(talk, "From my other device")
    await bob.post(f"{path}archive/")
    await cleo.creates("direct", bob)
    await bob.post(f"{path}mark_read/")


@pytest.mark.parametrize("size", [200, 1], ids=["whole", "in small pages"])
async def test_who_comes_back_has_missed_nothing(
    town: Town, ada: Person, bob: Person, cleo: Person, dan: Person, size: int
) -> None:
    talk = await ada.creates("group", bob, cleo)
    his = await bob.connects()
    await his.close()
    await everything_changes(ada, bob, cleo, talk)

    back = await his.reconnects()
    cursor = talk["head"]
    while size == 1:
        body = {"cursors": {talk["id"]: cursor}, "limit": 1}
        answer = await back.asks("sync", **body)
        back.reference.apply_sync(answer)
        cursor = only(answer)["event_seq"]
        if not only(answer)["has_more"]:
            break

    await back.hears_nothing()
    await ada.says(talk, "Welcome back")
    assert await back.heard_names() == ["message:created"]


async def test_who_was_removed_and_added_again_while_away_is_in(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    his = await bob.connects()
    await his.close()
    path = f"conversations/{talk['id']}/participants/"
    await ada.delete(f"{path}bob/")
    await ada.says(talk, "Without him")
    await ada.post(path, {"user_ids": ["bob"]})

    back = await his.reconnects()
    await ada.says(talk, "With him")

    assert await back.heard_names() == ["message:created"]


async def test_old_cursors_resent_by_a_client_do_no_harm(ada: Person, bob: Person) -> None:
    """Some clients send the auth of their first connection again for ever."""
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    await ada.says(talk, "One")
    assert await his.heard_names() == ["message:created"]

    back = await his.reconnects(cursors={talk["id"]: 0}, user_seq=0)

    assert len(back.ready["sync"]["conversations"][0]["messages"]) == 1
    await back.hears_nothing()


async def test_what_happens_during_a_sync_is_in_it_or_after_it(
    monkeypatch: pytest.MonkeyPatch, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    original = sync.answer

    async def slowly(*args: Any) -> Any:
        await ada.says(talk, "Just before")
        answer = await original(*args)
        await ada.says(talk, "Just after")
        return answer

    monkeypatch.setattr(sync, "answer", slowly)
    answer = await his.asks("sync", cursors={talk["id"]: talk["head"]})
    monkeypatch.undo()
    his.reference.apply_sync(answer)

    assert [m["content"] for m in only(answer)["messages"]] == ["Just before"]
    contents = [data["message"]["content"] for _, data in await his.heard()]
    assert contents == ["Just before", "Just after"]


@pytest.mark.settings(limits={"joined": 1})
async def test_what_happens_while_a_sync_takes_a_seat_is_heard_once(
    monkeypatch: pytest.MonkeyPatch, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("group", bob)
    await ada.creates("group", bob)
    his = await bob.connects()
    original = sync.answer

    async def slowly(*args: Any) -> Any:
        await ada.says(talk, "Just before")
        answer = await original(*args)
        await ada.says(talk, "Just after")
        return answer

    monkeypatch.setattr(sync, "answer", slowly)
    answer = await his.asks("sync", cursors={talk["id"]: talk["head"]})
    monkeypatch.undo()
    his.reference.apply_sync(answer)

    assert [m["content"] for m in only(answer)["messages"]] == ["Just before"]
    assert [data["message"]["content"] for _, data in await his.heard()] == ["Just after"]


@pytest.mark.settings(limits={"joined": 1})
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_who_is_removed_while_a_sync_takes_the_seat_hears_nothing_more(
    monkeypatch: pytest.MonkeyPatch, ada: Person, bob: Person, moment: str
) -> None:
    talk = await ada.creates("group", bob)
    await ada.creates("group", bob)
    his = await bob.connects()
    original = sync.answer

    async def slowly(*args: Any) -> Any:
        if moment == "before":
            await ada.delete(f"conversations/{talk['id']}/participants/bob/")
        answer = await original(*args)
        if moment == "after":
            await ada.delete(f"conversations/{talk['id']}/participants/bob/")
        await ada.says(talk, "He is gone")
        return answer

    monkeypatch.setattr(sync, "answer", slowly)
    answer = await his.asks("sync", cursors={talk["id"]: talk["head"]})
    monkeypatch.undo()
    await ada.says(talk, "Far away")

    removal = ["participant:removed"] if moment == "after" else []
    assert sorted(await his.heard_names()) == ["conversation:removed", *removal]
    assert len(answer["conversations"]) == (moment == "after")
    his.reference.seated -= {talk["id"]}


async def test_many_syncs_at_once_agree(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    body = {"cursors": {talk["id"]: talk["head"]}}

    answers, _ = await asyncio.gather(
        asyncio.gather(*(his.asks("sync", **body) for _ in range(10))),
        asyncio.gather(*(ada.says(talk, str(n)) for n in range(10))),
    )

    for answer in answers:
        entry = only(answer)
        numbers = [message["event_seq"] for message in entry["messages"]]
        assert numbers == list(range(talk["head"] + 1, entry["event_seq"] + 1))
    assert len(await his.heard()) == 10
