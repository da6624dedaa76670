"""The bounds of a connection: what waits on either side, how long, and that the end is the end."""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.eventually import becomes, is_gone, sessions
from tests.people import Device, Person, Town
from tests.test_requests_order import send, stuck
from tests.watched import sockets_in
from tests.wire import DEAF_BYTES, PING, PONG, Wire, Wires, asking, frame

pytestmark = pytest.mark.one_database

LARGE = "x" * 60_000
PATIENT = {"message_chars": 60_000, "output_bytes": 64 * 2**20}
PLAIN = "/ws/messaging/chat/x/"
REFUSED, FULL = 429, 503
KERNEL_BYTES = 5 * 2**20
"""More than the system takes on the way to a client that does not read."""


@pytest.fixture
def wires(town: Town) -> Iterator[Wires]:
    with Wires(town.url) as wires:
        yield wires


def open_sockets() -> int:
    return sockets_in(Path("/dev/fd"))


# What waits to be answered


async def test_a_flood_of_requests_waits_in_tcp_and_not_in_memory(
    town: Town, wires: Wires, ada: Person, bob: Person
) -> None:
    """T8, M16: so many requests wait in line, then nobody reads on; others go on talking."""
    talk = await ada.creates("direct", bob)
    hers = await ada.connects()
    his = await wires.inside(bob.token, send_bytes=65_536)
    many, large = 400, {"conversation_id": talk["id"], "x": "y" * 50_000}

    async with stuck(town, talk):
        his.says(asking("message:send", send(talk, "Hanging"), ack=0))
        for number in range(1, many):
            his.says(asking("typing:start", large, ack=number))
        left = await standing(his, hers)
    assert left > many * 50_000 - town.settings.limits.inbox * 65_536 - 2 * KERNEL_BYTES
    assert sessions(town, "bob") == 1

    assert await order_of_answers(his, many) == list(range(many))
    await hers.hears("message:created")
    await hears_of_few_tasks(his, 2_000)


async def standing(wire: Wire, other: Device) -> int:
    """Wait until the server takes nothing more of what is sent; return how much is left."""
    left, rounds = -1, 0
    while rounds < 20:
        before, left = left, wire.writer.transport.get_write_buffer_size()
        rounds = rounds + 1 if left == before else 0
        await other.settles()
    return left


async def order_of_answers(wire: Wire, many: int) -> list[int]:
    order: list[int] = []
    while len(order) < many:
        packet = await wire.packet()
        if packet.startswith("43"):
            order.append(int(packet[2 : packet.index("[")]))
    return order


async def hears_of_few_tasks(wire: Wire, many: int) -> None:
    tasks = len(asyncio.all_tasks())
    for number in range(many):
        wire.says(asking("nobody:answers", {}, ack=number))
    most = 0
    for number in range(many):
        assert (await wire.packet()).startswith(f"43{number}[")
        most = max(most, len(asyncio.all_tasks()))
    assert most <= tasks + 8


# What waits to be sent


@pytest.mark.settings(limits=PATIENT)
async def test_a_slow_client_is_spared_what_is_not_durable_and_hears_the_rest(
    town: Town, wires: Wires, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers = await ada.connects()
    his = await wires.inside(bob.token, receive_bytes=DEAF_BYTES)
    many = (KERNEL_BYTES + 2**20) // len(LARGE)
    typing = {"conversation_id": talk["id"]}

    await hers.asks("typing:start", **typing)
    for _ in range(many):
        await ada.says(talk, LARGE)
    for _ in range(5):
        await hers.asks("typing:start", **typing)
        await hers.asks("typing:stop", **typing)
    await ada.says(talk, "The last")

    assert (await hers.heard_names()).count("typing:stopped") == 6
    heard = list[Any]()
    while not heard or heard[-1][1].get("message", {}).get("content") != "The last":
        heard.append(json.loads((await his.packet())[2:]))
    numbers = [data["event_seq"] for name, data in heard if name == "message:created"]
    assert numbers == list(range(talk["head"] + 1, talk["head"] + 2 + many))
    # The first message ended the typing before it; of what came after the last one, nothing.
    typing_heard = [name for name, _ in heard if name.startswith("typing:")]
    assert typing_heard == ["typing:started", "typing:stopped"]
    hers.is_checked = False  # it would fetch all of that a second time


@pytest.mark.settings(limits=PATIENT, realtime={"stall_s": 1, "ping_interval_s": 0.2})
async def test_who_takes_nothing_for_long_is_cut_though_they_answer_every_ping(
    town: Town, wires: Wires, logged: list[dict[str, Any]], ada: Person, bob: Person
) -> None:
    """T1, M2: little enough is unsent to wait, but not for ever."""
    talk = await ada.creates("direct", bob)
    deaf = await wires.inside(bob.token, receive_bytes=DEAF_BYTES)
    idle = await wires.inside(ada.token)
    for _ in range((KERNEL_BYTES + 2**20) // len(LARGE)):
        await ada.says(talk, LARGE)
        assert (await idle.packet()).startswith('42["message:created"')

    async with asyncio.timeout(20):
        while sessions(town, "bob"):
            await idle.next()  # a ping, as the other gets them
            deaf.says("3")
            idle.says("3")

    # Who has taken everything is left alone, however little there is to say.
    assert sessions(town, "ada") == 1
    (line,) = [line for line in logged if line["event"] == "connection cut"]
    assert line["why"] == "it does not read"
    await deaf.ended()


@pytest.mark.parametrize("said", [frame(b"x" * 125, PING), frame("40{}")], ids=["pings", "hellos"])
async def test_who_makes_us_answer_and_does_not_read_fills_nothing(
    town: Town, wires: Wires, ada: Person, bob: Person, said: bytes
) -> None:
    """T1: answers that are no events: they stop, or it is cut, or nothing more of it is read."""
    hers = await ada.connects()
    his = await wires.inside(bob.token, receive_bytes=DEAF_BYTES, send_bytes=65_536)
    enough = 4 * KERNEL_BYTES
    his.puts(said * (enough // len(said)))
    if await standing(his, hers) > enough // 4 or not sessions(town, "bob"):
        return
    his.says(asking("nobody:answers", {}, ack=1))
    waited = 0
    while not (last := await his.next())[1].startswith(b"431["):
        waited += len(last[1])
    assert waited < enough // 2


# How long


@pytest.mark.settings(limits={"authenticate_s": 1}, realtime={"ping_interval_s": 0.2})
async def test_who_does_not_say_who_they_are_is_cut_whatever_else_they_say(
    town: Town, wires: Wires, ada: Person, bob: Person
) -> None:
    """T3, M15."""
    await ada.creates("direct", bob)
    before, silent = open_sockets(), [await wires.new() for _ in range(40)]
    for number, wire in enumerate(silent):
        assert await (wire.upgrades() if number % 2 else wire.upgrades(PLAIN)) == 101
    for wire in silent[1::4]:
        # Neither the pulse of Socket.IO nor that of WebSocket is a name.
        wire.says("3")
        wire.puts(frame(b"", PONG) * 3)
        wire.says('40{"token":"no"}')

    for wire in silent:
        await wire.ended()
    await becomes(lambda: open_sockets() <= before)
    assert (await ada.connects()).ready["joined"]


@pytest.mark.settings(
    limits={"authenticate_s": 3}, realtime={"strangers": 6, "strangers_per_address": 4}
)
async def test_so_many_may_be_open_without_saying_who_they_are(
    town: Town, wires: Wires, ada: Person, bob: Person
) -> None:
    """T3, M19: as long as they last and by their own address; those who are in do not count."""
    known = [await ada.connects() for _ in range(8)]
    knocks = [await wires.new() for _ in range(6)]
    assert [await wire.upgrades() for wire in knocks] == [101] * 4 + [REFUSED] * 2
    # Linux has the whole of 127.0.0.0/8.
    others = [await wires.new(address="127.0.0.2") for _ in range(3 * (sys.platform == "linux"))]
    assert [await wire.upgrades(PLAIN) for wire in others] in ([101, 101, FULL], [])

    for wire in knocks[:4] + others[:2]:
        await wire.ended()
    assert (await bob.connects()).ready["user"]["id"] == "bob"
    assert not known[0].closed.is_set()


# The end


@pytest.mark.usefixtures("standing_clock")
@pytest.mark.settings(
    auth={"leeway_s": 0}, limits={**PATIENT, "token_warning_s": 0, "token_grace_s": 0}
)
async def test_who_is_sent_away_is_gone_and_does_not_come_back_by_the_same_connection(
    town: Town, wires: Wires, ada: Person, bob: Person
) -> None:
    """T19, M23, M24: those who do not read, too; nobody waits for them."""
    talk, before = await ada.creates("direct", bob), open_sockets()
    deaf = [await wires.inside(bob.token, receive_bytes=DEAF_BYTES) for _ in range(4)]
    for _ in range((KERNEL_BYTES + 2**20) // len(LARGE)):
        await ada.says(talk, LARGE)
    healthy = [await wires.inside(bob.token) for _ in range(4)]

    short = bob.fresh_token(2)
    for wire in [*deaf, *healthy]:
        wire.says(asking("auth:refresh", {"token": short}))
    for wire in healthy:
        while not (packet := await wire.packet()).startswith('42["session:closed"'):
            assert packet.startswith('42["auth:expiring"')
        for again in (short, bob.token):
            wire.says("41")
            wire.says("40" + json.dumps({"token": again}))
            wire.says(asking("sync", {}, ack=1))
    for wire in healthy:
        await wire.ended()
    # Those who do not read have not noticed: the server let go of them all the same.
    await becomes(lambda: open_sockets() <= before + len(deaf))
    await is_gone(town, "bob")
    for wire in deaf:
        await wire.ended()
