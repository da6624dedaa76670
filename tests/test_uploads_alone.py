"""Uploads: what becomes of each kind of file, what is refused, and that nothing is left behind."""

import asyncio
import os
import signal
import time
from typing import Any

import pytest

from tests import pictures
from tests.eventually import becomes
from tests.people import Person, Refused, Town, form
from tests.refusals import refused
from tests.uploading import (
    BOUNDARY,
    END,
    by_hand,
    kept,
    keys,
    known_are,
    nothing_passes,
    part,
    passing,
)

PART = part("file", b"half of a file", "a.txt")


async def nothing_is_left(town: Town) -> None:
    await nothing_passes(town)
    assert kept(town) == set()
    await known_are()


# What files become


async def test_bytes_say_what_a_file_is_and_names_do_not(town: Town, ada: Person) -> None:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    heic = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200)
    shown = []
    for data, name, kind, content_type, called in (
        (pictures.photo(), "p.jpeg", "image", "image/jpeg", "p.jpeg"),
        (pictures.png(), "picture.exe", "image", "image/png", "picture.exe.png"),
        (pictures.animation("GIF"), "cat.gif", "image", "image/gif", "cat.gif"),
        (b"I am a text", "photo.jpg", "file", "text/plain", "photo.jpg"),
        (svg, "drawing.svg", "file", "text/plain", "drawing.svg"),
        (pictures.HTML, "page.png", "file", "text/plain", "page.png"),
        (heic, "IMG_1.HEIC", "file", "image/heic", "IMG_1.HEIC"),
        (b"\x00\x01\x02", "../../etc/passwd", "file", "application/octet-stream", "passwd"),
        (b"%PDF-1.7 ...", "Rücknahme\u202efdp.exe", "file", "application/pdf", "Rücknahmefdp.exe"),
    ):
        one = await ada.upload(data, name)
        assert (one["kind"], one["content_type"], one["name"], one["state"]) == (
            *(kind, content_type, called),
            "ready",
        )
        assert bool(one["thumbnails"]) == bool(one["blurhash"]) == (kind == "image")
        assert (one["width"] is not None) == (kind == "image")
        shown.append(one)
    assert kept(town) == keys(*shown)
    await nothing_passes(town)


async def test_ten_pictures_at_once(town: Town, ada: Person) -> None:
    data = [pictures.photo((400 + n, 300)) for n in range(10)]

    shown = await asyncio.gather(*(ada.upload(one, f"{n}.jpg") for n, one in enumerate(data)))

    assert [(one["width"], one["height"]) for one in shown] == [(300, 400 + n) for n in range(10)]
    assert [one["name"] for one in shown] == [f"{n}.jpg" for n in range(10)]
    assert kept(town) == keys(*shown)
    assert len(kept(town)) == 30
    await nothing_passes(town)


async def test_a_worker_killed_at_a_picture_is_said_and_replaced(town: Town, ada: Person) -> None:
    first = await ada.upload(pictures.png())
    images = town.node.images
    (worker,) = images._all
    assert worker._process is not None
    os.kill(worker._process.pid, signal.SIGSTOP)
    upload = asyncio.create_task(ada.upload(pictures.png((90, 80))))
    await becomes(lambda: not images._idle)

    os.kill(worker._process.pid, signal.SIGKILL)

    no = await refused(upload)
    assert (no.status, no.code, no.error["retryable"]) == (503, "unavailable", True)
    await nothing_passes(town)
    second = await ada.upload(pictures.png((91, 80)))
    assert second["width"] == 91
    await known_are(first, second)


# Who and how much


async def test_nobody_sends_a_byte_before_we_know_them(
    town: Town, ada: Person, backend: Person
) -> None:
    for person, code in (
        (town.person("x", token="no-token"), "unauthorized"),
        (town.person("y", token=ada.fresh_token(ttl_s=-100)), "token_expired"),
        (backend, "forbidden"),
    ):
        async with by_hand(person, "uploads/", "Expect: 100-continue") as form_:
            _, answer = await form_.answer()
            assert answer["error"]["code"] == code
    async with by_hand(ada, "uploads/", "Expect: 100-continue") as form_:
        assert await form_.answer() == (100, None)
        await form_.says(PART + END)
        assert (await form_.ends())[0] == 201


@pytest.mark.settings(limits={"attachment_bytes": 100_000})
async def test_a_file_is_cut_off_where_it_grows_too_large(
    town: Town, ada: Person, bob: Person
) -> None:
    """M22 of docs/threats.md."""
    talk = await ada.creates("direct", bob)
    for path in ("uploads/", f"conversations/{talk['id']}/send/"):
        # Nobody says how long it will be, and it has no end.
        async with by_hand(ada, path) as form_:
            await form_.says(part("file", b"", "a.bin"))
            for _ in range(4):
                await form_.says(b"x" * 60_000)
            status, answer = await form_.answer()
            assert (status, answer["error"]["code"]) == (413, "payload_too_large")
        # It is said before a byte of it has come.
        async with by_hand(ada, path, "Content-Length: 99000000", chunked=False) as form_:
            assert (await form_.answer())[0] == 413
        # Who sends it all hears it too, and may go on.
        no = await refused(ada.post(path, form(("file", b"x" * 100_001, "a"))))
        assert (no.status, no.code) == (413, "payload_too_large")
    await nothing_is_left(town)
    assert (await ada.upload(b"x" * 100_000))["size"] == 100_000


@pytest.mark.settings(limits={"image_pixels": 1_000})
async def test_an_image_has_so_many_pixels(town: Town, ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    assert town.settings.limits.image_pixels == his.ready["limits"]["image_pixels"] == 1_000
    large = pictures.png_that_says(40, 26)

    alone = await refused(ada.upload(large, field="image"))
    along = await refused(ada.sends_files(talk, (pictures.png((40, 25)), "a"), (large, "b")))
    broken = await refused(ada.upload(pictures.png()[:70]))

    assert (alone.code, alone.fields) == ("validation_failed", ["image"])
    assert (along.code, along.fields) == ("validation_failed", ["files.1"])
    assert (broken.code, broken.fields) == ("validation_failed", ["file"])
    await his.hears_nothing()
    await nothing_is_left(town)
    assert (await ada.upload(pictures.png((40, 25))))["width"] == 40


@pytest.mark.settings(files={"uploads_per_user": 1, "uploads_at_once": 2})
async def test_so_many_upload_at_a_time(ada: Person, bob: Person, cleo: Person) -> None:
    async with by_hand(ada) as hers, by_hand(bob) as his:
        for form_ in (hers, his):
            await form_.says(part("file", b"x" * 200_000, "a.bin"))
        await becomes(lambda: len(passing(ada.town)) == 2)
        again, cleos = await refused(ada.upload(b"two")), await refused(cleo.upload(b"three"))
        assert (again.status, again.code) == (429, "rate_limited")
        assert (cleos.status, cleos.code) == (503, "unavailable")
        await hers.says(END)
        assert (await hers.ends())[0] == 201
        assert await cleo.upload(b"three")
        assert (await refused(bob.upload(b"four"))).code == "rate_limited"
        his.aborts()
    await nothing_passes(ada.town)
    assert await bob.upload(b"five")


@pytest.mark.settings(
    files={"unsent_files": 2, "unsent_bytes": 100},
    limits={"attachments_per_message": 2, "attachment_bytes": 60},
)
async def test_a_person_holds_so_much_that_was_never_sent(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    one = await ada.upload(b"x" * 60)
    too_large = await refused(ada.upload(b"x" * 41))
    results = await asyncio.gather(*(outcome(ada.upload(b"x")) for _ in range(4)))
    assert sorted(results) == ["forbidden"] * 3 + ["ready"]
    # It is said before the bytes come.
    async with by_hand(ada) as form_:
        assert (await form_.answer())[1]["error"]["code"] == too_large.code == "forbidden"
    assert await bob.upload(b"his")
    await ada.sends_files(talk, (b"x" * 60, "a"), (b"x" * 60, "b"))
    await ada.says(talk, "", attachment_ids=[one["id"]])
    assert await ada.upload(b"x" * 60)


async def outcome(work: Any) -> str:
    try:
        return str((await work)["state"])
    except Refused as no:
        return no.code


@pytest.mark.settings(limits={"send_rate": 1, "send_burst": 2})
@pytest.mark.usefixtures("no_refill")
async def test_an_upload_counts_as_a_message(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    await ada.upload(b"one")
    await ada.sends_files(talk, (b"two", "two.txt"))
    no = await refused(ada.upload(b"three"))
    assert (no.status, no.code) == (429, "rate_limited")
    assert (await refused(ada.sends_files(talk, (b"four", "a")))).code == "rate_limited"


# What breaks off


async def test_an_upload_that_breaks_off_leaves_nothing(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    for path in ("uploads/", f"conversations/{talk['id']}/send/"):
        for headers, chunked in ((("Content-Length: 500000",), False), ((), True)):
            async with by_hand(ada, path, *headers, chunked=chunked) as form_:
                says = form_.says if chunked else form_.says_raw
                await says(part("file", b"x" * 200_000, "a.bin"))
                await becomes(lambda: bool(passing(town)))
                form_.aborts()
            await nothing_is_left(town)
        # What should be the length of the next piece is none.
        async with by_hand(ada, path) as form_:
            await form_.says(part("file", b"x" * 200_000, "a.bin"))
            await becomes(lambda: bool(passing(town)))
            await form_.says_raw(b"nonsense\r\n")
        await nothing_is_left(town)
        # It says that it ends, but its last line is missing.
        async with by_hand(ada, path) as form_:
            await form_.says(PART)
            status, answer = await form_.ends()
            assert (status, answer["error"]["details"][0]["field"]) == (400, "body")
    await nothing_is_left(town)
    await his.hears_nothing()
    assert await ada.upload(b"whole")


@pytest.mark.settings(files={"upload_timeout_s": 0.3})
async def test_an_upload_takes_so_long(town: Town, ada: Person) -> None:
    async with by_hand(ada) as form_:
        began = time.monotonic()
        await form_.says(PART)
        status, answer = await form_.answer()
    assert (status, answer["error"]["code"]) == (504, "timeout")
    assert 0.3 <= time.monotonic() - began < 8
    await nothing_is_left(town)


@pytest.mark.settings(files={"keep_free_bytes": 2**60})
async def test_a_full_disk_is_said(town: Town, ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    alone, along = await refused(ada.upload(b"x")), await refused(ada.sends_files(talk, (b"x", "")))
    assert (alone.status, alone.code) == (along.status, along.code) == (507, "storage_full")
    await nothing_is_left(town)


async def test_what_is_no_form_with_one_file_is_refused(town: Town, ada: Person) -> None:
    def lines(*parts: bytes) -> bytes:
        return b"\r\n".join(parts) + END

    one = part("file", b"one", "a.txt")
    nested = part("file", b"", None, "Content-Type: multipart/mixed; boundary=b")
    encoded = part("file", b"b25l", "a.txt", "Content-Transfer-Encoding: base64")
    nameless = f"--{BOUNDARY}\r\nContent-Disposition: form-data\r\n\r\nx".encode()
    crooked = f'--{BOUNDARY}\r\nContent-Disposition: a;b="\r\n\r\nx'.encode()
    for data, field in (
        (lines(one, one), "file"),
        (lines(one, part("image", b"two", "b.txt")), "image"),
        (lines(one, part("content", b"Hi")), "content"),
        (lines(part("files", b"one", "a.txt")), "files"),
        (lines(part("file", b"", "a.txt")), "file"),
        (END[2:], "file"),
        (END, "file"),
        (b"", "body"),
        (b"nonsense", "body"),
        (one, "body"),
        (one + f"\r\n--{BOUNDARY}xyz".encode(), "body"),
        (one + f"\r\n--{BOUNDARY}\r\n".encode(), "body"),
        (lines(nested), "body"),
        (lines(encoded), "body"),
        (lines(nameless), "body"),
        (lines(crooked), "body"),
        (lines(part("fi\xffle", b"x")), "fi\xffle"),
        (lines(part("file", b"x", "a", *["X-Y: z"] * 200)), "body"),
        (lines(part("file", b"x", "a", "X-Y: " + "z" * 10_000)), "body"),
    ):
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        no = await refused(ada.post("uploads/", data, headers=headers))
        assert (no.status, no.code, no.fields) == (400, "validation_failed", [field]), data
    for headers in (
        {"Content-Type": "application/json"},
        {"Content-Type": "multipart/form-data"},
        {"Content-Type": "multipart/mixed; boundary=b"},
        {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Content-Encoding": "gzip"},
    ):
        no = await refused(ada.post("uploads/", b"{}", headers=headers))
        assert (no.status, no.code) == (415, "unsupported_media")
    await nothing_is_left(town)
