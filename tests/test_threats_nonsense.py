"""Frames that begin as a client's and end as nobody's: the server goes on as if nothing were."""

import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.eventually import becomes
from tests.people import Device, Person
from tests.watched import MIB, at_a_time, memory, must_be_well, sockets, started
from tests.wire import BINARY, CLOSE, PING, PONG, SOCKETIO, Wires, asking, frame, head

pytestmark = pytest.mark.one_database

CASES = int(os.environ.get("FUZZ_CASES", "300"))
SEED = int(os.environ.get("FUZZ_SEED", "4"))
ROUND = 50
STRANGE_NAMES: tuple[object, ...] = ("connect", "disconnect", [], {}, None, 5, True)
GREETING = f"GET {SOCKETIO} HTTP/1.1\r\nHost: here\r\n\r\n".encode()


@pytest.mark.timeout(30 + CASES // 10)
async def test_a_server_that_is_sent_nonsense_goes_on_as_if_nothing_were(tmp_path: Path) -> None:
    """T9 to T12, T17, M16, M17; FUZZ_CASES= asks for more, FUZZ_SEED= for others."""
    dice = random.Random(SEED)  # noqa: S311 (the same ones for the same seed)
    async with started(tmp_path) as (process, town, wires):
        ada, cleo = await town.known("ada"), await town.known("cleo")
        eve, dan = await town.known("eve"), await town.known("dan")
        talk, own = await ada.creates("direct", cleo), await eve.creates("direct", dan)
        hers, stock = await ada.connects(), list(frames(talk["id"], own["id"], eve.token))
        await come(wires, eve, [nonsense(dice, stock) for _ in range(ROUND)])
        await cleo.says(talk, "Is this thing on?")
        await must_hear_only(hers, cleo)
        open_sockets, before = sockets(process), memory(process)

        for start in range(0, CASES, ROUND):
            cases = [nonsense(dice, stock) for _ in range(min(ROUND, CASES - start))]
            await come(wires, eve, cases)
            await cleo.says(talk, "Do you hear that, too?")
            await must_hear_only(hers, cleo)

        assert memory(process) - before < 24 * MIB
        await becomes(lambda: sockets(process) <= open_sockets)
        must_be_well(process)


async def must_hear_only(device: Device, person: Person) -> None:
    ((name, data),) = await device.heard()
    assert (name, data["message"]["sender"]["id"]) == ("message:created", person.id)


@dataclass(frozen=True)
class Case:
    """Something that somebody says who may or may not have come in, and how they leave."""

    stage: str
    data: bytes
    is_rude: bool


def nonsense(dice: random.Random, stock: list[bytes]) -> Case:
    stage = dice.choice(("request", "socket", "socket", "inside", "inside", "inside", "inside"))
    some = [dice.choice(stock) for _ in range(dice.randrange(1, 5))]
    bent = dice.randrange(len(some) + 1)
    data = b"".join(bend(dice, one) if n == bent else one for n, one in enumerate(some))
    return Case(stage, bend(dice, GREETING) if stage == "request" else data, dice.random() < 0.2)


def bend(dice: random.Random, data: bytes) -> bytes:
    """Return these bytes with something changed in them, most often near the beginning."""
    changed = bytearray(data)
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(min(len(changed), dice.choice((2, 16, 2**16))) or 1)
        end = at + dice.randrange(1, 9)
        changed[at:end] = dice.choice(
            (
                b"",
                dice.randbytes(end - at),
                changed[at:end] * 2,
                bytes([dice.randrange(256)]) + changed[at + 1 : end],
                bytes(byte ^ 1 << dice.randrange(8) for byte in changed[at:end]),
            )
        )
    return bytes(changed)


async def come(wires: Wires, person: Person, cases: list[Case]) -> None:
    """Connect, say it, and leave without a goodbye; fails if a connection does not end with it."""

    async def comes(case: Case) -> None:
        wire = await wires.new()
        if case.stage == "socket":
            assert await wire.upgrades() == 101
        elif case.stage == "inside":
            await wire.enters(person.token)
        wire.puts(case.data)
        if case.is_rude:
            wire.cut()
            return
        try:
            await wire.left()
        except TimeoutError:
            pytest.fail(f"the connection lives on after {case.data[:200]!r}")

    await at_a_time(8, [lambda case=case: comes(case) for case in cases])  # type: ignore[misc]


def frames(about: str, own: str, token: str) -> Iterator[bytes]:
    """Yield what clients send, from the smallest to the largest, and what almost is that."""
    packets = ["", "2", "3", "3probe", "5", "1", "6", "41", "40" + json.dumps({"token": token})]
    packets += ["40/admin,{}", '42/admin,1["sync",{}]', "41/admin,", '430["x"]', "43", "44{}"]
    packets += ['451-["a",{"_placeholder":true,"num":0}]', "b" + "QUJD" * 9, "4", "0{}"]
    here, said = {"conversation_id": about}, {"client_msg_id": "1", "content": "é" * 50}
    packets += [
        asking("sync", {"cursors": {about: 0}}, ack=1),
        asking("message:send", {**said, "conversation_id": own}, ack=2),
        asking("message:send", {**said, **here}, ack=3),
        asking("message:list", {**here, "limit": 10**400}, ack=2**53),
        asking("typing:start", here),
        *(asking(name, "x", {}) for name in STRANGE_NAMES),
        asking("sync", {"cursors": {str(n): n for n in range(4_000)}}, ack=4),
        '42["sync",' + "[" * 30_000 + "]" * 30_000 + "]",
        '42["sync",' + "[" + "[]," * 21_000 + "0]]",
        '42["sync",' + "[" + "{}," * 21_000 + "0]]",
    ]
    yield from map(frame, packets)
    yield frame(asking("sync", {}, ack=5)) * 40
    yield frame("4", first=0) + frame('2["sync"', 0, first=0) + frame(",{}]", 0)
    yield from (frame("42", first=0), frame(b"", 0, first=0) * 50, head(2**40), head(70_000))
    yield from (frame(b"\x04abc", BINARY), frame(b"", PING), frame(b"x" * 125, PONG))
    yield from (frame(code.to_bytes(2, "big") + b"bye", CLOSE) for code in (1_000, 1_005, 65_535))
