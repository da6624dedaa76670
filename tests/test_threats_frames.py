"""What strangers may put on a WebSocket: it ends their connection, soon, and nobody else's day."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.eventually import is_gone, sessions
from tests.people import Person, Town
from tests.wire import BINARY, CLOSE, FIN, PING, PONG, TEXT, Wires, asking, frame, head

pytestmark = pytest.mark.one_database


@pytest.fixture
def wires(town: Town) -> Iterator[Wires]:
    with Wires(town.url) as wires:
        yield wires


REQUEST = asking("sync", {})
WITH_FILE = '["message:send",{"_placeholder":true,"num":%s}]'
ATTACHMENTS = "9999999999"
FILES = frame(b"\x00" * 60_000, BINARY) * 20


def broken() -> Iterator[tuple[str, bytes]]:
    """Yield what no client sends, by name."""
    yield "without a mask", frame(REQUEST, masked=0)
    for bit in (0x40, 0x20, 0x10):
        yield f"with the reserved bit {bit:#x}", frame(REQUEST, first=FIN | bit)
    for opcode in (3, 7, 11, 15):
        yield f"of the kind {opcode}", frame(REQUEST, opcode)
    yield "a ping too long", frame(b"x" * 126, PING)
    yield "a ping in pieces", frame(b"x", PING, first=0)
    yield "a piece of nothing", frame(REQUEST, 0)
    yield "a text inside another", frame(REQUEST, first=0) + frame(REQUEST)
    yield "bytes that are no text", frame(b'42["\xff\xfe"]')
    yield "half a surrogate pair", frame(b'42["\xed\xa0\x80"]')
    yield "what is no WebSocket", b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"
    yield from too_large()
    yield from binary()
    for packet in ("", "x", "42", "42[]", "42[5]", "42{}", "42null", "42[null,{}]", '42[["a"]]'):
        yield f"the packet {packet!r}", frame(packet)


def too_large() -> Iterator[tuple[str, bytes]]:
    yield "a length below zero", bytes([FIN | TEXT, 0xFF]) + b"\xff" * 8 + bytes(4)
    yield "the head of ten gigabytes", head(10_000_000_000)
    yield "one byte too much", frame("42" + " " * 65_535)
    yield "too much in small pieces", _pieces(66_000, b"x")
    yield "too much in large pieces", _pieces(3, b"x" * 30_000)


def binary() -> Iterator[tuple[str, bytes]]:
    """Yield files in frames: a server that waits for attachments holds what came of them."""
    yield "bytes", frame(b"\x04\x05", BINARY)
    yield "bytes in pieces", frame(b"\x04", BINARY, first=0) + frame(b"\x05", 0)
    yield "endless attachments", frame(f"45{ATTACHMENTS}-{WITH_FILE % 0}") + FILES
    yield "endless attachments of an answer", frame(f"46{ATTACHMENTS}-7[]") + FILES
    yield "an attachment out of range", frame("451-" + WITH_FILE % 99) + frame(b"x", BINARY)
    yield "no attachment at all", frame("450-" + WITH_FILE % 0)
    yield "an attachment in text", frame("451-" + WITH_FILE % 0) + frame("bAAAA")


def _pieces(number: int, piece: bytes) -> bytes:
    """Return a text in many pieces, none of them its last."""
    return frame("42", first=0) + frame(piece, 0, first=0) * number


async def test_what_no_client_sends_ends_the_connection_at_once_and_only_that(
    town: Town, wires: Wires, ada: Person, bob: Person
) -> None:
    """T10, T12, M16, M18; no ping ends it: the first one would come after 25 seconds."""
    talk = await ada.creates("direct", bob)
    hers, took = await ada.connects(), []
    clock = asyncio.get_running_loop().time
    for what, data in broken():
        his = await wires.inside(bob.token)
        began = clock()
        his.puts(data)
        try:
            await his.ended()
            await is_gone(town, "bob")
        except TimeoutError:
            pytest.fail(f"{what}: the connection lives on")
        took.append(clock() - began)
    # A machine that is busy with other tests may be late once.
    assert sorted(took)[-3] < 1, took
    await ada.says(talk, "Still there?")
    assert await hers.heard_names() == ["message:created"]


async def test_what_is_odd_but_allowed_is_answered(town: Town, wires: Wires, bob: Person) -> None:
    his = await wires.inside(bob.token)

    his.puts(frame(b"Are you there?", PING))
    assert await his.next() == (PONG, b"Are you there?")
    text = asking("nobody:answers", "é☃", ack=7).encode()
    split = [text[at : at + 1] for at in range(len(text))]
    his.puts(frame(b"", first=0) + frame(b"", 0, first=0))
    for piece in split:
        his.puts(frame(piece, 0, first=0) + frame(b"", PING) + frame(b"unasked", PONG))
    his.puts(frame(b"", 0))
    heard = [await his.next() for _ in range(len(split) + 1)]
    assert [kind for kind, _ in heard[:-1]] == [PONG] * len(split)
    assert heard[-1][1].startswith(b'437[{"ok":false')
    # Bytes come as the network likes.
    for byte in frame(asking("sync", {}, ack=8)):
        his.puts(bytes([byte]))
        await asyncio.sleep(0)
    assert (await his.packet()).startswith('438[{"ok":true')
    his.puts(frame((1_000).to_bytes(2, "big"), CLOSE))
    assert (await his.next())[0] == CLOSE
    await his.ended()
    await is_gone(town, "bob")


@pytest.mark.parametrize("name", ["connect", "disconnect", "connect_error", "error", "message"])
async def test_a_client_cannot_play_the_server_to_the_server(
    town: Town, wires: Wires, ada: Person, bob: Person, name: str
) -> None:
    """T4, M9: a forged arrival or departure changes neither who is there nor as whom."""
    talk = await ada.creates("direct", bob)
    hers, his = await ada.connects(), await wires.inside(bob.token)

    his.says(asking(name, {"token": ada.token}, {"headers": {"Authorization": ada.token}}))
    his.says(asking(name, "fake", ack=1))
    his.says(asking("sync", {}, ack=2))

    # Refused, and whether the connection lives on is the server's to say.
    while sessions(town, "bob"):
        packet = await his.packet()
        if packet.startswith("432"):
            break
        assert '"unknown_event"' in packet
    assert sessions(town, "ada") == 1
    await ada.says(talk, "Who are you?")
    assert await hers.heard_names() == ["message:created"]
    his.cut()
    await is_gone(town, "bob")


async def test_answers_that_nobody_asked_for_break_nothing(
    town: Town, wires: Wires, ada: Person, bob: Person
) -> None:
    """T17, M14: nothing here waits for a client's answer, so that none can be forged or kept."""
    talk = await ada.creates("direct", bob)
    hers = await ada.connects()
    forged = ("430[]", "430[{}]", "431[1,2,3]", "43-1[]", "439999999999[]", '43["what"]')

    for packet in forged:
        his = await wires.inside(bob.token)
        his.says(packet)
        await ada.says(talk, packet)
        await hers.hears("message:created")
        if sessions(town, "bob"):
            assert (await his.packet()).startswith('42["message:created"')
        his.cut()
        await is_gone(town, "bob")
