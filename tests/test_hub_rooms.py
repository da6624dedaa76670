"""Busy rooms, through the wire: what is said in a moment leaves together, and to the right people.

`coalesce_ms` is long here, so that nothing of a batch can leave by itself while a test goes on.
"""

import json
from socket import SO_SNDBUF, SOL_SOCKET
from typing import Any

import pytest

from server.ids import new_id
from server.realtime.audience import Audience
from tests.doors import PlainDevice, fields
from tests.eventually import becomes, is_gone
from tests.people import Device, Person, Town
from tests.test_session_polling import Poller
from tests.wire import DEAF_BYTES, Wires

SLOWLY = pytest.mark.settings(
    realtime={"coalesce_ms": 200, "transports": ["websocket", "polling"]},
)
SHOWN = 40


async def chatters(device: Device, talk: dict[str, Any], count: int, first: int = 0) -> None:
    """Send messages one behind the other without waiting for the answers."""
    for number in range(first, first + count):
        body = {"conversation_id": talk["id"], "client_msg_id": new_id(), "content": str(number)}
        await device.send_raw("42" + json.dumps(["message:send", body]))


async def hears_all(device: Device, count: int) -> list[str]:
    """Wait until a device has heard so many frames, and return what was said in messages."""
    await device._until(lambda: len(device.frames) >= count)
    heard, device.frames = device.frames, []
    return [data["message"]["content"] for name, data in heard if name == "message:created"]


@SLOWLY
async def test_everybody_hears_a_busy_room_in_one_order_whatever_they_came_by(
    town: Town, ada: Person, bob: Person, cleo: Person, eve: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    hers, his, outside = await ada.connects(), await bob.connects(), await eve.connects()
    plain, polled = PlainDevice(bob, talk["id"]), Poller(town)
    await plain.open(fields(bob))
    await polled.open(cleo.token)
    await polled.hears(2)

    await chatters(hers, talk, SHOWN)

    told = [str(number) for number in range(SHOWN)]
    for device in (hers, his, plain):
        assert await hears_all(device, SHOWN) == told
    packets = await polled.hears(SHOWN)
    assert [data["message"]["content"] for _, data in packets] == told
    await outside.hears_nothing()


@SLOWLY
async def test_frames_that_leave_together_arrive_one_by_one_and_are_fewer_writes(
    town: Town, ada: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = await ada.creates("direct", bob)
    hers, his = await ada.connects(), await bob.connects()
    together = list[int]()
    wrote = Audience.take_off

    def take_off(room: Audience) -> Any:
        together.append(len(room.waiting))
        return wrote(room)

    monkeypatch.setattr(Audience, "take_off", take_off)
    await chatters(hers, talk, SHOWN)

    assert await hears_all(his, SHOWN) == [str(number) for number in range(SHOWN)]
    assert all(packet.count('"event_seq"') == 2 for packet in his.raw if packet[:4] == '42["m')
    assert sum(together) == SHOWN - 1
    assert len(together) < SHOWN / 2
    assert await hears_all(hers, SHOWN) == [str(number) for number in range(SHOWN)]
    assert town.node.feed._hub._behind == 0


@SLOWLY
async def test_what_was_said_before_an_answer_is_heard_before_it(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    his, hers = await bob.connects(), await cleo.connects()
    for number in range(3):
        await ada.says(talk, str(number))

    await his.asks("conversation:update_my", conversation_id=talk["id"], is_pinned=True)
    heard = his.frames[:]
    await ada.says(talk, "3")

    assert [name for name, _ in heard] == [*["message:created"] * 3, "my:updated", "my:unread"]
    his.frames.clear()
    assert await hears_all(his, 1) == ["3"]
    assert await hears_all(hers, 4) == ["0", "1", "2", "3"]


@SLOWLY
async def test_who_goes_and_who_comes_in_the_middle_hear_exactly_their_part(
    ada: Person, bob: Person, cleo: Person, dan: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    hers, his = await ada.connects(), await bob.connects()
    gone, came = await cleo.connects(), await dan.connects()
    removal = {"conversation_id": talk["id"], "user_id": cleo.id}
    addition = {"conversation_id": talk["id"], "user_ids": [dan.id]}

    await chatters(hers, talk, 5)
    await hers.send_raw("42" + json.dumps(["participant:remove", removal]))
    await chatters(hers, talk, 5, first=5)
    await hers.send_raw("42" + json.dumps(["participant:add", addition]))
    await chatters(hers, talk, 5, first=10)
    await hears_all(hers, 19)
    await his.settles()

    everything = [name for name, _ in his.frames]
    his.frames.clear()
    lost = [(name, data) for name, data in await gone.heard()]
    assert [name for name, _ in lost] == [
        *["message:created"] * 5,
        "participant:removed",
        "conversation:removed",
    ]
    assert lost[5][1]["event_seq"] == lost[6][1]["event_seq"]
    assert everything.count("message:created") == 15 + 2  # and the lines about both
    won = await came.heard()
    assert [name for name, _ in won] == [
        "conversation:added",
        "participant:added",
        *["message:created"] * 6,
    ]
    numbers = [data["event_seq"] for _, data in won[1:]]
    assert numbers == list(range(numbers[0], numbers[0] + 7))


@SLOWLY
async def test_a_slow_member_hears_all_in_order_and_stops_nobody(
    town: Town, ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    hers, his = await ada.connects(), await bob.connects()
    with Wires(town.url) as wires:
        slow = await wires.inside(cleo.token, receive_bytes=DEAF_BYTES)
        (session,) = town.node.feed._hub.devices_of(cleo.id)
        # The system would take megabytes for a client that does not read.
        socket = session._transport._wire.transport.get_extra_info("socket")
        socket.setsockopt(SOL_SOCKET, SO_SNDBUF, DEAF_BYTES)
        texts = [f"{number} " + "x" * 9_000 for number in range(SHOWN)]
        for text in texts:
            await hers.says(talk, text)
        assert await hears_all(his, SHOWN) == texts
        assert session.direct(talk["id"]) is None

        packets = await slow.packets(SHOWN)
        assert [json.loads(packet[2:])[1]["message"]["content"] for packet in packets] == texts
        await becomes(lambda: session.direct(talk["id"]) is not None)
        await hers.says(talk, "Quick again")
        await hers.says(talk, "and again")
        last = [json.loads(packet[2:])[1]["message"] for packet in await slow.packets(2)]

    assert [message["content"] for message in last] == ["Quick again", "and again"]
    await hers.heard()
    await his.heard()


@SLOWLY
async def test_a_kick_is_heard_behind_all_that_was_said(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("group", bob)
    hers, his = await ada.connects(), PlainDevice(bob, talk["id"])
    await his.open(fields(bob))
    removal = {"conversation_id": talk["id"], "user_id": bob.id}

    await chatters(hers, talk, 5)
    await hers.send_raw("42" + json.dumps(["participant:remove", removal]))

    assert await his.ended() == 4404
    names = [name for name, _ in his.frames]
    assert names[:6] == [*["message:created"] * 5, "participant:removed"]
    await hers.heard()
    await is_gone(town, bob.id)
