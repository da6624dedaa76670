"""Reading files: who may, by which address, and in which form they come."""

import asyncio
import io
import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from server import clock
from server.ids import new_id
from tests import pictures
from tests.people import WITHIN_S, Person, Town
from tests.refusals import refused

Answer = tuple[int, bytes, Mapping[str, str]]

DATA = bytes(range(256)) * 1_000
PAGE = "https://app.example.com"


async def fetched(town: Town, path: str, method: str = "GET", **headers: str) -> Answer:
    """Ask for a file without a token."""
    address = URL(town.url + path, encoded=True)
    async with town.http.request(method, address, headers=headers) as response:
        return response.status, await response.read(), response.headers


async def fetches(person: Person, path: str, method: str = "GET", **headers: str) -> Answer:
    """Ask for a file by token."""
    headers["Authorization"] = f"Bearer {person.token}"
    return await fetched(person.town, path, method, **headers)


async def signs(person: Person, *files: dict[str, Any]) -> Any:
    return await person.post("files/sign/", {"ids": [one["id"] for one in files]})


async def url_of(person: Person, file: dict[str, Any]) -> str:
    """Return a signed address of a file."""
    answer = await signs(person, file)
    address: str = answer["urls"][file["id"]]["url"]
    return address


def same(answer: Answer) -> Any:
    """Return what must be alike, whatever was not found: everything but the time of day."""
    status, body, headers = answer
    return status, body, {name: text for name, text in headers.items() if name != "Date"}


async def nothing(person: Person) -> Any:
    """Return how a file that does not exist is refused."""
    answer = same(await fetches(person, f"/api/messaging/files/{new_id()}/"))
    assert answer[0] == 404
    assert json.loads(answer[1])["error"]["code"] == "not_found"
    return answer


# Who may


async def test_only_who_is_in_the_conversation_reads_its_files(
    town: Town, ada: Person, bob: Person, cleo: Person, eve: Person, backend: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    hers = await cleo.upload(DATA, "report.bin")
    absent = await nothing(eve)
    # Not sent yet, it is nobody else's.
    assert (await fetches(cleo, hers["url"]))[:2] == (200, DATA)
    for other in (ada, eve, backend):
        assert same(await fetches(other, hers["url"])) == absent
        assert (await signs(other, hers))["urls"] == {}

    sent = await cleo.says(talk, "Here", type="file", attachment_ids=[hers["id"]])

    (shown,) = sent["attachments"]
    by_cleo = await url_of(cleo, shown)
    for member in (ada, bob, cleo):
        assert (await fetches(member, shown["url"]))[:2] == (200, DATA)
        assert (await fetches(member, shown["url"].rstrip("/")))[:2] == (200, DATA)
        assert (await fetched(town, await url_of(member, shown)))[:2] == (200, DATA)
    for other in (eve, backend):
        assert same(await fetches(other, shown["url"])) == absent
        assert same(await fetches(other, shown["url"], Range="bytes=0-9")) == absent
        tag = f'"{shown["sha256"]}"'
        assert same(await fetches(other, shown["url"], **{"If-None-Match": tag})) == absent
        assert (await signs(other, shown))["urls"] == {}

    # Removed, she gets nothing from now on, not even what she sent, by no address.
    await ada.delete(f"conversations/{talk['id']}/participants/cleo/")
    assert same(await fetches(cleo, shown["url"])) == absent
    assert same(await fetched(town, by_cleo)) == absent
    assert same(await fetched(town, by_cleo, **{"If-None-Match": "*"})) == absent
    assert (await signs(cleo, shown))["urls"] == {}
    # Somebody new reads what was said before.
    await ada.post(f"conversations/{talk['id']}/participants/", {"user_ids": ["eve"]})
    assert (await fetches(eve, shown["url"]))[:2] == (200, DATA)


async def test_a_deleted_message_takes_its_files_with_it(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    sent = await ada.sends_files(talk, (pictures.jpeg(), "a.jpg"), content="Look")
    (shown,) = sent["attachments"]
    by_bob = await url_of(bob, shown)
    paths = [shown["url"], by_bob, *(small["url"] for small in shown["thumbnails"])]
    assert (await fetched(town, by_bob))[0] == 200
    absent = await nothing(bob)

    await ada.delete(f"messages/{sent['id']}/")

    for path in paths:
        for person in (ada, bob):
            assert same(await fetches(person, path)) == absent
    assert (await signs(bob, shown))["urls"] == {}


async def test_without_a_token_or_a_signature_nobody_is_anybody(town: Town, ada: Person) -> None:
    mine = await ada.upload(DATA)
    for path in (mine["url"], f"/api/messaging/files/{new_id()}/", "/api/messaging/files/x/"):
        for headers in ({}, {"Authorization": "Bearer nonsense"}):
            status, body, answered = await fetched(town, path, **headers)
            assert (status, json.loads(body)["error"]["code"]) == (401, "unauthorized")
            assert "WWW-Authenticate" in answered
    token = f"{mine['url']}?token={ada.token}"
    assert (await fetched(town, token))[0] in (400, 401)


async def test_what_is_no_file_is_not_found(ada: Person) -> None:
    mine = await ada.upload(DATA)
    absent = await nothing(ada)

    for path in (
        f"{mine['id']}/thumb/320/",
        f"{mine['id']}/thumb/{mine['id']}/",
        f"{mine['id']}/thumb/",
        f"{mine['id']}-320/",
        "%00/",
        "%2e%2e%2fkept/",
        "sign/",
        "1/",
        "%C3%A9/",
    ):
        assert same(await fetches(ada, f"/api/messaging/files/{path}")) == absent


# Signed addresses


async def test_a_signed_address_opens_one_file_for_one_person_for_five_minutes(
    monkeypatch: pytest.MonkeyPatch, town: Town, ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("direct", bob)
    one = (await ada.sends_files(talk, (pictures.jpeg((1_200, 900)), "a.jpg")))["attachments"][0]
    two = await ada.upload(DATA, "b.bin")
    now = clock.now_ms() // 1_000 * 1_000
    monkeypatch.setattr("server.actions.files.now_ms", lambda: now)
    absent = await nothing(eve)

    answer = await signs(ada, one, two, {"id": new_id()}, {"id": "x"})

    assert answer["expires_at"] == clock.to_text(now + 300_000)
    assert answer["urls"].keys() == {one["id"], two["id"]}
    assert answer["urls"][two["id"]]["thumbnails"] == {}
    addresses = answer["urls"][one["id"]]
    assert addresses["thumbnails"].keys() == {"320", "960"}
    good = addresses["url"]
    for path in (good, *addresses["thumbnails"].values()):
        assert (await fetched(town, path))[0] == 200
        assert (await fetched(town, path, "HEAD"))[0] == 200

    assert good.partition("?")[0] == one["url"]
    assert (await fetched(town, f"{good}&size=1"))[0] == 400
    for path in (f"{two['url']}?{good.partition('?')[2]}", *forgeries(good)):
        assert same(await fetched(town, path)) == absent
        # Somebody's own token does not mend a bad signature either.
        assert same(await fetches(eve, path)) == absent

    monkeypatch.setattr("server.actions.files.now_ms", lambda: now + 299_999)
    assert (await fetched(town, good))[0] == 200
    monkeypatch.setattr("server.actions.files.now_ms", lambda: now + 300_000)
    assert same(await fetched(town, good)) == absent


def forgeries(good: str) -> list[str]:
    """Return addresses that are nearly as good as this one."""
    path, _, proof = good.partition("?")
    user, expires, signature = proof.split("&")
    later = int(expires.partition("=")[2]) + 1
    return [
        f"{path}?user=bob&{expires}&{signature}",
        f"{path}?user=ADA&{expires}&{signature}",
        f"{path}?user=&{expires}&{signature}",
        f"{path}?{user}&expires={later}&{signature}",
        f"{path}?{user}&expires=0{later - 1}&signature={signature[-43:]}",
        f"{path}?{user}&expires=99999999999999999999&{signature}",
        f"{path}?{user}&expires=&{signature}",
        f"{path}?{user}&expires=%F9%A1&{signature}",
        f"{path}?{user}&{expires}&signature=",
        f"{path}?{user}&{expires}&signature={'A' * 43}",
        f"{path}?{user}&{expires}&{signature}A",
        f"{path}?{user}&{expires}&{signature}%3D",
        f"{path}?{user}&{expires}&{signature[:-1]}",
        f"{path}?{user}&{expires}&signature=%C3%A9%ED%A0%80",
        f"{path}?{user}&{expires}",
        f"{path}?{signature}",
        f"{path}?{proof}&user=eve",
        f"{path}?{proof}&{signature}",
    ]


async def test_addresses_are_signed_on_sockets_too_and_a_hundred_at_a_time(
    town: Town, ada: Person
) -> None:
    mine = await ada.upload(DATA)
    hers = await ada.connects()

    answer = await hers.asks("file:sign", ids=[mine["id"]] * 100)

    assert (await fetched(town, answer["urls"][mine["id"]]["url"]))[1] == DATA
    for ids in ([], [mine["id"]] * 101, [5], "x", [""]):
        refusal = await refused(hers.asks("file:sign", ids=ids))
        assert refusal.code == "validation_failed"
        assert refusal.fields[0].startswith("ids")
    await hers.hears_nothing()


async def test_no_log_line_has_a_signature(
    town: Town, ada: Person, logged: list[dict[str, Any]]
) -> None:
    mine = await ada.upload(DATA)
    good = await url_of(ada, mine)
    signature = good.rpartition("=")[2]

    for path in (good, good.replace("user=ada", "user=eve"), f"{good}&x=1"):
        await fetched(town, path)
    await fetched(town, good, Origin="https://evil.example.com")

    codes = [line["code"] for line in logged if "/files/{file_id}/" in str(line)]
    assert codes == [200, 404, 400, 403]
    assert len(signature) == 43
    assert signature not in str(logged)
    (told,) = [line for line in logged if line.get("code") == 200 and "{file_id}" in str(line)]
    assert told["user"] == "ada"


# In which form they come


async def test_a_file_is_handed_over_and_can_do_nothing(ada: Person, bob: Person) -> None:
    name = "Übersicht „neu“ 100%.html"
    mine = await ada.upload(pictures.HTML, name)

    status, body, headers = await fetches(ada, mine["url"])

    assert (status, body) == (200, pictures.HTML)
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert headers["Content-Disposition"] == (
        'attachment; filename="_bersicht _neu_ 100_.html"; '
        "filename*=UTF-8''%C3%9Cbersicht%20%E2%80%9Eneu%E2%80%9C%20100%25.html"
    )
    assert headers["Cache-Control"] == "private, no-cache"
    assert headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Content-Length"] == str(len(body))
    assert "Content-Encoding" not in headers


@pytest.mark.settings(http={"origins": [PAGE]})
async def test_a_picture_is_shown_also_by_a_page_that_may_use_us(
    town: Town, ada: Person, bob: Person
) -> None:
    mine = await ada.upload(pictures.photo((1_200, 900)), "holiday.jpg", field="image")
    (small, large) = mine["thumbnails"]

    status, body, headers = await fetches(ada, mine["url"], Origin=PAGE)

    assert status == 200
    assert pictures.open_(body).size == (mine["width"], mine["height"]) == (900, 1_200)
    assert headers["Content-Type"] == "image/jpeg"
    assert headers["Content-Disposition"].startswith('inline; filename="holiday.jpg"')
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert headers["Access-Control-Allow-Origin"] == PAGE
    assert {"ETag", "Content-Range"} <= set(headers["Access-Control-Expose-Headers"].split(", "))
    assert headers["Vary"] == "Origin"
    tags = {headers["ETag"]}
    for thumbnail, label in ((small, 320), (large, 960)):
        assert thumbnail["url"] == f"{mine['url']}thumb/{label}/"
        for path in (thumbnail["url"], thumbnail["url"].rstrip("/")):
            status, body, headers = await fetches(ada, path)
            assert (status, headers["Content-Type"]) == (200, "image/jpeg")
            assert pictures.open_(body).size == (thumbnail["width"], thumbnail["height"])
        assert max(pictures.open_(body).size) == label
        tags.add(headers["ETag"])
    assert len(tags) == 3


async def test_a_file_comes_in_parts_and_only_when_it_has_to(ada: Person) -> None:
    mine = await ada.upload(DATA, "data.bin")
    path, size = mine["url"], len(DATA)
    tag = f'"{mine["sha256"]}"'

    for asked, start, stop in (
        ("bytes=0-0", 0, 1),
        ("bytes=100-70000", 100, 70_001),
        (f"bytes={size - 1}-", size - 1, size),
        (f"bytes=1000-{size * 9}", 1_000, size),
        ("bytes=-5", size - 5, size),
        (f"bytes=-{size * 9}", 0, size),
        ("bytes=0-", 0, size),
    ):
        for more in ({}, {"If-Range": tag}):
            status, body, headers = await fetches(ada, path, Range=asked, **more)
            assert (status, body) == (206, DATA[start:stop])
            assert headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
            assert headers["Content-Length"] == str(stop - start)
    for asked in (f"bytes={size}-", "bytes=-0", f"bytes={10**14}-{10**14 + 1}"):
        status, body, headers = await fetches(ada, path, Range=asked)
        assert (status, json.loads(body)["error"]["code"]) == (416, "validation_failed")
        assert headers["Content-Range"] == f"bytes */{size}"
    # What RFC 9110 lets us ignore, and what is about another version of the file.
    for headers in (
        {"Range": "bytes=0-1,5-6"},
        {"Range": "bytes=5-1"},
        {"Range": "bytes=x-"},
        {"Range": "bytes=-"},
        {"Range": "lines=0-1"},
        {"Range": "bytes=" + "9" * 5_000 + "-"},
        {"Range": "bytes=0-1", "If-Range": '"another"'},
        {"Range": "bytes=0-1", "If-Range": "Wed, 21 Oct 2026 07:28:00 GMT"},
    ):
        status, body, _ = await fetches(ada, path, **headers)
        assert (status, body) == (200, DATA)

    status, body, headers = await fetches(ada, path, "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", str(size))
    assert (headers["ETag"], headers["Accept-Ranges"]) == (tag, "bytes")
    status, body, headers = await fetches(ada, path, "HEAD", Range="bytes=0-9")
    assert (status, body, headers["Content-Length"]) == (206, b"", "10")
    for known in (tag, f'"x", W/{tag}', "*"):
        status, body, headers = await fetches(ada, path, **{"If-None-Match": known})
        assert (status, body, headers["ETag"]) == (304, b"", tag)
        assert headers["Cache-Control"] == "private, no-cache"
    assert (await fetches(ada, path, **{"If-None-Match": '"another"'}))[0] == 200


async def test_a_neighbour_on_the_disk_is_never_sent_instead(town: Town, ada: Person) -> None:
    mine = await ada.upload(DATA)
    kept = next(path for path in kept_files(town) if path.name == mine["id"])
    for ending in (".gz", ".br"):
        kept.with_name(kept.name + ending).write_bytes(b"somebody else's")

    status, body, headers = await fetches(ada, mine["url"], **{"Accept-Encoding": "gzip, br"})

    assert (status, body) == (200, DATA)
    assert "Content-Encoding" not in headers


def kept_files(town: Town) -> list[Path]:
    return list((Path(town.settings.files.folder) / "kept").iterdir())


@pytest.mark.logs_errors
async def test_a_file_that_the_disk_lost_is_our_mistake_and_is_told_to_the_operator(
    town: Town, ada: Person, logged: list[dict[str, Any]]
) -> None:
    gone, shorter = await ada.upload(DATA, "gone.bin"), await ada.upload(DATA, "shorter.bin")
    for path in kept_files(town):
        if path.name == gone["id"]:
            path.unlink()
        else:
            path.write_bytes(DATA[:100])

    for file in (gone, shorter):
        for method in ("GET", "HEAD"):
            status, _, _ = await fetches(ada, file["url"], method)
            assert status == 500

    told = [line["key"] for line in logged if "not on the disk" in line["event"]]
    assert told == [gone["id"]] * 2 + [shorter["id"]] * 2


# Readers who are slow, or many


@pytest.mark.settings(files={"download_stall_s": 1.5, "downloads_per_user": 2})
async def test_who_does_not_read_is_cut_and_takes_no_more_than_their_turns(
    town: Town, ada: Person, bob: Person
) -> None:
    data = DATA * 16
    body = aiohttp.FormData()
    body.add_field("file", io.BytesIO(data), filename="large.bin")
    large = await ada.post("uploads/", body)
    lazy = [await starts_to_read(ada, large["url"]) for _ in range(2)]

    status, answer, headers = await fetches(ada, large["url"])

    assert (status, json.loads(answer)["error"]["code"]) == (429, "rate_limited")
    assert headers["Retry-After"] == "1"
    assert (await fetches(bob, large["url"]))[0] == 404
    async with asyncio.timeout(WITHIN_S):
        while (await fetches(ada, large["url"], "HEAD"))[0] == 429:
            pass  # until they have been cut
    for reader, writer in lazy:
        assert await is_cut(reader, len(data))
        writer.close()
    assert (await fetches(ada, large["url"]))[1] == data


async def starts_to_read(
    person: Person, path: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for a file, and read its first line only."""
    url = URL(person.town.url)
    # A small window, so that the network takes little of what nobody reads.
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    small.settimeout(0)
    await asyncio.get_running_loop().sock_connect(small, (url.host, url.port))
    reader, writer = await asyncio.open_connection(sock=small, limit=1_024)
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {person.token}\r\n\r\n"
    writer.write(request.encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    return reader, writer


async def is_cut(reader: asyncio.StreamReader, size: int) -> bool:
    """Tell whether the connection ends before the file does."""
    got = 0
    with suppress(ConnectionResetError):
        while data := await reader.read(65_536):
            got += len(data)
    return got < size
