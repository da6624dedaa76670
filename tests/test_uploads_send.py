"""Messages with files: uploaded before or sent along, claimed once, the same for everybody."""

import asyncio
from typing import Any

import pytest

from server.models import sql
from tests import pictures
from tests.eventually import becomes
from tests.frames import spoken
from tests.people import Person, Town, all_messages, form
from tests.refusals import refused
from tests.uploading import (
    END,
    by_hand,
    kept,
    keys,
    known_are,
    nothing_passes,
    part,
    passing,
)

TEXT = (b"one", "one.txt")


def files(message: dict[str, Any]) -> list[str]:
    return [one["id"] for one in message["attachments"]]


async def test_everybody_sees_the_same_files_wherever_they_look(
    town: Town, ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("group", bob)
    photo = await ada.upload(pictures.photo(), "At my sister's.jpg", field="image")
    note = await ada.upload(b"Buy bread", "list.txt")
    her, his, outside = await ada.connects(), await bob.connects(), await eve.connects()
    before = his.reference.cursors()

    said = await her.says(talk, "", attachment_ids=[photo["id"], note["id"]])

    url = f"/api/messaging/files/{photo['id']}/"
    assert photo == {
        "id": photo["id"],
        "kind": "image",
        "name": "At my sister's.jpg",
        "content_type": "image/jpeg",
        "size": photo["size"],
        "width": 900,
        "height": 1200,
        "blurhash": photo["blurhash"],
        "state": "ready",
        "url": url,
        "thumbnails": [
            {"width": 240, "height": 320, "url": f"{url}thumb/320/"},
            {"width": 720, "height": 960, "url": f"{url}thumb/960/"},
        ],
        "sha256": photo["sha256"],
    }
    assert (note["kind"], note["name"], note["size"], note["thumbnails"]) == (
        *("file", "list.txt"),
        *(9, []),
    )
    assert (said["type"], said["content"], said["attachments"]) == ("file", "", [photo, note])
    assert await his.heard() == await her.heard() == [spoken(said)]
    await outside.hears_nothing()
    assert kept(town) == keys(photo, note)

    shown = {k: v for k, v in said.items() if k != "status"} | {"is_read": False}
    synced = await bob.post("sync/", {"cursors": before})
    assert synced["conversations"][0]["messages"] == [shown]
    assert (await bob.get("messages/"))["results"][0] == shown
    assert await bob.get(f"messages/{said['id']}/") == shown
    assert (await all_messages(bob, talk["id"]))[-1] == shown
    assert (await bob.get("conversations/"))["results"][0]["last_message"] == shown
    await ada.post(f"conversations/{talk['id']}/participants/", {"user_ids": ["eve"]})
    added = next(data for name, data in await outside.heard() if name == "conversation:added")
    # What she is told of last is that she came; what was said before is there when she looks.
    assert added["conversation"]["last_message"]["type"] == "system"
    assert (await all_messages(eve, talk["id"]))[1]["attachments"] == [photo, note]
    await town.quiet()


async def test_who_was_away_finds_the_files_of_what_they_missed(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    await his.close()
    said = await ada.sends_files(talk, (pictures.png(), "a.png"), TEXT, content="Look")

    back = await his.reconnects()

    (entry,) = back.ready["sync"]["conversations"]
    assert [message["attachments"] for message in entry["messages"]] == [said["attachments"]]


async def test_a_message_is_what_its_files_are(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    her = await ada.connects()

    async def sent(*kinds: str, **fields: Any) -> Any:
        ids = []
        for kind in kinds:
            data = pictures.png((2, 2)) if kind == "image" else b"text"
            ids.append((await ada.upload(data))["id"])
        return await her.says(talk, fields.pop("content", ""), attachment_ids=ids, **fields)

    assert (await sent("image", "image"))["type"] == "image"
    assert (await sent("image", "file"))["type"] == "file"
    assert (await sent("file", content="Here"))["type"] == "file"
    # Somebody wants their pictures listed, not shown.
    assert (await sent("image", type="file"))["type"] == "file"
    assert (await sent("image", type="image"))["type"] == "image"
    for wrong in ("text", "system"):
        no = await refused(sent("image", type=wrong))
        assert (no.code, no.fields) in (("validation_failed", ["type"]), ("forbidden", []))
    assert (await refused(sent("image", "file", type="image"))).fields == ["type"]
    for wrong in ("image", "file"):
        assert (await refused(sent(content="Hi", type=wrong))).fields == ["type"]
    for empty in ("", " \n"):
        assert (await refused(sent(content=empty))).fields == ["content"]
    assert (await refused(ada.post(f"conversations/{talk['id']}/send/", {}))).fields == ["content"]
    assert len(await her.heard()) == 5


async def test_somebody_elses_file_cannot_be_told_from_none(
    town: Town, ada: Person, bob: Person, eve: Person
) -> None:
    talk, other = await ada.creates("direct", bob), await bob.creates("direct", eve)
    hers, sent = await ada.upload(b"mine"), await ada.upload(b"sent")
    his = await bob.connects()
    await ada.says(talk, "Here", attachment_ids=[sent["id"]])
    assert await his.heard_names() == ["message:created"]

    for id_ in (hers["id"], sent["id"], "01890000-0000-7000-8000-000000000000", "x"):
        for talk_ in (talk, other):
            own = await bob.upload(b"his")
            no = await refused(his.says(talk_, "", attachment_ids=[own["id"], id_]))
            problem = "is no file that you uploaded and have not sent yet"
            assert no.error["details"] == [{"field": "attachment_ids.1", "problem": problem}]
            again = await refused(
                bob.post(f"conversations/{talk_['id']}/send/", {"attachment_ids": [own["id"], id_]})
            )
            assert again.error == no.error
    # She cannot send it twice either, and what was refused is still there to be sent.
    no = await refused(ada.says(talk, "", attachment_ids=[hers["id"], sent["id"]]))
    assert no.fields == ["attachment_ids.1"]
    await his.hears_nothing()
    said = await ada.says(talk, "Now", attachment_ids=[hers["id"]])
    assert await his.heard() == [spoken(said)]


async def test_of_many_sends_that_race_for_one_file_one_wins(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talks = [await ada.creates("direct", bob), await ada.creates("direct", cleo)]
    one, two = (await ada.upload(b"one"))["id"], (await ada.upload(b"two"))["id"]

    async def sends(number: int) -> str:
        ids = [one, two] if number % 3 else [two, one]
        try:
            return files(await ada.says(talks[number % 2], "Mine", attachment_ids=ids))[0]
        except Exception as error:  # noqa: BLE001 - looked at below
            return str(getattr(error, "fields", error))

    results = await asyncio.gather(*(sends(number) for number in range(8)))

    assert results.count("['attachment_ids.0']") == 7, results
    said = [m for talk in talks for m in await all_messages(ada, talk["id"])]
    assert [sorted(files(message)) for message in said] == [sorted([one, two])]


@pytest.mark.settings(limits={"attachments_per_message": 2})
async def test_a_message_takes_so_many_files(town: Town, ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    ids = [(await ada.upload(b"one"))["id"] for _ in range(3)]
    his = await bob.connects()

    too_many = await refused(ada.says(talk, "", attachment_ids=ids))
    sent_along = await refused(ada.sends_files(talk, TEXT, TEXT, TEXT))
    mixed = await refused(ada.sends_files(talk, TEXT, attachment_ids=ids[:2]))
    twice = await refused(ada.says(talk, "", attachment_ids=[ids[0], ids[0]]))

    assert too_many.fields == mixed.fields == twice.fields == ["attachment_ids"]
    assert sent_along.fields == ["files"]
    await his.hears_nothing()
    await nothing_passes(town)
    assert kept(town) == set(ids)
    said = await ada.sends_files(talk, TEXT, attachment_ids=ids[:1], metadata={"a": 1})
    assert (files(said)[0], len(files(said)), said["metadata"]) == (ids[0], 2, {"a": 1})
    assert await his.heard() == [spoken(said)]


SAME = {"headers": {"Idempotency-Key": "same"}}
PHOTO = (pictures.photo((300, 200)), "photo.jpg")


def body(*sent: tuple[bytes, str], **fields: Any) -> Any:
    return form(*(("files", *one) for one in sent), **fields)


async def test_files_sent_twice_are_stored_once(town: Town, ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    his, path = await bob.connects(), f"conversations/{talk['id']}/send/"

    new, first, _ = await ada.call("POST", path, body(PHOTO, TEXT, content="Look"), **SAME)
    repeated = body(PHOTO, TEXT, content="Look", client_msg_id="same")
    old, again, _ = await ada.call("POST", path, repeated)
    once = kept(town)
    together = await asyncio.gather(
        *(ada.call("POST", path, body(PHOTO, client_msg_id="b")) for _ in range(3))
    )

    assert (new, old, again) == (201, 200, first)
    assert once == keys(*first["attachments"])
    assert sorted(status for status, _, _ in together) == [200, 200, 201]
    assert len({message["id"] for _, message, _ in together}) == 1
    shown = [*first["attachments"], *together[0][1]["attachments"]]
    await becomes(lambda: kept(town) == keys(*shown) and not passing(town))
    await known_are(*shown)
    assert await his.heard() == [spoken(first), spoken(together[0][1])]
    # The other way round: what was claimed by its id is repeated by its id.
    note = await ada.upload(b"note")
    fields = {"attachment_ids": [note["id"]], "client_msg_id": "c"}
    (new, said, _), once_more = [await ada.call("POST", path, fields) for _ in "ab"]
    assert (new, *once_more[:2]) == (201, 200, said)
    assert await his.heard() == [spoken(said)]


async def test_other_files_under_the_same_id_are_somebodys_mistake(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his, path = await bob.connects(), f"conversations/{talk['id']}/send/"
    said = await ada.post(path, body(PHOTO, TEXT, content="Look"), **SAME)
    assert await his.heard() == [spoken(said)]

    for other in (
        body(PHOTO, (b"two", "one.txt"), content="Look"),
        body(TEXT, PHOTO, content="Look"),
        body(PHOTO, content="Look"),
        body(PHOTO, TEXT, content="Look!"),
        {"content": "Look"},
        {"content": "Look", "attachment_ids": files(said)},
    ):
        no = await refused(ada.post(path, other, **SAME))
        assert (no.status, no.code) == (409, "idempotency_conflict")

    await his.hears_nothing()
    await nothing_passes(town)
    assert kept(town) == keys(*said["attachments"])


async def test_who_may_not_write_sends_no_byte(
    town: Town, ada: Person, bob: Person, cleo: Person, eve: Person, backend: Person
) -> None:
    talk, closed = await ada.creates("group", bob, cleo), await ada.creates("group", cleo)
    await ada.patch(f"conversations/{talk['id']}/participants/cleo/", {"role": "read_only"})
    await ada.patch(f"conversations/{closed['id']}/", {"is_active": False})
    his, hers = await bob.connects(), await ada.connects()
    cases = {
        (eve, talk["id"]): (404, "not_found"),
        (ada, "no-such-conversation"): (404, "not_found"),
        (cleo, talk["id"]): (403, "forbidden"),
        (backend, talk["id"]): (403, "forbidden"),
        (ada, closed["id"]): (409, "conversation_closed"),
    }
    answers = []
    for (person, id_), expected in cases.items():
        async with by_hand(person, f"conversations/{id_}/send/") as form_:
            await form_.says(part("content", b"Hi") + b"\r\n" + part("files", b"", "a.txt"))
            await form_.says(b"x" * 200_000)
            # The form has not ended, and neither has the file.
            status, answer = await form_.answer()
            assert (status, answer["error"]["code"]) == expected
            answers.append(answer)
    assert answers[0] == answers[1]
    assert (kept(town), passing(town)) == (set(), set())
    await his.hears_nothing()
    await hers.hears_nothing()


async def test_the_right_to_write_is_looked_at_again_when_the_files_are_there(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("group", bob)
    hers, path = await ada.connects(), f"conversations/{talk['id']}/send/"
    async with by_hand(bob, path, "Idempotency-Key: k") as form_:
        await form_.says(part("files", b"half", "a.txt"))
        await becomes(lambda: bool(passing(town)))
        await ada.delete(f"conversations/{talk['id']}/participants/bob/")
        await hers.heard()
        await form_.says(END)
        status, answer = await form_.ends()
    assert (status, answer["error"]["code"]) == (404, "not_found")
    await becomes(lambda: not kept(town) and not passing(town))
    await hers.hears_nothing()
    await known_are()


async def test_a_removed_sender_who_asks_again_sees_no_file(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("group", bob)
    sent = {"content": "Look", "client_msg_id": "k"}
    said = await bob.sends_files(talk, TEXT, **sent)
    await ada.delete(f"conversations/{talk['id']}/participants/bob/")

    again = await bob.sends_files(talk, TEXT, **sent)
    new = await refused(bob.sends_files(talk, TEXT, content="Look"))
    other = await refused(bob.sends_files(talk, (b"two", "one.txt"), **sent))

    assert (again["id"], again["content"], again["attachments"]) == (said["id"], "", [])
    assert (new.code, other.code) == ("not_found", "idempotency_conflict")
    assert kept(town) == keys(*said["attachments"])


async def test_an_edit_keeps_the_files_and_a_deletion_removes_them(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    said = await ada.sends_files(talk, (pictures.png(), "a.png"), TEXT, content="Lok")
    other = await ada.sends_files(talk, TEXT)
    await his.heard()

    edited = await ada.patch(f"messages/{said['id']}/", {"content": "Look"})
    await bob.delete(f"messages/{other['id']}/?scope=me")
    assert edited["attachments"] == said["attachments"]
    assert (await his.hears("message:updated"))["message"]["attachments"] == said["attachments"]
    assert kept(town) == keys(*said["attachments"], *other["attachments"])
    assert [m["id"] for m in (await ada.get("messages/?has_attachment=true"))["results"]] == [
        other["id"],
        said["id"],
    ]
    assert [m["id"] for m in (await bob.get("messages/?type=image"))["results"]] == []

    tombstone = await ada.delete(f"messages/{said['id']}/")
    assert (tombstone["attachments"], tombstone["type"]) == ([], "file")
    await becomes(lambda: kept(town) == keys(*other["attachments"]))
    assert (await his.heard())[-1][1]["message"]["attachments"] == []
    for query, expected in (("true", [other]), ("false", [said])):
        found = (await ada.get(f"messages/?has_attachment={query}"))["results"]
        assert [m["id"] for m in found] == [m["id"] for m in expected]
    await known_are(*other["attachments"])
    # Its sender asks again: the message is gone and stays gone.
    repeated = {"content": "Lok", "client_msg_id": said["client_msg_id"]}
    again = await ada.sends_files(talk, (pictures.png(), "a.png"), TEXT, **repeated)
    assert (again["is_deleted"], again["attachments"]) == (True, [])
    assert kept(town) == keys(*other["attachments"])


async def test_a_form_says_what_json_says(town: Town, ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    path = f"conversations/{talk['id']}/send/"

    async def refusal(*sent: tuple[str, bytes, str], **fields: Any) -> tuple[str, list[str]]:
        headers = fields.pop("headers", {})
        no = await refused(ada.post(path, form(*sent, **fields), headers=headers))
        return no.code, no.fields

    file = ("files", b"one", "one.txt")
    bad = "validation_failed"
    for expected, sent, fields in (
        ((bad, ["metadata"]), (file,), {"metadata": "{"}),
        ((bad, ["metadata"]), (file,), {"metadata": "[]"}),
        ((bad, ["attachment_ids"]), (file,), {"attachment_ids": "{}"}),
        ((bad, ["type"]), (file,), {"type": "poem"}),
        ((bad, ["contents"]), (file,), {"contents": "Hi"}),
        ((bad, ["conversation_id"]), (), {"conversation_id": talk["id"], "content": "Hi"}),
        ((bad, ["client_msg_id"]), (file,), {"client_msg_id": "a", "headers": KEY}),
        ((bad, ["content"]), (("content", b"\xff", "a"),), {}),
        ((bad, ["content"]), (("content", b"a", "a"),), {"content": "b"}),
        ((bad, ["content"]), (), {"metadata": "{}"}),
        ((bad, ["content"]), (file,), {"content": "x" * 10_001}),
        (("payload_too_large", []), (file,), {"content": "x" * 70_000}),
        ((bad, ["files.1"]), (file, ("files", b"", "")), {}),
        ((bad, ["image"]), (file, ("image", pictures.png()[:60], "a.png")), {}),
    ):
        assert await refusal(*sent, **fields) == expected, (expected, fields)
    await his.hears_nothing()
    await becomes(lambda: not kept(town) and not passing(town))

    plain = await ada.post(path, form(content="No file"), headers=KEY)
    single = await ada.post(path, form(("image", pictures.png(), "a.png"), type="image"))
    assert (plain["type"], plain["client_msg_id"]) == ("text", "k")
    assert (single["type"], single["content"]) == ("image", "")
    assert await his.heard() == [spoken(plain), spoken(single)]


KEY = {"Idempotency-Key": "k"}


async def test_files_cost_a_page_no_more_looks_at_the_database(
    ada: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = await ada.creates("direct", bob)
    looks = []

    def counted(look: Any) -> Any:
        async def run(statement: Any, *values: Any) -> Any:
            looks.append(statement if isinstance(statement, str) else statement(sql.dialect()))
            return await look(statement, *values)

        return run

    async def page() -> tuple[int, int]:
        looks.clear()
        results = (await bob.get(f"conversations/{talk['id']}/messages/"))["results"]
        return sum("messages m" in look for look in looks), len(results)

    for name in ("fetch", "read"):
        monkeypatch.setattr(sql, name, counted(getattr(sql, name)))
    await ada.says(talk, "Hi")
    assert await page() == (1, 1)
    for _ in range(4):
        await ada.sends_files(talk, TEXT, TEXT)
    assert await page() == (1, 5)
