"""The WebSocket itself: bytes in any pieces, both ways to part, one order, nothing left over."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from server.realtime.session import Ending, Session
from tests.eventually import becomes, is_gone, sessions
from tests.people import Person, Town
from tests.wire import (
    CLOSE,
    DEAF_BYTES,
    PING,
    PONG,
    SOCKETIO,
    Wire,
    Wires,
    asking,
    frame,
)

pytestmark = pytest.mark.one_database

LARGE = "x" * 59_000
ACCENTS = "é" * 4_000
PATIENT = {"message_chars": 60_000, "output_bytes": 64 * 2**20, "inbox": 2}


@pytest.fixture
def wires(town: Town) -> Iterator[Wires]:
    with Wires(town.url) as wires:
        yield wires


def session_of(town: Town, user_id: str) -> Session:
    session: Any
    (session,) = town.node.feed._hub.devices_of(user_id)
    assert isinstance(session, Session)
    return session


def send(talk: dict[str, Any], content: str) -> dict[str, Any]:
    return {"conversation_id": talk["id"], "client_msg_id": content[:60], "content": content}


def contents(packets: list[str]) -> list[str]:
    """Return what the messages among the packets say."""
    heads = [packet for packet in packets if packet.startswith('42["message:created"')]
    return [json.loads(packet[2:])[1]["message"]["content"] for packet in heads]


async def test_what_comes_right_behind_the_handshake_is_heard(
    town: Town, wires: Wires, ada: Person, bob: Person
) -> None:
    """The handshake, the token and two requests in one go: they wait until bob is in."""
    talk = await ada.creates("direct", bob)
    his = await wires.new()
    asked = f"GET {SOCKETIO} HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade"
    asked += "\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    says = [frame(asking("message:send", send(talk, f"{n}"), ack=n)) for n in range(2)]

    his.puts(asked.encode() + frame("40" + json.dumps({"token": bob.token})) + b"".join(says))

    assert (await his._heads())[0] == 101
    packets = await his.packets(3 + 2 * 2)
    assert [packet[:3] for packet in packets[:3]] == ['0{"', "40{", "42["]
    assert contents(packets) == ["0", "1"]


async def test_whatever_pieces_a_request_comes_in_it_is_heard_once_and_in_order(
    wires: Wires, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers, his = await ada.connects(), await wires.inside(bob.token)

    # A message in frames, with control frames and half a character between them.
    fields = ["message:send", send(talk, "in pieces " + ACCENTS)]
    whole = b"422" + json.dumps(fields, ensure_ascii=False).encode()
    half = len(whole) // 2 + 1
    his.puts(frame(whole[:31], first=0) + frame(b"still there", PING) + frame(b"", 0, first=0))
    his.puts(frame(b"", PONG) + frame(whole[31:half], 0, first=0) + frame(whole[half:], 0)[:-5])
    await asyncio.sleep(0)
    # Its last bytes, the whole of the next and the first of the one after.
    more = [frame(asking("message:send", send(talk, f"byte {n}"), ack=3 + n)) for n in range(2)]
    his.puts(whole[-5:] + more[0] + more[1][:1])
    for byte in more[1][1:]:
        his.puts(bytes([byte]))
        await asyncio.sleep(0)

    heard = [await his.next() for _ in range(1 + 2 * 3)]
    assert heard[0] == (PONG, b"still there")
    said = ["in pieces " + ACCENTS, "byte 0", "byte 1"]
    assert contents([payload.decode() for _, payload in heard]) == said
    assert [data["message"]["content"] for _, data in await hers.heard()] == said


async def test_masks_are_taken_off(wires: Wires, bob: Person) -> None:
    his = await wires.inside(bob.token)
    packet = asking("nobody:answers", {"é": "ü" * 70}, ack=5).encode()
    masked = bytes(byte ^ b"\x01\x80\xfe\x37"[at % 4] for at, byte in enumerate(packet))

    his.puts(bytes([0x81, 0xFE]) + len(packet).to_bytes(2) + b"\x01\x80\xfe\x37" + masked)

    assert (await his.packet()).startswith('435[{"ok":false,"error":{"code":"unknown_event"')


@pytest.mark.parametrize("door", ["socketio", "plain"])
async def test_who_says_goodbye_is_answered_and_who_is_sent_away_has_the_last_word(
    town: Town, wires: Wires, ada: Person, bob: Person, door: str
) -> None:
    """The close handshake both ways; what comes after a goodbye is not heard any more."""
    talk = await ada.creates("direct", bob)
    path = SOCKETIO if door == "socketio" else f"/ws/messaging/chat/{talk['id']}/"
    leaving, staying = await wires.new(), await wires.new()
    for wire in (leaving, staying):
        assert await wire.upgrades(path) == 101
        token = json.dumps({"token": bob.token})
        wire.says(f"40{token}" if door == "socketio" else f'{{"event":"auth","data":{token}}}')
    await becomes(lambda: sessions(town, "bob") == 2)

    late = frame(asking("message:send", send(talk, "Too late")))
    leaving.puts(frame((4_999).to_bytes(2) + b"bye", CLOSE) + late)
    assert await last(leaving) == 4_999
    await leaving.ended()
    await becomes(lambda: sessions(town, "bob") == 1)

    session_of(town, "bob")._expire()
    staying.puts(late)
    words: list[bytes] = []
    assert await last(staying, words) == (1000 if door == "socketio" else 4401)
    assert b"session:closed" in words[-1]
    assert sessions(town, "bob") == 1
    staying.puts(frame((1000).to_bytes(2), CLOSE))
    await staying.ended()
    await is_gone(town, "bob")
    assert (await bob.get(f"conversations/{talk['id']}/"))["last_seq"] == 0


async def last(wire: Wire, words: list[bytes] | None = None) -> int:
    """Read up to the goodbye and return its code."""
    while True:
        opcode, payload = await wire.next()
        if opcode == CLOSE:
            return int.from_bytes(payload[:2])
        if words is not None:
            words.append(payload)


@pytest.mark.settings(limits=PATIENT)
async def test_who_reads_slowly_hears_everything_once_and_in_order(
    town: Town, wires: Wires, ada: Person, bob: Person
) -> None:
    """Frames and answers, written at once, waiting, and at once again; also the library's own."""
    talk = await ada.creates("direct", bob)
    slow = await wires.inside(bob.token, receive_bytes=DEAF_BYTES)
    client: Any = session_of(town, "bob")._transport
    said: list[str] = []

    async def say(text: str) -> None:
        said.append(text)
        await ada.says(talk, text)

    while client.direct is not None:
        await say(f"{len(said)} {LARGE}")
    large = len(said)
    for number in range(20):
        await emit(client, number)
        await say(str(number))
        slow.says(asking("nobody:answers", {}, ack=number))
    heard = await slow.packets(large + 3 * 20)
    await becomes(lambda: client.direct is not None)
    await emit(client, 20)
    await say("20")
    heard += await slow.packets(2)

    assert contents(heard) == said
    answers = [packet for packet in heard if packet[:2] == "43"]
    assert [packet[2 : packet.index("[")] for packet in answers] == [str(n) for n in range(20)]
    both = [packet[4:11] for packet in heard[large:] if packet not in answers]
    assert both == ["library", "message"] * 21


async def emit(client: Any, number: int) -> None:
    """Say something to one client through the library."""
    server = client._server
    await server.emit("library:said", number, to=server.manager.sid_from_eio_sid(client.sid, "/"))


@pytest.mark.settings(realtime={"coalesce_ms": 1_000})
async def test_what_waits_to_be_said_comes_before_the_goodbye(
    town: Town, wires: Wires, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his = await wires.inside(bob.token)
    for text in ("written at once", "kept for a second"):
        await ada.says(talk, text)

    session_of(town, "bob")._transport.end(Ending.STOPPING)

    words: list[bytes] = []
    assert await last(his, words) == 1000
    assert contents([word.decode() for word in words]) == ["written at once", "kept for a second"]


async def test_who_is_there_costs_no_task_and_no_request(
    town: Town, wires: Wires, ada: Person, bob: Person
) -> None:
    await ada.creates("direct", bob)
    before = len(asyncio.all_tasks())
    many = [await wires.inside(bob.token) for _ in range(10)]

    # A reader of each wire's stream is no task of the server's either.
    assert len(asyncio.all_tasks()) <= before
    requests = [each for each in live_requests() if each.path == "/socket.io/"]
    assert requests == []
    for wire in many:
        wire.cut()
    await is_gone(town, "bob")


def live_requests() -> list[web.Request]:
    """Return the requests that somebody still holds."""
    import gc  # noqa: PLC0415 (for this alone)

    gc.collect()
    return [each for each in gc.get_objects() if type(each) is web.Request]
