"""What the database writes as JSON and what the server builds are the same bytes."""

from typing import Any

import pytest

from server import clock
from server.actions import listing
from server.models import sql
from tests import pictures
from tests.people import Person, Town

TEXTS = (
    "plain",
    'quotes " and \\ and / and <b>',
    "lines\nand\ttabs\r\b\f\x01\x1f\x7f",
    "\u2028 \u2029 \u00a0 \ufeff \ufffe é ä 漢字 \U0001f600",
    "null true 12 {} []",
)
METADATA = {
    "deep": {"list": [1, -0.5, 1e-7, True, None, '\u2028\n"'], "é": {}},
    "number": 2**53 - 1,
}
FAR = "9999-12-31T23:59:59.999Z"


async def raw(person: Person, path: str) -> bytes:
    """Return the body of an answer as it came."""
    headers = {"Authorization": f"Bearer {person.token}"}
    address = f"{person.town.url}/api/messaging/{path}"
    async with person.town.http.get(address, headers=headers) as response:
        assert response.status == 200, await response.text()
        return await response.read()


async def everything(ada: Person, bob: Person, backend: Person) -> dict[str, Any]:
    """Return a conversation with every kind of message there is."""
    talk = await ada.creates("group", bob, title='A "group"', metadata=METADATA, client="k\u2028")
    for text in TEXTS:
        await ada.says(talk, text, metadata=METADATA)
    edited = await bob.says(talk, "Befroe")
    await bob.patch(f"messages/{edited['id']}/", {"content": "Before"})
    gone = await ada.says(talk, "Away with it", metadata={"a": 1})
    await ada.delete(f"messages/{gone['id']}/")
    hidden = await bob.says(talk, "Not for Ada")
    await ada.delete(f"messages/{hidden['id']}/?scope=me")
    image = (pictures.photo(), 'a "picture".jpg')
    await ada.sends_files(talk, image, (b"text", "é\u2028.txt"), content="Look")
    lost = await bob.sends_files(talk, (b"lost", "lost.txt"))
    await bob.delete(f"messages/{lost['id']}/")
    await backend.says(talk, "Notice", type="system")
    await ada.patch(f"conversations/{talk['id']}/", {"title": "Renamed"})
    await bob.post(f"conversations/{talk['id']}/mark_read/", {"up_to_seq": 5})
    return talk


async def test_a_page_of_history_is_the_same_bytes_whoever_writes_it(
    ada: Person, bob: Person, backend: Person
) -> None:
    talk = await everything(ada, bob, backend)

    path = f"conversations/{talk['id']}/messages/?limit=100"
    for viewer in (ada, bob):
        # Around a number the server builds the objects itself.
        built = await raw(viewer, f"{path}&around_seq=1")
        assert await raw(viewer, path) == built
        assert await raw(viewer, f"{path}&after_seq=0") == built
        assert built.count(b'"is_deleted":true') == 2
        assert built.count(b'"thumbnails":[{') == 1
        assert b'"status":"sent"' in built
        assert b'"is_read":' in built
    assert b'"status":"read"' in await raw(ada, path)


async def test_a_list_of_conversations_is_the_same_bytes_whoever_writes_it(
    monkeypatch: pytest.MonkeyPatch, ada: Person, bob: Person, cleo: Person, backend: Person
) -> None:
    talks = [await everything(ada, bob, backend), await ada.creates("direct", bob)]
    await ada.says(await ada.creates("direct", cleo), "Read by nobody")
    device = await bob.connects()
    changes = {"is_pinned": True, "muted_until": FAR, "marked_unread": True}
    await device.asks("conversation:update_my", conversation_id=talks[0]["id"], **changes)
    await device.asks("conversation:update_my", conversation_id=talks[1]["id"], is_archived=True)
    device.is_checked = False
    now = clock.now_ms()
    monkeypatch.setattr(listing, "now_ms", lambda: now)

    for viewer in (ada, bob, cleo):
        shown = await raw(viewer, "conversations/") + await raw(
            viewer, "conversations/?archived=true"
        )
        ids = [body["id"] for body in (await viewer.get("conversations/"))["results"]]
        ids += [
            body["id"] for body in (await viewer.get("conversations/?archived=true"))["results"]
        ]
        assert ids
        for id_ in ids:
            assert await raw(viewer, f"conversations/{id_}/") in shown
        assert shown.count(b'"participants_count"') == len(ids)


@pytest.mark.parametrize(
    "at", [0, 1, 999, 1_767_225_600_678, 4_102_444_800_001, 253_402_300_799_999]
)
async def test_a_time_is_written_to_the_millisecond(town: Town, at: int) -> None:
    given = "(SELECT CAST($1 AS bigint) AS at)"
    text = sql.time("k.at")
    rows = await sql.fetch(f"SELECT {text} AS text FROM {given} k", at)  # noqa: S608 (ours)

    assert rows[0]["text"] == clock.to_text(at)


@pytest.mark.settings(limits={"sync_bytes": 65_536, "message_chars": 60_000})
async def test_a_page_that_is_too_large_is_cut_as_ever(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    for _ in range(3):
        await ada.says(talk, "x" * 30_000)

    newest = await bob.get(f"conversations/{talk['id']}/messages/")
    first = await bob.get(f"conversations/{talk['id']}/messages/?after_seq=0")

    assert [m["seq"] for m in newest["results"]] == [2, 3]
    assert (newest["has_more_before"], newest["has_more_after"]) == (True, False)
    assert [m["seq"] for m in first["results"]] == [1, 2]
    assert (first["has_more_before"], first["has_more_after"]) == (False, True)
