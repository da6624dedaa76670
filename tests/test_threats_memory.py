"""Memory and open open_sockets under people who take nothing of what is sent to them."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from server.ids import new_id
from tests.eventually import becomes
from tests.people import Person
from tests.process import Process
from tests.watched import MIB, memory, must_be_well, sockets, started
from tests.wire import DEAF_BYTES, PONG, Wire, Wires, asking, frame

pytestmark = pytest.mark.one_database

LARGE = "x" * 60_000
AT_A_TIME = 8
# What browsers offer: granted, it costs about 100 KiB for each connection.
DEFLATE = {"Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits"}


async def test_neither_the_idle_nor_the_deaf_cost_more_than_their_bounds(tmp_path: Path) -> None:
    """T1, T2, T20, M1 to M3: what was queued for those who do not read is let go with them."""
    pulse = {"PALABRE_REALTIME__PING_INTERVAL_S": "1", "PALABRE_REALTIME__PING_TIMEOUT_S": "15"}
    large = {"PALABRE_LIMITS__MESSAGE_CHARS": "60000"}
    async with started(tmp_path, **pulse, **large) as (process, town, wires):
        ada, bob = await town.known("ada"), await town.known("bob")
        talk = await ada.creates("direct", bob)
        hers = await wires.inside(ada.token)
        await push(hers, talk, 2 * MIB)
        await the_idle_are_small(process, wires, bob)
        counts = [asyncio.create_task(counted(await reading(wires, bob))) for _ in range(4)]
        open_sockets, before = sockets(process), memory(process)

        deaf = [await wires.inside(bob.token, receive_bytes=DEAF_BYTES) for _ in range(6)]
        forging = [asyncio.create_task(forges(wire)) for wire in deaf[::2]]
        number = await push(hers, talk, 24 * MIB)
        grown = memory(process) - before

        # A mebibyte for each of the deaf, and what the allocator keeps; not what was said.
        assert grown < 18 * MIB, f"{grown / MIB:.1f} MiB were kept"
        await becomes(lambda: sockets(process) <= open_sockets)
        cut = [line["why"] for line in process.log if line["event"] == "connection cut"]
        assert cut == ["it does not read"] * len(deaf)
        await ada.says(talk, "The last")
        assert await asyncio.gather(*counts) == [number + 1] * 4
        await asyncio.gather(*forging)
        must_be_well(process)


async def the_idle_are_small(process: Process, wires: Wires, person: Person) -> None:
    open_sockets, before = sockets(process), memory(process)
    idle = [await reading(wires, person) for _ in range(200)]
    assert (memory(process) - before) / len(idle) < 45 * 1_024
    for wire in idle:
        wire.cut()
    await becomes(lambda: sockets(process) <= open_sockets)


async def push(wire: Wire, talk: dict[str, Any], size: int) -> int:
    """Say so many bytes, a few messages at a time, and return in how many."""
    number, answered = size // len(LARGE), 0
    for said in range(number + AT_A_TIME):
        if said < number:
            body = {"conversation_id": talk["id"], "client_msg_id": new_id(), "content": LARGE}
            wire.says(asking("message:send", body, ack=said))
        while answered < min(said - AT_A_TIME + 1, number):
            answered += (await wire.packet()).startswith(f'43{answered}[{{"ok":true')
    return number


async def reading(wires: Wires, person: Person) -> Wire:
    """Come in as a browser does."""
    wire = await wires.new()
    await wire.enters(person.token, **DEFLATE)
    assert wire.extensions == ""
    return wire


async def counted(wire: Wire) -> int:
    """Return how many messages are heard up to the last one."""
    number = 0
    while True:
        packet = await wire.packet()
        number += packet.startswith('42["message:created"')
        if '"The last"' in packet:
            return number


async def forges(wire: Wire) -> None:
    """Say all the time that we are there, and read nothing."""
    while not wire.writer.is_closing():
        wire.says("3")
        wire.puts(frame(b"", PONG))
        await asyncio.sleep(0.05)
