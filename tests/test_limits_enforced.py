"""Every number of `[limits]`: where it is held, and that what is above it is refused by name."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from server import clock
from server.config import LimitsSettings
from tests.people import Person

HERE = Path(__file__).parent

# By key, the test that goes red when the number is not held.
HELD = {
    "message_chars": "test_limits_enforced.py::test_a_number_above_the_bound_is_refused_by_name",
    "message_metadata_bytes": (
        "test_limits_enforced.py::test_a_number_above_the_bound_is_refused_by_name"
    ),
    "conversation_metadata_bytes": (
        "test_limits_enforced.py::test_a_number_above_the_bound_is_refused_by_name"
    ),
    "members": "test_limits_enforced.py::test_a_conversation_holds_so_many_members",
    "page": "test_limits_enforced.py::test_a_page_has_so_many_entries",
    "page_max": "test_limits_enforced.py::test_a_page_has_so_many_entries",
    "unread_max": "test_limits_enforced.py::test_unread_is_counted_exactly_up_to_a_number",
    "broadcast_members": "test_limits_enforced.py::test_large_rooms_hear_no_receipts_and_no_typing",
    "event_bytes": "test_limits_connections.py::test_a_frame_above_the_bound_ends_its_connection",
    "output_bytes": (
        "test_limits_connections.py::"
        "test_a_client_that_does_not_read_is_cut_and_others_hear_everything"
    ),
    "inbox": "test_limits_connections.py::test_a_full_line_of_requests_waits_and_loses_none",
    "joined": (
        "test_limits_connections.py::test_a_socket_hears_so_many_conversations_the_newest_first"
    ),
    "sockets_per_user": (
        "test_limits_connections.py::test_one_person_may_have_so_many_connections"
    ),
    "authenticate_s": ("test_limits_connections.py::test_who_does_not_say_who_they_are_is_cut"),
    "token_warning_s": "test_auth_life.py::test_a_connection_is_warned_before_its_token_ends",
    "token_grace_s": "test_auth_life.py::test_a_connection_ends_some_grace_after_its_token",
    "sync_messages": "test_sync_state.py::test_so_many_messages_of_a_conversation_come_at_a_time",
    "sync_total": (
        "test_sync_state.py::test_so_many_messages_come_in_all_and_other_cursors_come_back_unmoved"
    ),
    "sync_bytes": "test_sync_state.py::test_an_answer_has_so_many_bytes",
    "sync_changes": (
        "test_sync_state.py::test_who_is_too_far_behind_starts_over_with_the_newest_page"
    ),
    "edit_seconds": "test_limits_enforced.py::test_members_edit_and_delete_within_their_windows",
    "delete_seconds": "test_limits_enforced.py::test_members_edit_and_delete_within_their_windows",
    "typing_interval_ms": "test_limits_enforced.py::test_typing_is_told_so_often",
    "typing_expiry_ms": "test_limits_enforced.py::test_typing_ends_by_itself",
    "event_rate": "test_http_manners.py::test_who_asks_too_often_is_told_when_to_come_back",
    "event_burst": "test_http_manners.py::test_who_asks_too_often_is_told_when_to_come_back",
    "send_rate": "test_limits_enforced.py::test_a_person_sends_so_many_messages_at_once",
    "send_burst": "test_limits_enforced.py::test_a_person_sends_so_many_messages_at_once",
    "attachment_bytes": "test_uploads_alone.py::test_a_file_is_cut_off_where_it_grows_too_large",
    "attachments_per_message": "test_uploads_send.py::test_a_message_takes_so_many_files",
    "presence_away_s": "test_presence.py::test_who_does_nothing_is_away_until_they_do_something",
    "presence_ids": (
        "test_presence.py::test_too_many_people_are_refused_and_none_of_them_is_followed"
    ),
    "presence_subscriptions": (
        "test_presence.py::test_too_many_people_are_refused_and_none_of_them_is_followed"
    ),
    "presence_lease_s": (
        "test_nodes_presence.py::test_of_a_node_that_dies_nobody_is_left_after_a_lease"
    ),
    "image_pixels": "test_uploads_alone.py::test_an_image_has_so_many_pixels",
}


def test_every_limit_of_what_is_built_is_held_by_a_test() -> None:
    assert HELD.keys() == LimitsSettings.model_fields.keys()
    for place in HELD.values():
        file, _, name = place.partition("::")
        assert f"async def {name}(" in (HERE / file).read_text(), place


@pytest.mark.settings(
    limits={
        "message_chars": 10,
        "message_metadata_bytes": 20,
        "conversation_metadata_bytes": 20,
    }
)
@pytest.mark.parametrize(
    ("path", "good", "bad", "field"),
    [
        ("conversations/{}/send/", {"content": "é" * 10}, {"content": "é" * 11}, "content"),
        (
            "conversations/{}/send/",
            {"content": "a", "metadata": {"a": "b" * 12}},
            {"content": "a", "metadata": {"a": "b" * 13}},
            "metadata",
        ),
        (
            "conversations/{}/",
            {"metadata": {"a": "é" * 6}},
            {"metadata": {"a": "é" * 7}},
            "metadata",
        ),
    ],
)
async def test_a_number_above_the_bound_is_refused_by_name(
    ada: Person, bob: Person, path: str, good: Any, bad: Any, field: str
) -> None:
    talk = await ada.creates("group", bob)
    his = await bob.connects()
    method, address = ("POST" if "send" in path else "PATCH"), path.format(talk["id"])

    status, answer, _ = await ada.call(method, address, bad)
    assert (status, answer["error"]["code"]) == (400, "validation_failed")
    assert [detail["field"] for detail in answer["error"]["details"]] == [field]
    await his.hears_nothing()

    status, _, _ = await ada.call(method, address, good)
    assert status in (200, 201)
    assert len(await his.heard()) == 1


@pytest.mark.settings(limits={"members": 3})
async def test_a_conversation_holds_so_many_members(
    ada: Person, bob: Person, cleo: Person, dan: Person
) -> None:
    talk = await ada.creates("group", bob)
    path = f"conversations/{talk['id']}/participants/"

    status, answer, _ = await ada.call("POST", path, {"user_ids": ["cleo", "dan"]})
    assert (status, [d["field"] for d in answer["error"]["details"]]) == (400, ["user_ids"])
    assert len((await ada.post(path, {"user_ids": ["cleo"]}))["participants"]) == 1
    body = {"type": "group", "participant_ids": ["bob", "cleo", "dan"]}
    status, answer, _ = await ada.call("POST", "conversations/create_with_participants/", body)
    assert (status, [d["field"] for d in answer["error"]["details"]]) == (400, ["participant_ids"])


@pytest.mark.settings(limits={"page": 2, "page_max": 3})
async def test_a_page_has_so_many_entries(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    for number in range(5):
        await ada.says(talk, str(number))
    path = f"conversations/{talk['id']}/messages/"

    assert len((await bob.get(path))["results"]) == 2
    assert len((await bob.get(f"{path}?limit=3"))["results"]) == 3
    status, answer, _ = await bob.call("GET", f"{path}?limit=4")
    assert (status, [d["field"] for d in answer["error"]["details"]]) == (400, ["limit"])


@pytest.mark.settings(limits={"unread_max": 3})
async def test_unread_is_counted_exactly_up_to_a_number(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    counts = []
    for number in range(5):
        await ada.says(talk, str(number))
        counts.append((await bob.get(f"conversations/{talk['id']}/"))["my"]["unread_count"])

    assert counts == [1, 2, 3, 4, 4]  # above the number it only says that there are more
    assert (await bob.get("me/unread/"))["total"] == 4


@pytest.mark.settings(limits={"broadcast_members": 2})
async def test_large_rooms_hear_no_receipts_and_no_typing(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    hers, his = await ada.connects(), await bob.connects()
    await hers.says(talk, "Hello")

    await his.asks("typing:start", conversation_id=talk["id"])
    await his.asks("receipt:read", conversation_id=talk["id"], up_to_seq=2)

    assert await hers.heard_names() == ["message:created"]
    told = await his.heard_names()
    assert told[0] == "message:created"
    assert "typing:started" not in told


@pytest.mark.settings(limits={"edit_seconds": 0, "delete_seconds": 0})
async def test_members_edit_and_delete_within_their_windows(
    monkeypatch: pytest.MonkeyPatch, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("group", bob)
    said = await bob.says(talk, "Too late")
    later = clock.now_ms() + 1_000
    monkeypatch.setattr("server.actions.messages.now_ms", lambda: later)

    edited, answer, _ = await bob.call("PATCH", f"messages/{said['id']}/", {"content": "New"})
    assert (edited, answer["error"]["code"]) == (409, "edit_window_closed")
    deleted, answer, _ = await bob.call("DELETE", f"messages/{said['id']}/")
    assert (deleted, answer["error"]["code"]) == (409, "edit_window_closed")
    assert (await ada.delete(f"messages/{said['id']}/"))["is_deleted"] is True


@pytest.mark.settings(limits={"typing_interval_ms": 100, "typing_expiry_ms": 60_000})
async def test_typing_is_told_so_often(
    monkeypatch: pytest.MonkeyPatch, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers, his = await ada.connects(), await bob.connects()
    now = SimpleNamespace(seconds=100.0)
    standing = SimpleNamespace(monotonic=lambda: now.seconds)
    monkeypatch.setattr("server.realtime.typing.time", standing)

    for now.seconds, told in ((100.0, 1), (100.09, 0), (100.11, 1)):
        await his.asks("typing:start", conversation_id=talk["id"])
        assert await hers.heard_names() == ["typing:started"] * told
    await his.heard()


@pytest.mark.settings(limits={"typing_interval_ms": 100, "typing_expiry_ms": 150})
async def test_typing_ends_by_itself(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    hers, his = await ada.connects(), await bob.connects()

    await his.asks("typing:start", conversation_id=talk["id"])

    # Sooner than typing ends that has no other number: after six seconds.
    async with asyncio.timeout(5):
        for device in (hers, his):
            assert (await device.hears("typing:started"))["expires_in_ms"] == 150
            await device.hears("typing:stopped")


@pytest.mark.settings(limits={"send_rate": 1, "send_burst": 2})
@pytest.mark.usefixtures("no_refill")
async def test_a_person_sends_so_many_messages_at_once(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    path = f"conversations/{talk['id']}/send/"

    statuses = [(await ada.call("POST", path, {"content": "a"}))[0] for _ in range(3)]

    assert statuses == [201, 201, 429]
    assert len(await his.heard()) == 2
