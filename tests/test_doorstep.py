"""The doorstep: the plainest of handshakes are let in there, and nobody can tell the difference."""

import json
import signal
from collections.abc import Iterator

import pytest

from server import app, listener
from tests.conftest import Starts
from tests.people import Person, Town
from tests.wire import SOCKETIO, TEXT, Wire, Wires, frame

pytestmark = pytest.mark.one_database

KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
LINES = (
    *("Host: here", "Upgrade: websocket", "Connection: Upgrade", KEY),
    "Sec-WebSocket-Version: 13",
)
DETOUR = f"{SOCKETIO}&t=1"
"""An address that says the same in more words."""


@pytest.fixture
def handed_on(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The connections that aiohttp was given, also those by which people were made."""
    given: list[object] = []
    serve = listener._Server.serve

    def spy(server: listener._Server) -> object:
        given.append(serve(server))
        return given[-1]

    monkeypatch.setattr(listener._Server, "serve", spy)
    return given


@pytest.fixture
def wires(town: Town) -> Iterator[Wires]:
    with Wires(town.url) as wires:
        yield wires


def head(*lines: str, path: str = SOCKETIO) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


async def comes_in(wire: Wire, person: Person) -> bool:
    """Return whether somebody comes in behind a handshake that was sent."""
    status, _ = await wire._heads()
    if status != 101:
        return False
    assert (await wire.packet()).startswith("0{")
    wire.says("40" + json.dumps({"token": person.token}))
    assert (await wire.packet()).startswith("40")
    return (await wire.packet()).startswith('42["session:ready"')


async def test_who_asks_in_the_plainest_words_is_let_in_by_us_alone(
    handed_on: list[object], wires: Wires, bob: Person
) -> None:
    handed_on.clear()
    wire = await wires.new()
    wire.puts(head(*LINES, "User-Agent: one of many", "Sec-WebSocket-Extensions: x"))

    assert await comes_in(wire, bob)
    assert handed_on == []


@pytest.mark.parametrize(
    "asked",
    [
        head(*LINES, path=DETOUR),
        head(*LINES, "X-One: 1", "x-one: 2"),
        head(*LINES, "X-Odd: caf\u00e9"),
        head(*LINES, "X-Long: " + "x" * 8_100),
    ],
)
async def test_who_asks_in_other_words_is_let_in_as_before(
    handed_on: list[object], wires: Wires, bob: Person, asked: bytes
) -> None:
    handed_on.clear()
    wire = await wires.new()
    wire.puts(asked)

    assert await comes_in(wire, bob)
    assert len(handed_on) == 1


@pytest.mark.parametrize("cut", [1, 30, 100, -2])
async def test_a_handshake_in_two_pieces_is_one(wires: Wires, bob: Person, cut: int) -> None:
    wire, asked = await wires.new(), head(*LINES)
    wire.puts(asked[:cut])
    other = await wires.new()  # by when the server has read the first piece
    assert await other.upgrades() == 101
    wire.puts(asked[cut:])

    assert await comes_in(wire, bob)


async def test_what_comes_behind_a_handshake_is_heard_whole(wires: Wires, bob: Person) -> None:
    wire = await wires.new()
    said = frame("40" + json.dumps({"token": bob.token}))
    wire.puts(head(*LINES) + said[:20])
    status, _ = await wire._heads()
    wire.puts(said[20:])

    assert status == 101
    assert [(await wire.next())[0] for _ in range(3)] == [TEXT] * 3


@pytest.mark.parametrize(
    "lines",
    [
        LINES[:-1],
        [*LINES[:-1], "Sec-WebSocket-Version: 12"],
        [line for line in LINES if line != KEY],
        [*LINES[:3], "Sec-WebSocket-Key: short", LINES[-1]],
        ["Host: here", *LINES[2:]],
        [*LINES, "Origin: https://elsewhere.example"],
        [*LINES, "Content-Length: 5"],
        [*LINES, "Broken"],
        [*LINES, "Space : 1"],
    ],
)
async def test_who_is_refused_hears_the_same_in_whatever_words_they_asked(
    wires: Wires, lines: list[str]
) -> None:
    answers = []
    for path in (SOCKETIO, DETOUR):
        wire = await wires.new()
        wire.puts(head(*lines, path=path) + b"12345")
        answers.append(await wire._heads())

    (plain, _), (other, _) = answers
    assert plain == other
    assert 400 <= plain < 500


@pytest.mark.settings(realtime={"strangers": 1})
async def test_whom_there_is_no_room_for_is_told_when_to_come_back(wires: Wires) -> None:
    first, second = await wires.new(), await wires.new()
    assert await first.upgrades() == 101

    second.puts(head(*LINES))
    status, headers = await second._heads()

    assert (status, headers["retry-after"]) == (503, "1")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that waits for first words a moment only; ask for it before the town."""
    monkeypatch.setattr(app, "_SILENT_S", 0.2)


@pytest.mark.usefixtures("impatient")
async def test_who_says_nothing_at_all_is_sent_away(town: Town) -> None:
    with Wires(town.url) as wires:
        silent = await wires.new()

        await silent.ended()


async def test_who_has_said_nothing_yet_goes_with_the_server(starts: Starts) -> None:
    process, town = await starts()
    with Wires(town.url) as wires:
        silent, other = await wires.new(), await wires.new()
        assert await other.upgrades() == 101  # so the silent one is here, too

        process.send(signal.SIGTERM)

        await silent.ended()
    assert await process.ended() == 0
