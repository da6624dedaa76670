"""Long polling: bodies in pieces, answers nobody takes, and what the id of a session is worth."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.eventually import sessions
from tests.people import Person, Town
from tests.test_session_polling import END, Poller
from tests.wire import SOCKETIO, Wires, asking

ON = {"transports": ["websocket", "polling"]}
pytestmark = [pytest.mark.one_database, pytest.mark.settings(realtime=ON)]


@pytest.fixture
def wires(town: Town) -> Iterator[Wires]:
    with Wires(town.url) as wires:
        yield wires


async def polls(town: Town, person: Person) -> Poller:
    """Come in by long polling and read the hello."""
    poller = Poller(town)
    await poller.open(person.token)
    await poller.hears(2)
    return poller


def place(poller: Poller) -> str:
    return poller.url.removeprefix(poller.town.url)


def requests(number: int) -> str:
    return END.join(asking("sync", {}, ack=n) for n in range(number))


def in_ones(body: bytes) -> list[bytes]:
    return [body[at : at + 1] for at in range(len(body))]


def chunked(pieces: list[bytes]) -> list[bytes]:
    return [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""]]


async def test_a_body_counts_as_a_whole_however_it_comes(
    town: Town, wires: Wires, bob: Person
) -> None:
    """T13, M4, M5: what is answered with 200 was taken, all of it, and what is not was refused."""
    body = requests(3).encode()
    size = {"Content-Length": str(len(body))}
    for pieces, headers in (
        (in_ones(body), size),
        ([body[:40], body[40:]], size),
        (chunked(in_ones(body)), {"Transfer-Encoding": "chunked"}),
    ):
        his, wire = await polls(town, bob), await wires.new()
        status, _ = await wire.answered("POST", place(his), pieces, **headers)
        assert status == 200
        assert len(await his.hears(3)) == 3
    for number in (16, 17, 65, 400):
        his = await polls(town, bob)
        status = await his.post(requests(number))
        assert status == (200 if number == 16 else 400), number
        if status == 200:
            assert len(await his.hears(number)) == number


async def test_a_body_that_breaks_off_is_nobodys_request(
    town: Town, wires: Wires, bob: Person
) -> None:
    his, wire = await polls(town, bob), await wires.new()
    half = requests(2).encode()
    head = f"POST {place(his)} HTTP/1.1\r\nHost: here\r\nContent-Length: {len(half) * 2}\r\n\r\n"

    wire.puts(head.encode() + half)
    # The server has read this much when it has answered somebody who came later.
    await bob.get("me/")
    wire.cut()

    assert await his.post(asking("sync", {}, ack=9)) == 200
    (packet,) = await his.get()
    assert packet.startswith("439[")


BROKEN: tuple[bytes, ...] = (
    *(b"", b"x", b"hello", b"\xff\xfe", b"d=", b"d=42%5B%22sync%22%5D", b"9", b"0{}", b"42{"),
    *(b"42[", b"42[]", b"42[5]", b"42" + b"[" * 60_000, b"bAAAA", b'451-["a",{"num":0}]'),
    *(b'42["sync",NaN]', b'42["\xed\xa0\x80",{}]', END.encode(), b"\x1e\x1e\x1e", b"\x00"),
    asking("sync", {}, ack=1).encode() + END.encode(),
    END.join((asking("sync", {}, ack=1), "42{")).encode(),
)


async def test_a_body_that_is_malformed_is_never_answered_as_if_it_were_taken(
    town: Town, wires: Wires, ada: Person, bob: Person
) -> None:
    """T13, M6."""
    talk = await ada.creates("direct", bob)
    hers = await ada.connects()
    for body in BROKEN:
        his, wire = await polls(town, bob), await wires.new()
        size = {"Content-Length": str(len(body))}
        status, text = await wire.answered("POST", place(his), [body], **size)
        assert status in (400, 413), (body[:40], status)
        assert "Traceback" not in text
        wire.cut()
    await ada.says(talk, "Go on")
    assert await hers.heard_names() == ["message:created"]


async def test_what_an_abandoned_poll_took_along_is_found_again(
    town: Town, wires: Wires, ada: Person, bob: Person
) -> None:
    """T14, M7: the numbers show the client that something is missing, and `sync` brings it."""
    talk = await ada.creates("direct", bob)
    his, wire = await polls(town, bob), await wires.new()
    waiting = asyncio.create_task(wire.answered("GET", place(his)))
    # His poll has arrived before an answer to somebody who came later.
    await bob.get("me/")

    waiting.cancel()
    wire.cut()
    for text in ("first", "second"):
        await ada.says(talk, text)
    cursor, texts = talk["head"], list[str]()
    while "second" not in texts:
        for _, data in await his.hears(1):
            if data["prev_event_seq"] > cursor:
                asked = {"cursors": {talk["id"]: cursor}}
                await his.post(asking("sync", asked, ack=1))
                ((answer,),) = await his.hears(1)
                (entry,) = answer["data"]["conversations"]
                texts += [message["content"] for message in entry["messages"]]
            else:
                cursor = data["event_seq"]
                texts.append(data["message"]["content"])

    assert list(dict.fromkeys(texts)) == ["first", "second"]


async def test_the_id_of_a_websocket_opens_nothing_over_http(
    town: Town, wires: Wires, ada: Person, bob: Person
) -> None:
    """T15, M8: where polling is on, too, only who holds the TCP connection speaks on it."""
    talk = await ada.creates("direct", bob)
    his = await wires.new()
    assert await his.upgrades() == 101
    sid = json.loads((await his.packet())[1:])["sid"]
    his.says("40" + json.dumps({"token": bob.token}))
    hello = await his.packets(2)
    said = asking("message:send", {"conversation_id": talk["id"], "client_msg_id": "1"}, ack=1)
    thief = await wires.new()

    for method, body in (("POST", said), ("POST", "41"), ("POST", "1"), ("GET", "")):
        size = {"Content-Length": str(len(body))} if body else {}
        polling = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
        status, text = await thief.answered(method, polling, [body.encode()], **size)
        assert (status, text == "6") in ((400, False), (200, True)), (method, body, status, text)
    assert await (await wires.new()).upgrades(f"{SOCKETIO}&sid={sid}") != 101

    assert sid not in "".join(hello)
    message = await ada.says(talk, "Only for you")
    assert message["seq"] == 1
    assert "Only for you" in await his.packet()
    assert sessions(town, "bob") == 1


@pytest.mark.settings(realtime=ON, log={"level": "debug"})
async def test_the_id_of_a_poll_is_written_down_nowhere(
    town: Town,
    logged: list[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
    ada: Person,
    bob: Person,
) -> None:
    """T15: whoever knows it can speak as its owner, so that it is told to its owner only."""
    talk = await ada.creates("direct", bob)
    hers, his = await ada.connects(), Poller(town)
    await his.open(bob.token)
    said = await his.hears(2)

    await his.post(asking("message:send", {"conversation_id": talk["id"]}))
    await his.post("42{")
    said += [await his.post("x"), hers.raw, logged, caplog.text]
    await ada.says(talk, "Hello")
    await hers.hears("message:created")

    assert his.sid not in str(said)


FORGED = {"X-Forwarded-Host": "evil.example.com", "X-Forwarded-Proto": "https"}
EVIL = "https://evil.example.com"


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_no_page_of_another_origin_opens_a_connection(
    town: Town, wires: Wires, transport: str
) -> None:
    """T16, M20: neither with forged headers nor as a script, and never with credentials."""
    path = f"/socket.io/?EIO=4&transport={transport}"

    async def asks(path: str, **headers: str) -> int:
        wire = await wires.new()
        if transport == "websocket":
            return await wire.upgrades(path, **headers)
        return (await wire.answered("GET", path, (), **headers))[0]

    opened = 101 if transport == "websocket" else 200
    assert await asks(path) == opened
    assert await asks(path, Origin="http://here") == opened
    for origin in (EVIL, "null", "http://here.evil.example.com", "file://"):
        assert await asks(path, Origin=origin) == 403
        assert await asks(path, Origin=origin, **FORGED) == 403
    async with town.http.get(town.url + path, headers={"Origin": town.url}) as response:
        assert "Access-Control-Allow-Credentials" not in response.headers
    if transport == "polling":
        assert await asks(f"{path}&j=0") == 400
