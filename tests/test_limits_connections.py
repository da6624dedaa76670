"""The bounds of a connection: each holds, says so, and costs nobody else anything."""

import asyncio
import base64
import json
import os
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.eventually import becomes, is_gone, sessions
from tests.people import WITHIN_S, Device, Person, Refused, Town

LESS_THAN_USUAL_S = 4.5
"""When nobody has been cut yet who has as long as usual to say who they are."""


@pytest.mark.settings(limits={"sockets_per_user": 2})
async def test_one_person_may_have_so_many_connections(ada: Person, bob: Person) -> None:
    first, _ = await bob.connects(), await bob.connects()

    with pytest.raises(Refused) as refused:
        await bob.connects()

    assert refused.value.code == "rate_limited"
    assert refused.value.error["retry_after_ms"] > 0
    assert (await ada.connects()).ready["user"]["id"] == "ada"
    await first.close()
    assert (await bob.connects()).ready["user"]["id"] == "bob"


@pytest.mark.one_database
@pytest.mark.settings(limits={"authenticate_s": 1})
async def test_who_does_not_say_who_they_are_is_cut(bob: Person) -> None:
    silent, known = Device(bob), await bob.connects()
    await silent.reach()

    await asyncio.wait_for(silent.closed.wait(), LESS_THAN_USUAL_S)

    assert [raw[:2] for raw in silent.raw] == ["0{"]
    await known.hears_nothing()


@pytest.mark.one_database
@pytest.mark.settings(limits={"authenticate_s": 1})
async def test_who_was_refused_is_cut_too(bob: Person) -> None:
    stranger = Device(bob)
    await stranger.reach()
    await stranger.send_raw('40{"token":"no"}')

    await asyncio.wait_for(stranger.closed.wait(), LESS_THAN_USUAL_S)

    assert [raw[:2] for raw in stranger.raw] == ["0{", "44"]


@pytest.mark.one_database
@pytest.mark.settings(
    limits={
        "event_bytes": 2_000,
        "message_chars": 1_000,
        "message_metadata_bytes": 1_000,
        "conversation_metadata_bytes": 1_000,
    }
)
async def test_a_frame_above_the_bound_ends_its_connection(
    town: Town, ada: Person, bob: Person
) -> None:
    """M17 of docs/threats.md."""
    talk = await ada.creates("direct", bob)
    hers, his = await ada.connects(), await bob.connects()
    frame = '42["message:send",{"x":"%s"}]'

    await his.send_raw(frame % ("y" * (1_999 - len(frame))))
    assert (await his.hears("request:failed"))["error"]["code"] == "validation_failed"
    await his.send_raw(frame % ("y" * 2_000))

    await asyncio.wait_for(his.closed.wait(), WITHIN_S)
    await is_gone(town, "bob")
    await ada.says(talk, "Still here")
    assert await hers.heard_names() == ["message:created"]


class Deaf:
    """A client that connects and then never reads again."""

    async def open(self, town: Town, token: str) -> None:
        parts = urlsplit(town.url)
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        plain.setblocking(False)  # noqa: FBT003
        await asyncio.get_running_loop().sock_connect(plain, (parts.hostname, parts.port))
        self.reader, self.writer = await asyncio.open_connection(sock=plain, limit=1_024)
        self.writer.write(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)) + b"\r\n\r\n"
        )
        await self.reader.readuntil(b"\r\n\r\n")
        self.writer.write(_frame("40" + json.dumps({"token": token})))

    def close(self) -> None:
        self.writer.transport.abort()


def _frame(text: str) -> bytes:
    """Return a text frame with an empty mask."""
    data = text.encode()
    return bytes([0x81, 0xFE]) + len(data).to_bytes(2, "big") + bytes(4) + data


@pytest.mark.one_database
@pytest.mark.settings(
    limits={"message_chars": 60_000, "output_bytes": 65_536, "sync_bytes": 65_536}
)
async def test_a_client_that_does_not_read_is_cut_and_others_hear_everything(
    town: Town, logged: list[dict[str, Any]], ada: Person, bob: Person
) -> None:
    """M3 of docs/threats.md."""
    talk = await ada.creates("direct", bob)
    hers, deaf = await ada.connects(), Deaf()
    await deaf.open(town, bob.token)
    await becomes(lambda: sessions(town, "bob") == 1)

    sent = 0
    async with asyncio.timeout(20):
        while sessions(town, "bob"):
            await ada.says(talk, "x" * 60_000)
            sent += 1

    assert any(line.get("why") == "it does not read" for line in logged)
    assert await hers.heard_names() == ["message:created"] * sent
    deaf.close()


@pytest.mark.settings(limits={"joined": 2})
async def test_a_socket_hears_so_many_conversations_the_newest_first(
    ada: Person, bob: Person
) -> None:
    talks = [await ada.creates("group", bob, title=str(n)) for n in range(3)]

    his = await bob.connects(user_seq=None)
    for talk in talks:
        await ada.says(talk, "Hello")

    assert set(his.ready["joined"]) == {talks[1]["id"], talks[2]["id"]}
    heard = [data["conversation_id"] for _, data in await his.heard()]
    assert heard == [talks[1]["id"], talks[2]["id"]]


@pytest.mark.settings(limits={"joined": 2})
async def test_named_conversations_go_before_the_most_recent(ada: Person, bob: Person) -> None:
    talks = [await ada.creates("group", bob, title=str(n)) for n in range(3)]
    cursors = {talks[0]["id"]: talks[0]["head"]}

    his = await bob.connects(cursors=cursors, user_seq=None)

    assert set(his.ready["joined"]) == {talks[0]["id"], talks[2]["id"]}


@pytest.mark.settings(limits={"joined": 2})
async def test_naming_another_conversation_unseats_the_one_named_least_recently(
    ada: Person, bob: Person
) -> None:
    talks = [await ada.creates("group", bob, title=str(n)) for n in range(3)]
    ids = [talk["id"] for talk in talks]
    his = await bob.connects()

    answer = await his.asks("sync", cursors={ids[0]: talks[0]["head"]})

    assert answer["unseated"] == [ids[1]]
    his.reference.apply_sync(answer)
    for talk in talks:
        await ada.says(talk, "Hello")
    assert [data["conversation_id"] for _, data in await his.heard()] == [ids[0], ids[2]]


@pytest.mark.settings(limits={"joined": 2})
async def test_strangers_do_not_take_the_seats_of_ones_own(
    ada: Person, bob: Person, cleo: Person
) -> None:
    mine = [await ada.creates("group", bob, title=str(n)) for n in range(2)]
    foreign = await ada.creates("direct", cleo)
    his = await bob.connects()

    answer = await his.asks("sync", cursors={foreign["id"]: 0, "nowhere": 0})

    his.reference.apply_sync(answer)
    assert answer["unseated"] == []
    await ada.says(foreign, "Between us")
    for talk in mine:
        await ada.says(talk, "Hello")
    heard = [data["conversation_id"] for _, data in await his.heard()]
    assert heard == [talk["id"] for talk in mine]


@pytest.mark.settings(limits={"joined": 2})
async def test_who_is_added_beyond_the_bound_loses_nothing_until_the_next_sync(
    ada: Person, bob: Person
) -> None:
    talks = [await ada.creates("group", bob, title=str(n)) for n in range(2)]
    his = await bob.connects()

    talks.append(await ada.creates("group", bob, title="2"))
    for talk in talks:
        await ada.says(talk, "Hello")
    heard = [data["conversation_id"] for name, data in await his.heard() if "message" in data]
    answer = await his.asks("sync", cursors={talks[2]["id"]: talks[2]["head"] + 1})

    # Between conversations no order is promised.
    assert sorted(heard) == sorted([talks[2]["id"], *(talk["id"] for talk in talks)])
    assert answer["unseated"] == [talks[0]["id"]]
    his.reference.apply_sync(answer)


@pytest.mark.settings(limits={"joined": 2})
async def test_of_too_many_named_at_once_the_last_ones_are_heard(ada: Person, bob: Person) -> None:
    talks = [await ada.creates("group", bob, title=str(n)) for n in range(3)]
    his = await bob.connects()

    answer = await his.asks("sync", cursors={talk["id"]: talk["head"] for talk in talks})

    his.reference.apply_sync(answer)
    assert answer["unseated"] == [talks[0]["id"]]
    for talk in talks:
        await ada.says(talk, "Hello")
    heard = [data["conversation_id"] for _, data in await his.heard()]
    assert heard == [talks[1]["id"], talks[2]["id"]]


@pytest.mark.one_database
@pytest.mark.settings(limits={"inbox": 1})
async def test_a_full_line_of_requests_waits_and_loses_none(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    hers, his = await ada.connects(), await bob.connects()

    said = await asyncio.gather(*(hers.says(talk, str(n)) for n in range(50)))

    heard = [data["message"]["content"] for _, data in await his.heard()]
    assert heard == [str(n) for n in range(50)]
    assert [message["seq"] for message in said] == list(range(1, 51))
    assert len(await hers.heard()) == 50
