"""Who must not hear: those on the way in, those who were refused, and those who make up names."""

import asyncio
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.asking import BY_REST, BY_SOCKET, About, asks_over_rest, complete
from tests.eventually import is_gone
from tests.people import Device, Person, Town
from tests.test_requests_order import send, stuck, until_asked
from tests.wire import DEAF_BYTES, Wires, asking


@pytest.fixture
def wires(town: Town) -> Iterator[Wires]:
    with Wires(town.url) as wires:
        yield wires


@pytest.mark.one_database
async def test_who_is_not_in_yet_or_was_refused_hears_nothing(
    town: Town, ada: Person, bob: Person
) -> None:
    """T5, M12; those whose token is being looked at are in test_session_handshake.py."""
    talk = await ada.creates("direct", bob)
    hers, silent, refused = await ada.connects(), Device(bob), Device(bob)
    await silent.reach()
    await refused.reach()
    await refused.send_raw('40{"token":"no"}')
    await refused._until(lambda: len(refused.raw) == 2)

    await ada.says(talk, "For members")
    await hers.asks("typing:start", conversation_id=talk["id"])
    assert await hers.heard_names() == ["message:created", "typing:started"]

    for device, before in ((silent, ["0{"]), (refused, ["0{", "44"])):
        # What comes next came after all that was said.
        await device.send_raw("40" + json.dumps({"token": bob.token}))
        await device._until(lambda device=device: bool(device.ready))
        assert [raw[:2] for raw in device.raw] == [*before, "40", "42"]
        assert device.raw[-1].startswith('42["session:ready"')
        device.is_checked = False


async def test_a_name_that_is_made_up_is_nobodys_room(
    town: Town, wires: Wires, ada: Person, bob: Person, cleo: Person, eve: Person
) -> None:
    """T6, M13: whatever an outsider calls a conversation, nobody hears it and they hear nobody."""
    talk, own = await ada.creates("group", bob, cleo), await eve.creates("direct", cleo)
    hers, eves = await ada.connects(), await eve.connects()
    raw = await wires.new()
    assert await raw.upgrades() == 101
    engine_id = json.loads((await raw.packet())[1:])["sid"]
    raw.says("40" + json.dumps({"token": bob.token}))
    socket_id = json.loads((await raw.packet())[2:])["sid"]
    hello = json.loads((await raw.packet())[2:])[1]
    names = [engine_id, socket_id, hello["session_id"], "ada", "user:ada", "/", "*"]
    dice = random.Random(6)  # noqa: S311 (the same each time)
    strange = [json_value(dice, [*names, talk["id"]]) for _ in range(60)]
    made_up: list[Any] = [None, "", [], {}, 0, True, [talk["id"]], [own["id"], talk["id"]]]

    for about in [*names, *made_up, *strange, talk["id"], talk["id"].upper(), f"{talk['id']} "]:
        here = {"conversation_id": about}
        for name, payload in (
            ("typing:start", here),
            ("message:send", {**here, "client_msg_id": "1", "content": "Boo"}),
            ("receipt:read", {**here, "up_to_seq": 1}),
            ("sync", {"cursors": {about: 0} if isinstance(about, str) else about}),
        ):
            answer = await eves.answer(name, payload)
            if name != "sync":
                assert answer["error"]["code"] in ("not_found", "validation_failed"), about
            elif answer["ok"]:
                entries = answer["data"]["conversations"]
                assert [e["id"] for e in entries if e["id"] != own["id"]] == [], about
    await ada.says(talk, "Between us")

    await eves.hears_nothing()
    assert await hers.heard_names() == ["message:created"]
    assert '"Between us"' in await raw.packet()
    eves.reference.seated.clear()


def json_value(dice: random.Random, names: list[str], depth: int = 0) -> Any:
    """Return something that JSON can say, made with the names that there are."""
    kind = dice.randrange(8 if depth < 2 else 6)
    if kind == 6:
        return [json_value(dice, names, depth + 1) for _ in range(dice.randrange(3))]
    if kind == 7:
        return {dice.choice(names): json_value(dice, names, depth + 1)}
    text = dice.choice(names)
    return [text[:-1], text + dice.choice(names), dice.random(), -1, False, None][kind]


@pytest.mark.settings(
    realtime={"ping_interval_s": 0.2, "ping_timeout_s": 1.0}, limits={"typing_expiry_ms": 60_000}
)
async def test_neither_the_dead_nor_who_hangs_delay_what_others_hear(
    town: Town, wires: Wires, ada: Person, bob: Person, cleo: Person, dan: Person
) -> None:
    """T18, M25: one hangs in the database, one leaves, three die; it is told while that lasts."""
    talk = await ada.creates("group", bob, cleo, dan)
    hers, cleos, his = await ada.connects(), await cleo.connects(), await bob.connects()
    here = {"conversation_id": talk["id"]}
    await his.asks("typing:start", **here)
    dead = [await wires.inside(dan.token, receive_bytes=DEAF_BYTES) for _ in range(3)]
    for wire in dead:
        wire.says(asking("typing:start", here))
    heard = [await hers.hears("typing:started") for _ in range(2)]
    assert {data["user_id"] for data in heard} == {"bob", "dan"}

    async with stuck(town, talk):
        hangs = asyncio.ensure_future(cleos.answer("message:send", send(talk, "Hanging")))
        await until_asked(town)
        await his.cut()
        heard = [await hers.hears("typing:stopped") for _ in range(2)]
        assert {data["user_id"] for data in heard} == {"bob", "dan"}
        await is_gone(town, "dan")
        assert not hangs.done()

    assert (await hangs)["ok"]
    assert await hers.heard_names() == ["message:created"]
    names = await cleos.heard_names()
    assert names == ["typing:started"] * 2 + ["typing:stopped"] * 2 + ["message:created"]


async def test_an_id_as_long_as_ids_may_be_is_of_nothing(
    ada: Person, bob: Person, eve: Person
) -> None:
    """T6, M13: for every request, at both doors; the columns are shorter than that."""
    await ada.creates("direct", bob)
    hers = await ada.connects()
    about = About(conversation_id="c" * 64, message_id="m" * 64, user_id="u" * 64)
    codes = {"not_found", "validation_failed", "forbidden", "unauthorized"}
    for name in BY_SOCKET:
        answer = await hers.answer(name, complete(name, about))
        assert answer["ok"] or answer["error"]["code"] in codes, (name, answer)
    for name in BY_REST:
        for status, body, _ in await asks_over_rest(eve, name, complete(name, about)):
            assert status < 500, (name, body)
    await hers.heard()
