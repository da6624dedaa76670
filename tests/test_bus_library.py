"""python-socketio's own ways work across nodes, and its write-only manager can say a little."""

import asyncio
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import redis.asyncio
import socketio

from server.config import Settings
from tests.documents import ROOT, examples
from tests.doors import PlainDevice, PythonDevice, fields
from tests.eventually import becomes
from tests.people import Device, Person, Town
from tests.services import Valkey

pytestmark = pytest.mark.many_nodes

CHANNEL = "from outside"
HEARS_OUTSIDE = pytest.mark.settings(
    redis={"emitter_channel": CHANNEL}, limits={"event_bytes": 20_000}
)


def library(town: Town) -> Any:
    return town.node.sockets.library


async def test_what_the_library_emits_on_one_node_is_heard_on_all_by_those_it_is_for(
    north: Town, south: Town, ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers, outside = await ada.connects(), await eve.connects()
    his = PythonDevice(bob, ["websocket"])
    await his.open(fields(bob))
    plain = PlainDevice(bob, talk["id"])
    await plain.open(fields(bob))
    sid = his._client.get_sid()

    emit = library(north).emit
    await emit("app:all", {"n": 1})
    await emit("app:one", {"n": 2}, to=sid)
    await emit("app:room", {"n": 3}, room=f"conversation:{talk['id']}")
    await emit("app:user", {"n": 4}, room="user:bob")

    def order(device: Device) -> list[Any]:
        found = [(name, data["n"]) for name, data in device.frames]
        device.frames.clear()
        return sorted(found)

    await his._until(lambda: len(his.frames) >= 4)
    assert order(his) == [("app:all", 1), ("app:one", 2), ("app:room", 3), ("app:user", 4)]
    await plain._until(lambda: len(plain.frames) >= 2)
    assert order(plain) == [("app:room", 3), ("app:user", 4)]
    await hers.settles()
    assert order(hers) == [("app:all", 1), ("app:room", 3)]
    await outside.settles()
    assert order(outside) == [("app:all", 1)]
    await his.close()


async def test_the_library_moves_and_sends_away_clients_of_other_nodes(
    north: Town, south: Town, ada: Person, bob: Person
) -> None:
    his = PythonDevice(bob, ["websocket"])
    await his.open(fields(bob))
    sid = his._client.get_sid()
    here, there = library(north), library(south)

    await here.enter_room(sid, "odd")
    await becomes(lambda: "odd" in there.rooms(sid))
    await here.emit("app:odd", {}, room="odd")
    await his.hears("app:odd")
    await here.leave_room(sid, "odd")
    await becomes(lambda: "odd" not in there.rooms(sid))
    await here.enter_room(sid, "even")
    await becomes(lambda: "even" in there.rooms(sid))
    await here.close_room("even")
    await becomes(lambda: "even" not in there.rooms(sid))

    await here.disconnect(sid)
    await becomes(lambda: not south.node.feed._hub.devices_of("bob"))
    await his.close()


@HEARS_OUTSIDE
async def test_another_process_tells_something_to_a_conversation_and_to_a_person(
    valkey: Valkey, north: Town, south: Town, ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers, his, outside = await ada.connects(), await bob.connects(), await eve.connects()
    plain = PlainDevice(bob, talk["id"])
    await plain.open(fields(bob))
    manager = socketio.AsyncRedisManager(valkey.url, channel=CHANNEL, write_only=True)

    await manager.emit("app:price", {"price": 1}, room=f"conversation:{talk['id']}")
    for device in (hers, his, plain):
        assert await device.hears("app:price") == {"price": 1}
    await manager.emit("app:job", {"done": True}, room="user:bob")
    for device in (his, plain):
        assert await device.hears("app:job") == {"done": True}
    await hers.hears_nothing()
    await outside.hears_nothing()

    await ada.says(talk, "and in order with what is said")
    for device in (hers, his, plain):
        await device.hears("message:created")
    await manager.redis.aclose()


@HEARS_OUTSIDE
async def test_the_manager_without_asyncio_does_the_same(
    valkey: Valkey, north: Town, south: Town, ada: Person, bob: Person
) -> None:
    his, hers = await bob.connects(), await ada.connects()

    def tell() -> None:
        manager = socketio.RedisManager(valkey.url, channel=CHANNEL, write_only=True)
        manager.emit("app:job", {"done": True}, to="user:bob")
        manager.redis.close()

    await asyncio.to_thread(tell)
    assert await his.hears("app:job") == {"done": True}
    await hers.hears_nothing()


@pytest.mark.settings(redis={"emitter_channel": "socketio"})
async def test_the_lines_of_the_document_do_what_it_says(
    valkey: Valkey, north: Town, ada: Person
) -> None:
    (example,) = examples(ROOT / "docs" / "deploying.md", "python")
    talk = await ada.creates("group", await north.known("cleo"))
    hers, his = await ada.connects(), await Person(north, "42").connects()

    def paste() -> None:
        names: dict[str, Any] = {"conversation_id": talk["id"]}
        exec(example.replace("redis://…", valkey.url), names)  # noqa: S102 - it is ours
        names["people"].redis.close()

    await asyncio.to_thread(paste)

    assert await his.hears("app:report_ready") == {"id": 7}
    assert await hers.hears("app:price_changed") == {"price": 310_000}
    await his.hears_nothing()


@HEARS_OUTSIDE
async def test_who_is_no_longer_in_a_conversation_hears_nothing_that_is_told_to_it(
    valkey: Valkey, north: Town, south: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("group", bob)
    hers, his = await ada.connects(), await bob.connects()
    await ada.delete(f"conversations/{talk['id']}/participants/bob/")
    await his._until(lambda: any(name == "conversation:removed" for name, _ in his.frames))
    await his.heard()
    manager = socketio.AsyncRedisManager(valkey.url, channel=CHANNEL, write_only=True)

    await manager.emit("app:price", {"price": 1}, room=f"conversation:{talk['id']}")

    await hers._until(lambda: any(name == "app:price" for name, _ in hers.frames))
    await hers.heard()
    await his.hears_nothing()
    await manager.redis.aclose()


class Exploit:
    """What a pickle does to whoever reads it."""

    def __init__(self, done: str) -> None:
        self.done = done

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (self.done, "w")


def emitted(**fields: Any) -> bytes:
    message = {
        "method": "emit",
        "event": "app:job",
        "data": [{}],
        "binary": False,
        "namespace": "/",
        "room": "user:bob",
        "skip_sid": None,
        "callback": None,
        "host_id": "somebody",
        **fields,
    }
    return json.dumps({key: value for key, value in message.items() if value != "absent"}).encode()


BAD = {
    "size": [emitted(data=[{"text": "x" * 20_000}])],
    "json": [
        b"",
        b"\xff",
        b"[]",
        b"7",
        b'{"method":',
        emitted(data=[json.loads("[" * 300 + "]" * 300)]),
    ],
    "method": [
        emitted(method=method)
        for method in ("disconnect", "enter_room", "leave_room", "close_room", "callback", 7, None)
    ],
    "namespace": [emitted(namespace="/admin"), emitted(namespace=7)],
    "option": [
        emitted(skip_sid="x"),
        emitted(callback=["user:bob", "/", 1]),
        emitted(binary=True, data=[{"_placeholder": True, "num": 0}, "AAAA"]),
    ],
    "room": [
        emitted(room=room)
        for room in (None, "", "bob", "user:", "user", "room:bob", ["user:bob"], {"user": "bob"}, 7)
    ],
    "event": [
        emitted(event=event)
        for event in ("message:created", "application", "", None, 7, "app:" + "x" * 61, "absent")
    ],
    "arguments": [emitted(data=[]), emitted(data=[{}, {}])],
}


@HEARS_OUTSIDE
async def test_everything_else_that_is_said_from_outside_is_dropped_and_counted(
    valkey: Valkey,
    north: Town,
    south: Town,
    bob: Person,
    tmp_path: Any,
    logged: list[dict[str, Any]],
) -> None:
    his = await bob.connects()
    counts = south.node.bus.counts
    done = tmp_path / "done"
    async with redis.asyncio.Redis.from_url(valkey.url) as outside:
        await outside.publish(CHANNEL, pickle.dumps(Exploit(str(done))))
        await outside.publish(CHANNEL, pickle.dumps({"method": "emit", "event": "app:job"}))
        for messages in BAD.values():
            for message in messages:
                await outside.publish(CHANNEL, message)
        await outside.publish(CHANNEL, emitted(event="app:last"))

    assert await his.hears("app:last") == {}
    assert not done.exists()
    for reason, messages in BAD.items():
        expected = len(messages) + (2 if reason == "json" else 0)
        assert counts[f"refused_emitter_{reason}"] == expected, reason
    said = [line["why"] for line in logged if line["event"] == "something on the bus was refused"]
    assert sorted(set(said)) == sorted(f"emitter_{reason}" for reason in BAD)
    assert len(said) == 2 * len(set(said))  # once on each node


async def test_without_a_channel_of_that_name_in_the_settings_nobody_listens(
    valkey: Valkey, installation: Settings, north: Town, bob: Person
) -> None:
    his = await bob.connects()
    manager = socketio.AsyncRedisManager(valkey.url, write_only=True)
    await manager.emit("app:job", {}, room="user:bob")
    async with redis.asyncio.Redis.from_url(valkey.url) as client:
        assert await client.pubsub_numsub("socketio") == [(b"socketio", 0)]
    await his.hears_nothing()
    await manager.redis.aclose()
